"""Words for the group and its log: who is there, what fails, who leads, what the nodes say to each other."""

from collections.abc import Callable

from msgspec.structs import replace

from sequencer.envelope import encode_batch, encode_entry
from sequencer.members import Member, Members, members_batch
from sequencer.raft import Appended, ChangeMembers, Gone, Log, Propose, Read, Role, Transfer
from tests.scenarios import looks
from tests.scenarios.stage import CLUSTER, Node, Stage, disk_of


class Setting:
    """Who is there, and what fails."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def group(self, *words: str) -> None:
        """Nodes, and learners that stay ones."""
        stage = self._stage
        voters = words[: words.index("learners")] if "learners" in words else words
        learners = words[len(voters) + 1 :]
        members = [Member(name, disk_of(name), voter=name in voters) for name in (*voters, *learners)]
        stage.founders = Members.founding(members)
        for name in (*voters, *learners):
            stage.nodes[name] = Node(name)
            self.restart(name)

    def log(self, name: str, *terms: str) -> None:
        """A node's entries, by term; without terms: print them."""
        if not terms:
            log = self._stage.nodes[name].raft.log
            told = " ".join(f"{index}/{log.term_at(index)}" for index in range(1, log.last_index + 1))
            self._stage.told.append(told)
            return
        node, log = self._stage.nodes[name], Log(self._stage.founders)
        for term in map(int, terms):
            founding = log.last_index == 0
            batches = (
                [members_batch(self._stage.founders)]
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
        self.restart(name)

    def term(self, name: str, term: str) -> None:
        """The term that a node has heard of."""
        self._stage.nodes[name].term = int(term)
        self.restart(name)

    def restart(self, name: str) -> None:
        """Start a node's process on what its disk holds."""
        self._stage.nodes[name].start(self._stage.founders)

    def crash(self, name: str) -> None:
        """What was not durable is gone."""
        self._stage.nodes[name].orderer = None
        self._stage.nodes[name].waiting = []

    def blank(self, name: str) -> None:
        """A node comes back with an empty disk."""
        node = self._stage.nodes[name]
        self._stage.nodes[name] = Node(name, generation=node.generation + 1, now_ms=node.now_ms)
        self.restart(name)

    def lose(self, name: str, index: str, unknown: str = "") -> None:
        """Its log ends there, and it is suspect up to where it ended, or further."""
        node = self._stage.nodes[name]
        node.suspect_index = 1 << 63 if unknown else len(node.entries)
        del node.entries[int(index) :]
        node.commit_index = min(node.commit_index, int(index))
        self.restart(name)

    def cut(self, one: str, other: str) -> None:
        """No messages between them any more."""
        self._stage.cuts.add(frozenset((one, other)))

    def heal(self) -> None:
        """All links are back."""
        self._stage.cuts.clear()

    def full(self, name: str) -> None:
        """Its disk is full."""
        self._stage.nodes[name].raft.fit = False
        self._stage.step(name)

    def room(self, name: str) -> None:
        """Its disk has room again."""
        self._stage.nodes[name].raft.fit = True
        self._stage.step(name)

    def stop(self, name: str) -> None:
        """Its process stands still (SIGSTOP): time passes without it, and what comes waits for it."""
        self._stage.nodes[name].stopped = True

    def wake(self, name: str) -> None:
        """It goes on."""
        self._stage.nodes[name].stopped = False

    def hold(self, name: str) -> None:
        """Keep writes of a node back."""
        self._stage.nodes[name].holds = True

    def persist(self, name: str) -> None:
        """Let them be durable."""
        self._stage.persist(self._stage.nodes[name])


class Wishes:
    """What is asked of the nodes, and what they are."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._tickets = 0
        self._numbers = 0

    def tick(self, name: str, passed_ms: str) -> None:
        """Let time pass at a node."""
        self._stage.nodes[name].now_ms += int(passed_ms)
        self._stage.step(name)

    def pass_(self, passed_ms: str) -> None:
        """Let time pass at all nodes."""
        for name in self._stage.nodes:
            self.tick(name, passed_ms)

    def live(self, passed_ms: str) -> None:
        """Let time pass at all nodes by 10 ms at a time, and deliver everything at once."""
        for _ in range(int(passed_ms) // 10):
            self.pass_("10")
            self._stage.settle()

    def elect(self, name: str) -> None:
        """Time a node out until it campaigns, and deliver what follows, to all who are up."""
        stage = self._stage
        node = stage.nodes[name]
        for _ in range(40):
            if node.raft.role is Role.LEADER:
                break
            node.now_ms += 100
            for other in stage.nodes.values():
                # Whoever votes must have missed its leader for as long as the candidate did.
                if other.raft is not None and other is not node and other.raft.role is not Role.LEADER:
                    other.raft.contact_ms = min(other.raft.contact_ms, other.now_ms - 1000)
            stage.step(name)
            stage.settle()
        self.state(name)

    def propose(self, name: str, text: str) -> None:
        """An entry with one message."""
        if self._stage.nodes[name].raft.role is not Role.LEADER:
            self._stage.told.append(f"{name} does not lead")
            return
        self._numbers += 1
        self._stage.step(name, Propose([encode_batch("s", 1, self._numbers, text.encode(), count=1)], 0))

    def burst(self, name: str, count: str) -> None:
        """So many of them."""
        for number in range(int(count)):
            self.propose(name, str(number))

    def read(self, name: str) -> None:
        """Ask for the committed index."""
        self._tickets += 1
        self._stage.step(name, Read(self._tickets))

    def gone(self, name: str, peer: str) -> None:
        """A node sees the connection of another one close."""
        self._stage.step(name, Gone(peer))

    def transfer(self, name: str, to: str, term: str = "") -> None:
        """Hand over; as it was asked for in an earlier term, if one is given."""
        raft = self._stage.nodes[name].raft
        why_not = raft.why_not_transfer(to, int(term) if term else raft.term)
        self._refused(why_not)
        if not why_not or not term:
            self._stage.step(name, Transfer(to))

    def add(self, name: str, new: str) -> None:
        """Take a new node in: a learner that is to become a voter."""
        self._appear(name, new)
        self.replace(name, new)

    def replace(self, name: str, new: str) -> None:
        """Take a node in with the disk that it has now."""
        disk = disk_of(new, self._stage.nodes[new].generation)
        self._change(name, lambda group: group.with_member(Member(new, disk, voter=False, joining=True)))

    def learner(self, name: str, new: str) -> None:
        """Take a new node in as a learner that stays one."""
        self._appear(name, new)
        self._change(name, lambda group: group.with_member(Member(new, disk_of(new), voter=False)))

    def promote(self, name: str, learner: str) -> None:
        """Make a learner a voter."""
        self._change(name, lambda group: group.promoted(learner))

    def remove(self, name: str, gone: str) -> None:
        """Let a node be no member any more."""
        self._change(name, lambda group: group.without(gone))

    def state(self, *names: str) -> None:
        """What nodes are."""
        for name in names or self._stage.nodes:
            raft = self._stage.nodes[name].raft
            if raft is None:
                self._stage.told.append(f"{name}: down")
                continue
            changed = "" if raft.members == self._stage.founders else looks.group(raft)
            self._stage.told.append(f"{name}: {looks.standing(raft)}{changed}")

    def contact(self, name: str) -> None:
        """How long ago a node last heard: of a quorum, if it leads, or else of its leader."""
        node = self._stage.nodes[name]
        self._stage.told.append(f"{name}: contact {node.now_ms - node.raft.contact_ms} ms ago")

    def _appear(self, name: str, new: str) -> None:
        if new not in self._stage.nodes:
            self._stage.nodes[new] = Node(new, now_ms=self._stage.nodes[name].now_ms)
            self._stage.nodes[new].start(self._stage.founders)

    def _change(self, name: str, change: Callable[[Members], Members]) -> None:
        raft = self._stage.nodes[name].raft
        members = change(raft.members)
        self._refused(raft.why_not_change(members))
        self._stage.step(name, ChangeMembers(members))

    def _refused(self, why: str) -> None:
        self._stage.told += [f"refused: {why}"] if why else []


class Post:
    """The messages between nodes. A route is `a->b`."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def settle(self) -> None:
        """Deliver all until all is quiet."""
        self._stage.settle()

    def deliver(self, route: str, count: str = "0") -> None:
        """The first, or all, messages waiting."""
        for item in self._waiting(route)[: int(count) or None]:
            self._stage.queue.remove(item)
            self._stage.arrive(*item)

    def drop(self, route: str) -> None:
        """Lose all that wait."""
        gone = self._waiting(route)
        self._stage.queue = [item for item in self._stage.queue if item not in gone]

    def again(self, route: str) -> None:
        """Deliver a copy of the last delivered."""
        source, to = route.split("->")
        self._stage.arrive(source, to, self._stage.last[source, to])

    def swap(self, route: str) -> None:
        """Turn the order of those that wait around."""
        waiting = self._waiting(route)
        queue = self._stage.queue
        places = [place for place, item in enumerate(queue) if item in waiting]
        for place, item in zip(places, reversed(waiting), strict=True):
            queue[place] = item

    def delay(self, route: str) -> None:
        """The first that waits goes behind all others."""
        first = self._waiting(route)[0]
        self._stage.queue.remove(first)
        self._stage.queue.append(first)

    def damage(self, route: str) -> None:
        """Flip a bit of an entry."""
        damaged = next(item[2] for item in self._waiting(route) if getattr(item[2], "entries", ()))
        damaged.entries[0] = damaged.entries[0][:-1] + bytes([damaged.entries[0][-1] ^ 1])

    def claim(self, route: str, index: str, rounds_on: str = "0") -> None:
        """Let the first answer that waits say that it holds another index, or has heard a later round."""
        said = next(item for item in self._waiting(route) if isinstance(item[2], Appended))
        false = replace(said[2], match_index=int(index), round=said[2].round + int(rounds_on))
        self._stage.queue[self._stage.queue.index(said)] = (*said[:2], false)

    def count(self, route: str) -> None:
        """How many messages wait."""
        self._stage.told.append(f"{len(self._waiting(route))} messages wait")

    def messages(self) -> None:
        """What waits."""
        self._stage.told += [f"{source} -> {to}: {looks.message(said)}" for source, to, said in self._stage.queue]

    def _waiting(self, route: str) -> list[tuple[str, str, object]]:
        source, to = route.split("->")
        return [item for item in self._stage.queue if item[:2] == (source, to)]
