"""Which message it was: a replica that halted in an entry of many has a child do that entry again, one by one.

halted after n --fork--> child: snapshot before n --> log up to n --> messages one by one --Outcome--> replica
"""

import os
from collections.abc import Callable
from typing import Final

import msgspec
import zmq

from engines.forking import FAILED, Child, fork
from engines.machine import Machine
from engines.reproducing import FIELD_BYTES_MAX, Outcome, locate
from engines.seeding import seed
from sequencer.client import Replay
from sequencer.config import Config

LOG_S: Final = 30.0


class Locator:
    """One search, in a process of its own: for the first message that raises, in the entry `index` of `sequence`."""

    def __init__(self, config: Config, make: Callable[[], Machine], shard: str, sequence: int, index: int) -> None:
        def search(_read_fd: int, write_fd: int) -> None:
            outcome = _search(config, make, shard, sequence, index)
            outcome.traceback = outcome.traceback[-FIELD_BYTES_MAX:]
            os.write(write_fd, msgspec.json.encode(outcome))

        self._child: Child | None = fork(search)
        os.set_blocking(self._child.read_fd, False)
        self._said = b""
        self.error = ""
        """Why nothing was found, for example for want of a node."""

    def tend(self) -> Outcome | None:
        """What was found, once; None while it is looked for, and where nothing is found."""
        if self._child is None:
            return None
        try:
            while part := os.read(self._child.read_fd, 1 << 16):
                self._said += part
        except BlockingIOError:
            return None
        self._child.bury()
        self._child = None
        try:
            return msgspec.json.decode(self._said, type=Outcome)
        except msgspec.MsgspecError:
            self.error = self._said.removeprefix(FAILED).decode(errors="replace") or "its process has ended"
            return None

    def close(self) -> None:
        """End the search."""
        if self._child is not None:
            self._child.kill()
            self._child.bury()
            self._child = None


def _search(config: Config, make: Callable[[], Machine], shard: str, sequence: int, index: int) -> Outcome:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    begun = seed(make, shard, config.sources, config.cluster, before=sequence, context=context, say=lambda _doing: None)
    entries = Replay(config.sources, begun.next_index, index, context=context, patience_s=LOG_S)
    return locate(begun.replica.machine, entries, sequence, begun.replica.skipped, begun.replica.sharding)
