"""What nodes say to each other, and what a node's shell tells its core.

A peer message travels as frames: one msgpack array, then the encoded entries (see `envelope`) of an
append, each as it is in the journal, so that no copy of them is made on the way.
"""

from collections.abc import Sequence

import msgspec

from sequencer.envelope import Batch
from sequencer.members import Members


class Append(msgspec.Struct, array_like=True, tag=1, frozen=True):
    """From a leader: entries that follow (prev_index, prev_term), or none.

    One without entries that does not ask to be answered only tells how far the log is committed.
    """

    term: int
    leader: str
    prev_index: int
    prev_term: int
    commit_index: int
    round: int
    asks: bool
    entries: list[bytes]


class Appended(msgspec.Struct, array_like=True, tag=2, frozen=True):
    """To a leader: all up to `match_index` is durable here and equal to yours.

    Where the logs did not meet, `accepted` is false and `match_index` is the place to try next. `round` is
    that of the leader's latest word, and tells the leader how old the contact is. A node that may have lost
    what it once acknowledged does not `vouch`: it may be sent more, and counts for nothing. `fit`: it could lead.
    """

    term: int
    node: str
    disk: bytes
    accepted: bool
    match_index: int
    round: int
    vouches: bool
    fit: bool


class AskVote(msgspec.Struct, array_like=True, tag=3, frozen=True):
    """From a candidate. `probe` asks whether a vote would be granted (PreVote), and binds nobody."""

    term: int
    candidate: str
    last_index: int
    last_term: int
    probe: bool
    transfer: bool


class Voted(msgspec.Struct, array_like=True, tag=4, frozen=True):
    """To a candidate."""

    term: int
    voter: str
    disk: bytes
    granted: bool
    probe: bool


class TimeoutNow(msgspec.Struct, array_like=True, tag=5, frozen=True):
    """From a leader that hands over: campaign at once."""

    term: int
    leader: str


Message = Append | Appended | AskVote | Voted | TimeoutNow


def speaker(message: Message) -> str:
    """The member that says it, by its own word."""
    match message:
        case Append(leader=name) | TimeoutNow(leader=name) | AskVote(candidate=name):
            return name
        case Appended(node=name) | Voted(voter=name):
            return name


_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def pack(message: Message) -> list[bytes]:
    """The frames of a message."""
    if not isinstance(message, Append) or not message.entries:
        return [_ENCODER.encode(message)]
    return [_ENCODER.encode(msgspec.structs.replace(message, entries=[])), *message.entries]


def unpack(frames: Sequence[bytes]) -> Message:
    """The message in these frames. Raises ValueError where they are none."""
    try:
        message = _DECODER.decode(frames[0])
    except (msgspec.MsgspecError, IndexError, RecursionError) as error:
        raise ValueError(f"not a peer's message: {error}") from None
    if len(frames) == 1:
        return message
    if not isinstance(message, Append):
        raise ValueError(f"{type(message).__name__} comes in one frame, got {len(frames)}")  # noqa: TRY004
    message.entries.extend(frames[1:])
    return message


class Propose(msgspec.Struct, frozen=True):
    """From the shell of a leader: make one entry of these batches (none: an empty entry)."""

    batches: Sequence[Batch]
    time_ns: int


class Persisted(msgspec.Struct, frozen=True):
    """From the shell: all entries up to `index` are durable here."""

    index: int


class Cleared(msgspec.Struct, frozen=True):
    """From the shell: it is durably forgotten that this node is suspect, as `Duties.covered` allowed."""


class Transfer(msgspec.Struct, frozen=True):
    """From an operator: hand the lead to this node."""

    to: str


class ChangeMembers(msgspec.Struct, frozen=True):
    """From an operator: let the group be this from now on. It differs from the group that is in one member."""

    members: Members


class Read(msgspec.Struct, frozen=True):
    """From the shell: tell how far the log was committed at this moment or later (ReadIndex, thesis 6.4)."""

    ticket: int


class Gone(msgspec.Struct, frozen=True):
    """From the shell: a peer's process has closed its connection, as one does that ends. It may be there again."""

    peer: str


Event = (
    Append
    | Appended
    | AskVote
    | Voted
    | TimeoutNow
    | Propose
    | Persisted
    | Cleared
    | Transfer
    | ChangeMembers
    | Read
    | Gone
)
