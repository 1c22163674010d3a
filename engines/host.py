"""The process of a replica: sockets and clocks around a `Replica`.

    nodes --snapshot--> seeding --> Replica --outputs--> Submitter --> log
    Subscriber --entries-------------^  |
                                        +-- at a marker --> Taker (forked children) --digest--> Submitter --> log

    Watcher (a process beside it) <--what is in hand-- loop

Rules:
- While it catches up, a replica submits nothing; when it is live, only what is not in the log yet.
- What raises in the machine halts the replica before anything of that entry leaves it. It stays to be
  asked about it, and does not go on.
- It begins again, with a snapshot of before, when it has taken or halted at what operators then had the shard skip.
"""

import gc
import time
import traceback
from collections.abc import Callable, Iterable

import zmq

from engines.divergence import keep
from engines.hand import Hand
from engines.locating import Locator, searching
from engines.machine import Machine
from engines.machines import cut
from engines.messages import OPERATIONS, DetachReplica, Message
from engines.pace import Pace
from engines.runs import operations_in
from engines.seeding import Seed, seed
from engines.taking import Taker
from engines.versions import in_force, latest_known
from engines.watcher import Watcher
from sequencer.client import (
    GOODBYE_MS,
    Context,
    Log,
    Reporter,
    StopSignal,
    Submitter,
    Subscriber,
    bound_memory,
    hold_memory,
    open_log,
)
from sequencer.config import Config
from sequencer.envelope import Batch, Entry
from sequencer.errors import DivergedError, VersionError

POLL_MS = 50
CHILD_WAIT_S = 1.0
SPARE_MIB = 256
"""Beyond its limit, for a replica that has halted at it."""
SLOW_MS = 1000
BREATH_NS = 50_000_000
LOOK_NS = 100_000_000
"""How often the log is told what has changed."""
_STOPPED = ("halted", "diverged")
_LIVE = ("live", "slow")


class _BeginAgainError(Exception):
    """What this replica is made of is overruled by a skip."""


class _StoppedError(Exception):
    """Asked to stop while still attaching."""


class Host:
    """One replica of a shard, under `name`."""

    def __init__(
        self,
        config: Config,
        make: Callable[[], Machine],
        name: str,
        shard: str,
        stop: StopSignal,
        context: Context,
        hand: Hand | None = None,
        machine: str = "",
        memory_mib: int = 0,
    ) -> None:
        self._config = config
        self._name = name
        self._memory_mib = memory_mib
        self._stop = stop
        self._state = "attaching"
        self._detail: dict[str, object] = {"machine": machine or shard.rpartition(".")[0]}
        self._log = open_log(config, name)
        self._hand = hand or Hand()
        self._pace = Pace()
        self._locator: Locator | None = None
        self._turned_ns = self._looked_ns = 0
        self._search: Callable[[int], Locator] = lambda index: Locator(
            searching(config, make, shard, self.replica.position + 1, index)
        )
        role, monitor = shard.rpartition(".")[0], config.monitoring.get(name, "")
        self._reporter = Reporter(config.ingress, name, role, kind="replica", context=context, monitor=monitor)
        try:
            begun = seed(make, shard, config.sources, config.cluster, context=context, say=self._say)
        except BaseException:
            self._reporter.close()  # nobody looks for who never began
            raise
        self._note(begun)
        self.replica = begun.replica
        self._openings = begun.openings
        """Of incarnations of the machine's shards; all skips that these have decided are known."""
        self._hand.note_openings(begun.openings)
        self._taker = Taker(name, config)
        self._subscriber = Subscriber(
            config.sources,
            next_index=begun.next_index,
            previous=begun.previous,
            context=context,
            follow_leader=True,
        )
        self._submitter = self._submits(config, self.replica.sender, context)
        self._states = self._submits(config, self.replica.states.sender, context)
        self._born_index = -1
        """The end of the log when this process first heard of it."""
        self._poller = zmq.Poller()
        self._poller.register(stop.fd, zmq.POLLIN)
        for socket in (*self._subscriber.sockets(), *self._submitter.sockets(), *self._states.sockets()):
            self._poller.register(socket, zmq.POLLIN)

    def run(self) -> None:
        """Follow the stream until asked to stop; after a halt, only report."""
        while not self._stop.is_set:
            if not self._subscriber.pending:
                self._poller.poll(POLL_MS)
            self._turn()

    def close(self) -> None:
        """End the children and close the sockets."""
        self._log.tend(is_ending=True)
        self._taker.close()
        if self._locator is not None:
            self._locator.close()
        self._subscriber.close()
        self._submitter.close()
        self._states.close()
        self._reporter.close()

    def _submits(self, config: Config, sender: str, context: Context) -> Submitter:
        return Submitter(
            config.ingress,
            sender,
            context=context,
            name=self._name,
            opened=True,
            leader=lambda: self._subscriber.leader_ingress,
        )

    def _turn(self) -> None:
        entries = self._subscriber.receive()
        if self._born_index < 0:
            self._born_index = self._subscriber.high_water
        if self._state not in _STOPPED:
            self._advance(entries)
        else:
            self._listen(entries)
            self._learn()
        if self._state not in _STOPPED:
            self._submit()
        self._tell()

    def _advance(self, entries: list[Entry]) -> None:
        index, rest = 0, iter(entries)
        try:
            self._taker.tend(self.replica)
            for entry in rest:
                index = entry.index
                if entry.message_count:
                    self._apply(entry)
                    if self._hand.now_ns - self._turned_ns > BREATH_NS:
                        self._breathe()
        except _BeginAgainError:
            raise
        except DivergedError as error:
            self._halt("diverged", index, str(error), "")
            self._keep(error)
        except VersionError as error:
            self._submitter.renew(self.replica.waiting)
            self._halt("halted", index, str(error), "")
        except Exception as error:  # noqa: BLE001 - whatever a machine raises halts its replica, and is told
            if self._memory_mib:
                bound_memory(self._memory_mib + SPARE_MIB)  # what follows needs some
            self._submitter.renew(self.replica.waiting)
            self._halt("halted", index, self._said(error), traceback.format_exc())
            self._locator = self._search(index)
        if self._state in _STOPPED:
            self._listen(rest)

    def _said(self, error: Exception) -> str:
        if isinstance(error, MemoryError) and self._memory_mib:
            return f"MemoryError: it wants more than its {self._memory_mib:,} MiB; `attach --memory-mib` gives it more"
        return f"{type(error).__name__}: {error}"

    def _keep(self, error: DivergedError) -> None:
        """Keep both versions for `explain-divergence`."""
        machine = str(self._detail["machine"])
        try:
            kept = keep(self._config, self._name, machine, self.replica)
        except OSError as problem:
            self._detail["why"] = f"{error}; the two versions cannot be kept: {problem}"
            self._log.warning("divergence not kept", why=str(problem))
            return
        if kept is not None:
            self._detail["why"] = f"{error}; `sequencer explain-divergence {self._name}` tells more"

    def _apply(self, entry: Entry) -> None:
        replica, hand = self.replica, self._hand
        hand.take(entry, replica.position)
        made = replica.apply(entry)
        if replica.overruled_by:
            hand.put_down(replica.position)
            raise _BeginAgainError(f"sequence {replica.overruled_by:,} was skipped")
        self._know(replica.skips.openings)
        if replica.renewed:
            self._submitter.renew(replica.waiting)
        else:
            for batch in made:
                self._submitter.offer(batch)
        hand.put_down(replica.position)
        self._pace.note(entry, hand.held_ns)
        if replica.at_marker:
            self._take()
        if replica.operations:
            self._obey(entry.index, replica.operations)

    def _know(self, openings: int) -> None:
        """All skips that so many openings of incarnations have decided are known."""
        if openings > self._openings:
            self._openings = openings
            self._hand.note_openings(openings)

    def _breathe(self) -> None:
        """Between entries that take long: say what was made, and how it goes."""
        if self._state in _LIVE:
            self._submitter.flush()
            self._state = "slow" if self._pace.lag_ms > SLOW_MS else self._state
        self._tell()

    def _tell(self) -> None:
        self._turned_ns = time.monotonic_ns()
        self._hand.note_lag(self._lag)
        if self._turned_ns - self._looked_ns > LOOK_NS:
            self._looked_ns = self._turned_ns
            self._tell_changes()
        self._reporter.tend(self._state, self._report)

    def _tell_changes(self) -> None:
        log, replica, taker = self._log, self.replica, self._taker
        if log.is_news("state", self._state, "attaching") and self._state not in _STOPPED:
            log.seldom("info", self._state, position=replica.position, lag=self._lag)
        log.follows(self._subscriber.source)
        if log.is_news("speaks", self._speaks, known=True):
            log.info("speaks" if self._speaks else "silent", shards=replica.sharding.count)
        if log.is_news("skipped", sorted(replica.skipped), sorted(replica.skipped)):
            log.info("skip obeyed", skipped=sorted(replica.skipped), incarnation=replica.skips.incarnation)
        if log.is_news("snapshots", taker.taken, 0):
            log.info("snapshot brought", number=replica.markers.number, brought=taker.taken)
        if log.is_news("snapshot error", taker.error, "") and taker.error:
            log.warning("snapshot failed", why=taker.error)
        log.tend()

    @property
    def _speaks(self) -> bool:
        return self.replica.sharding.speaks and not self.replica.sharding.holds

    @property
    def _lag(self) -> int:
        """Messages that are known to be in the log and were not applied."""
        return max(0, self._subscriber.end_sequence - 1 - self.replica.position)

    def _listen(self, entries: Iterable[Entry]) -> None:
        """A replica that is stopped goes no further, but still ends when asked to."""
        for entry in entries:
            if self._state == "halted" and entry.message_count:
                self._overhear(entry)
            for batch in entry.batches():
                if batch.channel == OPERATIONS:
                    self._obey(entry.index, operations_in(batch))
        if self._state == "halted":
            self._send(self._submitter, [])

    def _overhear(self, entry: Entry) -> None:
        """One that is halted still brings what it made before into the log, and begins again after a skip."""
        replica, before = self.replica, self.replica.skips.openings
        try:
            replica.hear(entry)
        except DivergedError:
            self._submitter.renew(())  # others of its shard have gone on without it
            return
        if replica.skips.openings > max(before, self._openings):
            raise _BeginAgainError("an incarnation was opened")
        if replica.renewed:
            self._submitter.renew(replica.waiting)
        self._submitter.withdraw(replica.confirmed)

    def _learn(self) -> None:
        """Take what the search for the message has found."""
        if self._locator is None:
            return
        found = self._locator.tend()
        self._detail["search_error"] = self._locator.error
        if found is not None:
            self._detail.update({"poison": found.sequence, "command": found.command})
            self._detail["message"] = {"type": found.type, **found.fields}
            self._detail["state_before"] = found.state
            error = self._detail["error"] if found.error.startswith("MemoryError") else found.error
            self._detail["why"] = f"{error}, at sequence {found.sequence:,}, {found.type}"
            self._log.error("poison found", sequence=found.sequence, command=found.command, type=found.type)

    def _obey(self, index: int, operations: list[Message]) -> None:
        for operation in operations:
            # What stands in the log from before was meant for an earlier process of this name.
            if isinstance(operation, DetachReplica) and operation.name == self._name and index > self._born_index >= 0:
                self._log.info("detached", entry=index)
                self._stop.set()

    def _take(self) -> None:
        """Begin a snapshot; where markers come faster than digests are made, wait for these."""
        while self._taker.is_busy and not self._stop.is_set:
            self._taker.wait(CHILD_WAIT_S)
            self._taker.tend(self.replica)
        self._taker.take(self.replica, keep=self.replica.markers.keep and self._state in _LIVE)

    def _submit(self) -> None:
        """Send what the log lacks; nothing before everything in it has been seen."""
        replica = self.replica
        self._submitter.withdraw(replica.confirmed)
        self._states.withdraw(replica.states.seen)
        if self._subscriber.caught_up:
            if self._state not in _LIVE:
                gc.collect()
                gc.freeze()
            self._state = "live"
            self._send(self._submitter, [])
            self._send(self._states, replica.states.due(replica.confirmed))
        elif self._state in _LIVE:
            self._submitter.flush()
            self._state = "slow" if self._pace.lag_ms > SLOW_MS else self._state
        else:
            self._state = "catching-up"

    @staticmethod
    def _send(submitter: Submitter, batches: list[Batch]) -> None:
        for batch in batches:
            submitter.offer(batch)
        submitter.flush()
        submitter.receive()

    def _halt(self, state: str, index: int, error: str, trace: str) -> None:
        """Go no further; what earlier entries gave is still said."""
        self._submitter.flush()
        self._hand.put_down(self.replica.position)
        self._state = state
        self._detail.update({"halted_at_index": index, "error": error, "why": error, "traceback": trace})
        self._log.error(
            state, entry=index, after=self.replica.position, error=error, **({"traceback": trace} if trace else {})
        )

    # --- what is told ---------------------------------------------------------------------------

    def _say(self, doing: str) -> None:
        """Tell how attaching goes; called while it waits. Raises when asked to stop."""
        if self._stop.is_set:
            raise _StoppedError("asked to stop")
        self._reporter.tend(self._state, lambda: {"position": 0, "lag": 0, "doing": doing})

    def _note(self, begun: Seed) -> None:
        """Keep what is told of how this process began."""
        self._detail["began_at"] = begun.replica.position
        if begun.passed_over:
            self._detail["passed_over"] = begun.passed_over
        for why in begun.passed_over:
            self._log.warning("snapshot passed over", why=why)
        self._log.info("attached", shard=begun.replica.sender, began_at=begun.replica.position, **_snapshot_of(begun))

    def _report(self) -> dict[str, object]:
        subscriber, replica, taker = self._subscriber, self.replica, self._taker
        told: dict[str, object] = {
            "sender": replica.sender,
            "position": replica.position,
            "lag": self._lag,
            **self._pace.report(replica.position, self._lag),
            "outputs": replica.number,
            "confirmed": replica.confirmed,
            "digest": replica.digest.hex()[:16],
            "states": replica.states.digests(),
            "marker": replica.markers.number,
            "vouched": replica.states.seen,
            "snapshots": taker.taken,
            "switches": subscriber.switches,
            "incarnation": replica.skips.incarnation,
            "skipped": sorted(replica.skipped),
            "rules": in_force(replica.machine),
            "knows": latest_known(replica.machine),
            "shards": replica.sharding.count,
            "speaks": self._speaks,
            **self._detail,
        }
        if not replica.sharding.speaks and self._state not in _STOPPED:
            told["why"] = f"silent: {replica.sharding.shard.machine} has {replica.sharding.count} shards"
        if taker.error:
            told["snapshot_error"] = taker.error
        if self._state in ("slow", "catching-up"):
            told["why"] = f"{self._lag:,} messages behind, handling {told['rate']:,} a second"
        return told


def run(config: Config, machine: str, name: str, spec: str, stop: StopSignal, *, memory_mib: int = 0) -> None:
    """Be the replica `name` of a shard (`1/4`) until asked to stop. Raises IslandError where it cannot go on.

    Its data may take up to `memory_mib` (0: any), so that a machine that leaks halts, and harms no other process.
    """
    hold_memory()
    make, shard = cut(machine, spec)
    log = open_log(config, name)
    watcher = Watcher(config, name, shard.machine, shard.sender, machine, log)
    context = Context.of(config)
    try:
        while not stop.is_set:
            bound_memory(memory_mib)
            _host(lambda: Host(config, make, name, shard.sender, stop, context, watcher.hand, machine, memory_mib), log)
    finally:
        context.destroy(linger=GOODBYE_MS)
        watcher.close()


def _snapshot_of(begun: Seed) -> dict[str, object]:
    """Which snapshot a replica begins with; 0 is the beginning of the log."""
    return {"snapshot": begun.replica.markers.number, "skipped": sorted(begun.replica.skipped)}


def _host(make: Callable[[], Host], log: Log) -> None:
    """Be a replica until asked to stop, or until it has to begin again."""
    host = None
    try:
        host = make()
        host.run()
    except _StoppedError:
        return
    except _BeginAgainError as why:
        log.warning("begins again", why=str(why))
        gc.unfreeze()
    finally:
        if host is not None:
            host.close()
