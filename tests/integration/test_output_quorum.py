"""With an output quorum no replica's word alone is sequenced: one that is wrong does no harm, and is found."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import messages as m
from sequencer.config import FILE_NAME, Config
from tests.integration.test_divergence import DEFECT
from tests.models.running import Running, Stream, make, until, without_processes
from tests.models.trader import Trader

QUORUM = """
[output_quorum]
"matching.*" = 2
"credit.*" = 2
"""


def with_quorum(config: Config) -> Config:
    path = config.data_dir / FILE_NAME
    path.write_text(path.read_text() + QUORUM)
    return Config.load(config.data_dir)


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Running]:
    with Running(with_quorum(make(tmp_path / "v", 3))).start() as started:
        yield started


@pytest.fixture
def doubtful(tmp_path: Path) -> Iterator[Running]:
    """One sound replica of matching, and a defective one."""
    config = make(tmp_path / "v")
    (tmp_path / "sitecustomize.py").write_text(DEFECT)
    config = with_quorum(without_processes(config.data_dir, "matching-2"))
    with Running(config, PYTHONPATH=str(tmp_path)).start() as started:
        started._env["DEFECTIVE"] = "1"
        started.spawn("attach", "matching", "--name", "matching-2")
        started.await_row("matching-2", "live")
        del started._env["DEFECTIVE"]
        yield started


def waiting(venue: Running) -> str:
    """What `health` says of an output that waits."""
    reasons = venue.run("health", env={**os.environ, "COLUMNS": "300"}).stdout.splitlines()
    return next((reason for reason in reasons if "waits for" in reason), "")


def test_outputs_wait_for_a_second_replica(venue: Running):
    """Through a change of the lead, and while a replica stands still: then it is told who is missing."""
    with Stream(venue.config) as stream:
        trader = Trader(stream)
        first = trader.say(trader.order("a"))
        assert trader.answer(first) == m.OrderAccepted(first)

        (leader,) = (row["name"] for row in venue.json("status")["nodes"] if row["role"] == "leader")
        venue.kill(leader)
        second = trader.say(trader.order("b"))
        assert trader.answer(second) == m.OrderAccepted(second)

        os.kill(venue.pids["matching-2"], signal.SIGSTOP)
        third = trader.say(trader.order("c"))
        told = until(lambda: waiting(venue), "it is told what waits")
        assert "of matching.0 waits for 2 replicas that make the same: matching-1 made" in told
        assert not [event for event in stream.batches(m.RESULTS) if event.first_sequence > third]
        os.kill(venue.pids["matching-2"], signal.SIGCONT)
        assert trader.answer(third) == m.OrderAccepted(third)
    venue.await_well()
    assert set(venue.agreement()) == {"matching.0", "credit.0"}


def test_two_that_differ_wait_for_a_third_that_decides(doubtful: Running):
    """The client hears nothing of the wrong version; who made it halts as diverged."""
    with Stream(doubtful.config) as stream:
        trader = Trader(stream)
        at = trader.say(trader.order("raise-a"))
        told = until(lambda: "attach another" in (said := waiting(doubtful)) and said, "it is told that they differ")
        assert "matching-1 made" in told
        assert "matching-2 made" in told

        doubtful.spawn("attach", "matching", "--name", "matching-3")
        assert trader.answer(at) == m.OrderAccepted(at)
        until(lambda: doubtful.row("matching-2").get("state") == "diverged", "matching-2 has diverged")
        after = trader.say(trader.order("b"))
        assert trader.answer(after) == m.OrderAccepted(after)
