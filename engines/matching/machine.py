"""The machine: what waits for credit, and when it goes on.

    COMMANDS --> [ run | run | run ] --front is decided--> instruments --> RESULTS
                        |
                        +-- stuck --> backlog (a queue for each instrument) --> instruments --> RESULTS

Rules
- Nobody overtakes: an instrument's commands are handled in the order of their positions in the log, each at
  its own time. So what trades never depends on when decisions come.
- Runs wait whole in one line, which stops at the first order or replace that is not decided. Nothing is
  done to a command until it is handled.
- The line *spills* into the backlog, where a stuck order holds only its own instrument, when a decision
  comes for something behind its front, or when its front has waited for PATIENCE_NS of sequenced time. It is
  back when the backlog is empty. Both ways give every instrument the same events.
- What operators had skipped waits like the command that it stands for, and is refused in its turn.
- Where its number of shards changes it spills too: what of an instrument has been handled then is the same in all.
- Of several credit shards, each decides about its own clients; the line stops at the first order that its client's
  shard has not come to.
- A decision covers positions, not runs: however runs are cut, the state and the events are the same.
- RefuseUndecided is a decision of the shard that it names, about all that this one has not decided yet.
- A batch of commands that cannot be read has no effect but one BatchRejected. One of decisions is our own
  bug and halts the machine.
- No decodable message makes it raise, whatever its integers are.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

import msgspec

from engines.matching.backlog import Backlog, BacklogState, Pending
from engines.matching.book import Emit, Order
from engines.matching.deciders import Deciders
from engines.matching.instruments import Instruments, InstrumentState
from engines.matching.skipped import Skipped, client_of, needs_decision
from engines.messages import (
    COMMANDS,
    DECISIONS,
    ENCODER,
    OPERATIONS,
    RESULTS,
    BatchRejected,
    CreditDecisions,
    MassCanceled,
    Message,
    Reason,
    RefuseUndecided,
)

END_OF_LOG: Final = 1 << 63
PATIENCE_NS: Final = 500_000_000
"""Far above what a decision takes while credit lives, and below the seconds in which a replica is back."""


class Run(msgspec.Struct, gc=False, eq=False):
    """Commands of one run that wait, with their positions; the first of the front run is an undecided order."""

    sequences: Sequence[int]
    time_ns: int
    commands: Sequence[Message]


class State(msgspec.Struct, array_like=True):
    """A snapshot. Symbols are in the order of their ids; what waits is told one by one, however runs were cut.

    `ends` is how far each credit shard has come, `refused` what one of several has refused of what waits in the line.
    """

    shard: int
    shards: int
    symbols: list[str]
    instruments: list[InstrumentState]
    line: list[Pending]
    backlog: BacklogState
    ends: list[int]
    refused: list[tuple[int, int]]


_STATE: Final = msgspec.msgpack.Decoder(State)


class Matching:
    """Price-time priority matching of every instrument, or of those of one shard."""

    name: ClassVar[str] = "matching"
    shard_key: ClassVar[str] = "instrument_id"
    reads: ClassVar[tuple[int, ...]] = (COMMANDS, DECISIONS, OPERATIONS)
    writes: ClassVar[int] = RESULTS

    def __init__(self, shard: int = 0, shards: int = 1) -> None:
        self._instruments = Instruments(shard, shards)
        self._deciders = Deciders()
        self._refused: dict[int, int] = {}
        self._line: deque[Run] = deque()
        self._backlog = Backlog(self._instruments)

    def apply(self, time_ns: int, first_sequence: int, channel: int, messages: Sequence[Message]) -> list[Message]:
        """Take a run of commands or decisions; return what happened to orders and instruments."""
        events: list[Message] = []
        if channel == COMMANDS:
            self._take(time_ns, first_sequence, messages, events.append)
        else:
            for sequence, message in enumerate(messages, first_sequence):
                if isinstance(message, CreditDecisions):
                    self._decide(message, events.append)
                elif isinstance(message, RefuseUndecided):
                    self._refuse(sequence, message, events.append)
        return events

    def reject(self, time_ns: int, first_sequence: int, channel: int, count: int, reason: int) -> list[Message]:
        """Answer a batch of commands that could not be read; where there are several shards, the first does."""
        if channel == OPERATIONS:
            return []
        assert channel == COMMANDS, (
            f"decisions at {first_sequence} to {first_sequence + count} cannot be read: {reason}"
        )
        return [] if self._instruments.shard else [BatchRejected(first_sequence, count, int(reason))]

    def skip(self, time_ns: int, sequence: int, channel: int, message: Message) -> list[Message]:
        """Refuse a command in its turn. Raises ValueError for decisions: their orders would wait for ever."""
        if channel == COMMANDS:
            is_own = self._instruments.skips(message)
            return self.apply(time_ns, sequence, channel, [Skipped(message)]) if is_own else []  # type: ignore[arg-type]
        if not isinstance(message, CreditDecisions):
            return []
        first, last = message.first_sequence, message.first_sequence + message.count - 1
        raise ValueError(f"a decision cannot be skipped: skip an order that it is about, of {first} to {last}")

    def turn(self) -> list[Message]:
        """Have each instrument wait only for its own orders; answer a CancelAll that waits with its sum so far."""
        events: list[Message] = []
        if self._line:
            self._spill(events.append)
        known = self._instruments
        sums = [MassCanceled(by, count, known.shard, known.shards) for by, count in self._backlog.sweeps()]
        return events + sums

    def snapshot(self) -> bytes:
        """The whole state as bytes: equal states give equal bytes."""
        symbols = sorted(self._instruments.ids, key=self._instruments.ids.__getitem__)
        line = [pending for run in self._line for pending in _each(run)]
        return ENCODER.encode(
            State(
                self._instruments.shard,
                self._instruments.shards,
                symbols,
                self._instruments.snapshot(),
                line,
                self._backlog.snapshot(),
                self._deciders.ends,
                sorted(self._refused.items()),
            )
        )

    def restore(self, state: bytes) -> None:
        """Become the machine that made this snapshot.

        Raises msgspec.DecodeError for other bytes, ValueError for another shard's.
        """
        restored = _STATE.decode(state)
        ours = (self._instruments.shard, self._instruments.shards)
        if (restored.shard, restored.shards) != ours:
            raise ValueError(f"it is of shard {restored.shard} of {restored.shards}, this is {ours[0]} of {ours[1]}")
        self._instruments.restore(restored.symbols, restored.instruments)
        self._line = deque(Run((p.sequence,), p.time_ns, [p.command]) for p in restored.line)
        self._deciders = Deciders(restored.ends)
        self._refused = dict(restored.refused)
        self._backlog.restore(restored.backlog)

    def symbols(self) -> dict[int, str]:
        """The symbol of each instrument that exists, by instrument id."""
        return {
            instrument_id: self._instruments.terms[instrument_id].symbol for instrument_id in self._instruments.books
        }

    def orders(self, instrument_id: int) -> list[Order]:
        """What rests in an instrument: the bids in priority, then the asks in priority."""
        book = self._instruments.books.get(instrument_id)
        return [] if book is None else [*book.bids, *book.asks]

    def waiting(self) -> bool:
        """Whether anything waits for a decision of credit."""
        return bool(self._line) or bool(self._backlog)

    def _take(self, time_ns: int, first_sequence: int, commands: Sequence[Message], emit: Emit) -> None:
        sequences, own = self._instruments.own(first_sequence, commands)
        if self._line and time_ns - self._line[0].time_ns > PATIENCE_NS:
            self._spill(emit)
        if not own:
            return
        if self._backlog:
            self._backlog.put(time_ns, sequences, own, emit)
        else:
            self._line.append(Run(sequences, time_ns, own))
            if len(self._line) == 1:
                self._advance(0, self._refused, emit)

    def _decide(self, decision: CreditDecisions, emit: Emit) -> None:
        if not self._deciders.hear(decision):
            return
        first, end = decision.first_sequence, decision.first_sequence + decision.count
        refused = {first + offset: reason for offset, reason in decision.refused}
        line = self._line
        if self._deciders.are_several:
            if line:
                self._refused = refused | self._refused  # what was refused before stays so
                self._advance(0, self._refused, emit)
                self._forget()
                return
        elif line and first <= line[0].sequences[0] < end:
            self._advance(end, refused | self._refused, emit)
            self._forget()
            return
        elif line and line[0].sequences[0] < first <= line[-1].sequences[-1]:
            self._spill(emit)
        self._backlog.decide(first, end, refused, emit, self._deciders)

    def _refuse(self, sequence: int, operation: RefuseUndecided, emit: Emit) -> None:
        """Decide for a credit shard that is down: it refuses everything before `sequence` that it has not decided."""
        shard, shards = operation.shard, operation.shards
        if shards != self._deciders.shards or not 0 <= shard < shards:
            return
        waiting = [*self._line_undecided(), *self._backlog.undecided()]
        refused = [(at, int(Reason.UNDECIDED)) for at, client_id in waiting if client_id % shards == shard]
        if refused:
            first = min(refused)[0]
            offsets = sorted((at - first, reason) for at, reason in refused)
            self._decide(CreditDecisions(first, sequence - first, offsets, shard, shards), emit)

    def _line_undecided(self) -> Iterator[tuple[int, int]]:
        """Position and client of each order in the line that is not decided."""
        for run in self._line:
            for sequence, command in zip(run.sequences, run.commands, strict=True):
                if needs_decision(command):
                    client_id = client_of(command)
                    if not self._deciders.are_several or not self._deciders.has_decided(sequence, client_id):
                        yield sequence, client_id

    def _advance(self, decided_until: int, refused: dict[int, int], emit: Emit) -> None:
        """Handle the line up to the first order that is not decided: all before `decided_until` are."""
        line, handle = self._line, self._instruments.handle
        while line:
            run = line[0]
            sequences, commands = run.sequences, run.commands
            stop = self._stop(sequences, commands, decided_until)
            if stop == len(commands):
                line.popleft()
                handle(run.time_ns, sequences, commands, refused, emit)
                continue
            if stop:
                line[0] = Run(sequences[stop:], run.time_ns, commands[stop:])
                handle(run.time_ns, sequences[:stop], commands[:stop], refused, emit)
            return

    def _stop(self, sequences: Sequence[int], commands: Sequence[Message], decided_until: int) -> int:
        """The offset of the first order or replace that is not decided, or the length."""
        if self._deciders.are_several:
            return self._deciders.stop(sequences, commands)
        count = len(commands)
        for offset in range(bisect_left(sequences, decided_until), count):
            if needs_decision(commands[offset]):
                return offset
        return count

    def _forget(self) -> None:
        """Refusals of what has been handled, and of other shards' orders."""
        if self._refused:
            front = self._line[0].sequences[0] if self._line else END_OF_LOG
            self._refused = {sequence: reason for sequence, reason in self._refused.items() if sequence >= front}

    def _spill(self, emit: Emit) -> None:
        line, self._line = self._line, deque()
        for run in line:
            self._backlog.put(run.time_ns, run.sequences, run.commands, emit)
        if self._deciders.are_several:
            first, end = line[0].sequences[0], line[-1].sequences[-1] + 1
            self._backlog.decide(first, end, self._refused, emit, self._deciders)
            self._refused = {}


def _each(run: Run) -> Iterator[Pending]:
    for sequence, command in zip(run.sequences, run.commands, strict=True):
        yield Pending(sequence, run.time_ns, command)  # type: ignore[arg-type]
