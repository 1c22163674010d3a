"""A disk in memory that crashes when it is told to, and then keeps only what it must.

    write --> live sectors --sync--> durable sectors
    create, rename, remove --> live names --sync_directory--> durable names

After a crash a file has its durable sectors, and of the sectors written since then those that `survives`
picks, each on its own: so writes get lost, torn and reordered. Names go back to the durable ones, or
keep a first part of what changed since; a name that moves to another directory comes there before it goes here.

A sync that fails does what Linux does: it takes the sectors that it could not write for written. They are
read as if they were there, no later sync writes them, and a crash treats them like any that were not synced. So
what follows is durable only where it was written anew. (Names are another matter: where a file system cannot
write its own journal, it takes no more changes.)
"""

import errno
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from sequencer.errors import RunningError
from sequencer.journal.disk import settle

SECTOR_BYTES = 512

Survives = Callable[[int], bool]
"""Given the place of an unsynced sector (0, 1, 2, ... in the order of the writes): is it on the disk?"""


class Crashed(BaseException):
    """The machine went down; nothing works on this disk any more."""


@dataclass(eq=False)
class Inode:
    """A file's bytes now, its bytes that are durable, and the sectors written since, in order.

    `abandoned` are those among them that a failed sync has taken for written.
    """

    live: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes]] = field(default_factory=list)
    abandoned: list[tuple[int, bytes]] = field(default_factory=list)

    def resize(self, size_bytes: int) -> None:
        self.live.extend(bytes(max(0, size_bytes - len(self.live))))

    def write(self, data: bytes, offset: int) -> None:
        if offset + len(data) > len(self.live):
            self.resize(offset + len(data))
        self.live[offset : offset + len(data)] = data
        first = offset - offset % SECTOR_BYTES
        for at in range(first, offset + len(data), SECTOR_BYTES):
            self.pending.append((at, bytes(self.live[at : at + SECTOR_BYTES])))

    def fail_to_sync(self) -> None:
        self.abandoned += self.pending
        self.pending.clear()

    def sync(self) -> None:
        self.durable.extend(bytes(len(self.live) - len(self.durable)))
        written = dict(self.pending)
        for at, sector in self.pending:
            self.durable[at : at + len(sector)] = sector
        self.pending.clear()
        self.abandoned = [item for item in self.abandoned if item[0] not in written]

    def after_crash(self, survives: Callable[[], bool]) -> "Inode":
        data = bytearray(self.durable)
        for at, sector in (*self.abandoned, *self.pending):
            if survives():
                data.extend(bytes(max(0, at + len(sector) - len(data))))
                data[at : at + len(sector)] = sector
        return Inode(bytearray(data), data)


class Deferred(Future[None]):
    """Work that is done when `run` is called, or when somebody waits for it."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self._work = work

    def run(self) -> None:
        """Do it now, unless it was done."""
        if not self.done():
            settle(self, self._work)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self.run()
        return super().exception(timeout)


class FaultyDisk:
    """Implements `sequencer.journal.Disk`.

    `crash_at` is the number of the operation (1, 2, ...) that is not finished any more; a write that crashes
    has reached the live sectors, any other operation has not happened. `capacity_bytes` bounds all files
    together. `failing` names operations that fail, with their errno. `watch` is told of each operation
    before it happens, and may call `crash_now`.
    """

    def __init__(self, *, crash_at: int | None = None, capacity_bytes: int | None = None) -> None:
        self.crash_at = crash_at
        self.capacity_bytes = capacity_bytes
        self.failing: dict[str, int] = {}
        self.watch: Callable[[str], None] | None = None
        self.defer: Callable[[Deferred], None] | None = None
        """Whoever decides when background work is done; without, it is done at once."""
        self.operations: list[str] = []
        self.syncs = 0
        self._names: dict[Path, Inode | None] = {}
        self._changes: list[tuple[Path, dict[Path, Inode | None]]] = []
        self._durable_names: dict[Path, Inode | None] = {}
        self._open: dict[int, Inode] = {}
        self._locks: dict[int, Inode] = {}
        self._next_fd = 3

    def after_crash(self, survives: Survives, *, names_kept: int = 0) -> "FaultyDisk":
        """The disk as the next start finds it; `names_kept` of the unsynced changes of names have lasted."""
        places = iter(range(1 << 30))
        fresh: dict[Inode, Inode] = {}
        names = dict(self._durable_names)
        for _directory, change in self._changes[:names_kept]:
            _apply(names, change)
        disk = FaultyDisk(capacity_bytes=self.capacity_bytes)
        for path, inode in names.items():
            if inode is not None and inode not in fresh:
                fresh[inode] = inode.after_crash(lambda: survives(next(places)))
            disk._names[path] = fresh[inode] if inode is not None else None
        disk._durable_names = dict(disk._names)
        return disk

    def after_kill(self) -> "FaultyDisk":
        """The disk as the next process finds it when only the process was killed: all that was written is there."""
        disk = FaultyDisk(capacity_bytes=self.capacity_bytes)
        disk._names, disk._changes, disk._durable_names = self._names, self._changes, self._durable_names
        return disk

    @property
    def has_crashed(self) -> bool:
        """Whether the crash has come."""
        return self.crash_at is not None and len(self.operations) >= self.crash_at

    def crash_now(self) -> None:
        """Nothing works any more, from the operation in hand on."""
        self.crash_at = 0

    @property
    def pending_sectors(self) -> int:
        """How many sectors a crash would put at risk."""
        return sum(len(inode.abandoned) + len(inode.pending) for inode in self._inodes())

    @property
    def pending_names(self) -> int:
        """How many changes of names a crash would put at risk."""
        return len(self._changes)

    def contents(self, path: Path) -> bytearray:
        """A file's bytes as they are read now."""
        inode = self._names[path]
        assert inode is not None
        return inode.live

    def damage(self, path: Path, offset: int, data: bytes) -> None:
        """Let a file read differently from now on, as if it had been written so durably."""
        inode = self._names[path]
        assert inode is not None
        inode.live[offset : offset + len(data)] = data
        inode.durable[offset : offset + len(data)] = data

    def cut(self, path: Path, size_bytes: int) -> None:
        """Let a file end earlier from now on."""
        inode = self._names[path]
        assert inode is not None
        del inode.live[size_bytes:]
        del inode.durable[size_bytes:]

    def files(self) -> dict[Path, int]:
        """Every file and its size."""
        return {path: len(inode.live) for path, inode in sorted(self._names.items()) if inode is not None}

    def durable(self) -> "FaultyDisk":
        """What a crash would leave if nothing that is not synced survived it."""
        return self.after_crash(lambda _place: False)

    # --- the seam --------------------------------------------------------------------------------

    def make_directory(self, path: Path) -> None:
        self._operate("make_directory")
        for each in (path, *path.parents):
            self._names.setdefault(each, None)
            self._durable_names.setdefault(each, None)

    def names(self, directory: Path) -> list[str]:
        self._operate("names")
        start = f"{directory}/"
        inside = [name.removeprefix(start) for name in map(str, self._names) if name.startswith(start)]
        return sorted(name for name in inside if "/" not in name)

    def lock(self, path: Path) -> int:
        self._operate("lock")
        inode = self._names.setdefault(path, Inode())
        assert inode is not None
        if inode in self._locks.values():
            raise RunningError(f"{path.parent} is in use")
        fd = self._number(inode)
        self._locks[fd] = inode
        return fd

    def create(self, path: Path) -> int:
        self._operate("create")
        inode = Inode()
        self._change(path.parent, {path: inode})
        return self._number(inode)

    def open(self, path: Path, *, writable: bool = False) -> int:
        self._operate("open")
        inode = self._names.get(path)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return self._number(inode)

    def close(self, fd: int) -> None:
        self._operate("close")
        del self._open[fd]
        self._locks.pop(fd, None)

    def reserve(self, fd: int, size_bytes: int) -> None:
        self._operate("reserve")
        inode = self._open[fd]
        used = sum(len(other.live) for other in self._inodes() if other is not inode)
        if self.capacity_bytes is not None and used + size_bytes > self.capacity_bytes:
            raise OSError(errno.ENOSPC, "no space left on device")
        inode.resize(size_bytes)

    def pread(self, fd: int, size_bytes: int, offset: int) -> bytes:
        self._operate("pread")
        return bytes(self._open[fd].live[offset : offset + size_bytes])

    def pwritev(self, fd: int, parts: Sequence[bytes], offset: int) -> int:
        data = b"".join(parts)
        if not self.has_crashed and "pwritev" not in self.failing:
            self._open[fd].write(data, offset)  # a crash may come when some of it has reached the disk
        self._operate("pwritev")
        return len(data)

    def sync(self, fd: int) -> None:
        if not self.has_crashed and "sync" in self.failing:
            self._open[fd].fail_to_sync()
        self._operate("sync")
        self.syncs += 1
        self._open[fd].sync()

    def sync_directory(self, path: Path) -> None:
        self._operate("sync_directory")
        for directory, change in self._changes:
            if directory == path:
                _apply(self._durable_names, change)
        self._changes = [item for item in self._changes if item[0] != path]

    def uncache(self, path: Path) -> None:
        pass

    def rename(self, old: Path, new: Path) -> None:
        self._operate("rename")
        inode = self._names[old]
        if old.parent == new.parent:
            self._change(new.parent, {old: _GONE, new: inode})
        else:
            self._change(new.parent, {new: inode})
            self._change(old.parent, {old: _GONE})

    def remove(self, path: Path) -> None:
        self._operate("remove")
        self._change(path.parent, {path: _GONE})

    def background(self, work: Callable[[], None]) -> "Future[None]":
        if self.defer is not None:
            deferred = Deferred(work)
            self.defer(deferred)
            return deferred
        future: Future[None] = Future()
        settle(future, work)
        return future

    # ---------------------------------------------------------------------------------------------

    def _operate(self, name: str) -> None:
        if not self.has_crashed:
            self.operations.append(name)
            if self.watch is not None:
                self.watch(name)
        if self.has_crashed:
            raise Crashed
        if name in self.failing:
            raise OSError(self.failing[name], f"{name} fails")

    def _change(self, directory: Path, change: dict[Path, Inode | None]) -> None:
        _apply(self._names, change)
        self._changes.append((directory, change))

    def _number(self, inode: Inode) -> int:
        self._next_fd += 1
        self._open[self._next_fd] = inode
        return self._next_fd

    def _inodes(self) -> set[Inode]:
        return {inode for inode in self._names.values() if inode is not None}


_GONE = Inode()


def _apply(names: dict[Path, Inode | None], change: dict[Path, Inode | None]) -> None:
    for path, inode in change.items():
        if inode is _GONE:
            names.pop(path, None)
        else:
            names[path] = inode
