"""What a leader keeps while it leads: how far the others are, what majorities say, what is asked of it.

    Progress of each member --majority of the voters--> committable, contact, confirmed reads
    Log --window of a member--> Append, Append, ...

Rules:
- It decides nothing about the log: the core does, with these numbers. It is made anew for each term led.
- Contact counts from when a round began, not from when its answer came: an answer may be late, and says nothing of
  the time since. Whether a majority speaks at all is another question: there, a slow answer is as good as any.
- Who is removed is sent everything until it knows that it is, and counts for nothing.
"""

from collections import deque
from collections.abc import Iterator

from sequencer.members import Member, Members
from sequencer.raft.log import Log
from sequencer.raft.messages import Append
from sequencer.raft.progress import CAUGHT_UP_ENTRIES, Progress, majority

APPEND_BYTES_MAX = 1 << 20
APPEND_ENTRIES_MAX = 1024


class Lead:
    """The state of the leader `name` in `term`. Times are ms on its clock; at `asked_ms` it asked for its votes."""

    def __init__(self, name: str, term: int, log: Log, now_ms: int, persisted_index: int, asked_ms: int) -> None:
        self.progress: dict[str, Progress] = {}
        self.leaving: dict[str, Progress] = {}
        """Who was removed, and may not know yet."""
        self.audience: list[tuple[str, Progress]] = []
        """All of them: who is sent the log."""
        self.own = Progress(0, counted_index=persisted_index, heard_ms=now_ms)
        """This leader, among the others: it counts what is durable here."""
        self.round = 0
        """Grows as time passes, and with each read that is asked; members answer with the last one that they heard."""
        self.heir = ""
        self.heir_until_ms = 0
        self._name = name
        self._term = term
        self._log = log
        self._reads: list[tuple[int, int]] = []
        self._deciding: list[Progress] = []
        self._began: deque[tuple[int, int]] = deque()
        """Each round whose answer could still be news, one after the other, and when it began."""
        self._begin_round(now_ms)
        self.meet(Members(0, ()), now_ms)
        for progress in self.progress.values():
            progress.contact_ms = asked_ms

    # --- members ------------------------------------------------------------------------------

    def meet(self, before: Members, now_ms: int) -> None:
        """Keep track of exactly the others that the group has now; another disk begins from nothing."""
        members = self._log.members
        known = {_identity(member) for member in before.all}
        for member in before.all:
            if members.find(member.name) is None and member.name in self.progress:
                self._part_from(member.name, self.progress[member.name], now_ms)
        self.progress = {
            member.name: self.progress[member.name] if _identity(member) in known else self._fresh(now_ms)
            for member in members.all
            if member.name != self._name
        }
        self._deciding = [self.own if name == self._name else self.progress[name] for name in members.voters]
        self.leaving = {name: each for name, each in self.leaving.items() if members.find(name) is None}
        self._gather()

    def remind(self, name: str, now_ms: int) -> None:
        """Who was removed, and speaks as if it did not know, is told."""
        if name not in self.leaving and self._log.former(name) is not None:
            self._part_from(name, self._fresh(now_ms), now_ms)
            self._gather()

    def let_go(self, since_ms: int) -> None:
        """Be done with the removed that know it, or have not answered since then."""
        gone = [name for name, each in self.leaving.items() if each.knows_removal or each.heard_ms <= since_ms]
        for name in gone:
            del self.leaving[name]
        if gone:
            self._gather()

    def removed(self, name: str, disk: bytes) -> Progress | None:
        """What is known of one that is leaving, if this is its disk."""
        former = self._log.former(name)
        return self.leaving.get(name) if former is not None and former[0].disk == disk else None

    def _part_from(self, name: str, progress: Progress, now_ms: int) -> None:
        former = self._log.former(name)
        assert former is not None, (name, self._log.members)
        progress.removed_index, progress.heard_ms = former[1], now_ms
        self.leaving[name] = progress

    def _gather(self) -> None:
        self.audience = [*self.progress.items(), *self.leaving.items()]

    def fittest(self) -> str:
        """The voter that could lead and is the furthest; empty if there is none."""
        members = self._log.members
        heirs = [name for name in members.voters if name != self._name and self.progress[name].fit]
        return max(heirs, key=lambda name: self.progress[name].match_index, default="")

    def is_doubted(self, since_ms: int) -> bool:
        """Whether a member has held everything since then and does not vouch: it waits for another term."""
        return any(each.doubtful_ms is not None and each.doubtful_ms <= since_ms for each in self.progress.values())

    def was_heard(self, name: str, since_ms: int) -> bool:
        """Whether a member has answered since then."""
        return name in self.progress and self.progress[name].heard_ms > since_ms

    def has_caught_up(self, name: str, commit_index: int) -> bool:
        """Whether this member is a learner that should become a voter now."""
        member = self._log.members.find(name)
        due_index = max(self._log.members_index, commit_index - CAUGHT_UP_ENTRIES)
        return member is not None and member.joining and self.progress[name].counted_index >= due_index

    def _fresh(self, now_ms: int) -> Progress:
        return Progress(self._log.last_index + 1, heard_ms=now_ms, contact_ms=now_ms, sent_ms=now_ms, in_flight=deque())

    # --- what majorities say ------------------------------------------------------------------

    def hear(self, progress: Progress, at_round: int, now_ms: int) -> None:
        """One of the audience has answered, and has heard the leader's word of this round."""
        progress.heard_ms = now_ms
        if at_round > progress.round:
            progress.round = at_round
            place = at_round - self._began[0][0] if self._began else -1
            if place >= 0:
                progress.contact_ms = max(progress.contact_ms, self._began[place][1])

    def contact_ms(self, now_ms: int) -> int:
        """A moment at which a quorum followed: when the last round began that it has answered."""
        self.own.contact_ms = now_ms
        contact_ms = majority([progress.contact_ms for progress in self._deciding])
        while self._began and self._began[0][1] < contact_ms:
            self._began.popleft()
        return contact_ms

    def heard_ms(self, now_ms: int) -> int:
        """When the last answers of a quorum came."""
        self.own.heard_ms = now_ms
        return majority([progress.heard_ms for progress in self._deciding])

    def counted_index(self) -> int:
        """The last index that a majority vouches for."""
        return majority([progress.counted_index for progress in self._deciding])

    def ask(self, ticket: int, now_ms: int) -> None:
        """Begin a round for a read."""
        self._begin_round(now_ms)
        self._reads.append((ticket, self.round))

    def _begin_round(self, now_ms: int) -> None:
        self.round += 1
        self.own.round = self.round
        self._round_ms = now_ms
        self._began.append((self.round, now_ms))

    def confirmed(self) -> list[int]:
        """Tickets of the reads whose round a quorum has answered; each is told once."""
        if not self._reads:
            return []
        reached = majority([progress.round for progress in self._deciding])
        found = [ticket for ticket, at in self._reads if at <= reached]
        self._reads = [read for read in self._reads if read[1] > reached]
        return found

    def unconfirmed(self) -> list[int]:
        """Tickets of the reads that still wait."""
        return [ticket for ticket, _round in self._reads]

    # --- replication --------------------------------------------------------------------------

    def notice(self, progress: Progress, commit_index: int, now_ms: int, *, asks: bool = True) -> Append:
        """An append without entries. What is said in one ms is one round, as far as nothing else begins another."""
        if asks:
            progress.sent_ms = now_ms
        tells_removal = 0 < progress.removed_index <= commit_index and not progress.told_round
        if now_ms > self._round_ms or tells_removal:
            self._begin_round(now_ms)
        if tells_removal:
            progress.told_round = self.round
        before = progress.next_index - 1
        return Append(self._term, self._name, before, self._log.term_at(before), commit_index, self.round, asks, [])

    def appends(self, progress: Progress, commit_index: int, now_ms: int, *, beat: bool) -> Iterator[Append]:
        """What a member lacks, as far as its window goes; with `beat`, one append even if that is nothing.

        Entries that have to be read from the disk go one append at a time: reading must not hold up others.
        """
        log = self._log
        while progress.next_index <= log.last_index and progress.has_room:
            append, first = self.notice(progress, commit_index, now_ms), progress.next_index
            append.entries.extend(log.read(first, APPEND_BYTES_MAX)[:APPEND_ENTRIES_MAX])
            yield append
            beat = False
            progress.send(first + len(append.entries) - 1, sum(map(len, append.entries)))
            if log.entry(first) is None:
                return
        if beat:
            yield self.notice(progress, commit_index, now_ms)


def _identity(member: Member) -> tuple[str, bytes]:
    return member.name, member.disk
