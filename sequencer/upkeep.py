"""What a node does for its files while it runs: one piece at a time, beside the loop.

    a segment was begun, all before it is committed   --> snapshot     a start reads only what follows it
    there are more plain segments than are kept       --> archive      the oldest of them, compressed
    now and then, the next of the older segments      --> scrub        rot is found before it is needed

Rules:
- Nothing here is owed to anybody: a piece that finds no room is left until later, and a node that is full or
  suspect begins none.
- Damage that is found takes the snapshot away and stops the node: the next start reads everything, and the
  node goes on as one that may have lost what it acknowledged.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from sequencer.errors import CorruptJournalError, JournalError
from sequencer.journal import Disk, Journal, archive_segment, verify_segment
from sequencer.journal.format import segment_name
from sequencer.journal.journal import CACHED_SEGMENTS
from sequencer.ordering import Orderer
from sequencer.snapshot import NodeSnapshot, forget_snapshot, take_snapshot, write_snapshot

RETRY_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Pace:
    """The least time from one piece of work of a kind to the next, in ms."""

    archive_ms: int = 5_000
    scrub_ms: int = 10_000
    first_scrub_ms: int = 1_000
    """Until all that a start took on trust has been read."""


class Upkeep:
    """Of one node's directory. `snapshot_segment` is that of the snapshot that is there, 0 for none.

    The latest `plain_segments` are not compressed; with 0, none is.
    """

    def __init__(
        self, journal: Journal, disk: Disk, *, snapshot_segment: int, plain_segments: int, pace: Pace | None = None
    ) -> None:
        self.scrubbed = 0
        """How many segments were read again."""
        self.archived = 0
        """How many were compressed."""
        self._pace = pace or Pace()
        self._plain_segments = plain_segments
        self._archived_up_to = 0
        self._archive_ms = 0
        self._journal = journal
        self._disk = disk
        self._snapshot_segment = snapshot_segment
        self._unread_before = snapshot_segment if journal.is_marked else 0
        """Segments below this number were not read since the start."""
        self._next_number = 1
        self._not_before_ms = 0
        self._scrub_ms = 0
        self._ending: Future[None] | None = None

    def turn(self, now_ms: int, orderer: Orderer) -> None:
        """End the piece that is done, begin the next that is due. Raises JournalError."""
        if self._ending is not None:
            if not self._ending.done():
                return
            self._end(now_ms)
        if now_ms < self._not_before_ms or self._journal.suspect:
            return
        if self._is_snapshot_due(orderer):
            self._begin_snapshot(orderer)
        elif now_ms >= self._archive_ms and self._archivable > self._archived_up_to:
            self._begin_archive(now_ms)
        elif now_ms >= self._scrub_ms:
            self._begin_scrub(now_ms)

    def wait(self) -> None:
        """Let the piece in hand end; how it ends does not matter any more."""
        if self._ending is not None:
            self._ending.exception()

    def forget(self) -> None:
        """Something of the log no longer reads back: the next start has to read everything. Raises JournalError."""
        try:
            forget_snapshot(self._disk, self._journal.directory)
        except OSError as error:
            raise JournalError(f"cannot remove the snapshot in {self._journal.directory}: {error}") from error

    def _end(self, now_ms: int) -> None:
        assert self._ending is not None, "a piece of work is in hand"
        error, self._ending = self._ending.exception(), None
        if isinstance(error, CorruptJournalError):
            self.forget()
            raise error
        if isinstance(error, OSError):
            self._not_before_ms = now_ms + RETRY_MS  # no room, say: nothing was promised
        elif error is not None:
            raise error

    # --- pieces -------------------------------------------------------------------------------

    def _is_snapshot_due(self, orderer: Orderer) -> bool:
        begun = self._journal.segment_number > max(1, self._snapshot_segment)
        return begun and orderer.raft.published_index >= max(1, self._journal.segment_first_index - 1)

    def _begin_snapshot(self, orderer: Orderer) -> None:
        segment = self._journal.segment_number
        snapshot = take_snapshot(orderer.raft.log, orderer.sessions, segment, orderer.raft.published_index)
        self._begin(lambda: self._write(snapshot))

    @property
    def _archivable(self) -> int:
        """The number of the last segment that may be compressed."""
        return self._journal.segment_number - self._plain_segments if self._plain_segments else 0

    def _begin_archive(self, now_ms: int) -> None:
        self._archive_ms = now_ms + self._pace.archive_ms
        last_number = self._archivable
        self._begin(lambda: self._archive(last_number))

    def _archive(self, last_number: int) -> None:
        """Compress the oldest that is not, once it has been found whole."""
        names = set(self._disk.names(self._journal.directory))
        plain = (number for number in range(self._archived_up_to + 1, last_number + 1) if segment_name(number) in names)
        number = next(plain, None)
        if number is not None:
            end = verify_segment(self._journal.directory, number, disk=self._disk)
            archive_segment(self._disk, self._journal.directory, number, end)
            self.archived += 1
            self._journal.uncache(number)
        self._archived_up_to = last_number if number is None else number

    def _begin_scrub(self, now_ms: int) -> None:
        number, behind = self._next_number, self._journal.segment_number
        self._scrub_ms = now_ms + (self._pace.first_scrub_ms if number < self._unread_before else self._pace.scrub_ms)
        if number >= behind:
            self._next_number, self._unread_before = 1, 0
            return
        self._next_number += 1
        self._begin(lambda: self._scrub(number, is_cached=number > behind - CACHED_SEGMENTS))

    def _write(self, snapshot: NodeSnapshot) -> None:
        write_snapshot(self._disk, self._journal.directory, self._journal.cluster, snapshot)
        self._snapshot_segment = snapshot.segment

    def _scrub(self, number: int, *, is_cached: bool) -> None:
        verify_segment(self._journal.directory, number, disk=self._disk)
        self.scrubbed += 1
        if not is_cached:
            self._journal.uncache(number)

    def _begin(self, work: Callable[[], None]) -> None:
        self._ending = self._disk.background(work)
