"""One sender's way into the log, without sockets: what to send to which node, and what has arrived.

    submit --> queue --flush--> outbox --shell--> target            observe <-- the stream
                                   ^
               resend <------------+-- hear: refused, not leader; watch: silence

Rules:
- A batch counts as accepted when its number and digest are seen in the stream, and not before.
- What is not seen is resent byte-identically: from the last accepted number that a refusal tells, and
  after a silence. Repeats do no harm: the chain rule answers them.
- Resending is paced: after a silence that doubles up to RESEND_MS_MAX, and begins anew when something is seen.
- Who is over the rate of its key waits for a moment, and says the same again to the same node.
- A process begins with `open`: from its OpenSession on, no batch of an earlier process can follow.
- Replicas of an engine shard share one chain and open nothing: they `offer` sealed batches. Where the chain's next
  incarnation was opened, what they offered is refused as fenced until they have seen that, and `renew` it.
- A node that does not lead names the one that does. It is followed there, also to an endpoint that was
  not known before: the group's members change.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from sequencer.envelope import BATCH_HEADER_BYTES, CONTROL, NO_DIGEST, Batch, encode_batch
from sequencer.errors import FencedError, IslandError
from sequencer.protocol import (
    ENCODER,
    FRAME_BATCHES_MAX,
    FRAME_BYTES_MAX,
    OVER_RATE,
    Answer,
    AskPosition,
    NotLeader,
    PositionOf,
    Refused,
)

RESEND_MS = 250
RESEND_MS_MAX = 2000
REFUSAL_PAUSE_MS = 20
"""Refusals come one a frame; what follows the first is resent once."""
LEADERLESS_PAUSE_MS = 50
"""After a node said that nobody leads: an election takes longer than a round of questions."""
OVER_RATE_PAUSE_MS = 100
ENDPOINTS_MAX = 16


class Submission:
    """The state of one sender. `now_ms` tells a monotonic time, `random(n)` gives n bytes that nobody else draws.

    `leader` tells the ingress of the node that leads, as the stream says, or nothing: what is unanswered is sent
    there at once when that changes. `can_reach` tells whether there is a way to an ingress that a node names.

    The shell sends `outbox` to `target` and empties it, after each call.
    """

    def __init__(
        self,
        ingress: Sequence[str],
        sender: str,
        *,
        now_ms: Callable[[], int],
        random: Callable[[int], bytes] = os.urandom,
        opened: bool = False,
        leader: Callable[[], str] = lambda: "",
        can_reach: Callable[[str], bool] = lambda _ingress: True,
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
        self.target = ingress[0]
        self.outbox: list[bytes | memoryview] = []
        self._ingress = list(ingress)
        self._can_reach = can_reach
        self._now_ms = now_ms
        self._random = random
        self._shares_chain = opened
        self._unconfirmed: deque[Batch] = deque()
        self._queue: list[Batch] = []
        self._opening: Batch | None = None
        self._asking = False
        self._progress_ms = now_ms()
        self._resend_ms = RESEND_MS
        self._resent_ms = 0
        self._ask_again_ms: int | None = None
        self._paced_until_ms: int | None = None
        """Nothing is sent until then: we were over our key's rate."""
        self._leader = leader
        self._leader_known = ""
        self._silent = ""
        """The node that was left for its silence: who names it as leader does not know better yet."""

    @property
    def in_flight(self) -> int:
        """Batches that were not yet seen in the stream."""
        return len(self._unconfirmed)

    # --- opening ------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin to open a session; `is_open` tells when it is done. Feed `observe` meanwhile."""
        assert not self.is_open, self.sender
        self._asking, self._opening = True, None
        self.outbox.append(ENCODER.encode(AskPosition(self.sender)))

    def _on_position(self, at: PositionOf) -> None:
        if not self._asking or at.sender != self.sender:
            return
        self._asking = False
        if at.number > self.number:
            self.number, self.digest = at.number, at.digest  # where the stream was not read from its beginning
        self.incarnation = at.incarnation + 1
        self._opening = encode_batch(
            self.sender, CONTROL, at.number, self._random(16), count=1, incarnation=self.incarnation
        )
        self.outbox.append(self._opening.data)

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
            self._progress_ms = self._now_ms()
        self._unconfirmed.append(batch)
        self._queue.append(batch)

    def renew(self, batches: Iterable[Batch]) -> None:
        """Offer these instead of all that was offered and not withdrawn."""
        self._unconfirmed.clear()
        self._queue = []
        for batch in batches:
            self.offer(batch)

    def flush(self) -> None:
        """Send what is queued, in as few frames as they fit."""
        if self._queue and self._paced_until_ms is None:
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

    def hear(self, answer: Answer) -> None:
        """Take what a node answered. Raises FencedError, or IslandError for what can never be accepted."""
        if isinstance(answer, Refused):
            self._on_refused(answer)
        elif isinstance(answer, NotLeader):
            self._on_not_leader(answer)
        elif isinstance(answer, PositionOf):
            self._on_position(answer)

    def watch(self) -> None:
        """After a silence, or when another node leads, say everything again. Call it at least every 50 ms."""
        now_ms = self._now_ms()
        leader = self._leader()
        if leader != self._leader_known:
            self._on_leader(leader)
        if self._ask_again_ms is not None and now_ms >= self._ask_again_ms:
            self._rotate()
            self._resend()
        if self._paced_until_ms is not None:
            if now_ms >= self._paced_until_ms:
                self._resend()
            return
        waits = self._unconfirmed or self._asking or self._opening is not None
        if not waits or now_ms - max(self._progress_ms, self._resent_ms) < self._resend_ms:
            return
        self._silent = self.target  # it may be dead; one that only follows names the leader
        self._rotate()
        self._resend_ms = min(self._resend_ms * 2, RESEND_MS_MAX)
        self._resend()

    def _on_refused(self, refused: Refused) -> None:
        self.refusals[refused.verdict] = self.refusals.get(refused.verdict, 0) + 1
        self.full = refused.verdict == "full"
        if refused.verdict in ("invalid", "not-permitted"):
            raise IslandError(
                f"the node refused batch {refused.refused_number} of {self.sender!r} as {refused.verdict}: "
                "see its [channels], what the key may (`sequencer keys list`), and that both run the same version"
            )
        if refused.verdict == OVER_RATE:
            self._paced_until_ms = self._paced_until_ms or self._now_ms() + OVER_RATE_PAUSE_MS
        elif refused.verdict == "fenced":
            self._on_fenced(refused)
        elif refused.verdict == "gap" and self._now_ms() - self._resent_ms > REFUSAL_PAUSE_MS:
            self._resend(after=refused.number)
        elif refused.verdict == "conflict" and self.is_open and not self._shares_chain:
            self._on_conflict(refused)

    def _on_fenced(self, refused: Refused) -> None:
        if self._opening is not None:
            self.open()
        elif self.is_open and not self._shares_chain and refused.incarnation > self.incarnation:
            raise FencedError(
                f"the session of {self.sender!r} was opened by a newer process "
                f"(incarnation {refused.incarnation}, ours is {self.incarnation}): only one can run, this one stops"
            )

    def _on_conflict(self, refused: Refused) -> None:
        if refused.incarnation == self.incarnation and any(
            batch.number == refused.refused_number for batch in self._unconfirmed
        ):
            raise IslandError(
                f"another batch was sequenced as number {refused.refused_number} of {self.sender!r} in our session: "
                "two processes use the name, or the log was set back; this one stops"
            )

    def _on_not_leader(self, answer: NotLeader) -> None:
        if not answer.ingress or answer.ingress == self._silent or not self._can_reach(answer.ingress):
            if self._ask_again_ms is None:
                self._ask_again_ms = self._now_ms() + LEADERLESS_PAUSE_MS
        elif answer.ingress != self.target:
            if answer.ingress not in self._ingress and len(self._ingress) < ENDPOINTS_MAX:
                self._ingress.append(answer.ingress)
            self.target = answer.ingress
            self._resend()

    def _on_leader(self, leader: str) -> None:
        self._leader_known = leader
        if leader and (leader != self.target or self._ask_again_ms is not None):
            self.target, self._silent = leader, ""
            self._resend()

    def _rotate(self) -> None:
        place = self._ingress.index(self.target) if self.target in self._ingress else -1
        self.target = self._ingress[(place + 1) % len(self._ingress)]

    def _resend(self, after: int = 0) -> None:
        self._resent_ms, self._ask_again_ms, self._paced_until_ms = self._now_ms(), None, None
        self.outbox.clear()
        if self._asking:
            self.outbox.append(ENCODER.encode(AskPosition(self.sender)))
        elif self._opening is not None:
            self.outbox.append(self._opening.data)
        self._queue = []
        self._send_batches([batch for batch in self._unconfirmed if batch.number > after])

    def _moved(self) -> None:
        self._progress_ms = self._now_ms()
        self._resend_ms = RESEND_MS
        self._silent = ""
        self.full = False

    def _send_batches(self, batches: Sequence[Batch]) -> None:
        frame: list[bytes | memoryview] = []
        size = 0
        for batch in batches:
            assert len(batch.data) <= FRAME_BYTES_MAX + BATCH_HEADER_BYTES, len(batch.data)
            if len(frame) == FRAME_BATCHES_MAX or (frame and size + len(batch.data) > FRAME_BYTES_MAX):
                self.outbox.append(b"".join(frame))
                frame, size = [], 0
            frame.append(batch.data)
            size += len(batch.data)
        if frame:
            self.outbox.append(b"".join(frame))
