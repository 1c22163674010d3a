"""How fast a replica is, how far behind in time, and what took it longest."""

import time
from typing import Final

from sequencer.envelope import Entry

RATE_S: Final = 1.0
LONG_NS: Final = 100_000_000
"""What takes longer than this is worth telling."""


class Pace:
    """Noted after each entry, told with each report."""

    def __init__(self) -> None:
        self._time_ns = 0
        self._longest_ns = LONG_NS
        self._longest: list[int] = []
        self._rate = 0
        self._rated_s = time.monotonic()
        self._rated_position = 0

    @property
    def lag_ms(self) -> int:
        """Age of the entry that was applied last, by this host's clock."""
        return max(0, time.time_ns() - self._time_ns) // 1_000_000 if self._time_ns else 0

    def note(self, entry: Entry, held_ns: int) -> None:
        """An entry was applied, and took so long."""
        self._time_ns = entry.time_ns
        if held_ns > self._longest_ns:
            self._longest_ns = held_ns
            self._longest = [entry.first_sequence, entry.next_sequence - 1]

    def report(self, position: int, lag: int) -> dict[str, object]:
        """Messages a second, ms behind (0 when nothing is missing), and what was in hand the longest."""
        now_s = time.monotonic()
        if now_s - self._rated_s >= RATE_S:
            self._rate = int((position - self._rated_position) / (now_s - self._rated_s))
            self._rated_s, self._rated_position = now_s, position
        told: dict[str, object] = {"rate": self._rate, "lag_ms": self.lag_ms if lag else 0}
        if self._longest:
            told |= {"longest": self._longest, "longest_ms": self._longest_ns // 1_000_000}
        return told
