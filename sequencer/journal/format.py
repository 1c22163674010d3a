"""What a journal's files hold, byte for byte. Pure: bytes in, values out.

A segment is a file of a fixed size, full of zeros when it is made. Its first sector is its header;
groups follow, each from the beginning of a sector:

    | header | group 1     | group 2 | group 3       |  zeros ...                  |
    0       512 ...                                  ^ tail                        ^ segment_bytes

A group is what one write and one sync made durable: a header, then encoded entries back to back, then
zeros up to the next sector. All integers are little-endian.

Segment header, 512 bytes:

    offset size field
         0    4  magic          b"ISJL"
         4    4  version        of the whole format; a newer one is refused
         8    4  crc            CRC-32 of the version and of the sector after this field, in every version
        12    4  reserved       zero
        16   16  cluster        id of the group of nodes
        32    8  salt           random, new for every segment
        40    8  number         1, 2, 3, ...
        48    8  segment_bytes  size of the file
        56    8  first_index    of its first entry; it overrides what earlier segments hold from there on
        64    8  first_group    number of its first group
        72    8  previous_end   offset where the groups of the segment before it end (0: there is none)
        80    8  commit_index   known to be committed when it was opened
        88  424  reserved       zero

Group header, 64 bytes:

    offset size field
         0    4  magic           b"ISG1"
         4    4  crc             CRC-32 of the header after this field, salted
         8    8  number          1, 2, 3, ... over the whole journal
        16    8  offset          of this header in its file
        24    8  first_index     of its first entry
        32    8  commit_index    known to be committed when it was written
        40    4  entry_count
        44    4  payload_bytes   of all its entries
        48    4  headers_crc     CRC-32 of its entries' headers, salted; they hold the checksums of the rest
        52    4  sparse_sectors  its sectors that hold at most one bit that is set
        56    8  reserved        zero

Salted: the checksum starts from a value made of the segment's salt and number. So a block of another
file, or of the same file at another offset, never passes for a group.

`sparse_sectors` tells an unwritten sector from data: a sector that a crash lost reads as zeros. More
blank sectors than this number prove a loss. Sectors of a single bit count too, because one flipped
bit makes them blank, and rot must never be taken for a write that was not acknowledged.
"""

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sequencer.envelope import ENTRY_HEADER_BYTES, entry_headers
from sequencer.errors import CorruptJournalError, EnvelopeError, JournalError

SECTOR_BYTES: Final = 512
FORMAT_VERSION: Final = 2
SEGMENT_MAGIC: Final = b"ISJL"
GROUP_MAGIC: Final = b"ISG1"
GROUP_HEADER_BYTES: Final = 64
SALT_BYTES: Final = 8
CLUSTER_BYTES: Final = 16
BLANK_SECTOR: Final = bytes(SECTOR_BYTES)

REPAIR: Final = "nothing was changed: repair this node from a peer, or restore the directory from a backup"
"""What an operator can do about damage; ends every message that reports it."""

_SEGMENT = struct.Struct("<4sIII16s8sQQQQQQ")
_SEGMENT_CRC_FROM = 12
_GROUP = struct.Struct("<4sIQQQQIIIIII")
_GROUP_BODY = struct.Struct("<QQQQIIIIII")
_GROUP_CRC_FROM = 8
# A sector with at most one set bit has 511 blank bytes, so at least 255 of them in a row, and in those at least
# three in a row of every 64th byte. Looking at every 64th byte first is five times faster.
_BLANK_RUN = bytes(255)
_SAMPLE_BYTES = 64
_BLANK_SAMPLES = bytes(3)

assert _GROUP.size == GROUP_HEADER_BYTES


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The first sector of a segment; the fields are described at the top of this file."""

    cluster: bytes
    salt: bytes
    number: int
    segment_bytes: int
    first_index: int
    first_group: int
    previous_end: int
    commit_index: int

    @property
    def name(self) -> str:
        """The name of the file."""
        return segment_name(self.number)

    @property
    def seed(self) -> int:
        """What the checksums of this segment's groups start from."""
        return zlib.crc32(self.salt + self.number.to_bytes(8, "little"))


class GroupHeader(NamedTuple):
    """What stands before the entries of a group; the fields are described at the top of this file."""

    number: int
    offset: int
    first_index: int
    commit_index: int
    entry_count: int
    payload_bytes: int
    headers_crc: int
    sparse_sectors: int

    @property
    def last_index(self) -> int:
        """Index of its last entry."""
        return self.first_index + self.entry_count - 1

    @property
    def payload_offset(self) -> int:
        """Where its first entry begins in the file."""
        return self.offset + GROUP_HEADER_BYTES

    @property
    def end(self) -> int:
        """Offset of the sector after it."""
        return self.offset + group_span_bytes(self.payload_bytes)


def segment_name(number: int) -> str:
    """`00000001.seg` for 1."""
    return f"{number:08d}.seg"


def archive_name(number: int) -> str:
    """`00000001.arc` for 1."""
    return f"{number:08d}.arc"


def segment_number(name: str) -> int | None:
    """1 for `00000001.seg` or `00000001.arc`; None for the name of anything else, which is left alone."""
    stem = name.removesuffix(".seg").removesuffix(".arc")
    if not (stem.isascii() and stem.isdigit()):
        return None
    number = int(stem)
    return number if number > 0 and name in (segment_name(number), archive_name(number)) else None


def round_to_sectors(size_bytes: int) -> int:
    """The bytes of the sectors that so many bytes touch."""
    return -(-size_bytes // SECTOR_BYTES) * SECTOR_BYTES


def group_span_bytes(payload_bytes: int) -> int:
    """What a group of so many bytes of entries takes in a segment."""
    return round_to_sectors(GROUP_HEADER_BYTES + payload_bytes)


def encode_segment_header(header: SegmentHeader) -> bytes:
    """The first sector of a segment."""
    packed = _SEGMENT.pack(
        SEGMENT_MAGIC, FORMAT_VERSION, 0, 0, header.cluster, header.salt,
        header.number, header.segment_bytes, header.first_index, header.first_group, header.previous_end,
        header.commit_index,
    )  # fmt: skip
    sector = bytearray(packed.ljust(SECTOR_BYTES, b"\0"))
    struct.pack_into("<I", sector, 8, _segment_crc(sector))
    return bytes(sector)


def _segment_crc(sector: bytes | bytearray) -> int:
    return zlib.crc32(memoryview(sector)[_SEGMENT_CRC_FROM:SECTOR_BYTES], zlib.crc32(memoryview(sector)[4:8]))


def decode_segment_header(sector: bytes, name: str) -> SegmentHeader:
    """Read the first sector of the segment called `name`.

    Raises JournalError for a format that this version does not know, CorruptJournalError for damage.
    """
    if len(sector) < SECTOR_BYTES or sector[:4] != SEGMENT_MAGIC:
        raise CorruptJournalError(
            f"{name} offset 0: a segment begins with {SEGMENT_MAGIC!r}, got {sector[:4]!r}; {REPAIR}"
        )
    (
        _magic, version, crc, _zero, cluster, salt, number, segment_bytes, first_index, first_group,
        previous_end, commit_index,
    ) = _SEGMENT.unpack_from(sector)  # fmt: skip
    if _segment_crc(sector) != crc:
        raise CorruptJournalError(f"{name} offset 0: the segment header does not match its checksum; {REPAIR}")
    if version != FORMAT_VERSION:
        raise JournalError(
            f"{name} has journal format {version}, this version reads format {FORMAT_VERSION}: "
            "run the version that wrote it"
        )
    return SegmentHeader(
        cluster, salt, number, segment_bytes, first_index, first_group, previous_end, commit_index
    )  # fmt: skip


def encode_group_header(group: GroupHeader, seed: int) -> bytes:
    """The 64 bytes before a group's entries; `seed` is the segment's."""
    body = _GROUP_BODY.pack(
        group.number, group.offset, group.first_index, group.commit_index, group.entry_count, group.payload_bytes,
        group.headers_crc, group.sparse_sectors, 0, 0,
    )  # fmt: skip
    return GROUP_MAGIC + zlib.crc32(body, seed).to_bytes(4, "little") + body


def decode_group_header(data: bytes | memoryview, at: int, seed: int, offset: int) -> GroupHeader | None:
    """The group header at `data[at:]`, or None where there is none that was written for `offset`."""
    if len(data) < at + GROUP_HEADER_BYTES:
        return None
    (
        magic, crc, number, own_offset, first_index, commit_index, entry_count, payload_bytes, headers_crc,
        sparse_sectors, _zero, _zero_too,
    ) = _GROUP.unpack_from(data, at)  # fmt: skip
    if magic != GROUP_MAGIC or own_offset != offset:
        return None
    if zlib.crc32(data[at + _GROUP_CRC_FROM : at + GROUP_HEADER_BYTES], seed) != crc:
        return None
    return GroupHeader(
        number, offset, first_index, commit_index, entry_count, payload_bytes, headers_crc, sparse_sectors
    )  # fmt: skip


def headers_crc(entries: Iterable[bytes | memoryview], seed: int) -> int:
    """The salted checksum of a group's entries; their headers are enough."""
    crc = seed
    for entry in entries:
        crc = zlib.crc32(memoryview(entry)[:ENTRY_HEADER_BYTES], crc)
    return crc


def holds_entries(payload: memoryview, group: GroupHeader, seed: int) -> bool:
    """Whether these bytes are the entries that the group was written with."""
    if len(payload) != group.payload_bytes:
        return False
    try:
        return headers_crc(entry_headers(payload), seed) == group.headers_crc
    except EnvelopeError:
        return False


def count_sparse_sectors(parts: Sequence[bytes]) -> int:
    """How many sectors of a group with these entries will hold at most one set bit.

    A sector in which a header begins, or goes on, holds more (of its magic), so only sectors that lie
    within one entry are looked at, and the last one, which padding completes.
    """
    count = 0
    offset = GROUP_HEADER_BYTES
    for part in parts:
        if part[::_SAMPLE_BYTES].find(_BLANK_SAMPLES) >= 0 and part.find(_BLANK_RUN) >= 0:
            count += _count_sparse_within(part, -offset % SECTOR_BYTES)
        offset += len(part)
    tail_bytes = offset % SECTOR_BYTES
    if tail_bytes and tail_bytes <= len(parts[-1]) and _is_sparse(parts[-1][-tail_bytes:]):
        count += 1
    return count


def count_blank_sectors(data: bytes, start: int, end: int) -> int:
    """How many sectors between two offsets are all zeros."""
    return sum(data[at : at + SECTOR_BYTES] == BLANK_SECTOR for at in range(start, end, SECTOR_BYTES))


def _count_sparse_within(part: bytes, start: int) -> int:
    stop = len(part) - SECTOR_BYTES + 1
    return sum(_is_sparse(part[at : at + SECTOR_BYTES]) for at in range(start, stop, SECTOR_BYTES))


def _is_sparse(data: bytes) -> bool:
    return data.count(0) >= len(data) - 1 and int.from_bytes(data, "little").bit_count() <= 1
