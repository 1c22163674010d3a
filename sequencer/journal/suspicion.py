"""What a node remembers of having lost what it may have acknowledged: one small file beside the segments.

    suspect   | magic b"ISS1" | crc, 4 bytes | index, 8 bytes |     there: the node is suspect
                                                                    absent: it is not

`index` is the highest entry that the node may have acknowledged, UNKNOWN_INDEX where nothing tells. The file
is durable before anything else is done about the damage, and goes when a leader's committed log covers the
place. One that does not read back counts as UNKNOWN_INDEX: doubt is never forgotten.
"""

import zlib
from pathlib import Path
from typing import Final

from sequencer.journal.disk import Disk, replace_file

SUSPECT_NAME: Final = "suspect"
UNKNOWN_INDEX: Final = (1 << 64) - 1
_MAGIC = b"ISS1"
_BYTES = 16


def read_suspicion(disk: Disk, directory: Path) -> int:
    """The index that is remembered, 0 where there is none. Raises OSError."""
    if SUSPECT_NAME not in disk.names(directory):
        return 0
    fd = disk.open(directory / SUSPECT_NAME)
    try:
        data = disk.pread(fd, _BYTES + 1, 0)
    finally:
        disk.close(fd)
    if len(data) != _BYTES or data[:4] != _MAGIC or zlib.crc32(data[8:]) != int.from_bytes(data[4:8], "little"):
        return UNKNOWN_INDEX
    return int.from_bytes(data[8:], "little")


def remember_suspicion(disk: Disk, directory: Path, index: int) -> int:
    """Make it durable, and return the higher of this index and the one remembered before. Raises OSError."""
    highest = max(index, read_suspicion(disk, directory))
    body = highest.to_bytes(8, "little")
    replace_file(disk, directory / SUSPECT_NAME, _MAGIC + zlib.crc32(body).to_bytes(4, "little") + body)
    return highest


def forget_suspicion(disk: Disk, directory: Path) -> None:
    """The place is covered. Raises OSError."""
    disk.remove(directory / SUSPECT_NAME)
    disk.sync_directory(directory)
