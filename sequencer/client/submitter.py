"""Getting batches into the log exactly once, whatever happens to nodes and links: a `Submission` on a socket.

Submission.outbox --DEALER--> ingress of the node that leads --answers--> Submission
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence

import zmq

from sequencer.client.submission import Submission
from sequencer.envelope import Batch
from sequencer.protocol import ANSWERS, identity_of
from sequencer.sockets import can_connect, connect, readable, tune


class Submitter:
    """One sender's way into the log. Not thread-safe: it belongs to one loop.

    `opened` skips the session: for an engine shard, whose replicas are one sender. `leader` tells where the node
    takes batches that leads, as a Subscriber knows it: what is unanswered goes there at once when that changes.
    """

    def __init__(
        self,
        ingress: Sequence[str],
        sender: str,
        *,
        context: "zmq.Context[zmq.Socket[bytes]]",
        name: str = "",
        opened: bool = False,
        leader: Callable[[], str] = lambda: "",
    ) -> None:
        self.sender = sender
        self._socket = tune(context.socket(zmq.DEALER), hwm=10_000)
        self._core = Submission(
            ingress,
            sender,
            now_ms=_now_ms,
            opened=opened,
            leader=leader,
            can_reach=lambda endpoint: can_connect(self._socket, endpoint),
        )
        self._connected = self._core.target
        self._socket.setsockopt(zmq.ROUTING_ID, identity_of(name or sender, os.urandom(4)))
        connect(self._socket, self._connected)

    @property
    def is_open(self) -> bool:
        """Whether batches can be submitted."""
        return self._core.is_open

    @property
    def incarnation(self) -> int:
        """Of the session that is open."""
        return self._core.incarnation

    @property
    def number(self) -> int:
        """Of the last batch submitted, or seen before the session was open."""
        return self._core.number

    @property
    def digest(self) -> bytes:
        """Of the batch `number`."""
        return self._core.digest

    @property
    def refusals(self) -> dict[str, int]:
        """How many refusals of each kind came."""
        return self._core.refusals

    @property
    def full(self) -> bool:
        """The node's last word was that its disk is full."""
        return self._core.full

    @property
    def in_flight(self) -> int:
        """Batches that were not yet seen in the stream."""
        return self._core.in_flight

    def sockets(self) -> "list[zmq.Socket[bytes]]":
        """What to poll for input."""
        return [self._socket]

    def open(self) -> None:
        """Begin to open a session; `is_open` tells when it is done. Feed `observe` meanwhile."""
        self._core.open()
        self._send()

    def submit(self, channel: int, payload: bytes, count: int, cause: int = 0) -> int:
        """Queue a payload of `count` messages as the next batch, and return its number."""
        return self._core.submit(channel, payload, count, cause)

    def offer(self, batch: Batch) -> None:
        """Queue a batch that the caller has sealed and chained."""
        self._core.offer(batch)

    def renew(self, batches: Iterable[Batch]) -> None:
        """Offer these instead of all that was offered and not withdrawn."""
        self._core.renew(batches)

    def flush(self) -> None:
        """Send what is queued, in as few frames as they fit."""
        self._core.flush()
        self._send()

    def withdraw(self, number: int) -> None:
        """Forget batches up to `number`: somebody else's copies were accepted."""
        self._core.withdraw(number)

    def observe(self, batch: Batch) -> bool:
        """Take note of a batch in the stream; tell whether it is one of ours, seen for the first time.

        Raises FencedError when a newer process has opened our session.
        """
        return self._core.observe(batch)

    def receive(self) -> None:
        """Take answers and resend what is due; never blocks. Call it at least every 100 ms."""
        while readable(self._socket):
            self._core.hear(ANSWERS.decode(self._socket.recv(zmq.NOBLOCK)))
            self._send()
        self._core.watch()
        self._send()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=0)

    def _send(self) -> None:
        core = self._core
        if not core.outbox:
            return
        if core.target != self._connected:
            self._socket.disconnect(self._connected)
            self._connected = core.target
            connect(self._socket, self._connected)
        frames, core.outbox = core.outbox, []
        for frame in frames:
            try:
                self._socket.send(frame, zmq.NOBLOCK)
            except zmq.Again:
                return  # the queue is full or nobody is there: resent after the silence


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
