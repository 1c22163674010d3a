"""The nodes of a transcript, and what happens between them: the mechanics under the words.

    step(node, event) --> Orderer --Duties--> disk, or held back --> messages that wait, published entries

Every node is a real `Orderer` around a real `Raft`; disks, wires and clocks are in memory, and nothing happens by
itself. What must never be is checked all along, whatever a transcript expects: one leader a term, a ballot saved
before it is spoken of, nothing published that is not on the node's own disk, no entry published in two versions,
the chain rule, and time that never goes back.
"""

from dataclasses import dataclass, field

from sequencer.clock import SequencedClock
from sequencer.config import LimitsConfig
from sequencer.envelope import CONTROL, NO_DIGEST, Batch, Entry
from sequencer.errors import EnvelopeError
from sequencer.members import SEQUENCER, Members
from sequencer.ordering import Orderer
from sequencer.raft import AskVote, Cleared, Duties, Event, Log, Message, Persisted, Raft, Role, Timing, Voted
from sequencer.sessions import Position, Sessions

CLUSTER = bytes(16)
TIMING = Timing(election_ms=100, heartbeat_ms=20)
ROUNDS_MAX = 400
NOON_NS = 1_000_000 * 1_000_000_000
"""What a right wall clock shows when a transcript begins, or says `noon`."""
COMMANDS, ENGINES = 1, 2
"""The channel of plain senders, and that of senders whose name begins with `engine`, which a full node serves."""


def disk_of(name: str, generation: int = 0) -> bytes:
    """The identity of a node's disk; one for each time that it was replaced."""
    return f"{name}{generation}".encode().ljust(16, b".")


@dataclass
class Node:
    """A node, what its disk holds, and its host's clocks."""

    name: str
    orderer: Orderer | None = None
    term: int = 0
    vote: str = ""
    entries: list[Entry] = field(default_factory=list)
    commit_index: int = 0
    suspect_index: int = 0
    generation: int = 0
    holds: bool = False
    stopped: bool = False
    waiting: list[Duties] = field(default_factory=list)
    now_ms: int = 0
    noon_ms: int = 0
    wall_error_ms: int = 0
    published: list[Entry] = field(default_factory=list)
    """By this process, since it started."""

    @property
    def raft(self) -> Raft | None:
        """Its consensus core, while it is up."""
        return self.orderer.raft if self.orderer is not None else None

    @property
    def wall_ns(self) -> int:
        """What its host takes for the time."""
        return NOON_NS + (self.now_ms - self.noon_ms + self.wall_error_ms) * 1_000_000

    @property
    def monotonic_ns(self) -> int:
        """Its host's other clock."""
        return self.now_ms * 1_000_000

    def start(self, founders: Members) -> None:
        """Start a process on what the disk holds."""
        self.waiting, self.holds, self.stopped, self.published = [], False, False, []
        log, sessions = Log(founders, lambda first, _bytes: [e.data for e in self.entries[first - 1 :]]), Sessions()
        for entry in self.entries:
            log.append(entry)
            sessions.append(entry.index, entry.batches())
        sessions.commit(self.commit_index)
        raft = Raft(
            self.name,
            disk_of(self.name, self.generation),
            cluster=CLUSTER,
            log=log,
            term=self.term,
            voted_for=self.vote,
            commit_index=min(self.commit_index, len(self.entries)),
            suspect_index=self.suspect_index,
            timing=TIMING,
            now_ms=self.now_ms,
        )
        clock = SequencedClock(log.last_time_ns, self.wall_ns, self.monotonic_ns)
        self.orderer = Orderer(raft, sessions, clock, channels_of, LimitsConfig())


def channels_of(sender: str) -> frozenset[int]:
    """Where a sender may speak."""
    return frozenset({ENGINES if sender.startswith("engine") else COMMANDS})


class Stage:
    """The nodes of one transcript, and the messages between them. `told` is what the command in hand prints."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.queue: list[tuple[str, str, Message]] = []
        self.last: dict[tuple[str, str], Message] = {}
        self.cuts: set[frozenset[str]] = set()
        self.founders = Members.founding(())
        self.sealed: dict[bytes, str] = {}
        """What each batch of a transcript's senders is called, by digest."""
        self.told: list[str] = []
        self._leaders: dict[int, str] = {}
        self._published: dict[int, Entry] = {}
        self._chains: dict[str, Position] = {}

    # --- one node -------------------------------------------------------------------------------

    def step(self, name: str, event: Event | None = None) -> None:
        """Let a node's time pass to its host's, and take an event."""
        node = self.nodes[name]
        if node.orderer is not None and not node.stopped:
            self.do(node, lambda orderer: orderer.step(node.now_ms, event))

    def turn(self, name: str) -> None:
        """Let a node make one entry of all that waits."""
        node = self.nodes[name]
        self.do(node, lambda orderer: orderer.propose(node.now_ms, node.wall_ns, node.monotonic_ns))

    def do(self, node: Node, act: object) -> None:
        """Let a node act, and fulfil what it owes for it."""
        orderer = node.orderer
        before = orderer.raft.role
        try:
            act(orderer)
        except EnvelopeError:
            self.told.append(f"{node.name} finds damage, and takes nothing of it")
            return
        self._note_lead(node, before)
        duties, orderer.owed = orderer.owed, Duties()
        self._fulfil(node, duties)

    def _note_lead(self, node: Node, before: Role) -> None:
        raft = node.raft
        if raft.role is Role.LEADER:
            first = self._leaders.setdefault(raft.term, node.name)
            assert first == node.name, f"{first} and {node.name} both lead term {raft.term}"
        if before is not raft.role and Role.LEADER in (before, raft.role):
            verb = "leads" if raft.role is Role.LEADER else "no longer leads"
            self.told.append(f"{node.name} {verb} (term {raft.term})")

    # --- between nodes --------------------------------------------------------------------------

    def arrive(self, source: str, to: str, message: Message) -> None:
        """A message has come; it is lost where nobody is there, or the link is cut."""
        self.last[source, to] = message
        node = self.nodes.get(to)
        if node is not None and node.raft is not None and frozenset((source, to)) not in self.cuts:
            self.step(to, message)

    def settle(self) -> None:
        """Deliver messages in the order in which they were sent, until none waits but for nodes that stand still."""
        for _ in range(ROUNDS_MAX):
            item = next((item for item in self.queue if not self._stands_still(item[1])), None)
            if item is None:
                return
            self.queue.remove(item)
            self.arrive(*item)
        raise AssertionError(f"the nodes do not come to rest: {self.queue[:3]}")

    def _stands_still(self, name: str) -> bool:
        return name in self.nodes and self.nodes[name].stopped

    def send(self, node: Node, messages: list[tuple[str, Message]]) -> None:
        """Let messages wait for their delivery."""
        for to, message in messages:
            promised = getattr(message, "term", 0)
            probing = isinstance(message, AskVote | Voted) and message.probe
            assert probing or promised <= node.term, f"{node.name} speaks in term {promised} before its ballot is saved"
            if frozenset((node.name, to)) not in self.cuts:
                self.queue.append((node.name, to, message))

    # --- duties ---------------------------------------------------------------------------------

    def persist(self, node: Node) -> None:
        """Let all that was held back be durable."""
        node.holds, waiting = False, node.waiting
        node.waiting = []
        for duties in waiting:
            self._write(node, duties)

    def _fulfil(self, node: Node, duties: Duties) -> None:
        if not node.holds:
            self._write(node, duties)
            return
        for entry in duties.committed:  # what waits for the disk holds up no publishing
            self._publish(node, entry)
        duties.committed = []
        writes = duties.ballot is not None or duties.entries or duties.truncate_after is not None or duties.covered
        if not writes and not node.waiting:
            self._write(node, duties)
            return
        if duties.ballot is None:
            self.send(node, duties.appends)
            duties.appends = []
        node.waiting.append(duties)

    def _write(self, node: Node, duties: Duties) -> None:
        if duties.ballot is not None:
            node.term, node.vote = duties.ballot
        self.send(node, duties.appends)
        if duties.truncate_after is not None:
            del node.entries[duties.truncate_after :]
        node.entries += duties.entries
        node.commit_index = min(max(node.commit_index, node.raft.commit_index), len(node.entries))
        self.send(node, duties.replies)
        for entry in duties.committed:
            self._publish(node, entry)
        self.send(node, duties.notices)
        self.told += [
            f"{node.name} answers the read: {f'committed up to {index}' if index >= 0 else 'it lost the lead'}"
            for _ticket, index in duties.reads
        ]
        if duties.entries:
            self.step(node.name, Persisted(duties.entries[-1].index))
        if duties.covered and node.raft.fit:
            node.suspect_index = 0
            self.step(node.name, Cleared())

    def _publish(self, node: Node, entry: Entry) -> None:
        durable = len(node.entries) >= entry.index and node.entries[entry.index - 1].data == entry.data
        assert durable, f"{node.name} publishes entry {entry.index}, which is not on its disk"
        node.published.append(entry)
        known = self._published.setdefault(entry.index, entry)
        assert known.data == entry.data, f"{node.name} publishes another entry {entry.index} than was published before"
        if known is not entry:
            return
        before = self._published.get(entry.index - 1)
        assert before is None or before.time_ns <= entry.time_ns, f"entry {entry.index} goes back in time"
        for batch in entry.batches():
            if batch.digest in self.sealed or (batch.channel == CONTROL and batch.sender != SEQUENCER):
                self._check_chain(batch)

    def _check_chain(self, batch: Batch) -> None:
        """The chain rule once more, in its plainest form: by what was published, and nothing else."""
        at = self._chains.get(batch.sender, Position(0, 0, NO_DIGEST))
        what = f"{self.sealed.get(batch.digest, batch.sender)} is in the log behind {at}"
        if batch.channel == CONTROL:
            assert batch.incarnation == at.incarnation + 1, what
            self._chains[batch.sender] = Position(batch.incarnation, at.number, at.digest)
            return
        follows = (batch.incarnation, batch.number, batch.previous) == (at.incarnation, at.number + 1, at.digest)
        assert follows, what
        self._chains[batch.sender] = Position(at.incarnation, batch.number, batch.digest)
