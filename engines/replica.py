"""A machine and the chain of its outputs: the pure part of a replica, fed with entries in order.

    entry --runs--> machine --events--> sealed as batches, each naming the entry as its cause
      |
      +-- own shard's outputs and state digests --> compared: the same, or this replica has diverged
      +-- operations --> markers

Rules:
- Outputs are a function of the log: what an entry gives is cut into batches of OUTPUT_MESSAGES, each
  names that entry as its cause, and all batches of a shard are one chain. So every replica makes the
  same bytes; the first copy is sequenced and the others confirm it.
- Every sequenced output of the shard is compared with the own one, live and in replay. Outputs of before the
  snapshot that a replica began with are known by the digest of the last of them.
"""

from collections import deque
from typing import Final

import msgspec

from engines import snapshot as images
from engines.machine import Machine
from engines.markers import Markers
from engines.messages import DECODERS, ENCODER, OPERATIONS, STATES, Message
from engines.runs import runs
from engines.snapshot import Snapshot
from engines.vouching import StateChain
from sequencer.envelope import NO_DIGEST, Batch, Entry, encode_batch
from sequencer.errors import DivergedError

OUTPUT_MESSAGES: Final = 512


class Replica:
    """One shard of a machine, `sender` is its name in the log."""

    def __init__(self, machine: Machine, sender: str) -> None:
        self.machine = machine
        self.sender = sender
        self.position = 0
        """The last sequence number that was applied."""
        self.number = 0
        """The last output batch that was made."""
        self.digest = NO_DIGEST
        """Its digest: the digest of all outputs so far."""
        self.confirmed = 0
        """The last output batch that was seen in the log."""
        self.unconfirmed: deque[Batch] = deque()
        self.events: list[Message] = []
        """What the machine returned for the entry that was applied last."""
        self.operations: list[Message] = []
        """What operators asked for in the entry that was applied last."""
        self.at_marker = False
        """Whether the end of the entry that was applied last is a marker."""
        self.markers = Markers(machine.name, sender)
        self.states = StateChain(sender)
        self._entry: Entry | None = None
        self._restored = (0, NO_DIGEST)
        """The last output of before the snapshot that this replica began with."""

    @classmethod
    def resumed(cls, machine: Machine, snapshot: Snapshot, vouch: Batch) -> "Replica":
        """The replica that made a snapshot; `vouch` is the batch of its digest in the log.

        Raises what `machine.restore` raises.
        """
        machine.restore(snapshot.state)
        replica = cls(machine, snapshot.shard)
        replica.position = snapshot.position
        replica.number = replica.confirmed = snapshot.outputs
        replica.digest = snapshot.outputs_digest
        replica._restored = (replica.number, replica.digest)
        replica.markers.restore(snapshot.markers)
        replica.states = StateChain(snapshot.shard, vouch.number, vouch.digest)
        return replica

    def apply(self, entry: Entry) -> list[Batch]:
        """Take one entry; return the outputs that it caused. Raises DivergedError, or what the machine raises."""
        batches = entry.batches()
        self._hear(batches, entry.index)
        machine = self.machine
        events: list[Message] = []
        for run in runs(batches, machine.reads):
            if run.reason:
                events += machine.reject(entry.time_ns, run.first_sequence, run.channel, run.count, run.reason)
            else:
                events += machine.apply(entry.time_ns, run.first_sequence, run.channel, run.messages)
        self.events = events
        made = self._seal(events, entry.first_sequence)
        self.position = entry.next_sequence - 1
        self._entry = entry
        self.at_marker = self.markers.passes(entry)
        return made

    def snapshot(self) -> Snapshot:
        """The state behind the entry that was applied last."""
        entry = self._entry
        assert entry is not None, "nothing was applied yet"
        return Snapshot(
            version=images.VERSION,
            cluster=entry.cluster,
            shard=self.sender,
            index=entry.index,
            entry_digest=entry.digest,
            position=self.position,
            time_ns=entry.time_ns,
            outputs=self.number,
            outputs_digest=self.digest,
            markers=self.markers.state(),
            state=self.machine.snapshot(),
        )

    def _hear(self, batches: list[Batch], index: int) -> None:
        """Take note of what is not the machine's: own outputs, own states, operations."""
        if self.operations:
            self.operations = []
        for batch in batches:
            if batch.channel == self.machine.writes:
                if batch.sender == self.sender:
                    self._compare(batch)
            elif batch.channel == STATES:
                if batch.sender == self.states.sender:
                    self.states.see(batch, index)
            elif batch.channel == OPERATIONS:
                operations = operations_in(batch)
                self.operations += operations
                for operation in operations:
                    self.markers.hear(operation)

    def _seal(self, events: list[Message], cause: int) -> list[Batch]:
        if events and not self.machine.writes:
            raise ValueError(f"{self.machine.name} writes on no channel, and returned {len(events)} events")
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
        if batch.number <= self._restored[0]:
            self._compare_restored(batch)
            return
        own = self.unconfirmed.popleft() if self.unconfirmed else None
        if own is None or own.number != batch.number or own.digest != batch.digest:
            raise DivergedError(
                f"output {batch.number} of {self.sender} at sequence {batch.first_sequence} is "
                f"{batch.digest.hex()[:16]} in the log; this replica made "
                f"{f'{own.number}: {own.digest.hex()[:16]}' if own else 'nothing'} there"
            )
        self.confirmed = batch.number

    def _compare_restored(self, batch: Batch) -> None:
        """An output of before the snapshot: the last one's digest covers all of them."""
        number, digest = self._restored
        if batch.number == number and batch.digest != digest:
            raise DivergedError(
                f"output {batch.number} of {self.sender} at sequence {batch.first_sequence} is "
                f"{batch.digest.hex()[:16]} in the log; this replica's snapshot has {digest.hex()[:16]}"
            )


def operations_in(batch: Batch) -> list[Message]:
    """What operators ask for in a batch of their channel; one that cannot be read is void, for every replica."""
    try:
        return DECODERS[OPERATIONS].decode(batch.payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
