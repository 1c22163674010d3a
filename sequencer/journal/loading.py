"""Gets a journal's segments off the disk, for recovery, readers and tools."""

from pathlib import Path

from sequencer.journal.disk import Disk
from sequencer.journal.format import SECTOR_BYTES, SegmentHeader, decode_segment_header, segment_number
from sequencer.journal.recovery import check_headers


def read_header(disk: Disk, path: Path) -> SegmentHeader:
    """A segment's header. Raises JournalError, or OSError where the file cannot be read."""
    fd = disk.open(path)
    try:
        return decode_segment_header(disk.pread(fd, SECTOR_BYTES, 0), path.name)
    finally:
        disk.close(fd)


def read_headers(disk: Disk, directory: Path, cluster: bytes | None) -> list[SegmentHeader]:
    """The headers of all segments in order, checked against each other. Raises JournalError and OSError."""
    names = [name for name in disk.names(directory) if segment_number(name) is not None]
    headers = [read_header(disk, directory / name) for name in names]
    check_headers(headers, names, cluster)
    return headers


def read_segment(disk: Disk, directory: Path, header: SegmentHeader) -> bytes:
    """A whole segment; fewer bytes where the file ends too early. Raises OSError."""
    fd = disk.open(directory / header.name)
    try:
        return disk.pread(fd, header.segment_bytes, 0)
    finally:
        disk.close(fd)
