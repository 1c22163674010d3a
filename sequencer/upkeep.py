"""What a node does for its files while it runs: one piece at a time, beside the loop.

    a segment was begun, all before it is committed   --> snapshot     a start reads only what follows it
    there are more plain segments than are kept       --> archive      the oldest of them, compressed
    now and then, the next of the older segments      --> scrub        rot is found before it is needed

Rules:
- Nothing here is owed to anybody: a piece that finds no room is left until later, and holds up no other kind. A
  suspect node begins none; a full one goes on to archive, since that makes room.
- A piece is paid for by a pause of twenty times its length: archives lag behind a busy venue, and catch up later.
- Damage that is found takes the snapshot away and stops the node: the next start reads everything, and the
  node goes on as one that may have lost what it acknowledged. So does a node that was just stopping.
"""

import errno
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sequencer.errors import CorruptJournalError, JournalError
from sequencer.journal import Disk, Extent, Journal, archive_segment, verify_segment
from sequencer.journal.format import SegmentHeader, segment_name
from sequencer.journal.journal import CACHED_SEGMENTS
from sequencer.ordering import Orderer
from sequencer.snapshot import NodeSnapshot, forget_snapshot, take_snapshot, write_snapshot

RETRY_MS: Final = 60_000
PAUSE_TIMES: Final = 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Pace:
    """The least time between two pieces of work of a kind, in ms."""

    archive_ms: int = 5_000
    scrub_ms: int = 10_000
    first_scrub_ms: int = 1_000
    """Until all that a start took on trust has been read."""


class Kind(Enum):
    """What a piece of work is for, in the order of their importance."""

    SNAPSHOT = "snapshot"
    ARCHIVE = "archive"
    SCRUB = "scrub"


class Upkeep:
    """Of one node's directory. `snapshot_segment` is that of the snapshot that is there, 0 for none.

    The latest `plain_segments` are not compressed; with 0, none is. `wake` is called, in any thread, when a piece
    has ended.
    """

    def __init__(
        self,
        journal: Journal,
        disk: Disk,
        *,
        wake: Callable[[], None],
        snapshot_segment: int,
        plain_segments: int,
        pace: Pace | None = None,
    ) -> None:
        self.scrubbed = 0
        """How many segments were read again."""
        self.archived = 0
        """How many were compressed."""
        self._journal = journal
        self._disk = disk
        self._wake = wake
        self._pace = pace or Pace()
        self._plain_segments = plain_segments
        self._archived_up_to = 0
        self._snapshot_segment = snapshot_segment
        self._unread_before = snapshot_segment if journal.is_marked else 0
        """Segments below this number were not read since the start."""
        self._next_number = 1
        self._due_ms = dict.fromkeys(Kind, 0)
        self._in_hand: tuple[Kind, Future[None]] | None = None
        self._begun_ms = 0
        self._rest_until_ms = 0
        self._read: Extent | None = None

    def turn(self, now_ms: int, orderer: Orderer, *, full: bool) -> None:
        """End the piece that is done, begin the next that is due. Raises JournalError."""
        self._end(now_ms)
        if self._in_hand is None and not self._journal.suspect:
            self._begin_next(now_ms, orderer, full=full)
            self._end(now_ms)

    def wait(self) -> None:
        """Let the piece in hand end; only damage that it finds matters any more. Raises JournalError."""
        if self._in_hand is not None and isinstance(self._in_hand[1].exception(), CorruptJournalError):
            self._remove_snapshot()

    def forget(self) -> None:
        """Something of the log no longer reads back: the next start has to read everything. Raises JournalError."""
        self.wait()  # it may be about to write a snapshot
        self._remove_snapshot()

    def _remove_snapshot(self) -> None:
        try:
            forget_snapshot(self._disk, self._journal.directory)
        except OSError as error:
            raise JournalError(f"cannot remove the snapshot in {self._journal.directory}: {error}") from error

    # --- one piece after the other ------------------------------------------------------------

    def _begin_next(self, now_ms: int, orderer: Orderer, *, full: bool) -> None:
        header = self._journal.segment_header
        for kind in (kind for kind in Kind if now_ms >= max(self._due_ms[kind], self._rest_until_ms)):
            work: Callable[[], None] | None
            if kind is Kind.SNAPSHOT:
                work = None if full else self._snapshot_work(header, orderer)
            elif kind is Kind.ARCHIVE:
                work = self._archive_work(header.number - self._plain_segments)
            else:
                work = self._scrub_work(header.number)
            if work is not None:
                self._in_hand, self._begun_ms = (kind, self._disk.background(work)), now_ms
                self._in_hand[1].add_done_callback(lambda _future: self._wake())
                return

    def _end(self, now_ms: int) -> None:
        if self._in_hand is None or not self._in_hand[1].done():
            return
        (kind, ending), self._in_hand = self._in_hand, None
        error = ending.exception()
        self._due_ms[kind] = now_ms + self._pause_ms(kind)
        self._rest_until_ms = now_ms + PAUSE_TIMES * (now_ms - self._begun_ms)
        if isinstance(error, CorruptJournalError):
            self.forget()
            raise error
        if isinstance(error, OSError):
            if error.errno not in _FULL:
                raise JournalError(f"the {kind.value} in {self._journal.directory} failed: {error}") from error
            self._due_ms[kind] = now_ms + RETRY_MS
        elif error is not None:
            raise error
        if self._read is not None:
            self._journal.learn(self._read)
            self._read = None

    def _pause_ms(self, kind: Kind) -> int:
        if kind is Kind.SNAPSHOT:
            return 0
        if kind is Kind.ARCHIVE:
            return self._pace.archive_ms
        return self._pace.first_scrub_ms if self._next_number < self._unread_before else self._pace.scrub_ms

    # --- pieces -------------------------------------------------------------------------------

    def _snapshot_work(self, header: SegmentHeader, orderer: Orderer) -> Callable[[], None] | None:
        is_new = header.number > max(1, self._snapshot_segment)
        if not is_new or orderer.raft.published_index < max(1, header.first_index - 1):
            return None
        snapshot = take_snapshot(orderer.raft.log, orderer.sessions, header.number, orderer.raft.published_index)
        return lambda: self._write(snapshot)

    def _write(self, snapshot: NodeSnapshot) -> None:
        write_snapshot(self._disk, self._journal.directory, self._journal.cluster, snapshot)
        self._snapshot_segment = snapshot.segment

    def _archive_work(self, last_number: int) -> Callable[[], None] | None:
        if not self._plain_segments or last_number <= self._archived_up_to:
            return None
        return lambda: self._archive(last_number)

    def _archive(self, last_number: int) -> None:
        """Compress the oldest that is not, once it has been found whole."""
        names = set(self._disk.names(self._journal.directory))
        plain = (number for number in range(self._archived_up_to + 1, last_number + 1) if segment_name(number) in names)
        number = next(plain, None)
        if number is not None:
            self._read = verify_segment(self._journal.directory, number, disk=self._disk)
            archive_segment(self._disk, self._journal.directory, number, self._read.stop)
            self.archived += 1
            self._journal.uncache(number)
        self._archived_up_to = last_number if number is None else number

    def _scrub_work(self, last_number: int) -> Callable[[], None] | None:
        number = self._next_number
        if number >= last_number:
            self._next_number, self._unread_before = 1, 0
            return None
        self._next_number += 1
        return lambda: self._scrub(number, is_cached=number > last_number - CACHED_SEGMENTS)

    def _scrub(self, number: int, *, is_cached: bool) -> None:
        self._read = verify_segment(self._journal.directory, number, disk=self._disk)
        self.scrubbed += 1
        if not is_cached:
            self._journal.uncache(number)
