"""Reports that memory no longer has, asked for over REST: found again in the log, beside the live stream.

    asked (client, since, count) --> one fold over the log for all that wait when it begins --> rows, the oldest first

Rules
- It runs in slices, so that live traffic goes on. Who asks while it runs waits for the next.
- An answer says up to which place it is complete: who goes on from there misses nothing, and gets nothing twice.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from gateways import events as e
from gateways.names import Directory
from gateways.orders import Orders, runs
from gateways.web.executions import Row, row, with_field
from sequencer.envelope import Entry

WAITING_MAX: Final = 32
COUNT: Final = 1000
COUNT_MAX: Final = 10_000


class Asked(msgspec.Struct):
    """Reports of a client (0: of all) behind a place of the log, up to `until`: at most `count`, and some more of the
    place where they end. `caller` is whom they are for."""

    caller: int
    client_id: int
    since: int
    until: int
    count: int


class Found(msgspec.Struct, frozen=True):
    """All reports that were wanted behind `since`, up to `up_to`."""

    caller: int
    rows: list[Row]
    up_to: int


class PastReports:
    """Folds over the log, one after the other."""

    def __init__(self) -> None:
        self.next_index = 0
        """Of the old entry that is wanted, or 0."""
        self._waiting: deque[Asked] = deque()
        self._fold: _Fold | None = None

    def ask(self, asked: Asked) -> bool:
        """Have reports looked for; whether there was room."""
        if len(self._waiting) >= WAITING_MAX:
            return False
        self._waiting.append(asked)
        self._begin()
        return True

    def take(self, entries: Iterable[Entry]) -> list[Found]:
        """Take old entries, from `next_index` on, in order; what is complete."""
        if self._fold is None:
            return []
        done = []
        for entry in entries:
            assert entry.index == self.next_index, (entry.index, self.next_index)
            self.next_index += 1
            done += self._fold.take(entry)
        if not self._fold.asked:
            self._fold, self.next_index = None, 0
            self._begin()
        return done

    def _begin(self) -> None:
        if self._fold is None and self._waiting:
            self._fold, self.next_index = _Fold(self._waiting), 1
            self._waiting = deque()


class _Fold:
    """One."""

    def __init__(self, asked: Iterable[Asked]) -> None:
        self.asked = {one.caller: one for one in asked}
        self._rows: dict[int, list[Row]] = {caller: [] for caller in self.asked}
        self._orders = Orders()
        self._names = Directory()

    def take(self, entry: Entry) -> list[Found]:
        for first_sequence, channel, messages in runs(entry):
            self._names.apply(channel, messages)
            for event in self._orders.apply(first_sequence, entry.time_ns, channel, messages):
                for report, nth in e.told(event):
                    self._note(report, nth)
        position = entry.next_sequence - 1
        done = [one for one in self.asked.values() if position >= one.until or len(self._rows[one.caller]) >= one.count]
        for one in done:
            del self.asked[one.caller]
        return [Found(one.caller, self._rows.pop(one.caller), position) for one in done]

    def _note(self, report: e.Event, nth: int) -> None:
        for one in self.asked.values():
            if report.sequence > one.since and one.client_id in (0, report.client_id):
                made = row(report, nth, self._names)
                if made is not None:
                    whole = made if one.client_id else with_client(made, report, self._names)
                    self._rows[one.caller].append(whole)


def with_client(made: Row, report: e.Event, names: Directory) -> Row:
    """A row for those who read the reports of all clients."""
    return with_field(made, "client", names.client_name(report.client_id))
