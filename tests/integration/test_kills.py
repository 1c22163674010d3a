"""kill -9 of any process at any moment: nothing acknowledged is lost, nothing happens twice, the flow goes on."""

import os
import signal
from collections.abc import Iterator

import pytest

from gateways.flow import generate
from tests.integration.conftest import Launch
from tests.models.running import Event, Running, by_instrument, make, read_events, tagged, without_processes

LINES = list(generate.lines(seed=5, count=2000, instruments=4, clients=12))
RATE = ("--rate", "2000")
PROGRESS = 800
"""Messages that the flow has in the log when somebody is killed: a fifth of what it makes."""


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(make(tmp_path_factory.mktemp("kills") / "v")).start() as started:
        yield started


@pytest.fixture(scope="module")
def undisturbed(venue: Running) -> dict[str, list[Event]]:
    """What the flow gives where nobody is killed."""
    return by_instrument(venue.events(tagged(LINES, "ref-")), "ref-")


def traded_while(venue: Running, tag: str, *killed: str) -> dict[str, list[Event]]:
    """The flow's events, when these processes are killed on the way."""
    out = venue.scratch / f"{tag}events.jsonl"
    start = venue.position
    with venue.sending(tagged(LINES, tag), "--events", str(out), *RATE) as flow:
        venue.await_position(start + PROGRESS)
        venue.kill(*killed)
        summary = flow()
    assert (summary["answered"], summary["unanswered"]) == (len(LINES), 0), summary
    return by_instrument(read_events(out), tag)


@pytest.mark.parametrize(
    "killed",
    [
        ("node-1",),
        ("node-1-replayer",),
        ("matching-1",),
        ("matching-1", "matching-2"),
        ("credit-1",),
        ("credit-1", "credit-2"),
        ("order-1",),
        ("marketdata-1",),
        ("node-1", "matching-1", "credit-1", "order-1"),
    ],
    ids="+".join,
)
def test_a_flow_outlives_the_death_of(killed: tuple[str, ...], venue: Running, undisturbed: dict[str, list[Event]]):
    """Every line is answered, the events are those of an undisturbed run, replicas agree, and the journal is sound."""
    before = venue.pids
    events = traded_while(venue, f"{killed[0]}{len(killed)}-", *killed)
    venue.await_well()

    assert events == undisturbed
    assert all(venue.pids[name] != before[name] for name in killed)
    assert set(venue.agreement()) == {"matching.0", "credit.0"}
    assert venue.run("log", "verify").returncode == 0


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A venue that starts, and starts again, only one replica of each engine."""
    make(data_dir := tmp_path_factory.mktemp("alone") / "v")
    with Running(without_processes(data_dir, "matching-2", "credit-2")).start() as started:
        yield started


@pytest.mark.parametrize("machine", ["matching", "credit"])
def test_one_replica_is_enough(machine: str, alone: Running, undisturbed: dict[str, list[Event]]):
    """A replica that is killed and stays away is missed by nobody, and told as dead."""
    second = f"{machine}-2"
    alone.spawn("attach", machine, "--name", second)
    alone.await_row(second, "live")

    events = traded_while(alone, f"{machine}-", second)

    assert events == undisturbed
    alone.await_row(second, "dead")
    assert f"{second} is dead" in alone.run("health").stdout


def test_a_node_that_stands_still_costs_nothing(launch: Launch, undisturbed: dict[str, list[Event]]):
    """One of three nodes is SIGSTOPped: the flow is answered, and its events are whole, whoever leads or lags."""
    venue = launch(nodes=3)
    os.kill(venue.pids["node-1"], signal.SIGSTOP)
    events = venue.events(LINES)
    os.kill(venue.pids["node-1"], signal.SIGCONT)
    venue.await_well()

    assert by_instrument(events) == undisturbed
    assert set(venue.agreement()) == {"matching.0", "credit.0"}
