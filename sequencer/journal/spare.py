"""The next segment, made ahead of need, in the background.

    IDLE --ask--> UNDER WAY --done--> READY --take--> IDLE
                      |
                      +--failed--> IDLE        a full disk; the next `ask` or `take` tries again

Writing a segment's zeros takes long, and must not stall the node: whoever needs the file at once has it as
far as it is, and one that is filled by large groups is better without zeros (see segment). What goes wrong
beside the node only shows as "not ready": `take` then makes the segment itself, and raises what stands against it.
"""

from concurrent.futures import Future
from pathlib import Path
from threading import Event

from sequencer.journal.disk import Disk
from sequencer.journal.format import SECTOR_BYTES
from sequencer.journal.segment import make_blank

_SPARE_NAME = "next.tmp"
_LARGE_NAME = "large.tmp"


class Spare:
    """At most one blank file, of the usual size."""

    def __init__(self, disk: Disk, directory: Path, segment_bytes: int) -> None:
        self._disk = disk
        self._path = directory / _SPARE_NAME
        self._large_path = directory / _LARGE_NAME
        self._segment_bytes = segment_bytes
        self._work: Future[None] | None = None
        self._fd: int | None = None
        self.failed = False
        """The last attempt found no room; the next one that succeeds clears it."""
        self._zeros_enough = Event()

    @property
    def room_bytes(self) -> int:
        """What groups can take of the spare; 0 as long as there is none. Any thread may ask."""
        return self._segment_bytes - SECTOR_BYTES if self._fd is not None else 0

    def ask(self, *, zeros: bool = True) -> None:
        """Begin to make one, with zeros written or without, unless it is there or under way."""
        self._settle(wait=False)
        if self._fd is None and self._work is None:
            self._want(zeros=zeros)
            self._work = self._disk.background(self._make)

    def take(self, size_bytes: int, *, zeros: bool = False) -> tuple[int, Path, int]:
        """A blank file of at least so many bytes: its number, name and size. Raises OSError.

        With `zeros`, all of them are waited for. A group that is larger than a segment gets a file of its own.
        """
        self._want(zeros=zeros)
        if size_bytes > self._segment_bytes:
            return self._blank(self._large_path, size_bytes), self._large_path, size_bytes
        self._settle(wait=True)
        if self._fd is None:
            self._make()
        fd, self._fd = self._fd, None
        assert fd is not None, f"{self._path} was made, or an error was raised"
        return fd, self._path, self._segment_bytes

    def close(self) -> None:
        """Stop what is under way and remove the file."""
        self._want(zeros=False)
        self._settle(wait=True)
        if self._fd is not None:
            self._disk.close(self._fd)
            self._disk.remove(self._path)
            self._fd = None

    def _want(self, *, zeros: bool) -> None:
        if zeros:
            self._zeros_enough.clear()
        else:
            self._zeros_enough.set()

    def _make(self) -> None:
        self._fd = self._blank(self._path, self._segment_bytes)
        self.failed = False

    def _blank(self, path: Path, size_bytes: int) -> int:
        return make_blank(self._disk, path, size_bytes, self._zeros_enough.is_set)

    def _settle(self, *, wait: bool) -> None:
        """Let go of work that has ended; its OSError only means that there is no spare."""
        if self._work is None or not (wait or self._work.done()):
            return
        error = self._work.exception()
        self._work = None
        self.failed = self.failed or isinstance(error, OSError)
        if error is not None and not isinstance(error, OSError):
            raise error
