"""What must hold at every moment, whatever fails. Knows entries and batches, and nothing of the consensus.

published entries, delivered entries, submissions, acknowledgements, reads --> Violation, or silence
"""

from dataclasses import dataclass, field

from sequencer.envelope import CONTROL, NO_DIGEST, Batch, Entry, verify
from sequencer.members import SEQUENCER, members_in
from sequencer.raft import Log
from sequencer.sessions import Sessions

MS = 1_000_000
CLOCK_BOUND_NS = 20_000 * MS
"""How far sequenced time may be from true time. A follower goes by the entries that it gets: one that was paused
for 4 s, or got them late, is behind by that when it leads next, and catches up by 5 ms a second; so does the next."""


class ViolationError(AssertionError):
    """A promise was broken; the message says which."""


def require(holds: bool, what: str) -> None:
    """Raise ViolationError unless it holds."""
    if not holds:
        raise ViolationError(what)


@dataclass
class _Sender:
    incarnation: int = 0
    number: int = 0
    digest: bytes = NO_DIGEST


@dataclass
class Checks:
    """One run's history."""

    log: list[Entry] = field(default_factory=list)
    """Every entry that was ever published, by index."""
    leaders: dict[int, str] = field(default_factory=dict)
    acknowledged_index: int = 0
    """The highest index at which a sender has seen a batch of its own."""
    acknowledged: int = 0
    resumed: int = 0
    """How often a node started from a snapshot."""
    voters: tuple[str, ...] = ()
    """As the published log tells."""
    _floors: dict[tuple[str, int, bytes], int] = field(default_factory=dict)
    _senders: dict[str, _Sender] = field(default_factory=dict)

    # --- the group ------------------------------------------------------------------------------

    def leads(self, name: str, term: int) -> None:
        """A node holds itself for the leader of a term."""
        before = self.leaders.setdefault(term, name)
        require(before == name, f"{before} and {name} both lead term {term}")

    def stamps(self, name: str, entry: Entry, now_ns: int) -> None:
        """A leader gives an entry its time."""
        off_ns = abs(entry.time_ns - now_ns)
        require(off_ns <= CLOCK_BOUND_NS, f"{name} stamps entry {entry.index} {off_ns / MS:.0f} ms from true time")

    def resumes(self, name: str, read: tuple[Log, Sessions], resumed: tuple[Log, Sessions]) -> None:
        """A node starts from a snapshot: what it goes by is what the whole log tells."""
        self.resumed += 1
        told = [
            (log.last_index, log.last_digest, log.next_sequence, log.last_time_ns, log.state_at(log.last_index))
            for log, _sessions in (read, resumed)
        ]
        require(told[0] == told[1], f"{name} resumes with {told[1]}, its log says {told[0]}")
        tables = [sessions.committed_state() for _log, sessions in (read, resumed)]
        require(tables[0] == tables[1], f"{name} resumes with {tables[1]}, its log says {tables[0]}")

    def publishes(self, name: str, entry: Entry) -> None:
        """A node publishes an entry."""
        if entry.index <= len(self.log):
            known = self.log[entry.index - 1]
            require(known.data == entry.data, f"{name} publishes another entry {entry.index} than was published before")
            return
        require(entry.index == len(self.log) + 1, f"{name} publishes entry {entry.index} after {len(self.log)}")
        self._check_next(entry)
        self.log.append(entry)

    def _check_next(self, entry: Entry) -> None:
        last = self.log[-1] if self.log else None
        place = f"entry {entry.index}"
        require(entry.previous == (last.digest if last else NO_DIGEST), f"{place} does not link to the one before")
        require(entry.first_sequence == (last.next_sequence if last else 1), f"{place} leaves a gap of messages")
        if last is not None:
            require(entry.time_ns >= last.time_ns, f"{place} goes back in time")
            require(entry.term >= last.term, f"{place} goes back in term")
        if entry.changes_members:
            self.voters = members_in(entry).voters
        for batch in entry.batches():
            require(verify(batch), f"{place} holds a batch of {batch.sender} that is not what its digest says")
            if batch.sender != SEQUENCER:
                self._check_batch(batch, entry.index)
            else:
                require(entry.changes_members, f"{place} holds a batch that somebody sent as the sequencer")

    def _check_batch(self, batch: Batch, index: int) -> None:
        at = self._senders.setdefault(batch.sender, _Sender())
        place = f"batch {batch.number} of {batch.sender} in entry {index}"
        if batch.channel == CONTROL:
            require(batch.incarnation == at.incarnation + 1, f"{place} opens incarnation {batch.incarnation}")
            at.incarnation = batch.incarnation
            return
        require(batch.incarnation == at.incarnation, f"{place} is of incarnation {batch.incarnation}")
        require(batch.number == at.number + 1, f"{place} follows number {at.number}")
        require(batch.previous == at.digest, f"{place} does not follow the batch before it")
        at.number, at.digest = batch.number, batch.digest
        floor = self._floors.pop((batch.sender, batch.number, batch.digest), 0)
        require(index > floor, f"{place} was submitted after entry {floor} was acknowledged")

    # --- clients --------------------------------------------------------------------------------

    def submits(self, sender: str, number: int, digest: bytes) -> None:
        """A sender begins to submit a batch: it comes behind everything that was acknowledged to anyone."""
        self._floors.setdefault((sender, number, digest), self.acknowledged_index)

    def acknowledges(self, index: int) -> None:
        """A sender has seen its batch in the entry at an index."""
        self.acknowledged += 1
        require(index <= len(self.log), f"entry {index} was delivered and never published")
        self.acknowledged_index = max(self.acknowledged_index, index)

    def delivers(self, client: str, expected_index: int, entry: Entry) -> None:
        """A subscriber delivers an entry. A replayer may have it from a journal that notes it as committed, before
        any node came to publish it: from then on it is published like any other.
        """
        require(entry.index == expected_index, f"{client} delivers entry {entry.index}, due is {expected_index}")
        if entry.index == len(self.log) + 1:
            self.publishes(client, entry)
        require(entry.index <= len(self.log), f"{client} delivers entry {entry.index}, which nobody published")
        require(self.log[entry.index - 1].data == entry.data, f"{client} delivers another entry {entry.index}")

    def reads(self, committed_before: int, answer: int) -> None:
        """A read of the committed index was answered."""
        require(answer >= committed_before, f"a read says {answer}, but {committed_before} was committed before it")

    def survives(self, index: int, holders: list[str], voters: list[str]) -> None:
        """The disks of these voters hold a published entry durably."""
        require(
            len(holders) * 2 > len(voters),
            f"entry {index} was published, and of the voters {voters} only {holders} hold it durably",
        )
