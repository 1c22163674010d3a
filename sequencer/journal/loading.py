"""Gets a journal's segments off the disk, for recovery, readers and tools."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sequencer.errors import CorruptJournalError
from sequencer.journal.archive import StoredSegment, open_segment
from sequencer.journal.disk import Disk
from sequencer.journal.format import SECTOR_BYTES, SegmentHeader, decode_segment_header, segment_name, segment_number
from sequencer.journal.recovery import check_headers

_PIECE_BYTES: Final = 4096
_UNREADABLE: Final = b"\xff"


def segment_numbers(disk: Disk, directory: Path) -> list[int]:
    """Of all segments that are there, plain or archived, in order. Raises OSError."""
    return sorted({number for name in disk.names(directory) if (number := segment_number(name)) is not None})


def read_header(disk: Disk, directory: Path, number: int) -> SegmentHeader:
    """A segment's header. Raises JournalError, or OSError where the file cannot be read."""
    segment = open_segment(disk, directory, number)
    try:
        return decode_segment_header(segment.pread(SECTOR_BYTES, 0), segment_name(number))
    finally:
        segment.close()


def read_headers(disk: Disk, directory: Path, cluster: bytes | None) -> list[SegmentHeader]:
    """The headers of all segments in order, checked against each other. Raises JournalError and OSError."""
    numbers = segment_numbers(disk, directory)
    headers = [read_header(disk, directory, number) for number in numbers]
    check_headers(headers, [segment_name(number) for number in numbers], cluster)
    return headers


def read_segment(disk: Disk, directory: Path, header: SegmentHeader) -> bytes:
    """A whole segment, of an archived one as far as its groups go; less where it ends too early. Raises OSError.

    What the disk cannot read comes as bytes that are neither blank nor a group: damage like any other.
    """
    segment = open_segment(disk, directory, header.number)
    try:
        return segment.pread(header.segment_bytes, 0)
    except CorruptJournalError:
        return b"".join(_readable_pieces(segment, header.segment_bytes))
    finally:
        segment.close()


def _readable_pieces(segment: StoredSegment, size_bytes: int) -> Iterator[bytes]:
    for offset in range(0, size_bytes, _PIECE_BYTES):
        try:
            yield segment.pread(min(_PIECE_BYTES, size_bytes - offset), offset)
        except CorruptJournalError:
            yield _UNREADABLE * min(_PIECE_BYTES, size_bytes - offset)
