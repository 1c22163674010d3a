"""What a node does for its files while it runs, and what its next start makes of it."""

import errno
from itertools import pairwise

import pytest
from msgspec.structs import replace

from sequencer.durable import DurableOrderer, read_all
from sequencer.envelope import Entry
from sequencer.errors import CorruptJournalError
from sequencer.journal.format import archive_name, segment_name
from sequencer.raft import Log
from sequencer.sessions import Sessions
from sequencer.snapshot import SNAPSHOT_NAME, read_snapshot, write_snapshot
from sequencer.upkeep import RETRY_MS
from tests.models.entries import CLUSTER, chain, dense
from tests.models.faulty_disk import Crashed, FaultyDisk
from tests.models.follower import CONFIG, HOME, Clocks, append, blank, started

ENTRIES = chain([dense(9000, salt) for salt in range(24)])
"""Six fill a segment of 64 KB."""


def feed(node: DurableOrderer, clocks: Clocks, entries: list[Entry]) -> None:
    """The leader sends one at a time, each with the commitment of the one before."""
    for entry in entries:
        clocks.now_ms += 10
        node.hear(append([entry], commit_index=entry.index - 1))
        node.turn()
        node.turn()


def let_pass(node: DurableOrderer, clocks: Clocks, seconds: int) -> list[int]:
    """After each second, how many segments were scrubbed."""
    seen = []
    for _ in range(seconds):
        clocks.now_ms += 1000
        node.turn()
        seen.append(node.upkeep.scrubbed)
    return seen


def fed(entries: list[Entry] | None = None) -> FaultyDisk:
    """The disk of a node that was stopped."""
    disk = blank()
    node, _wire, clocks = started(disk)
    feed(node, clocks, ENTRIES if entries is None else entries)
    node.close()
    return disk


def assert_resumed(node: DurableOrderer) -> None:
    """What it goes by is what its whole log says."""
    log, sessions = Log(CONFIG.founders), Sessions()
    for entry in read_all(node.journal):
        log.append(entry)
        sessions.append(entry.index, entry.batches())
    sessions.commit(node.raft.commit_index)
    last = log.last_index
    assert node.raft.log.state_at(last) == log.state_at(last)
    assert (node.raft.log.last_digest, node.raft.log.next_sequence) == (log.last_digest, log.next_sequence)
    assert node.orderer.sessions.committed_state() == sessions.committed_state()


def test_a_start_reads_only_what_follows_the_snapshot():
    """The rest is taken on trust, and what the node goes by is the same."""
    disk = fed()
    snapshot = read_snapshot(disk, HOME, CLUSTER)
    node, _wire, _clocks = started(disk)

    assert node.journal.is_marked
    assert (snapshot.segment, node.journal.segment_number) == (4, 4)
    assert node.raft.log.entry(snapshot.index - 1) is None
    assert node.raft.commit_index >= snapshot.index
    assert_resumed(node)


def test_the_snapshot_of_another_log_does_not_count():
    """Its entry has another digest: everything is read."""
    others = fed(chain([dense(9000, salt + 100) for salt in range(24)]))
    snapshot = read_snapshot(others, HOME, CLUSTER)
    disk = fed()
    write_snapshot(disk, HOME, CLUSTER, snapshot)
    node, _wire, _clocks = started(disk)

    assert not node.journal.is_marked
    assert_resumed(node)


def test_a_snapshot_of_more_than_is_there_does_not_count():
    """An older copy of the segments, say."""
    snapshot = read_snapshot(fed(), HOME, CLUSTER)
    disk = fed(ENTRIES[:9])
    write_snapshot(disk, HOME, CLUSTER, snapshot)
    node, _wire, _clocks = started(disk)

    assert not node.journal.is_marked
    assert_resumed(node)


@pytest.mark.parametrize("survives", [lambda _place: False, lambda _place: True, lambda place: place % 2 == 0])
def test_a_crash_at_any_moment_leaves_a_snapshot_that_fits_or_none(survives):
    """At every operation of the disk."""
    starts = []
    for crash_at in range(1, 1 << 20):
        disk = blank()
        disk.crash_at = len(disk.operations) + crash_at
        try:
            node, _wire, clocks = started(disk)
            feed(node, clocks, ENTRIES[:16])
            break
        except Crashed:
            disk = disk.after_crash(survives, names_kept=crash_at % 3)
        try:
            node, _wire, _clocks = started(disk)
        except CorruptJournalError:
            assert SNAPSHOT_NAME not in disk.names(HOME)  # it never came to make its ballot
            continue
        assert node.raft.suspect_index == 0
        assert_resumed(node)
        starts.append(node.journal.is_marked)
        node.close()
    assert {True, False} <= set(starts)


def damaged() -> FaultyDisk:
    """The second of four segments has rotted since the last start."""
    disk = fed()
    disk.damage(HOME / segment_name(2), 3000, b"\xff\xff\xff")
    return disk


def test_rot_in_what_was_taken_on_trust_is_found():
    """The node stops, and its next start makes it suspect: the group repairs it."""
    disk = damaged()
    node, _wire, clocks = started(disk)
    assert node.raft.suspect_index == 0
    with pytest.raises(CorruptJournalError, match=segment_name(2)):
        let_pass(node, clocks, seconds=100)
    node.close()

    assert started(disk.durable())[0].raft.suspect_index >= ENTRIES[-1].index


def test_rot_that_is_met_in_reading_is_not_met_again():
    """A member that lacks old entries has them read: the next start knows what this one found."""
    disk = damaged()
    node, _wire, _clocks = started(disk)
    with pytest.raises(CorruptJournalError, match=segment_name(2)):
        node.raft.log.read(1, 1 << 20)
    node.close()

    assert started(disk.durable())[0].raft.suspect_index >= ENTRIES[-1].index


def test_scrubbing_comes_round():
    """Every segment but the last is read, again and again, a piece at a time."""
    node, _wire, clocks = started(fed())
    seen = let_pass(node, clocks, seconds=200)

    assert seen[-1] > 2 * 3
    assert {after - before for before, after in pairwise(seen)} == {0, 1}


def test_a_snapshot_that_finds_no_room_comes_later():
    """Nothing was promised: the node goes on meanwhile."""
    disk = blank()
    node, _wire, clocks = started(disk)
    feed(node, clocks, ENTRIES[:6])
    disk.failing["create"] = errno.ENOSPC
    feed(node, clocks, ENTRIES[6:8])
    assert (node.journal.segment_number, node.journal.last_index) == (2, 8)
    assert SNAPSHOT_NAME not in disk.names(HOME)
    disk.failing.clear()
    clocks.now_ms += RETRY_MS
    feed(node, clocks, ENTRIES[8:10])
    node.close()

    assert read_snapshot(disk, HOME, CLUSTER).index == 8
    node, _wire, _clocks = started(disk)
    assert node.journal.is_marked
    assert_resumed(node)


def test_where_nothing_is_committed_there_is_nothing_to_snapshot():
    """Another leader replaces the first entry: a second segment begins where the first one did."""
    node, _wire, _clocks = started(blank())
    node.hear(append(ENTRIES[:1]))
    node.turn()
    node.hear(replace(append(chain([dense(50)], term=2)), term=2, leader="c"))
    node.turn()
    node.turn()

    assert (node.journal.segment_number, node.raft.commit_index) == (2, 0)


def test_what_is_old_is_compressed():
    """All but the latest segments, the oldest first; the node and its next start read them as before."""
    disk = fed()
    node, _wire, clocks = started(disk, plain_segments=2)
    assert_archived(disk, 0)
    let_pass(node, clocks, seconds=4)
    assert_archived(disk, 1)
    let_pass(node, clocks, seconds=60)
    assert_archived(disk, 2)
    held = [entry.data for entry in read_all(node.journal)]
    node.close()
    disk = disk.durable()
    disk.remove(HOME / SNAPSHOT_NAME)
    node, _wire, _clocks = started(disk, plain_segments=2)

    assert held == [entry.data for entry in ENTRIES]
    assert [entry.data for entry in read_all(node.journal)] == held
    assert_resumed(node)


def assert_archived(disk: FaultyDisk, count: int) -> None:
    """So many of the four segments are compressed, from the first on."""
    names = [name for name in disk.names(HOME) if name.startswith("0")]
    assert names == [archive_name(n) if n <= count else segment_name(n) for n in range(1, 5)]
