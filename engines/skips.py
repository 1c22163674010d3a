"""Which messages operators had a shard refuse: a function of the log.

    SkipMessage(N, next incarnation, last output) ... OpenSession of the shard, next incarnation
         proposed                                       |
                                                        +-- nothing more was put out: in force from here on
                                                        +-- something was: void

Rules:
- A skip names the incarnation that is opened next and the number of the shard's last output. It is decided where that
  incarnation is opened, which also fences what replicas put out late. So an output that was sequenced just before
  makes it void, and one that comes just after it is refused.
- A skip in force at X of the message at N is obeyed at N, by every replica and in every replay: who begins before N
  has to know all skips that are in the log.
- A state of N or behind it, and before X, is not that of the shard any more.
- Only a shard that is in force can skip, or one of before that is not closed yet. Shards of another number obey it
  too: a shadow has to refuse what the shard in force has refused. For its siblings, of the same number, the message
  is not their own.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from engines.messages import OPERATIONS, Message, SkipMessage
from engines.runs import Run, operations_in
from engines.sharding import Shard, Sharding, is_shard_of, named
from sequencer.envelope import CONTROL, Batch, Entry

SENDERS_MAX: Final = 4096


class Proposal(msgspec.Struct, array_like=True, frozen=True):
    """A skip that was sequenced and is not decided yet."""

    shard: str
    sequence: int
    incarnation: int
    outputs: int


class SkipState(msgspec.Struct, array_like=True, frozen=True):
    """What later decisions depend on: (shard, incarnation, last output in the log) by name, and what is proposed."""

    shards: list[tuple[str, int, int]] = []
    proposals: list[Proposal] = []


class Decided(msgspec.Struct, frozen=True):
    """A skip that is in force: it was decided at `opened`, where the incarnation of `shard` was opened."""

    opened: int
    shard: str


class Skips:
    """The skips of all shards of a machine, as far as the log was heard by `shard`."""

    def __init__(self, sharding: Sharding, state: SkipState | None = None) -> None:
        """`sharding` is heard by `read`; a caller that does without hears it itself."""
        state = state or SkipState()
        self.sharding = sharding
        self.shard = sharding.shard.sender
        self.in_force: dict[int, Decided] = {}
        """Those that this shard obeys, by the sequence number of the skipped message."""
        self._shards: dict[str, bool] = {}
        """Sender -> whether it is a shard of the machine."""
        self._incarnations = {name: incarnation for name, incarnation, _outputs in state.shards}
        self._outputs = {name: outputs for name, _incarnation, outputs in state.shards}
        self._proposals = list(state.proposals)

    @property
    def incarnation(self) -> int:
        """The shard's own."""
        return self._incarnations.get(self.shard, 0)

    @property
    def outputs(self) -> int:
        """The number of the shard's own last output in the log."""
        return self._outputs.get(self.shard, 0)

    @property
    def openings(self) -> int:
        """How many incarnations were opened, of all shards of the machine."""
        return sum(self._incarnations.values())

    def state(self) -> SkipState:
        """What to go on with; `in_force` is not in it."""
        names = sorted({*self._incarnations, *self._outputs})
        shards = [(name, self._incarnations.get(name, 0), self._outputs.get(name, 0)) for name in names]
        return SkipState(shards, list(self._proposals))

    def read(self, entry: Entry) -> None:
        """Hear all of an entry."""
        for batch in entry.batches():
            if batch.channel == OPERATIONS:
                operations = operations_in(batch)
                self.propose(batch, operations)
                self.sharding.hear_all(batch.first_sequence, operations)
            elif batch.channel == CONTROL:
                self.open(batch)
            else:
                self.note(batch)
                self.sharding.see(batch.sender, batch.payload)
        self.sharding.turn()

    def note(self, batch: Batch) -> None:
        """Hear a batch that may be an output of the machine."""
        if self._is_ours(batch.sender):
            self._outputs[batch.sender] = batch.number

    def propose(self, batch: Batch, operations: Iterable[Message]) -> None:
        """Hear what operators ask for."""
        for one in operations:
            if (
                isinstance(one, SkipMessage)
                and is_shard_of(self.sharding.shard.machine, one.shard)
                and 0 < one.sequence < batch.first_sequence
            ):
                self._proposals.append(Proposal(one.shard, one.sequence, one.incarnation, one.outputs))

    def open(self, batch: Batch) -> list[int]:
        """Hear that a sender's incarnation was opened; return what this shard skips from here on."""
        sender = batch.sender
        if not self._is_ours(sender):
            return []
        self._incarnations[sender] = batch.incarnation
        wanted = (sender, batch.incarnation, self._outputs.get(sender, 0))
        begun = [one.sequence for one in self._proposals if (one.shard, one.incarnation, one.outputs) == wanted]
        if not self.sharding.may_skip(sender) or not concerns(sender, self.shard):
            begun = []
        for sequence in begun:
            self.in_force.setdefault(sequence, Decided(batch.first_sequence, sender))
        self._proposals = [one for one in self._proposals if one.shard != sender or one.incarnation > batch.incarnation]
        return begun

    def _is_ours(self, sender: str) -> bool:
        """Asked of every batch, so it is remembered of each sender."""
        known = self._shards.get(sender)
        if known is None:
            if len(self._shards) >= SENDERS_MAX:
                self._shards.clear()
            known = self._shards[sender] = is_shard_of(self.sharding.shard.machine, sender)
        return known


def skips_in(entries: Iterable[Entry], shard: Shard, *, silent: bool = False) -> dict[int, Decided]:
    """The skips that a shard obeys in a log, from its beginning: as `Skips.in_force`."""
    skips = Skips(Sharding(shard, silent=silent))
    for entry in entries:
        skips.read(entry)
    return skips.in_force


def overruled(position: int, in_force: Mapping[int, Decided], shard: str) -> int:
    """The skipped message because of which the state behind `position` is not the shard's any more, or 0."""
    for sequence, decided in in_force.items():
        if sequence <= position < decided.opened and concerns(decided.shard, shard):
            return sequence
    return 0


def concerns(skipping: str, shard: str) -> bool:
    """Whether what one shard skips may be a part of another's state: the same, or one of another number of shards."""
    return skipping == shard or named(skipping).count != named(shard).count


def without(runs: Iterable[Run], in_force: Mapping[int, object]) -> Iterator[Run]:
    """The same runs, in which each skipped message is a run of its own, marked as `skipped`."""
    for run in runs:
        first, end = run.first_sequence, run.first_sequence + run.count
        places = [] if run.reason else sorted(one for one in in_force if first <= one < end)
        if not places:
            yield run
            continue
        for place in places:
            if place > first:
                yield run.part(first, place)
            skipped = run.part(place, place + 1)
            skipped.skipped = True
            yield skipped
            first = place + 1
        if first < end:
            yield run.part(first, end)
