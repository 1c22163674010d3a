"""One member of the ordering group as a process: sockets, journal and clock around an `Orderer`.

    ingress (ROUTER) --frames--> Orderer --entries--> journal --sync--> publisher (PUB)
                                   |  ^
    peers (PULL, PUSH) <-----------+--+

One turn of the loop takes what has arrived, makes one entry of it, sends it to the followers, writes
and syncs it, and publishes what that commits. All waiting batches share the turn's one sync: batching
comes from load, never from a timer.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import zmq

from sequencer.client.stop import StopSignal
from sequencer.config import Config
from sequencer.envelope import BATCH_MAGIC, CONTROL, Entry, Heartbeat, decode_entry
from sequencer.errors import CorruptJournalError, DiskFullError
from sequencer.journal import Ballot, Journal
from sequencer.journal.ballot import BALLOT_NAME
from sequencer.ordering import Orderer
from sequencer.protocol import ENCODER, QUESTIONS, Answer, AskPosition, AskStatus, NodeStatus, Refused, Report
from sequencer.publisher import Publisher
from sequencer.raft import Duties, Log, Message, Persisted, Raft, Timing
from sequencer.raft.messages import DECODER as PEER_DECODER
from sequencer.raft.messages import ENCODER as PEER_ENCODER
from sequencer.sessions import Sessions, Verdict
from sequencer.sockets import bind, tune

REPORTS_MAX = 1000
REPORT_BYTES_MAX = 64 << 10
DUPLICATE_PAUSE_MS = 100
REPLAY_BYTES = 4 << 20
PEER_FRAMES_MAX = 256
RETRY_MS = 100
"""How long a node with a full disk waits before it looks for room again."""


def run(config: Config, name: str, stop: StopSignal) -> None:
    """Be the node `name` until asked to stop. Raises IslandError where it cannot start or go on."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    node = None
    try:
        node = Node(config, name, context)
        node.run(stop)
    finally:
        if node is not None:
            node.close()
        context.destroy(linger=0)


class Node:
    """The shell of a node: it owns what the Orderer must not."""

    def __init__(self, config: Config, name: str, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self._config = config
        self._me = config.node(name)
        directory = journal_directory(config, name)
        _refuse_lost_journal(directory, name)
        self._journal = Journal.open(directory, config.cluster, segment_bytes=config.journal.segment_bytes)
        try:
            self._directory = directory
            self._refuse_suspect()
            self._orderer = self._recover()
            self._open_sockets(context)
        except BaseException:
            self._journal.close()
            raise
        self._reports: dict[str, tuple[int, bytes]] = {}
        self._duplicates_told: dict[bytes, int] = {}
        self._full = False
        self._stalled_until_ms = 0
        self._look_again_ms = 0

    def run(self, stop: StopSignal) -> None:
        """Serve until `stop`."""
        self._poller.register(stop.fd, zmq.POLLIN)
        self._orderer.step(_now_ms())
        self._fulfil()
        while not stop.is_set:
            self.turn()

    def turn(self) -> None:
        """Wait for something to happen, and do all that follows from it."""
        ready = dict(self._poller.poll(self._patience_ms()))
        if self._peers_in in ready:
            self._hear_peers()
        if self._ingress in ready:
            self._take_in()
        now_ms = _now_ms()
        self._look_for_room(now_ms)
        self._orderer.propose(now_ms, time.time_ns(), time.monotonic_ns())
        self._orderer.step(now_ms)
        self._fulfil()
        self._publisher.beat(now_ms, self._heartbeat(now_ms))

    def close(self) -> None:
        """Let go of files and sockets."""
        self._journal.close()
        self._publisher.close()
        for socket in (self._ingress, self._peers_in, *self._peers_out.values()):
            socket.close(linger=0)

    # --- start --------------------------------------------------------------------------------

    def _refuse_suspect(self) -> None:
        recovered = self._journal.recovered
        if recovered.suspect:
            raise CorruptJournalError(
                f"the last group in the journal of {self._me.name} is whole but does not match its checksum: it may "
                "have been acknowledged. A node cannot go on from there alone: restore the journal from a copy, or see "
                f"`sequencer log verify`. {'; '.join(recovered.notes)}"
            )

    def _recover(self) -> Orderer:
        """Rebuild the raft log and the table of senders from the journal."""
        config, journal = self._config, self._journal
        log = Log(fetch=journal.read)
        sessions = Sessions()
        for entry in read_all(journal):
            log.append(entry)
            sessions.append(entry.index, entry.batches())
            sessions.commit(min(entry.index, journal.commit_index))
        ballot = Ballot.load(self._directory, self._me.name, config.cluster)
        raft = Raft(
            self._me.name,
            [node.name for node in config.nodes],
            cluster=config.cluster,
            log=log,
            term=ballot.term if ballot else 0,
            voted_for=(ballot.voted_for or "") if ballot else "",
            commit_index=min(journal.commit_index, log.last_index),
            timing=Timing(config.timing.election_ms, config.timing.heartbeat_ms),
            seed=int.from_bytes(os.urandom(8), "little"),
            now_ms=_now_ms(),
        )
        sessions.commit(raft.commit_index)
        return Orderer(raft, sessions, config.permitted, config.limits)

    def _open_sockets(self, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        me, key = self._me, f"nodes.{self._me.name}"
        self._ingress = tune(context.socket(zmq.ROUTER))
        bind(self._ingress, me.ingress, f"{key}.ingress")
        self._peers_in = tune(context.socket(zmq.PULL))
        bind(self._peers_in, me.peer, f"{key}.peer")
        self._peers_out = {}
        for node in self._config.nodes:
            if node.name != me.name:
                socket = tune(context.socket(zmq.PUSH))
                socket.setsockopt(zmq.IMMEDIATE, 1)
                socket.connect(node.peer)
                self._peers_out[node.name] = socket
        self._publisher = Publisher(
            me.publisher,
            heartbeat_ms=self._config.timing.publisher_heartbeat_ms,
            context=context,
            key=f"{key}.publisher",
        )
        self._poller = zmq.Poller()
        self._poller.register(self._ingress, zmq.POLLIN)
        self._poller.register(self._peers_in, zmq.POLLIN)

    # --- input --------------------------------------------------------------------------------

    def _hear_peers(self) -> None:
        for _ in range(PEER_FRAMES_MAX):
            try:
                frame = self._peers_in.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if frame[:16] != self._config.cluster:
                continue  # another group's node was given our address
            try:
                message = PEER_DECODER.decode(memoryview(frame)[16:])
            except (ValueError, RecursionError):
                continue  # not our protocol
            self._orderer.step(_now_ms(), message)

    def _take_in(self) -> None:
        leader = self._orderer.raft.leader
        leader_ingress = next((node.ingress for node in self._config.nodes if node.name == leader), "")
        while self._orderer.has_room:
            try:
                identity, frame = self._ingress.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            except ValueError:
                continue  # not our protocol's two frames
            answer: Answer | None
            if frame[:4] == BATCH_MAGIC:
                answer = self._orderer.take(frame, self._serves, leader_ingress)
            else:
                answer = self._answer(frame)
            if answer is not None and not self._said_lately(identity, answer):
                self._send(self._ingress, [identity, ENCODER.encode(answer)])

    def _said_lately(self, identity: bytes, answer: Answer) -> bool:
        """Replicas repeat each other all the time and see it in the stream: one word now and then is enough."""
        if not isinstance(answer, Refused) or answer.verdict != Verdict.DUPLICATE.value:
            return False
        now_ms = _now_ms()
        if now_ms - self._duplicates_told.get(identity, -DUPLICATE_PAUSE_MS) < DUPLICATE_PAUSE_MS:
            return True
        if len(self._duplicates_told) >= REPORTS_MAX:
            self._duplicates_told.clear()
        self._duplicates_told[identity] = now_ms
        return False

    def _serves(self, channel: int) -> bool:
        """While the disk is nearly full, only control and what engines say about accepted inputs."""
        return not self._full or channel == CONTROL or channel in self._config.journal.reserve_channels

    def _answer(self, frame: bytes) -> Answer | None:
        try:
            question = QUESTIONS.decode(frame)
        except (ValueError, RecursionError):
            return None  # not our protocol
        if isinstance(question, AskPosition):
            return self._orderer.position(question.sender)
        if isinstance(question, AskStatus):
            return self._status()
        self._keep(question)
        return None

    def _keep(self, report: Report) -> None:
        """Keep the latest word of each process; an empty one is its goodbye."""
        if not report.body or len(report.body) > REPORT_BYTES_MAX:
            self._reports.pop(report.name, None)
            return
        if len(self._reports) >= REPORTS_MAX and report.name not in self._reports:
            oldest = min(self._reports, key=lambda name: self._reports[name][0])
            del self._reports[oldest]
        self._reports[report.name] = (_now_ms(), report.body)

    # --- duties -------------------------------------------------------------------------------

    def _fulfil(self) -> None:
        """Do what is owed, in the order that makes every promise true."""
        if _now_ms() < self._stalled_until_ms:
            return
        orderer = self._orderer
        owed, orderer.owed = orderer.owed, Duties()
        if owed.ballot is not None:
            term, voted_for = owed.ballot
            Ballot(term, voted_for or None, self._me.name, self._config.cluster).save(self._directory)
        self._send_peers(owed.appends)
        if owed.truncate_after is not None and owed.truncate_after < self._journal.last_index:
            self._journal.truncate_after(owed.truncate_after)
        if owed.entries and self._write(owed.entries):
            orderer.step(_now_ms(), Persisted(owed.entries[-1].index))
        elif owed.entries:
            orderer.owed.entries = owed.entries  # no room: nothing is promised, it is tried again
        self._send_peers(owed.replies)
        for entry in owed.committed:
            self._publisher.publish(entry)
        if orderer.owed.committed or orderer.owed.replies or orderer.owed.appends:
            self._fulfil()

    def _write(self, entries: list[Entry]) -> bool:
        try:
            self._journal.append(entries, self._orderer.raft.commit_index)
        except DiskFullError:
            self._stalled_until_ms = _now_ms() + RETRY_MS
            return False
        return True

    def _look_for_room(self, now_ms: int) -> None:
        """Is the node full? It is while a group finds no room, and below the reserve with no room for a segment."""
        if now_ms < self._look_again_ms:
            return
        self._look_again_ms = now_ms + RETRY_MS
        stalled = bool(self._orderer.owed.entries)
        short = stalled or self._journal.room_bytes() < self._config.journal.reserve_bytes
        if short:
            self._journal.prepare()
        self._full = stalled or (short and self._journal.is_full)

    def _send_peers(self, messages: list[tuple[str, Message]]) -> None:
        for peer, message in messages:
            socket = self._peers_out.get(peer)
            if socket is not None:
                self._send(socket, [self._config.cluster + PEER_ENCODER.encode(message)])

    @staticmethod
    def _send(socket: "zmq.Socket[bytes]", frames: list[bytes]) -> None:
        try:
            socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return  # away or slow: raft and submitters say it again

    # --- what is told -------------------------------------------------------------------------

    def _patience_ms(self) -> int:
        wake_ms = min(self._orderer.raft.wake_ms - _now_ms(), self._config.timing.publisher_heartbeat_ms)
        return max(0, min(wake_ms, RETRY_MS))

    def _heartbeat(self, now_ms: int) -> Heartbeat:
        raft = self._orderer.raft
        contact_ms = max(0, now_ms - raft.contact_ms)
        last = raft.log.entry(raft.published_index)
        sequence = last.next_sequence if last else (1 if raft.published_index == 0 else 0)
        stale = contact_ms > 4 * self._config.timing.election_ms
        return Heartbeat(self._config.cluster, raft.term, raft.published_index, sequence, contact_ms, stale)

    def _status(self) -> NodeStatus:
        now_ms, raft = _now_ms(), self._orderer.raft
        node: dict[str, int | str | bool] = {
            "name": self._me.name,
            "pid": os.getpid(),
            "role": raft.role.value,
            "leader": raft.leader,
            "term": raft.term,
            "last_index": raft.log.last_index,
            "durable_index": raft.persisted_index,
            "commit_index": raft.commit_index,
            "position": raft.log.next_sequence - 1,
            "contact_ms": now_ms - raft.contact_ms,
            "clock_offset_ns": self._orderer.clock.offset_ns,
            "clock_jumps": self._orderer.clock.jumps,
            "room_bytes": self._journal.room_bytes(),
            "full": self._full,
        }
        reports = [(name, now_ms - heard_ms, body) for name, (heard_ms, body) in sorted(self._reports.items())]
        positions = self._orderer.sessions.positions()
        return NodeStatus(node, reports, {name: (at.incarnation, at.number) for name, at in positions.items()})


def _refuse_lost_journal(directory: Path, name: str) -> None:
    """A journal is made before the first vote: a ballot without segments means that they were lost."""
    if (directory / BALLOT_NAME).exists() and not any(directory.glob("*.seg")):
        raise CorruptJournalError(
            f"the journal of {name} is gone: {directory} holds a ballot and no segments. What was in it may have been "
            "acknowledged: restore the segments from a copy, or begin again in an empty directory"
        )


def journal_directory(config: Config, name: str) -> Path:
    """Where a node keeps its journal."""
    return config.data_dir / name


def read_all(journal: Journal) -> Iterator[Entry]:
    """Every entry of a journal, in order."""
    index = 1
    while index <= journal.last_index:
        for data in journal.read(index, REPLAY_BYTES):
            yield decode_entry(data)
            index += 1


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
