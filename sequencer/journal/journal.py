"""The journal of one node: entries go in by groups, and are durable when `append` returns.

    append(entries) -> one write, one sync -> 00000001.seg | header | group | group |  zeros ...
                                              00000002.seg | header | group |  zeros ...
                                              next.tmp     | zeros, made in the background

Rules that it keeps:

- A group is not started before the sync of the one before it returned.
- A failed write or sync is never retried: from then on every call raises. What the disk holds is
  unknown, and only a restart, which reads it, can tell.
- Nothing of a group is written unless all of it has room. Without room, DiskFullError, and nothing
  has changed: the same call works once there is room.
- What was written is never written over, but by itself, and by zeros where it is torn: a tail is dropped by a
  new segment that overrides it, after a copy of it has been set aside.
- What was found by `open` is durable when that returns: the process before may have been stopped by a failed sync.
- What is damaged is kept, and the journal stays suspect until it is told that the place is covered again:
  see `salvage` and `suspicion`. A suspect journal cuts nothing: what looks torn may be what is left of the damage.
- Of another cluster's directory, or a newer version's, nothing is touched, damaged or not.

It knows of an entry its header's size, index and term, and nothing else of the consensus.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn, Self

from sequencer import envelope
from sequencer.errors import CorruptJournalError, DiskFullError, EnvelopeError, JournalError
from sequencer.journal.archive import restore_segment
from sequencer.journal.aside import Aside
from sequencer.journal.catalog import Catalog
from sequencer.journal.disk import LOCAL_DISK, Disk
from sequencer.journal.extent import Extent
from sequencer.journal.format import (
    CLUSTER_BYTES,
    SALT_BYTES,
    SECTOR_BYTES,
    GroupHeader,
    SegmentHeader,
    archive_name,
    count_sparse_sectors,
    group_span_bytes,
    headers_crc,
    round_to_sectors,
    segment_name,
)
from sequencer.journal.loading import read_header, read_headers, read_segment, segment_numbers
from sequencer.journal.lock import DirectoryLock
from sequencer.journal.mark import Mark, is_held
from sequencer.journal.recovered import Recovered, describe
from sequencer.journal.recovery import Ending, Recovery, check_cluster, check_none_gone, recover
from sequencer.journal.salvage import salvage
from sequencer.journal.segment import SegmentWriter, fill_with_zeros, write_last_group_again
from sequencer.journal.spare import Spare
from sequencer.journal.suspicion import UNKNOWN_INDEX, forget_suspicion, read_suspicion, remember_suspicion

SEGMENT_BYTES: Final = 64 << 20
CACHED_SEGMENTS: Final = 2
"""So many of the latest segments may stay in the page cache, for readers that are a little behind."""
LARGE_GROUP_BYTES: Final = 128 << 10
"""Groups of this mean size and more are written faster where no zeros were written before."""
_READ_BYTES = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Journal:
    """An open journal. Use it in one thread; `read` and `room_bytes` may be called in another.

    Made by `open`. `first_index`, `last_index` and `last_term` describe what it holds durably (0 for
    none), `commit_index` the highest that was given to it. While `suspect`, entries that this node may
    have acknowledged can be missing, up to `suspect_index`: it must not vote or acknowledge, and a group
    of one must not start.
    """

    def __init__(self, directory: Path, cluster: bytes, salt: Callable[[int], bytes], spare: Spare, disk: Disk) -> None:
        self.directory = directory
        self.cluster = cluster
        self.recovered = Recovered()
        self.last_index = 0
        self.last_term = 0
        self.commit_index = 0
        self.suspect_index = 0
        self.is_marked = False
        """Whether what lies before the mark that `open` was given was taken on trust."""
        self._salt = salt
        self._disk = disk
        self._spare = spare
        self._catalog = Catalog(disk, directory)
        self._next_group = 1
        self._failure: str | None = None
        self._lock: DirectoryLock | None = None
        self._aside = Aside(disk, directory)
        self._segment: SegmentWriter | None = None
        self._extent: Extent | None = None
        self._is_tail_kept = False
        self._ask_at = 0

    @classmethod
    def open(
        cls,
        directory: Path | str,
        cluster: bytes,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        salt: Callable[[int], bytes] = os.urandom,
        disk: Disk = LOCAL_DISK,
        keep_damaged: bool = False,
        segments_expected: int = 0,
        lock: DirectoryLock | None = None,
        mark: Mark | None = None,
    ) -> Self:
        """Open or make the journal of a node of `cluster` (16 bytes), and recover it; see `recovered`.

        With `keep_damaged`, damage makes it suspect instead of being raised: it holds what is whole before the
        damage. Fewer segments than `segments_expected` are damage too. A `lock` that is given is the journal's from
        then on, and let go with it; without one, the journal takes its own. With a `mark` that the journal holds,
        what lies before it is not read: see `is_marked`.
        `salt(n)` gives n random bytes. Raises RunningError if another process has it open, JournalError
        if the directory cannot be used or belongs to another cluster or a newer format, DiskFullError
        if there is no room for a first segment, CorruptJournalError if durable entries are damaged.
        """
        assert len(cluster) == CLUSTER_BYTES, f"a cluster id is {CLUSTER_BYTES} bytes, got {cluster!r}"
        path = Path(directory)
        spare = Spare(disk, path, max(round_to_sectors(segment_bytes), 2 * SECTOR_BYTES))
        journal = cls(path, cluster, salt, spare, disk)
        try:
            journal._lock = lock or DirectoryLock.take(path, disk=disk)
            journal._recover(segments_expected, mark, keep_damaged=keep_damaged)
        except OSError as error:
            journal.close()
            journal._raise_unopened(error)
        except BaseException:
            journal.close()
            raise
        return journal

    @property
    def segment_number(self) -> int:
        """The number of the segment that takes groups."""
        assert self._segment is not None, "an open journal has a segment"
        return self._segment.header.number

    @property
    def segment_header(self) -> SegmentHeader:
        """Of that segment."""
        assert self._segment is not None, "an open journal has a segment"
        return self._segment.header

    @property
    def suspect(self) -> bool:
        """Whether entries that were acknowledged may be missing."""
        return self.suspect_index > 0

    @property
    def first_index(self) -> int:
        """Index of the first entry, also when it is still to come."""
        return self._catalog.first_index

    def append(self, entries: Sequence[envelope.Entry], commit_index: int) -> None:
        """Write entries that follow the last one as one group; they are durable when this returns.

        `commit_index` is what the caller knows to be committed. Raises DiskFullError, with nothing changed,
        where there is no room, and JournalError when the disk fails, now and for good.
        """
        self._check_usable()
        assert entries, "a group holds at least one entry"
        assert entries[0].index == self.last_index + 1, f"entry {entries[0].index} after entry {self.last_index}"
        assert entries[-1].index == self.last_index + len(entries), f"gap before entry {entries[-1].index}"
        assert commit_index <= entries[-1].index, f"commit {commit_index} beyond entry {entries[-1].index}"
        parts = [entry.data for entry in entries]
        payload_bytes = sum(map(len, parts))
        segment, extent = self._segment_for(group_span_bytes(payload_bytes), commit_index)
        group = GroupHeader(
            self._next_group, segment.tail, entries[0].index, commit_index, len(parts), payload_bytes,
            headers_crc(parts, segment.seed), count_sparse_sectors(parts),
        )  # fmt: skip
        try:
            segment.append(group, parts)
        except OSError as error:
            self._fail(f"writing {segment.header.name} failed at offset {group.offset}", error)
        extent.note(group)
        self._next_group += 1
        self.last_term = entries[-1].term
        self.commit_index = max(self.commit_index, commit_index)
        self.last_index = group.last_index
        if segment.tail >= self._ask_at:
            self.prepare()

    def read(self, first_index: int, bytes_max: int) -> list[bytes]:
        """Encoded entries from first_index on, as many as fit into bytes_max, at least one; none past the end.

        Raises CorruptJournalError where an entry no longer reads back.
        """
        self._check_usable()
        try:
            return self._catalog.read(first_index, self.last_index, bytes_max)
        except OSError as error:
            raise JournalError(f"cannot read the journal in {self.directory}: {error}") from error

    def truncate_after(self, index: int) -> None:
        """Drop the entries behind `index`; they are set aside in a file, and then overridden durably.

        Raises DiskFullError, with nothing dropped, where there is no room, and JournalError.
        """
        self._check_usable()
        assert self.commit_index <= index <= self.last_index, (
            f"truncation after {index}, committed {self.commit_index}, last {self.last_index}"
        )
        if index == self.last_index:
            return
        term = self._term_at(index)
        try:
            self._set_aside(index + 1)
        except OSError as error:
            self._refuse("setting entries aside failed", error)
        self._open_segment(index + 1, 0, self.commit_index)
        self.last_index = index
        self.last_term = term

    def prepare(self) -> None:
        """See to it that the next segment gets made. Costs nothing when it is there or under way.

        `append` calls it in time; a node that has stopped intake for lack of room calls it now and then,
        to learn from `room_bytes` that there is room again.
        """
        self._check_usable()
        assert self._segment is not None, "an open journal has a segment"
        self._ask_at = self._segment.tail + self._segment.header.segment_bytes // 16
        self._spare.ask(zeros=self._mean_group_bytes < LARGE_GROUP_BYTES)

    @property
    def _mean_group_bytes(self) -> int:
        segment = self._segment
        assert segment is not None, "an open journal has a segment"
        return (segment.tail - SECTOR_BYTES) // max(1, self._next_group - segment.header.first_group)

    def room_bytes(self) -> int:
        """How much the coming groups can take for sure, each counted with `group_span_bytes`."""
        self._check_usable()
        assert self._segment is not None, "an open journal has a segment"
        rest_bytes = 0 if self._is_tail_kept else self._segment.room_bytes
        return max(rest_bytes, self._spare.room_bytes)

    @property
    def is_full(self) -> bool:
        """Whether the last attempt to make the next segment failed; `prepare` makes another."""
        return self._spare.failed

    def learn(self, extent: Extent) -> None:
        """Where the groups of a segment are, which somebody has just read: then it need not be searched for them."""
        self._catalog.learn(extent)

    def uncache(self, number: int) -> None:
        """A log is written far more than read: this segment must not take memory of the host any more."""
        if number > 0:
            for name in (segment_name(number), archive_name(number)):
                with contextlib.suppress(OSError):  # only advice, and one of the two is not there
                    self._disk.uncache(self.directory / name)

    def clear_suspect(self) -> None:
        """The caller vouches that the log again covers all that this node may have acknowledged.

        Raises DiskFullError, and stays suspect, where there is no room to go on behind the damage.
        """
        self._check_usable()
        if self._is_tail_kept:
            self._open_segment(self.last_index + 1, 0, self.commit_index)
        try:
            forget_suspicion(self._disk, self.directory)
        except OSError as error:
            self._fail("clearing the suspicion failed", error)
        self.suspect_index = 0

    def close(self) -> None:
        """Let go of the directory. Raises JournalError if that fails, but not for what failed before."""
        self._failure = self._failure or "it is closed"
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        try:
            self._spare.close()
            if self._segment is not None:
                self._segment.close()
        except OSError as error:
            raise JournalError(f"closing the journal in {self.directory} failed: {error}") from error
        finally:
            lock.release()

    # --- recovery --------------------------------------------------------------------------------

    def _recover(self, segments_expected: int, mark: Mark | None, *, keep_damaged: bool) -> None:
        self.suspect_index = read_suspicion(self._disk, self.directory)
        try:
            headers = self._read_headers(segments_expected)
            is_marked = mark is not None and is_held(mark, self._disk, self.directory, headers)
            first_number = mark.segment if mark is not None and is_marked else 1
            recovery = recover(headers, self._load, first_number=first_number) if headers else None
            self._remove_unfinished()
            self.is_marked = is_marked
            if recovery is not None:
                self._take_over(recovery, keep_damaged=keep_damaged)
            else:
                self._open_segment(1, 0, 0)
                self._describe(Recovered())
        except CorruptJournalError as damage:
            if not keep_damaged:
                raise
            self._take_what_is_whole(damage, segments_expected)

    def _read_headers(self, segments_expected: int) -> list[SegmentHeader]:
        headers = read_headers(self._disk, self.directory, self.cluster)
        check_none_gone(headers, segments_expected, self.directory)
        return headers

    def _read_own_header(self, number: int) -> SegmentHeader:
        header = read_header(self._disk, self.directory, number)
        check_cluster(header, segment_name(number), self.cluster)
        return header

    def _load(self, header: SegmentHeader) -> bytes:
        return read_segment(self._disk, self.directory, header)

    def _remove_unfinished(self) -> None:
        for name in self._disk.names(self.directory):
            if name.endswith(".tmp"):
                self._disk.remove(self.directory / name)

    def _take_over(self, recovery: Recovery, *, keep_damaged: bool) -> None:
        """Go on from what was found."""
        tail = recovery.tail
        if tail.ending is Ending.SUSPECT:
            self._suspect(tail.indexes[1] if tail.indexes else UNKNOWN_INDEX, durably=keep_damaged)
        for extent in recovery.extents:
            self._catalog.add(extent)
        keep_tail = self.suspect and tail.ending is not Ending.CLEAN
        fd = self._go_on_behind(recovery.extents[-1], tail.offset, keep_tail=keep_tail)
        if tail.ending is Ending.TORN and not keep_tail:
            fill_with_zeros(self._disk, fd, tail.offset, tail.dirty_end)
        self._describe(describe(recovery, is_tail_kept=keep_tail))

    def _take_what_is_whole(self, damage: CorruptJournalError, segments_expected: int) -> None:
        """Keep what comes before the damage; first of all, never forget that there was more."""
        numbers = segment_numbers(self._disk, self.directory)
        found = salvage(numbers, self._read_own_header, self._load)
        is_end_gone = max(numbers, default=0) < segments_expected
        self._remove_unfinished()  # that may be what the disk is full of
        self._suspect(UNKNOWN_INDEX if is_end_gone else found.suspect_index, durably=True)
        self.is_marked = False
        for number in reversed(found.aside):  # the last one first: at no moment is one missing before others
            self._set_aside_segment(number)
        self._catalog = Catalog(self._disk, self.directory)
        for extent in found.extents:
            self._catalog.add(extent)
        if found.extents:
            last = found.extents[-1]
            if restore_segment(self._disk, self.directory, last.header, last.end):
                self._aside.move(archive_name(last.header.number))
            self._go_on_behind(last, last.end, keep_tail=True)
        else:
            self._open_segment(1, 0, 0)
        self._describe(
            Recovered(notes=(str(damage), f"set aside: {', '.join(map(segment_name, found.aside)) or 'no segment'}"))
        )

    def _set_aside_segment(self, number: int) -> None:
        """Plain or archived; both, where the one was about to be removed after the other was made."""
        names = self._disk.names(self.directory)
        for name in (archive_name(number), segment_name(number)):
            if name in names:
                self._aside.move(name)

    def _go_on_behind(self, extent: Extent, offset: int, *, keep_tail: bool) -> int:
        """Take the last segment for writing at an offset, with what it holds durable; return its file's number."""
        fd = self._disk.open(self.directory / extent.header.name, writable=True)
        self._segment = SegmentWriter(self._disk, fd, extent.header, offset)
        self._extent = extent
        self._is_tail_kept = keep_tail
        self._next_group = extent.next_group
        self._ask_at = extent.header.segment_bytes // 8
        self.last_index = extent.next_index - 1
        self.commit_index = min(extent.commit_index, self.last_index)
        write_last_group_again(self._disk, fd, extent)
        self._disk.sync_directory(self.directory)
        return fd

    def _suspect(self, index: int, *, durably: bool) -> None:
        if durably:
            index = remember_suspicion(self._disk, self.directory, index)
        self.suspect_index = max(self.suspect_index, index)

    def _describe(self, recovered: Recovered) -> None:
        self.recovered = replace(recovered, suspect=self.suspect, last_index=self.last_index)
        if self.last_index:
            entry = self._entry_at(self.last_index)
            self.last_term = entry.term
            self.recovered = replace(self.recovered, last_term=entry.term, last_digest=entry.digest)

    # --- segments --------------------------------------------------------------------------------

    def _segment_for(self, span_bytes: int, commit_index: int) -> tuple[SegmentWriter, Extent]:
        """The segment that the next group goes to: the current one, or a new one."""
        segment = self._segment
        if segment is None or self._is_tail_kept or segment.room_bytes < span_bytes:
            self._open_segment(self.last_index + 1, span_bytes, commit_index)
        assert self._segment is not None, "a segment was opened, or an error was raised"
        assert self._extent is not None, "a segment was opened, or an error was raised"
        return self._segment, self._extent

    def _open_segment(self, first_index: int, span_bytes: int, commit_index: int) -> None:
        """Go on in a new segment, with room for a group of so many bytes."""
        header, fd, path = self._blank_segment(first_index, span_bytes, commit_index)
        segment = SegmentWriter(self._disk, fd, header)
        try:
            segment.write_header()
            self._disk.rename(path, self.directory / header.name)
            self._disk.sync_directory(self.directory)
        except OSError as error:
            segment.close()
            self._fail(f"making {header.name} failed", error)
        if self._segment is not None:
            self._segment.close()
        self.uncache(header.number - CACHED_SEGMENTS)
        self._segment = segment
        self._extent = Extent(header)
        self._catalog.add(self._extent)
        self._is_tail_kept = False
        self._ask_at = header.segment_bytes // 8

    def _blank_segment(self, first_index: int, span_bytes: int, commit_index: int) -> tuple[SegmentHeader, int, Path]:
        previous = self._segment
        try:
            fd, path, segment_bytes = self._spare.take(SECTOR_BYTES + span_bytes, zeros=previous is None)
        except OSError as error:
            self._refuse("making a segment failed", error)
        header = SegmentHeader(
            cluster=self.cluster,
            salt=self._salt(SALT_BYTES),
            number=previous.header.number + 1 if previous else 1,
            segment_bytes=segment_bytes,
            first_index=first_index,
            first_group=self._next_group,
            previous_end=previous.tail if previous else 0,
            commit_index=max(self.commit_index, min(commit_index, first_index - 1)),
        )
        return header, fd, path

    def _set_aside(self, first_index: int) -> None:
        """Copy the entries from first_index on to a file of their own, durably."""
        name = f"{self.segment_number:08d}-{first_index}-{self.last_index}.entries"
        self._aside.copy(name, self._pieces(first_index))

    def _pieces(self, index: int) -> Iterator[list[bytes]]:
        while entries := self._catalog.read(index, self.last_index, _READ_BYTES):
            yield entries
            index += len(entries)

    # --- what goes wrong -------------------------------------------------------------------------

    def _entry_at(self, index: int) -> envelope.Entry:
        [data] = self._catalog.read(index, index, 0)
        try:
            return envelope.decode_entry(data)
        except EnvelopeError as error:
            raise CorruptJournalError(f"entry {index} in {self.directory} was written wrong: {error}") from error

    def _term_at(self, index: int) -> int:
        return self._entry_at(index).term if index else 0

    def _check_usable(self) -> None:
        if self._failure is not None:
            raise JournalError(f"the journal in {self.directory} is not usable: {self._failure}")

    def _refuse(self, what: str, error: OSError) -> NoReturn:
        """Say why something was not begun; only lack of room can pass."""
        if error.errno in _FULL:
            raise DiskFullError(
                f"no room in {self.directory}: {what} ({error.strerror}); nothing changed, free some space"
            ) from error
        self._fail(what, error)

    def _fail(self, what: str, error: OSError) -> NoReturn:
        """The disk failed: nothing may be built on what it holds until it has been read again."""
        self._failure = f"{what}: {error}"
        raise JournalError(
            f"the journal in {self.directory} stops: {self._failure}; check the disk, then restart the node"
        ) from error

    def _raise_unopened(self, error: OSError) -> NoReturn:
        if error.errno in _FULL:
            raise DiskFullError(f"no room for a journal in {self.directory}: {error.strerror}") from error
        raise JournalError(
            f"cannot open the journal in {self.directory}: {error.strerror or error}; "
            "check the directory, its owner and the disk"
        ) from error
