"""Consensus, in small: what a leader knows of the others, who belongs to the group, what the log remembers."""

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencer.envelope import Entry, encode_entry
from sequencer.members import Member, Members, members_batch
from sequencer.raft import Log
from sequencer.raft.progress import IN_FLIGHT_BYTES_MAX, IN_FLIGHT_MAX, Progress, majority

DISKS = {name: name.encode() * 16 for name in "abcde"}
THREE = Members.founding(Member(name, DISKS[name]) for name in "abc")


@given(st.lists(st.integers(0, 9), min_size=1, max_size=7))
def test_a_majority_is_more_than_half(values: list[int]):
    """The highest value that more than half of the group reach."""
    reached = majority(values)

    assert sum(value >= reached for value in values) * 2 > len(values)
    assert sum(value > reached for value in values) * 2 <= len(values)


answers = st.lists(st.tuples(st.booleans(), st.integers(0, 50)), max_size=30)


@given(answers)
def test_what_a_member_vouched_for_is_not_forgotten(said: list[tuple[bool, int]]):
    """Late and repeated answers never move a match back, and nothing counts that was not acknowledged."""
    progress, highest = Progress(51), 0
    for accepted, index in said:
        if accepted:
            progress.agree(index, vouches=True)
            highest = max(highest, index)
        else:
            progress.disagree(index, 50, 0, vouches=True)
        assert (progress.match_index, progress.counted_index) == (highest, highest)
        assert progress.next_index > highest


def test_a_member_that_does_not_vouch_counts_for_nothing():
    """Its earlier word is void as well, since it may have lost what it acknowledged."""
    progress = Progress(11)
    progress.agree(10, vouches=True)
    progress.disagree(4, 10, 0, vouches=False)

    assert (progress.match_index, progress.counted_index, progress.next_index) == (4, 0, 5)


def test_a_member_that_contradicts_itself_for_long_begins_anew():
    """One answer may be late; one that comes again and again tells of a loss."""
    progress = Progress(11)
    progress.agree(10, vouches=True)
    progress.disagree(4, 10, 0, vouches=True)
    before = progress.counted_index
    progress.disagree(4, 10, 5000, vouches=True)

    assert (before, progress.match_index, progress.counted_index) == (10, 4, 0)


@pytest.mark.parametrize(("count", "size_bytes"), [(IN_FLIGHT_MAX, 1), (1, IN_FLIGHT_BYTES_MAX)])
def test_a_slow_member_is_sent_no_more_than_its_window(count: int, size_bytes: int):
    """By appends and by bytes; an answer opens the window again."""
    progress = Progress(1)
    progress.agree(0, vouches=True)
    for index in range(1, count + 1):
        assert progress.has_room
        progress.send(index, size_bytes)
    full = progress.has_room
    progress.agree(1, vouches=True)

    assert (full, progress.has_room) == (False, True)


def changed(*members: Member, version: int = 1) -> Members:
    return Members(version, members)


A, B, C = THREE.all
D = Member("d", DISKS["d"], voter=False, joining=True)


@pytest.mark.parametrize(
    ("after", "says"),
    [
        (THREE.with_member(D), ""),
        (THREE.without("b"), ""),
        (THREE.with_member(Member("b", DISKS["e"], voter=False)), ""),
        (THREE.with_member(D).promoted("d"), "one member"),
        (THREE.with_member(Member("d", DISKS["d"])), "begins as a learner"),
        (THREE.with_member(Member("b", DISKS["e"])), "begins as a learner"),
        (changed(A, version=1), "one member"),
        (changed(A, B, C, D, version=3), "one member"),
        (changed(A, B, C), "one member"),
    ],
)
def test_a_group_changes_by_one_member_that_begins_as_a_learner(after: Members, says: str):
    """So that the old and the new majority always share a voter, and a blank disk never decides."""
    assert says in THREE.why_not_next(after)
    assert bool(says) == bool(THREE.why_not_next(after))


def test_a_learner_with_the_same_disk_is_promoted():
    """The same disk: that is the one that has caught up."""
    learning = THREE.with_member(D)

    assert learning.why_not_next(learning.promoted("d")) == ""


def test_a_dropped_tail_takes_its_members_along():
    """Who belongs to the group is what the log that is left says."""
    log = Log(THREE)
    for members in (THREE, THREE.with_member(D)):
        log.append(
            encode_entry(
                [members_batch(members)], cluster=bytes(16), term=1, index=log.last_index + 1, first_sequence=1,
                time_ns=0, previous=log.last_digest, changes_members=True,
            )
        )  # fmt: skip
    with_d = (log.members.voters, log.members.find("d"), log.members_index)
    log.truncate_after(1)

    assert with_d == (("a", "b", "c"), D, 2)
    assert (log.members, log.members_index, log.members_at(0)) == (THREE, 1, THREE)


@given(st.lists(st.one_of(st.just("append"), st.integers(0, 9)), max_size=60))
def test_the_log_remembers_its_latest_entries_without_a_gap(steps: list[str | int]):
    """Whatever is appended and dropped: what is in memory ends with the last entry, or nothing is."""
    journal: list[Entry] = []
    log = Log(THREE, fetch=lambda first, _bytes_max: [entry.data for entry in journal[first - 1 :]])
    with patch("sequencer.raft.log.CACHE_BYTES_MAX", 4 * len(blank_after(log).data)):
        for step in steps:
            if step == "append":
                journal.append(blank_after(log))
                log.append(journal[-1])
            else:
                del journal[len(journal) - min(int(step), len(journal)) :]
                log.truncate_after(len(journal))
    remembered = [index for index in range(1, len(journal) + 1) if log.entry(index)]

    assert remembered == list(range(len(journal) + 1 - len(remembered), len(journal) + 1))
    assert len(remembered) <= 4


def blank_after(log: Log) -> Entry:
    """An entry that holds nothing and follows the log's last."""
    return encode_entry(
        [], cluster=bytes(16), term=1, index=log.last_index + 1, first_sequence=1, time_ns=0, previous=log.last_digest
    )
