"""A replica: the process that binds one machine to the stream.

    Subscriber --entries--> runs --apply--> events --sealed as batches--> Submitter
                    |                          |
                    +--- own shard's outputs --+ compared: the same, or this replica has diverged

Rules:
- Outputs are a function of the log: what an entry gives is cut into batches of OUTPUT_MESSAGES, each
  names that entry as its cause, and all batches of a shard are one chain. So every replica makes the
  same bytes; the first copy is sequenced and the others confirm it.
- Every sequenced output of the shard is compared with the own one, live and in replay.
- While it catches up, a replica submits nothing; when it is live, only what is not in the log yet.
- What raises in the machine halts the replica before anything of that entry leaves it. It stays to be
  asked about it, and does not go on.
"""

import gc
import hashlib
import traceback
from collections import deque
from collections.abc import Iterator

import msgspec
import zmq

from engines.machine import Machine
from engines.messages import DECODERS, ENCODER, Message, Reason
from sequencer.client import Reporter, StopSignal, Submitter, Subscriber, hold_memory
from sequencer.config import Config
from sequencer.envelope import Batch, Entry, encode_batch
from sequencer.errors import DivergedError

OUTPUT_MESSAGES = 512
_STOPPED = ("halted", "diverged")


class Run(msgspec.Struct, gc=False):
    """Consecutive messages of one channel in one entry; `reason` is set where they cannot be read."""

    first_sequence: int
    channel: int
    messages: list[Message]
    count: int
    reason: int = 0


def runs(batches: list[Batch], channels: tuple[int, ...]) -> Iterator[Run]:
    """What a machine that reads `channels` gets of an entry's batches."""
    run: Run | None = None
    for batch in batches:
        if batch.channel not in channels:
            run_over, run = run, None
            if run_over is not None:
                yield run_over
            continue
        read = _read(batch)
        if run is not None and not run.reason and not read.reason and run.channel == read.channel:
            run.messages += read.messages
            run.count += read.count
            continue
        if run is not None:
            yield run
        run = read
    if run is not None:
        yield run


def _read(batch: Batch) -> Run:
    """Decode a batch; one that cannot be read, or whose count is false, is void as a whole."""
    try:
        messages = DECODERS[batch.channel].decode(batch.payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Run(batch.first_sequence, batch.channel, [], batch.count, Reason.UNDECODABLE)
    if len(messages) != batch.count:
        return Run(batch.first_sequence, batch.channel, [], batch.count, Reason.FALSE_COUNT)
    return Run(batch.first_sequence, batch.channel, messages, batch.count)


class Replica:
    """A machine and the chain of its outputs: pure, fed with entries in order."""

    def __init__(self, machine: Machine, sender: str) -> None:
        self.machine = machine
        self.sender = sender
        self.position = 0
        """The last sequence number that was applied."""
        self.number = 0
        """The last output batch that was made."""
        self.digest = bytes(32)
        """Its digest: the digest of all outputs so far."""
        self.confirmed = 0
        """The last output batch that was seen in the log."""
        self.unconfirmed: deque[Batch] = deque()

    def apply(self, entry: Entry) -> list[Batch]:
        """Take one entry; return the outputs that it caused. Raises DivergedError, or what the machine raises."""
        batches = entry.batches()
        for batch in batches:
            if batch.sender == self.sender and batch.channel == self.machine.writes:
                self._compare(batch)
        events: list[Message] = []
        for run in runs(batches, self.machine.reads):
            if run.reason:
                events += self.machine.reject(entry.time_ns, run.first_sequence, run.channel, run.count, run.reason)
            else:
                events += self.machine.apply(entry.time_ns, run.first_sequence, run.channel, run.messages)
        made = self._seal(events, entry.first_sequence)
        self.position = entry.next_sequence - 1
        return made

    def state_digest(self) -> bytes:
        """SHA-256 of the machine's snapshot: equal states, equal digests."""
        return hashlib.sha256(self.machine.snapshot()).digest()

    def _seal(self, events: list[Message], cause: int) -> list[Batch]:
        made = []
        for first in range(0, len(events), OUTPUT_MESSAGES):
            part = events[first : first + OUTPUT_MESSAGES]
            batch = encode_batch(
                self.sender,
                self.machine.writes,
                self.number + 1,
                ENCODER.encode(part),
                count=len(part),
                previous=self.digest,
                cause=cause,
            )
            self.number, self.digest = batch.number, batch.digest
            self.unconfirmed.append(batch)
            made.append(batch)
        return made

    def _compare(self, batch: Batch) -> None:
        own = self.unconfirmed.popleft() if self.unconfirmed else None
        if own is None or own.number != batch.number or own.digest != batch.digest:
            raise DivergedError(
                f"output {batch.number} of {self.sender} at sequence {batch.first_sequence} is "
                f"{batch.digest.hex()[:16]} in the log; this replica made "
                f"{f'{own.number}: {own.digest.hex()[:16]}' if own else 'nothing'} there"
            )
        self.confirmed = batch.number


class Host:
    """The shell of a replica: its loop, its sockets and what it reports."""

    def __init__(
        self,
        config: Config,
        machine: Machine,
        name: str,
        shard: int,
        context: "zmq.Context[zmq.Socket[bytes]]",
    ) -> None:
        self.replica = Replica(machine, f"{machine.name}.{shard}")
        self._name = name
        self._state = "attaching"
        self._detail: dict[str, str | int] = {}
        self._subscriber = Subscriber(config.sources, context=context, follow_leader=True)
        self._submitter = Submitter(
            config.ingress,
            self.replica.sender,
            context=context,
            name=name,
            opened=True,
            leader=lambda: self._subscriber.leader_ingress,
        )
        self._reporter = Reporter(config.ingress, name, machine.name, kind="replica", context=context)
        self._poller = zmq.Poller()
        for socket in (*self._subscriber.sockets(), *self._submitter.sockets()):
            self._poller.register(socket, zmq.POLLIN)

    def run(self, stop: StopSignal) -> None:
        """Follow the stream until `stop`; after a halt, only report."""
        self._poller.register(stop.fd, zmq.POLLIN)
        while not stop.is_set:
            if self._subscriber.pending:
                self._turn()
            else:
                self._poller.poll(50)
                self._turn()

    def close(self) -> None:
        """Close the sockets."""
        self._subscriber.close()
        self._submitter.close()
        self._reporter.close()

    def _turn(self) -> None:
        entries = self._subscriber.receive()
        if self._state not in _STOPPED:
            self._apply(entries)
        if self._state not in _STOPPED:
            self._submit()
        self._reporter.tend(self._state, self._report)

    def _apply(self, entries: list[Entry]) -> None:
        index = 0
        try:
            for entry in entries:
                index = entry.index
                if entry.message_count:
                    self._outbox(self.replica.apply(entry))
        except DivergedError as error:
            self._halt("diverged", index, str(error), "")
        except Exception as error:  # noqa: BLE001 - whatever a machine raises halts its replica, and is told
            self._halt("halted", index, f"{type(error).__name__}: {error}", traceback.format_exc())

    def _outbox(self, made: list[Batch]) -> None:
        for batch in made:
            self._submitter.offer(batch)

    def _submit(self) -> None:
        """Send what the log lacks; nothing before everything in it has been seen."""
        self._submitter.withdraw(self.replica.confirmed)
        if self._subscriber.caught_up:
            if self._state != "live":
                self._state = "live"
                gc.collect()
                gc.freeze()
            self._submitter.flush()
            self._submitter.receive()
        elif self._state == "live":
            self._submitter.flush()
        else:
            self._state = "catching-up"

    def _halt(self, state: str, index: int, error: str, trace: str) -> None:
        """Go no further; what earlier entries gave is still said."""
        self._submitter.flush()
        self._state = state
        self._detail = {"halted_at_index": index, "error": error, "traceback": trace}

    def _report(self) -> dict[str, object]:
        subscriber = self._subscriber
        return {
            "sender": self.replica.sender,
            "position": self.replica.position,
            "lag": subscriber.lag,
            "outputs": self.replica.number,
            "confirmed": self.replica.confirmed,
            "digest": self.replica.digest.hex()[:16],
            "switches": subscriber.switches,
            **self._detail,
        }


def run(config: Config, machine: Machine, name: str, shard: int, stop: StopSignal) -> None:
    """Be a replica of `machine` until asked to stop."""
    hold_memory()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    host = Host(config, machine, name, shard, context)
    try:
        host.run(stop)
    finally:
        host.close()
        context.destroy(linger=0)
