"""What the core knows of the log: every term's beginning, who belongs to the group, the latest entries.

Entries older than the cache are read from the journal by the shell, which passes `fetch` in.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable

import msgspec

from sequencer.envelope import NO_DIGEST, Entry, decode_entry
from sequencer.members import Member, Members, members_in

CACHE_BYTES_MAX = 64 << 20


class LogState(msgspec.Struct, array_like=True, frozen=True):
    """What is known of a log up to an entry without its entries.

    `terms` are (first index, term), `members` (index of the entry that told them, the group), both in order.
    """

    terms: tuple[tuple[int, int], ...]
    members: tuple[tuple[int, Members], ...]


class Log:
    """Terms and members by index, the latest entries, and how the last entry ends.

    `founders` are the group as long as no entry tells it.
    """

    def __init__(self, founders: Members, fetch: Callable[[int, int], list[bytes]] | None = None) -> None:
        self._fetch = fetch or (lambda _first, _bytes_max: [])
        self._members = [(0, founders)]
        self._starts: list[int] = []
        self._terms: list[int] = []
        self._cache: dict[int, Entry] = {}
        self._cache_bytes = 0
        self._first_cached = 1
        """Where the cache begins: it has no gaps. Asking the dict would cost more with each entry that left it."""
        self.last_index = 0
        self.last_time_ns = 0
        self.next_sequence = 1
        self.last_digest = NO_DIGEST

    @classmethod
    def of(
        cls, founders: Members, entries: Iterable[Entry], fetch: Callable[[int, int], list[bytes]] | None = None
    ) -> "Log":
        """A log that holds these entries."""
        log = cls(founders, fetch)
        for entry in entries:
            log.append(entry)
        return log

    @classmethod
    def resumed(cls, state: LogState, last: Entry, fetch: Callable[[int, int], list[bytes]]) -> "Log":
        """A log of which `state` tells all up to `last`, and which goes on from there."""
        (_founding, founders), *changes = state.members
        log = cls(founders, fetch)
        log._members += changes
        log._starts, log._terms = [start for start, _term in state.terms], [term for _start, term in state.terms]
        log._cache, log._cache_bytes, log._first_cached = {last.index: last}, len(last.data), last.index
        log._end_with(last)
        return log

    def state_at(self, index: int) -> LogState:
        """What a log that ends with the entry at `index` is resumed from."""
        terms = zip(self._starts, self._terms, strict=True)
        return LogState(
            tuple((start, term) for start, term in terms if start <= index),
            tuple((since, members) for since, members in self._members if since <= index),
        )

    @property
    def last_term(self) -> int:
        """The term of the last entry, 0 when there is none."""
        return self._terms[-1] if self._terms else 0

    @property
    def members(self) -> Members:
        """The group, as the last entry that changed it tells, committed or not."""
        return self._members[-1][1]

    @property
    def members_index(self) -> int:
        """The index of the entry that told the group, 0 for the founders."""
        return self._members[-1][0]

    def members_at(self, index: int) -> Members:
        """The group as of an entry."""
        return next(members for since, members in reversed(self._members) if since <= index)

    def former(self, name: str) -> tuple[Member, int] | None:
        """Who had this name when the group last had one of it, and the index of the entry since when it has none."""
        gone_at = 0
        for since, members in reversed(self._members):
            member = members.find(name)
            if member is not None:
                return (member, gone_at) if gone_at else None
            gone_at = since
        return None

    def term_at(self, index: int) -> int:
        """The term of the entry at `index`, 0 when there is none."""
        if not 0 < index <= self.last_index:
            return 0
        return self._terms[bisect_right(self._starts, index) - 1]

    def digest_at(self, index: int) -> bytes:
        """The digest of an entry that is there."""
        return (self._cache.get(index) or decode_entry(self._fetch(index, 1)[0])).digest

    def first_of_term_at(self, index: int) -> int:
        """The first index of the term that the entry at `index` belongs to."""
        return self._starts[bisect_right(self._starts, index) - 1]

    def append(self, entry: Entry) -> None:
        """Add the next entry."""
        assert entry.index == self.last_index + 1, (entry.index, self.last_index)
        assert entry.term >= self.last_term, (entry.term, self.last_term)
        assert entry.first_sequence == self.next_sequence, (entry.first_sequence, self.next_sequence)
        if entry.term != self.last_term:
            self._starts.append(entry.index)
            self._terms.append(entry.term)
        if entry.changes_members:
            self._members.append((entry.index, members_in(entry)))
        self._cache[entry.index] = entry
        self._cache_bytes += len(entry.data)
        while self._cache_bytes > CACHE_BYTES_MAX and len(self._cache) > 1:
            self._cache_bytes -= len(self._cache.pop(self._first_cached).data)
            self._first_cached += 1
        self._end_with(entry)

    def truncate_after(self, index: int) -> None:
        """Drop all entries behind `index`."""
        for gone in range(index + 1, self.last_index + 1):
            entry = self._cache.pop(gone, None)
            self._cache_bytes -= len(entry.data) if entry else 0
        self._first_cached = min(self._first_cached, index + 1)
        while self._starts and self._starts[-1] > index:
            self._starts.pop()
            self._terms.pop()
        while self._members[-1][0] > index:
            self._members.pop()
        self.last_index, self.last_time_ns, self.next_sequence, self.last_digest = 0, 0, 1, NO_DIGEST
        if index:
            self._end_with(self._cache.get(index) or decode_entry(self._fetch(index, 1)[0]))

    def entry(self, index: int) -> Entry | None:
        """The entry at `index`, if it is still in memory."""
        return self._cache.get(index)

    def read(self, first: int, bytes_max: int) -> list[bytes]:
        """Encoded entries from `first` on, at least one if there is one, up to about `bytes_max`."""
        if first not in self._cache:
            return self._fetch(first, bytes_max)
        found: list[bytes] = []
        size = 0
        for index in range(first, self.last_index + 1):
            data = self._cache[index].data
            if found and size + len(data) > bytes_max:
                break
            found.append(data)
            size += len(data)
        return found

    def _end_with(self, entry: Entry) -> None:
        self.last_index = entry.index
        self.last_time_ns = entry.time_ns
        self.next_sequence = entry.next_sequence
        self.last_digest = entry.digest
