"""What a node's journal is owed: one group at a time, written in the node's turn or beside its loop.

    keep(entries, truncation) --> waits --turn--> one write --> journal
                                                      |
    turn() is true: `durable_index` has moved <-------+

Rules:
- One write is under way at a time; all that comes meanwhile is the next one. So the group grows with the load.
- A small write is done at once: a thread would cost more. A large one is done beside the loop, which goes on: nodes
  overlap their syncs with their work, and a disk that takes long makes no leader look dead.
- While a write is under way nothing else changes the journal; reading it is safe.
- A tail that is dropped while it is being written counts as never written: it is overridden by the next write.
- What finds no room on the disk waits, and is tried again every RETRY_MS.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future

import msgspec

from sequencer.envelope import Entry
from sequencer.errors import DiskFullError
from sequencer.journal import Disk, Journal
from sequencer.journal.disk import settle

ASIDE_BYTES = 64 << 10
"""From this size on a write is done beside the loop."""
RETRY_MS = 100


class _Write(msgspec.Struct):
    """The tail behind `truncate_after` is dropped, then entries are added; then `last_index` is the last one.

    What is done is taken out of it, so that a full disk leaves what is not.
    """

    truncate_after: int | None
    entries: list[Entry]
    commit_index: int
    last_index: int

    def run(self, journal: Journal) -> None:
        """Do it. Raises JournalError, DiskFullError."""
        if self.truncate_after is not None:
            journal.truncate_after(self.truncate_after)
            self.truncate_after = None
        if self.entries:
            journal.append(self.entries, self.commit_index)
            self.entries = []


class Writer:
    """Writes to a journal. `wake` is called, in any thread, when a write beside the loop has ended."""

    def __init__(self, journal: Journal, disk: Disk, *, wake: Callable[[], None], aside_bytes: int) -> None:
        self.durable_index = journal.last_index
        """Everything up to here is durable, and was not dropped since."""
        self.waiting_bytes = 0
        """Of entries that are in no write yet."""
        self.is_stalled = False
        """Whether the last write found no room."""
        self._journal = journal
        self._disk = disk
        self._wake = wake
        self._aside_bytes = aside_bytes
        self._entries: list[Entry] = []
        self._truncate_after: int | None = None
        self._write: _Write | None = None
        self._ending: Future[None] | None = None
        self._retry_ms = 0

    @property
    def is_busy(self) -> bool:
        """Whether a write is under way."""
        return self._write is not None

    def keep(self, truncate_after: int | None, entries: Sequence[Entry]) -> None:
        """Note what has to be dropped from the journal, and what to be added behind that."""
        if truncate_after is not None:
            self._entries = [entry for entry in self._entries if entry.index <= truncate_after]
            if truncate_after < (self._write.last_index if self._write else self._journal.last_index):
                self._truncate_after = min(truncate_after, _or_beyond(self._truncate_after))
            self._count_waiting()
        if entries:
            self._entries += entries
            self._count_waiting()

    def turn(self, now_ms: int, commit_index: int) -> bool:
        """End the write that is done, begin the next; tell whether something is newly durable. Raises JournalError."""
        is_news = self._end(now_ms)
        if self._write is None and (self._entries or self._truncate_after is not None) and now_ms >= self._retry_ms:
            self._begin(commit_index)
            is_news |= self._end(now_ms)
        return is_news

    def wait(self) -> None:
        """Let the write that is under way end; how it ends does not matter any more."""
        if self._ending is not None:
            self._ending.exception()

    def _begin(self, commit_index: int) -> None:
        last_index = self._entries[-1].index if self._entries else _or_beyond(self._truncate_after)
        write = _Write(self._truncate_after, self._entries, min(commit_index, last_index), last_index)
        is_large = self.waiting_bytes >= self._aside_bytes
        self._write, self._truncate_after, self._entries, self.waiting_bytes = write, None, [], 0
        if is_large:
            self._ending = self._disk.background(lambda: write.run(self._journal))
            self._ending.add_done_callback(lambda _future: self._wake())
        else:
            self._ending = Future()
            settle(self._ending, lambda: write.run(self._journal))

    def _end(self, now_ms: int) -> bool:
        if self._write is None or self._ending is None or not self._ending.done():
            return False
        write, error = self._write, self._ending.exception()
        self._write = self._ending = None
        self.is_stalled = isinstance(error, DiskFullError)
        if self.is_stalled:
            self._retry_ms = now_ms + RETRY_MS
            self._put_back(write)
            return False
        if error is not None:
            raise error
        self.durable_index = min(self._journal.last_index, _or_beyond(self._truncate_after))
        return True

    def _put_back(self, write: _Write) -> None:
        """What found no room waits again, but for what was dropped meanwhile."""
        after = _or_beyond(self._truncate_after)
        self._entries = [entry for entry in write.entries if entry.index <= after] + self._entries
        self._count_waiting()
        after = min(after, _or_beyond(write.truncate_after))
        self._truncate_after = after if after < self._journal.last_index else None

    def _count_waiting(self) -> None:
        self.waiting_bytes = sum([len(entry.data) for entry in self._entries])


def _or_beyond(index: int | None) -> int:
    """An index, or one that no entry reaches."""
    return 1 << 64 if index is None else index
