"""What nodes say to each other, and what a node's shell tells its core.

Peer messages travel as msgpack arrays; entries in them are encoded entries (see `envelope`).
"""

from collections.abc import Sequence

import msgspec

from sequencer.envelope import Batch


class Append(msgspec.Struct, array_like=True, tag=1, frozen=True):
    """From a leader: entries that follow (prev_index, prev_term); none of them makes it a heartbeat."""

    term: int
    leader: str
    prev_index: int
    prev_term: int
    commit_index: int
    entries: list[bytes]


class Appended(msgspec.Struct, array_like=True, tag=2, frozen=True):
    """To a leader: all up to `match_index` is durable here and equal to yours.

    Where the logs did not meet, `accepted` is false and `match_index` is the place to try next.
    """

    term: int
    node: str
    accepted: bool
    match_index: int


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
    granted: bool
    probe: bool


class TimeoutNow(msgspec.Struct, array_like=True, tag=5, frozen=True):
    """From a leader that hands over: campaign at once."""

    term: int
    leader: str


Message = Append | Appended | AskVote | Voted | TimeoutNow

ENCODER = msgspec.msgpack.Encoder()
DECODER: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class Propose(msgspec.Struct, frozen=True):
    """From the shell of a leader: make one entry of these batches (none: an empty entry)."""

    batches: Sequence[Batch]
    time_ns: int


class Persisted(msgspec.Struct, frozen=True):
    """From the shell: all entries up to `index` are durable here."""

    index: int


class Transfer(msgspec.Struct, frozen=True):
    """From an operator: hand the lead to this node."""

    to: str
