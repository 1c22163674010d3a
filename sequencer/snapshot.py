"""What a node knows of its log up to a committed entry: one file beside the segments, so that a start is short.

    segments   1:            2:            3:            4:
    log        1 ............................. 8,120 | 8,121 ...
                                  snapshot ----^      read at a start

    snapshot | magic b"ISNS" | version, 4 | crc, 4 | cluster, 16 | a msgpack array: see NodeSnapshot |

It says nothing that the log does not say: without it, or where it does not fit the journal, all of the log is
read. The checksum is a CRC-32 of what follows it. Integers are little-endian.
"""

import zlib
from pathlib import Path
from typing import Final

import msgspec

from sequencer.journal import Disk, Mark
from sequencer.journal.disk import read_whole, replace_file
from sequencer.raft.log import Log, LogState
from sequencer.sessions import SenderState, Sessions

SNAPSHOT_NAME: Final = "snapshot"
SNAPSHOT_VERSION: Final = 1
_MAGIC = b"ISNS"
_HEAD_BYTES = 12
_CLUSTER_BYTES = 16


class NodeSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """Everything that follows from the log up to entry `index`, whose digest is `digest`.

    No entry behind it lies before the journal's segment `segment`.
    """

    segment: int
    index: int
    digest: bytes
    log: LogState
    senders: list[SenderState]

    @property
    def mark(self) -> Mark:
        """Its place in the journal."""
        return Mark(self.segment, self.index, self.digest)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(NodeSnapshot)


def take_snapshot(log: Log, sessions: Sessions, segment: int, index: int) -> NodeSnapshot:
    """At entry `index`, up to which `sessions` is committed."""
    return NodeSnapshot(segment, index, log.digest_at(index), log.state_at(index), sessions.committed_state())


def write_snapshot(disk: Disk, directory: Path, cluster: bytes, snapshot: NodeSnapshot) -> None:
    """Put it in place of the one before, durably. Raises OSError."""
    body = cluster + _ENCODER.encode(snapshot)
    head = _MAGIC + SNAPSHOT_VERSION.to_bytes(4, "little") + zlib.crc32(body).to_bytes(4, "little")
    replace_file(disk, directory / SNAPSHOT_NAME, head + body)


def read_snapshot(disk: Disk, directory: Path, cluster: bytes) -> NodeSnapshot | None:
    """The snapshot that is there; None where none of this cluster and version reads back."""
    try:
        data = read_whole(disk, directory / SNAPSHOT_NAME)
    except OSError:
        return None  # nothing depends on it
    head, body = data[:_HEAD_BYTES], data[_HEAD_BYTES:]
    expected = _MAGIC + SNAPSHOT_VERSION.to_bytes(4, "little") + zlib.crc32(body).to_bytes(4, "little")
    if head != expected or body[:_CLUSTER_BYTES] != cluster:
        return None
    return _DECODER.decode(body[_CLUSTER_BYTES:])


def forget_snapshot(disk: Disk, directory: Path) -> None:
    """The next start reads all of the log. Raises OSError."""
    if SNAPSHOT_NAME in disk.names(directory):
        disk.remove(directory / SNAPSHOT_NAME)
        disk.sync_directory(directory)
