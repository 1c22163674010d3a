"""What is said at the doors of a node and of a replayer, beside batches, entries and heartbeats.

    DEALER --batches or a question--> ROUTER (node ingress)    --answer--> DEALER
    DEALER --Fetch------------------> ROUTER (replayer)        --Fetched, entries--> DEALER
    DEALER --OfferSnapshot, ...-----> ROUTER (replayer)        --an answer--> DEALER

    SUB <--topic, entry or heartbeat-- PUB (node publisher)

A frame that begins with the batch magic holds batches; any other is one msgpack array from here. A
node does not answer an accepted batch: its sender sees it in the stream.
"""

import msgspec

from sequencer.members import Members

ENTRIES_OF = b"E/"
"""Followed by a node's name, the topic of the entries that it publishes."""
HEARTBEATS_OF = b"H/"
"""Followed by a node's name, the topic of its heartbeats; by itself, of those of all nodes."""

FRAME_BYTES_MAX = 1 << 20
FRAME_BATCHES_MAX = 256
"""In a frame of a sender: a node judges one at a time, and others wait meanwhile. One of more is invalid."""
OVER_RATE = "over-rate"


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

    `verdict` is one of the chain rule's, or `invalid`, `not-permitted`, `full` (no disk space), or OVER_RATE: its
    frame was not read, and the sender says it again a little later.
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


class Undecided(msgspec.Struct, array_like=True, frozen=True):
    """The first batch of a sender that more have to make: number, for how long, how many; who made which (digest)."""

    number: int
    for_ms: int
    needed: int
    votes: dict[str, list[str]]


class NodeStatus(msgspec.Struct, array_like=True, tag=7, frozen=True):
    """A node's own state; (name, age in ms, body) of each report that it holds; senders' positions, and what waits."""

    node: dict[str, int | str | bool]
    reports: list[tuple[str, int, bytes]]
    sessions: dict[str, tuple[int, int]]
    undecided: dict[str, Undecided] = {}


class AskMembers(msgspec.Struct, array_like=True, tag=8, frozen=True):
    """Who belongs to the group?"""


class MembersAre(msgspec.Struct, array_like=True, tag=9, frozen=True):
    """The group as this node's log tells it, whether that is committed, and who leads (empty: unknown).

    `disk` is that of the node that answers. `strangers` speak under a member's name from another disk. A
    leader also tells of each other member how far it holds the log, and for how many ms it has been silent.
    `term` is the latest that the node knows of.
    """

    members: Members
    committed: bool
    leader: str
    node: str
    disk: bytes
    strangers: list[str]
    last_index: int
    others: dict[str, tuple[int, int]]
    term: int = 0


class AskChange(msgspec.Struct, array_like=True, tag=10, frozen=True):
    """Let the group be this from now on: the group that is, with one member changed, and the next version.

    There is one group of each version, so what is said again does nothing.
    """

    members: Members


class AskTransfer(msgspec.Struct, array_like=True, tag=11, frozen=True):
    """Hand the lead to this node. It is for who leads in this term: said again in a later one, it does nothing."""

    to: str
    term: int = 0


class Outcome(msgspec.Struct, array_like=True, tag=12, frozen=True):
    """Whether what was asked for was begun, and if not, why."""

    begun: bool
    why: str


class AskCommitted(msgspec.Struct, array_like=True, tag=13, frozen=True):
    """How far is the log committed, now or later? The leader answers, once a quorum has confirmed its lead."""


class CommittedIs(msgspec.Struct, array_like=True, tag=14, frozen=True):
    """The committed index; -1: this node lost the lead meanwhile, ask again."""

    index: int


class Fetch(msgspec.Struct, array_like=True, tag=20, frozen=True):
    """Send committed entries from this index on, about so many bytes."""

    first_index: int
    bytes_max: int


class Fetched(msgspec.Struct, array_like=True, tag=21, frozen=True):
    """The entries follow in the next frame; none, where the log ends before `first_index`."""

    first_index: int
    high_water: int


class StoredSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """What is known of a replica's snapshot without its body.

    It is number `number` of its shard, the state behind entry `index` and sequence number `position`, at `time_ns`;
    the body has `size_bytes` and the SHA-256 `checksum`. Entry `vouched_index` holds the state's digest.
    """

    shard: str
    number: int
    index: int
    position: int
    time_ns: int
    size_bytes: int
    checksum: bytes
    vouched_index: int
    made_by: str


class AskSnapshots(msgspec.Struct, array_like=True, tag=30, frozen=True):
    """Which snapshots do you keep? Of one shard, or of all (empty)."""

    shard: str


class SnapshotsAre(msgspec.Struct, array_like=True, tag=31, frozen=True):
    """What a node keeps, by shard and number; and the files that cannot be read, each with why."""

    kept: list[StoredSnapshot]
    damaged: list[tuple[str, str]]


class FetchSnapshot(msgspec.Struct, array_like=True, tag=32, frozen=True):
    """Send the body from this offset on."""

    shard: str
    number: int
    offset: int


class SnapshotPart(msgspec.Struct, array_like=True, tag=33, frozen=True):
    """A part of a body; empty behind its end, or where the snapshot is not kept."""

    shard: str
    number: int
    offset: int
    data: bytes


class OfferSnapshot(msgspec.Struct, array_like=True, tag=34, frozen=True):
    """Will you keep this?"""

    snapshot: StoredSnapshot


class StoreSnapshot(msgspec.Struct, array_like=True, tag=35, frozen=True):
    """A part of the body of a snapshot that was offered."""

    shard: str
    number: int
    offset: int
    data: bytes


class SnapshotWanted(msgspec.Struct, array_like=True, tag=36, frozen=True):
    """Go on at this offset; -1: no more is wanted, and `why` says why, where it is not kept."""

    shard: str
    number: int
    offset: int
    why: str


class DiscardSnapshot(msgspec.Struct, array_like=True, tag=37, frozen=True):
    """Forget a snapshot. An Outcome answers. There is one snapshot of each number: said again, it does nothing."""

    shard: str
    number: int


def identity_of(process: str, random: bytes) -> bytes:
    """The routing identity of one connection of a process."""
    return f"{process}/{random.hex()}".encode()


def process_of(identity: bytes) -> str:
    """The name of the process that has a routing identity; text of any kind, where it is not ours."""
    return identity.rpartition(b"/")[0].decode(errors="replace")


Question = AskPosition | Report | AskStatus | AskMembers | AskChange | AskTransfer | AskCommitted
Answer = PositionOf | Refused | NotLeader | NodeStatus | MembersAre | Outcome | CommittedIs

StoreQuestion = Fetch | AskSnapshots | FetchSnapshot | OfferSnapshot | StoreSnapshot | DiscardSnapshot
StoreAnswer = SnapshotsAre | SnapshotPart | SnapshotWanted | Outcome

ENCODER = msgspec.msgpack.Encoder()
QUESTIONS: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
STORE_QUESTIONS: msgspec.msgpack.Decoder[StoreQuestion] = msgspec.msgpack.Decoder(StoreQuestion)
STORE_ANSWERS: msgspec.msgpack.Decoder[StoreAnswer] = msgspec.msgpack.Decoder(StoreAnswer)
FETCHED: msgspec.msgpack.Decoder[Fetched] = msgspec.msgpack.Decoder(Fetched)
