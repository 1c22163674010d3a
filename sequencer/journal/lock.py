"""One process a directory: whoever reads a ballot or a journal in order to go on from there holds this lock first.

What was read before it may be changed by a process that is just ending.
"""

from pathlib import Path
from typing import Final, Self

from sequencer.errors import JournalError
from sequencer.journal.disk import LOCAL_DISK, Disk

LOCK_NAME: Final = "lock"


class DirectoryLock:
    """A directory that is held; made by `take`."""

    def __init__(self, fd: int, disk: Disk) -> None:
        self._fd: int | None = fd
        self._disk = disk

    @classmethod
    def take(cls, directory: Path | str, *, disk: Disk = LOCAL_DISK) -> Self:
        """Hold a directory, which is made if need be. Raises RunningError if another process does, and JournalError."""
        path = Path(directory)
        try:
            disk.make_directory(path)
            return cls(disk.lock(path / LOCK_NAME), disk)
        except OSError as error:
            raise JournalError(
                f"cannot open the journal in {path}: {error.strerror or error}; "
                "check the directory, its owner and the disk"
            ) from error

    def release(self) -> None:
        """Let the directory go; once is enough."""
        fd, self._fd = self._fd, None
        if fd is not None:
            self._disk.close(fd)
