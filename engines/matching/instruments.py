"""Every instrument of the shard: which command concerns which book.

Rules
- Of several shards, instrument i belongs to shard i modulo their number, whether it exists or not. Ids follow the
  log, so each shard knows all symbols; terms that are not valid are shard 0's to reject.
- Instrument ids are 1, 2, 3, ... in the order in which new symbols are set. A known symbol keeps its id and
  its terms; only its band moves. What rests outside a new band stays.
- Before a command is handled in an instrument, what is due there at the command's time expires, `by` it.
  A *sweep* (Tick, BlockClient, a CancelAll that names no instrument) is handled in every instrument, by
  ascending id; a refused order and a rejected command are handled too. What concerns no instrument
  (RegisterClient, SetCredit, ...) expires nothing.
- A refusal by credit comes before every check of our own, then UNKNOWN_INSTRUMENT.
- A MassCanceled follows the cancels that it counts; an unknown instrument counts 0.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from engines.matching.book import Book, Emit, Order
from engines.matching.ordinary import run_ordinary
from engines.matching.skipped import Skipped, refusal_of
from engines.matching.terms import is_valid_instrument
from engines.messages import (
    BlockClient,
    CancelAll,
    CancelOrder,
    CancelRejected,
    HaltInstrument,
    InstrumentHalted,
    InstrumentRejected,
    InstrumentResumed,
    InstrumentSet,
    MassCanceled,
    Message,
    NewOrder,
    OrderRejected,
    Reason,
    ReplaceOrder,
    ReplaceRejected,
    ResumeInstrument,
    SetInstrument,
    Tick,
)

_UNKNOWN_INSTRUMENT: Final = int(Reason.UNKNOWN_INSTRUMENT)


class Terms(msgspec.Struct, array_like=True, frozen=True):
    """What never changes about an instrument."""

    symbol: str
    currency: str
    tick: int
    tick_decimals: int
    lot: int
    lot_decimals: int


class InstrumentState(msgspec.Struct, array_like=True):
    """An instrument in a snapshot; the orders of each side in priority."""

    instrument_id: int
    terms: Terms
    band_low: int
    band_high: int
    halted: bool
    bids: list[Order]
    asks: list[Order]


def is_sweep(command: Message) -> bool:
    """Whether a command is handled in every instrument."""
    kind = type(command)
    return kind is Tick or kind is BlockClient or (kind is CancelAll and not command.instrument_id)  # type: ignore[attr-defined]


class Instruments:
    """The books, by instrument, and the commands that act on them."""

    def __init__(self, shard: int = 0, shards: int = 1) -> None:
        self.shard = shard
        self.shards = shards
        self.books: dict[int, Book] = {}
        self.terms: dict[int, Terms] = {}
        self.ids: dict[str, int] = {}

    def handle(
        self,
        time_ns: int,
        sequences: Sequence[int],
        commands: Sequence[Message],
        refused: Mapping[int, int],
        emit: Emit,
    ) -> None:
        """Carry out commands that wait for nothing; `refused` is sequence number -> Reason of credit."""
        for sequence, command in run_ordinary(self.books, time_ns, sequences, commands, refused, emit):
            self._handle(time_ns, sequence, command, refused.get(sequence, 0), emit)

    def sweep(self, instrument_id: int, time_ns: int, sequence: int, command: Message, emit: Emit) -> int:
        """Carry out a sweep in one instrument (or nothing, where there is none); return how many it canceled."""
        book = self._due(instrument_id, time_ns, sequence, emit)
        if book is None:
            return 0
        if isinstance(command, CancelAll):
            return book.cancel_all(command.account_id or None, sequence, Reason.MASS_CANCEL, emit)
        if isinstance(command, BlockClient):
            return book.cancel_all(command.account_id, sequence, Reason.CLIENT_BLOCKED, emit)
        return 0

    def assign(self, command: SetInstrument) -> int:
        """The id of the instrument that this sets, a new one for a new symbol; 0 for invalid terms."""
        if not is_valid_instrument(command):
            return 0
        return self.ids.setdefault(command.symbol, len(self.ids) + 1)

    def own(self, first_sequence: int, commands: Sequence[Message]) -> tuple[Sequence[int], Sequence[Message]]:
        """Those of consecutive commands that this shard handles, and where they stand."""
        if self.shards == 1:
            return range(first_sequence, first_sequence + len(commands)), commands
        shard, shards = self.shard, self.shards
        sequences, own = [], []
        for sequence, command in enumerate(commands, first_sequence):
            try:
                owner = command.instrument_id % shards  # type: ignore[attr-defined]
            except AttributeError:
                owner = shard if type(command) is Skipped else self._owner(command)
            if owner == shard or (type(command) is CancelAll and not command.instrument_id):
                sequences.append(sequence)
                own.append(command)
        return sequences, own

    def skips(self, command: Message) -> bool:
        """Whether this shard answers a command that is skipped. No symbol gets an id by that."""
        if isinstance(command, SetInstrument):
            return self.ids.get(command.symbol, 0) % self.shards == self.shard
        instrument_id = getattr(command, "instrument_id", 0)
        return is_sweep(command) or instrument_id % self.shards == self.shard

    def _owner(self, command: Message) -> int:
        """The shard that handles a command which names no instrument: this one, where all do."""
        if isinstance(command, SetInstrument):
            return self.assign(command) % self.shards
        return self.shard if is_sweep(command) else -1

    def snapshot(self) -> list[InstrumentState]:
        """All instruments, by id."""
        return [self._state(self.books[instrument_id]) for instrument_id in sorted(self.books)]

    def restore(self, symbols: Sequence[str], states: Sequence[InstrumentState]) -> None:
        """Become what gave these symbols, in the order of their ids, and these states."""
        self.ids = {symbol: instrument_id for instrument_id, symbol in enumerate(symbols, 1)}
        self.books, self.terms = {}, {}
        for state in states:
            book = self.books[state.instrument_id] = Book(state.instrument_id)
            self.terms[state.instrument_id] = state.terms
            book.limits.set_band(state.band_low, state.band_high)
            book.limits.set_halted(state.halted)
            for order in [*state.bids, *state.asks]:
                book.rest(order)

    def _state(self, book: Book) -> InstrumentState:
        limits, terms = book.limits, self.terms[book.instrument_id]
        return InstrumentState(
            book.instrument_id,
            terms,
            limits.band_low,
            limits.band_high,
            limits.halted,
            [*book.bids],
            [*book.asks],
        )

    def _handle(self, time_ns: int, sequence: int, command: Message, refusal: int, emit: Emit) -> None:
        if isinstance(command, NewOrder):
            self._enter(time_ns, sequence, command, refusal, emit)
        elif isinstance(command, CancelOrder):
            self._cancel(time_ns, sequence, command, emit)
        elif isinstance(command, ReplaceOrder):
            self._replace(time_ns, sequence, command, refusal, emit)
        elif isinstance(command, SetInstrument):
            self._set(time_ns, sequence, command, emit)
        elif isinstance(command, HaltInstrument | ResumeInstrument):
            self._halt(time_ns, sequence, command, emit)
        elif is_sweep(command):
            self._sweep_all(time_ns, sequence, command, emit)
        elif isinstance(command, CancelAll):
            count = self.sweep(command.instrument_id, time_ns, sequence, command, emit)
            emit(MassCanceled(sequence, count))
        elif isinstance(command, Skipped):
            for event in refusal_of(sequence, command, self.shard, self.shards):
                emit(event)

    def _enter(self, time_ns: int, sequence: int, command: NewOrder, refusal: int, emit: Emit) -> None:
        book = self._due(command.instrument_id, time_ns, sequence, emit)
        if refusal or book is None:
            emit(OrderRejected(sequence, refusal or _UNKNOWN_INSTRUMENT))
        else:
            book.enter(command, sequence, time_ns, emit)

    def _cancel(self, time_ns: int, sequence: int, command: CancelOrder, emit: Emit) -> None:
        book = self._due(command.instrument_id, time_ns, sequence, emit)
        if book is None:
            emit(CancelRejected(sequence, _UNKNOWN_INSTRUMENT))
        else:
            book.cancel(command, sequence, emit)

    def _replace(self, time_ns: int, sequence: int, command: ReplaceOrder, refusal: int, emit: Emit) -> None:
        book = self._due(command.instrument_id, time_ns, sequence, emit)
        if refusal or book is None:
            emit(ReplaceRejected(sequence, refusal or _UNKNOWN_INSTRUMENT))
        else:
            book.replace(command, sequence, emit)

    def _sweep_all(self, time_ns: int, sequence: int, command: Message, emit: Emit) -> None:
        count = 0
        for instrument_id in sorted(self.books):
            count += self.sweep(instrument_id, time_ns, sequence, command, emit)
        if isinstance(command, CancelAll):
            emit(MassCanceled(sequence, count, self.shard, self.shards))

    def _set(self, time_ns: int, sequence: int, command: SetInstrument, emit: Emit) -> None:
        instrument_id = self.assign(command)
        if not instrument_id:
            emit(InstrumentRejected(sequence, int(Reason.INVALID_INSTRUMENT)))
            return
        c = command
        terms = Terms(c.symbol, c.currency, c.tick, c.tick_decimals, c.lot, c.lot_decimals)
        book = self._due(instrument_id, time_ns, sequence, emit)
        if book is None:
            book = self.books[instrument_id] = Book(instrument_id)
            self.terms[instrument_id] = terms
        elif self.terms[instrument_id] != terms:
            emit(InstrumentRejected(sequence, int(Reason.INSTRUMENT_DIFFERS)))
            return
        book.limits.set_band(c.band_low, c.band_high)
        emit(
            InstrumentSet(
                sequence, instrument_id, c.symbol, c.currency, c.tick, c.tick_decimals, c.lot, c.lot_decimals,
                c.band_low, c.band_high,
            )
        )  # fmt: skip

    def _halt(self, time_ns: int, sequence: int, command: HaltInstrument | ResumeInstrument, emit: Emit) -> None:
        book = self._due(command.instrument_id, time_ns, sequence, emit)
        if book is None:
            emit(InstrumentRejected(sequence, _UNKNOWN_INSTRUMENT))
            return
        book.limits.set_halted(isinstance(command, HaltInstrument))
        event = InstrumentHalted if book.limits.halted else InstrumentResumed
        emit(event(sequence, command.instrument_id))

    def _due(self, instrument_id: int, time_ns: int, sequence: int, emit: Emit) -> Book | None:
        """The book of an instrument, if there is one, after what is due in it has expired."""
        book = self.books.get(instrument_id)
        if book is not None and book.expires_at_ns <= time_ns:
            book.expire(time_ns, sequence, emit)
        return book
