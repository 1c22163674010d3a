"""Commands that wait, in one queue for each instrument.

    put --> [ order 7? | cancel 9 | tick 12 ]   instrument 1: stops at 7, which credit has not decided
        \\-> handled at once                     instrument 2: has no queue

Rules
- A command joins its instrument's queue if there is one, or if it needs a decision; else it is handled at
  once. A queue is handled from its front up to the first command that is not decided.
- A sweep joins every queue and is handled at once in all other instruments; the MassCanceled of one comes
  when the last queue has handled it.
- A new symbol gets its instrument id when its command is put, so that ids follow the log; the instrument
  exists when its queue comes to it.
- The first decision about a command counts; one about a command that does not wait is void.
- Queues are drained by ascending instrument id.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from engines.matching.book import Emit
from engines.matching.deciders import Deciders
from engines.matching.instruments import Instruments, is_sweep
from engines.matching.skipped import Skipped, client_of, needs_decision
from engines.messages import (
    CancelAll,
    CancelOrder,
    Command,
    HaltInstrument,
    MassCanceled,
    Message,
    NewOrder,
    ReplaceOrder,
    ResumeInstrument,
    SetInstrument,
)

_IN_AN_INSTRUMENT: Final = (NewOrder, ReplaceOrder, CancelOrder, CancelAll, HaltInstrument, ResumeInstrument)


class Pending(msgspec.Struct, array_like=True, gc=False, eq=False):
    """A command that waits, with its own position and time."""

    sequence: int
    time_ns: int
    command: Command | Skipped


class Sweep(msgspec.Struct, array_like=True, gc=False, eq=False):
    """A CancelAll of everything that `waiting` queues have yet to handle."""

    by: int
    waiting: int
    count: int


class BacklogState(msgspec.Struct, array_like=True):
    """A backlog in a snapshot: the queues by instrument, the rest by sequence number."""

    queues: list[tuple[int, list[Pending]]] = []
    decided: list[tuple[int, int]] = []
    sweeps: list[Sweep] = []


class Backlog:
    """The queues; false when there are none."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._queues: dict[int, deque[Pending]] = {}
        self._undecided: dict[int, tuple[int, int]] = {}
        """sequence number -> instrument, client; ascending"""
        self._decided: dict[int, int] = {}
        """sequence number -> Reason, or 0 for authorized, of commands that are not at the front yet"""
        self._sweeps: dict[int, Sweep] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def put(self, time_ns: int, sequences: Sequence[int], commands: Sequence[Message], emit: Emit) -> None:
        """Take commands in the order of the log; handle what need not wait."""
        for sequence, command in zip(sequences, commands, strict=True):
            if is_sweep(command):
                self._put_sweep(time_ns, sequence, command, emit)
            elif isinstance(command, SetInstrument):
                self._put_in(self._instruments.assign(command), time_ns, sequence, command, emit)
            elif isinstance(command, _IN_AN_INSTRUMENT):
                self._put_in(command.instrument_id, time_ns, sequence, command, emit)
            elif isinstance(command, Skipped):
                instrument_id = getattr(command.command, "instrument_id", 0)
                if instrument_id or needs_decision(command):
                    self._put_in(instrument_id, time_ns, sequence, command, emit)
                else:
                    self._instruments.handle(time_ns, (sequence,), (command,), {}, emit)

    def decide(
        self, first_sequence: int, end_sequence: int, refused: Mapping[int, int], emit: Emit, by: Deciders
    ) -> None:
        """Take a decision about the commands in a range, and go on where one was waited for.

        Of the orders there, only those count that `by` knows as decided.
        """
        if end_sequence - first_sequence <= len(self._undecided):
            found = [s for s in range(first_sequence, end_sequence) if s in self._undecided]
        else:
            found = [s for s in self._undecided if first_sequence <= s < end_sequence]
        touched, several = [], by.are_several
        for sequence in found:
            instrument_id, client_id = self._undecided[sequence]
            if several and not by.has_decided(sequence, client_id):
                continue
            touched.append(instrument_id)
            del self._undecided[sequence]
            self._decided[sequence] = refused.get(sequence, 0)
        for instrument_id in sorted(dict.fromkeys(touched)):
            self._drain(instrument_id, emit)

    def undecided(self) -> list[tuple[int, int]]:
        """Position and client of each order that credit has not decided."""
        return [(sequence, client_id) for sequence, (_instrument_id, client_id) in self._undecided.items()]

    def sweeps(self) -> list[tuple[int, int]]:
        """Each CancelAll that waits in a queue, and how many it has canceled."""
        return [(by, self._sweeps[by].count) for by in sorted(self._sweeps)]

    def snapshot(self) -> BacklogState:
        """Everything that waits."""
        return BacklogState(
            [(instrument_id, [*self._queues[instrument_id]]) for instrument_id in sorted(self._queues)],
            sorted(self._decided.items()),
            [self._sweeps[by] for by in sorted(self._sweeps)],
        )

    def restore(self, state: BacklogState) -> None:
        """Become what gave this state."""
        self._queues = {instrument_id: deque(queue) for instrument_id, queue in state.queues}
        self._decided = dict(state.decided)
        self._sweeps = {sweep.by: sweep for sweep in state.sweeps}
        self._undecided = dict(sorted(self._still_undecided(state.queues)))

    def _still_undecided(self, queues: Iterable[tuple[int, list[Pending]]]) -> Iterable[tuple[int, tuple[int, int]]]:
        for instrument_id, queue in queues:
            for pending in queue:
                if needs_decision(pending.command) and pending.sequence not in self._decided:
                    yield pending.sequence, (instrument_id, client_of(pending.command))

    def _put_in(self, instrument_id: int, time_ns: int, sequence: int, command: Message, emit: Emit) -> None:
        queue = self._queues.get(instrument_id)
        if needs_decision(command):
            self._undecided[sequence] = (instrument_id, client_of(command))
            queue = self._queues.setdefault(instrument_id, deque())
        if queue is None:
            self._instruments.handle(time_ns, (sequence,), (command,), {}, emit)
        else:
            queue.append(Pending(sequence, time_ns, command))  # type: ignore[arg-type]

    def _put_sweep(self, time_ns: int, sequence: int, command: Message, emit: Emit) -> None:
        count = 0
        for instrument_id in sorted(self._instruments.books):
            if instrument_id not in self._queues:
                count += self._instruments.sweep(instrument_id, time_ns, sequence, command, emit)
        for queue in self._queues.values():
            queue.append(Pending(sequence, time_ns, command))  # type: ignore[arg-type]
        if isinstance(command, CancelAll):
            self._sweeps[sequence] = Sweep(sequence, len(self._queues), count)
            self._end_sweep(sequence, emit)

    def _drain(self, instrument_id: int, emit: Emit) -> None:
        queue = self._queues[instrument_id]
        while queue:
            pending = queue[0]
            sequence, command = pending.sequence, pending.command
            if sequence in self._undecided:
                return
            queue.popleft()
            if is_sweep(command):
                self._go_on_with_sweep(instrument_id, pending, emit)
            else:
                reason = self._decided.pop(sequence, 0)
                refused = {sequence: reason} if reason else {}
                self._instruments.handle(pending.time_ns, (sequence,), (command,), refused, emit)
        del self._queues[instrument_id]

    def _go_on_with_sweep(self, instrument_id: int, pending: Pending, emit: Emit) -> None:
        by = pending.sequence
        count = self._instruments.sweep(instrument_id, pending.time_ns, by, pending.command, emit)
        if by in self._sweeps:
            sweep = self._sweeps[by]
            sweep.waiting -= 1
            sweep.count += count
            self._end_sweep(by, emit)

    def _end_sweep(self, by: int, emit: Emit) -> None:
        if not self._sweeps[by].waiting:
            sweep, known = self._sweeps.pop(by), self._instruments
            emit(MassCanceled(by, sweep.count, known.shard, known.shards))
