"""What is said at a node's ingress and at a replayer, beside batches and entries.

    DEALER --batches or a question--> ROUTER (node ingress)    --answer--> DEALER
    DEALER --Fetch------------------> ROUTER (replayer)        --Fetched, entries--> DEALER

A frame that begins with the batch magic holds batches; any other is one msgpack array from here. A
node does not answer an accepted batch: its sender sees it in the stream.
"""

import msgspec


class AskPosition(msgspec.Struct, array_like=True, tag=1, frozen=True):
    """How far is this sender?"""

    sender: str


class PositionOf(msgspec.Struct, array_like=True, tag=2, frozen=True):
    """A sender's committed position."""

    sender: str
    incarnation: int
    number: int
    digest: bytes


class Refused(msgspec.Struct, array_like=True, tag=3, frozen=True):
    """A batch was not sequenced, or was already. The rest is the sender's committed position.

    `verdict` is one of the chain rule's, or `invalid`, `not-permitted`, `full` (no disk space).
    """

    verdict: str
    refused_number: int
    sender: str
    incarnation: int
    number: int
    digest: bytes


class NotLeader(msgspec.Struct, array_like=True, tag=4, frozen=True):
    """Submit elsewhere: `ingress` is the leader's endpoint, empty when nobody leads."""

    ingress: str


class Report(msgspec.Struct, array_like=True, tag=5, frozen=True):
    """What a process says of itself; nodes keep the latest of each name, unread. An empty body is a goodbye."""

    name: str
    body: bytes


class AskStatus(msgspec.Struct, array_like=True, tag=6, frozen=True):
    """How are you, and what did the others report?"""


class NodeStatus(msgspec.Struct, array_like=True, tag=7, frozen=True):
    """A node's own state, and (name, age in ms, body) of each report that it holds."""

    node: dict[str, int | str | bool]
    reports: list[tuple[str, int, bytes]]
    sessions: dict[str, tuple[int, int]]


class Fetch(msgspec.Struct, array_like=True, tag=20, frozen=True):
    """Send committed entries from this index on, about so many bytes."""

    first_index: int
    bytes_max: int


class Fetched(msgspec.Struct, array_like=True, tag=21, frozen=True):
    """The entries follow in the next frame; none, where the log ends before `first_index`."""

    first_index: int
    high_water: int


Question = AskPosition | Report | AskStatus
Answer = PositionOf | Refused | NotLeader | NodeStatus

ENCODER = msgspec.msgpack.Encoder()
QUESTIONS: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
FETCHES: msgspec.msgpack.Decoder[Fetch] = msgspec.msgpack.Decoder(Fetch)
FETCHED: msgspec.msgpack.Decoder[Fetched] = msgspec.msgpack.Decoder(Fetched)
