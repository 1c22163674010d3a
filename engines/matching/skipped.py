"""A command that operators had skipped: it stands in its place, and is refused when its turn comes.

Nothing is done to any book, and nothing expires by it: the next command of its instrument does that.
"""

from collections.abc import Callable
from typing import Final

from engines.messages import (
    CancelAll,
    CancelOrder,
    CancelRejected,
    Command,
    HaltInstrument,
    InstrumentRejected,
    MassCanceled,
    Message,
    NewOrder,
    OrderRejected,
    Reason,
    ReplaceOrder,
    ReplaceRejected,
    ResumeInstrument,
    SetInstrument,
)

_REFUSALS: Final[dict[type[Message], Callable[[int, int], Message]]] = {
    NewOrder: OrderRejected,
    ReplaceOrder: ReplaceRejected,
    CancelOrder: CancelRejected,
    CancelAll: CancelRejected,
    SetInstrument: InstrumentRejected,
    HaltInstrument: InstrumentRejected,
    ResumeInstrument: InstrumentRejected,
}


class Skipped(Message, tag=0):
    """Stands for `command`; in a snapshot only, since 0 is no tag of the venue's language."""

    command: Command


def refusal_of(sequence: int, skipped: Skipped, shard: int, shards: int) -> list[Message]:
    """What follows from a skipped command at `sequence`: one event, or none where matching answers nothing anyway.

    Where other shards carry out a CancelAll, this one says that it has canceled nothing.
    """
    if shards > 1 and isinstance(skipped.command, CancelAll) and not skipped.command.instrument_id:
        return [MassCanceled(sequence, 0, shard, shards)]
    refuse = _REFUSALS.get(type(skipped.command))
    return [refuse(sequence, int(Reason.SKIPPED))] if refuse else []


def client_of(command: Message) -> int:
    """Whose order or replace it is."""
    client_id: int = client_of(command.command) if isinstance(command, Skipped) else command.client_id  # type: ignore[attr-defined]
    return client_id


def needs_decision(command: Message) -> bool:
    """Whether credit has a say in a command."""
    kind = type(command)
    return kind is NewOrder or kind is ReplaceOrder or (kind is Skipped and needs_decision(command.command))  # type: ignore[attr-defined]
