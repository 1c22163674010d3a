"""A whole group on a virtual clock, network and disk, driven by one seed.

The consensus core and the log are the real ones. The network loses, repeats, delays and reorders, and
links are cut; nodes crash between any two duties, keep what they had made durable, and come back.
Checked all along: one leader a term, and no published entry that ever differs or vanishes.
"""

import random

from sequencer.envelope import Batch, Entry, encode_batch
from sequencer.members import Member, Members
from sequencer.raft import Duties, Log, Persisted, Propose, Raft, Role

CLUSTER = bytes(16)
STEP_MS = 5


class Disk:
    """What survives a crash."""

    def __init__(self):
        self.entries: list[Entry] = []
        self.ballot = (0, "")
        self.commit = 0

    def read(self, first, bytes_max):
        """Encoded entries, as a journal gives them."""
        found, size = [], 0
        for entry in self.entries[first - 1 :]:
            if found and size + len(entry.data) > bytes_max:
                break
            found.append(entry.data)
            size += len(entry.data)
        return found


class Crash(Exception):
    """The node stops between two duties."""


class Cluster:
    """Nodes `a`, `b`, `c`, ... and the messages between them."""

    def __init__(self, seed, size=3, loss=0.0, crash=0.0):
        self.random = random.Random(seed)
        self.names = [chr(ord("a") + i) for i in range(size)]
        self.founders = Members.founding(Member(name, name.encode() * 16) for name in self.names)
        self.loss, self.crash = loss, crash
        self.now_ms = 0
        self.disks = {name: Disk() for name in self.names}
        self.nodes: dict[str, Raft | None] = {}
        self.wire: list[tuple[int, str, str, object]] = []
        self.cut: set[tuple[str, str]] = set()
        self.published: dict[int, bytes] = {}
        self.leaders: dict[int, str] = {}
        self.proposed = 0
        for name in self.names:
            self.start(name)

    def start(self, name):
        """Start a node from its disk."""
        disk = self.disks[name]
        term, vote = disk.ballot
        self.nodes[name] = Raft(
            name,
            name.encode() * 16,
            cluster=CLUSTER,
            log=Log.of(self.founders, disk.entries, disk.read),
            term=term,
            voted_for=vote,
            commit_index=min(disk.commit, len(disk.entries)),
            seed=self.random.randrange(1 << 30),
            now_ms=self.now_ms,
        )

    def step(self, name, event=None):
        """Step a node and fulfil what it owes, unless it crashes in between."""
        node = self.nodes[name]
        if node is None:
            return
        try:
            self._fulfil(name, node, node.step(self.now_ms, event))
        except Crash:
            self.nodes[name] = None
            return
        if node.role is Role.LEADER:
            assert self.leaders.setdefault(node.term, name) == name, f"two leaders in term {node.term}"

    def run(self, until_ms):
        """Let virtual time pass."""
        while self.now_ms < until_ms:
            self.now_ms += STEP_MS
            due = [item for item in self.wire if item[0] <= self.now_ms]
            self.wire = [item for item in self.wire if item[0] > self.now_ms]
            self.random.shuffle(due)
            for _at, sender, to, message in due:
                if (sender, to) not in self.cut:
                    self.step(to, message)
            for name in self.names:
                self.step(name)

    def propose(self, name):
        """Have a leader propose one batch; others do not."""
        node = self.nodes[name]
        if node is not None and node.role is Role.LEADER:
            self.proposed += 1
            self.step(name, Propose([self._batch()], self.now_ms * 1_000_000))

    @property
    def leader(self):
        """The node that leads in the highest term, if any."""
        leaders = [node for node in self.nodes.values() if node and node.role is Role.LEADER]
        return max(leaders, key=lambda node: node.term).name if leaders else None

    def chaos(self, steps):
        """Do random things for a while."""
        for _ in range(steps):
            self.run(self.now_ms + self.random.choice((STEP_MS, 20, 60, 200)))
            name = self.random.choice(self.names)
            match self.random.randrange(16):
                case 0:
                    self.nodes[name] = None
                case 1:
                    self.cut.add((name, self.random.choice(self.names)))
                case 2 | 3:
                    self.cut.clear()
                case 4 | 5 | 6:
                    for down in [name for name, node in self.nodes.items() if node is None]:
                        self.start(down)
                case _:
                    for leader in [name for name, node in self.nodes.items() if node and node.role is Role.LEADER]:
                        self.propose(leader)

    def heal(self):
        """Switch all faults off, and let the group settle."""
        self.cut.clear()
        self.loss = self.crash = 0.0
        for name in self.names:
            if self.nodes[name] is None:
                self.start(name)
        self.run(self.now_ms + 3000)

    def _batch(self) -> Batch:
        return encode_batch("test", 1, self.proposed, b"x" * self.random.randrange(200), count=1)

    def _fulfil(self, name, node: Raft, duties: Duties):
        disk = self.disks[name]
        if duties.ballot is not None:
            self._maybe_crash()
            disk.ballot = duties.ballot
        self._send(name, duties.appends)
        if duties.truncate_after is not None:
            del disk.entries[duties.truncate_after :]
        if duties.entries:
            self._maybe_crash()
            disk.entries += duties.entries
            disk.commit = node.commit_index
            self._maybe_crash()
        self._send(name, duties.replies)
        for entry in duties.committed:
            assert self.published.setdefault(entry.index, entry.data) == entry.data, f"entry {entry.index} differs"
            assert disk.entries[entry.index - 1].data == entry.data, f"entry {entry.index} is not durable"
        self._send(name, duties.notices)
        if duties.entries:
            self._fulfil(name, node, node.step(self.now_ms, Persisted(duties.entries[-1].index)))

    def _send(self, sender, messages):
        for to, message in messages:
            for _ in range(self.random.choice((1, 1, 1, 2)) if self.loss else 1):
                if self.random.random() >= self.loss:
                    delay = self.random.choice((0, 0, 5, 10, 80)) if self.loss else 0
                    self.wire.append((self.now_ms + delay, sender, to, message))

    def _maybe_crash(self):
        if self.crash and self.random.random() < self.crash:
            raise Crash
