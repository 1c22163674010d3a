"""Every process of a venue is restarted, one by one, while it trades."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateways.flow import generate
from tests.integration.naive_flow import events_of
from tests.models.running import Running, by_instrument, complaint, make, read_events

LINES = list(generate.lines(seed=23, count=14000, instruments=4, clients=8))


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Running]:
    with Running(make(tmp_path / "v", 3)).start() as started:
        yield started


def test_no_order_is_missed(venue: Running):
    """Three nodes, replayers, replicas and gateways: each is another process, and each event is as it would be."""
    before = venue.pids
    out = venue.scratch / "events.jsonl"
    with venue.sending(LINES, "--rate", "500", "--events", str(out)) as flow:
        venue.await_position(500)
        begun_at = venue.position
        done = venue.run("restart", timeout_s=180)
        assert done.returncode == 0, done
        traded_meanwhile = venue.position - begun_at
        assert flow()["unanswered"] == 0

    after = venue.pids
    restarted = [line.removesuffix(" is restarted") for line in done.stdout.splitlines()]
    assert sorted([*restarted, "supervisor"]) == sorted(before)
    assert all(after[name] != before[name] for name in restarted)
    assert restarted[-1].startswith("node-")
    assert traded_meanwhile > 0
    assert by_instrument(read_events(out)) == by_instrument(events_of(LINES))
    venue.agreement()


def test_what_cannot_be_restarted_is_named(venue: Running):
    """A process that is not here, and one that nobody would start again."""
    assert "matching-9 does not run here" in complaint(venue.run("restart", "matching-9"), 2)
    venue.stop()
    assert "nobody would start again" in complaint(venue.run("restart"), 2)
