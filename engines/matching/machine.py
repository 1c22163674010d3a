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
- A decision covers positions, not runs: however runs are cut, the state and the events are the same.
- A batch of commands that cannot be read has no effect but one BatchRejected. One of decisions is our own
  bug and halts the machine.
- No decodable message makes it raise, whatever its integers are.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

import msgspec

from engines.matching.backlog import Backlog, BacklogState, Pending, needs_decision
from engines.matching.book import Emit, Order
from engines.matching.instruments import Instruments, InstrumentState
from engines.matching.skipped import Skipped
from engines.messages import (
    COMMANDS,
    DECISIONS,
    ENCODER,
    RESULTS,
    BatchRejected,
    CreditDecisions,
    Message,
)

PATIENCE_NS: Final = 500_000_000
"""Far above what a decision takes while credit lives, and below the seconds in which a replica is back."""


class Run(msgspec.Struct, gc=False, eq=False):
    """Commands that wait at consecutive positions; the first of the front run is an undecided order."""

    first_sequence: int
    time_ns: int
    commands: Sequence[Message]

    @property
    def end_sequence(self) -> int:
        """The position behind its last command."""
        return self.first_sequence + len(self.commands)


class State(msgspec.Struct, array_like=True):
    """A snapshot. Symbols are in the order of their ids; what waits is told one by one, however runs were cut."""

    symbols: list[str]
    instruments: list[InstrumentState]
    line: list[Pending]
    backlog: BacklogState


_STATE: Final = msgspec.msgpack.Decoder(State)


class Matching:
    """Price-time priority matching of every instrument."""

    name: ClassVar[str] = "matching"
    reads: ClassVar[tuple[int, ...]] = (COMMANDS, DECISIONS)
    writes: ClassVar[int] = RESULTS

    def __init__(self) -> None:
        self._instruments = Instruments()
        self._line: deque[Run] = deque()
        self._backlog = Backlog(self._instruments)

    def apply(self, time_ns: int, first_sequence: int, channel: int, messages: Sequence[Message]) -> list[Message]:
        """Take a run of commands or decisions; return what happened to orders and instruments."""
        events: list[Message] = []
        if channel == COMMANDS:
            self._take(time_ns, first_sequence, messages, events.append)
        else:
            for message in messages:
                if isinstance(message, CreditDecisions):
                    self._decide(message, events.append)
        return events

    def reject(self, time_ns: int, first_sequence: int, channel: int, count: int, reason: int) -> list[Message]:
        """Answer a batch of commands that could not be read."""
        assert channel == COMMANDS, (
            f"decisions at {first_sequence} to {first_sequence + count} cannot be read: {reason}"
        )
        return [BatchRejected(first_sequence, count, int(reason))]

    def skip(self, time_ns: int, sequence: int, channel: int, message: Message) -> list[Message]:
        """Refuse a command in its turn. Raises ValueError for decisions: their orders would wait for ever."""
        if channel == COMMANDS:
            return self.apply(time_ns, sequence, channel, [Skipped(message)])  # type: ignore[arg-type]
        if not isinstance(message, CreditDecisions):
            return []
        first, last = message.first_sequence, message.first_sequence + message.count - 1
        raise ValueError(f"a decision cannot be skipped: skip an order that it is about, of {first} to {last}")

    def snapshot(self) -> bytes:
        """The whole state as bytes: equal states give equal bytes."""
        symbols = sorted(self._instruments.ids, key=self._instruments.ids.__getitem__)
        line = [pending for run in self._line for pending in _each(run)]
        return ENCODER.encode(State(symbols, self._instruments.snapshot(), line, self._backlog.snapshot()))

    def restore(self, state: bytes) -> None:
        """Become the machine that made this snapshot. Raises msgspec.DecodeError for other bytes."""
        restored = _STATE.decode(state)
        self._instruments.restore(restored.symbols, restored.instruments)
        self._line = deque(Run(p.sequence, p.time_ns, [p.command]) for p in restored.line)
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
        if self._line and time_ns - self._line[0].time_ns > PATIENCE_NS:
            self._spill(emit)
        if self._backlog:
            self._backlog.put(time_ns, first_sequence, commands, emit)
        else:
            self._line.append(Run(first_sequence, time_ns, commands))
            if len(self._line) == 1:
                self._advance(0, {}, emit)

    def _decide(self, decision: CreditDecisions, emit: Emit) -> None:
        first, end = decision.first_sequence, decision.first_sequence + decision.count
        refused = {first + offset: reason for offset, reason in decision.refused}
        if self._line and first <= self._line[0].first_sequence < end:
            self._advance(end, refused, emit)
            return
        if self._line and self._line[0].first_sequence < first < self._line[-1].end_sequence:
            self._spill(emit)
        self._backlog.decide(first, end, refused, emit)

    def _advance(self, decided_until: int, refused: dict[int, int], emit: Emit) -> None:
        """Handle the line up to the first order at or behind `decided_until`; all before it is decided."""
        line, handle = self._line, self._instruments.handle
        while line:
            run = line[0]
            commands = run.commands
            stop = _first_undecided(commands, decided_until - run.first_sequence)
            if stop == len(commands):
                line.popleft()
                handle(run.time_ns, run.first_sequence, commands, refused, emit)
                continue
            if stop:
                line[0] = Run(run.first_sequence + stop, run.time_ns, commands[stop:])
                handle(run.time_ns, run.first_sequence, commands[:stop], refused, emit)
            return

    def _spill(self, emit: Emit) -> None:
        line, self._line = self._line, deque()
        for run in line:
            self._backlog.put(run.time_ns, run.first_sequence, run.commands, emit)


def _first_undecided(commands: Sequence[Message], decided: int) -> int:
    """The offset of the first order or replace at or behind offset `decided`, or the length."""
    count = len(commands)
    for offset in range(max(decided, 0), count):
        if needs_decision(commands[offset]):
            return offset
    return count


def _each(run: Run) -> Iterator[Pending]:
    for sequence, command in enumerate(run.commands, run.first_sequence):
        yield Pending(sequence, run.time_ns, command)  # type: ignore[arg-type]
