"""The seam between the journal and the operating system.

The journal asks for nothing but these few operations, so a simulation can stand in for the disk and
lose, tear or reorder whatever was not synced. What the journal relies on:

- a write is durable once `sync` of its file returned, and until then any subset of its sectors may be;
- a new or changed name is durable once `sync_directory` returned, and until then it may be or not;
- a sector is written whole or not at all.

Every operation raises OSError as the operating system does.
"""

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final, Protocol

from sequencer.errors import RunningError

_IOV_MAX = os.sysconf("SC_IOV_MAX")
_PIECE_BYTES = 1 << 20


class Disk(Protocol):
    """Files by number, names by path; offsets and sizes in bytes."""

    def make_directory(self, path: Path) -> None:
        """Make a directory, and those above it, durably; one that is there is left alone."""

    def names(self, directory: Path) -> list[str]:
        """What is in a directory, sorted."""

    def lock(self, path: Path) -> int:
        """Hold this file for as long as it is open. Raises RunningError if another process does."""

    def create(self, path: Path) -> int:
        """An empty file, open for reading and writing; what had the name is gone."""

    def open(self, path: Path, *, writable: bool = False) -> int:
        """A file that is there."""

    def close(self, fd: int) -> None:
        """Let a file go."""

    def reserve(self, fd: int, size_bytes: int) -> None:
        """Make a file so long, with blocks behind all of it, or fail at once for lack of room."""

    def pread(self, fd: int, size_bytes: int, offset: int) -> bytes:
        """Up to so many bytes from an offset; fewer only at the end of the file."""

    def pwritev(self, fd: int, parts: Sequence[bytes], offset: int) -> int:
        """Write parts back to back; returns the bytes written."""

    def sync(self, fd: int) -> None:
        """Make a file's bytes and size durable."""

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable."""

    def uncache(self, path: Path) -> None:
        """What is durable of this file will hardly be read again: memory need not be kept for it."""

    def rename(self, old: Path, new: Path) -> None:
        """Give a file another name, at once, in place of what had it."""

    def remove(self, path: Path) -> None:
        """Take a name away."""

    def background(self, work: Callable[[], None]) -> Future[None]:
        """Have work done beside the caller; the future tells its end."""


class LocalDisk:
    """The operating system's files."""

    def make_directory(self, path: Path) -> None:
        if path.is_dir():
            return
        self.make_directory(path.parent)
        path.mkdir(exist_ok=True)
        self.sync_directory(path.parent)

    def names(self, directory: Path) -> list[str]:
        return sorted(os.listdir(directory))

    def lock(self, path: Path) -> int:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise RunningError(
                f"{path.parent} is in use by process {holder}: stop it first, or use another directory"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        return fd

    def create(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)

    def open(self, path: Path, *, writable: bool = False) -> int:
        return os.open(path, os.O_RDWR if writable else os.O_RDONLY)

    def close(self, fd: int) -> None:
        os.close(fd)

    def reserve(self, fd: int, size_bytes: int) -> None:
        os.posix_fallocate(fd, 0, size_bytes)

    def pread(self, fd: int, size_bytes: int, offset: int) -> bytes:
        return os.pread(fd, size_bytes, offset)

    def pwritev(self, fd: int, parts: Sequence[bytes], offset: int) -> int:
        if len(parts) > _IOV_MAX:
            parts = [b"".join(parts)]
        return os.pwritev(fd, parts, offset)

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def uncache(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)

    def remove(self, path: Path) -> None:
        os.unlink(path)

    def background(self, work: Callable[[], None]) -> Future[None]:
        future: Future[None] = Future()
        threading.Thread(target=settle, args=(future, work), name="journal-spare").start()
        return future


LOCAL_DISK: Final = LocalDisk()


def settle(future: Future[None], work: Callable[[], None]) -> None:
    """Do the work and tell the future how it ended."""
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - it is raised where the future is asked
        future.set_exception(error)
    else:
        future.set_result(None)


def write_whole(disk: Disk, fd: int, parts: Sequence[bytes], offset: int) -> None:
    """Write all of the parts. Raises OSError also where the disk takes fewer bytes than it was given."""
    size_bytes = sum(map(len, parts))
    written_bytes = disk.pwritev(fd, parts, offset)
    if written_bytes != size_bytes:
        raise OSError(f"{size_bytes} bytes were to be written, the disk took {written_bytes}")


def read_whole(disk: Disk, path: Path) -> bytes:
    """All bytes of a file. Raises OSError."""
    pieces: list[bytes] = []
    fd = disk.open(path)
    try:
        while not pieces or len(pieces[-1]) == _PIECE_BYTES:
            pieces.append(disk.pread(fd, _PIECE_BYTES, _PIECE_BYTES * len(pieces)))
    finally:
        disk.close(fd)
    return b"".join(pieces)


@contextlib.contextmanager
def new_file(disk: Disk, path: Path) -> Iterator[int]:
    """A file to be written, under another name; at the end it is made durable, and then gets its name.

    So after a crash the name has its old contents or the new. A file that fails takes up no room.
    """
    temporary = path.with_name(path.name + ".tmp")
    fd = disk.create(temporary)
    try:
        try:
            yield fd
            disk.sync(fd)
        finally:
            disk.close(fd)
        disk.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            disk.remove(temporary)
        raise
    disk.sync_directory(path.parent)


def replace_file(disk: Disk, path: Path, data: bytes) -> None:
    """Give a file new contents, durably and all at once: after a crash it has the old ones or these."""
    with new_file(disk, path) as fd:
        write_whole(disk, fd, [data], 0)
