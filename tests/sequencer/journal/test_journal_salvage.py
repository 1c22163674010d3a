"""A damaged journal of a group's node: what is whole is kept, and what may be lost is never forgotten."""

import errno
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count, product
from pathlib import Path

import pytest

from sequencer.errors import CorruptJournalError, DiskFullError, JournalError
from sequencer.journal import Journal, verify
from sequencer.journal.format import (
    BLANK_SECTOR,
    FORMAT_VERSION,
    SECTOR_BYTES,
    SegmentHeader,
    decode_segment_header,
    segment_name,
)
from sequencer.journal.salvage import salvage
from sequencer.journal.suspicion import UNKNOWN_INDEX
from tests.models.entries import CLUSTER, chain, dense
from tests.models.faulty_disk import Crashed, FaultyDisk
from tests.models.journals import HOME, counting_salt, disk_with, encoded, held_by, open_on

SEGMENT_BYTES = 3072
ENTRIES = chain([dense(size, size) for size in (40, 30, 900, 800, 200, 170, 60, 1300, 90)])
GROUPS = [ENTRIES[0:1], ENTRIES[1:3], ENTRIES[3:4], ENTRIES[4:6], ENTRIES[6:7], ENTRIES[7:8], ENTRIES[8:9]]
LAST = ENTRIES[-1].index


def reference() -> FaultyDisk:
    """Three segments or more, every group of which was acknowledged."""
    return _written().durable()


@cache
def _written() -> FaultyDisk:
    return disk_with(GROUPS, segment_bytes=SEGMENT_BYTES)


def opened(disk: FaultyDisk) -> Journal:
    return open_on(disk, segment_bytes=SEGMENT_BYTES, keep_damaged=True)


def names(disk: FaultyDisk) -> list[str]:
    return [name for name in disk.names(HOME) if name.endswith(".seg")]


def test_every_flipped_bit_leaves_a_first_part_and_the_knowledge_of_more():
    """Whatever bit of whatever segment: what is kept is a prefix of the log, and what may be lost is all the rest.

    By default one of each byte.
    """
    disk = reference()
    files = {name: disk.contents(HOME / name) for name in names(disk)}
    numbers = range(1, len(files) + 1)
    wrong = []
    for name, at in ((name, at) for name, data in files.items() for at in range(len(data))):
        for bit in range(8) if "ISLAND_THOROUGH" in os.environ else (at % 8,):
            files[name][at] ^= 1 << bit
            found = salvage(
                numbers,
                lambda wanted: header_in(files, segment_name(wanted)),
                lambda header: bytes(files[header.name]),
            )
            files[name][at] ^= 1 << bit
            held = found.extents[-1].next_index - 1 if found.extents else 0
            if not (held == LAST or found.suspect_index >= LAST):
                wrong.append((name, at, bit, held, found.suspect_index))
    assert len(files) >= 3
    assert wrong == []


def header_in(files: dict[str, bytearray], name: str) -> SegmentHeader:
    """The first sector of a segment."""
    return decode_segment_header(bytes(files[name][:SECTOR_BYTES]), name)


@pytest.mark.parametrize("step", range(0, SECTOR_BYTES, 37))
def test_a_damaged_journal_opens_suspect_and_stays_so(step: int):
    """It holds a first part of what was acknowledged, goes on from there, and remembers its loss over restarts."""
    for place, at in product(range(len(names(reference()))), range(step, SEGMENT_BYTES, SECTOR_BYTES)):
        disk = reference()
        path = HOME / names(disk)[place]
        disk.damage(path, at, bytes([disk.contents(path)[at] ^ 0x10]))
        journal = opened(disk)
        held = held_by(journal)
        assert held == encoded(ENTRIES)[: len(held)]
        assert len(held) == LAST or journal.suspect_index >= LAST
        after = ENTRIES[len(held) - 1] if held else None
        added = chain([dense(100), dense(20)], after=after, term=4)
        journal.append(added, journal.commit_index)
        journal.close()
        again = opened(disk.after_kill())
        assert (held_by(again), again.suspect_index) == (held + encoded(added), journal.suspect_index)
        assert verify(HOME, CLUSTER, disk=disk).problem is None


def damaged() -> FaultyDisk:
    disk = reference()
    disk.damage(HOME / segment_name(2), SECTOR_BYTES + 100, b"\xff\xff")
    return disk


Harm = Callable[[FaultyDisk], None]


def flipped(name: str, at: int) -> Harm:
    """A byte that is not what was written."""
    return lambda disk: disk.damage(HOME / name, at, bytes([disk.contents(HOME / name)[at] ^ 0x10]))


def cut(name: str, length: int) -> Harm:
    """A file that ends too early."""
    return lambda disk: disk.cut(HOME / name, length)


def blanked(name: str, at: int) -> Harm:
    """A sector of zeros in place of what was written."""
    return lambda disk: disk.damage(HOME / name, at, BLANK_SECTOR)


def gone(name: str) -> Harm:
    """A file that is not there any more."""
    return lambda disk: (disk.remove(HOME / name), disk.sync_directory(HOME))


def harms() -> Iterator[Harm]:
    """Damage of each kind at each place."""
    for name in names(reference()):
        yield gone(name)
        for at in range(0, SEGMENT_BYTES, SECTOR_BYTES):
            yield flipped(name, at + 20)
            yield blanked(name, at)
            yield cut(name, at)
            yield cut(name, at + 100)


def harmed(harm: Harm) -> FaultyDisk:
    disk = reference()
    harm(disk)
    return disk.durable()


def crashes_of_opening(disk_of: Callable[[], FaultyDisk]) -> Iterator[FaultyDisk]:
    """What every crash in the middle of opening leaves, by how many names had lasted."""
    for crash_at in count(1):
        disk = disk_of()
        disk.crash_at = crash_at
        try:
            opened(disk)
        except Crashed:
            for names_kept in range(disk.pending_names + 1):
                yield disk.after_crash(lambda place: place % 2 == 0, names_kept=names_kept)
        else:
            return


def check_no_less_is_told(disk: FaultyDisk, sound: Journal) -> Journal:
    again = opened(disk)
    held = held_by(again)
    assert again.suspect_index >= sound.suspect_index
    assert held == encoded(ENTRIES)[: len(held)]
    return again


def test_a_crash_at_any_moment_of_the_opening_forgets_nothing():
    """Whatever the damage, and however far opening came: the next ones tell no less, hold nothing else, and keep it."""
    harm_count = 0
    for harm in harms():
        sound = opened(harmed(harm))
        if not sound.suspect:
            continue
        harm_count += 1
        for disk in crashes_of_opening(lambda harm=harm: harmed(harm)):
            again = check_no_less_is_told(disk, sound)
            again.close()
            check_no_less_is_told(disk.after_crash(lambda _place: False), sound)
    assert harm_count > 50


@pytest.mark.parametrize("at", [2 * SECTOR_BYTES] + [SECTOR_BYTES + 100] * ("ISLAND_THOROUGH" in os.environ))
def test_two_crashes_at_any_moments_of_the_opening_forget_nothing(at: int):
    """The second of them in the opening that follows the first."""
    harm = blanked(segment_name(2), at) if at % SECTOR_BYTES == 0 else flipped(segment_name(2), at)
    sound = opened(harmed(harm))
    for disk in crashes_of_opening(lambda: harmed(harm)):
        for again in crashes_of_opening(lambda disk=disk: disk.after_crash(lambda _place: False)):
            check_no_less_is_told(again, sound)


def test_a_group_that_is_damaged_and_looks_torn_is_kept():
    """Once the segments behind it are set aside, nothing but the suspicion tells that it was durable."""
    disk = reference()
    second = bytes(disk.contents(HOME / segment_name(2)))
    end = decode_segment_header(bytes(disk.contents(HOME / segment_name(3))), "3").previous_end
    disk.damage(HOME / segment_name(2), end - SECTOR_BYTES, BLANK_SECTOR)
    kept = second[: end - SECTOR_BYTES] + BLANK_SECTOR + second[end:]
    for _ in range(3):
        journal = opened(disk)
        assert (journal.suspect_index, bytes(disk.contents(HOME / segment_name(2)))) == (LAST, kept)
        journal.close()


def test_a_last_segment_that_was_cut_anywhere_tells_nothing_of_what_it_held():
    """For every length, also right behind a group; and once that is repaired, it is a journal like any other."""
    last = names(reference())[-1]
    for length in range(SEGMENT_BYTES):
        disk = harmed(cut(last, length))
        journal = opened(disk)
        held = held_by(journal)
        assert (journal.suspect_index, held) == (UNKNOWN_INDEX, encoded(ENTRIES)[: len(held)])
        if length % SECTOR_BYTES == 0:
            journal.append(chain([dense(30)], after=ENTRIES[len(held) - 1]), 0)
            journal.clear_suspect()
            journal.close()
            assert verify(HOME, CLUSTER, disk=disk).is_sound
            assert not open_on(disk.after_kill(), segment_bytes=SEGMENT_BYTES).suspect


def test_a_segment_that_was_cut_anywhere_leaves_a_first_part_and_the_knowledge_of_more():
    """For the lengths of the others: what is behind them tells how much there was."""
    lengths = sorted({*range(0, SEGMENT_BYTES, SECTOR_BYTES), *range(0, SEGMENT_BYTES, 5)})
    for name in names(reference())[:-1]:
        for length in lengths:
            journal = opened(harmed(cut(name, length)))
            held = held_by(journal)
            assert held == encoded(ENTRIES)[: len(held)]
            assert len(held) == LAST or journal.suspect_index >= LAST


def test_what_stands_behind_a_damaged_group_tells_that_it_was_durable():
    """The last two groups damaged: the one looks torn, or tells its entries, but something follows it."""
    payloads = [dense(900, 1), dense(900, 2), dense(900, 3)]
    entries = chain(payloads)
    for harm in (BLANK_SECTOR, dense(SECTOR_BYTES, 5)):
        disk = disk_with([[entry] for entry in entries], segment_bytes=16 << 10)
        span = 3 * SECTOR_BYTES
        first = HOME / segment_name(1)
        disk.damage(first, SECTOR_BYTES + span + 2 * SECTOR_BYTES, harm)
        disk.damage(first, SECTOR_BYTES + 2 * span + 10, b"\xff")
        journal = open_on(disk.after_kill(), segment_bytes=16 << 10, keep_damaged=True)

        assert (journal.suspect_index, held_by(journal)) == (UNKNOWN_INDEX, encoded(entries[:1]))


def foreign_disk(place: int, change: Callable[[bytes], bytes]) -> FaultyDisk:
    """One segment is not ours, and another one is damaged."""
    disk = reference()
    path = HOME / segment_name(place)
    disk.damage(path, 0, change(bytes(disk.contents(path)[:SECTOR_BYTES])))
    disk.damage(HOME / segment_name(2 if place == 1 else 1), 20, b"\xff\xff")
    disk.create(HOME / "next.tmp")
    return disk.after_kill()


def sealed(sector: bytearray) -> bytes:
    """A segment header with a checksum that is right again."""
    struct.pack_into("<I", sector, 8, zlib.crc32(memoryview(sector)[12:], zlib.crc32(memoryview(sector)[4:8])))
    return bytes(sector)


def of_another_cluster(sector: bytes) -> bytes:
    return sealed(bytearray(sector[:16] + b"?" * 16 + sector[32:]))


def of_a_newer_version(sector: bytes) -> bytes:
    return sealed(bytearray(sector[:4] + bytes([FORMAT_VERSION + 1]) + sector[5:]))


@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("change", [of_another_cluster, of_a_newer_version])
def test_what_is_not_ours_is_not_touched(place: int, change: Callable[[bytes], bytes]):
    """Damaged or not: another cluster's segment, or a newer version's, ends the opening before anything is changed."""
    disk = foreign_disk(place, change)
    files = {path: bytes(disk.contents(path)) for path in disk.files()}

    with pytest.raises(JournalError, match=f"belongs to cluster|has journal format {FORMAT_VERSION + 1}") as caught:
        opened(disk)
    assert not isinstance(caught.value, CorruptJournalError)
    assert {path: bytes(disk.contents(path)) for path in disk.files() if path.name != "lock"} == files


class GuardedDisk(FaultyDisk):
    """On which no file may take the place of another one in `aside`."""

    def rename(self, old: Path, new: Path) -> None:
        assert new.parent.name != "aside" or new not in self.files(), f"{new} is overwritten"
        super().rename(old, new)


def test_nothing_that_was_set_aside_is_overwritten():
    """Though segments and entries have the same numbers again, and an operator has removed some of the files."""
    disk = GuardedDisk()
    journal = opened(disk)
    for group in GROUPS:
        journal.append(group, 0)
    for round_number in range(4):
        journal.close()
        for number in (1, 2):
            flipped(segment_name(number), 20)(disk)
        journal = opened(disk)
        for group in GROUPS:
            journal.append(group, 0)
        journal.truncate_after(2)
        aside = sorted(path for path in disk.files() if path.parent.name == "aside")
        if round_number == 1:
            disk.remove(aside[0])

    assert len(aside) > 8


def test_without_room_for_a_segment_the_suspicion_stays():
    """It may not be forgotten before the damage is behind the log."""
    disk = damaged()
    journal = opened(disk)
    disk.failing["reserve"] = errno.ENOSPC
    with pytest.raises(DiskFullError):
        journal.clear_suspect()

    assert journal.suspect
    assert opened(disk.after_kill()).suspect


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_a_lost_segment_is_damage(gone: int):
    """A segment that is missing before others ends what is kept; the others tell what may be lost."""
    disk = reference()
    disk.remove(HOME / segment_name(gone))
    journal = opened(disk)

    assert (journal.suspect_index >= LAST, journal.last_index < LAST) == (True, True)
    assert held_by(journal) == encoded(ENTRIES)[: journal.last_index]


def test_a_journal_that_must_be_there_and_is_not():
    """All segments lost: alone that is an error, in a group the node may have acknowledged anything."""
    disk = FaultyDisk()
    disk.make_directory(HOME)
    with pytest.raises(CorruptJournalError, match="is gone from"):
        Journal.open(HOME, CLUSTER, disk=disk, segments_expected=1)
    options = {"segment_bytes": 4096, "salt": counting_salt(), "keep_damaged": True, "segments_expected": 1}
    journal = Journal.open(HOME, CLUSTER, disk=disk.after_kill(), **options)

    assert (journal.suspect_index, journal.last_index) == (UNKNOWN_INDEX, 0)


def test_a_cleared_suspicion_is_gone_for_good():
    """After `clear_suspect` a restart starts sound."""
    disk = damaged()
    journal = opened(disk)
    journal.clear_suspect()
    journal.close()

    assert not opened(disk.after_kill()).suspect


def test_what_was_set_aside_is_still_there():
    """No byte that was written is destroyed."""
    disk = damaged()
    whole = {name: bytes(disk.contents(HOME / name)) for name in names(disk)}
    journal = opened(disk)
    segments = [path for path in disk.files() if ".seg" in path.name]
    kept = {path.name.split(".seg")[0] + ".seg": bytes(disk.contents(path)) for path in segments}

    assert kept == whole
    assert "set aside" in journal.recovered.notes[1]


def test_a_journal_whose_last_file_is_gone_is_found_out():
    """It looks whole; the number of segments that were made tells that it is not."""
    disk = reference()
    count_made = len(names(disk))
    disk.remove(HOME / segment_name(count_made))
    options = {"segment_bytes": SEGMENT_BYTES, "salt": counting_salt(), "keep_damaged": True}
    journal = Journal.open(HOME, CLUSTER, disk=disk, segments_expected=count_made, **options)

    assert journal.suspect_index == UNKNOWN_INDEX
