"""The consensus core: who leads, what is in the log, what can no longer be lost.

    Receive, Propose, Persisted, Gone, time --step--> Duties

After Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (extended version):
leader election (5.2), log replication (5.3), safety (5.4), with PreVote and CheckQuorum from Ongaro's
thesis (9.6, 6.2), leader transfer (3.10), one change of members at a time (4.1 to 4.3) and ReadIndex (6.4).

Rules:
- A ballot (term and vote) is durable before any message that depends on it leaves.
- An entry is acknowledged, by a follower as by the leader itself, once it is durable there.
- Only an entry of the current term is committed by counting; older ones follow with it.
- A leader's first entry is empty (the very first names the founders): it commits what came before.
- What this node publishes is committed *and* on its own disk.
- A leader that has not heard from a quorum for two election timeouts steps down; a follower that hears
  from its leader grants no vote, unless the leader itself has asked for the change.
- Who belongs to the group is what the last entry in the log says of it, committed or not. A change is
  begun only when the one before it, and an entry of the leader's own term, are committed.
- Votes and acknowledgements count by name and disk, and from voters only.
- Who is removed is told so until it knows it; then it is quiet.
- A suspect node, one that may have lost what it acknowledged, neither votes nor vouches until the
  committed log covers what it may have lost, and that is durably forgotten. Where nobody can tell how much it
  lost, a new term can: the lead is handed over. An unfit node (its disk is full) does not seek the lead, and
  gives it up.
- There is no lease: nothing is decided by a clock but when to ask again.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from sequencer.envelope import Batch, Entry, decode_entry, encode_entry
from sequencer.errors import DivergedLogError, EnvelopeError
from sequencer.members import Members, members_batch
from sequencer.raft.duties import Duties
from sequencer.raft.election import Elector, Timing
from sequencer.raft.lead import Lead
from sequencer.raft.log import Log
from sequencer.raft.messages import (
    Append,
    Appended,
    AskVote,
    ChangeMembers,
    Cleared,
    Event,
    Gone,
    Persisted,
    Propose,
    Read,
    TimeoutNow,
    Transfer,
    Voted,
)
from sequencer.raft.progress import Progress

LEAVING_TIMEOUTS = 10
"""For so many election timeouts a removed node is sent the log without an answer."""


class Raft(Elector):
    """One node of the group that its log tells. `disk` is its own identity, 16 bytes.

    `suspect_index` is the highest index that this node may have acknowledged and lost, 0 for none.
    """

    def __init__(
        self,
        name: str,
        disk: bytes,
        *,
        cluster: bytes,
        log: Log,
        term: int = 0,
        voted_for: str = "",
        commit_index: int = 0,
        suspect_index: int = 0,
        timing: Timing | None = None,
        seed: int = 0,
        now_ms: int = 0,
    ) -> None:
        super().__init__(
            name,
            disk,
            log=log,
            term=term,
            voted_for=voted_for,
            commit_index=commit_index,
            suspect_index=suspect_index,
            timing=timing,
            seed=seed,
            now_ms=now_ms,
        )
        self.persisted_index = log.last_index
        self.published_index = min(commit_index, log.last_index)
        self.known_index = commit_index
        """How far the log is committed, as any leader has told, whether or not it is here."""
        self._suspect_term = self.term
        self._cluster = cluster
        self._lead: Lead | None = None
        self._acknowledge: tuple[int, int] | None = None
        self._round_heard = 0

    # --- the one entrance ---------------------------------------------------------------------

    def step(self, now_ms: int, event: Event | None = None) -> Duties:
        """Let time pass to `now_ms` (monotonic), take one event, and return what is owed for it.

        Raises EnvelopeError, with nothing changed, for an append whose entries are not whole, and
        DivergedLogError where a leader's log contradicts what is committed here.
        """
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
        if self._lead is None:
            return self._deadline_ms
        oldest = min((progress.sent_ms for _peer, progress in self._lead.audience), default=self._now_ms)
        return oldest + self._timing.heartbeat_ms

    @property
    def is_removed(self) -> bool:
        """Whether this disk belonged to the group once, and the committed log says that it no longer does."""
        former = self.log.former(self.name)
        return former is not None and former[0].disk == self.disk and former[1] <= self.commit_index

    @property
    def hands_over(self) -> bool:
        """Whether this leader is handing over, and should take nothing more for the moment."""
        return self._lead is not None and bool(self._lead.heir)

    @property
    def progress(self) -> dict[str, Progress]:
        """What this leader knows of the others; empty for anyone else."""
        return self._lead.progress if self._lead is not None else {}

    # --- time ---------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self.suspect_index:
            self._watch_suspicion()
        if self._lead is not None:
            self._watch_lead(self._lead)
        elif self._now_ms >= self._deadline_ms or (self._group.quorum == 1 and self._may_campaign()):
            self._on_silence()

    def _watch_suspicion(self) -> None:
        """Covered is it once all that may have been acknowledged and lost is here again.

        Either the committed log reaches so far; or it has an entry of a term that began after the loss, and
        a leader's log holds, before its own entries, all that was ever committed.
        """
        covered = min(self.commit_index, self.persisted_index)
        self._duties.covered = covered >= self.suspect_index or self.log.term_at(covered) > self._suspect_term

    def _watch_lead(self, lead: Lead) -> None:
        self.contact_ms = lead.contact_ms(self._now_ms)
        patience_ms = 2 * self._timing.election_ms
        if self._now_ms - self.contact_ms > patience_ms and self._now_ms - lead.heard_ms(self._now_ms) > patience_ms:
            self._follow(self.term, "")
            return
        if lead.leaving:
            lead.let_go(self._now_ms - LEAVING_TIMEOUTS * self._timing.election_ms)
        if lead.heir and self._now_ms >= lead.heir_until_ms:
            lead.heir = ""
        if not lead.heir and (not self.fit or lead.is_doubted(self._now_ms - 4 * self._timing.election_ms)):
            self._on_transfer(Transfer(lead.fittest()))
        for peer, progress in lead.audience:
            if self._now_ms - progress.sent_ms >= self._timing.heartbeat_ms:
                self._send(lead, peer, progress, beat=True)

    # --- leading ------------------------------------------------------------------------------

    def _win(self) -> None:
        super()._win()
        self._lead = Lead(self.name, self.term, self.log, self._now_ms, self.persisted_index, self._asked_ms)
        founding = self.log.last_index == 0
        batches = (members_batch(self.members),) if founding else ()
        self._append_own(self._lead, batches, self.log.last_time_ns, changes_members=founding)

    def _follow(self, term: int, leader: str) -> None:
        if self._lead is not None:
            self._duties.reads += [(ticket, -1) for ticket in self._lead.unconfirmed()]
            self._lead = None
        super()._follow(term, leader)

    def _on_ask_vote(self, ask: AskVote) -> None:
        if self._lead is not None and self.members.find(ask.candidate) is None:
            self._lead.remind(ask.candidate, self._now_ms)
        super()._on_ask_vote(ask)

    def _on_propose(self, propose: Propose) -> None:
        assert self._lead is not None, self.role
        self._append_own(self._lead, propose.batches, propose.time_ns)

    def _append_own(self, lead: Lead, batches: Sequence[Batch], time_ns: int, *, changes_members: bool = False) -> None:
        before = self.members
        entry = encode_entry(
            batches,
            cluster=self._cluster,
            term=self.term,
            index=self.log.last_index + 1,
            first_sequence=self.log.next_sequence,
            time_ns=max(time_ns, self.log.last_time_ns),
            previous=self.log.last_digest,
            changes_members=changes_members,
        )
        self.log.append(entry)
        self._duties.entries.append(entry)
        if changes_members:
            lead.meet(before, self._now_ms)
        self._send_all(lead)

    def _send_all(self, lead: Lead, *, beat: bool = False) -> None:
        for peer, progress in lead.audience:
            self._send(lead, peer, progress, beat=beat)

    def _send(self, lead: Lead, peer: str, progress: Progress, *, beat: bool = False) -> None:
        for append in lead.appends(progress, self.commit_index, self._now_ms, beat=beat):
            self._duties.appends.append((peer, append))

    def _on_appended(self, answer: Appended) -> None:
        if answer.term > self.term:
            self._follow(answer.term, "")
        lead = self._lead
        if lead is None or answer.term != self.term or not self._is_possible(lead, answer):
            return
        known = self._counts(answer.node, answer.disk)
        progress = lead.progress.get(answer.node) if known else lead.removed(answer.node, answer.disk)
        if progress is None:
            return
        lead.hear(progress, answer.round, self._now_ms)
        progress.fit = answer.fit
        if answer.accepted:
            progress.agree(answer.match_index, vouches=answer.vouches)
        else:
            progress.disagree(answer.match_index, self.log.last_index, self._now_ms, vouches=answer.vouches)
        progress.doubt(self._now_ms, vouches=answer.vouches, commit_index=self.commit_index)
        self._commit_by_counting(lead)
        self._confirm_reads(lead)
        self._complete_transfer(lead)
        if self._lead is lead and lead.has_caught_up(answer.node, self.commit_index):
            self._on_change_members(ChangeMembers(self.members.promoted(answer.node)))
        is_stale = not answer.accepted and answer.match_index < progress.match_index
        if self._lead is lead and not is_stale:
            self._send(lead, answer.node, progress)

    def _is_possible(self, lead: Lead, answer: Appended) -> bool:
        """Whether an answer can be true: nobody holds or has heard what this leader never said."""
        held_at_most = self.log.last_index if answer.accepted else answer.match_index
        return 0 <= answer.match_index <= held_at_most and answer.round <= lead.round

    def _commit_by_counting(self, lead: Lead) -> None:
        index = lead.counted_index()
        if index > self.commit_index and self.log.term_at(index) == self.term:
            self._commit(index)
            self._confirm_reads(lead)
            for peer, progress in lead.audience:
                self._duties.notices.append((peer, lead.notice(progress, index, self._now_ms, asks=False)))
            if self.log.members_index <= index and not self.is_voter:
                self._follow(self.term, "")  # this leader's own removal is committed

    # --- reads --------------------------------------------------------------------------------

    def _on_read(self, read: Read) -> None:
        if self._lead is None:
            self._duties.reads.append((read.ticket, -1))
            return
        self._lead.ask(read.ticket, self._now_ms)
        self._confirm_reads(self._lead)
        self._send_all(self._lead, beat=True)

    def _confirm_reads(self, lead: Lead) -> None:
        """A read is answered once a quorum has answered its round, and the term has a committed entry."""
        if self.log.term_at(self.commit_index) == self.term:
            self._duties.reads += [(ticket, self.commit_index) for ticket in lead.confirmed()]

    # --- transfer and members -----------------------------------------------------------------

    def why_not_transfer(self, to: str, term: int) -> str:
        """What stands against handing the lead to this node, as asked for in `term`; nothing if it can be tried."""
        if self._lead is None:
            return "this node does not lead"
        if term != self.term:
            return f"it was asked for in term {term}, and this is term {self.term}: try again"
        if to == self.name:
            return f"{to} leads already"
        if to not in self._group.voters:
            return f"{to} is not a voter: the group's voters are {', '.join(self._group.voters)}"
        if not self._lead.progress[to].fit:
            return f"{to} is not fit to lead: its disk is full, or it waits for what it lost"
        return ""

    def _on_transfer(self, transfer: Transfer) -> None:
        if self._lead is not None and not self.why_not_transfer(transfer.to, self.term):
            self._lead.heir = transfer.to
            self._lead.heir_until_ms = self._now_ms + 2 * self._timing.election_ms
            self._complete_transfer(self._lead)

    def _complete_transfer(self, lead: Lead) -> None:
        heir = lead.progress.get(lead.heir)
        if heir is not None and heir.match_index == self.log.last_index:
            self._duties.appends.append((lead.heir, TimeoutNow(self.term, self.name)))

    def why_not_change(self, members: Members) -> str:
        """What stands against changing the group to this; nothing if it can be done now."""
        if self._lead is None:
            return "this node does not lead"
        if self.log.term_at(self.commit_index) != self.term:
            return "the leader has not committed an entry of its term yet: try again"
        if self.log.members_index > self.commit_index:
            return "another change of the group is not committed yet: try again"
        if self.members.find(self.name) != members.find(self.name):
            return f"{self.name} leads: hand the lead over first"
        return self.members.why_not_next(members) or self._why_not_alive(self._lead, members)

    def _why_not_alive(self, lead: Lead, members: Members) -> str:
        """A change must leave a majority of voters that are there to commit it."""
        since_ms = self._now_ms - 2 * self._timing.election_ms
        silent = [name for name in members.voters if name != self.name and not lead.was_heard(name, since_ms)]
        if len(silent) * 2 < len(members.voters):
            return ""
        return f"of the voters that would be left, {', '.join(silent)} cannot be heard: start or add others first"

    def _on_change_members(self, change: ChangeMembers) -> None:
        if self._lead is not None and not self.why_not_change(change.members):
            batches = (members_batch(change.members),)
            self._append_own(self._lead, batches, self.log.last_time_ns, changes_members=True)

    # --- following ----------------------------------------------------------------------------

    def _on_append(self, append: Append) -> None:
        if append.term < self.term:
            self._answer(append, self.log.last_index, accepted=False)
            return
        entries = self._read_entries(append)
        assert self._lead is None or append.term > self.term, f"two leaders in term {self.term}"
        self._follow(append.term, append.leader)
        self.contact_ms = self._now_ms
        self.known_index = max(self.known_index, append.commit_index)
        before = append.prev_index
        if before > self.log.last_index or self.log.term_at(before) != append.prev_term:
            self._answer(append, self._meeting_place(before), accepted=False)
            return
        for entry in entries:
            self._take(entry)
            before = entry.index
        self._commit(min(append.commit_index, before))
        if not append.asks:
            return
        if self._acknowledge is not None and self._acknowledge[0] == append.term:
            before = max(before, self._acknowledge[1])
        self._acknowledge = (append.term, before)
        self._round_heard = append.round
        if not entries and before > self.persisted_index:
            self._answer(append, self.persisted_index, accepted=True)  # contact does not wait for the disk
        self._acknowledge_durable()

    def _read_entries(self, append: Append) -> list[Entry]:
        """The entries of an append. Raises EnvelopeError where they are damaged, or others than it announces."""
        entries = [decode_entry(data) for data in append.entries]
        index = append.prev_index
        for entry in entries:
            index += 1
            if entry.index != index or entry.cluster != self._cluster or entry.term > append.term:
                raise EnvelopeError(f"an append announces entry {index} and holds entry {entry.index}")
        return entries

    def _meeting_place(self, index: int) -> int:
        """The last index at which the logs may still agree: skip a whole term of ours at a time."""
        if index > self.log.last_index:
            return self.log.last_index
        return max(self.commit_index, self.log.first_of_term_at(index) - 1)

    def _take(self, entry: Entry) -> None:
        """Add an entry of the leader's, in place of any that differs."""
        if entry.index <= self.log.last_index:
            if self.log.term_at(entry.index) == entry.term:
                return
            if entry.index <= self.commit_index:
                raise DivergedLogError(
                    f"the leader of term {self.term} has an entry {entry.index} of term {entry.term}, this node has "
                    f"committed one of term {self.log.term_at(entry.index)}: stop both, and compare their journals"
                )
            self._truncate_after(entry.index - 1)
        if entry.previous != self.log.last_digest:
            raise DivergedLogError(
                f"entry {entry.index} follows an entry with digest {entry.previous.hex()}, this node's last has "
                f"{self.log.last_digest.hex()}: one of the two journals is damaged; `sequencer log verify` tells"
            )
        self.log.append(entry)
        self._duties.entries.append(entry)

    def _truncate_after(self, index: int) -> None:
        self.log.truncate_after(index)
        self.persisted_index = min(self.persisted_index, index)
        self._duties.entries = [entry for entry in self._duties.entries if entry.index <= index]
        self._duties.truncate_after = index

    # --- durability and commitment ------------------------------------------------------------

    def _on_persisted(self, persisted: Persisted) -> None:
        assert persisted.index <= self.log.last_index, (persisted.index, self.log.last_index)
        self.persisted_index = max(self.persisted_index, persisted.index)
        if self._lead is not None:
            self._lead.own.counted_index = self.persisted_index
            self._commit_by_counting(self._lead)
        self._publish()
        self._acknowledge_durable()

    def _on_cleared(self, _cleared: Cleared) -> None:
        self.suspect_index = 0

    def _acknowledge_durable(self) -> None:
        if self._acknowledge is None or self._acknowledge[0] != self.term or not self.leader:
            return
        index = self._acknowledge[1]
        if self.persisted_index >= index:
            self._answer(None, index, accepted=True)
            self._acknowledge = None

    def _answer(self, append: Append | None, index: int, *, accepted: bool) -> None:
        """Answer an append, or our leader's last."""
        vouches, fit = not self.suspect_index, self.fit and not self.suspect_index
        to, at = (append.leader, append.round) if append else (self.leader, self._round_heard)
        self._reply(to, Appended(self.term, self.name, self.disk, accepted, index, at, vouches, fit))

    def _commit(self, index: int) -> None:
        if index > self.commit_index:
            self.commit_index = index
            self.known_index = max(self.known_index, index)
            self._publish()

    def _publish(self) -> None:
        until = min(self.commit_index, self.persisted_index)
        while self.published_index < until:
            entry = self.log.entry(self.published_index + 1)
            if entry is None:
                entry = decode_entry(self.log.read(self.published_index + 1, 1)[0])
            self._duties.committed.append(entry)
            self.published_index += 1

    _HANDLERS: ClassVar[dict[type, Any]] = {
        Append: _on_append,
        Appended: _on_appended,
        AskVote: _on_ask_vote,
        Voted: Elector._on_voted,
        TimeoutNow: Elector._on_timeout_now,
        Propose: _on_propose,
        Persisted: _on_persisted,
        Cleared: _on_cleared,
        Gone: Elector._on_gone,
        Transfer: _on_transfer,
        ChangeMembers: _on_change_members,
        Read: _on_read,
    }
