"""Old entries of the log for a gateway that wants them beside the live stream, a few at a time.

follow(index) --> a Replay from there on, while somebody wants it --> step() --> entries, in order
"""

import time
from collections.abc import Callable
from typing import Final, Protocol

from sequencer.envelope import Entry

STEP_ENTRIES: Final = 8
STEP_S: Final = 0.002
"""About so long in one turn, and as long for what is made of them, so that live traffic goes on: entries are of one
message, or of thousands."""


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

    @property
    def is_open(self) -> bool:
        """Whether entries are wanted: do not wait for something else to come."""
        return self._history is not None

    def follow(self, index: int) -> None:
        """Entry `index` is wanted next; 0: none is."""
        if self._history is not None and self._index != index:
            self.close()
        if index and self._history is None:
            self._history, self._index = self._open_at(index), index

    def step(self) -> list[Entry]:
        """What is there of them; maybe none yet."""
        if self._history is None:
            return []
        entries: list[Entry] = []
        until_s = time.monotonic() + STEP_S
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
