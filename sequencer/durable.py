"""An Orderer on a disk: everything a node does but its sockets.

    frames, peers' messages --> Orderer --Duties--> ballot box, journal --> Wire: peers, subscribers
                                   ^                      |
                                   +------Persisted-------+

Rules:
- Duties are fulfilled in field order: nothing is said before what it promises is durable.
- A large group is written beside the loop, which goes on meanwhile (see `writing`).
- That something is committed is told to followers with the next append, or by itself when none has come for
  NOTICE_NS: it wakes them when the next batch is on its way.
- What finds no room on the disk waits, and promises nothing; everything else goes on meanwhile. A full node
  hands the lead over, and takes in only what is reserved for, until there is room again.
- A directory's identity is drawn once. An empty one is another disk: it never votes under an old name.
- Damage to what was durable makes a node of a larger group suspect: the group repairs it. A node that is
  alone refuses to start. It goes on being suspect until it has durably forgotten that it was.
- A node is stale that has no contact, and one that knows of committed entries which do not come: its own words
  may not reach the leader, or its disk may be full.
- A directory is locked before anything in it is read; nothing is made in another cluster's.
- A disk that fails stops the node: what it holds can be told only by reading it again.
- Where something of the log no longer reads back, the next start reads all of it, and not only what a snapshot leaves.
"""

import os
from collections.abc import Callable, Iterator
from typing import Protocol

from sequencer.clock import SequencedClock
from sequencer.config import Config
from sequencer.envelope import CONTROL, Entry, Heartbeat, decode_entry
from sequencer.errors import CorruptJournalError, DiskFullError, EnvelopeError
from sequencer.journal import Ballot, BallotBox, DirectoryLock, Journal
from sequencer.journal.disk import LOCAL_DISK, Disk
from sequencer.ordering import Orderer
from sequencer.protocol import Answer
from sequencer.raft import Append, Cleared, Duties, Event, Log, Message, Persisted, Raft, Timing
from sequencer.sessions import Sessions
from sequencer.snapshot import NodeSnapshot, read_snapshot
from sequencer.upkeep import Pace, Upkeep
from sequencer.writing import ASIDE_BYTES, RETRY_MS, Writer

REPLAY_BYTES = 4 << 20
NOTICE_NS = 1_000_000
BEHIND_BYTES = 16 << 20
"""With so much waiting to be written, nothing more is taken in."""


class Wire(Protocol):
    """Where a node's words go. None of these calls may fail or wait."""

    def send(self, peer: str, message: Message) -> None:
        """To one other node; it may be lost."""

    def publish(self, entry: Entry) -> None:
        """A committed entry, to whoever listens."""

    def wake(self) -> None:
        """A write has ended: let there be a turn. Called in any thread."""

    def answer_read(self, ticket: int, index: int) -> None:
        """The committed index that a read asked for, or -1 if this node cannot tell."""


class Clocks(Protocol):
    """The two clocks of a host."""

    def monotonic_ns(self) -> int:
        """Never goes back."""

    def wall_ns(self) -> int:
        """Since the epoch, as far as the host knows."""


class DurableOrderer:
    """One node without its sockets. Made by `open`; not thread-safe."""

    def __init__(
        self,
        config: Config,
        orderer: Orderer,
        journal: Journal,
        box: BallotBox,
        wire: Wire,
        clocks: Clocks,
        disk: Disk,
        upkeep: Upkeep,
        aside_bytes: int,
    ) -> None:
        self.orderer = orderer
        self.raft = orderer.raft
        self.journal = journal
        self.is_full = False
        """Whether only what is reserved for is taken in."""
        self._config = config
        self._box = box
        self._wire = wire
        self._clocks = clocks
        self._writer = Writer(journal, disk, wake=wire.wake, aside_bytes=aside_bytes)
        self.upkeep = upkeep
        self._notices: dict[str, Append] = {}
        self._notices_due_ns = 0
        self._stalled_until_ms = 0
        self._look_again_ms = 0
        self._told_index = -1
        self._abreast_ms = self.now_ms

    @classmethod
    def open(
        cls,
        config: Config,
        name: str,
        wire: Wire,
        clocks: Clocks,
        *,
        disk: Disk = LOCAL_DISK,
        random: Callable[[int], bytes] = os.urandom,
        aside_bytes: int = ASIDE_BYTES,
        pace: Pace | None = None,
    ) -> "DurableOrderer":
        """The node `name` with what its directory holds; an empty one is made. Raises JournalError, ConfigError."""
        directory = config.journal_directory(name)
        alone = len(config.nodes) == 1
        lock = DirectoryLock.take(directory, disk=disk)
        try:
            box = BallotBox.open(directory, name, config.cluster, disk=disk)
            snapshot = read_snapshot(disk, directory, config.cluster)
        except BaseException:
            lock.release()
            raise
        journal = Journal.open(
            directory,
            config.cluster,
            segment_bytes=config.journal.segment_bytes,
            salt=random,
            disk=disk,
            keep_damaged=not alone,
            segments_expected=box.segments if box else 0,
            lock=lock,
            mark=snapshot.mark if snapshot else None,
        )
        try:
            if box is None:
                box = BallotBox.create(directory, name, config.cluster, salt=random, disk=disk)
            if alone:
                _refuse_suspect(journal, name)
            box.note_segments(journal.segment_number)
            seed = int.from_bytes(random(8), "little")
            upkeep = Upkeep(
                journal,
                disk,
                wake=wire.wake,
                snapshot_segment=snapshot.segment if snapshot and journal.is_marked else 0,
                plain_segments=config.journal.plain_segments,
                pace=pace,
            )
            orderer = _recover(config, name, journal, box, seed, clocks, snapshot, upkeep)
        except BaseException:
            journal.close()
            raise
        return cls(config, orderer, journal, box, wire, clocks, disk, upkeep, aside_bytes)

    @property
    def now_ms(self) -> int:
        """The host's monotonic clock, in ms."""
        return self._clocks.monotonic_ns() // 1_000_000

    @property
    def is_behind(self) -> bool:
        """Whether more waits to be written than should."""
        return self._writer.waiting_bytes > BEHIND_BYTES

    def close(self) -> None:
        """Let go of the directory, once what is being written is written."""
        self._writer.wait()
        try:
            self.upkeep.wait()
        finally:
            self.journal.close()
            self._box.close()

    # --- input --------------------------------------------------------------------------------

    def take(
        self, frame: bytes, leader_ingress: str, voter: str, may_send: Callable[[str], bool] | None = None
    ) -> Answer | None:
        """Judge the batches of a frame; see `Orderer.take`."""
        return self.orderer.take(frame, self._serves, leader_ingress, voter, self.now_ms, may_send)

    def hear(self, event: Event) -> None:
        """Take a peer's message, or an operator's wish; what is owed for it is done by `turn`.

        Damaged messages are as good as lost. Raises DivergedLogError.
        """
        try:
            self.orderer.step(self.now_ms, event)
        except EnvelopeError:
            return

    def turn(self) -> None:
        """Let time pass: make one entry of all that waits, and do everything that is owed."""
        now_ms = self.now_ms
        self._look_for_room(now_ms)
        self.orderer.propose(now_ms, self._clocks.wall_ns(), self._clocks.monotonic_ns())
        self.orderer.step(now_ms)
        self._fulfil()
        self._send_notices()
        self.upkeep.turn(now_ms, self.orderer, full=self.is_full)

    def wait_ms(self) -> int:
        """How long `turn` may be put off if nothing comes."""
        soon_ms = 1 if self._notices else RETRY_MS
        return max(0, min(self.raft.wake_ms - self.now_ms, soon_ms))

    def heartbeat(self) -> Heartbeat:
        """What subscribers are told of this node now and then. Call it at least every 100 ms."""
        raft = self.raft
        contact_ms = max(0, self.now_ms - raft.contact_ms)
        if raft.published_index >= raft.known_index or raft.published_index != self._told_index:
            self._told_index, self._abreast_ms = raft.published_index, self.now_ms
        last = raft.log.entry(raft.published_index)
        sequence = last.next_sequence if last else (1 if raft.published_index == 0 else 0)
        stale = max(contact_ms, self.now_ms - self._abreast_ms) > 2 * self._config.timing.election_ms
        leads = self.orderer.is_leader
        return Heartbeat(self._config.cluster, raft.term, raft.published_index, sequence, contact_ms, stale, leads)

    def _serves(self, channel: int) -> bool:
        """While the disk is nearly full, only control and what engines say about accepted inputs."""
        return not self.is_full or channel == CONTROL or channel in self._config.journal.reserve_channels

    # --- duties -------------------------------------------------------------------------------

    def _fulfil(self) -> None:
        """Do what is owed, in the order that makes every promise true, until nothing more follows from it."""
        orderer = self.orderer
        while True:
            owed, orderer.owed = orderer.owed, Duties()
            if owed.ballot is not None:
                term, voted_for = owed.ballot
                self._box.save(Ballot(term, voted_for or None))
            for peer, message in owed.appends:
                self._wire.send(peer, message)
                self._carry(peer, message)
            persisted = self._write(owed)
            for peer, message in owed.replies:
                self._wire.send(peer, message)
            for entry in owed.committed:
                self._wire.publish(entry)
            if owed.notices:
                if not self._notices:
                    self._notices_due_ns = self._clocks.monotonic_ns() + NOTICE_NS
                self._notices.update(owed.notices)
            for ticket, index in owed.reads:
                self._wire.answer_read(ticket, index)
            cleared = owed.covered and self._forget_suspicion()
            if persisted:
                orderer.step(self.now_ms, Persisted(self._writer.durable_index))
            if cleared:
                orderer.step(self.now_ms, Cleared())
            if not (persisted or cleared):
                return

    def _carry(self, peer: str, message: Message) -> None:
        """An append tells what a notice that waits would have told."""
        notice = self._notices.get(peer)
        if notice is not None and isinstance(message, Append) and message.commit_index >= notice.commit_index:
            del self._notices[peer]

    def _send_notices(self) -> None:
        if self._notices and self._clocks.monotonic_ns() >= self._notices_due_ns:
            for peer, notice in self._notices.items():
                self._wire.send(peer, notice)
            self._notices.clear()

    def _forget_suspicion(self) -> bool:
        """Let the journal forget it durably; without room for that, later: the core goes on to ask for it."""
        if not self.journal.suspect or self._writer.is_busy or self._stalled_until_ms > self.now_ms:
            return False
        try:
            self.journal.clear_suspect()
        except DiskFullError:
            self._stalled_until_ms = self.now_ms + RETRY_MS
            return False
        self._box.note_segments(self.journal.segment_number)
        return True

    def _write(self, owed: Duties) -> bool:
        """Have what is owed to the journal written; tell whether something is newly durable."""
        self._writer.keep(owed.truncate_after, owed.entries)
        if self._writer.turn(self.now_ms, self.raft.commit_index):
            self._box.note_segments(self.journal.segment_number)
            return True
        return False

    def _look_for_room(self, now_ms: int) -> None:
        """Is the node full? It is while a group finds no room, and below the reserve with no room for a segment."""
        if now_ms < self._look_again_ms or self._writer.is_busy:
            return
        self._look_again_ms = now_ms + RETRY_MS
        short = self._writer.is_stalled or self.journal.room_bytes() < self._config.journal.reserve_bytes
        if short:
            self.journal.prepare()
        self.is_full = self._writer.is_stalled or (short and self.journal.is_full)
        self.raft.fit = not self.is_full


def read_all(journal: Journal, index: int = 1) -> Iterator[Entry]:
    """Every entry of a journal from an index on, in order."""
    while index <= journal.last_index:
        for data in journal.read(index, REPLAY_BYTES):
            yield decode_entry(data)
            index += 1


def _recover(
    config: Config,
    name: str,
    journal: Journal,
    box: BallotBox,
    seed: int,
    clocks: Clocks,
    snapshot: NodeSnapshot | None,
    upkeep: Upkeep,
) -> Orderer:
    """Rebuild the raft log and the table of senders from the snapshot, if it holds, and the journal behind it."""

    def fetch(first_index: int, bytes_max: int) -> list[bytes]:
        try:
            return journal.read(first_index, bytes_max)
        except CorruptJournalError:
            upkeep.forget()
            raise

    log, sessions, commit_index = Log(config.founders, fetch), Sessions(), journal.commit_index
    if snapshot is not None and journal.is_marked:
        [last] = fetch(snapshot.index, 1)
        log = Log.resumed(snapshot.log, decode_entry(last), fetch)
        sessions = Sessions.resumed(snapshot.senders)
        commit_index = max(commit_index, snapshot.index)
    for entry in read_all(journal, log.last_index + 1):
        log.append(entry)
        sessions.append(entry.index, entry.batches())
        sessions.commit(min(entry.index, commit_index))
    raft = Raft(
        name,
        box.identity,
        cluster=config.cluster,
        log=log,
        term=box.ballot.term,
        voted_for=box.ballot.voted_for or "",
        commit_index=min(commit_index, log.last_index),
        suspect_index=journal.suspect_index,
        timing=Timing(config.timing.election_ms, config.timing.heartbeat_ms),
        seed=seed,
        now_ms=clocks.monotonic_ns() // 1_000_000,
    )
    sessions.commit(raft.commit_index)
    clock = SequencedClock(log.last_time_ns, clocks.wall_ns(), clocks.monotonic_ns())
    return Orderer(raft, sessions, clock, config.permitted, config.limits, config.needed)


def _refuse_suspect(journal: Journal, name: str) -> None:
    if journal.suspect:
        raise CorruptJournalError(
            f"the last group in the journal of {name} is whole but does not match its checksum: it may have been "
            "acknowledged. A node cannot go on from there alone: restore the journal from a copy, or see "
            f"`sequencer log verify`. {'; '.join(journal.recovered.notes)}"
        )
