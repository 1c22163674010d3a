"""The files that logs are in: `DIR/logs/NAME.log`, and `NAME.log.1` with what was before it.

    line --LogFile.write--> NAME.log --is large--> NAME.log.1, in place of the one before

Rules:
- Who writes a file bounds it: before a line, a large file gets its other name, and a new one is begun. Nothing is
  copied and nothing cut, so no line is lost; and nobody else has to run for it.
- Several processes may write one file (a replica and its watcher): who finds that it was set aside goes over to the new
  one. Who sets it aside holds the file's lock meanwhile.
- Lines are appended, each with one write. Files are for their user alone.
- A line that cannot be written (a full disk) is lost, and stops nobody: the next one tells how many were.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

STANDARD_OUTPUTS: Final = (1, 2)
_STANDARD_FDS: Final = 3


def log_path(data_dir: Path, name: str) -> Path:
    """Where the lines of a process are that `sequencer up` started."""
    return data_dir / "logs" / f"{name}.log"


def older(path: Path) -> Path:
    """The name that a log's file gets when it is set aside."""
    return path.with_name(f"{path.name}.1")


def open_to_append(path: Path) -> int:
    """A log's file, made where there is none. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.fchmod(fd, 0o600)
    return fd


class LogFile:
    """Where one process's lines go: `fds`, the last of them for lines.

    They are kept in the file at `path` and bounded, if that is where they lead; a terminal or a pipe is left alone.
    """

    def __init__(self, path: Path, bytes_max: int, fds: tuple[int, ...] = STANDARD_OUTPUTS) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._fds = fds
        self._lost = 0
        self._is_torn = False
        try:
            here = os.fstat(fds[-1])
        except OSError:  # closed: there is nobody who would read it
            self._is_kept = False
        else:
            self._is_kept = any(_is_at(each, here) for each in (path, older(path)))

    @classmethod
    def opened(cls, path: Path, bytes_max: int) -> "LogFile":
        """The file at `path`, of a process whose standard outputs lead elsewhere. Raises OSError."""
        return cls(path, bytes_max, (open_to_append(path),))

    def write(self, line: str) -> None:
        """Append a line, given without its end."""
        text = f"{line} lines_lost={self._lost}\n" if self._lost else f"{line}\n"
        data = text.encode(errors="backslashreplace")
        if self._is_torn:
            data = b"\n" + data
        try:
            self.bound()
            written = os.write(self._fds[-1], data)
        except OSError:  # told with the next line that can be written
            self._lost += 1
            return
        self._is_torn = written < len(data)
        self._lost = self._lost + 1 if self._is_torn else 0

    def bound(self) -> None:
        """Go on in a new file where this one is large, or was set aside by another process. Raises OSError."""
        if not self._is_kept:
            return
        here = os.fstat(self._fds[-1])
        if here.st_size >= self._bytes_max or not _is_at(self._path, here):
            self._go_over()

    def _go_over(self) -> None:
        fd = self._latest()
        try:
            for each in self._fds:
                os.dup2(fd, each, inheritable=each < _STANDARD_FDS)
        finally:
            os.close(fd)

    def _latest(self) -> int:
        """The file that is to be written now."""
        while True:
            fd = open_to_append(self._path)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                here = os.fstat(fd)
                if _is_at(self._path, here):
                    if here.st_size < self._bytes_max:
                        fcntl.flock(fd, fcntl.LOCK_UN)
                        return fd
                    self._path.rename(older(self._path))
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)


def _is_at(path: Path, here: os.stat_result) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
