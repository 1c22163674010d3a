"""The snapshots of replicas that a node keeps, so that a blank host need not read the log from its beginning.

    a replica --offer, put--> [ DIR/NODE-snapshots/matching.0-12.snapshot ] --list, read--> a blank host

    file | magic b"ISRS" | head length, 4 | crc of the head, 4 | head, a msgpack array: see _Head | body |

Rules:
- A body is opaque. It is kept once all of it has come and has the SHA-256 that was offered with it; a file gets
  its name when it is durable. Several may bring the same snapshot at once, and one may go on where another ended.
- The latest KEPT of each shard stay. What is older than these is not taken.
- The journal comes first: nothing is taken that would leave less room than twice its reserve.
- Whether a snapshot is true is not known here: who uses one asks the log.
"""

import hashlib
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from sequencer.errors import IslandError
from sequencer.journal import LOCAL_DISK, Disk
from sequencer.journal.disk import new_file, write_whole
from sequencer.protocol import StoredSnapshot

KEPT: Final = 3
PART_BYTES: Final = 256 << 10
BODY_BYTES_MAX: Final = 1 << 30
INCOMING_MAX: Final = 8
_MAGIC = b"ISRS"
_FIXED_BYTES = 12
_SUFFIX = ".snapshot"


class _Head(msgspec.Struct, array_like=True, frozen=True):
    cluster: bytes
    snapshot: StoredSnapshot


class _Incoming(msgspec.Struct):
    snapshot: StoredSnapshot
    body: bytearray


_HEADS = msgspec.msgpack.Decoder(_Head)


class SnapshotStore:
    """What one node keeps. `room_bytes` tells how much the disk has left."""

    def __init__(
        self,
        directory: Path,
        cluster: bytes,
        *,
        reserve_bytes: int = 0,
        disk: Disk = LOCAL_DISK,
        room_bytes: Callable[[Path], int] = lambda directory: shutil.disk_usage(directory).free,
    ) -> None:
        self._directory = directory
        self._cluster = cluster
        self._reserve_bytes = reserve_bytes
        self._disk = disk
        self._room_bytes = room_bytes
        self._kept: dict[tuple[str, int], StoredSnapshot] = {}
        self._incoming: dict[tuple[str, int], _Incoming] = {}
        self.damaged: dict[str, str] = {}
        """Files that are no snapshots of this group, and why; they are left as they are."""
        disk.make_directory(directory)
        self._look()

    def kept(self, shard: str = "") -> list[StoredSnapshot]:
        """What is kept, of one shard or of all, by shard and number."""
        return [self._kept[key] for key in sorted(self._kept) if shard in ("", key[0])]

    def offer(self, snapshot: StoredSnapshot) -> tuple[int, str]:
        """At which offset to go on with a body; -1 if no more is wanted, and why if it is not kept."""
        key = (snapshot.shard, snapshot.number)
        kept, why = self._kept.get(key), self._why_not(snapshot)
        if why or (kept is not None and kept.checksum == snapshot.checksum):
            return -1, why
        known = self._incoming.get(key)
        if known is None or known.snapshot.checksum != snapshot.checksum:
            while len(self._incoming) >= INCOMING_MAX:
                del self._incoming[next(iter(self._incoming))]
            known = self._incoming[key] = _Incoming(snapshot, bytearray())
        return len(known.body), ""

    def put(self, shard: str, number: int, offset: int, data: bytes) -> tuple[int, str]:
        """Take a part of what was offered; answers as `offer` does. Parts that come twice do no harm."""
        incoming = self._incoming.get((shard, number))
        if incoming is None:
            kept = (shard, number) in self._kept
            return -1, "" if kept else "it was not offered, or others were since: offer it again"
        if offset == len(incoming.body):
            incoming.body += data
        if len(incoming.body) < incoming.snapshot.size_bytes:
            return len(incoming.body), ""
        del self._incoming[shard, number]
        return -1, self._keep(incoming.snapshot, bytes(incoming.body))

    def read(self, shard: str, number: int, offset: int) -> bytes:
        """A part of a body; empty behind its end, and where nothing is kept (any more)."""
        snapshot = self._kept.get((shard, number))
        if snapshot is None or not 0 <= offset < snapshot.size_bytes:
            return b""
        try:
            fd = self._disk.open(self._path(shard, number))
        except OSError:
            return b""
        try:
            fixed = self._disk.pread(fd, _FIXED_BYTES, 0)
            start = _FIXED_BYTES + int.from_bytes(fixed[4:8], "little")
            return self._disk.pread(fd, min(PART_BYTES, snapshot.size_bytes - offset), start + offset)
        except OSError:
            return b""
        finally:
            self._disk.close(fd)

    def discard(self, shard: str, number: int) -> str:
        """Forget a snapshot; return why that cannot be, or nothing."""
        if self._kept.pop((shard, number), None) is None:
            return f"there is no snapshot {number} of {shard} here"
        self._remove(self._path(shard, number))
        return ""

    # --- files ----------------------------------------------------------------------------------

    def _path(self, shard: str, number: int) -> Path:
        return self._directory / f"{shard}-{number}{_SUFFIX}"

    def _look(self) -> None:
        for name in self._disk.names(self._directory):
            path = self._directory / name
            if name.endswith(".tmp"):
                self._remove(path)  # a node ended while it was written
            elif name.endswith(_SUFFIX):
                try:
                    snapshot = self._read_head(path)
                except (OSError, IslandError) as error:
                    self.damaged[name] = str(error)
                else:
                    self._kept[snapshot.shard, snapshot.number] = snapshot

    def _read_head(self, path: Path) -> StoredSnapshot:
        fd = self._disk.open(path)
        try:
            fixed = self._disk.pread(fd, _FIXED_BYTES, 0)
            raw = self._disk.pread(fd, int.from_bytes(fixed[4:8], "little"), _FIXED_BYTES)
        finally:
            self._disk.close(fd)
        if fixed[:4] != _MAGIC or zlib.crc32(raw) != int.from_bytes(fixed[8:12], "little"):
            raise IslandError(f"expected a snapshot of a replica that begins with {_MAGIC!r}, and a whole head")
        try:
            head = _HEADS.decode(raw)
        except msgspec.MsgspecError as error:
            raise IslandError(f"its head cannot be read: {error}") from None
        if head.cluster != self._cluster:
            raise IslandError(f"it belongs to group {head.cluster.hex()}, this is {self._cluster.hex()}")
        if path.name != self._path(head.snapshot.shard, head.snapshot.number).name:
            raise IslandError(f"it is number {head.snapshot.number} of {head.snapshot.shard}, under another name")
        return head.snapshot

    def _why_not(self, snapshot: StoredSnapshot) -> str:
        numbers = [number for shard, number in self._kept if shard == snapshot.shard]
        newer = sum(number > snapshot.number for number in numbers)
        if not _is_plain(snapshot.shard):
            return f"a shard's name has only letters, digits, - _ and ., got {snapshot.shard!r}"
        if newer >= KEPT:
            return f"{newer} later ones are kept"
        if not 0 < snapshot.size_bytes <= BODY_BYTES_MAX:
            return f"a body has 1 to {BODY_BYTES_MAX} bytes, got {snapshot.size_bytes}"
        needed = snapshot.size_bytes + 2 * self._reserve_bytes
        if self._room_bytes(self._directory) < needed:
            return f"its disk is nearly full: {needed:,} bytes must be free, so that the journal is not in need"
        return ""

    def _keep(self, snapshot: StoredSnapshot, body: bytes) -> str:
        if len(body) != snapshot.size_bytes or hashlib.sha256(body).digest() != snapshot.checksum:
            return "the body is not the one that was offered"
        raw = msgspec.msgpack.encode(_Head(self._cluster, snapshot))
        fixed = _MAGIC + len(raw).to_bytes(4, "little") + zlib.crc32(raw).to_bytes(4, "little")
        try:
            with new_file(self._disk, self._path(snapshot.shard, snapshot.number)) as fd:
                write_whole(self._disk, fd, [fixed, raw, body], 0)
        except OSError as error:
            return f"it cannot be written: {error.strerror or error}"
        self._kept[snapshot.shard, snapshot.number] = snapshot
        numbers = sorted(number for shard, number in self._kept if shard == snapshot.shard)
        for number in numbers[:-KEPT]:
            del self._kept[snapshot.shard, number]
            self._remove(self._path(snapshot.shard, number))
        return ""

    def _remove(self, path: Path) -> None:
        try:
            self._disk.remove(path)
        except OSError:
            return  # it takes up room, and is looked at again at the next start


def _is_plain(shard: str) -> bool:
    return bool(shard) and all(letter.isalnum() or letter in "-_." for letter in shard) and shard.isascii()
