"""What a node must never forget besides its log: its term, its vote, which disk it is, how many segments it made.

    ballot   | slot 0: serial 4, term 7 | slot 1: serial 5, term 8 |      the higher serial counts
             0                         512                        1024

Two sectors, made whole before the file has its name. A save writes the older one in place, so that it needs
no room, and no name changes. All integers are little-endian; a slot:

    offset size field
         0    4  magic      b"ISV2"
         4    4  crc        CRC-32 of the sector after this field
         8    8  serial     how many saves there were
        16   16  cluster
        32   16  disk       identity, drawn once when the file was made
        48   24  node       ASCII, zero-padded
        72    8  term
        80   24  voted_for  ASCII, zero-padded; zeros for nobody
       104    8  segments   the number of the journal's last segment, 0 before the first
       112  400  reserved   zero

A journal whose last file is gone looks whole; the number here tells that it is not.

A sector is written whole or not at all, so both slots are always valid. One that is not has rotted: the
node may have voted and cannot tell, and must not go on.

Whoever opens or makes a box holds the directory's lock: see `lock`.
"""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Self

from sequencer.errors import ConfigError, CorruptJournalError, JournalError
from sequencer.journal.disk import LOCAL_DISK, Disk, read_whole, write_whole
from sequencer.journal.format import SECTOR_BYTES

BALLOT_NAME: Final = "ballot"
NODE_NAME_BYTES_MAX: Final = 24
IDENTITY_BYTES: Final = 16
SLOTS: Final = 2
_MAGIC = b"ISV2"
_BODY = struct.Struct("<Q16s16s24sQ24sQ")
_CRC_FROM = 8
_REMEDY = (
    "this node may have voted and cannot tell; restore the file from a copy that is as new, or replace the node: "
    "empty its directory and `sequencer members add` it"
)


class Ballot(NamedTuple):
    """A node's term and its vote in it (None: not given)."""

    term: int
    voted_for: str | None


class _Slot(NamedTuple):
    serial: int
    cluster: bytes
    disk: bytes
    node: str
    ballot: Ballot
    segments: int


class BallotBox:
    """The open ballot file of one node; made by `create` or `open`."""

    def __init__(self, path: Path, fd: int, slot: _Slot, disk: Disk) -> None:
        self._path = path
        self._fd = fd
        self._slot = slot
        self._disk = disk
        self._failure: str | None = None

    @classmethod
    def create(
        cls,
        directory: Path | str,
        node: str,
        cluster: bytes,
        *,
        salt: Callable[[int], bytes] = os.urandom,
        disk: Disk = LOCAL_DISK,
    ) -> Self:
        """A box with an identity that `salt(16)` draws, term 0 and no vote; the directory is made if need be.

        Raises ConfigError if there is one, JournalError if it cannot be made.
        """
        path = Path(directory) / BALLOT_NAME
        slot = _Slot(1, cluster, salt(IDENTITY_BYTES), node, Ballot(0, None), 0)
        try:
            disk.make_directory(path.parent)
            if BALLOT_NAME in disk.names(path.parent):
                raise ConfigError(f"{path.parent} is a node's directory already: choose another, or remove it")
            temporary = path.with_suffix(".tmp")
            fd = disk.create(temporary)
            write_whole(disk, fd, [encode_slot(slot._replace(serial=0)), encode_slot(slot)], 0)
            disk.sync(fd)
            disk.rename(temporary, path)
            disk.sync_directory(path.parent)
        except OSError as error:
            raise JournalError(f"cannot make {path}: {error.strerror or error}") from error
        return cls(path, fd, slot, disk)

    @classmethod
    def open(cls, directory: Path | str, node: str, cluster: bytes, *, disk: Disk = LOCAL_DISK) -> Self | None:
        """The box in a directory, or None where none was ever made. What it says is durable, also what was found.

        Raises ConfigError if the directory is another node's or another cluster's, CorruptJournalError if
        the file is damaged, JournalError if it cannot be read.
        """
        path = Path(directory) / BALLOT_NAME
        try:
            fd = disk.open(path, writable=True)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise JournalError(f"cannot read {path}: {error.strerror or error}") from error
        try:
            data = disk.pread(fd, SLOTS * SECTOR_BYTES, 0)
            slot = _newest(data, path)
            _check_owner(slot, node, cluster, path.parent)
            # The sync of the newer slot may have failed in the process before, and the kernel may have taken the page
            # for written: only writing it again makes it durable. The older one was synced before that began.
            _write_slot(disk, fd, slot)
            disk.sync_directory(path.parent)
        except OSError as error:
            disk.close(fd)
            raise JournalError(f"cannot take over {path}: {error.strerror or error}") from error
        except BaseException:
            disk.close(fd)
            raise
        return cls(path, fd, slot, disk)

    @property
    def identity(self) -> bytes:
        """Which disk this is, 16 bytes."""
        return self._slot.disk

    @property
    def ballot(self) -> Ballot:
        """The last one that was saved."""
        return self._slot.ballot

    def save(self, ballot: Ballot) -> None:
        """Make it durable. A crash before this returns leaves this ballot or the one before.

        Raises JournalError; then a node must stop, and neither vote nor speak in this term.
        """
        self._write(self._slot._replace(ballot=ballot))

    @property
    def segments(self) -> int:
        """The number of the journal's last segment, as it was noted."""
        return self._slot.segments

    def note_segments(self, number: int) -> None:
        """The journal goes on in this segment: note it, durably, before what it holds is acknowledged.

        Raises JournalError as `save` does.
        """
        if number != self._slot.segments:
            self._write(self._slot._replace(segments=number))

    def _write(self, changed: _Slot) -> None:
        if self._failure is not None:
            raise JournalError(f"the ballot in {self._path} is not usable: {self._failure}; restart the node")
        slot = changed._replace(serial=self._slot.serial + 1)
        try:
            _write_slot(self._disk, self._fd, slot)
        except OSError as error:
            self._failure = f"saving it failed: {error}"
            raise JournalError(f"cannot save the ballot in {self._path}: {error}; the node must stop") from error
        self._slot = slot

    def close(self) -> None:
        """Let the file go."""
        self._disk.close(self._fd)


def _write_slot(disk: Disk, fd: int, slot: _Slot) -> None:
    write_whole(disk, fd, [encode_slot(slot)], slot.serial % SLOTS * SECTOR_BYTES)
    disk.sync(fd)


def segments_noted(directory: Path, *, disk: Disk = LOCAL_DISK) -> int:
    """How many segments the node of a directory had made, 0 where it has no ballot. Nothing is changed.

    Raises CorruptJournalError if the ballot is damaged, and OSError.
    """
    if BALLOT_NAME not in disk.names(directory):
        return 0
    return _newest(read_whole(disk, directory / BALLOT_NAME), directory / BALLOT_NAME).segments


def _newest(data: bytes, path: Path) -> _Slot:
    """The slot that counts. Raises CorruptJournalError unless they are two that follow each other, in their places."""
    slots = [decode_slot(data[at : at + SECTOR_BYTES], f"{path} offset {at}") for at in (0, SECTOR_BYTES)]
    older, newest = sorted(slots)
    if newest.serial != older.serial + 1 or slots[newest.serial % SLOTS] != newest:
        raise CorruptJournalError(
            f"{path}: its ballots have numbers {slots[0].serial} and {slots[1].serial}, which do not follow each "
            f"other: one is not where it was written; {_REMEDY}"
        )
    return newest


def encode_slot(slot: _Slot) -> bytes:
    """One sector."""
    ballot = slot.ballot
    body = _BODY.pack(
        slot.serial,
        slot.cluster,
        slot.disk,
        _pad(slot.node),
        ballot.term,
        _pad(ballot.voted_for or ""),
        slot.segments,
    ).ljust(SECTOR_BYTES - _CRC_FROM, b"\0")
    return _MAGIC + zlib.crc32(body).to_bytes(4, "little") + body


def decode_slot(sector: bytes, place: str) -> _Slot:
    """Read the slot at a place. Raises CorruptJournalError."""
    crc = int.from_bytes(sector[4:_CRC_FROM], "little")
    if len(sector) != SECTOR_BYTES or sector[:4] != _MAGIC or zlib.crc32(sector[_CRC_FROM:]) != crc:
        raise CorruptJournalError(f"{place}: a ballot does not match its checksum: {_REMEDY}")
    serial, cluster, disk, node, term, voted_for, segments = _BODY.unpack_from(sector, _CRC_FROM)
    ballot = Ballot(term, voted_for.rstrip(b"\0").decode("ascii") or None)
    return _Slot(serial, cluster, disk, node.rstrip(b"\0").decode("ascii"), ballot, segments)


def _pad(name: str) -> bytes:
    raw = name.encode("ascii")
    assert len(raw) <= NODE_NAME_BYTES_MAX, f"a node name is at most {NODE_NAME_BYTES_MAX} bytes, got {name!r}"
    return raw.ljust(NODE_NAME_BYTES_MAX, b"\0")


def _check_owner(slot: _Slot, node: str, cluster: bytes, directory: Path) -> None:
    if slot.cluster != cluster:
        raise ConfigError(
            f"{directory} belongs to cluster {slot.cluster.hex()}, the configuration says {cluster.hex()}: "
            "give this node its own directory"
        )
    if slot.node != node:
        raise ConfigError(
            f"{directory} belongs to node {slot.node!r}, the configuration says {node!r}: "
            "give this node its own directory"
        )
