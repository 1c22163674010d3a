"""Old entries of the log for a gateway that wants them beside the live stream, a few at a time.

follow(index) --> a Replay from there on, while somebody wants it --> step() --> entries, in order
                                                                        |
                     live traffic has the gateway to itself <-- pause_s()
"""

import math
import time
from collections.abc import Callable
from typing import Final, Protocol

from sequencer.envelope import Entry

STEP_ENTRIES: Final = 8
STEP_S: Final = 0.002
"""About so long in one turn, and as long or longer for what is made of them: entries are of one message, or of
thousands. Then it pauses for as long as both took."""


class History(Protocol):
    """What is used of a Replay."""

    done: bool

    def step(self, entries_max: int) -> list[Entry]: ...
    def close(self) -> None: ...


class OldEntries:
    """One reader of the past; `open_at` makes what reads from an index on."""

    def __init__(self, open_at: Callable[[int], History]) -> None:
        self._open_at = open_at
        self._history: History | None = None
        self._index = 0
        self._begun_s: float | None = None
        """When the last step began, until it is known how long it took."""
        self._due_s = 0.0

    def pause_s(self) -> float:
        """Until the next step: 0 where one is due, without end where no entries are wanted. Ask it after each turn."""
        if self._history is None:
            return math.inf
        now_s = time.monotonic()
        if self._begun_s is not None:
            self._due_s, self._begun_s = 2 * now_s - self._begun_s, None
        return max(0.0, self._due_s - now_s)

    def follow(self, index: int) -> None:
        """Entry `index` is wanted next; 0: none is."""
        if self._history is not None and self._index != index:
            self.close()
        if index and self._history is None:
            self._history, self._index = self._open_at(index), index

    def step(self) -> list[Entry]:
        """What is there of them; maybe none yet, and none before one is due."""
        if self._history is None or self.pause_s():
            return []
        entries: list[Entry] = []
        self._begun_s = time.monotonic()
        until_s = self._begun_s + STEP_S
        while more := self._history.step(STEP_ENTRIES):
            entries += more
            if time.monotonic() >= until_s:
                break
        self._index += len(entries)
        if self._history.done:
            self.close()
        return entries

    def close(self) -> None:
        """Read no further."""
        if self._history is not None:
            self._history.close()
            self._history = None
