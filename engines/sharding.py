"""Which shards of a machine speak: a function of the log.

    Reshard(machine, n) at S --> the shards of before: what entries up to here give, then ShardClosed(S)
                             --> shards 0 of n to n-1 of n: what later entries give, once all of before are closed

Rules:
- A log begins with one shard of each machine. A shard of another number than is in force is a *shadow*: it applies
  everything, and says nothing. So what takes over has the state already, with all that waits in it.
- An entry belongs to the shards that are in force at its beginning; its own Reshard counts behind it.
- Nothing of the new shards is sequenced before everything of the old ones is: each instrument's events, and each
  client's, stay in their order.
- A Reshard while the one before is not over, or to the number that is in force, is void.
"""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from engines.messages import ENCODER, Message, Reshard, ShardClosed
from sequencer.errors import ConfigError

SHARDS_MAX: Final = 64
_SENDER: Final = re.compile(r"(.+)\.(\d+)(?:of(\d+))?")
_SPEC: Final = re.compile(r"(\d+)/(\d+)")


class Shard(msgspec.Struct, frozen=True, order=True):
    """Shard `index` of `count` of a machine."""

    machine: str
    index: int = 0
    count: int = 1

    @property
    def sender(self) -> str:
        """Its name in the log."""
        return f"{self.machine}.{self.index}" if self.count == 1 else f"{self.machine}.{self.index}of{self.count}"

    @property
    def spec(self) -> str:
        """As users write it."""
        return f"{self.index}/{self.count}"


def parsed(machine: str, spec: str) -> Shard:
    """The shard that a user means: `1/4`. Raises ConfigError."""
    found = _SPEC.fullmatch(spec)
    if not found or not int(found[1]) < int(found[2]) <= SHARDS_MAX:
        raise ConfigError(f"expected a shard as I/N, I from 0 to N-1 and N up to {SHARDS_MAX}, got {spec!r}: try 0/1")
    return Shard(machine, int(found[1]), int(found[2]))


def named(sender: str) -> Shard:
    """The shard of this name in the log. Raises ConfigError."""
    found = _SENDER.fullmatch(sender)
    if not found:
        raise ConfigError(f"expected the name of a shard, such as matching.0 or matching.1of4, got {sender!r}")
    return Shard(found[1], int(found[2]), int(found[3] or 1))


def is_shard_of(machine: str, sender: str) -> bool:
    """Whether a sender is a shard of a machine, by its name. Anybody may open a session under a name that is none."""
    found = _SENDER.fullmatch(sender)
    return found is not None and found[1] == machine


class ShardingState(msgspec.Struct, array_like=True, frozen=True):
    """How many shards are in force; since which Reshard (0: since the beginning); which of before are not closed."""

    count: int = 1
    since: int = 0
    closing: list[str] = []


class Sharding:
    """What one shard knows of whether it is to speak."""

    def __init__(self, shard: Shard, state: ShardingState | None = None, *, silent: bool = False) -> None:
        """`silent` is a machine that says nothing, and so closes nothing."""
        state = state or ShardingState()
        self.shard = shard
        self.silent = silent
        self.count = state.count
        """In force."""
        self.since = state.since
        self.closing = set(state.closing)
        """Shards of before that are not closed yet."""
        self._asked: tuple[int, int] | None = None

    def state(self) -> ShardingState:
        """What to go on with."""
        return ShardingState(self.count, self.since, sorted(self.closing))

    @property
    def speaks(self) -> bool:
        """Whether what follows from entries now is this shard's to say."""
        return self.count == self.shard.count

    @property
    def holds(self) -> bool:
        """Whether what this shard says has to wait: those of before are not closed."""
        return bool(self.closing) and self.speaks

    def may_skip(self, sender: str) -> bool:
        """Whether a shard of the machine still has something to say: it is in force, or not closed."""
        return sender in self.closing or named(sender).count == self.count

    @property
    def ends(self) -> int:
        """Where the Reshard stands that ends the time of those in force with the entry that is being applied, or 0."""
        return self._asked[0] if self._asked else 0

    def hear(self, sequence: int, operation: Reshard) -> None:
        """Take note of an operation in the entry that is being applied."""
        is_meant = operation.machine == self.shard.machine and 0 < operation.shards <= SHARDS_MAX
        if is_meant and operation.shards != self.count and not self.closing and not self._asked:
            self._asked = (sequence, operation.shards)

    def hear_all(self, first_sequence: int, operations: Iterable[Message]) -> None:
        """The same, of all operations of a batch."""
        for sequence, operation in enumerate(operations, first_sequence):
            if isinstance(operation, Reshard):
                self.hear(sequence, operation)

    def see(self, sender: str, payload: bytes | memoryview) -> bool:
        """An output of another shard of the machine; true when it is the last that was waited for."""
        if sender not in self.closing or payload != closing_payload(self.since):
            return False
        self.closing.discard(sender)
        return not self.closing

    def turn(self) -> None:
        """The entry is over."""
        if self._asked is None:
            return
        before = self.count
        (self.since, self.count), self._asked = self._asked, None
        if not self.silent:
            self.closing = {Shard(self.shard.machine, index, before).sender for index in range(before)}


def closing_payload(sequence: int) -> bytes:
    """The last output of a shard, which a Reshard at this place has ended."""
    return ENCODER.encode([ShardClosed(sequence)])
