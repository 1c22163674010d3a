"""What a node decides, without its sockets and files: consensus, the chain rule and time in one piece.

    frames --take--> judged batches --propose--> entry --raft--> Duties
                         |                                         |
                         +--> answers (refused, not leader)        +--> `owed`: merged until fulfilled

Rules:
- A batch's digest is checked before it is accepted, and a sender's channels before that. Nobody speaks as
  the sequencer itself.
- The table of senders follows the raft log entry by entry, in every role.
- Where more than one process has to make a sender's batches, they wait for that; see `agreeing`.
- What waits for an entry is dropped with the lead: its senders resend it. A leader that hands over lets it wait.
"""

from collections.abc import Callable

from sequencer.agreeing import Agreements
from sequencer.clock import SequencedClock
from sequencer.config import LimitsConfig
from sequencer.envelope import CONTROL, Batch, Entry, split_batches, verify
from sequencer.errors import EnvelopeError
from sequencer.members import SEQUENCER
from sequencer.protocol import FRAME_BATCHES_MAX, Answer, NotLeader, PositionOf, Refused
from sequencer.raft import Append, Duties, Event, Propose, Raft, Role
from sequencer.sessions import Position, Sessions, Verdict

_NOT_REFUSED = ("accepted", "held")


class Orderer:
    """A node's pure part. `permitted` names the channels of a sender, `needed` how many must have made its batches."""

    def __init__(
        self,
        raft: Raft,
        sessions: Sessions,
        clock: SequencedClock,
        permitted: Callable[[str], frozenset[int]],
        limits: LimitsConfig,
        needed: Callable[[str], int] = lambda _sender: 1,
    ) -> None:
        self.raft = raft
        self.sessions = sessions
        self.clock = clock
        self.owed = Duties()
        self._permitted = permitted
        self._permissions: dict[str, frozenset[int]] = {}
        self._needs: dict[str, int] = {}
        self._limits = limits
        self.agreements = Agreements(needed)
        self._needed = needed
        self._waiting: list[Batch] = []
        self._waiting_bytes = 0
        self._waiting_digests: dict[tuple[str, int], bytes] = {}
        self._pending: dict[str, Position] = {}
        self.judged = 0
        """Batches so far."""

    @property
    def is_leader(self) -> bool:
        """Whether batches can be taken here."""
        return self.raft.role is Role.LEADER

    @property
    def has_room(self) -> bool:
        """Whether the next entry can take more batches."""
        return len(self._waiting) < self._limits.entry_batches and self._waiting_bytes < self._limits.entry_bytes

    # --- intake -------------------------------------------------------------------------------

    def take(
        self,
        frame: bytes,
        served: Callable[[int], bool],
        leader_ingress: str,
        voter: str = "",
        now_ms: int = 0,
        may_send: Callable[[str], bool] | None = None,
    ) -> Answer | None:
        """Judge the batches of a frame; the first that is refused is answered, the rest is judged on.

        `served` tells whether a channel is served at the moment (a full disk serves only some); `voter` is the
        process that sends the frame, `may_send` whether that may be as a sender (None: as any).
        """
        if not self.is_leader:
            return NotLeader(leader_ingress)
        try:
            batches = split_batches(frame, FRAME_BATCHES_MAX)
        except EnvelopeError:
            return Refused("invalid", 0, "", 0, 0, b"")
        self.judged += len(batches)
        answer: Answer | None = None
        for batch in batches:
            if may_send is None or may_send(batch.sender):
                verdict = self._judge(batch, served, voter, now_ms)
            else:
                verdict = "not-permitted"
            if verdict not in _NOT_REFUSED and answer is None:
                answer = self._refusal(batch, verdict)
        return answer

    def position(self, sender: str) -> PositionOf:
        """A sender's committed position, as an answer."""
        at = self.sessions.position(sender)
        return PositionOf(sender, at.incarnation, at.number, at.digest)

    def _judge(self, batch: Batch, served: Callable[[int], bool], voter: str, now_ms: int) -> str:
        if not self._permits(batch):
            return "not-permitted"
        if not served(batch.channel):
            return "full"
        if batch.channel != CONTROL and self._needed_of(batch.sender) > 1:
            at = self._pending.get(batch.sender) or self.sessions.reached(batch.sender)
            follows = batch.number > at.number + 1 or (batch.number == at.number + 1 and batch.previous == at.digest)
            if follows and batch.incarnation == at.incarnation:
                return self._count(voter, batch, at, now_ms)
        before = self._pending.get(batch.sender)
        verdict = self.sessions.judge(batch, self._pending)
        if verdict is Verdict.DUPLICATE:
            waits = self._waiting_digests.get((batch.sender, batch.number), batch.digest)
            verdict = Verdict.DUPLICATE if waits == batch.digest else Verdict.CONFLICT
        if verdict is not Verdict.ACCEPTED:
            return str(verdict.value)
        if not batch.count or not verify(batch):
            self._unjudge(batch.sender, before)
            return "invalid"
        self._accept(batch)
        return "accepted"

    def _count(self, voter: str, batch: Batch, at: Position, now_ms: int) -> str:
        """Hold a batch until enough have made it; accept what now follows."""
        if not batch.count or not (self.agreements.holds(batch) or verify(batch)):
            return "invalid"
        for decided in self.agreements.vote(voter, batch, at, now_ms):
            self.sessions.judge(decided, self._pending)
            self._accept(decided)
        return "held"

    def _accept(self, batch: Batch) -> None:
        self._waiting.append(batch)
        self._waiting_bytes += len(batch.data)
        if batch.channel != CONTROL:
            self._waiting_digests[batch.sender, batch.number] = batch.digest

    def _permits(self, batch: Batch) -> bool:
        if batch.sender == SEQUENCER:
            return False
        return batch.channel == CONTROL or batch.channel in self._channels(batch.sender)

    def _unjudge(self, sender: str, before: Position | None) -> None:
        if before is None:
            del self._pending[sender]
        else:
            self._pending[sender] = before

    def _channels(self, sender: str) -> frozenset[int]:
        channels = self._permissions.get(sender)
        if channels is None:
            if len(self._permissions) > 4096:
                self._permissions.clear()
            channels = self._permissions[sender] = self._permitted(sender)
        return channels

    def _needed_of(self, sender: str) -> int:
        needed = self._needs.get(sender)
        if needed is None:
            if len(self._needs) > 4096:
                self._needs.clear()
            needed = self._needs[sender] = self._needed(sender)
        return needed

    def _refusal(self, batch: Batch, verdict: str) -> Refused:
        at = self.sessions.position(batch.sender)
        return Refused(verdict, batch.number, batch.sender, at.incarnation, at.number, at.digest)

    # --- steps --------------------------------------------------------------------------------

    def propose(self, now_ms: int, wall_ns: int, monotonic_ns: int) -> None:
        """Make one entry of all that waits."""
        if self.raft.hands_over:
            return
        batches, self._waiting, self._waiting_bytes = self._waiting, [], 0
        self._pending.clear()
        self._waiting_digests.clear()
        if batches and self.is_leader:
            self.step(now_ms, Propose(batches, self.clock.stamp(wall_ns, monotonic_ns)))

    def step(self, now_ms: int, event: Event | None = None) -> None:
        """Step the consensus core, and add what it owes to `owed`."""
        duties = self.raft.step(now_ms, event)
        owed = self.owed
        if duties.truncate_after is not None:
            self._truncate(duties.truncate_after)
        for entry in duties.entries:
            # What was proposed need not be read out of its entry again.
            batches = event.batches if isinstance(event, Propose) else entry.batches()
            self.sessions.append(entry.index, batches)
            self.clock.follow(entry.time_ns, now_ms * 1_000_000, fresh=_is_fresh(entry, event))
        if duties.committed:
            self.sessions.commit(duties.committed[-1].index)
        owed.ballot = duties.ballot or owed.ballot
        owed.appends += duties.appends
        owed.entries += duties.entries
        owed.replies += duties.replies
        owed.committed += duties.committed
        owed.notices += duties.notices
        owed.reads += duties.reads
        owed.covered = owed.covered or duties.covered
        if not self.is_leader:
            self.agreements.clear()
        if not self.is_leader and self._waiting:
            self._waiting, self._waiting_bytes = [], 0
            self._pending.clear()
            self._waiting_digests.clear()

    def _truncate(self, index: int) -> None:
        """Drop the tail behind `index`: what was owed to the journal, and what the table made of it."""
        owed = self.owed
        owed.truncate_after = index if owed.truncate_after is None else min(index, owed.truncate_after)
        owed.entries = [entry for entry in owed.entries if entry.index <= index]
        self.sessions.truncate(index)


def _is_fresh(entry: Entry, event: Event | None) -> bool:
    """Whether an entry's time is that of a moment ago: its own leader sent it, and had not committed it.

    A leader that cannot commit does not lead for long. Entries without messages say no time of their own.
    """
    own = isinstance(event, Append) and entry.term == event.term and entry.index > event.commit_index
    return own and entry.message_count > 0
