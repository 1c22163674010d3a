"""The search for the message that stopped a replica: it does not give up."""

from pathlib import Path

import pytest

from engines.locating import Locator, Search
from engines.reproducing import Outcome
from tests.models.running import until


@pytest.fixture
def attempts(tmp_path: Path) -> Search:
    """A search that raises first, then finds nothing, then finds the message: each time in a process of its own."""
    count = tmp_path / "count"
    count.write_text("")

    def search() -> Outcome:
        count.write_text(count.read_text() + "x")
        number = len(count.read_text())
        if number == 1:
            raise OSError("no node answers")
        return Outcome() if number == 2 else Outcome(7, 5, error="ZeroDivisionError: no such order")

    return search


def test_a_search_is_begun_again_until_it_finds_something(attempts: Search):
    """What kept it from that is told meanwhile."""
    locator, told = Locator(attempts, again_s=0.01), []

    def tended() -> Outcome | None:
        found = locator.tend()
        if locator.error not in ["", *told]:
            told.append(locator.error)
        return found

    found = until(tended, "the message is found", 20.0)
    assert (found.sequence, found.command) == (7, 5)
    assert told == ["OSError: no node answers", "done again, one message after the other, nothing raises"]
    assert (locator.error, locator.tend()) == ("", None)
