"""What a node does for its files while it runs, and what its next start makes of it."""

import errno
from itertools import pairwise
from pathlib import Path

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


def test_a_last_segment_that_is_gone_is_noticed():
    """The ballot knows how many there were; with the snapshot of before, and without."""
    for keeps_snapshot in (True, False):
        disk = fed()
        disk.remove(HOME / segment_name(4))
        if not keeps_snapshot:
            disk.remove(HOME / SNAPSHOT_NAME)

        assert started(disk)[0].raft.suspect_index >= ENTRIES[-1].index


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


# --- what the disk does not do ------------------------------------------------------------------


def fail(disk: FaultyDisk, operation: str, suffix: str, number: int) -> None:
    """From now on the disk fails at an operation on files whose names end so."""
    real = getattr(disk, operation)

    def failing(file: Path | int, *rest):
        paths = [file] if isinstance(file, Path) else [path for path in disk.files() if is_open_as(disk, file, path)]
        if any(path.name.endswith(suffix) for path in paths):
            raise OSError(number, f"{operation} fails")
        return real(file, *rest)

    setattr(disk, operation, failing)


def is_open_as(disk: FaultyDisk, fd: int, path: Path) -> bool:
    """Whether a number is that of the file with this name."""
    return disk._names[path] is disk._open[fd]


def test_a_segment_that_the_disk_cannot_read_is_damage():
    """Scrubbing finds it; the next start, also without a snapshot, is a suspect one, and not none at all."""
    disk = fed()
    node, _wire, clocks = started(disk)
    fail(disk, "pread", segment_name(2), errno.EIO)
    with pytest.raises(CorruptJournalError, match=f"{segment_name(2)} offset 0: the disk cannot read"):
        let_pass(node, clocks, seconds=100)
    node.close()
    disk = disk.durable()
    fail(disk, "pread", segment_name(2), errno.EIO)

    assert SNAPSHOT_NAME not in disk.names(HOME)
    assert started(disk)[0].raft.suspect_index >= ENTRIES[-1].index


def test_a_last_segment_that_cannot_be_read_is_not_taken_for_torn():
    """Nobody can tell what was in it."""
    disk = fed()
    disk.remove(HOME / SNAPSHOT_NAME)
    fail(disk, "pread", segment_name(4), errno.EIO)

    assert started(disk)[0].raft.suspect_index >= ENTRIES[-1].index


@pytest.mark.parametrize(("suffix", "expected"), [(".arc.tmp", (True, 0)), ("snapshot.tmp", (True, 3))])
def test_what_finds_no_room_holds_up_nothing_else(suffix: str, expected: tuple[bool, int]):
    """An archive that cannot be made, or a snapshot: segments are scrubbed, and the others are archived."""
    disk = fed()
    disk.remove(HOME / SNAPSHOT_NAME)
    node, _wire, clocks = started(disk, plain_segments=1)
    fail(disk, "create", suffix, errno.ENOSPC)
    seen = let_pass(node, clocks, seconds=600)

    assert (seen[-1] > 3, node.upkeep.archived) == expected


def test_what_finds_no_room_takes_none():
    """An archive that fills the disk is removed again."""
    disk = fed()
    node, _wire, clocks = started(disk, plain_segments=1)
    fail(disk, "sync", ".arc.tmp", errno.ENOSPC)
    let_pass(node, clocks, seconds=20)

    assert [name for name in disk.names(HOME) if name.endswith(".tmp") and name != "next.tmp"] == []


def test_a_full_node_goes_on_to_archive():
    """That makes room; and what it finds damaged is told."""
    disk = fed()
    node, _wire, clocks = started(disk, plain_segments=1)
    keep_up(node, clocks, seconds=2)
    assert_archived(disk, 1)
    disk.damage(HOME / segment_name(2), 3000, b"\xff\xff\xff")
    with pytest.raises(CorruptJournalError):
        keep_up(node, clocks, seconds=60)


def keep_up(node: DurableOrderer, clocks: Clocks, seconds: int) -> None:
    """Do what is due in a full node's directory."""
    for _ in range(seconds):
        clocks.now_ms += 1000
        node.upkeep.turn(clocks.now_ms, node.orderer, full=True)


def held_back(disk: FaultyDisk) -> list:
    """Work beside the loop, which is not done before somebody does it."""
    work: list = []
    disk.defer = work.append
    return work


def test_damage_that_is_found_while_the_node_stops_is_not_forgotten():
    """The next start reads everything."""
    disk = fed()
    disk.damage(HOME / segment_name(1), 3000, b"\xff\xff\xff")
    node, _wire, clocks = started(disk)
    work = held_back(disk)
    clocks.now_ms += 1000
    node.turn()
    assert work
    node.close()

    assert SNAPSHOT_NAME not in disk.names(HOME)


def test_a_snapshot_in_hand_does_not_outlive_damage():
    """It is written before the damage takes it away, and not after."""
    disk = fed(ENTRIES[:12])
    disk.damage(HOME / segment_name(1), 3000, b"\xff\xff\xff")
    node, _wire, clocks = started(disk)
    work = held_back(disk)
    feed(node, clocks, ENTRIES[12:20])
    for _ in range(5):
        clocks.now_ms += 10
        node.turn()
    assert work
    with pytest.raises(CorruptJournalError):
        node.raft.log.read(1, 1 << 20)
    node.close()

    assert SNAPSHOT_NAME not in disk.names(HOME)


def test_a_temporary_of_its_own_does_not_keep_a_damaged_node_down():
    """It is removed before anything is written."""
    disk = damaged()
    disk.remove(HOME / SNAPSHOT_NAME)
    fd = disk.create(HOME / "next.tmp")
    disk.reserve(fd, 65536)
    real = disk.create

    def create(path):
        if HOME / "next.tmp" in disk.files():
            raise OSError(errno.ENOSPC, "no space left on device")
        return real(path)

    disk.create = create
    assert started(disk)[0].raft.suspect_index > 0


def test_what_was_read_need_not_be_searched():
    """A segment that was scrubbed is known to the catalog: a read of its middle finds its place at once."""
    disk = fed()
    node, _wire, clocks = started(disk)
    let_pass(node, clocks, seconds=5)

    assert [extent.next_index for extent in node.journal._catalog._live] == [7, 13, 19, 25]


def test_a_long_piece_is_followed_by_a_long_pause():
    """Twenty times as long: this work may never take much of the host."""
    node, _wire, clocks = started(disk := fed())
    work = held_back(disk)
    clocks.now_ms += 1000
    node.turn()
    clocks.now_ms += 500
    work[0].run()
    node.turn()
    let_pass(node, clocks, seconds=9)
    begun_in_the_pause = len(work)
    let_pass(node, clocks, seconds=2)

    assert (begun_in_the_pause, len(work)) == (1, 2)
