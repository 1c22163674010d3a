"""The consensus core: who leads, what is in the log, what can no longer be lost.

    Receive, Propose, Persisted, time --step--> Duties

After Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (extended version):
leader election (5.2), log replication (5.3), safety (5.4), with PreVote and CheckQuorum from Ongaro's
thesis (9.6, 6.2) and leader transfer (3.10).

Rules:
- A ballot (term and vote) is durable before any message that depends on it leaves.
- An entry is acknowledged, by a follower as by the leader itself, once it is durable there.
- Only an entry of the current term is committed by counting; older ones follow with it.
- A leader's first entry is empty: it commits what came before.
- What this node publishes is committed *and* on its own disk.
- A leader that has not heard from a quorum for an election timeout steps down; a follower that hears
  from its leader grants no vote, unless the leader itself has asked for the change.
- There is no lease: nothing is decided by a clock but when to ask again.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, ClassVar

import msgspec

from sequencer.envelope import Entry, decode_entry, encode_entry
from sequencer.raft.log import Log
from sequencer.raft.messages import (
    Append,
    Appended,
    AskVote,
    Message,
    Persisted,
    Propose,
    TimeoutNow,
    Transfer,
    Voted,
)

APPEND_BYTES_MAX = 1 << 20
IN_FLIGHT_MAX = 64
"""Appends on their way to one follower; a slow one gets no more until it answers."""


class Role(Enum):
    """What a node is at the moment."""

    FOLLOWER = "follower"
    PRECANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class Timing(msgspec.Struct, frozen=True):
    """Times in ms. An election timeout is drawn from [election_ms, 2 x election_ms)."""

    election_ms: int = 150
    heartbeat_ms: int = 30


class Duties(msgspec.Struct):
    """What the node owes before its next step, in field order.

    Persist before you speak: `replies` may promise what the ballot and the entries before them say.
    `appends` go out before the own write, so that followers write at the same time.
    """

    ballot: tuple[int, str] | None = None
    appends: list[tuple[str, Message]] = []
    truncate_after: int | None = None
    entries: list[Entry] = []
    replies: list[tuple[str, Message]] = []
    committed: list[Entry] = []


class _Progress(msgspec.Struct):
    """What a leader knows of one follower."""

    next_index: int
    match_index: int = 0
    in_flight: deque[int] = msgspec.field(default_factory=deque)
    """The last index of each append on its way."""
    probing: bool = True
    heard_ms: int = 0
    sent_ms: int = 0


class Raft:
    """One member of the group. `members` names all voters, this node among them."""

    def __init__(
        self,
        name: str,
        members: Sequence[str],
        *,
        cluster: bytes,
        log: Log,
        term: int = 0,
        voted_for: str = "",
        commit_index: int = 0,
        timing: Timing | None = None,
        seed: int = 0,
        now_ms: int = 0,
    ) -> None:
        assert name in members, (name, members)
        self.name = name
        self.role = Role.FOLLOWER
        self.leader = ""
        self.term = max(term, log.last_term)
        self.voted_for = voted_for if self.term == term else ""
        self.log = log
        self.commit_index = commit_index
        self.persisted_index = log.last_index
        self.published_index = min(commit_index, log.last_index)
        self.contact_ms = now_ms
        """When a quorum (for a leader) or the leader (for a follower) was last heard."""
        self._cluster = cluster
        self._members = tuple(sorted(members))
        self._peers = tuple(member for member in self._members if member != name)
        self._quorum = len(self._members) // 2 + 1
        self._timing = timing or Timing()
        self._random = random.Random(f"{seed}/{name}")
        self._progress: dict[str, _Progress] = {}
        self._votes: set[str] = set()
        self._acknowledge: tuple[str, int] | None = None
        self._transfer_to = ""
        self._duties = Duties()
        self._now_ms = now_ms
        self._deadline_ms = 0
        self._rest()

    # --- the one entrance ---------------------------------------------------------------------

    def step(self, now_ms: int, event: Message | Propose | Persisted | Transfer | None = None) -> Duties:
        """Let time pass to `now_ms` (monotonic), take one event, and return what is owed for it."""
        self._now_ms = max(self._now_ms, now_ms)
        if event is not None:
            handle: Callable[[Raft, object], None] = self._HANDLERS[type(event)]
            handle(self, event)
        self._watch()
        duties, self._duties = self._duties, Duties()
        return duties

    @property
    def wake_ms(self) -> int:
        """When `step` wants to be called again at the latest."""
        if self.role is not Role.LEADER:
            return self._deadline_ms
        oldest = min((p.sent_ms for p in self._progress.values()), default=self._now_ms)
        return oldest + self._timing.heartbeat_ms

    # --- time ---------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self.role is Role.LEADER:
            self._watch_quorum()
            self._beat()
        elif self._now_ms >= self._deadline_ms or self._quorum == 1:
            self._campaign(probe=self._quorum > 1, transfer=False)

    def _rest(self) -> None:
        """Draw the next election timeout."""
        span = self._timing.election_ms
        self._deadline_ms = self._now_ms + span + self._random.randrange(span)

    def _watch_quorum(self) -> None:
        heard = sorted((p.heard_ms for p in self._progress.values()), reverse=True)
        self.contact_ms = heard[self._quorum - 2] if self._quorum > 1 else self._now_ms
        if self._now_ms - self.contact_ms > self._timing.election_ms * 2:
            self._follow(self.term, "")

    def _beat(self) -> None:
        for peer, progress in self._progress.items():
            if self._now_ms - progress.sent_ms >= self._timing.heartbeat_ms:
                self._send(peer, progress, beat=True)

    # --- elections ----------------------------------------------------------------------------

    def _campaign(self, *, probe: bool, transfer: bool) -> None:
        self._rest()
        self.leader = ""
        self._votes = {self.name}
        if probe:
            self.role = Role.PRECANDIDATE
        else:
            self.role = Role.CANDIDATE
            self._set_ballot(self.term + 1, self.name)
        term = self.term + 1 if probe else self.term
        ask = AskVote(term, self.name, self.log.last_index, self.log.last_term, probe, transfer)
        self._duties.replies += [(peer, ask) for peer in self._peers]
        self._count_votes()

    def _on_ask_vote(self, ask: AskVote) -> None:
        led = self.leader and self._now_ms - self.contact_ms < self._timing.election_ms
        if led and not ask.transfer:
            if not ask.probe and ask.term > self.term:
                return  # a voter with a leader neither follows the term nor answers: no disruption
            self._reply(ask.candidate, Voted(self.term, self.name, False, ask.probe))
            return
        if not ask.probe and ask.term > self.term:
            self._follow(ask.term, "")
        granted = self._would_grant(ask)
        if granted and not ask.probe:
            self._set_ballot(self.term, ask.candidate)
            self._rest()
        self._reply(ask.candidate, Voted(ask.term if granted else self.term, self.name, granted, ask.probe))

    def _would_grant(self, ask: AskVote) -> bool:
        current = (ask.last_term, ask.last_index) >= (self.log.last_term, self.log.last_index)
        if ask.probe:
            return current and ask.term > self.term
        free = self.voted_for in ("", ask.candidate) and self.role is Role.FOLLOWER
        return current and ask.term == self.term and free

    def _on_voted(self, vote: Voted) -> None:
        if vote.term > self.term and not (vote.probe and vote.granted):
            self._follow(vote.term, "")
            return
        asked = self.term + 1 if vote.probe else self.term
        expected = Role.PRECANDIDATE if vote.probe else Role.CANDIDATE
        if self.role is expected and vote.granted and vote.term == asked and vote.voter in self._members:
            self._votes.add(vote.voter)
            self._count_votes()

    def _count_votes(self) -> None:
        if len(self._votes) < self._quorum:
            return
        if self.role is Role.PRECANDIDATE:
            self._campaign(probe=False, transfer=False)
        elif self.role is Role.CANDIDATE:
            self._lead()

    def _set_ballot(self, term: int, vote: str) -> None:
        assert term >= self.term, (term, self.term)
        self.term, self.voted_for = term, vote
        self._duties.ballot = (term, vote)

    def _follow(self, term: int, leader: str) -> None:
        if term > self.term:
            self._set_ballot(term, "")
        if self.role is Role.LEADER:
            self._acknowledge = None
        self.role, self.leader, self._transfer_to = Role.FOLLOWER, leader, ""
        self._rest()

    def _lead(self) -> None:
        self.role, self.leader, self.contact_ms = Role.LEADER, self.name, self._now_ms
        self._transfer_to = ""
        self._progress = {
            peer: _Progress(self.log.last_index + 1, heard_ms=self._now_ms, sent_ms=self._now_ms)
            for peer in self._peers
        }
        self._on_propose(Propose((), self.log.last_time_ns))

    # --- leading ------------------------------------------------------------------------------

    def _on_propose(self, propose: Propose) -> None:
        assert self.role is Role.LEADER, self.role
        entry = encode_entry(
            propose.batches,
            cluster=self._cluster,
            term=self.term,
            index=self.log.last_index + 1,
            first_sequence=self.log.next_sequence,
            time_ns=max(propose.time_ns, self.log.last_time_ns),
            previous=self.log.last_digest,
        )
        self.log.append(entry)
        self._duties.entries.append(entry)
        for peer, progress in self._progress.items():
            self._send(peer, progress)

    def _send(self, peer: str, progress: _Progress, *, beat: bool = False) -> None:
        """Send what the follower lacks; a heartbeat goes even when there is nothing, or no room, to send."""
        while True:
            room = len(progress.in_flight) < (1 if progress.probing else IN_FLIGHT_MAX)
            entries: list[bytes] = []
            if room and progress.next_index <= self.log.last_index:
                entries = self.log.read(progress.next_index, APPEND_BYTES_MAX)
            if not entries and not beat:
                return
            before = progress.next_index - 1
            append = Append(self.term, self.name, before, self.log.term_at(before), self.commit_index, entries)
            self._duties.appends.append((peer, append))
            progress.sent_ms = self._now_ms
            beat = False
            if entries:
                progress.in_flight.append(before + len(entries))
                progress.next_index += 0 if progress.probing else len(entries)

    def _on_appended(self, answer: Appended) -> None:
        if answer.term > self.term:
            self._follow(answer.term, "")
        progress = self._progress.get(answer.node)
        if self.role is not Role.LEADER or answer.term != self.term or progress is None:
            return
        progress.heard_ms = self._now_ms
        if answer.accepted:
            self._matched(answer.node, progress, answer.match_index)
        else:
            # Where the logs part was answered: go back there, but never behind what is known to match.
            progress.probing = True
            progress.in_flight.clear()
            progress.next_index = max(progress.match_index + 1, min(answer.match_index + 1, self.log.last_index + 1))
        self._send(answer.node, progress)

    def _matched(self, peer: str, progress: _Progress, match_index: int) -> None:
        assert match_index <= self.log.last_index, (peer, match_index, self.log.last_index)
        progress.match_index = max(progress.match_index, match_index)
        while progress.in_flight and progress.in_flight[0] <= match_index:
            progress.in_flight.popleft()
        if progress.probing:
            progress.probing = False
            progress.in_flight.clear()
            progress.next_index = progress.match_index + 1
        progress.next_index = max(progress.next_index, progress.match_index + 1)
        self._commit_by_counting()
        if peer == self._transfer_to and progress.match_index == self.log.last_index:
            self._duties.appends.append((peer, TimeoutNow(self.term, self.name)))
            self._transfer_to = ""

    def _commit_by_counting(self) -> None:
        matches = sorted([p.match_index for p in self._progress.values()] + [self.persisted_index], reverse=True)
        index = matches[self._quorum - 1]
        if index > self.commit_index and self.log.term_at(index) == self.term:
            self._commit(index)
            for peer, progress in self._progress.items():
                self._send(peer, progress, beat=True)

    def _on_transfer(self, transfer: Transfer) -> None:
        if self.role is Role.LEADER and transfer.to in self._progress:
            self._transfer_to = transfer.to
            progress = self._progress[transfer.to]
            self._matched(transfer.to, progress, progress.match_index)

    # --- following ----------------------------------------------------------------------------

    def _on_append(self, append: Append) -> None:
        if append.term < self.term:
            self._reply(append.leader, Appended(self.term, self.name, False, self.log.last_index))
            return
        self._follow(append.term, append.leader)
        self.contact_ms = self._now_ms
        before = append.prev_index
        if before > self.log.last_index or self.log.term_at(before) != append.prev_term:
            self._reply(append.leader, Appended(self.term, self.name, False, self._meeting_place(before)))
            return
        for data in append.entries:
            before += 1
            self._take(before, data)
        self._commit(min(append.commit_index, before))
        if self._acknowledge is not None and self._acknowledge[0] == append.leader:
            before = max(before, min(self._acknowledge[1], self.log.last_index))
        self._acknowledge = (append.leader, before)
        self._acknowledge_durable()

    def _meeting_place(self, index: int) -> int:
        """The last index at which the logs may still agree: skip a whole term of ours at a time."""
        if index > self.log.last_index:
            return self.log.last_index
        return max(self.commit_index, self.log.first_of_term_at(index) - 1)

    def _take(self, index: int, data: bytes) -> None:
        """Add an entry of the leader's, in place of any that differs."""
        if index <= self.log.last_index:
            entry = decode_entry(data)
            if self.log.term_at(index) == entry.term:
                return
            assert index > self.commit_index, (index, self.commit_index)
            self._truncate_after(index - 1)
        entry = decode_entry(data)
        self.log.append(entry)
        self._duties.entries.append(entry)

    def _truncate_after(self, index: int) -> None:
        self.log.truncate_after(index)
        self.persisted_index = min(self.persisted_index, index)
        self._duties.entries = [entry for entry in self._duties.entries if entry.index <= index]
        self._duties.truncate_after = index

    def _on_timeout_now(self, order: TimeoutNow) -> None:
        if order.term == self.term and self.role is Role.FOLLOWER:
            self._campaign(probe=False, transfer=True)

    # --- durability and commitment ------------------------------------------------------------

    def _on_persisted(self, persisted: Persisted) -> None:
        assert persisted.index <= self.log.last_index, (persisted.index, self.log.last_index)
        self.persisted_index = max(self.persisted_index, persisted.index)
        if self.role is Role.LEADER:
            self._commit_by_counting()
        self._publish()
        self._acknowledge_durable()

    def _acknowledge_durable(self) -> None:
        if self._acknowledge is None:
            return
        leader, index = self._acknowledge
        if leader == self.leader and self.persisted_index >= index:
            self._reply(leader, Appended(self.term, self.name, True, index))
            self._acknowledge = None

    def _commit(self, index: int) -> None:
        if index > self.commit_index:
            self.commit_index = index
            self._publish()

    def _publish(self) -> None:
        until = min(self.commit_index, self.persisted_index)
        while self.published_index < until:
            entry = self.log.entry(self.published_index + 1)
            if entry is None:
                entry = decode_entry(self.log.read(self.published_index + 1, 1)[0])
            self._duties.committed.append(entry)
            self.published_index += 1

    def _reply(self, to: str, message: Message) -> None:
        self._duties.replies.append((to, message))

    _HANDLERS: ClassVar[dict[type, Any]] = {
        Append: _on_append,
        Appended: _on_appended,
        AskVote: _on_ask_vote,
        Voted: _on_voted,
        TimeoutNow: _on_timeout_now,
        Propose: _on_propose,
        Persisted: _on_persisted,
        Transfer: _on_transfer,
    }
