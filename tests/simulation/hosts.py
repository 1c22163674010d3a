"""A host of the group: the real node without its sockets, on a virtual disk, with clocks of its own.

    inbox --turn--> DurableOrderer on a FaultyDisk --> Network to other hosts, to clients

A turn is what `node.py` does in one turn of its loop. It ends early when the disk "crashes" in the middle of
it: what was sent until then is on its way, what was written and not synced survives by chance.
"""

from collections.abc import Callable
from pathlib import Path

from sequencer.config import Config
from sequencer.durable import DurableOrderer, read_all
from sequencer.envelope import BATCH_MAGIC, Entry, encode_heartbeat
from sequencer.errors import ConfigError, CorruptJournalError, DivergedLogError, IslandError, JournalError
from sequencer.protocol import ANSWERS, ENCODER, QUESTIONS, Answer, AskPosition
from sequencer.raft import Event, Gone, Log, Message, Role
from sequencer.raft.messages import pack, unpack
from sequencer.replayer import CommittedLog
from sequencer.sessions import Sessions
from sequencer.upkeep import Pace
from tests.models.faulty_disk import Crashed, Deferred, FaultyDisk
from tests.simulation.checks import Checks, ViolationError
from tests.simulation.network import Network
from tests.simulation.world import MS, Chance, World

TURN_NS = 100_000
BEAT_NS = 100 * MS
INTAKE_MAX = 256
PACE = Pace(archive_ms=100, scrub_ms=300, first_scrub_ms=50)
ASIDE_BYTES = (0, 500, 1 << 20)
"""From which size on a node writes beside its loop; drawn at each start."""


class Host:
    """One node's machine. `listeners` are called with what its publisher sends."""

    def __init__(self, world: World, network: Network, checks: Checks, config: Config, name: str) -> None:
        self.name = name
        self.disk = FaultyDisk()
        self.node: DurableOrderer | None = None
        self.listeners: dict[str, Callable[[bytes], None]] = {}
        self.wall_offset_ns = 0
        self.slow_ns = 0
        """What each sync of a slow disk costs."""
        self.paused_until_ns = 0
        self.refusal = ""
        """Why the node does not start, where it refuses."""
        self.starts = 0
        self._world = world
        self._network = network
        self._checks = checks
        self._config = config
        self._chance = Chance(world.seed, "host", name)
        self._inbox: list[Callable[[], None]] = []
        self._turn_planned_ns: int | None = None
        self._busy_until_ns = 0
        self._beaten_ns = 0
        self._lead_told: tuple[int, bool] | None = None
        self._peers: dict[str, Host] = {}
        self._reads: dict[int, int] = {}
        self._next_ticket = 0
        self._stamped_index = 0
        self._log: CommittedLog | None = None

    def meet(self, hosts: "dict[str, Host]") -> None:
        """The other hosts, by name; the dictionary may grow."""
        self._peers = hosts

    @property
    def directory(self) -> Path:
        """Where the node keeps its journal."""
        return self._config.journal_directory(self.name)

    # --- clocks ---------------------------------------------------------------------------------

    def monotonic_ns(self) -> int:
        return self._world.now_ns

    def wall_ns(self) -> int:
        return max(0, self._world.now_ns + self.wall_offset_ns)

    # --- up and down ----------------------------------------------------------------------------

    def start(self) -> None:
        """Start the node on what the disk holds; one that refuses stays down."""
        if self.node is not None:
            return
        self.starts += 1
        self.refusal = ""
        self.wall_offset_ns = self._chance.between(-20, 20) * MS  # it was set when the host came up
        self._busy_until_ns = self._world.now_ns
        life = self.starts
        self.disk.defer = lambda work: self._world.after(self._write_ns(), lambda: self._do_deferred(life, work))
        try:
            self.node = DurableOrderer.open(
                self._config,
                self.name,
                self,
                self,
                disk=self.disk,
                random=self._chance.bytes,
                aside_bytes=self._chance.pick(ASIDE_BYTES),
                pace=PACE,
            )
            self._log = CommittedLog(self.directory, self._config.cluster, disk=self.disk)
        except (CorruptJournalError, ConfigError) as error:
            self.refusal = str(error)
            self._world.note(self.name, "refuses to start:", self.refusal)
            return
        except JournalError as error:
            self._world.note(self.name, "cannot start:", error)
            self._stop()
            return
        except Crashed:
            self.go_down()
            return
        if self.node.journal.is_marked:
            self._check_resumed(self.node)
        self._world.note(self.name, "starts at", self.node.journal.last_index, "suspect" * self.node.journal.suspect)
        self._plan_turn(self._world.now_ns)

    def _check_resumed(self, node: DurableOrderer) -> None:
        """What a snapshot tells is what the log says."""
        log, sessions = Log(self._config.founders), Sessions()
        try:
            for entry in read_all(node.journal):
                log.append(entry)
                sessions.append(entry.index, entry.batches())
        except CorruptJournalError:
            return  # what was taken on trust has rotted meanwhile
        sessions.commit(node.raft.commit_index)
        self._checks.resumes(self.name, (log, sessions), (node.raft.log, node.orderer.sessions))

    def go_down(self, *, process_only: bool = False) -> None:
        """The host loses power, or only the process ends; what the disk then holds is left to chance, or all of it."""
        if process_only:
            self.disk = self.disk.after_kill()
        else:
            keeps = self._chance.pick((0, 300, 700, 1000))
            names_kept = self._chance.below(self.disk.pending_names + 1)
            self.disk = self.disk.after_crash(lambda _place: self._chance.hits(keeps), names_kept=names_kept)
        self._world.note(self.name, "is down")
        if process_only:
            self.hang_up()
        self.node, self._log = None, None
        self._inbox.clear()
        self._reads.clear()

    def hang_up(self) -> None:
        """The others see its connections close; its last words may come before that, or after."""
        for name, peer in self._peers.items():
            if name != self.name:
                self._network.send(self.name, name, lambda peer=peer: peer.command(Gone(self.name)))

    def _stop(self) -> None:
        """The process gives up; often its host goes on, and the next process reads what this one left in memory."""
        self.go_down(process_only=self._chance.hits(500))

    def lose_disk(self) -> None:
        """The host comes back with an empty disk."""
        self.go_down()
        self.disk = FaultyDisk()

    def make_room(self) -> None:
        """Nothing bounds the disk any more."""
        self.disk.capacity_bytes = None

    def arm_crash(self, operations: int) -> None:
        """Go down in the middle of a turn: at the so manieth disk operation from now."""
        self.disk.crash_at = len(self.disk.operations) + operations

    # --- the wire -------------------------------------------------------------------------------

    def send(self, peer: str, message: Message) -> None:
        host = self._peers.get(peer)
        if host is not None:
            frames = pack(message)
            self._network.send(self.name, peer, lambda: host.hear(frames))

    def wake(self) -> None:
        self._plan_turn(self._world.now_ns)

    def publish(self, entry: Entry) -> None:
        self._checks.publishes(self.name, entry)
        self._broadcast(entry.data)

    def answer_read(self, ticket: int, index: int) -> None:
        committed_before = self._reads.pop(ticket, 0)
        if index >= 0:
            self._checks.reads(committed_before, index)

    def _broadcast(self, data: bytes) -> None:
        for name, listener in self.listeners.items():
            self._network.send(self.name, name, lambda listener=listener: listener(data))

    # --- what comes in --------------------------------------------------------------------------

    def hear(self, frames: list[bytes]) -> None:
        """A peer's message has arrived."""
        self.command(unpack(frames))

    def command(self, event: Event) -> None:
        """A message of a peer, or the wish of an operator."""
        self._take(lambda: self.node.hear(event))

    def ask(self, frame: bytes, answer: Callable[[bytes], None]) -> None:
        """A client's frame has arrived at the ingress."""
        self._take(lambda: self._on_ingress(frame, answer))

    def fetch(self, first_index: int, bytes_max: int, answer: Callable[[list[bytes], int], None]) -> None:
        """A client's request has arrived at the replayer, a process of its own on this host."""
        if self._log is None or self.paused_until_ns > self._world.now_ns:
            return
        try:
            entries = self._log.read(first_index, bytes_max)
        except (JournalError, Crashed):
            self._log = CommittedLog(self.directory, self._config.cluster, disk=self.disk)
            return
        answer(entries, self._log.high_water)

    def read(self, committed_before: int) -> int:
        """A ticket for a read of the committed index; the answer is checked when it comes."""
        self._next_ticket += 1
        self._reads[self._next_ticket] = committed_before
        return self._next_ticket

    def _take(self, do: Callable[[], None]) -> None:
        if self.node is not None and len(self._inbox) < INTAKE_MAX:
            self._inbox.append(do)
            self._plan_turn(self._world.now_ns + TURN_NS)

    def _on_ingress(self, frame: bytes, answer: Callable[[bytes], None]) -> None:
        reply: Answer | None = None
        if frame[:4] == BATCH_MAGIC:
            reply = self.node.take(frame, self.node.raft.leader, "")
        else:
            try:
                question = QUESTIONS.decode(frame)
            except ValueError:
                return
            if isinstance(question, AskPosition):
                reply = self.node.orderer.position(question.sender)
        if reply is not None:
            answer(ENCODER.encode(reply))

    # --- turns ----------------------------------------------------------------------------------

    def _plan_turn(self, when_ns: int) -> None:
        when_ns = max(when_ns, self.paused_until_ns, self._busy_until_ns)
        if self._turn_planned_ns is None or when_ns < self._turn_planned_ns:
            self._turn_planned_ns = when_ns
            self._world.at(when_ns, lambda: self._turn(when_ns))

    def _write_ns(self) -> int:
        """How long the disk takes for work beside the loop."""
        return self._chance.between(0, 4) * MS + self.slow_ns * self._chance.below(3)

    def _do_deferred(self, life: int, work: Deferred) -> None:
        """Background work of a process that has ended is never done."""
        if self.node is not None and self.starts == life:
            work.run()

    def _turn(self, planned_ns: int) -> None:
        if self._turn_planned_ns != planned_ns:
            return
        self._turn_planned_ns = None
        if self.node is None:
            return
        if self.paused_until_ns > self._world.now_ns:
            self._plan_turn(self.paused_until_ns)
            return
        try:
            self._work()
        except Crashed:
            self.go_down()
            return
        except DivergedLogError as error:
            raise ViolationError(f"{self.name}: {error}") from error
        except IslandError as error:
            self._world.note(self.name, "stops:", error)
            self._stop()
            return
        self._plan_turn(self._world.now_ns + max(1, self.node.wait_ms()) * MS)

    def _work(self) -> None:
        node, inbox = self.node, self._inbox
        self._inbox = []
        syncs = self.disk.syncs
        for do in inbox:
            do()
        node.turn()
        self._look_at(node)
        lead = (node.raft.term, node.raft.role is Role.LEADER)
        if self._world.now_ns - self._beaten_ns >= BEAT_NS or lead != self._lead_told:
            self._beaten_ns, self._lead_told = self._world.now_ns, lead
            beat = node.heartbeat()
            self._log.hear(beat.index)
            self._broadcast(encode_heartbeat(beat))
        if self.slow_ns:
            self._busy_until_ns = self._world.now_ns + self.slow_ns * (self.disk.syncs - syncs)

    def _look_at(self, node: DurableOrderer) -> None:
        raft = node.raft
        if raft.role is not Role.LEADER:
            return
        self._checks.leads(self.name, raft.term)
        last = raft.log.entry(raft.log.last_index)
        if last is not None and last.term == raft.term and last.message_count and last.index > self._stamped_index:
            self._checks.stamps(self.name, last, self._world.now_ns)
        self._stamped_index = raft.log.last_index


def decode_answer(data: bytes) -> Answer:
    """What a node answered."""
    return ANSWERS.decode(data)
