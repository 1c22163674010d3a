"""How fast the venue goes, from the log alone: rates, and the time from a command to what follows from it.

    entry of commands --> decisions, whose cause it is --> results, whose cause those are: later by so much

Rules
- Times are sequenced ones: two durable rounds lie between the entry of a command and that of its results.
- A second without results has no latency. What has no results is forgotten after a while.
- What had to wait while nothing went on has waited: it counts with all of that, in the second of its results alone.
- A second never comes back. Where no entries come, sequenced time is taken to pass as this process's own does: no wall
  clock is asked, since it may be far from the log's.
"""

from collections import deque
from typing import Any, Final

from engines.messages import COMMANDS, DECISIONS, RESULTS, Message, Trade
from gateways.times import iso_text
from sequencer.envelope import Entry

SECONDS_KEPT: Final = 300
CAUSES_KEPT: Final = 4096
SECOND_NS: Final = 1_000_000_000

Row = dict[str, Any]


class _Second:
    """What was sequenced in one."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.messages = self.commands = self.trades = 0
        self.latencies_ns: list[int] = []

    def row(self) -> Row:
        found = sorted(self.latencies_ns)
        return {
            "timestamp": iso_text(self.number * SECOND_NS),
            "messages": self.messages,
            "commands": self.commands,
            "trades": self.trades,
            "p50_us": found[len(found) // 2] // 1000 if found else None,
            "p99_us": found[len(found) * 99 // 100] // 1000 if found else None,
        }


class Pulse:
    """The last minutes, second by second."""

    def __init__(self) -> None:
        self._now = _Second(0)
        self._rows: deque[Row] = deque(maxlen=SECONDS_KEPT)
        self._untold = 0
        self._began_ns: dict[int, int] = {}
        """First sequence number of an entry -> time of the commands that it is about."""
        self._latest_ns = 0
        self._quiet: tuple[int, int] | None = None
        """The time of the latest entry, and when, by this process's clock, it was first seen to be the latest."""

    def take(self, entry: Entry, readable: list[tuple[int, int, list[Message]]]) -> None:
        """Take an entry, with its runs."""
        self._latest_ns = entry.time_ns
        self._reach(entry.time_ns)
        now = self._now
        now.messages += entry.message_count
        for _first, channel, messages in readable:
            if channel == COMMANDS:
                now.commands += len(messages)
            elif channel == RESULTS:
                now.trades += list(map(type, messages)).count(Trade)
        for batch in entry.batches():
            if batch.channel == COMMANDS:
                self._began_ns[entry.first_sequence] = entry.time_ns
            elif batch.channel == DECISIONS and batch.cause in self._began_ns:
                self._began_ns.setdefault(entry.first_sequence, self._began_ns[batch.cause])
            elif batch.channel == RESULTS and batch.cause in self._began_ns:
                now.latencies_ns.append(entry.time_ns - self._began_ns[batch.cause])
        while len(self._began_ns) > CAUSES_KEPT:
            del self._began_ns[next(iter(self._began_ns))]

    def until(self, now_ms: int) -> None:
        """It is this time (monotonic): a second without entries has passed as well."""
        if self._quiet is None or self._quiet[0] != self._latest_ns:
            self._quiet = self._latest_ns, now_ms
        latest_ns, since_ms = self._quiet
        if latest_ns:
            self._reach(latest_ns + (now_ms - since_ms) * 1_000_000)

    def rows(self) -> list[Row]:
        """The latest whole seconds, the oldest first."""
        return list(self._rows)

    def fresh(self) -> list[Row]:
        """Those that became whole since the last call."""
        count, self._untold = min(self._untold, SECONDS_KEPT), 0
        return self.rows()[len(self._rows) - count :]

    def _reach(self, time_ns: int) -> None:
        """Seconds before this time are whole."""
        second = time_ns // SECOND_NS
        if second <= self._now.number:
            return
        if self._now.number:
            self._end(self._now)
            for quiet in range(max(self._now.number + 1, second - SECONDS_KEPT), second):
                self._end(_Second(quiet))
        self._now = _Second(second)

    def _end(self, second: _Second) -> None:
        self._rows.append(second.row())
        self._untold += 1
