"""Plays a transcript of the consensus core: commands, and what each of them must lead to.

    # why this can go wrong, and where it was seen
    group a b c
    elect a
    propose a x
    deliver a->b
    ----
    a -> b: Append after 1/1 commit 1: 2/1
    ...

A command stands at the beginning of a line; the lines between `----` and the next empty line are what it must
print. Nothing happens by itself: messages wait until they are delivered, entries and ballots until `persist`
where a node is told to `hold` its disk. Invariants are checked all along, whatever the transcript expects.
With REWRITE=1 in the environment the expectations are written anew, to be read and judged.

    group a b c [learners d]     nodes, and learners that stay ones     log a 1 1 2      its entries, by term, at first
    term a 3                     the term that it has heard of
    elect a                      time a out until it campaigns, and deliver what follows, to all who are up
    tick a MS                    let time pass at a node               pass MS           ... at all nodes
    propose a x                  an entry with one message              read a           ask for the committed index
    deliver a->b [N]             the first, or all, messages waiting    drop a->b        lose all that wait
    again a->b                   deliver a copy of the last delivered   settle           deliver all until all is quiet
    hold a / persist a           keep writes of a back / let them be durable
    crash a / restart a          what was not durable is gone          blank a          its disk is an empty one
    lose a N [UNKNOWN]           its log ends at N, and it is suspect up to where it ended, or further
    cut a b / heal               no messages between them any more      full a / room a  its disk is full / has room
    transfer a b                 hand over                              add a d / remove a d / promote a d / replace a d
    swap a->b                    in the opposite order                  damage a->b      flip a bit of an entry
    burst a N                    N proposals                            count a->b       how many messages wait
    state [a]                    what a node is                         log a            its entries as index/term
    messages                     what waits
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sequencer.envelope import Entry, encode_batch, encode_entry
from sequencer.errors import EnvelopeError
from sequencer.members import Member, Members, members_batch
from sequencer.raft import (
    Append,
    Appended,
    AskVote,
    ChangeMembers,
    Duties,
    Event,
    Log,
    Message,
    Persisted,
    Propose,
    Raft,
    Read,
    Role,
    TimeoutNow,
    Timing,
    Transfer,
    Voted,
)

CLUSTER = bytes(16)
TIMING = Timing(election_ms=100, heartbeat_ms=20)
ROUNDS_MAX = 400


def disk_of(name: str, generation: int = 0) -> bytes:
    """The identity of a node's disk; one for each time that it was replaced."""
    return f"{name}{generation}".encode().ljust(16, b".")


@dataclass
class Node:
    """A node, and what its disk holds."""

    name: str
    raft: Raft | None = None
    term: int = 0
    vote: str = ""
    entries: list[Entry] = field(default_factory=list)
    commit_index: int = 0
    suspect_index: int = 0
    generation: int = 0
    holds: bool = False
    waiting: list[Duties] = field(default_factory=list)
    now_ms: int = 0


class Stage:
    """The nodes of one transcript, and the messages between them."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.queue: list[tuple[str, str, Message]] = []
        self.last: dict[tuple[str, str], Message] = {}
        self.cuts: set[frozenset[str]] = set()
        self.published: dict[int, bytes] = {}
        self.leaders: dict[int, str] = {}
        self.founders = Members.founding(())
        self.told: list[str] = []
        self._tickets = 0
        self._numbers = 0

    def do(self, line: str) -> list[str]:
        """One command; what it prints."""
        self.told = []
        command, *words = line.split()
        if command == "log" and len(words) == 1:
            command = "show_log"
        getattr(self, f"_{command}")(*words)
        return self.told

    # --- setting --------------------------------------------------------------------------------

    def _group(self, *words: str) -> None:
        voters = words[: words.index("learners")] if "learners" in words else words
        learners = words[len(voters) + 1 :]
        members = [Member(name, disk_of(name), voter=name in voters) for name in (*voters, *learners)]
        self.founders = Members.founding(members)
        for name in (*voters, *learners):
            self.nodes[name] = Node(name)
            self._restart(name)

    def _log(self, name: str, *terms: str) -> None:
        node, log = self.nodes[name], Log(self.founders)
        for term in map(int, terms):
            founding = log.last_index == 0
            batches = (
                [members_batch(self.founders)]
                if founding
                else [encode_batch("s", 1, 1, b"%d %d" % (log.last_index, term), count=1)]
            )
            entry = encode_entry(
                batches, cluster=CLUSTER, term=term, index=log.last_index + 1, first_sequence=log.next_sequence,
                time_ns=0, previous=log.last_digest, changes_members=founding,
            )  # fmt: skip
            log.append(entry)
            node.entries.append(entry)
        node.term = max(map(int, terms))
        self._restart(name)

    def _term(self, name: str, term: str) -> None:
        self.nodes[name].term = int(term)
        self._restart(name)

    def _restart(self, name: str) -> None:
        node = self.nodes[name]
        node.waiting, node.holds = [], False
        node.raft = Raft(
            name,
            disk_of(name, node.generation),
            cluster=CLUSTER,
            log=Log.of(self.founders, node.entries, lambda first, _bytes: [e.data for e in node.entries[first - 1 :]]),
            term=node.term,
            voted_for=node.vote,
            commit_index=min(node.commit_index, len(node.entries)),
            suspect_index=node.suspect_index,
            timing=TIMING,
            now_ms=node.now_ms,
        )

    def _crash(self, name: str) -> None:
        self.nodes[name].raft = None
        self.nodes[name].waiting = []

    def _blank(self, name: str) -> None:
        node = self.nodes[name]
        self.nodes[name] = Node(name, generation=node.generation + 1, now_ms=node.now_ms)
        self._restart(name)

    def _lose(self, name: str, index: str, unknown: str = "") -> None:
        node = self.nodes[name]
        node.suspect_index = 1 << 63 if unknown else len(node.entries)
        del node.entries[int(index) :]
        node.commit_index = min(node.commit_index, int(index))
        self._restart(name)

    def _cut(self, one: str, other: str) -> None:
        self.cuts.add(frozenset((one, other)))

    def _heal(self) -> None:
        self.cuts.clear()

    # --- time and input -------------------------------------------------------------------------

    def _tick(self, name: str, passed_ms: str) -> None:
        self.nodes[name].now_ms += int(passed_ms)
        self._step(name)

    def _pass(self, passed_ms: str) -> None:
        for name in self.nodes:
            self._tick(name, passed_ms)

    def _elect(self, name: str) -> None:
        for _ in range(40):
            node = self.nodes[name]
            if node.raft.role is Role.LEADER:
                break
            for other in self.nodes.values():
                other.now_ms += 100 if other.name == name else 0
                # Whoever votes must have missed its leader for as long as the candidate did.
                if other.raft is not None and other.name != name and other.raft.role is not Role.LEADER:
                    other.raft.contact_ms = min(other.raft.contact_ms, other.now_ms - 1000)
            self._step(name)
            self._settle()
        self._state(name)

    def _propose(self, name: str, text: str) -> None:
        raft = self.nodes[name].raft
        if raft.role is not Role.LEADER:
            self.told.append(f"{name} does not lead")
            return
        self._numbers += 1
        self._step(name, Propose([encode_batch("s", 1, self._numbers, text.encode(), count=1)], 0))

    def _read(self, name: str) -> None:
        self._tickets += 1
        self._step(name, Read(self._tickets))

    def _transfer(self, name: str, to: str) -> None:
        why = self.nodes[name].raft.why_not_transfer(to)
        self.told += [f"refused: {why}"] if why else []
        self._step(name, Transfer(to))

    def _add(self, name: str, new: str) -> None:
        if new not in self.nodes:
            self.nodes[new] = Node(new, now_ms=self.nodes[name].now_ms)
            self._restart(new)
        self._replace(name, new)

    def _replace(self, name: str, new: str) -> None:
        disk = disk_of(new, self.nodes[new].generation)
        self._change(name, lambda group: group.with_member(Member(new, disk, voter=False, joining=True)))

    def _learner(self, name: str, new: str) -> None:
        self.nodes[new] = Node(new, now_ms=self.nodes[name].now_ms)
        self._restart(new)
        self._change(name, lambda group: group.with_member(Member(new, disk_of(new), voter=False)))

    def _promote(self, name: str, learner: str) -> None:
        self._change(name, lambda group: group.promoted(learner))

    def _remove(self, name: str, gone: str) -> None:
        self._change(name, lambda group: group.without(gone))

    def _change(self, name: str, change: object) -> None:
        raft = self.nodes[name].raft
        members = change(raft.members)
        why = raft.why_not_change(members)
        self.told += [f"refused: {why}"] if why else []
        self._step(name, ChangeMembers(members))

    def _full(self, name: str) -> None:
        self.nodes[name].raft.fit = False
        self._step(name)

    def _room(self, name: str) -> None:
        self.nodes[name].raft.fit = True
        self._step(name)

    # --- messages -------------------------------------------------------------------------------

    def _deliver(self, route: str, count: str = "0") -> None:
        source, to = route.split("->")
        waiting = [item for item in self.queue if item[:2] == (source, to)]
        for item in waiting[: int(count) or None]:
            self.queue.remove(item)
            self._arrive(*item)

    def _drop(self, route: str) -> None:
        source, to = route.split("->")
        self.queue = [item for item in self.queue if item[:2] != (source, to)]

    def _again(self, route: str) -> None:
        source, to = route.split("->")
        self._arrive(source, to, self.last[source, to])

    def _settle(self) -> None:
        for _ in range(ROUNDS_MAX):
            if not self.queue:
                return
            self._arrive(*self.queue.pop(0))
        raise AssertionError(f"the nodes do not come to rest: {self.queue[:3]}")

    def _arrive(self, source: str, to: str, message: Message) -> None:
        self.last[source, to] = message
        node = self.nodes.get(to)
        if node is not None and node.raft is not None and frozenset((source, to)) not in self.cuts:
            self._step(to, message)

    def _swap(self, route: str) -> None:
        source, to = route.split("->")
        places = [place for place, item in enumerate(self.queue) if item[:2] == (source, to)]
        swapped = [self.queue[place] for place in reversed(places)]
        for place, item in zip(places, swapped, strict=True):
            self.queue[place] = item

    def _damage(self, route: str) -> None:
        source, to = route.split("->")
        message = next(item[2] for item in self.queue if item[:2] == (source, to) and getattr(item[2], "entries", ()))
        message.entries[0] = message.entries[0][:-1] + bytes([message.entries[0][-1] ^ 1])

    def _burst(self, name: str, count: str) -> None:
        for number in range(int(count)):
            self._propose(name, str(number))

    def _count(self, route: str) -> None:
        source, to = route.split("->")
        self.told.append(f"{sum(item[:2] == (source, to) for item in self.queue)} messages wait")

    def _messages(self) -> None:
        self.told += [f"{source} -> {to}: {words(message)}" for source, to, message in self.queue]

    # --- duties ---------------------------------------------------------------------------------

    def _hold(self, name: str) -> None:
        self.nodes[name].holds = True

    def _persist(self, name: str) -> None:
        node = self.nodes[name]
        node.holds, waiting = False, node.waiting
        node.waiting = []
        for duties in waiting:
            self._write(node, duties)

    def _step(self, name: str, event: Event | None = None) -> None:
        node = self.nodes[name]
        if node.raft is None:
            return
        before = node.raft.role
        try:
            duties = node.raft.step(node.now_ms, event)
        except EnvelopeError:
            self.told.append(f"{name} finds damage, and takes nothing of it")
            return
        if node.raft.role is Role.LEADER:
            first = self.leaders.setdefault(node.raft.term, name)
            assert first == name, f"{first} and {name} both lead term {node.raft.term}"
        if before is not node.raft.role and Role.LEADER in (before, node.raft.role):
            verb = "leads" if node.raft.role is Role.LEADER else "no longer leads"
            self.told.append(f"{name} {verb} (term {node.raft.term})")
        self._fulfil(node, duties)

    def _fulfil(self, node: Node, duties: Duties) -> None:
        if node.holds:
            for entry in duties.committed:  # what waits for the disk holds up no publishing
                self._publish(node, entry)
            duties.committed = []
            if duties.ballot is None and not duties.entries and duties.truncate_after is None and not node.waiting:
                self._write(node, duties)
                return
            self._send(node, duties.appends if duties.ballot is None else [])
            node.waiting.append(duties if duties.ballot is not None else _without_appends(duties))
            return
        self._write(node, duties)

    def _write(self, node: Node, duties: Duties) -> None:
        if duties.ballot is not None:
            node.term, node.vote = duties.ballot
        self._send(node, duties.appends)
        if duties.truncate_after is not None:
            del node.entries[duties.truncate_after :]
        node.entries += duties.entries
        node.commit_index = min(max(node.commit_index, node.raft.commit_index), len(node.entries))
        node.suspect_index = node.raft.suspect_index
        self._send(node, duties.replies)
        for entry in duties.committed:
            self._publish(node, entry)
        self._send(node, duties.notices)
        self.told += [
            f"{node.name} answers the read: {f'committed up to {index}' if index >= 0 else 'it lost the lead'}"
            for _ticket, index in duties.reads
        ]
        if duties.entries:
            self._step(node.name, Persisted(duties.entries[-1].index))

    def _publish(self, node: Node, entry: Entry) -> None:
        known = self.published.setdefault(entry.index, entry.data)
        assert known == entry.data, f"{node.name} publishes another entry {entry.index} than was published before"
        durable = len(node.entries) >= entry.index and node.entries[entry.index - 1].data == entry.data
        assert durable, f"{node.name} publishes entry {entry.index}, which is not on its disk"

    def _send(self, node: Node, messages: list[tuple[str, Message]]) -> None:
        for to, message in messages:
            promised = getattr(message, "term", 0)
            probing = isinstance(message, AskVote | Voted) and message.probe
            assert probing or promised <= node.term, f"{node.name} speaks in term {promised} before its ballot is saved"
            if frozenset((node.name, to)) not in self.cuts:
                self.queue.append((node.name, to, message))

    # --- looking --------------------------------------------------------------------------------

    def _state(self, *names: str) -> None:
        for name in names or self.nodes:
            raft = self.nodes[name].raft
            if raft is None:
                self.told.append(f"{name}: down")
                continue
            self.told.append(f"{name}: {_standing(raft)}" + ("" if raft.members == self.founders else _group(raft)))

    def _show_log(self, name: str) -> None:
        log = self.nodes[name].raft.log
        self.told.append(" ".join(f"{index}/{log.term_at(index)}" for index in range(1, log.last_index + 1)))


def _standing(raft: Raft) -> str:
    led = f" of {raft.leader}" if raft.role is Role.FOLLOWER and raft.leader else ""
    vote = f" vote {raft.voted_for}" if raft.voted_for else ""
    doubt = " suspect" if raft.suspect_index else ""
    last = f"last {raft.log.last_index}/{raft.log.last_term} durable {raft.persisted_index}"
    return f"{raft.role.value}{led} term {raft.term}{vote} {last} committed {raft.commit_index}{doubt}"


def _group(raft: Raft) -> str:
    return f" group {' '.join(map(_part, raft.members.all))}"


def _without_appends(duties: Duties) -> Duties:
    duties.appends = []
    return duties


def _part(member: Member) -> str:
    return member.name if member.voter else f"({member.name})"


def words(message: Message) -> str:
    """A message in a few words."""
    match message:
        case Append():
            held = [int.from_bytes(data[40:48], "little") for data in message.entries]
            terms = [int.from_bytes(data[32:40], "little") for data in message.entries]
            entries = " ".join(f"{index}/{term}" for index, term in zip(held, terms, strict=True)) or "nothing"
            after = f"{message.prev_index}/{message.prev_term}"
            return f"Append term {message.term} after {after} committed {message.commit_index}: {entries}"
        case Appended():
            doubt = "" if message.vouches else " without vouching"
            verdict = "holds" if message.accepted else "rejects, try"
            return f"Appended term {message.term} {verdict} {message.match_index}{doubt}"
        case AskVote():
            kind = "AskPreVote" if message.probe else "AskVote"
            return f"{kind} term {message.term} last {message.last_index}/{message.last_term}"
        case Voted():
            kind = "PreVoted" if message.probe else "Voted"
            return f"{kind} term {message.term} {'yes' if message.granted else 'no'}"
        case TimeoutNow():
            return f"TimeoutNow term {message.term}"
    raise AssertionError(message)


def play(text: str) -> str:
    """The transcript as it went: the same text, with what was printed in place of what was expected."""
    stage, out = Stage(), []
    for block in _blocks(text):
        out += block.head
        if block.command:
            told = stage.do(block.command)
            out += ["----", *told, ""] if told else []
    return "\n".join(out).rstrip() + "\n"


@dataclass
class _Block:
    head: list[str]
    command: str = ""


def _blocks(text: str) -> Iterator[_Block]:
    """Comments as they are; each command with its expectation taken off."""
    expected = False
    for line in text.splitlines():
        if expected:
            expected = bool(line.strip())
        elif line == "----":
            expected = True
        elif line.startswith("#") or not line.strip():
            yield _Block([line])
        else:
            yield _Block([line], line)
