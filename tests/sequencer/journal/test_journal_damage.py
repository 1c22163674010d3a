"""Every way in which stored bytes can be wrong, and what recovery makes of it.

The reference journal has two segments; what was acknowledged is all of its groups:

    00000001.seg | header | group 1 | group 2      | free    |
    00000002.seg | header | group 3 | group 4 (last)     | free    |
"""

from collections.abc import Iterator
from itertools import product

import pytest

from sequencer.errors import CorruptJournalError, JournalError
from sequencer.journal import Journal, verify
from sequencer.journal.format import (
    SECTOR_BYTES,
    GroupHeader,
    decode_group_header,
    decode_segment_header,
    segment_name,
)
from sequencer.journal.recovery import Ending, Recovery, check_headers, recover
from tests.models.entries import CLUSTER, chain, dense
from tests.models.faulty_disk import FaultyDisk
from tests.models.journals import HOME, disk_with, encoded, held_by, open_on

SMALL_SEGMENT_BYTES = 5632
FIRST, LAST = segment_name(1), segment_name(2)
ENTRIES = chain([dense(size, size) for size in (40, 30, 1500, 1900, 200, 170)])
GROUPS = [ENTRIES[0:1], ENTRIES[1:3], ENTRIES[3:4], ENTRIES[4:6]]


def files_of(disk: FaultyDisk) -> dict[str, bytearray]:
    return {name: disk.contents(HOME / name) for name in disk.names(HOME) if name.endswith(".seg")}


@pytest.fixture(scope="module")
def files() -> dict[str, bytearray]:
    """The reference journal's files."""
    found = files_of(disk_with(GROUPS, segment_bytes=SMALL_SEGMENT_BYTES))
    assert list(found) == [FIRST, LAST]
    return found


def judge(files: dict[str, bytearray]) -> Recovery:
    headers = [decode_segment_header(bytes(data[:SECTOR_BYTES]), name) for name, data in files.items()]
    check_headers(headers, list(files), CLUSTER)
    return recover(headers, lambda header: bytes(files[header.name]))


def outcome(files: dict[str, bytearray]) -> str:
    """What recovery says, with how much of the log it still takes for valid."""
    try:
        found = judge(files)
    except CorruptJournalError:
        return "corrupt"
    except JournalError:
        return "refused"
    return f"{found.tail.ending.value} {found.extents[-1].next_index - 1}"


def groups_of(data: bytes) -> Iterator[GroupHeader]:
    seed = decode_segment_header(data[:SECTOR_BYTES], "segment").seed
    offset = SECTOR_BYTES
    while group := decode_group_header(data, offset, seed, offset):
        yield group
        offset = group.end


def expected_outcomes(name: str, data: bytes) -> list[str]:
    """For each byte of a segment, what one flipped bit in it has to lead to."""
    intact = f"clean {len(ENTRIES)}"
    expected = ["corrupt"] * SECTOR_BYTES
    groups = list(groups_of(data))
    for group in groups:
        is_last = name == LAST and group is groups[-1]
        used_bytes = group.payload_offset + group.payload_bytes - group.offset
        expected += [f"suspect {group.first_index - 1}" if is_last else "corrupt"] * used_bytes
        expected += [intact] * (group.end - group.offset - used_bytes)
    if name == LAST:
        expected += [f"suspect {len(ENTRIES)}"] * SECTOR_BYTES
        expected += [f"torn {len(ENTRIES)}"] * (len(data) - len(expected))
    return expected + [intact] * (len(data) - len(expected))


@pytest.mark.parametrize("name", [FIRST, LAST])
def test_every_flipped_bit_is_judged_by_where_it_is(files: dict[str, bytearray], name: str):
    """Rot before the last group is corruption; in the last group it is suspect; in free space it costs nothing."""
    data = files[name]
    expected = expected_outcomes(name, bytes(data))

    wrong = []
    for at, bit in product(range(len(data)), range(8)):
        data[at] ^= 1 << bit
        if (found := outcome(files)) != expected[at]:
            wrong.append((at, bit, found, expected[at]))
        data[at] ^= 1 << bit
    assert wrong == []


@pytest.mark.parametrize("name", [FIRST, LAST])
def test_a_file_that_is_cut_short_is_corrupt(files: dict[str, bytearray], name: str):
    """A segment has its full size before it has its name; of one that was gone on from, only its groups are needed."""
    needed_bytes = len(files[name]) if name == LAST else list(groups_of(bytes(files[name])))[-1].end
    short = {outcome({**files, name: files[name][:length]}) for length in range(needed_bytes)}
    long = {outcome({**files, name: files[name][:length]}) for length in range(needed_bytes, len(files[name]) + 1)}

    assert (short, long) == ({"corrupt"}, {f"clean {len(ENTRIES)}"})


@pytest.mark.parametrize("name", [FIRST, LAST])
def test_a_lost_sector_of_a_durable_group_is_corrupt(files: dict[str, bytearray], name: str):
    """A blank sector is a torn write only in the last group: elsewhere it was durable once."""
    durable = [group for group in groups_of(bytes(files[name])) if group.last_index < ENTRIES[-1].index]

    for at in (at for group in durable for at in range(group.offset, group.end, SECTOR_BYTES)):
        damaged = files[name].copy()
        damaged[at : at + SECTOR_BYTES] = bytes(SECTOR_BYTES)
        assert outcome({**files, name: damaged}) == "corrupt"


def torn(payloads: list[bytes], lost: set[int]) -> tuple[str, Recovery]:
    """A journal of two groups, the last of which has lost these of its sectors."""
    entries = chain([dense(100), *payloads])
    files = files_of(disk_with([entries[:1], entries[1:]], segment_bytes=64 << 10))
    data = files[FIRST]
    last = list(groups_of(bytes(data)))[-1]
    for place in lost:
        at = last.offset + place * SECTOR_BYTES
        assert at < last.end
        data[at : at + SECTOR_BYTES] = bytes(SECTOR_BYTES)
    return outcome(files), judge(files)


@pytest.mark.parametrize("sectors", [1, 2, 5, 8])
def test_every_torn_last_group_is_cut(sectors: int):
    """Whichever sectors of an unacknowledged group a crash lost, what was acknowledged stays, and the rest is cut."""
    payloads = [dense(sectors * SECTOR_BYTES - 64 - 272)]
    for kept in product([False, True], repeat=sectors):
        lost = {place for place, is_kept in enumerate(kept) if not is_kept}
        expected = "clean 2" if not lost else "clean 1" if len(lost) == sectors else "torn 1"
        assert torn(payloads, lost)[0] == expected


def test_prefixes_and_suffixes_of_a_large_group_are_cut():
    """The same, for a group of many entries, with its end or its beginning lost."""
    payloads = [dense(300, place) for place in range(40)]
    sectors = -(-(64 + 40 * (300 + 272)) // SECTOR_BYTES)

    losses = [set(range(cut, sectors)) for cut in range(1, sectors)]
    losses += [set(range(cut)) for cut in range(1, sectors)]
    assert {torn(payloads, lost)[0] for lost in losses} == {"torn 1"}


def test_a_torn_group_is_cut_to_its_last_sector():
    """What is cut reaches from the end of the acknowledged groups to the last sector with anything in it."""
    _, found = torn([dense(2000)], {0, 4})

    assert (found.tail.ending, found.tail.dirty_bytes) == (Ending.TORN, 4 * SECTOR_BYTES)


def test_blank_sectors_in_data_are_no_torn_write():
    """Payloads full of zeros are announced, so only a sector that is missing besides counts as lost."""
    payload = dense(600) + bytes(1500) + dense(600)

    assert torn([payload], set())[0] == "clean 2"
    assert torn([payload], {0})[0] == "torn 1"
    assert torn([payload], {1})[0] == "torn 1"


def test_rot_that_blanks_a_sector_is_not_taken_for_a_torn_write():
    """A sector of one set bit that loses it is suspect: it may have been acknowledged."""
    payload = dense(600) + bytes(1000) + b"\x10" + bytes(1000) + dense(600)
    entries = chain([dense(100), payload])
    files = files_of(disk_with([entries[:1], entries[1:]], segment_bytes=64 << 10))
    at = files[FIRST].index(bytes(600) + b"\x10" + bytes(600)) + 600

    files[FIRST][at] = 0

    assert outcome(files) == "suspect 1"


def test_corruption_names_file_offset_entries_and_remedy(files: dict[str, bytearray]):
    """An operator learns which file, where, which entries, and what to do."""
    group = list(groups_of(bytes(files[FIRST])))[1]
    damaged = files[FIRST].copy()
    damaged[group.payload_offset] ^= 1

    with pytest.raises(CorruptJournalError, match=rf"{FIRST} offset {group.offset}: entries 2 to 3 .* from a peer"):
        judge({**files, FIRST: damaged})


def test_corruption_names_the_entries_when_the_header_is_lost(files: dict[str, bytearray]):
    """The range is told by what follows, where the group itself cannot tell."""
    group = next(groups_of(bytes(files[FIRST])))
    damaged = files[FIRST].copy()
    damaged[group.offset : group.end] = bytes(group.end - group.offset)

    with pytest.raises(CorruptJournalError, match=rf"{FIRST} offset {group.offset}: entries 1 to 1 "):
        judge({**files, FIRST: damaged})


@pytest.mark.parametrize("gone", [FIRST, LAST])
def test_a_missing_segment_is_named(gone: str):
    """A segment that is not there, though a later one is, is corruption."""
    disk = disk_with([[entry] for entry in ENTRIES], segment_bytes=2048)
    disk.remove(HOME / gone)

    with pytest.raises(CorruptJournalError, match=f"{gone} is missing"):
        open_on(disk)


def test_another_clusters_journal_is_refused(files: dict[str, bytearray]):
    """A node does not take the directory of another group for its own."""
    headers = [decode_segment_header(bytes(data[:SECTOR_BYTES]), name) for name, data in files.items()]

    with pytest.raises(JournalError, match="belongs to cluster"):
        check_headers(headers, list(files), b"?" * 16)


def test_bytes_of_another_segment_never_pass():
    """A recycled block is no group, though it is one elsewhere: with the same offset, number and entries."""
    disk, other = disk_with(GROUPS[:2], segment_bytes=8192), FaultyDisk()
    journal = Journal.open(HOME, CLUSTER, segment_bytes=8192, salt=lambda size_bytes: b"\xee" * size_bytes, disk=other)
    for group in GROUPS[:3]:
        journal.append(group, group[0].index - 1)
    last = list(groups_of(bytes(other.contents(HOME / FIRST))))[-1]
    disk.damage(HOME / FIRST, last.offset, bytes(other.contents(HOME / FIRST)[last.offset : last.end]))

    journal = open_on(disk)

    assert (journal.suspect, held_by(journal)) == (True, encoded(ENTRIES[:3]))


def test_verify_reports_what_it_counted_up_to_the_damage():
    """The offline check tells how far the journal is good, and the first problem."""
    disk = disk_with(GROUPS, segment_bytes=SMALL_SEGMENT_BYTES)
    sound = verify(HOME, CLUSTER, disk=disk)
    group = next(groups_of(bytes(disk.contents(HOME / LAST))))
    disk.damage(HOME / LAST, group.payload_offset + 9, b"\xff")
    damaged = verify(HOME, CLUSTER, disk=disk)

    assert (sound.is_sound, sound.segments, sound.groups, sound.entries) == (True, 2, 4, 6)
    assert sound.last_digest == ENTRIES[-1].digest
    assert (damaged.is_sound, damaged.groups, damaged.last_index) == (False, 2, 3)
    assert f"{LAST} offset {group.offset}: entries 4 to 4 are damaged" in str(damaged.problem)


def test_verify_finds_a_broken_chain():
    """Entries that do not name the ones before them are a problem, even when every checksum is right."""
    other = chain([dense(50), dense(60)])
    disk = disk_with([ENTRIES[:1], [other[1]]])

    assert "follows an entry with digest" in str(verify(HOME, disk=disk).problem)
