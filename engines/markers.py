"""Where in the log the replicas of a shard tell the digest of their state: a function of the log.

    TakeSnapshot in the log, or the schedule  -->  the end of this entry is marker number 1, 2, 3, ...

Rules:
- A marker is the end of an entry that holds messages. Markers are numbered within the shard.
- The schedule is DEFAULT_MESSAGES and DEFAULT_NS until a ScheduleSnapshots says otherwise. These two are part of
  what a log means: whoever changes them can read no older log.
- Shards begin their count at different places, so that not all take a snapshot at once.
"""

import zlib
from typing import Final

from engines.messages import ScheduleSnapshots, TakeSnapshot
from engines.snapshot import MarkerState
from sequencer.envelope import Entry

DEFAULT_MESSAGES: Final = 2_000_000
DEFAULT_NS: Final = 600_000_000_000


class Markers:
    """The markers of one shard of `machine`."""

    def __init__(self, machine: str, shard: str) -> None:
        self.number = 0
        """Of the last marker."""
        self.keep = False
        """Whether the state at the last marker is wanted, and not only its digest."""
        self._machine = machine
        self._position = -(zlib.crc32(shard.encode()) % (DEFAULT_MESSAGES // 2))
        self._time_ns = 0
        self._every_messages = DEFAULT_MESSAGES
        self._every_ns = DEFAULT_NS
        self._asked = False
        self._asked_to_keep = False

    def hear(self, operation: object) -> None:
        """Take note of an operation in the entry that is being applied."""
        if isinstance(operation, TakeSnapshot) and operation.machine in ("", self._machine):
            self._asked = True
            self._asked_to_keep |= operation.keep
        elif isinstance(operation, ScheduleSnapshots):
            self._every_messages = max(0, operation.every_messages)
            self._every_ns = max(0, operation.every_ns)

    def passes(self, entry: Entry) -> bool:
        """Whether the end of this entry, which was applied, is a marker. Call it once for each that holds messages."""
        position, time_ns = entry.next_sequence - 1, entry.time_ns
        if not self._time_ns:
            self._time_ns = time_ns
        due = (self._every_messages and position - self._position >= self._every_messages) or (
            self._every_ns and time_ns - self._time_ns >= self._every_ns
        )
        if not due and not self._asked:
            return False
        self.keep = bool(due) or self._asked_to_keep
        self.number += 1
        self._position, self._time_ns = position, time_ns
        self._asked = self._asked_to_keep = False
        return True

    def state(self) -> MarkerState:
        """What later markers depend on."""
        return MarkerState(self.number, self._position, self._time_ns, self._every_messages, self._every_ns)

    def restore(self, state: MarkerState) -> None:
        """Go on where `state` was told."""
        self.number, self._position, self._time_ns = state.number, state.position, state.time_ns
        self._every_messages, self._every_ns = state.every_messages, state.every_ns
