"""A replica that makes other outputs than the log holds stops, keeps both, and says what is known of it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import messages as m
from tests.models.running import Running, Stream, complaint, make, until, without_processes
from tests.models.trader import Trader

DEFECT = """
import os

import engines.matching.machine
from engines.matching.instruments import Instruments

enter = Instruments._enter


def defective_enter(self, time_ns, sequence, command, refusal, emit):
    if command.post_only and os.environ.get("DEFECTIVE"):
        refusal = 26
    enter(self, time_ns, sequence, command, refusal, emit)


Instruments._enter = defective_enter
"""


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Running]:
    """A venue of one sound replica of matching; what is spawned is defective."""
    config = make(tmp_path / "v")
    (tmp_path / "sitecustomize.py").write_text(DEFECT)
    config = without_processes(config.data_dir, "matching-2")
    with Running(config, PYTHONPATH=str(tmp_path)).start() as started:
        yield started


def explain(venue: Running, **env: str):
    environment = {**os.environ, "PYTHONPATH": str(venue.data_dir.parent), **env}
    return venue.run("explain-divergence", "matching-2", env={**environment, "COLUMNS": "200"})


def test_it_is_told_where_it_differs_and_what_this_program_makes_of_it(venue: Running):
    """The message, both versions; and whether a process or a version is the matter."""
    assert "nothing is kept of a divergence" in complaint(venue.run("explain-divergence", "matching-2"), 2)
    with Stream(venue.config) as stream:
        trader = Trader(stream)
        first = trader.say(trader.order("a"))
        trader.answer(first)
        venue._env["DEFECTIVE"] = "1"
        venue.spawn("attach", "matching", "--name", "matching-2")
        venue.await_row("matching-2", "live")
        os.kill(venue.pids["matching-2"], 19)  # SIGSTOP: the sound one is first
        at = trader.say(trader.order("b"), trader.order("raise-b"), trader.order("c"))
        assert trader.answer(at + 1) == m.OrderAccepted(at + 1)
        os.kill(venue.pids["matching-2"], 18)
        row = until(lambda: _diverged(venue), "matching-2 has diverged")
        after = trader.say(trader.order("d"))
        assert trader.answer(after) == m.OrderAccepted(after)

    assert "`sequencer explain-divergence matching-2` tells more" in row["why"]
    told = explain(venue).stdout
    assert "differs in its message 2" in told
    assert f"OrderAccepted order_id={at + 1}" in told
    assert f"OrderRejected order_id={at + 1} reason=26" in told
    assert "done again: as in the log" in told
    assert "done again: as the replica made it" in explain(venue, DEFECTIVE="1").stdout
    assert (venue.data_dir / "diverged" / "matching-2").stat().st_mode & 0o777 == 0o600


def _diverged(venue: Running):
    row = venue.row("matching-2")
    return row if row.get("state") == "diverged" and "tells more" in row.get("why", "") else None
