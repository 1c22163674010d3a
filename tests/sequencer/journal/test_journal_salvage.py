"""A damaged journal of a group's node: what is whole is kept, and what may be lost is never forgotten."""

from itertools import count, product

import pytest

from sequencer.envelope import Entry, decode_entry
from sequencer.errors import CorruptJournalError, JournalError
from sequencer.journal import Journal, verify
from sequencer.journal.format import SECTOR_BYTES, decode_segment_header, segment_name
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
    return disk_with(GROUPS, segment_bytes=SEGMENT_BYTES).after_kill()


def opened(disk: FaultyDisk) -> Journal:
    return open_on(disk, segment_bytes=SEGMENT_BYTES, keep_damaged=True)


def names(disk: FaultyDisk) -> list[str]:
    return [name for name in disk.names(HOME) if name.endswith(".seg")]


def test_every_flipped_bit_leaves_a_first_part_and_the_knowledge_of_more():
    """Whatever bit of whatever segment: what is kept is a prefix of the log, and what may be lost is all the rest."""
    disk = reference()
    files = {name: disk.contents(HOME / name) for name in names(disk)}
    numbers = range(1, len(files) + 1)
    wrong = []
    for name, at in ((name, at) for name, data in files.items() for at in range(len(data))):
        for bit in range(8):
            files[name][at] ^= 1 << bit
            found = salvage(
                numbers,
                lambda wanted: decode_segment_header(bytes(files[wanted][:SECTOR_BYTES]), wanted),
                lambda header: bytes(files[header.name]),
                CLUSTER,
            )
            files[name][at] ^= 1 << bit
            held = found.extents[-1].next_index - 1 if found.extents else 0
            if not (held == LAST or found.suspect_index >= LAST):
                wrong.append((name, at, bit, held, found.suspect_index))
    assert len(files) >= 3
    assert wrong == []


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


def test_wherever_a_segment_is_cut_what_is_gone_is_not_forgotten():
    """A file that ends too early: of what is lost behind the cut nobody can tell how much it was."""
    reached = []
    for place in range(len(names(reference()))):
        for size_bytes in range(0, SEGMENT_BYTES, 16):
            disk = reference()
            path = HOME / names(disk)[place]
            disk.cut(path, size_bytes)
            journal = opened(disk)
            held = held_by(journal)
            assert held == encoded(ENTRIES)[: len(held)]
            assert journal.suspect_index >= LAST
            if place == len(names(reference())) - 1:
                assert journal.suspect_index == UNKNOWN_INDEX
            reached.append(len(held))
    assert (min(reached), max(reached)) == (0, LAST)


def test_openings_that_crash_again_and_again_destroy_no_evidence():
    """A tail that looks torn once its later segments are aside is left as it is, as long as the node is suspect."""
    for place, at in product((1, 2), range(SECTOR_BYTES, SEGMENT_BYTES, SECTOR_BYTES)):
        disk = reference()
        path = HOME / names(disk)[place - 1]
        if bytes(disk.contents(path)[at : at + SECTOR_BYTES]) == bytes(SECTOR_BYTES):
            continue
        disk.damage(path, at, bytes(SECTOR_BYTES))  # a sector that reads as zeros
        evidence = bytes(disk.contents(path))
        sound = opened(disk.after_kill())
        for crash_at in count(1):
            crashing = disk.after_crash(lambda _place: True, names_kept=9)
            crashing.crash_at = crash_at
            try:
                opened(crashing)
            except Crashed:
                again = crashing.after_crash(lambda _place: False)
                verdict = opened(again).suspect_index, opened(again.after_kill()).suspect_index
                assert verdict == (sound.suspect_index, sound.suspect_index)
                assert any(bytes(again.contents(file)) == evidence for file in again.files() if path.name in file.name)
            else:
                break


def test_a_damaged_directory_of_another_cluster_is_refused():
    """Not one file of it is moved."""
    disk = damaged()
    disk.damage(HOME / segment_name(1), 0, bytes(SECTOR_BYTES))
    before = disk.files()

    with pytest.raises(JournalError, match="another cluster's directory"):
        Journal.open(HOME, b"other-cluster-id", disk=disk, keep_damaged=True)
    assert (disk.files(), disk.names(HOME)) == (before, [path.name for path in before])


def test_what_is_set_aside_takes_nobodys_name():
    """Segments that are numbered anew after a loss, and tails that are dropped at the same place again."""
    disk, kept = reference(), {}
    for number, damaged_next in enumerate((2, 1, 1)):
        journal = opened(disk)
        journal.append(chain([dense(30, number)], after=last_of(journal), term=2 + number), journal.commit_index)
        journal.truncate_after(journal.last_index - 1)
        journal.close()
        aside = {path: bytes(disk.contents(path)) for path in disk.files() if path.parent.name == "aside"}
        assert len(aside) > len(kept)
        assert aside.items() >= kept.items()
        disk, kept = disk.after_kill(), aside
        disk.damage(HOME / segment_name(damaged_next), 2 * SECTOR_BYTES + 100, b"\xff\xff")


def last_of(journal: Journal) -> Entry:
    return decode_entry(held_by(journal)[-1])


def test_a_crash_at_any_moment_of_the_opening_forgets_nothing():
    """However far setting aside came, the next opening comes to the same verdict."""
    sound = opened(damaged())
    for crash_at in count(1):
        disk = damaged()
        disk.crash_at = len(disk.operations) + crash_at
        try:
            opened(disk)
        except Crashed:
            for names_kept in range(disk.pending_names + 1):
                again = opened(disk.after_crash(lambda _place: False, names_kept=names_kept))
                assert (held_by(again), again.suspect_index) == (held_by(sound), sound.suspect_index)
        else:
            break


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
