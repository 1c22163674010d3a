"""Segment files: how one is made, and how groups are written to it.

    next.tmp   reserved, zeros        made ahead of need (see spare)
        |      header, synced
        v
    00000002.seg                      renamed, directory synced: now it exists

So a segment that has its name has its header and all of its blocks. Where zeros were written, a later write
changes no metadata, which keeps its sync cheap. Where they were not, its first sync also marks its blocks as
written: 8 KB took 240 us instead of 186, and 512 KB 1,270 instead of 880. Zeros cost more than that where
groups are large, since every byte is then written twice.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from sequencer.journal.disk import Disk, write_whole
from sequencer.journal.extent import Extent
from sequencer.journal.format import (
    GROUP_HEADER_BYTES,
    SECTOR_BYTES,
    GroupHeader,
    SegmentHeader,
    decode_group_header,
    encode_group_header,
    encode_segment_header,
    holds_entries,
)

_ZEROS: Final = bytes(1 << 20)
_UNSYNCED_BYTES_MAX: Final = 8 << 20


def fill_with_zeros(disk: Disk, fd: int, start: int, stop: int) -> None:
    """Blank a range durably."""
    _write_zeros(disk, fd, start, stop, lambda: False)


def make_blank(disk: Disk, path: Path, size_bytes: int, enough: Callable[[], bool] = lambda: False) -> int:
    """A file that durably reads as zeros, open for writing. Raises OSError; then there is no such file.

    All room is taken first, so that a full disk says no before anything is written. Then zeros are written for
    as long as it is not `enough`: the file is good without them, they only make later syncs cheaper.
    """
    fd = disk.create(path)
    try:
        disk.reserve(fd, size_bytes)
        disk.sync(fd)
        _write_zeros(disk, fd, 0, size_bytes, enough)
    except BaseException:
        disk.close(fd)
        disk.remove(path)
        raise
    return fd


def _write_zeros(disk: Disk, fd: int, start: int, stop: int, enough: Callable[[], bool]) -> None:
    # In small steps, each synced, so that other files' syncs never queue behind a flood.
    unsynced_bytes = 0
    for offset in range(start, stop, len(_ZEROS)):
        if enough():
            break
        zeros = _ZEROS[: stop - offset]
        write_whole(disk, fd, [zeros], offset)
        unsynced_bytes += len(zeros)
        if unsynced_bytes >= _UNSYNCED_BYTES_MAX:
            disk.sync(fd)
            unsynced_bytes = 0
    if unsynced_bytes:
        disk.sync(fd)


def write_last_group_again(disk: Disk, fd: int, extent: Extent) -> None:
    """Write the same bytes once more and sync, so that the last group counts as durable. Raises OSError.

    The process before this one may have been stopped by a sync that failed. Linux then takes the pages for written:
    they read back whole, yet a later sync of them writes nothing. That can be true of no more than one group: none
    is started before the sync of the one before it returned, nor after one that failed. It cannot be true of a
    segment's header, nor of the file that a suspicion is in: those get their names after their syncs.
    """
    if extent.end > extent.last_offset:
        data = disk.pread(fd, extent.end - extent.last_offset, extent.last_offset)
        group = decode_group_header(data, 0, extent.seed, extent.last_offset)
        payload = memoryview(data)[GROUP_HEADER_BYTES:][: group.payload_bytes if group else 0]
        if group is None or not holds_entries(payload, group, extent.seed):
            raise OSError(f"{extent.header.name} offset {extent.last_offset} reads differently from one moment ago")
        write_whole(disk, fd, [data], extent.last_offset)
    disk.sync(fd)


class SegmentWriter:
    """A segment that takes groups at its tail."""

    def __init__(self, disk: Disk, fd: int, header: SegmentHeader, tail: int = SECTOR_BYTES) -> None:
        self._disk = disk
        self._fd = fd
        self.header = header
        self.seed = header.seed
        self.tail = tail

    @property
    def room_bytes(self) -> int:
        """What groups can still take of it, their headers and padding included."""
        return self.header.segment_bytes - self.tail

    def write_header(self) -> None:
        """Put the first sector down durably. Raises OSError."""
        write_whole(self._disk, self._fd, [encode_segment_header(self.header)], 0)
        self._disk.sync(self._fd)

    def append(self, group: GroupHeader, parts: Sequence[bytes]) -> None:
        """Write one group at the tail and sync. Raises OSError; then it must not be used again."""
        assert group.offset == self.tail, f"{group} belongs at the tail {self.tail} of {self.header.name}"
        written_bytes = self._disk.pwritev(self._fd, [encode_group_header(group, self.seed), *parts], self.tail)
        if written_bytes != GROUP_HEADER_BYTES + group.payload_bytes:
            raise OSError(f"{group.payload_bytes} bytes of entries were to be written, the disk took {written_bytes}")
        self._disk.sync(self._fd)
        self.tail = group.end

    def close(self) -> None:
        """Let the file go."""
        self._disk.close(self._fd)
