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


def refusal_of(sequence: int, skipped: Skipped) -> list[Message]:
    """What follows from a skipped command at `sequence`: one event, or none where matching answers nothing anyway."""
    refuse = _REFUSALS.get(type(skipped.command))
    return [refuse(sequence, int(Reason.SKIPPED))] if refuse else []
