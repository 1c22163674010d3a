"""Venues of real processes, each in its own directory, each ended whatever happens."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateways.flow import generate
from tests.models.running import Event, Running, make


@dataclass(frozen=True)
class Traded:
    """A running venue with a flow spread over 16 instruments and 100 clients behind it."""

    venue: Running
    lines: list[str]
    events: list[Event]


LONGEST = (
    "test_operations", "test_visitors", "test_skip", "test_real_flow", "test_verdicts", "test_reshard", "test_rolling",
    "test_all_doors", "test_attach", "test_console",
)  # fmt: skip
"""Files that take long are begun first, so that no processor waits for the last of them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put them there; the order within a file stays."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


Launch = Callable[..., Running]


@pytest.fixture(scope="session")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traded]:
    """One venue for all tests that only look, or only add: traded as fast as it takes, under PYTHONHASHSEED=1."""
    lines = list(generate.lines(seed=12, count=8000, instruments=16, clients=100))
    config = make(tmp_path_factory.mktemp("traded") / "v")
    with Running(config, PYTHONHASHSEED="1").start() as venue:
        yield Traded(venue, lines, venue.events(lines))


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Starts a venue of the test's own; keywords as for `make`, and `env` for the environment."""
    begun: list[Running] = []

    def begin(nodes: int = 1, env: dict[str, str] | None = None, **changes: str) -> Running:
        venue = Running(make(tmp_path / f"v{len(begun)}", nodes, **changes), **(env or {}))
        begun.append(venue)
        return venue.start()

    yield begin
    for venue in begun:
        venue.close()
