"""Markers are a function of the log: the schedule, and what operators ask for."""

import pytest

from engines.markers import DEFAULT_MESSAGES, Markers
from engines.messages import ScheduleSnapshots, TakeSnapshot
from sequencer.envelope import Entry, encode_batch, encode_entry

SECOND_NS = 1_000_000_000


def entry(first_sequence: int, time_s: int = 1, count: int = 1) -> Entry:
    batch = encode_batch("gateway.x", 1, 1, b"", count=count)
    return encode_entry(
        [batch], cluster=bytes(16), term=1, index=1, first_sequence=first_sequence, time_ns=time_s * SECOND_NS,
        previous=bytes(32),
    )  # fmt: skip


def scheduled(messages: int, seconds: int) -> Markers:
    markers = Markers("matching", "matching.0")
    markers.hear(ScheduleSnapshots(messages, seconds * SECOND_NS))
    markers.hear(TakeSnapshot())
    assert markers.passes(entry(1))
    return markers


def test_a_marker_comes_after_so_many_messages():
    """Counted from the last marker, at the end of the entry that completes the number."""
    markers = scheduled(10, 0)

    assert [at for at in range(2, 40) if markers.passes(entry(at))] == [11, 21, 31]


def test_a_marker_comes_after_so_much_sequenced_time():
    """Counted from the last marker."""
    markers = scheduled(0, 10)

    assert [at for at in range(2, 40) if markers.passes(entry(at, time_s=at))] == [11, 21, 31]


def test_a_schedule_of_nothing_makes_no_marker():
    """Zero is never."""
    markers = scheduled(0, 0)

    assert not any(markers.passes(entry(at * 10**9, time_s=at)) for at in range(2, 40))


def test_what_is_asked_for_is_a_marker_at_once():
    """Of this machine, or of all; whether the state is kept is as it was asked."""
    markers = scheduled(0, 0)
    found = []
    for asked in (TakeSnapshot("matching"), TakeSnapshot("credit"), TakeSnapshot("", keep=False)):
        markers.hear(asked)
        found.append((markers.passes(entry(9)), markers.keep))

    assert found == [(True, True), (False, True), (True, False)]


@pytest.mark.parametrize("machine", ["matching", "credit", "other"])
def test_without_a_schedule_in_the_log_there_is_one(machine: str):
    """A log that says nothing has its first marker within DEFAULT_MESSAGES."""
    markers = Markers(machine, f"{machine}.0")

    assert markers.passes(entry(DEFAULT_MESSAGES))


def test_it_goes_on_where_its_state_was_told():
    """Numbers and places are those of markers that were never restored."""
    first, second = scheduled(10, 0), Markers("matching", "matching.0")
    second.restore(first.state())

    assert [(first.passes(entry(at)), first.number) for at in range(2, 40)] == [
        (second.passes(entry(at)), second.number) for at in range(2, 40)
    ]
