"""Serves ranges of a node's log to any number of readers, and keeps replicas' snapshots, in a process of its own.

    journal files --read--> ROUTER --entries--> readers (Subscriber, Replay)
    node's heartbeats, and the journal's own notes --> what may be served: committed entries only
    replicas --snapshots--> ROUTER <--> SnapshotStore --snapshots--> blank hosts

A reader asks for one range at a time, so what is queued for it is bounded; a slow one waits for
nobody, and nobody for it. The node does not notice.
"""

from pathlib import Path

import zmq

from sequencer.client.stop import StopSignal
from sequencer.config import Config
from sequencer.envelope import decode_heartbeat
from sequencer.errors import JournalError
from sequencer.journal import LOCAL_DISK, Disk, JournalReader
from sequencer.key_watch import KeyWatch
from sequencer.keys import Door, Key
from sequencer.logs import open_log
from sequencer.memory import hold_memory
from sequencer.monitor import open_monitor
from sequencer.protocol import (
    ENCODER,
    HEARTBEATS_OF,
    STORE_QUESTIONS,
    AskSnapshots,
    DiscardSnapshot,
    Fetch,
    Fetched,
    FetchSnapshot,
    OfferSnapshot,
    Outcome,
    SnapshotPart,
    SnapshotsAre,
    SnapshotWanted,
    StoreAnswer,
    StoredSnapshot,
    StoreQuestion,
    StoreSnapshot,
)
from sequencer.sockets import Context, bind, connect, tune
from sequencer.store import PART_BYTES, SnapshotStore

FETCH_BYTES_MAX = 4 << 20
ANSWERS_MAX = 8
"""That wait for one reader, who has asked and does not take them; more are dropped. Nobody needs two at a time."""
REQUEST_BYTES_MAX = PART_BYTES + (64 << 10)
TURN_REQUESTS = 64
TURN_MS = 500


def run(config: Config, name: str, stop: StopSignal) -> None:
    """Serve the log of the node `name` until asked to stop."""
    hold_memory()
    context = Context.of(config)
    replayer = None
    try:
        replayer = Replayer(config, name, context)
        replayer.run(stop)
    finally:
        if replayer is not None:
            replayer.close()
        context.destroy(linger=0)


class CommittedLog:
    """What may be served of a node's journal: what the node published, or noted in its journal as committed."""

    def __init__(self, directory: Path, cluster: bytes, *, disk: Disk = LOCAL_DISK) -> None:
        self.high_water = -1
        """Index of the last committed entry known, -1 before the node has been heard."""
        self._directory = directory
        self._cluster = cluster
        self._disk = disk
        self._reader: JournalReader | None = None

    def hear(self, index: int) -> None:
        """The node has published up to this index."""
        self.high_water = max(self.high_water, index)

    def read(self, first_index: int, bytes_max: int) -> list[bytes]:
        """Encoded entries from an index on, none where there is nothing to be served yet. Raises JournalError."""
        if self._reader is None:
            try:
                self._reader = JournalReader(self._directory, self._cluster, disk=self._disk)
            except JournalError:
                return []  # the node has not created it yet
        if self.high_water >= 0:
            self._reader.refresh()
            self.high_water = max(self.high_water, self._reader.commit_index)
        if not 0 < first_index <= self.high_water:
            return []
        return self._reader.read(first_index, self.high_water, bytes_max)

    def close(self) -> None:
        """Let go of the files."""
        if self._reader is not None:
            self._reader.close()


class Replayer:
    """A committed log behind a socket."""

    def __init__(self, config: Config, name: str, context: Context) -> None:
        node, process = config.node(name), f"{name}-replayer"
        self._log = CommittedLog(config.journal_directory(name), config.cluster)
        self._store = SnapshotStore(
            config.snapshot_directory(name), config.cluster, reserve_bytes=config.journal.reserve_bytes
        )
        self._lines = open_log(config, process)
        for snapshot, why in self._store.damaged.items():
            self._lines.warning("snapshot damaged", snapshot=snapshot, why=why)
        self._requests = tune(context.socket(zmq.ROUTER), hwm=ANSWERS_MAX)
        self._requests.setsockopt(zmq.MAXMSGSIZE, REQUEST_BYTES_MAX)
        self._gate = bind(self._requests, node.replayer, f"nodes.{name}.replayer", Door.REPLAYER)
        self._keys = KeyWatch(context, self._lines)
        self._stream = tune(context.socket(zmq.SUB))
        self._stream.subscribe(HEARTBEATS_OF)
        connect(self._stream, node.publisher)
        self._monitor = open_monitor(config.monitoring.get(process, ""), process, "replayer")

    def run(self, stop: StopSignal) -> None:
        """Serve until `stop`."""
        poller = zmq.Poller()
        poller.register(stop.fd, zmq.POLLIN)
        poller.register(self._requests, zmq.POLLIN)
        poller.register(self._stream, zmq.POLLIN)
        while not stop.is_set:
            poller.poll(TURN_MS)
            self._watch_high_water()
            self._serve()
            self._keys.look()
            self._lines.tend()
            if self._monitor is not None:
                self._monitor.tell(
                    "live" if self._log.high_water >= 0 else "starting", {"commit_index": self._log.high_water}
                )

    def close(self) -> None:
        """Let go of sockets and files."""
        self._lines.tend(is_ending=True)
        if self._monitor is not None:
            self._monitor.close()
        self._requests.close(linger=0)
        self._stream.close(linger=0)
        self._log.close()

    def _watch_high_water(self) -> None:
        while True:
            try:
                _topic, data = self._stream.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._log.hear(decode_heartbeat(data).index)
            if self._lines.is_news("heard", True, known=False):
                self._lines.info("serves the log", committed=self._log.high_water)

    def _serve(self) -> None:
        for _ in range(TURN_REQUESTS):
            try:
                key, (identity, frame) = self._gate.receive()
                question: StoreQuestion = STORE_QUESTIONS.decode(frame)
            except zmq.Again:
                return
            except (ValueError, RecursionError):
                self._lines.seldom("warning", "malformed frame", door="replayer", why="not our protocol")
                continue
            if key is None:
                continue
            if not may_ask(key, question):
                self._gate.refuse(f"a key of a {key.role} may not ask that", key.name)
                continue
            if isinstance(question, Fetch):
                self._send([identity, *self._range(question)])
            else:
                self._send([identity, ENCODER.encode(answer(self._store, question))])
            if isinstance(question, DiscardSnapshot):
                self._lines.info("snapshot discarded", shard=question.shard, number=question.number)

    def _range(self, fetch: Fetch) -> list[bytes]:
        entries = self._log.read(fetch.first_index, min(fetch.bytes_max, FETCH_BYTES_MAX))
        return [ENCODER.encode(Fetched(fetch.first_index, self._log.high_water)), b"".join(entries)]

    def _send(self, frames: list[bytes]) -> None:
        try:
            self._requests.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return  # its queue is full: it asks again


def may_ask(key: Key, question: StoreQuestion) -> bool:
    """Whether somebody may read or change what is kept."""
    match question:
        case OfferSnapshot(StoredSnapshot(shard=shard)) | StoreSnapshot(shard=shard):
            return key.sends(shard)
        case DiscardSnapshot():
            return key.operates
        case _:
            return True


def answer(store: SnapshotStore, question: StoreQuestion) -> StoreAnswer:
    """What a node says to a question about snapshots."""
    match question:
        case AskSnapshots(shard):
            return SnapshotsAre(store.kept(shard), sorted(store.damaged.items()))
        case FetchSnapshot(shard, number, offset):
            return SnapshotPart(shard, number, offset, store.read(shard, number, offset))
        case OfferSnapshot(snapshot):
            return SnapshotWanted(snapshot.shard, snapshot.number, *store.offer(snapshot))
        case StoreSnapshot(shard, number, offset, data):
            return SnapshotWanted(shard, number, *store.put(shard, number, offset, data))
        case DiscardSnapshot(shard, number):
            why = store.discard(shard, number)
            return Outcome(not why, why)
        case Fetch():
            raise AssertionError("ranges of the log are not the store's")
