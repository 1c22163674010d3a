"""A disk that is full, and a disk that fails: the one passes, the other does not."""

import errno

import pytest

from sequencer.envelope import Entry
from sequencer.errors import DiskFullError, JournalError
from sequencer.journal import Journal
from tests.models.entries import CLUSTER, chain, dense
from tests.models.faulty_disk import FaultyDisk
from tests.models.journals import HOME, SEGMENT_BYTES, encoded, held_by, open_on

ENTRIES = chain([dense(900, salt) for salt in range(20)])


def append_singly(journal: Journal, entries: list[Entry]) -> None:
    for entry in entries:
        journal.append([entry], 0)


def fill(journal: Journal) -> int:
    """Append until the disk is full; returns how many entries went in."""
    with pytest.raises(DiskFullError, match="free some space"):
        append_singly(journal, ENTRIES[journal.last_index :])
    return journal.last_index


def test_full_disk_refuses_and_resumes_by_itself():
    """Without room a group is refused whole, and the same call works when there is room again."""
    disk = FaultyDisk(capacity_bytes=3 * SEGMENT_BYTES)
    journal = open_on(disk)
    last_index = fill(journal)
    assert 0 < last_index < len(ENTRIES)
    assert (fill(journal), held_by(journal)) == (last_index, encoded(ENTRIES[:last_index]))

    disk.capacity_bytes = None
    journal.append(ENTRIES[last_index:], 0)
    journal.close()
    assert held_by(open_on(disk)) == encoded(ENTRIES)


def test_nothing_is_written_on_a_full_disk():
    """A refused group leaves every byte as it was."""
    disk = FaultyDisk(capacity_bytes=2 * SEGMENT_BYTES)
    journal = open_on(disk)
    fill(journal)
    files = {name: bytes(disk.contents(HOME / name)) for name in disk.names(HOME)}

    fill(journal)

    assert {name: bytes(disk.contents(HOME / name)) for name in disk.names(HOME)} == files


def test_room_shrinks_before_the_disk_is_full_and_grows_again():
    """A node sees the end of the room coming, and learns from `prepare` that there is room again."""
    disk = FaultyDisk(capacity_bytes=SEGMENT_BYTES)
    journal = open_on(disk)
    rooms = [journal.room_bytes()]
    for entry in ENTRIES[:2]:
        journal.append([entry], 0)
        rooms.append(journal.room_bytes())
    disk.capacity_bytes = None
    journal.prepare()

    assert (rooms, journal.room_bytes()) == ([3584, 2048, 512], 3584)


def test_no_room_for_a_first_segment():
    """A journal that cannot begin says that the disk is full."""
    with pytest.raises(DiskFullError, match="no room"):
        open_on(FaultyDisk(capacity_bytes=100))


def test_quota_counts_as_full():
    """A quota is a full disk like any other."""
    disk = FaultyDisk()
    journal = open_on(disk)
    disk.failing["reserve"] = errno.EDQUOT
    last_index = fill(journal)

    del disk.failing["reserve"]
    journal.append([ENTRIES[last_index]], 0)
    assert journal.last_index == last_index + 1


def test_truncation_on_a_full_disk_drops_nothing():
    """Where the new segment has no room, the old tail stays in force."""
    disk = FaultyDisk(capacity_bytes=SEGMENT_BYTES + 10)
    journal = open_on(disk)
    journal.append(ENTRIES[:2], 0)

    with pytest.raises(DiskFullError):
        journal.truncate_after(1)
    assert held_by(journal) == encoded(ENTRIES[:2])
    disk.capacity_bytes = None
    journal.truncate_after(1)
    assert held_by(journal) == encoded(ENTRIES[:1])


@pytest.mark.parametrize("operation", ["pwritev", "sync"])
def test_a_failed_write_is_never_retried(operation: str):
    """After a failed write or sync every call raises, though the disk would work again; a restart reads the truth."""
    disk = FaultyDisk()
    journal = open_on(disk)
    journal.append(ENTRIES[:1], 0)
    disk.failing[operation] = errno.EIO
    with pytest.raises(JournalError, match="restart the node"):
        journal.append(ENTRIES[1:2], 0)
    disk.failing.clear()
    operations = len(disk.operations)

    calls = [
        lambda: journal.append(ENTRIES[1:2], 0),
        lambda: journal.truncate_after(0),
        lambda: journal.read(1, 1),
        journal.room_bytes,
        journal.prepare,
    ]
    for call in calls:
        with pytest.raises(JournalError, match=r"not usable: writing 00000001\.seg failed"):
            call()
    assert len(disk.operations) == operations
    journal.close()
    assert held_by(open_on(disk))[0] == ENTRIES[0].data


@pytest.mark.parametrize("operation", ["sync", "rename", "sync_directory"])
def test_a_segment_that_cannot_be_made_stops_the_journal(operation: str):
    """A new segment that fails half-way is not tried again; what was durable is found by a restart."""
    disk = FaultyDisk()
    journal = open_on(disk)
    journal.append(ENTRIES[:1], 0)
    journal.append(ENTRIES[1:2], 0)
    disk.failing[operation] = errno.EIO

    with pytest.raises(JournalError, match="restart the node"):
        journal.append(ENTRIES[2:9], 0)
    disk.failing.clear()
    with pytest.raises(JournalError, match="not usable"):
        journal.append(ENTRIES[2:3], 0)
    journal.close()
    assert held_by(open_on(disk)) == encoded(ENTRIES[:2])


def test_trouble_beside_the_journal_only_costs_the_spare():
    """The disk failing under the next segment stops nothing, as long as the current one has room."""
    disk = FaultyDisk()
    journal = open_on(disk)
    disk.failing["create"] = errno.EIO
    journal.append(ENTRIES[:1], 0)
    journal.prepare()

    journal.append(ENTRIES[1:2], 0)
    assert held_by(journal) == encoded(ENTRIES[:2])


@pytest.mark.parametrize(("operation", "error"), [("lock", errno.EACCES), ("make_directory", errno.EROFS)])
def test_directory_that_may_not_be_written(operation: str, error: int):
    """What the operating system forbids is one clear error that names the directory."""
    disk = FaultyDisk()
    disk.failing[operation] = error

    with pytest.raises(JournalError, match=f"cannot open the journal in {HOME}: {operation} fails; check"):
        Journal.open(HOME, CLUSTER, disk=disk)
