"""What the journal takes out of its way and never destroys: one directory beside the segments.

    aside | 00000003.seg.1            a segment that is damaged, or that lies behind the damage
          | 00000001-5-9.entries      a dropped tail: entries 5 to 9, dropped while segment 1 was the last

Nothing there is ever overwritten: numbers of segments and of entries come again after a loss, so each file gets
a name that is still free. Every operation raises OSError as the disk does.
"""

from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Final

from sequencer.journal.disk import Disk, new_file, write_whole

ASIDE_NAME: Final = "aside"


class Aside:
    """The directory `aside` of a journal's directory; it is made when it is first needed."""

    def __init__(self, disk: Disk, directory: Path) -> None:
        self._disk = disk
        self._directory = directory
        self._path = directory / ASIDE_NAME

    def move(self, name: str) -> None:
        """Take a file of the journal's directory away, durably."""
        self._disk.make_directory(self._path)
        path = self._free_path(f"{name}.{number}" for number in count(1))
        self._disk.rename(self._directory / name, path)
        self._disk.sync_directory(self._path)
        self._disk.sync_directory(self._directory)

    def copy(self, name: str, pieces: Iterable[Sequence[bytes]]) -> None:
        """Write a new file, durably; what an interrupted copy left behind is no whole file, and goes."""
        self._disk.make_directory(self._path)
        path = self._free_path(name if number == 1 else f"{name}.{number}" for number in count(1))
        offset = 0
        with new_file(self._disk, path) as fd:
            for parts in pieces:
                write_whole(self._disk, fd, parts, offset)
                offset += sum(map(len, parts))

    def _free_path(self, names: Iterable[str]) -> Path:
        taken = set(self._disk.names(self._path))
        return self._path / next(name for name in names if name not in taken)
