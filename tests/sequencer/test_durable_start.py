"""A node on a disk: in which order it reads, writes and forgets."""

import errno

import pytest

from sequencer.envelope import Entry
from sequencer.errors import JournalError, RunningError
from sequencer.journal import Journal
from tests.models.entries import chain, dense
from tests.models.faulty_disk import FaultyDisk
from tests.models.follower import HOME, append, blank, started


def damaged() -> tuple[FaultyDisk, list[Entry]]:
    """The disk of b, whose third and last entry no longer reads, and what the leader holds."""
    disk = blank()
    node, _wire, _clocks = started(disk)
    entries = chain([dense(100, 1), dense(100, 2), dense(100, 3), dense(100, 4)])
    for place in range(3):
        node.hear(append(entries[place : place + 1]))
        node.turn()
    node.close()
    disk.damage(HOME / "00000001.seg", 3 * 512 + 200, b"\xff\xff")
    return disk.durable(), entries


def test_a_node_vouches_only_once_it_has_durably_forgotten_its_suspicion():
    """Whatever else it says meanwhile; the next answer vouches."""
    disk, entries = damaged()
    node, wire, _clocks = started(disk)
    node.hear(append(entries[2:3]))
    node.turn()
    node.hear(append(entries[3:4], commit_index=3))
    node.turn()
    node.hear(append(entries[3:4], commit_index=4))
    node.turn()

    assert wire.answers[0] == (False, True)
    assert wire.answers[-1] == (True, False)
    assert (True, True) not in wire.answers


def test_without_room_to_forget_it_a_node_does_not_vouch():
    """It has all entries again, and goes on to answer; it vouches when there is room."""
    disk, entries = damaged()
    node, wire, clocks = started(disk)
    node.hear(append(entries[2:3]))
    node.turn()
    node.close()
    disk = disk.durable()
    disk.damage(HOME / "00000002.seg", 3 * 512, b"torn")
    disk.failing["reserve"] = errno.ENOSPC
    node, wire, clocks = started(disk)
    for _ in range(4):
        clocks.now_ms += 60
        node.hear(append(entries[2:3], commit_index=3))
        node.turn()
    without_room = set(wire.answers)
    disk.failing.clear()
    for _ in range(4):
        clocks.now_ms += 60
        node.hear(append(entries[2:3], commit_index=3))
        node.turn()

    assert (without_room, node.raft.commit_index) == ({(False, True)}, 3)
    assert wire.answers[-1] == (True, False)
    assert (True, True) not in wire.answers


def test_nothing_is_read_before_the_directory_is_held():
    """A process that is just ending may still save a ballot: what was read before it is gone is void."""
    disk, _entries = damaged()
    node, _wire, _clocks = started(disk)
    disk.operations.clear()

    with pytest.raises(RunningError):
        started(disk)
    assert set(disk.operations) == {"make_directory", "lock"}
    node.close()
    assert started(disk)[0].journal.last_index == 2


def test_no_ballot_is_made_in_another_clusters_directory():
    """A directory without a ballot, but with segments: whose they are is looked at first."""
    disk = FaultyDisk()
    Journal.open(HOME, b"another cluster!", segment_bytes=65536, disk=disk).close()
    before = disk.names(HOME)

    with pytest.raises(JournalError, match="belongs to cluster"):
        started(disk)
    assert disk.names(HOME) == before
