"""What a replica has in hand, on a page that another process can read while the replica's own loop does not turn.

loop: take(entry) .... put_down(entry) --> page <-- watcher: read()
"""

import mmap
import struct
import time
from typing import Final

import msgspec

from sequencer.envelope import Entry

_PAGE = struct.Struct("<QQQQQ")
_LAG = struct.Struct("<Q")
_LAG_AT: Final = _PAGE.size
_KNOWN = struct.Struct("<Q")
_KNOWN_AT: Final = _LAG_AT + _LAG.size
_CLOSED_AT: Final = _KNOWN_AT + _KNOWN.size


class InHand(msgspec.Struct, frozen=True):
    """Sequence numbers `first` to `last` are being applied since `since_ns` of the monotonic clock; 0: none are.

    `taken` counts entries, so that two looks can tell whether it is still the same. `position` is the last sequence
    number that was applied before, `lag` how many more were known of then. The replica knows what so many `openings` of
    incarnations have decided.
    """

    taken: int
    first: int
    last: int
    since_ns: int
    position: int
    lag: int
    openings: int
    closed: bool


class Hand:
    """The page; it is shared with processes that are forked after it was made. Writing it costs under a microsecond."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        self._taken = 0
        self._since_ns = 0
        self.held_ns = 0
        """How long the last entry was in hand."""
        self.now_ns = 0
        """When it was put down, by the monotonic clock."""

    def take(self, entry: Entry, position: int) -> None:
        """An entry is going to be applied."""
        self._taken += 1
        self._since_ns = time.monotonic_ns()
        first = entry.first_sequence
        _PAGE.pack_into(self._page, 0, self._taken, first, first + entry.message_count - 1, self._since_ns, position)

    def put_down(self, position: int) -> None:
        """It was applied."""
        now_ns = self.now_ns = time.monotonic_ns()
        self.held_ns = now_ns - self._since_ns
        _PAGE.pack_into(self._page, 0, self._taken, 0, 0, now_ns, position)

    def note_lag(self, lag: int) -> None:
        """How many messages are still to come, as far as is known."""
        _LAG.pack_into(self._page, _LAG_AT, lag)

    def note_openings(self, openings: int) -> None:
        """How many incarnations of its machine's shards were opened that the replica knows of."""
        _KNOWN.pack_into(self._page, _KNOWN_AT, openings)

    def close(self) -> None:
        """The replica ends on purpose."""
        self._page[_CLOSED_AT] = 1

    def read(self) -> InHand:
        """What the page says. It may be written meanwhile: only what two looks agree on counts."""
        taken, first, last, since_ns, position = _PAGE.unpack_from(self._page)
        (lag,) = _LAG.unpack_from(self._page, _LAG_AT)
        (openings,) = _KNOWN.unpack_from(self._page, _KNOWN_AT)
        return InHand(taken, first, last, since_ns, position, lag, openings, bool(self._page[_CLOSED_AT]))
