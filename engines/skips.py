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
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from engines.messages import OPERATIONS, Message, SkipMessage
from engines.runs import Run, operations_in
from sequencer.envelope import CONTROL, Batch, Entry


class Proposal(msgspec.Struct, array_like=True, frozen=True):
    """A skip that was sequenced and is not decided yet."""

    sequence: int
    incarnation: int
    outputs: int


class SkipState(msgspec.Struct, array_like=True, frozen=True):
    """What later decisions depend on: the shard's incarnation, its last output in the log, what is proposed."""

    incarnation: int = 0
    outputs: int = 0
    proposals: list[Proposal] = []


class Skips:
    """The skips of one shard, as far as the log was heard."""

    def __init__(self, shard: str, state: SkipState | None = None) -> None:
        state = state or SkipState()
        self.shard = shard
        self.incarnation = state.incarnation
        self.outputs = state.outputs
        """The number of the shard's last output in the log."""
        self.in_force: dict[int, int] = {}
        """Sequence number of the skipped message -> of the opening from which on that counts."""
        self._proposals = list(state.proposals)

    def state(self) -> SkipState:
        """What to go on with; `in_force` is not in it."""
        return SkipState(self.incarnation, self.outputs, list(self._proposals))

    def read(self, entry: Entry) -> None:
        """Hear all of an entry."""
        for batch in entry.batches():
            if batch.channel == OPERATIONS:
                self.propose(batch, operations_in(batch))
            elif batch.sender == self.shard:
                if batch.channel == CONTROL:
                    self.open(batch)
                else:
                    self.outputs = batch.number

    def propose(self, batch: Batch, operations: Iterable[Message]) -> None:
        """Hear what operators ask for."""
        for operation in operations:
            if (
                isinstance(operation, SkipMessage)
                and operation.shard == self.shard
                and 0 < operation.sequence < batch.first_sequence
            ):
                self._proposals.append(Proposal(operation.sequence, operation.incarnation, operation.outputs))

    def open(self, batch: Batch) -> list[int]:
        """Hear that an incarnation was opened; return what is skipped from here on."""
        self.incarnation = batch.incarnation
        wanted = (batch.incarnation, self.outputs)
        begun = [one.sequence for one in self._proposals if (one.incarnation, one.outputs) == wanted]
        for sequence in begun:
            self.in_force.setdefault(sequence, batch.first_sequence)
        self._proposals = [one for one in self._proposals if one.incarnation > batch.incarnation]
        return begun


def skips_in(entries: Iterable[Entry], shard: str) -> dict[int, int]:
    """The skips of a shard that are in force in a log, from its beginning: as `Skips.in_force`."""
    skips = Skips(shard)
    for entry in entries:
        skips.read(entry)
    return skips.in_force


def overruled(position: int, in_force: Mapping[int, int]) -> int:
    """The skipped message because of which the state behind `position` is not the shard's any more, or 0."""
    return next((sequence for sequence, opened in in_force.items() if sequence <= position < opened), 0)


def without(runs: Iterable[Run], in_force: Mapping[int, int]) -> Iterator[Run]:
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
