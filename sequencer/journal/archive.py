"""A segment that nothing is written to any more, compressed: the same bytes in less room.

    00000007.seg --archive_segment--> 00000007.arc | header | table | piece | piece | ...

    offset size field
         0  512  the segment's own first sector
       512    4  magic      b"ISAR"
       516    4  crc        CRC-32 of the table after this field
       520    8  end        offset in the segment where its groups end
       528    8  pieces     how many there are
       536  12n  of each    8: offset in this file where it ends; the first begins behind the table
                            4: CRC-32 of it, as it stands here
                 pieces     zstd frames (RFC 8878), each of PIECE_BYTES of the segment from its second sector on; the
                            last one is shorter

All integers are little-endian. Groups keep their offsets and checksums, so whoever reads a segment need not know
which it is. A damaged piece ends what can be read: then groups are missing, and that is damage.
"""

import errno
import struct
import zlib
from pathlib import Path
from typing import Final, Protocol

import zstandard

from sequencer.errors import CorruptJournalError
from sequencer.journal.disk import Disk, new_file, write_whole
from sequencer.journal.format import REPAIR, SECTOR_BYTES, SegmentHeader, archive_name, segment_name

ARCHIVE_MAGIC: Final = b"ISAR"
PIECE_BYTES: Final = 1 << 20
LEVEL: Final = 1
_PIECES_MAX = 1 << 20
_TABLE = struct.Struct("<4sIQQ")
_PIECE = struct.Struct("<QI")


class StoredSegment(Protocol):
    """The bytes of a segment, however they are kept.

    Raises CorruptJournalError for what the disk cannot read, and OSError as it does.
    """

    def pread(self, size_bytes: int, offset: int) -> bytes:
        """Up to so many bytes from an offset; fewer only where no more can be read."""

    def close(self) -> None:
        """Let the file go."""


class PlainSegment:
    """One that is a file by itself. Raises FileNotFoundError where it is not there."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self._disk = disk
        self._name = path.name
        self._fd = disk.open(path)

    def pread(self, size_bytes: int, offset: int) -> bytes:
        try:
            return self._disk.pread(self._fd, size_bytes, offset)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise CorruptJournalError(
                f"{self._name} offset {offset}: the disk cannot read {size_bytes} bytes from there; {REPAIR}"
            ) from error

    def close(self) -> None:
        self._disk.close(self._fd)


class ArchivedSegment:
    """One that was compressed. Its first sector reads whatever became of the rest."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self._file = PlainSegment(disk, path)
        self._table: list[tuple[int, int]] | None = None
        self._piece: tuple[int, bytes] = (-1, b"")

    def pread(self, size_bytes: int, offset: int) -> bytes:
        if offset < SECTOR_BYTES:
            head = self._file.pread(min(size_bytes, SECTOR_BYTES - offset), offset)
            return head + self.pread(size_bytes - len(head), SECTOR_BYTES) if size_bytes > len(head) else head
        parts = []
        while size_bytes > 0:
            number, start = divmod(offset - SECTOR_BYTES, PIECE_BYTES)
            part = self._read_piece(number)[start : start + size_bytes]
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size_bytes -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        self._file.close()

    def _read_piece(self, number: int) -> bytes:
        """One piece; nothing behind the last one, and where it is damaged."""
        if self._table is None:
            self._table = self._read_table()
        if number != self._piece[0]:
            self._piece = (number, self._decompress(self._table, number) if number < len(self._table) else b"")
        return self._piece[1]

    def _read_table(self) -> list[tuple[int, int]]:
        """Where each piece ends, and its checksum; none where that is damaged."""
        head = self._file.pread(_TABLE.size, SECTOR_BYTES)
        if len(head) < _TABLE.size:
            return []
        magic, crc, _end, pieces = _TABLE.unpack(head)
        if magic != ARCHIVE_MAGIC or pieces > _PIECES_MAX:
            return []
        rest = self._file.pread(_PIECE.size * pieces, SECTOR_BYTES + _TABLE.size)
        if zlib.crc32(head[8:] + rest) != crc or len(rest) != _PIECE.size * pieces:
            return []
        return list(_PIECE.iter_unpack(rest))

    def _decompress(self, table: list[tuple[int, int]], number: int) -> bytes:
        start = table[number - 1][0] if number else _pieces_from(len(table))
        stop, crc = table[number]
        data = self._file.pread(stop - start, start)
        return zstandard.ZstdDecompressor().decompress(data) if zlib.crc32(data) == crc else b""


def open_segment(disk: Disk, directory: Path, number: int) -> StoredSegment:
    """A segment, plain or archived. Raises FileNotFoundError where it is neither, and OSError."""
    try:
        return PlainSegment(disk, directory / segment_name(number))
    except FileNotFoundError as missing:
        try:
            return ArchivedSegment(disk, directory / archive_name(number))
        except FileNotFoundError:
            raise missing from None


def archive_segment(disk: Disk, directory: Path, number: int, end: int) -> None:
    """Put an archive beside a segment whose groups end at `end`; then, when it has read back, take the segment away.

    At every moment one of the two is there, durably. Raises CorruptJournalError where the archive does not read
    back, with the segment still there, and OSError.
    """
    plain = PlainSegment(disk, directory / segment_name(number))
    try:
        _write_archive(disk, directory / archive_name(number), plain, end)
        _compare(disk, directory / archive_name(number), plain, end)
    finally:
        plain.close()
    disk.remove(directory / segment_name(number))
    disk.sync_directory(directory)


def restore_segment(disk: Disk, directory: Path, header: SegmentHeader, end: int) -> bool:
    """Make a segment plain again that is only archived, as far as `end`; tell whether it was.

    The archive stays, and is no longer looked at. Raises OSError.
    """
    if segment_name(header.number) in disk.names(directory):
        return False
    archived = ArchivedSegment(disk, directory / archive_name(header.number))
    try:
        with new_file(disk, directory / segment_name(header.number)) as fd:
            disk.reserve(fd, header.segment_bytes)
            write_whole(disk, fd, [archived.pread(end, 0)], 0)
    finally:
        archived.close()
    return True


def _write_archive(disk: Disk, path: Path, plain: PlainSegment, end: int) -> None:
    pieces = -(-(end - SECTOR_BYTES) // PIECE_BYTES)
    compressor = zstandard.ZstdCompressor(LEVEL)
    rows, offset = [], _pieces_from(pieces)
    with new_file(disk, path) as fd:
        for start in range(SECTOR_BYTES, end, PIECE_BYTES):
            packed = compressor.compress(plain.pread(min(PIECE_BYTES, end - start), start))
            write_whole(disk, fd, [packed], offset)
            offset += len(packed)
            rows.append(_PIECE.pack(offset, zlib.crc32(packed)))
        table = struct.pack("<QQ", end, pieces) + b"".join(rows)
        head = ARCHIVE_MAGIC + zlib.crc32(table).to_bytes(4, "little")
        write_whole(disk, fd, [plain.pread(SECTOR_BYTES, 0), head, table], 0)


def _pieces_from(pieces: int) -> int:
    """Where the first of so many pieces begins."""
    return SECTOR_BYTES + _TABLE.size + _PIECE.size * pieces


def _compare(disk: Disk, path: Path, plain: PlainSegment, end: int) -> None:
    archived = ArchivedSegment(disk, path)
    try:
        for start in range(0, end, PIECE_BYTES):
            size_bytes = min(PIECE_BYTES, end - start)
            if archived.pread(size_bytes, start) != plain.pread(size_bytes, start):
                raise CorruptJournalError(f"{path.name} does not read back as it was written; {REPAIR}")
    finally:
        archived.close()
