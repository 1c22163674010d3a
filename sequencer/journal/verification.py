"""Checks a journal offline, to the last byte: `sequencer log verify`.

First that all files are there that the ballot knows of; then the groups, as recovery judges them; then every
entry that counts: its own checksums, its place, and the digest by which it names the entry before it. Nothing is
changed, no lock is taken; of a journal that is being written, the last group may look torn.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sequencer import envelope
from sequencer.errors import CorruptJournalError, EnvelopeError, JournalError
from sequencer.journal.ballot import segments_noted
from sequencer.journal.catalog import Catalog
from sequencer.journal.disk import LOCAL_DISK, Disk
from sequencer.journal.extent import Extent
from sequencer.journal.loading import read_header, read_headers, read_segment
from sequencer.journal.recovery import Ending, Recovery, check_none_gone, check_sealed, recover
from sequencer.journal.suspicion import read_suspicion

_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found, up to the first problem.

    `torn_bytes` will be cut at the next start and are no problem; `suspect` is one for a group of one.
    `groups` and `entries` count what is written, `first_index` to `last_index` what is in force.
    """

    directory: Path
    segments: int = 0
    groups: int = 0
    entries: int = 0
    first_index: int = 0
    last_index: int = 0
    commit_index: int = 0
    last_digest: bytes = envelope.NO_DIGEST
    torn_bytes: int = 0
    suspect: bool = False
    problem: str | None = None

    @property
    def is_sound(self) -> bool:
        """Whether everything that was durable reads back."""
        return self.problem is None and not self.suspect


def verify(directory: Path | str, cluster: bytes | None = None, *, disk: Disk = LOCAL_DISK) -> Report:
    """Check the journal in a directory; damage is reported, not raised.

    Raises JournalError where it cannot be read at all: no journal, another cluster's, a newer format.
    """
    path = Path(directory)
    extents: list[Extent] = []
    try:
        headers = read_headers(disk, path, cluster)
        check_none_gone(headers, segments_noted(path, disk=disk), path)
        if not headers:
            raise JournalError(f"there is no journal in {path}")
        is_suspect = read_suspicion(disk, path) > 0
        recovery = recover(headers, lambda header: read_segment(disk, path, header), extents)
        last_digest = _check_entries(disk, path, recovery)
    except CorruptJournalError as error:
        return replace(_count(path, extents), problem=str(error))
    except OSError as error:
        raise JournalError(f"cannot read the journal in {path}: {error}") from error
    found = replace(_count(path, extents), suspect=is_suspect, last_digest=last_digest)
    return _judge(found, recovery)


def verify_segment(directory: Path, number: int, *, disk: Disk = LOCAL_DISK) -> Extent:
    """Read a segment that another one follows, to the last byte that was written; return where its groups are.

    Raises CorruptJournalError, which names the place, JournalError where another cluster's or version's is there,
    and OSError.
    """
    header, following = (read_header(disk, directory, each) for each in (number, number + 1))
    return check_sealed(header, following, read_segment(disk, directory, header))


def _count(path: Path, extents: list[Extent]) -> Report:
    if not extents:
        return Report(path)
    return Report(
        path,
        segments=len(extents),
        groups=extents[-1].next_group - extents[0].header.first_group,
        entries=sum(extent.next_index - extent.header.first_index for extent in extents),
        first_index=extents[0].header.first_index,
        last_index=extents[-1].next_index - 1,
        commit_index=extents[-1].commit_index,
    )


def _judge(report: Report, recovery: Recovery) -> Report:
    tail = recovery.tail
    return replace(
        report,
        torn_bytes=tail.dirty_bytes if tail.ending is Ending.TORN else 0,
        suspect=report.suspect or tail.ending is Ending.SUSPECT,
    )


def _check_entries(disk: Disk, path: Path, recovery: Recovery) -> bytes:
    """The digest of the last entry. Raises CorruptJournalError for the first that does not fit."""
    catalog = Catalog(disk, path)
    for extent in recovery.extents:
        catalog.add(extent)
    index, last_index = catalog.first_index, recovery.extents[-1].next_index - 1
    previous = envelope.NO_DIGEST
    while index <= last_index:
        for data in catalog.read(index, last_index, _READ_BYTES):
            previous = _check_entry(data, index, previous)
            index += 1
    return previous


def _check_entry(data: bytes, index: int, previous: bytes) -> bytes:
    try:
        entry = envelope.decode_entry(data)
    except EnvelopeError as error:
        raise CorruptJournalError(f"entry {index} is damaged: {error}") from error
    if entry.index != index:
        raise CorruptJournalError(f"entry {index} is not in its place: entry {entry.index} is")
    if entry.previous != previous:
        raise CorruptJournalError(
            f"entry {index} follows an entry with digest {entry.previous.hex()}, "
            f"but entry {index - 1} has {previous.hex()}"
        )
    return entry.digest
