"""How far senders are in the log, as the nodes tell it."""

from collections.abc import Sequence

from sequencer.asking import ask
from sequencer.config import Source
from sequencer.errors import UnreachableError
from sequencer.protocol import AskStatus, NodeStatus, PositionOf
from sequencer.sockets import Context


def positions_of(sources: Sequence[Source], prefix: str, *, context: Context) -> list[PositionOf]:
    """The last committed positions of all senders whose names begin so, of the node that is furthest; by name.

    Raises UnreachableError where none answers.
    """
    answers = ask(sources, AskStatus(), context=context)
    told = [answer for answer in answers.values() if isinstance(answer, NodeStatus)]
    if not told:
        raise UnreachableError("no node answers: is the venue running? `sequencer status` tells")
    furthest = max(told, key=lambda answer: int(answer.node["commit_index"]))
    return [
        PositionOf(name, at[0], at[1], b"") for name, at in sorted(furthest.sessions.items()) if name.startswith(prefix)
    ]
