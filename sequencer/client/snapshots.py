"""Bringing snapshots of replicas to the nodes that keep them, and fetching them: one question at a time.

SnapshotClient --AskSnapshots, FetchSnapshot, OfferSnapshot, StoreSnapshot, DiscardSnapshot--> replayer of a node
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
import zmq

from sequencer.config import Source
from sequencer.errors import IslandError, UnreachableError
from sequencer.protocol import (
    ENCODER,
    STORE_ANSWERS,
    AskSnapshots,
    DiscardSnapshot,
    FetchSnapshot,
    OfferSnapshot,
    Outcome,
    SnapshotPart,
    SnapshotsAre,
    SnapshotWanted,
    StoredSnapshot,
    StoreQuestion,
    StoreSnapshot,
)
from sequencer.sockets import connect, tune
from sequencer.store import PART_BYTES

ANSWER_MS = 2000
POLL_MS = 50

A = TypeVar("A", SnapshotsAre, SnapshotPart, SnapshotWanted, Outcome)
Progress = Callable[[int, int], None]
"""Called with how many bytes there are, of how many."""


class SnapshotClient:
    """A connection to what one node keeps. `idle` is called at least every POLL_MS while an answer is awaited."""

    def __init__(
        self,
        source: Source,
        *,
        context: "zmq.Context[zmq.Socket[bytes]]",
        idle: Callable[[], None] = lambda: None,
        answer_ms: int = ANSWER_MS,
    ) -> None:
        self.node = source.name
        self._idle = idle
        self._answer_ms = answer_ms
        self._socket = tune(context.socket(zmq.DEALER))
        connect(self._socket, source.replayer)

    def list(self, shard: str = "") -> SnapshotsAre:
        """What is kept, of one shard or of all. Raises UnreachableError."""
        return self._ask(AskSnapshots(shard), SnapshotsAre, lambda _answer: True)

    def fetch(self, snapshot: StoredSnapshot, progress: Progress = lambda _done, _all: None) -> bytes:
        """The whole body. Raises UnreachableError, or IslandError where it is not the one that was listed."""
        body = bytearray()
        while len(body) < snapshot.size_bytes:
            offset = len(body)
            question = FetchSnapshot(snapshot.shard, snapshot.number, offset)
            part = self._ask(question, SnapshotPart, lambda answer, at=offset: answer.offset == at)  # type: ignore[misc]
            if not part.data:
                raise IslandError(f"{self.node} keeps snapshot {snapshot.number} of {snapshot.shard} no more")
            body += part.data
            progress(len(body), snapshot.size_bytes)
        if hashlib.sha256(body).digest() != snapshot.checksum:
            raise IslandError(
                f"snapshot {snapshot.number} of {snapshot.shard} on {self.node} is damaged: its bytes do not have the "
                "checksum that they were stored with"
            )
        return bytes(body)

    def store(self, snapshot: StoredSnapshot, body: bytes) -> str:
        """Bring a body; return why it is not kept, or nothing. Raises UnreachableError."""

        def ours(answer: SnapshotWanted) -> bool:
            return (answer.shard, answer.number) == (snapshot.shard, snapshot.number)

        wanted = self._ask(OfferSnapshot(snapshot), SnapshotWanted, ours)
        while wanted.offset >= 0:
            part = body[wanted.offset : wanted.offset + PART_BYTES]
            question = StoreSnapshot(snapshot.shard, snapshot.number, wanted.offset, part)
            wanted = self._ask(question, SnapshotWanted, ours)
        return wanted.why

    def discard(self, shard: str, number: int) -> str:
        """Have a snapshot forgotten; return why that cannot be, or nothing. Raises UnreachableError."""
        return self._ask(DiscardSnapshot(shard, number), Outcome, lambda _answer: True).why

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=0)

    def _ask(self, question: StoreQuestion, kind: type[A], fits: Callable[[A], bool]) -> A:
        self._socket.send(ENCODER.encode(question))
        deadline_s = time.monotonic() + self._answer_ms / 1000
        while time.monotonic() < deadline_s:
            self._idle()
            if not self._socket.poll(POLL_MS):
                continue
            try:
                answer = STORE_ANSWERS.decode(self._socket.recv())
            except msgspec.MsgspecError:
                continue  # not our protocol
            if isinstance(answer, kind) and fits(answer):
                return answer
        raise UnreachableError(f"{self.node} did not answer within {self._answer_ms / 1000:.0f} s: is its replayer up?")


def kept_by_node(
    sources: Sequence[Source],
    shard: str = "",
    *,
    context: "zmq.Context[zmq.Socket[bytes]]",
    idle: Callable[[], None] = lambda: None,
    answer_ms: int = ANSWER_MS,
) -> dict[str, SnapshotsAre]:
    """What each node keeps; nodes that do not answer are left out."""
    found = {}
    for source in sources:
        client = SnapshotClient(source, context=context, idle=idle, answer_ms=answer_ms)
        try:
            found[source.name] = client.list(shard)
        except UnreachableError:
            continue
        finally:
            client.close()
    return found
