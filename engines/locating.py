"""Which message it was: a replica that halted in an entry of many has a child do that entry again, one by one.

halted after n --fork--> child: snapshot before n --> log up to n --> messages one by one --Outcome--> replica

Rules:
- The child takes the share of the processor that the halted replica left: an operator waits for it.
- A search that comes to nothing, for want of a node or of time, is begun again: the message can be found, it stopped
  the replica.
"""

import os
import time
from collections.abc import Callable
from typing import Final

import msgspec

from engines.forking import FAILED, Child, fork
from engines.machine import Machine
from engines.reproducing import FIELD_BYTES_MAX, Outcome, locate
from engines.seeding import seed
from sequencer.client import Context, Replay
from sequencer.config import Config

LOG_S: Final = 30.0
AGAIN_S: Final = 2.0
AGAIN_MAX_S: Final = 60.0

Search = Callable[[], Outcome]


class Locator:
    """One search, in a process of its own: for the first message that raises."""

    def __init__(self, search: Search, again_s: float = AGAIN_S) -> None:
        self._search = search
        self._again_s = again_s
        self._begin_s = 0.0
        self._child: Child | None = None
        self._said = b""
        self.error = ""
        """Why nothing was found yet, for example for want of a node."""

    def tend(self) -> Outcome | None:
        """What was found, once; None while it is looked for."""
        if self._child is None:
            if time.monotonic() >= self._begin_s:
                self._begin()
            return None
        try:
            while part := os.read(self._child.read_fd, 1 << 16):
                self._said += part
        except BlockingIOError:
            return None
        self._child.bury()
        self._child = None
        found = self._found()
        self._begin_s = float("inf") if found is not None else time.monotonic() + self._again_s
        self._again_s = min(2 * self._again_s, AGAIN_MAX_S)
        return found

    def close(self) -> None:
        """End the search."""
        if self._child is not None:
            self._child.kill()
            self._child.bury()
            self._child = None

    def _begin(self) -> None:
        def search(_read_fd: int, write_fd: int) -> None:
            outcome = self._search()
            outcome.traceback = outcome.traceback[-FIELD_BYTES_MAX:]
            os.write(write_fd, msgspec.json.encode(outcome))

        self._said = b""
        self._child = fork(search)
        os.set_blocking(self._child.read_fd, False)

    def _found(self) -> Outcome | None:
        try:
            outcome = msgspec.json.decode(self._said, type=Outcome)
        except msgspec.MsgspecError:
            self.error = self._said.removeprefix(FAILED).decode(errors="replace") or "its process has ended"
            return None
        self.error = "" if outcome.error else "done again, one message after the other, nothing raises"
        return outcome if outcome.error else None


def searching(config: Config, make: Callable[[], Machine], shard: str, sequence: int, index: int) -> Search:
    """A search for what raises in the entry `index`, which holds `sequence`."""

    def search() -> Outcome:
        context = Context.of(config)
        begun = seed(
            make, shard, config.sources, config.cluster, before=sequence, context=context, say=lambda _doing: None
        )
        entries = Replay(config.sources, begun.next_index, index, context=context, patience_s=LOG_S)
        return locate(begun.replica.machine, entries, sequence, begun.replica.skipped, begun.replica.sharding)

    return search
