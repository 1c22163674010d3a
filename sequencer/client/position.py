"""How far a sender is in the log, as the nodes tell it."""

from collections.abc import Sequence

from sequencer.asking import ask
from sequencer.config import Source
from sequencer.errors import UnreachableError
from sequencer.protocol import AskPosition, PositionOf


def position_of(sources: Sequence[Source], sender: str) -> PositionOf:
    """The sender's last committed position that any node knows of. Raises UnreachableError where none answers."""
    answers = ask(sources, AskPosition(sender)).values()
    told = [answer for answer in answers if isinstance(answer, PositionOf)]
    if not told:
        raise UnreachableError("no node answers: is the venue running? `sequencer status` tells")
    return max(told, key=lambda at: (at.incarnation, at.number))
