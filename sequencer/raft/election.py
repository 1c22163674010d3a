"""Who may lead: terms, ballots, pre-votes and votes.

    silence --PreVote--> would a majority vote? --ballot, AskVote--> votes counted --majority--> leader

Raft paper 5.2 and 5.4.1, with PreVote from the thesis (9.6). `Raft` is this, and what it does once it leads or follows.

Rules:
- A ballot (term and vote) is durable before any message that depends on it leaves.
- A voter that hears from its leader helps nobody to unseat it, unless the leader itself has asked for that.
- Who sees the leader's connection close need not wait out the silence, nor refuse others. That is a hint, which binds
  nobody: the next word of the leader undoes it.
- Of two that probe at the same time one gives way, so that they do not split the votes.
- Votes count by name and disk, and from voters only.
- Who may have lost what it acknowledged neither votes nor campaigns; who has no room does not campaign.
"""

import random
from enum import Enum

import msgspec

from sequencer.members import Members
from sequencer.raft.duties import Duties
from sequencer.raft.log import Log
from sequencer.raft.messages import AskVote, Gone, Message, TimeoutNow, Voted


class Role(Enum):
    """What a node is at the moment."""

    FOLLOWER = "follower"
    PRECANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class Timing(msgspec.Struct, frozen=True):
    """Times in ms. An election timeout is drawn from [election_ms, 1.5 x election_ms]."""

    election_ms: int = 120
    heartbeat_ms: int = 30


class _Group(msgspec.Struct, frozen=True):
    """What follows from the members for one node, worked out once."""

    members: Members
    voters: tuple[str, ...]
    quorum: int
    is_voter: bool


class Elector:
    """A node's part in elections. `Raft` tells what it promises."""

    def __init__(
        self,
        name: str,
        disk: bytes,
        *,
        log: Log,
        term: int,
        voted_for: str,
        commit_index: int,
        suspect_index: int,
        timing: Timing | None,
        seed: int,
        now_ms: int,
    ) -> None:
        self.name = name
        self.disk = disk
        self.role = Role.FOLLOWER
        self.leader = ""
        self.term = max(term, log.last_term)
        self.voted_for = voted_for if self.term == term else ""
        self.log = log
        self.commit_index = commit_index
        self.contact_ms = now_ms
        """When a follower last heard its leader; for a leader, when a quorum still followed, as far as it knows."""
        self.suspect_index = suspect_index
        self.fit = True
        """Set by the shell: whether this node should lead."""
        self.strangers: dict[str, bytes] = {}
        """Disks that speak under a member's name and are not the member's."""
        self._timing = timing or Timing()
        self._random = random.Random(f"{seed}/{name}")
        self._group_seen = self._work_out(log.members)
        self._votes: set[str] = set()
        self._duties = Duties()
        self._now_ms = now_ms
        self._deadline_ms = 0
        self._asked_ms = now_ms
        self._rest()

    @property
    def members(self) -> Members:
        """The group as this node's log tells it."""
        return self.log.members

    @property
    def is_voter(self) -> bool:
        """Whether this node's word counts."""
        return self._group.is_voter

    @property
    def _group(self) -> _Group:
        if self._group_seen.members is not self.log.members:
            self._group_seen = self._work_out(self.log.members)
        return self._group_seen

    def _work_out(self, members: Members) -> _Group:
        voters = members.voters
        return _Group(members, voters, len(voters) // 2 + 1, members.has_voter(self.name, self.disk))

    # --- time to campaign ---------------------------------------------------------------------

    def _rest(self) -> None:
        """Draw the next election timeout."""
        election_ms = self._timing.election_ms
        self._deadline_ms = self._now_ms + election_ms + self._random.randrange(election_ms // 2 + 1)

    def _on_gone(self, gone: Gone) -> None:
        """Of several that see it at once, one is to be first."""
        if self.role is Role.FOLLOWER and self.leader == gone.peer:
            self.leader = ""
            wait_ms = self._random.randrange(self._timing.heartbeat_ms + 1)
            self._deadline_ms = min(self._deadline_ms, self._now_ms + wait_ms)

    def _on_silence(self) -> None:
        if self._may_campaign():
            self._campaign(probe=self._group.quorum > 1, transfer=False)
        else:
            self._rest()
            self.role, self.leader = Role.FOLLOWER, ""

    def _may_campaign(self) -> bool:
        """A node that is being removed may be needed until its removal is committed (thesis 4.2.2)."""
        if not self.fit or self.suspect_index:
            return False
        return self.is_voter or self.log.members_at(self.commit_index).has_voter(self.name, self.disk)

    def _campaign(self, *, probe: bool, transfer: bool) -> None:
        self._rest()
        self.leader, self._asked_ms = "", self._now_ms
        self._votes = {self.name} if self.is_voter else set()
        if probe:
            self.role = Role.PRECANDIDATE
        else:
            self.role = Role.CANDIDATE
            self._set_ballot(self.term + 1, self.name)
        ask = self._question(probe=probe, transfer=transfer)
        self._duties.replies += [(peer, ask) for peer in self._group.voters if peer != self.name]
        self._count_votes()

    def _question(self, *, probe: bool, transfer: bool = False) -> AskVote:
        term = self.term + 1 if probe else self.term
        return AskVote(term, self.name, self.log.last_index, self.log.last_term, probe, transfer)

    # --- votes --------------------------------------------------------------------------------

    def _on_ask_vote(self, ask: AskVote) -> None:
        if self.suspect_index:
            return
        led = self.leader and self._now_ms - self.contact_ms < self._timing.election_ms
        if led and not ask.transfer:
            if not ask.probe and ask.term > self.term:
                return  # a voter with a leader neither follows the term nor answers: no disruption
            self._vote(ask, self.term, granted=False)
            return
        if not ask.probe and ask.term > self.term:
            self._follow(ask.term, "")
        insists = self._insists(ask)
        granted = self._would_grant(ask) and not insists
        if granted and ask.probe and self.role is Role.PRECANDIDATE:
            self._follow(self.term, "")  # it gives way
        if granted and not ask.probe:
            self._set_ballot(self.term, ask.candidate)
            self._rest()
        self._vote(ask, ask.term if granted else self.term, granted=granted)
        if insists:
            # When it was asked first it may still have heard its leader.
            self._reply(ask.candidate, self._question(probe=True))

    def _vote(self, ask: AskVote, term: int, *, granted: bool) -> None:
        self._reply(ask.candidate, Voted(term, self.name, self.disk, granted, ask.probe))

    def _would_grant(self, ask: AskVote) -> bool:
        current = (ask.last_term, ask.last_index) >= (self.log.last_term, self.log.last_index)
        if ask.probe:
            return current and ask.term > self.term
        free = self.voted_for in ("", ask.candidate) and self.role is Role.FOLLOWER
        return current and ask.term == self.term and free

    def _insists(self, ask: AskVote) -> bool:
        """Whether this node, which has just begun to probe as well, goes before the one that asks."""
        if not ask.probe or self.role is not Role.PRECANDIDATE:
            return False
        is_ahead = (self.log.last_term, self.log.last_index, self.name) > (ask.last_term, ask.last_index, ask.candidate)
        return is_ahead and self._now_ms - self._asked_ms < self._timing.heartbeat_ms

    def _on_voted(self, vote: Voted) -> None:
        if vote.term > self.term and not (vote.probe and vote.granted):
            self._follow(vote.term, "")
            return
        asked = self.term + 1 if vote.probe else self.term
        expected = Role.PRECANDIDATE if vote.probe else Role.CANDIDATE
        if self.role is expected and vote.granted and vote.term == asked and self._counts(vote.voter, vote.disk):
            self._votes.add(vote.voter)
            self._count_votes()

    def _counts(self, name: str, disk: bytes) -> bool:
        """Whether this is a member's own disk; that of a learner counts for nothing where votes are counted."""
        member = self.members.find(name)
        if member is None or member.disk == disk:
            self.strangers.pop(name, None)
            return member is not None
        self.strangers[name] = disk
        return False

    def _count_votes(self) -> None:
        if len(self._votes.intersection(self._group.voters)) < self._group.quorum:
            return
        if self.role is Role.PRECANDIDATE:
            self._campaign(probe=False, transfer=False)
        elif self.role is Role.CANDIDATE:
            self._win()

    def _set_ballot(self, term: int, vote: str) -> None:
        assert term >= self.term, (term, self.term)
        self.term, self.voted_for = term, vote
        self._duties.ballot = (term, vote)

    def _follow(self, term: int, leader: str) -> None:
        if term > self.term:
            self._set_ballot(term, "")
        self.role, self.leader = Role.FOLLOWER, leader
        self._rest()

    def _win(self) -> None:
        self.role, self.leader, self.contact_ms = Role.LEADER, self.name, self._asked_ms

    def _on_timeout_now(self, order: TimeoutNow) -> None:
        if order.term == self.term and self.role is Role.FOLLOWER and self._may_campaign():
            self._campaign(probe=False, transfer=True)

    def _reply(self, to: str, message: Message) -> None:
        self._duties.replies.append((to, message))
