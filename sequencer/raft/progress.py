"""What a leader knows of each other member: how far it is, what is on its way to it, when it was heard.

    probing      one append at a time, until it is known where the logs meet
    streaming    appends follow each other without waiting, within a window

Rules:
- A member gets more only as it answers: a slow one fills its window, and costs nobody else anything.
- `match_index` is how far it follows; `counted_index` is how far its word counts for a majority. They
  differ for a member that may not vouch for what it holds (see `Appended.vouches`).
- Neither ever goes back, since answers may come late, twice, or in another order; but where a member says
  that it does not vouch, or contradicts itself for long, its word before that is void.
"""

from collections import deque
from collections.abc import Sequence

import msgspec

IN_FLIGHT_MAX = 64
IN_FLIGHT_BYTES_MAX = 8 << 20
"""Appends on their way to one member, and bytes of entries in them."""
CAUGHT_UP_ENTRIES = 64
"""A member that is no further behind what is committed has caught up."""
CONTRADICTION_MS = 1000
"""Longer than an answer that was overtaken may be on its way."""


class Progress(msgspec.Struct):
    """One member, as its leader sees it. Times are ms on the leader's clock."""

    next_index: int
    match_index: int = 0
    counted_index: int = 0
    heard_ms: int = 0
    """When an answer of its came, however long that was on its way."""
    contact_ms: int = 0
    """When the last round that it answered began: at that moment or later, it followed."""
    sent_ms: int = 0
    round: int = 0
    """The last round of contact that it answered."""
    removed_index: int = 0
    """The entry that tells that it belongs to the group no more, 0 for a member."""
    told_round: int = 0
    """The round in which it was first told that this is committed, 0 as long as it is not."""
    fit: bool = True
    """Whether it could lead: its disk has room, and it holds what it vouched for."""
    doubtful_ms: int | None = None
    """Since when it holds about all that is committed and does not vouch for it."""
    contradicts_ms: int | None = None
    """Since when it says that it does not hold what it had acknowledged."""
    probing: bool = True
    in_flight: deque[tuple[int, int]] = msgspec.field(default_factory=deque)
    """The last index and the bytes of each append on its way."""
    in_flight_bytes: int = 0

    @property
    def knows_removal(self) -> bool:
        """Whether it holds the entry of its removal, and has heard that it is committed."""
        return 0 < self.told_round <= self.round and self.match_index >= self.removed_index

    @property
    def has_room(self) -> bool:
        """Whether it may be sent more before it answers."""
        if self.probing:
            return not self.in_flight
        return len(self.in_flight) < IN_FLIGHT_MAX and self.in_flight_bytes < IN_FLIGHT_BYTES_MAX

    def send(self, last_index: int, size_bytes: int) -> None:
        """Entries up to `last_index` are on their way."""
        self.in_flight.append((last_index, size_bytes))
        self.in_flight_bytes += size_bytes
        if not self.probing:
            self.next_index = last_index + 1

    def agree(self, match_index: int, *, vouches: bool) -> None:
        """It holds what we hold, up to this index."""
        self.contradicts_ms = None
        self.match_index = max(self.match_index, match_index)
        self.counted_index = max(self.counted_index, match_index) if vouches else 0
        if self.probing:
            self.probing = False
            self._forget_in_flight()
            self.next_index = self.match_index + 1
        while self.in_flight and self.in_flight[0][0] <= match_index:
            self.in_flight_bytes -= self.in_flight.popleft()[1]
        self.next_index = max(self.next_index, self.match_index + 1)

    def disagree(self, meet_index: int, last_index: int, now_ms: int, *, vouches: bool) -> None:
        """The logs may meet at `meet_index`: try there, but never behind what is known to match.

        One that goes on to contradict for CONTRADICTION_MS has lost what it acknowledged, and does not know.
        """
        if meet_index >= self.match_index:
            self.contradicts_ms = None
        elif self.contradicts_ms is None:
            self.contradicts_ms = now_ms
        has_lost = self.contradicts_ms is not None and now_ms - self.contradicts_ms > CONTRADICTION_MS
        if not vouches or has_lost:
            self.match_index, self.counted_index = min(self.match_index, meet_index), 0
        self.probing = True
        self._forget_in_flight()
        self.next_index = max(self.match_index + 1, min(meet_index, last_index) + 1)

    def doubt(self, now_ms: int, *, vouches: bool, commit_index: int) -> None:
        """Note whether it holds about everything and still does not vouch."""
        if vouches or self.match_index < commit_index - CAUGHT_UP_ENTRIES:
            self.doubtful_ms = None
        elif self.doubtful_ms is None:
            self.doubtful_ms = now_ms

    def _forget_in_flight(self) -> None:
        self.in_flight.clear()
        self.in_flight_bytes = 0


def majority(values: Sequence[int]) -> int:
    """The highest value that more than half of them reach."""
    assert values, "a group has a voter"
    return sorted(values, reverse=True)[len(values) // 2]
