"""One member of the ordering group as a process: sockets and clocks around a `DurableOrderer`.

    ingress (ROUTER) --frames--> DurableOrderer --entries--> journal
                                   |  ^     |
    peers (PULL, PUSH) <-----------+--+     +--committed--> publisher (PUB)

One turn of the loop takes what has arrived, makes one entry of it, sends it to the followers, writes
and syncs it, and publishes what that commits. All waiting batches share the turn's one sync: batching
comes from load, never from a timer.
"""

import os
import sys
import time

import zmq

from sequencer.chronicle import Chronicle, TimedDisk
from sequencer.client.stop import StopSignal
from sequencer.config import Config
from sequencer.durable import DurableOrderer
from sequencer.envelope import BATCH_MAGIC, Entry
from sequencer.key_watch import KeyWatch
from sequencer.keys import LOCAL, Door, Key
from sequencer.logs import open_log
from sequencer.memory import hold_memory
from sequencer.monitor import INTERVAL_MS, open_monitor
from sequencer.peers import LAST_WORDS_MS, Peers
from sequencer.protocol import (
    ENCODER,
    FRAME_BYTES_MAX,
    OVER_RATE,
    QUESTIONS,
    Answer,
    AskChange,
    AskCommitted,
    AskMembers,
    AskPosition,
    AskStatus,
    AskTransfer,
    CommittedIs,
    MembersAre,
    NodeStatus,
    NotLeader,
    Outcome,
    Question,
    Refused,
    Report,
    process_of,
)
from sequencer.publisher import Publisher
from sequencer.raft import ChangeMembers, Gone, Message, Read, Role, Transfer
from sequencer.raft.messages import speaker, unpack
from sequencer.sessions import Verdict
from sequencer.sockets import Context, bind, tune

INGRESS_BYTES_MAX = FRAME_BYTES_MAX + (64 << 10)
"""The longest frame: one batch of the longest payload has a header as well."""
INGRESS_HWM = 256
"""Frames of one connection that wait to be read."""
TURN_FRAMES = 256
"""Frames taken in one turn, and batches judged as an entry takes: who asks, or repeats himself, without end does not
keep the node from its other work."""
TURN_WASTE = 32
"""Of those, frames that bring nothing into an entry: what came before them does not wait for more of them."""
WASTE_BATCHES = 8
"""So many batches that are refused count as one more frame."""
REPORTS_MAX = 1000
REPORT_BYTES_MAX = 64 << 10
REPORT_NAME_CHARS_MAX = 200
REFUSED_COST = {Verdict.GAP.value: 3, "not-permitted": 3, "invalid": 1000}
"""How many requests more a frame costs whose sender should know better."""
REPEATED_MS = {Verdict.DUPLICATE.value: 100, Verdict.GAP.value: 10}
"""How often a connection is told one of these."""
PEER_FRAMES_MAX = 256
READS_MAX = 1000
LOOK_MS = 100
"""How often the log is told what has changed; what role the node has, at once."""
SWITCH_S = 0.0005
"""How long the thread that has written may wait for the interpreter."""


def run(config: Config, name: str, stop: StopSignal) -> None:
    """Be the node `name` until asked to stop. Raises IslandError where it cannot start or go on."""
    hold_memory()
    sys.setswitchinterval(SWITCH_S)
    context = Context.of(config)
    node = None
    try:
        node = Node(config, name, context)
        node.run(stop)
    finally:
        if node is not None:
            node.close()
        context.destroy(linger=0)


def over_limit(why: str, frames: list[bytes]) -> list[bytes]:
    """What is said to who is over a limit of its key, of batches or of a question."""
    if frames[-1][:4] == BATCH_MAGIC:
        return [ENCODER.encode(Refused(OVER_RATE, 0, "", 0, 0, b""))]
    return [ENCODER.encode(Outcome(False, why))]


class SystemClocks:
    """The clocks of this host."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        return time.time_ns()


class Node:
    """The shell of a node, and the `Wire` of its DurableOrderer."""

    def __init__(self, config: Config, name: str, context: Context) -> None:
        self._config = config
        self._me = config.node(name)
        self._context = context
        self._written = os.eventfd(0, os.EFD_CLOEXEC)
        disk = TimedDisk()
        self._chronicle = Chronicle(open_log(config, name), name, disk)
        self._role, self._look_ms = Role.FOLLOWER, 0
        self._core = DurableOrderer.open(config, name, self, SystemClocks(), disk=disk)
        self._chronicle.open(self._core)
        try:
            self._open_sockets(context)
        except BaseException:
            self._core.close()
            raise
        self._reports: dict[str, tuple[int, bytes]] = {}
        self._told_ms: dict[tuple[bytes, str, str], int] = {}
        self._reads: dict[int, bytes] = {}
        self._next_ticket = 1
        self._monitor = open_monitor(config.monitoring.get(name, ""), name, "node")
        self._monitored_ms = 0

    def run(self, stop: StopSignal) -> None:
        """Serve until `stop`."""
        self._poller.register(stop.fd, zmq.POLLIN)
        self._core.turn()
        while not stop.is_set:
            self.turn()

    def turn(self) -> None:
        """Wait for something to happen, and do all that follows from it."""
        patience_ms = min(self._core.wait_ms(), self._config.timing.publisher_heartbeat_ms)
        if self._peers.is_waiting:
            patience_ms = min(patience_ms, LAST_WORDS_MS)
        ready = dict(self._poller.poll(patience_ms))
        if self._written in ready:
            os.eventfd_read(self._written)
        if self._peers_in in ready:
            self._hear_peers()
        for name in self._peers.gone(ready, self._core.now_ms):
            self._core.hear(Gone(name))
        if self._ingress in ready:
            self._take_in()
        self._core.turn()
        raft, now_ms = self._core.raft, self._core.now_ms
        if raft.role is not self._role or now_ms >= self._look_ms:
            self._role, self._look_ms = raft.role, now_ms + LOOK_MS
            self._chronicle.look(self._core)
            if self._keys.look():
                self._publisher.renew()
        if self._monitor is not None and now_ms - self._monitored_ms >= INTERVAL_MS:
            self._monitored_ms = now_ms
            facts = self._facts()
            self._monitor.tell("live" if facts["leader"] and facts["member"] else "leaderless", facts)
        self._publisher.beat(now_ms, (raft.term, raft.role is Role.LEADER), self._core.heartbeat)

    def close(self) -> None:
        """Let go of files and sockets."""
        self._chronicle.log.tend(is_ending=True)
        if self._monitor is not None:
            self._monitor.close()
        self._core.close()
        os.close(self._written)
        self._publisher.close()
        self._peers.close()
        for socket in (self._ingress, self._peers_in):
            socket.close(linger=0)

    # --- the wire -----------------------------------------------------------------------------

    def send(self, peer: str, message: Message) -> None:
        """To a peer; what cannot be sent is lost, and said again."""
        self._peers.send(peer, message, self._core.raft.log)

    def wake(self) -> None:
        """A write has ended, in a thread of its own."""
        os.eventfd_write(self._written, 1)

    def publish(self, entry: Entry) -> None:
        """To all subscribers."""
        self._publisher.publish(entry)

    def answer_read(self, ticket: int, index: int) -> None:
        """To who asked."""
        identity = self._reads.pop(ticket, None)
        if identity is not None:
            self._send(self._ingress, [identity, ENCODER.encode(CommittedIs(index))])

    def _open_sockets(self, context: Context) -> None:
        me, key = self._me, f"nodes.{self._me.name}"
        self._ingress = tune(context.socket(zmq.ROUTER))
        self._ingress.setsockopt(zmq.RCVHWM, INGRESS_HWM)
        self._ingress.setsockopt(zmq.MAXMSGSIZE, INGRESS_BYTES_MAX)
        self._gate = bind(self._ingress, me.ingress, f"{key}.ingress", Door.INGRESS, over_limit)
        self._peers_in = tune(context.socket(zmq.PULL))
        self._peer_gate = bind(self._peers_in, me.peer, f"{key}.peer", Door.PEER)
        self._keys = KeyWatch(context, self._chronicle.log)
        self._publisher = Publisher(
            me.publisher,
            me.name,
            heartbeat_ms=self._config.timing.publisher_heartbeat_ms,
            context=context,
            key=f"{key}.publisher",
        )
        self._poller = zmq.Poller()
        self._poller.register(self._ingress, zmq.POLLIN)
        self._poller.register(self._peers_in, zmq.POLLIN)
        self._poller.register(self._written, zmq.POLLIN)
        self._peers = Peers(self._config, me.name, context, self._poller, self._chronicle.log)
        self._peers.meet(self._core.raft.members)

    @staticmethod
    def _send(socket: "zmq.Socket[bytes]", frames: list[bytes]) -> None:
        try:
            socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return  # away or slow: raft and submitters say it again

    # --- input --------------------------------------------------------------------------------

    def _hear_peers(self) -> None:
        for _ in range(PEER_FRAMES_MAX):
            try:
                key, (cluster, *frames) = self._peer_gate.receive()
            except zmq.Again:
                return
            if key is None:
                continue
            if cluster != self._config.cluster:
                self._chronicle.stranger("peer", "another group's node was given our address")
                continue
            try:
                message = unpack(frames)
            except ValueError:
                self._chronicle.stranger("peer", "not our protocol")
                continue
            if not key.is_process(speaker(message)):
                self._peer_gate.refuse(f"it speaks as {speaker(message)}", key.name)
                continue
            self._core.hear(message)

    def _take_in(self) -> None:
        leader_ingress = self._leader_ingress()
        orderer = self._core.orderer
        judged_max = orderer.judged + self._config.limits.entry_batches
        waste = 0
        for _ in range(TURN_FRAMES):
            if not orderer.has_room or self._core.is_behind or orderer.judged >= judged_max or waste >= TURN_WASTE:
                return
            judged = orderer.judged
            try:
                is_of_use = self._take_one(leader_ingress)
            except zmq.Again:
                return
            if not is_of_use:
                waste += 1 + (orderer.judged - judged) // WASTE_BATCHES

    def _take_one(self, leader_ingress: str) -> bool:
        """Take one frame; tell whether an entry will have something of it. Raises zmq.Again."""
        try:
            key, (identity, frame) = self._gate.receive()
        except ValueError:
            self._chronicle.stranger("ingress", "not our protocol's two frames")
            return False
        if key is None:
            return False
        answer: Answer | None
        is_submitted = frame[:4] == BATCH_MAGIC
        if is_submitted:
            answer = self._submitted(key, identity, frame, leader_ingress)
        else:
            answer = self._answer(key, identity, frame)
        if answer is not None and not self._said_lately(identity, answer):
            self._send(self._ingress, [identity, ENCODER.encode(answer)])
            self._chronicle.refused(answer, key.name)
        return is_submitted and answer is None

    def _submitted(self, key: Key, identity: bytes, frame: bytes, leader_ingress: str) -> Answer | None:
        """Over tcp a process is who its key says: two of them with one key count as one where outputs need several."""
        if key is LOCAL:
            return self._core.take(frame, leader_ingress, process_of(identity))
        judged = self._core.orderer.judged
        answer = self._core.take(frame, leader_ingress, key.name, key.sends)
        more = self._core.orderer.judged - judged - 1
        if isinstance(answer, Refused):
            more += REFUSED_COST.get(answer.verdict, 0)
        self._gate.meter(key).charge(more)
        return answer

    def _leader_ingress(self) -> str:
        leader = self._core.raft.members.find(self._core.raft.leader)
        return self._config.resolved(leader).ingress if leader is not None else ""

    def _said_lately(self, identity: bytes, answer: Answer) -> bool:
        """Replicas repeat each other all the time and see it in the stream; behind a gap each frame is one.

        One word now and then is enough.
        """
        if not isinstance(answer, Refused) or answer.verdict not in REPEATED_MS:
            return False
        now_ms, what = self._core.now_ms, (identity, answer.sender, answer.verdict)
        if now_ms - self._told_ms.get(what, -1000) < REPEATED_MS[answer.verdict]:
            return True
        if len(self._told_ms) >= REPORTS_MAX:
            self._told_ms.clear()
        self._told_ms[what] = now_ms
        return False

    # --- questions ----------------------------------------------------------------------------

    def _answer(self, key: Key, identity: bytes, frame: bytes) -> Answer | None:
        try:
            question: Question = QUESTIONS.decode(frame)
        except (ValueError, RecursionError):
            self._chronicle.stranger("ingress", "not our protocol")
            return None
        if isinstance(question, AskChange | AskTransfer) and not key.operates:
            self._gate.refuse("its key may not operate", key.name)
            return Outcome(False, f"the key of {key.name} may not operate: `sequencer keys list` shows whose may")
        match question:
            case AskPosition(sender):
                return self._core.orderer.position(sender)
            case AskStatus():
                return self._status()
            case AskMembers():
                return self._members()
            case AskChange(members):
                return self._begin(self._core.raft.why_not_change(members), ChangeMembers(members))
            case AskTransfer(to, term):
                return self._begin(self._core.raft.why_not_transfer(to, term), Transfer(to))
            case AskCommitted():
                return self._read(identity)
            case Report(name) if len(name) > REPORT_NAME_CHARS_MAX:
                self._chronicle.stranger("ingress", "the name of a process is too long")
            case Report(name):
                if key.is_process(name):
                    self._keep(question)
                else:
                    self._gate.refuse(f"it reports as {name}", key.name)
        return None

    def _begin(self, why_not: str, event: ChangeMembers | Transfer) -> Answer:
        if not self._core.orderer.is_leader:
            return NotLeader(self._leader_ingress())
        if not why_not:
            self._core.hear(event)
        return Outcome(not why_not, why_not)

    def _read(self, identity: bytes) -> Answer | None:
        """Ask the group; the answer comes through `answer_read`."""
        if not self._core.orderer.is_leader:
            return NotLeader(self._leader_ingress())
        if len(self._reads) >= READS_MAX:
            return CommittedIs(-1)
        self._reads[self._next_ticket] = identity
        self._core.hear(Read(self._next_ticket))
        self._next_ticket += 1
        return None

    def _keep(self, report: Report) -> None:
        """Keep the latest word of each process; an empty one is its goodbye."""
        if not report.body or len(report.body) > REPORT_BYTES_MAX:
            self._reports.pop(report.name, None)
            return
        if len(self._reports) >= REPORTS_MAX and report.name not in self._reports:
            oldest = min(self._reports, key=lambda name: self._reports[name][0])
            del self._reports[oldest]
        self._reports[report.name] = (self._core.now_ms, report.body)

    # --- what is told -------------------------------------------------------------------------

    def _members(self) -> MembersAre:
        raft, now_ms = self._core.raft, self._core.now_ms
        return MembersAre(
            members=raft.members,
            committed=raft.log.members_index <= raft.commit_index,
            leader=raft.leader,
            node=self._me.name,
            disk=raft.disk,
            strangers=sorted(raft.strangers),
            last_index=raft.log.last_index,
            others={name: (each.match_index, now_ms - each.heard_ms) for name, each in raft.progress.items()},
            term=raft.term,
        )

    def _facts(self) -> dict[str, int | str | bool]:
        core, raft, now_ms = self._core, self._core.raft, self._core.now_ms
        member = raft.members.find(self._me.name)
        return {
            "name": self._me.name,
            "pid": os.getpid(),
            "role": raft.role.value if member is None or member.voter else "learner",
            "leader": raft.leader,
            "term": raft.term,
            "last_index": raft.log.last_index,
            "durable_index": raft.persisted_index,
            "commit_index": raft.commit_index,
            "position": raft.log.next_sequence - 1,
            "contact_ms": now_ms - raft.contact_ms,
            "clock_offset_ns": core.orderer.clock.offset_ns,
            "clock_jumps": core.orderer.clock.jumps,
            "room_bytes": core.journal.room_bytes(),
            "full": core.is_full,
            "segments": core.journal.segment_number,
            "segments_archived": core.upkeep.archived,
            "segments_scrubbed": core.upkeep.scrubbed,
            "suspect_index": raft.suspect_index,
            "member": member is not None and member.disk == raft.disk,
            "removed": raft.is_removed,
        }

    def _status(self) -> NodeStatus:
        core, now_ms = self._core, self._core.now_ms
        reports = [(name, now_ms - heard_ms, body) for name, (heard_ms, body) in sorted(self._reports.items())]
        positions = core.orderer.sessions.positions()
        undecided = core.orderer.agreements.undecided(core.orderer.sessions.reached, now_ms)
        return NodeStatus(
            self._facts(), reports, {name: (at.incarnation, at.number) for name, at in positions.items()}, undecided
        )
