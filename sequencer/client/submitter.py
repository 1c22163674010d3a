"""Getting batches into the log exactly once, whatever happens to nodes and links.

    submit --> queue --flush--> leader's ingress            observe <-- the stream
                                    |
               resend <-- refused, not leader, silence

Rules:
- A batch counts as accepted when its number and digest are seen in the stream, and not before.
- What is not seen is resent byte-identically: from the last accepted number that a refusal tells, and
  after a silence. Repeats do no harm: the chain rule answers them.
- A process begins with `open`: from its OpenSession on, no batch of an earlier process can follow.
- Replicas of an engine shard share one chain and open nothing: they `offer` sealed batches.
"""

import os
import time
from collections import deque
from collections.abc import Sequence

import zmq

from sequencer.envelope import BATCH_HEADER_BYTES, CONTROL, NO_DIGEST, Batch, encode_batch
from sequencer.errors import FencedError, IslandError
from sequencer.protocol import ANSWERS, ENCODER, AskPosition, NotLeader, PositionOf, Refused
from sequencer.sockets import readable, tune

FRAME_BYTES_MAX = 1 << 20
RESEND_MS = 250
RESEND_MS_MAX = 2000
REFUSAL_PAUSE_MS = 20
"""Refusals come one a frame; what follows the first is resent once."""


class Submitter:
    """One sender's way into the log. Not thread-safe: it belongs to one loop.

    `opened` skips the session: for an engine shard, whose replicas are one sender.
    """

    def __init__(
        self,
        ingress: Sequence[str],
        sender: str,
        *,
        context: "zmq.Context[zmq.Socket[bytes]]",
        name: str = "",
        opened: bool = False,
    ) -> None:
        self.sender = sender
        self.is_open = opened
        self.incarnation = 0
        self.number = 0
        self.digest = NO_DIGEST
        self.refusals: dict[str, int] = {}
        """How many refusals of each kind came."""
        self.full = False
        """The node's last word was that its disk is full."""
        self._ingress = tuple(ingress)
        self._context = context
        self._identity = f"{name or sender}/{os.urandom(4).hex()}".encode()
        self._node = 0
        self._unconfirmed: deque[Batch] = deque()
        self._queue: list[Batch] = []
        self._opening: Batch | None = None
        self._asking = False
        self._progress_ms = _now_ms()
        self._resend_ms = RESEND_MS
        self._resent_ms = 0
        self._socket = self._connect()

    @property
    def in_flight(self) -> int:
        """Batches that were not yet seen in the stream."""
        return len(self._unconfirmed)

    def sockets(self) -> "list[zmq.Socket[bytes]]":
        """What to poll for input."""
        return [self._socket]

    # --- opening ------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin to open a session; `is_open` tells when it is done. Feed `observe` meanwhile."""
        assert not self.is_open, self.sender
        self._asking = True
        self._send(ENCODER.encode(AskPosition(self.sender)))

    def _on_position(self, at: PositionOf) -> None:
        if not self._asking or at.sender != self.sender:
            return
        self._asking = False
        self.incarnation = at.incarnation + 1
        self._opening = encode_batch(
            self.sender, CONTROL, at.number, os.urandom(16), count=1, incarnation=self.incarnation
        )
        self._send(self._opening.data)

    # --- submitting ---------------------------------------------------------------------------

    def submit(self, channel: int, payload: bytes, count: int, cause: int = 0) -> int:
        """Queue a payload of `count` messages as the next batch, and return its number."""
        assert self.is_open, f"{self.sender} has no open session"
        batch = encode_batch(
            self.sender,
            channel,
            self.number + 1,
            payload,
            count=count,
            previous=self.digest,
            incarnation=self.incarnation,
            cause=cause,
        )
        self.number, self.digest = batch.number, batch.digest
        self.offer(batch)
        return batch.number

    def offer(self, batch: Batch) -> None:
        """Queue a batch that the caller has sealed and chained."""
        if not self._unconfirmed:
            self._progress_ms = _now_ms()
        self._unconfirmed.append(batch)
        self._queue.append(batch)

    def flush(self) -> None:
        """Send what is queued, in as few frames as they fit."""
        if self._queue:
            queue, self._queue = self._queue, []
            self._send_batches(queue)

    def withdraw(self, number: int) -> None:
        """Forget batches up to `number`: somebody else's copies were accepted."""
        while self._unconfirmed and self._unconfirmed[0].number <= number:
            self._unconfirmed.popleft()
            self._moved()
        if self._queue and self._queue[0].number <= number:
            self._queue = [batch for batch in self._queue if batch.number > number]

    def observe(self, batch: Batch) -> bool:
        """Take note of a batch in the stream; tell whether it is one of ours, seen for the first time.

        Raises FencedError when a newer process has opened our session.
        """
        if batch.sender != self.sender:
            return False
        if batch.channel == CONTROL:
            self._observe_opening(batch)
            return False
        if not self.is_open:
            self.number, self.digest = batch.number, batch.digest
            return False
        head = self._unconfirmed[0] if self._unconfirmed else None
        if head is None or batch.number != head.number:
            return False
        assert batch.digest == head.digest, (self.sender, batch.number)
        self._unconfirmed.popleft()
        self._moved()
        return True

    def _observe_opening(self, batch: Batch) -> None:
        if self._opening is not None and batch.digest == self._opening.digest:
            self.is_open, self._opening = True, None
            self._moved()
        elif self.is_open and batch.incarnation > self.incarnation:
            raise FencedError(
                f"a newer process has opened the session of {self.sender!r} "
                f"(incarnation {batch.incarnation}, ours is {self.incarnation}): only one can run, this one stops"
            )

    # --- answers and timers -------------------------------------------------------------------

    def receive(self) -> None:
        """Take answers and resend what is due; never blocks. Call it at least every 100 ms."""
        while readable(self._socket):
            answer = ANSWERS.decode(self._socket.recv(zmq.NOBLOCK))
            if isinstance(answer, Refused):
                self._on_refused(answer)
            elif isinstance(answer, NotLeader):
                self._on_not_leader(answer)
            elif isinstance(answer, PositionOf):
                self._on_position(answer)
        self._watch()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=0)

    def _on_refused(self, refused: Refused) -> None:
        self.refusals[refused.verdict] = self.refusals.get(refused.verdict, 0) + 1
        self.full = refused.verdict == "full"
        if refused.verdict in ("invalid", "not-permitted"):
            raise IslandError(
                f"the node refused batch {refused.refused_number} of {self.sender!r} as {refused.verdict}: "
                "see its [channels], and that both run the same version"
            )
        if refused.verdict == "fenced":
            self._on_fenced(refused)
        elif refused.verdict == "gap" and _now_ms() - self._resent_ms > REFUSAL_PAUSE_MS:
            self._resend(after=refused.number)

    def _on_fenced(self, refused: Refused) -> None:
        if self._opening is not None:
            self.open()
        elif self.is_open and refused.incarnation > self.incarnation:
            raise FencedError(
                f"the session of {self.sender!r} was opened by a newer process "
                f"(incarnation {refused.incarnation}, ours is {self.incarnation}): only one can run, this one stops"
            )

    def _on_not_leader(self, answer: NotLeader) -> None:
        if answer.ingress in self._ingress and answer.ingress != self._ingress[self._node]:
            self._switch(self._ingress.index(answer.ingress))
            self._resend()

    def _watch(self) -> None:
        """After a silence, say everything again; to another node, if it lasts."""
        waits = self._unconfirmed or self._asking or self._opening is not None
        if not waits or _now_ms() - max(self._progress_ms, self._resent_ms) < self._resend_ms:
            return
        if self._resend_ms > RESEND_MS and len(self._ingress) > 1:
            self._switch((self._node + 1) % len(self._ingress))
        self._resend_ms = min(self._resend_ms * 2, RESEND_MS_MAX)
        self._resend()

    def _resend(self, after: int = 0) -> None:
        self._resent_ms = _now_ms()
        if self._asking:
            self._send(ENCODER.encode(AskPosition(self.sender)))
        elif self._opening is not None:
            self._send(self._opening.data)
        self._queue = []
        self._send_batches([batch for batch in self._unconfirmed if batch.number > after])

    def _moved(self) -> None:
        self._progress_ms = _now_ms()
        self._resend_ms = RESEND_MS
        self.full = False

    def _send_batches(self, batches: Sequence[Batch]) -> None:
        frame: list[bytes | memoryview] = []
        size = 0
        for batch in batches:
            if frame and size + len(batch.data) > FRAME_BYTES_MAX:
                self._send(b"".join(frame))
                frame, size = [], 0
            frame.append(batch.data)
            size += len(batch.data)
        if frame:
            self._send(b"".join(frame))

    def _send(self, frame: bytes | memoryview) -> None:
        assert len(frame) < FRAME_BYTES_MAX * 2 + BATCH_HEADER_BYTES, len(frame)
        try:
            self._socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return  # the queue is full or nobody is there: resent after the silence

    def _switch(self, node: int) -> None:
        self._socket.disconnect(self._ingress[self._node])
        self._node = node
        self._socket.connect(self._ingress[node])

    def _connect(self) -> "zmq.Socket[bytes]":
        socket = tune(self._context.socket(zmq.DEALER), hwm=10_000)
        socket.setsockopt(zmq.ROUTING_ID, self._identity)
        socket.connect(self._ingress[self._node])
        return socket


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
