"""What a leader keeps while it leads: how far the others are, what majorities say, what is asked of it.

    Progress of each member --majority of the voters--> committable, contact, confirmed reads
    Log --window of a member--> Append, Append, ...

It decides nothing about the log: the core does, with these numbers. It is made anew for each term led.
"""

from collections import deque
from collections.abc import Iterator

from sequencer.members import Member, Members
from sequencer.raft.log import Log
from sequencer.raft.messages import Append
from sequencer.raft.progress import CAUGHT_UP_ENTRIES, Progress, majority

APPEND_BYTES_MAX = 1 << 20
APPEND_ENTRIES_MAX = 1024
ROUNDS_KEPT = 64
"""An answer to an older round tells nothing about contact."""


class Lead:
    """The state of the leader `name` in `term`. Times are ms on its clock."""

    def __init__(self, name: str, term: int, log: Log, now_ms: int, persisted_index: int) -> None:
        self.progress: dict[str, Progress] = {}
        self.own = Progress(0, counted_index=persisted_index, heard_ms=now_ms)
        """This leader, among the others: it counts what is durable here."""
        self.leaving: dict[str, Progress] = {}
        """Those that were removed, until they have been told."""
        self.round = 0
        """Grows with time and with each read; members answer with the last one that they heard."""
        self._parting_round = 0
        """What is said since then tells those who leave that they are out; 0 while that is not committed."""
        self._rounds_ms = deque([now_ms], maxlen=ROUNDS_KEPT)
        self.heir = ""
        self.heir_until_ms = 0
        self._name = name
        self._term = term
        self._log = log
        self._reads: list[tuple[int, int]] = []
        self._deciding: list[Progress] = []
        self.meet(Members(0, ()), now_ms)

    # --- members ------------------------------------------------------------------------------

    def meet(self, before: Members, now_ms: int) -> None:
        """Keep track of exactly the others that the group has now; another disk begins from nothing."""
        members = self._log.members
        known, now = ({_identity(member) for member in group.all} for group in (before, members))
        gone = [member.name for member in before.all if _identity(member) not in now and member.name in self.progress]
        self.leaving = {name: self.progress[name] for name in gone if members.find(name) is None}
        self._parting_round = 0
        self.progress = {
            member.name: self.progress[member.name] if _identity(member) in known else self._fresh(now_ms)
            for member in members.all
            if member.name != self._name
        }
        self._deciding = [self.own if name == self._name else self.progress[name] for name in members.voters]

    @property
    def told(self) -> dict[str, Progress]:
        """All that are sent what is in the log."""
        return {**self.progress, **self.leaving} if self.leaving else self.progress

    def part(self, commit_index: int, now_ms: int, silent_ms: int) -> None:
        """Be done with those who know that they are out, or were not heard since `silent_ms`."""
        index = self._log.members_index
        if commit_index >= index and not self._parting_round:
            self.begin_round(now_ms)
            self._parting_round = self.round
        for name, progress in list(self.leaving.items()):
            is_told = progress.match_index >= index and progress.round >= self._parting_round > 0
            if is_told or progress.heard_ms <= silent_ms:
                del self.leaving[name]

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
        return Progress(self._log.last_index + 1, heard_ms=now_ms, sent_ms=now_ms, in_flight=deque())

    # --- what majorities say ------------------------------------------------------------------

    def contact_ms(self, now_ms: int) -> int:
        """When a quorum was last heard."""
        self.own.heard_ms = now_ms
        return majority([progress.heard_ms for progress in self._deciding])

    def counted_index(self) -> int:
        """The last index that a majority vouches for."""
        return majority([progress.counted_index for progress in self._deciding])

    @property
    def round_ms(self) -> int:
        """When the latest round began."""
        return self._rounds_ms[-1]

    def begin_round(self, now_ms: int) -> None:
        """Number what is said from now on anew: its answers are no older than this."""
        self.round += 1
        self.own.round = self.round
        self._rounds_ms.append(now_ms)

    def hear(self, progress: Progress, answered: int) -> None:
        """A member has answered a round. An answer that was long on its way is no fresh contact."""
        progress.round = max(progress.round, answered)
        place = len(self._rounds_ms) - 1 - (self.round - answered)
        if 0 <= place < len(self._rounds_ms):
            progress.heard_ms = max(progress.heard_ms, self._rounds_ms[place])

    def ask(self, ticket: int, now_ms: int) -> None:
        """Begin a round for a read."""
        self.begin_round(now_ms)
        self._reads.append((ticket, self.round))

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

    def notice(self, progress: Progress, commit_index: int, now_ms: int, *, asks: bool) -> Append:
        """An append without entries. One that asks for an answer counts as a word of this round."""
        if asks:
            progress.sent_ms = now_ms
        before = progress.next_index - 1
        return Append(self._term, self._name, before, self._log.term_at(before), commit_index, self.round, asks, [])

    def appends(self, progress: Progress, commit_index: int, now_ms: int, *, beat: bool) -> Iterator[Append]:
        """What a member lacks, as far as its window goes; with `beat`, one append even if that is nothing.

        Entries that have to be read from the disk go one append at a time: reading must not hold up others.
        """
        log = self._log
        while progress.next_index <= log.last_index and progress.has_room:
            append, first = self.notice(progress, commit_index, now_ms, asks=True), progress.next_index
            append.entries.extend(log.read(first, APPEND_BYTES_MAX)[:APPEND_ENTRIES_MAX])
            yield append
            beat = False
            progress.send(first + len(append.entries) - 1, sum(map(len, append.entries)))
            if log.entry(first) is None:
                return
        if beat:
            yield self.notice(progress, commit_index, now_ms, asks=True)


def _identity(member: Member) -> tuple[str, bytes]:
    return member.name, member.disk
