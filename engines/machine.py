"""What a machine is: a deterministic function of the log, as a small class.

    (time, first sequence, channel, messages) --apply--> events

A machine sees nothing else: no clock, randomness, I/O, thread, environment, float, hash order or set
order (`sequencer lint` looks for them). The same input gives the same output, in any process, under
any PYTHONHASHSEED. What it raises halts its replica before any of it is seen.
"""

from collections.abc import Sequence
from typing import ClassVar, Protocol, runtime_checkable

from engines.messages import Message


class Machine(Protocol):
    """A state machine that the host can bind to the stream."""

    name: ClassVar[str]
    """What it is called in commands and, with its shard, as a sender: `matching`."""

    reads: ClassVar[tuple[int, ...]]
    """The channels that it wants; all others are skipped undecoded."""

    writes: ClassVar[int]
    """The one channel of its events; 0 for a machine that only reads."""

    def apply(self, time_ns: int, first_sequence: int, channel: int, messages: Sequence[Message]) -> list[Message]:
        """Take messages at positions first_sequence, first_sequence + 1, ... and return what follows from them.

        The messages are a run: consecutive messages of one channel in one entry, sequenced at `time_ns`.
        Applying a run leaves the same state as applying its messages one by one.
        """
        ...

    def reject(self, time_ns: int, first_sequence: int, channel: int, count: int, reason: int) -> list[Message]:
        """Take note of a batch of `count` positions that could not be read (a Reason); return what follows."""
        ...

    def snapshot(self) -> bytes:
        """The whole state as bytes: equal states give equal bytes."""
        ...

    def restore(self, state: bytes) -> None:
        """Become the machine that made this snapshot."""
        ...


@runtime_checkable
class Versioned(Protocol):
    """A machine whose rules change at a place in the log: what comes before it is replayed under the old ones."""

    version: ClassVar[int]
    """The latest rules that this program knows. It knows those of every version before as well."""

    rules: int
    """Whose rules it follows: 1 at first, and then what was activated last."""

    def activate(self, version: int) -> None:
        """Follow the rules of this later version from here on. On a blank machine that is about to be restored, too."""
        ...


@runtime_checkable
class Sharded(Protocol):
    """A machine that can be one shard of several: its constructor takes (shard, shards), by default (0, 1).

    Of what it reads it handles what is its own: messages whose `shard_key`, an integer, is `shard` modulo `shards`.
    What each shard handles of a message that has none is for the machine to say. All shards together give each key
    the events that one would give.
    """

    shard_key: ClassVar[str]
    """The field by which its state is cut: `instrument_id`."""


@runtime_checkable
class Turning(Protocol):
    """A machine that handles some messages later than they come."""

    def turn(self) -> list[Message]:
        """The number of shards changes: handle all that other keys hold up, and return what follows from it.

        So what of a key is handled by then is the same in a shard of any number. What several shards answer together
        is answered with how far it has come.
        """
        ...


@runtime_checkable
class Refusing(Protocol):
    """A machine that can answer a message which operators had skipped. One that writes should; see `skips`."""

    def skip(self, time_ns: int, sequence: int, channel: int, message: Message) -> list[Message]:
        """Refuse a message instead of taking it; return what follows, in its turn like any other answer.

        What was put out while the message waited inside stays as it was: a refusal that waits with it changes nothing
        of that.
        """
        ...
