"""A machine and the chain of its outputs: the pure part of a replica, fed with entries in order.

    entry --runs--> machine --events--> sealed as batches, each naming the entry as its cause
      |
      +-- own shard's outputs and state digests --> compared: the same, or this replica has diverged
      +-- own shard's next incarnation --> outputs that are not in the log are sealed anew
      +-- operations --> markers, skips

Rules:
- Outputs are a function of the log: what an entry gives is cut into batches of OUTPUT_MESSAGES, each
  names that entry as its cause, and all batches of a shard are one chain. So every replica makes the
  same bytes; the first copy is sequenced and the others confirm it.
- A shard's incarnation changes where the log opens the next one. What was made and is not in the log there is sealed
  anew under it, by every replica alike; copies under the old one are refused from there on.
- A replica that learns of a skip behind its place has to begin again, from a state of before the message.
- A shard that is not in force says nothing; see `sharding`.
- Every sequenced output of the shard is compared with the own one, live and in replay. Outputs of before the
  snapshot that a replica began with are known by the digest of the last of them.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from engines import snapshot as images
from engines.machine import Machine, Turning
from engines.markers import Markers
from engines.messages import ENCODER, OPERATIONS, STATES, Message
from engines.past import NOTHING_SKIPPED, advance
from engines.runs import operations_in, runs
from engines.sharding import Sharding, closing_payload, named
from engines.skips import Decided, Skips, overruled, without
from engines.snapshot import Snapshot
from engines.versions import activate, asked_in, in_force
from engines.vouching import StateChain
from sequencer.envelope import CONTROL, NO_DIGEST, Batch, Entry, encode_batch
from sequencer.errors import DivergedError

OUTPUT_MESSAGES: Final = 512


class Replica:
    """One shard of a machine, `sender` is its name in the log; `skipped` are the skips that are known to be in it.

    `renewed` is set by an entry after which all of `waiting` is to be submitted, and nothing else.
    """

    def __init__(self, machine: Machine, sender: str, skipped: Mapping[int, Decided] = NOTHING_SKIPPED) -> None:
        self.machine = machine
        self.sender = sender
        self.skipped = skipped
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
        self.renewed = False
        """Whether the next incarnation was opened, or the shards of before were closed, in the entry of last."""
        self.overruled_by = 0
        """A message that was skipped and that this replica has taken: it has to begin again before that."""
        self.sharding = Sharding(named(sender), silent=not machine.writes)
        self.contradiction: tuple[Batch, Batch | None] | None = None
        """An output in the log that this replica did not make, and what it made instead."""
        self.markers = Markers(machine.name, sender)
        self.skips = Skips(self.sharding)
        self.states = StateChain(sender)
        self._entry: Entry | None = None
        self._restored = (0, NO_DIGEST)
        """The last output of before the snapshot that this replica began with."""

    @classmethod
    def resumed(
        cls, machine: Machine, snapshot: Snapshot, vouch: Batch, skipped: Mapping[int, Decided] = NOTHING_SKIPPED
    ) -> "Replica":
        """The replica that made a snapshot; `vouch` is the batch of its digest in the log.

        Raises what `machine.restore` raises.
        """
        activate(machine, snapshot.rules)
        machine.restore(snapshot.state)
        replica = cls(machine, snapshot.shard, skipped)
        replica.sharding = Sharding(replica.sharding.shard, snapshot.sharding, silent=not machine.writes)
        replica.skips = Skips(replica.sharding, snapshot.skips)
        replica.position = snapshot.position
        replica.number = replica.confirmed = snapshot.outputs
        replica.digest = snapshot.outputs_digest
        replica._restored = (replica.number, replica.digest)
        replica.markers.restore(snapshot.markers)
        replica.states = StateChain(snapshot.shard, vouch.number, vouch.digest)
        return replica

    def apply(self, entry: Entry) -> list[Batch]:
        """Take one entry; return the outputs that it caused. One that makes this replica begin again is not taken.

        Raises DivergedError, VersionError, or what the machine raises.
        """
        batches = entry.batches()
        self._hear(batches, entry.index)
        if self.overruled_by:
            return []
        machine = self.machine
        events: list[Message] = []
        taken = runs(batches, machine.reads)
        for run in without(taken, self.skipped) if self.skipped else taken:
            events += advance(machine, entry.time_ns, run)
        self.events = events
        made = self._say(events, entry.first_sequence)
        self.position = entry.next_sequence - 1
        self._entry = entry
        self._upgrade()
        self.at_marker = self.markers.passes(entry)
        if self.at_marker:
            void = bool(overruled(self.position, self.skipped, self.sender))
            self.states.mark(self.markers.number, self.position, self.number, void=void)
        return made

    @property
    def waiting(self) -> Sequence[Batch]:
        """Outputs that the log lacks and that may be submitted: none before the shards of before are closed."""
        return () if self.sharding.holds else self.unconfirmed

    def hear(self, entry: Entry) -> None:
        """Take note of an entry that the machine does not take. Raises DivergedError."""
        self._hear(entry.batches(), entry.index)

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
            rules=in_force(self.machine),
            skips=self.skips.state(),
            sharding=self.sharding.state(),
            state=self.machine.snapshot(),
        )

    def _hear(self, batches: list[Batch], index: int) -> None:
        """Take note of what is not the machine's: own outputs, own states, own incarnation, operations."""
        if self.operations:
            self.operations = []
        self.renewed = False
        for batch in batches:
            if batch.channel == CONTROL:
                self._open(batch)
            elif batch.channel == self.machine.writes:
                self.skips.note(batch)
                if batch.sender == self.sender:
                    self._compare(batch)
                if self.sharding.closing and self.sharding.see(batch.sender, batch.payload):
                    self.renewed = True
            elif batch.channel == STATES:
                if batch.sender == self.states.sender:
                    self.states.see(batch, index)
            elif batch.channel == OPERATIONS:
                operations = operations_in(batch)
                self.operations += operations
                self.skips.propose(batch, operations)
                self.sharding.hear_all(batch.first_sequence, operations)
                for operation in operations:
                    self.markers.hear(operation)

    def _upgrade(self) -> None:
        """Follow the rules that operators have activated in this entry. Raises VersionError."""
        if self.operations:
            activate(self.machine, asked_in(self.operations, self.machine.name))

    def _say(self, events: list[Message], cause: int) -> list[Batch]:
        """What of the events is to be submitted: nothing of a shadow, nor before the shards of before are closed."""
        sharding, silent = self.sharding, self.sharding.silent
        if sharding.ends and isinstance(self.machine, Turning):
            events = events + self.machine.turn()
        made: list[Batch] = []
        if sharding.speaks or silent:
            made = self._seal(events, cause)
            if sharding.ends and not silent:
                made.append(self._seal_batch(closing_payload(sharding.ends), 1, cause))
        held = sharding.holds
        sharding.turn()
        return [] if held else made

    def _seal(self, events: list[Message], cause: int) -> list[Batch]:
        if events and not self.machine.writes:
            raise ValueError(f"{self.machine.name} writes on no channel, and returned {len(events)} events")
        made = []
        for first in range(0, len(events), OUTPUT_MESSAGES):
            part = events[first : first + OUTPUT_MESSAGES]
            made.append(self._seal_batch(ENCODER.encode(part), len(part), cause))
        return made

    def _seal_batch(self, payload: bytes, count: int, cause: int) -> Batch:
        """The next of the chain."""
        batch = encode_batch(
            self.sender,
            self.machine.writes,
            self.number + 1,
            payload,
            count=count,
            previous=self.digest,
            incarnation=self.skips.incarnation,
            cause=cause,
        )
        self.number, self.digest = batch.number, batch.digest
        self.unconfirmed.append(batch)
        return batch

    def _open(self, opening: Batch) -> None:
        """A sender's next incarnation begins here."""
        begun = self.skips.open(opening)
        self.overruled_by = next((sequence for sequence in begun if sequence not in self.skipped), self.overruled_by)
        if opening.sender == self.sender:
            self._reseal()

    def _reseal(self) -> None:
        """The shard's own, behind its last output in the log."""
        self.renewed = True
        self.states.reopen(self.skips.outputs)
        if not self.unconfirmed:
            return
        waiting, self.unconfirmed = self.unconfirmed, deque()
        self.number, self.digest = waiting[0].number - 1, waiting[0].previous
        for batch in waiting:
            self._seal_batch(bytes(batch.payload), batch.count, batch.cause)

    def _compare(self, batch: Batch) -> None:
        if batch.number <= self._restored[0]:
            self._compare_restored(batch)
            return
        own = self.unconfirmed.popleft() if self.unconfirmed else None
        if own is None or own.number != batch.number or own.digest != batch.digest:
            self.contradiction = (batch, own)
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
