"""One simulated run: a group, its clients, a swarm of faults; then a quiet end in which everything must settle.

    0 ------------- faults, drawn from the seed ------------- | ------- quiet: it has to make progress -------

Real in it: consensus core, chain rule, journal, recovery, ballot box, codecs, Submission, Delivery, the
replayer's log. Not real, and so not tested here: sockets, threads, the operating system, and processes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from sequencer.config import Config
from sequencer.durable import read_all
from sequencer.journal import BallotBox, Journal, verify
from sequencer.raft import ChangeMembers, Role
from tests.models.faulty_disk import FaultyDisk
from tests.simulation.checks import Checks, ViolationError, require
from tests.simulation.clients import Client, Hostile
from tests.simulation.faults import KINDS
from tests.simulation.hosts import Host
from tests.simulation.network import Network
from tests.simulation.world import MS, Chance, World

CLUSTER = "c1" * 16
QUIET_NS = 12_000 * MS
"""Within this time after the last fault, everything must have settled."""
SLICE_NS = 100 * MS
HEALED = ("loss", "repeat", "reorder", "cut", "isolate", "pause", "crash", "full", "slow", "clock", "bad_sync")

SEGMENT_BYTES = (64 << 10, 12 << 10)
"""Small ones are often begun, and so snapshots are often taken."""
_TOML = """
[venue]
cluster = "{cluster}"
[journal]
segment_bytes = 65536
reserve_bytes = 4096
[timing]
election_ms = 150
heartbeat_ms = 40
[limits]
entry_batches = 8
[channels]
"gateway.*" = [1]
"""
_NODE = """
[[nodes]]
name = "{name}"
ingress = "inproc://{name}.in"
publisher = "inproc://{name}.pub"
replayer = "inproc://{name}.log"
peer = "inproc://{name}.peer"
"""


@dataclass(frozen=True)
class Plan:
    """What a seed draws before anything happens. `skip` leaves faults out by number, to find those that matter."""

    seed: int
    nodes: int
    kinds: tuple[str, ...]
    pace_ms: int
    length_ms: int
    skip: frozenset[int] = frozenset()

    @classmethod
    def of(cls, seed: int, skip: frozenset[int] = frozenset()) -> "Plan":
        """The plan of a seed, without the faults of these numbers."""
        chance = Chance(seed, "plan")
        nodes = chance.pick((1, 3, 3, 3, 3, 3, 5))
        kinds = tuple(kind for kind in KINDS if kind == "mend" or chance.hits(chance.pick((150, 400, 700))))
        length_ms = chance.pick((1200, 1800, 2500, 2500, 4000, 10_000))
        return cls(seed, nodes, kinds, chance.pick((40, 80, 160, 300)), length_ms, skip)


@dataclass
class Outcome:
    """How a run ended."""

    plan: Plan
    failure: str = ""
    virtual_ns: int = 0
    events: int = 0
    entries: int = 0
    acknowledged: int = 0
    resumed: int = 0
    trace: str = ""
    faults: dict[str, int] = field(default_factory=dict)
    fault_numbers: int = 0
    """How many faults were drawn; those that could not be done count."""


class Cluster:
    """A group of nodes with a stranger in reserve, two senders, two readers."""

    def __init__(self, plan: Plan, *, tell: bool = False) -> None:
        self.plan = plan
        self.world = World(plan.seed, tell=tell)
        self.network = Network(self.world)
        self.checks = Checks()
        self.faults: dict[str, int] = {}
        self.drawn = 0
        self._chance = Chance(plan.seed, "cluster")
        names = [chr(ord("a") + place) for place in range(plan.nodes)]
        self.victims = [names[self._chance.below(len(names))] for _ in range((plan.nodes - 1) // 2)]
        """Hosts whose disks may rot or be lost: never as many as would take a majority along."""
        spare = [] if plan.nodes == 1 else ["x"]
        config, disks = _configured(names, spare, Chance(plan.seed, "segments").pick(SEGMENT_BYTES))
        self.hosts = {name: Host(self.world, self.network, self.checks, config, name) for name in (*names, *spare)}
        for name, host in self.hosts.items():
            host.disk = disks.get(name, host.disk)
            host.meet(self.hosts)
            host.start()
        self.clients = [
            Client(self.world, self.network, self.checks, self.hosts, name, sends=sends)
            for name, sends in (("gateway.one", True), ("gateway.two", True), ("reader", False))
        ]
        senders = [client for client in self.clients if client.sends]
        self.hostile = Hostile(self.world, self.network, self.hosts, senders)

    # --- whom a fault hits ----------------------------------------------------------------------

    def any_host(self, chance: Chance) -> Host:
        """One of the hosts."""
        return self.hosts[chance.pick(list(self.hosts))]

    def leader_or(self, chance: Chance) -> Host:
        """Who leads, by the highest term; anyone, if nobody does."""
        leading = [host for host in self.hosts.values() if host.node is not None and host.node.raft.role is Role.LEADER]
        return max(leading, key=lambda host: host.node.raft.term) if leading else self.any_host(chance)

    def victim(self, chance: Chance) -> Host | None:
        """A host that may lose what it holds."""
        return self.hosts[chance.pick(self.victims)] if self.victims else None

    def any_segment(self, chance: Chance) -> tuple[Host, Path | None]:
        """A file of a victim's journal."""
        host = self.victim(chance)
        if host is None:
            return self.any_host(chance), None
        files = [path for path in host.disk.files() if path.parent == host.directory]
        paths = [path for path in files if path.suffix in (".seg", ".arc")]
        return host, chance.pick(paths) if paths else None

    def start_later(self, host: Host, chance: Chance) -> None:
        """Somebody starts a node that is down, after a while."""
        self.world.after(chance.pick((5, 60, 300, 1200)) * MS, host.start)

    # --- the run --------------------------------------------------------------------------------

    def run(self) -> None:
        """Faults, then quiet. Raises ViolationError."""
        self.world.run(600 * MS)
        end_ns = self.world.now_ns + self.plan.length_ms * MS
        while self.world.now_ns < end_ns:
            self.world.run(self.world.now_ns + self._chance.between(1, 2 * self.plan.pace_ms) * MS)
            self.drawn += 1
            if self.drawn not in self.plan.skip:
                self._fault(self.drawn)
        self._heal()
        self._settle()
        self._check_end()

    def _fault(self, number: int) -> None:
        chance = Chance(self.plan.seed, "fault", number)
        kind = chance.pick(self.plan.kinds)
        done = KINDS[kind](self, chance)
        if done:
            self.faults[kind] = self.faults.get(kind, 0) + 1
            self.world.note(f"#{number} {kind}:", done)
        if number % 16 == 0:
            self._check_disks()

    def _heal(self) -> None:
        """All faults end; who is down is started."""
        self.world.note("quiet")
        self.network.mend()
        self.network.weather.loss = self.network.weather.repeat = self.network.weather.slow = 0
        for host in self.hosts.values():
            host.make_room()
            host.slow_ns = host.wall_offset_ns = 0
            host.paused_until_ns = min(host.paused_until_ns, self.world.now_ns)
            host.disk.failing.clear()
            host.disk.crash_at = None

    def _settle(self) -> None:
        """Everything must come to rest in time: the group, its clients, and one more batch of each sender."""
        deadline_ns = self.world.now_ns + QUIET_NS
        asked = False
        while True:
            for host in self.hosts.values():
                if host.node is None:
                    host.start()
            self._operate()
            self.world.run(self.world.now_ns + SLICE_NS)
            senders = [client for client in self.clients if client.sends]
            if not asked and all(client.submission.is_open for client in senders):
                asked = True
                for client in senders:
                    client.busy = False
                    client.submit()
            unsettled = list(self._unsettled())
            if asked and not unsettled:
                return
            if self.world.now_ns > deadline_ns:
                raise ViolationError(f"no rest within {QUIET_NS // 1_000_000_000} s: {'; '.join(unsettled)}")

    def _operate(self) -> None:
        """The operator takes in again whom the group does not know."""
        leader = self.leader_or(self._chance)
        if leader.node is None or leader.node.raft.role is not Role.LEADER:
            return
        now = leader.node.raft.members
        for name, host in self.hosts.items():
            found = now.find(name)
            if host.node is None or found is None or found.disk == host.node.raft.disk or name == leader.name:
                continue
            changed = type(found)(name, host.node.raft.disk, voter=False, joining=True)
            leader.command(ChangeMembers(now.with_member(changed)))
            return

    def _unsettled(self) -> Iterable[str]:
        nodes = [host.node for host in self.hosts.values() if host.node is not None]
        leading = [node for node in nodes if node.raft.role is Role.LEADER]
        if len(leading) != 1:
            yield f"{len(leading)} leaders"
            return
        raft = leading[0].raft
        for member in raft.members.all:
            host = self.hosts[member.name]
            if host.node is None:
                yield f"{member.name} is down: {host.refusal}"
            elif host.node.raft.disk != member.disk:
                yield f"{member.name} has another disk"
            elif host.node.raft.published_index != raft.log.last_index:
                yield f"{member.name} has published {host.node.raft.published_index} of {raft.log.last_index}"
            elif host.node.raft.suspect_index:
                yield f"{member.name} is suspect"
            elif member.joining:
                yield f"{member.name} is not promoted"
        for client in self.clients:
            if not client.is_idle:
                yield f"{client.name} waits for {client.submission.in_flight} batches"
            if client.next_index != len(self.checks.log) + 1:
                yield f"{client.name} is at {client.next_index} of {len(self.checks.log)}"

    # --- looking at disks -----------------------------------------------------------------------

    def _check_disks(self) -> None:
        """What was published is on a majority of the voters' disks, even if all lose power now."""
        log = self.checks.log
        if not log:
            return
        sound = {name for name, host in self.hosts.items() if name in self.victims or _holds(host, self.checks.log[-1])}
        if any(len(sound.intersection(voters)) * 2 > len(voters) for voters in self._groups()):
            return
        voters = self.checks.voters
        self.checks.survives(len(log), sorted(sound.intersection(voters)), list(voters))

    def _groups(self) -> list[tuple[str, ...]]:
        """The voters as the log tells, and as a leader may count them by a change that is not published yet."""
        nodes = [host.node for host in self.hosts.values() if host.node is not None]
        return [self.checks.voters, *(node.raft.members.voters for node in nodes)]

    def _check_end(self) -> None:
        """Every sound disk's journal reads back, and holds exactly what was published."""
        expected = [entry.data for entry in self.checks.log]
        leader = self.leader_or(self._chance)
        for member in leader.node.raft.members.all:
            host = self.hosts[member.name]
            if member.name in self.victims:
                continue  # rot may rest there, unread
            held = [entry.data for entry in read_all(host.node.journal)]
            require(held == expected, f"the journal of {member.name} is not what was published")
            report = verify(host.directory, disk=host.disk)
            require(report.is_sound, f"the journal of {member.name}: {report.problem}")


def _configured(names: list[str], spare: list[str], segment_bytes: int) -> tuple[Config, dict[str, FaultyDisk]]:
    """A configuration whose founders' disks are made."""
    disks = {}
    text = _TOML.format(cluster=CLUSTER)
    for name in (*names, *spare):
        text += _NODE.format(name=name)
        if name not in spare:
            disks[name], identity = _founding_disk(name)
            text += f'disk = "{identity.hex()}"\n'
    config = Config.parse(text, Path("/sim"))
    return replace(config, journal=replace(config.journal, segment_bytes=segment_bytes, plain_segments=2)), disks


def _founding_disk(name: str) -> tuple[FaultyDisk, bytes]:
    disk = FaultyDisk()
    box = BallotBox.create(
        Path("/sim") / name, name, bytes.fromhex(CLUSTER), salt=Chance("disk", name).bytes, disk=disk
    )
    return disk.after_kill(), box.identity


def _holds(host: Host, entry: object) -> bool:
    """Whether a host's disk would still have an entry after a loss of power."""
    disk = host.disk.durable()
    if not any(name.endswith(".seg") for name in disk.names(host.directory)):
        return False
    journal = Journal.open(
        host.directory, bytes.fromhex(CLUSTER), segment_bytes=SEGMENT_BYTES[0], disk=disk, keep_damaged=True
    )
    return journal.last_index >= entry.index and journal.read(entry.index, 1)[0] == entry.data


def simulate(plan: Plan, *, tell: bool = False) -> Outcome:
    """One run from its plan to its outcome; a broken promise is told, not raised, and so is any other error of ours."""
    cluster = Cluster(plan, tell=tell)
    outcome = Outcome(plan)
    try:
        cluster.run()
    except Exception as error:  # noqa: BLE001 - whatever a node raises that is no error of the world
        outcome.failure = f"{type(error).__name__}: {error}"
    world = cluster.world
    outcome.virtual_ns, outcome.events, outcome.trace = world.now_ns, world.events, world.trace
    outcome.entries, outcome.acknowledged = len(cluster.checks.log), cluster.checks.acknowledged
    outcome.resumed = cluster.checks.resumed
    outcome.faults, outcome.fault_numbers = cluster.faults, cluster.drawn
    return outcome
