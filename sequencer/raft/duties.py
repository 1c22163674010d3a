"""What the consensus core owes its shell after each step."""

import msgspec

from sequencer.envelope import Entry
from sequencer.raft.messages import Append, Message


class Duties(msgspec.Struct):
    """What the node owes before its next step, in field order.

    Persist before you speak: `replies` may promise what the ballot and the entries before them say.
    `appends` go out before the own write, so that followers write at the same time; `notices`, which tell
    them what is committed, after it was published here, and not at all where an append tells it first. `reads`
    are tickets and the committed index that answers them, or -1 where the lead was lost. `covered` says that the
    node need not be suspect any more: it is until the shell has durably forgotten it and says so (Cleared); this is
    repeated as long as that takes.
    """

    ballot: tuple[int, str] | None = None
    appends: list[tuple[str, Message]] = []
    truncate_after: int | None = None
    entries: list[Entry] = []
    replies: list[tuple[str, Message]] = []
    committed: list[Entry] = []
    notices: list[tuple[str, Append]] = []
    reads: list[tuple[int, int]] = []
    covered: bool = False
