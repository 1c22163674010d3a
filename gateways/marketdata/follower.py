"""How a reader joins a snapshot and the updates around it, and how it finds a gap: pure.

    update   --+--> (no snapshot yet) wait
               +--> (next number)     apply
               +--> (older)           drop
               +--> (later: a gap, or another log) wait, and ask for a snapshot
    snapshot -----> load, then take what waited

Rules
- The view is told only what continues it: number by number, nothing twice, nothing left out.
- What waits is bounded; what does not fit is a gap that the next snapshot closes.
"""

from collections import deque
from typing import Final, Generic, TypeVar

from gateways.marketdata.protocol import Snapshot, Update
from gateways.marketdata.views import View

WAITING_MAX: Final = 10_000

V = TypeVar("V", bound=View)


class Follower(Generic[V]):
    """Keeps a view up to date. While `needs_snapshot`, its owner asks for one, again and again."""

    def __init__(self, view: V) -> None:
        self.view = view
        self.needs_snapshot = True
        self.number = 0
        self.sequence = 0
        self.time_ns = 0
        self._log = b""
        self._waiting: deque[tuple[bytes, Update]] = deque(maxlen=WAITING_MAX)

    def update(self, log: bytes, update: Update) -> bool:
        """Take what came on the channel; whether the view has changed."""
        if self.needs_snapshot:
            self._waiting.append((log, update))
            return False
        if log != self._log or update.first_number > self.number + 1:
            self.needs_snapshot = True
            self._waiting.append((log, update))
            return False
        fresh = update.changes[self.number + 1 - update.first_number :]
        if not fresh:
            return False
        self.view.apply(fresh)
        self.number += len(fresh)
        self.sequence, self.time_ns = update.sequence, update.time_ns
        return True

    def snapshot(self, log: bytes, snapshot: Snapshot) -> bool:
        """Take a snapshot of the channel, if one is needed; whether the view has changed."""
        if not self.needs_snapshot:
            return False
        self.view.load(snapshot)
        self.needs_snapshot, self._log, self.number = False, log, snapshot.number
        self.sequence, self.time_ns = snapshot.sequence, snapshot.time_ns
        waited = list(self._waiting)
        self._waiting.clear()
        for of_log, update in waited:
            if of_log == log:
                self.update(of_log, update)
        return True
