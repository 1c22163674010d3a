"""What a node must never forget besides its log: its term, its vote, and who it is.

A file of 96 bytes beside the segments, replaced as a whole. All integers are little-endian.

    offset size field
         0    4  magic      b"ISV1"
         4    4  crc        CRC-32 of what follows
         8   16  cluster
        24    8  term
        32   24  node       ASCII, zero-padded
        56   24  voted_for  ASCII, zero-padded; zeros for nobody
        80   16  reserved   zero
"""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from sequencer.errors import ConfigError, CorruptJournalError, JournalError
from sequencer.journal.disk import LOCAL_DISK, Disk, replace_file

BALLOT_NAME: Final = "ballot"
NODE_NAME_BYTES_MAX: Final = 24
_MAGIC = b"ISV1"
_BODY = struct.Struct("<16sQ24s24s16x")
_CRC_FROM = 8
BALLOT_BYTES: Final = _CRC_FROM + _BODY.size


@dataclass(frozen=True, slots=True)
class Ballot:
    """A node's term and its vote in it (None: not given). `cluster` is 16 bytes."""

    term: int
    voted_for: str | None
    node: str
    cluster: bytes

    def save(self, directory: Path | str, *, disk: Disk = LOCAL_DISK) -> None:
        """Make it durable. A crash before this returns leaves this ballot or the old one.

        Raises JournalError; then a node must stop, and neither vote nor speak in this term.
        """
        try:
            replace_file(disk, Path(directory) / BALLOT_NAME, self.encode())
        except OSError as error:
            raise JournalError(f"cannot save the ballot in {directory}: {error}; the node must stop") from error

    @classmethod
    def load(cls, directory: Path | str, node: str, cluster: bytes, *, disk: Disk = LOCAL_DISK) -> Self | None:
        """The saved ballot, or None where none was ever saved.

        Raises ConfigError if the directory is another node's or another cluster's, CorruptJournalError if
        the file is damaged, JournalError if it cannot be read.
        """
        path = Path(directory) / BALLOT_NAME
        try:
            fd = disk.open(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise JournalError(f"cannot read {path}: {error}") from error
        try:
            ballot = cls.decode(disk.pread(fd, BALLOT_BYTES + 1, 0), str(path))
        finally:
            disk.close(fd)
        _check_owner(ballot, node, cluster, path.parent)
        return ballot

    def encode(self) -> bytes:
        """The bytes of the file."""
        body = _BODY.pack(self.cluster, self.term, _pad(self.node), _pad(self.voted_for or ""))
        return _MAGIC + zlib.crc32(body).to_bytes(4, "little") + body

    @classmethod
    def decode(cls, data: bytes, name: str) -> Self:
        """Read the file called `name`. Raises CorruptJournalError."""
        crc = int.from_bytes(data[4:_CRC_FROM], "little")
        if len(data) != BALLOT_BYTES or data[:4] != _MAGIC or zlib.crc32(data[_CRC_FROM:]) != crc:
            raise CorruptJournalError(
                f"{name} is not a whole ballot of {BALLOT_BYTES} bytes that matches its checksum: this node may "
                "have voted and cannot tell; restore the file, or replace the node by a new one"
            )
        cluster, term, node, voted_for = _BODY.unpack_from(data, _CRC_FROM)
        return cls(term, voted_for.rstrip(b"\0").decode("ascii") or None, node.rstrip(b"\0").decode("ascii"), cluster)


def _pad(name: str) -> bytes:
    raw = name.encode("ascii")
    assert len(raw) <= NODE_NAME_BYTES_MAX, f"a node name is at most {NODE_NAME_BYTES_MAX} bytes, got {name!r}"
    return raw.ljust(NODE_NAME_BYTES_MAX, b"\0")


def _check_owner(ballot: Ballot, node: str, cluster: bytes, directory: Path) -> None:
    if ballot.cluster != cluster:
        raise ConfigError(
            f"{directory} belongs to cluster {ballot.cluster.hex()}, the configuration says {cluster.hex()}: "
            "give this node its own directory"
        )
    if ballot.node != node:
        raise ConfigError(
            f"{directory} belongs to node {ballot.node!r}, the configuration says {node!r}: "
            "give this node its own directory"
        )
