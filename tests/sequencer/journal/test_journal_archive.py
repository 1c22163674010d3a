"""A compressed segment reads like the plain one, and a damaged one never reads like another."""

from functools import cache

import pytest

from sequencer.errors import CorruptJournalError
from sequencer.journal import JournalReader, archive_segment, verify, verify_segment
from sequencer.journal.archive import PIECE_BYTES, open_segment
from sequencer.journal.format import archive_name, segment_name
from sequencer.journal.loading import read_headers, read_segment, segment_numbers
from sequencer.journal.recovery import check_sealed
from tests.models.entries import CLUSTER, chain, dense
from tests.models.faulty_disk import Crashed, FaultyDisk
from tests.models.journals import HOME, disk_with, encoded, held_by, open_on

SEGMENT_BYTES = 3072
ENTRIES = chain([dense(size, size) for size in (700, 30, 900, 800, 1200, 170, 60, 1300, 90)])


@cache
def _plain() -> FaultyDisk:
    return disk_with([[entry] for entry in ENTRIES], segment_bytes=SEGMENT_BYTES)


def plain() -> FaultyDisk:
    """Three segments or more, all whole."""
    return _plain().durable()


def archived(*numbers: int) -> FaultyDisk:
    """The same, with some of them compressed."""
    disk = plain()
    for number in numbers:
        archive_segment(disk, HOME, number, verify_segment(HOME, number, disk=disk).stop)
    return disk.durable()


def test_an_archived_journal_reads_the_same():
    """For its node, for a reader, for the check to the last byte; and it goes on."""
    disk = archived(1, 2)
    names = [name for name in disk.names(HOME) if name != "lock"]
    journal = open_on(disk, segment_bytes=SEGMENT_BYTES)
    more = chain([dense(500)], after=ENTRIES[-1])
    journal.append(more, ENTRIES[-1].index)
    reader = JournalReader(HOME, CLUSTER, disk=disk)
    reader.refresh()

    assert names[:3] == [archive_name(1), archive_name(2), segment_name(3)]
    assert held_by(journal) == encoded(ENTRIES + more)
    assert reader.read(1, reader.last_index, 1 << 40) == encoded(ENTRIES + more)
    assert verify(HOME, CLUSTER, disk=disk).is_sound


def test_every_range_reads_the_same():
    """Also across the pieces that it was compressed in."""
    groups = chain([dense(400_000, salt) for salt in range(8)])
    disk = disk_with([[entry] for entry in groups], segment_bytes=7 * 401_000)
    end = verify_segment(HOME, 1, disk=disk).stop
    whole = bytes(disk.contents(HOME / segment_name(1))[:end])
    archive_segment(disk, HOME, 1, end)
    segment = open_segment(disk, HOME, 1)
    edges = [0, 1, 511, 512, 513, *(512 + PIECE_BYTES * k + step for k in (1, 2) for step in (-1, 0, 1)), end - 1, end]

    assert end > 2 * PIECE_BYTES
    assert all(
        segment.pread(stop - start, start) == whole[start:stop] for start in edges for stop in edges if stop >= start
    )
    assert segment.pread(100, end + 5) == b""


def test_a_reader_does_not_notice():
    """One that had read some of it before."""
    disk = plain()
    reader = JournalReader(HOME, CLUSTER, disk=disk)
    reader.refresh()
    before = reader.read(1, 2, 1 << 20)
    archive_segment(disk, HOME, 1, verify_segment(HOME, 1, disk=disk).stop)

    assert before + reader.read(3, reader.last_index, 1 << 40) == encoded(ENTRIES)
    assert reader.read(1, 2, 1 << 20) == before


@pytest.mark.parametrize("cut", [True, False])
def test_damage_to_an_archive_is_found_or_does_no_harm(cut: bool):
    """Every bit that flips, every place where the file ends: the segment reads as before, or not as a whole one."""
    disk = archived(1)
    header, following, *_ = read_headers(disk, HOME, CLUSTER)
    right = read_segment(disk, HOME, header)
    data = disk.contents(HOME / archive_name(1))
    whole = bytes(data)
    wrong, found = [], 0
    for at in range(len(whole)):
        for bit in [0] if cut else range(8):
            data[:] = whole[:at] if cut else whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
            try:
                header, following, *_ = read_headers(disk, HOME, CLUSTER)
                read = read_segment(disk, HOME, header)
                check_sealed(header, following, read)
                if read != right:
                    wrong.append((at, bit))
            except CorruptJournalError:
                found += 1
    assert wrong == []
    assert found >= len(whole) * (1 if cut else 7)


@pytest.mark.parametrize("survives", [lambda _place: False, lambda _place: True, lambda place: place % 2 == 0])
def test_a_crash_at_any_moment_loses_nothing(survives):
    """The segment is there, plain or compressed, at every operation of the disk."""
    archived_after = set()
    for crash_at in range(1, 1 << 20):
        disk = plain()
        disk.crash_at = len(disk.operations) + crash_at
        try:
            archive_segment(disk, HOME, 2, verify_segment(HOME, 2, disk=disk).stop)
            break
        except Crashed:
            disk = disk.after_crash(survives, names_kept=crash_at % 3)
        journal = open_on(disk, segment_bytes=SEGMENT_BYTES)
        assert held_by(journal) == encoded(ENTRIES)
        archived_after.add(segment_name(2) not in disk.names(HOME))
        journal.close()
    assert False in archived_after


def test_what_is_archived_again_is_archived():
    """After a crash that left both."""
    disk = archived(1)
    disk.create(HOME / segment_name(1))
    disk.contents(HOME / segment_name(1))[:] = plain().contents(HOME / segment_name(1))
    archive_segment(disk, HOME, 1, verify_segment(HOME, 1, disk=disk).stop)

    assert segment_name(1) not in disk.names(HOME)
    assert held_by(open_on(disk, segment_bytes=SEGMENT_BYTES)) == encoded(ENTRIES)


def test_a_damaged_archive_makes_a_node_suspect():
    """What is whole before the damage is kept, and the archives behind it are set aside."""
    disk = archived(1, 2)
    data = disk.contents(HOME / archive_name(1))
    disk.damage(HOME / archive_name(1), len(data) - 20, b"\xff\xff\xff")
    with pytest.raises(CorruptJournalError):
        open_on(disk, segment_bytes=SEGMENT_BYTES)
    journal = open_on(disk, segment_bytes=SEGMENT_BYTES, keep_damaged=True)

    held = held_by(journal)
    assert held == encoded(ENTRIES)[: len(held)]
    assert journal.suspect_index >= ENTRIES[-1].index
    assert {f"{archive_name(1)}.1", f"{archive_name(2)}.1"} <= set(disk.names(HOME / "aside"))
    more = chain([dense(500)], after=ENTRIES[len(held) - 1] if held else None, term=4)
    journal.append(more, journal.commit_index)
    journal.close()
    again = open_on(disk.durable(), segment_bytes=SEGMENT_BYTES)
    assert (held_by(again), again.suspect_index) == (held + encoded(more), journal.suspect_index)


def test_a_crash_while_a_damaged_archive_is_dealt_with_forgets_nothing():
    """At any moment: it is suspect, or opens as one, and holds a first part of the log."""
    for crash_at in range(1, 1 << 20):
        disk = archived(1, 2)
        data = disk.contents(HOME / archive_name(2))
        disk.damage(HOME / archive_name(2), len(data) - 20, b"\xff\xff\xff")
        disk.crash_at = len(disk.operations) + crash_at
        try:
            open_on(disk, segment_bytes=SEGMENT_BYTES, keep_damaged=True)
            break
        except Crashed:
            disk = disk.after_crash(lambda place: place % 2 == 0, names_kept=crash_at % 3)
        journal = open_on(disk, segment_bytes=SEGMENT_BYTES, keep_damaged=True)
        assert held_by(journal) == encoded(ENTRIES)[: len(held_by(journal))]
        assert journal.suspect_index >= ENTRIES[-1].index
        journal.close()


def test_both_files_of_a_segment_are_one_segment():
    """As long as both are there, the plain one is read."""
    disk = archived(1)
    disk.create(HOME / segment_name(1))
    disk.contents(HOME / segment_name(1))[:] = plain().contents(HOME / segment_name(1))
    disk.damage(HOME / archive_name(1), 600, b"\xff\xff\xff")

    assert segment_numbers(disk, HOME)[:2] == [1, 2]
    assert held_by(open_on(disk, segment_bytes=SEGMENT_BYTES)) == encoded(ENTRIES)


def test_what_is_set_aside_does_not_come_back():
    """Neither file of a segment behind the damage, where both were there."""
    disk = archived(3)
    disk.create(HOME / segment_name(3))
    disk.contents(HOME / segment_name(3))[:] = plain().contents(HOME / segment_name(3))
    disk.damage(HOME / segment_name(1), 800, b"\xff\xff\xff")
    journal = open_on(disk, segment_bytes=SEGMENT_BYTES, keep_damaged=True)
    more = chain([dense(500)], term=4)
    assert held_by(journal) == []
    journal.append(more, 0)
    journal.close()

    assert held_by(open_on(disk, segment_bytes=SEGMENT_BYTES)) == encoded(more)
    assert {f"{archive_name(3)}.1", f"{segment_name(3)}.1"} <= set(disk.names(HOME / "aside"))
