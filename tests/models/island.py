"""A venue in memory, for tests of gateways: one log, and a plain answer to every command.

    sequence(commands) --> [commands entry][decisions entry][results entry]

It has no credit and no terms but limit orders; what it is for is that every kind of event can be had in
the order in which the real engines write them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from engines import messages as m
from sequencer.envelope import CONTROL, NO_DIGEST, Batch, Entry, encode_batch, encode_entry


class Island:
    """The log, and who answers."""

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self._sequence = 1
        self._answers = Answers()

    @property
    def position(self) -> int:
        """The sequence number of the last message."""
        return self._sequence - 1

    def sequence(self, commands: Sequence[m.Message], sender: str = "gateway.test") -> list[Entry]:
        """Put commands and what follows from them into the log; return the new entries."""
        return self.submit(sender, m.ENCODER.encode(list(commands)), len(commands))

    def submit(self, sender: str, payload: bytes, count: int) -> list[Entry]:
        """The same, with an encoded payload."""
        start = len(self.log)
        first_sequence = self._sequence
        self.append(sender, m.COMMANDS, payload, count)
        commands = readable(payload, count)
        if commands is None:
            void = [m.BatchRejected(first_sequence, count, m.Reason.UNDECODABLE)]
            self.append("matching", m.RESULTS, m.ENCODER.encode(void), 1)
            return self.log[start:]
        decisions, results = self._answers.to(first_sequence, commands)
        for name, channel, events in (("credit", m.DECISIONS, decisions), ("matching", m.RESULTS, results)):
            if events:
                self.append(name, channel, m.ENCODER.encode(events), len(events))
        return self.log[start:]

    def mend(self, asked: m.CorrectTrade) -> list[Entry]:
        """Put the correction of a trade into the log, and what credit says of it; return the new entries."""
        start, by = len(self.log), self._sequence
        self.append("operator", m.OPERATIONS, m.ENCODER.encode([asked]), 1)
        terms = (asked.price, asked.quantity, asked.previous_price, asked.previous_quantity)
        told = [
            m.TradeCorrected(by, asked.trade, account_id, asked.instrument_id, side, *terms)
            for side, account_id in ((m.Side.BUY, asked.buyer_id), (m.Side.SELL, asked.seller_id))
        ]
        self.append("credit", m.DECISIONS, m.ENCODER.encode(told), len(told))
        return self.log[start:]

    def control(self) -> Entry:
        """An entry of the sequencer's own."""
        self.append("gateway.test", CONTROL, b"", 1)
        return self.log[-1]

    def append(self, sender: str, channel: int, payload: bytes, count: int) -> None:
        """Put one batch into the log, as an entry."""
        batch = encode_batch(sender, channel, 1, payload, count=count)
        self.log.append(self._entry([batch]))
        self._sequence += count

    def _entry(self, batches: list[Batch]) -> Entry:
        index = len(self.log) + 1
        previous = self.log[-1].digest if self.log else NO_DIGEST
        return encode_entry(
            batches,
            cluster=bytes(16),
            term=1,
            index=index,
            first_sequence=self._sequence,
            time_ns=1_000 * index,
            previous=previous,
        )


def readable(payload: bytes, count: int) -> list[m.Message] | None:
    """The commands of a payload, None where the batch is void."""
    try:
        commands = m.decode(m.COMMANDS, payload)
    except msgspec.DecodeError:
        return None
    return commands if len(commands) == count else None


@dataclass
class Resting:
    order_id: int
    order: m.NewOrder
    leaves: int


class Answers:
    """What plain engines would write."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.symbols: list[str] = []
        self.book: list[Resting] = []

    def to(self, first_sequence: int, commands: Sequence[m.Message]) -> tuple[list[m.Message], list[m.Message]]:
        """(decisions, results) of a run."""
        decisions: list[m.Message] = []
        results: list[m.Message] = []
        for sequence, command in enumerate(commands, first_sequence):
            decisions += self._decide(sequence, command)
            results += self._carry_out(sequence, command)
        if any(isinstance(command, m.NewOrder | m.ReplaceOrder) for command in commands):
            decisions.append(m.CreditDecisions(first_sequence, len(commands)))
        return decisions, results

    def _decide(self, by: int, c: m.Message) -> list[m.Message]:
        match c:
            case m.RegisterClient():
                if c.name not in self.names:
                    self.names.append(c.name)
                return [m.ClientRegistered(by, self.names.index(c.name) + 1, c.name)]
            case m.SetCredit() if c.amount < 0:
                return [m.CreditRejected(by, m.Reason.INVALID_AMOUNT)]
            case m.SetCredit() | m.AdjustCredit():
                return [m.CreditSet(by, c.account_id, c.currency, c.amount, c.decimals)]
            case m.Settle():
                return [m.CreditSettled(by, c.account_id, c.currency, c.amount, c.decimals)]
            case m.BlockClient():
                return [m.ClientBlocked(by, c.account_id)]
            case m.UnblockClient():
                return [m.ClientUnblocked(by, c.account_id)]
        return []

    def _carry_out(self, by: int, c: m.Message) -> list[m.Message]:
        match c:
            case m.SetInstrument():
                if c.symbol not in self.symbols:
                    self.symbols.append(c.symbol)
                return [m.InstrumentSet(by, self.symbols.index(c.symbol) + 1, *msgspec.structs.astuple(c)[2:])]
            case m.HaltInstrument() if not 0 < c.instrument_id <= len(self.symbols):
                return [m.InstrumentRejected(by, m.Reason.UNKNOWN_INSTRUMENT)]
            case m.HaltInstrument():
                return [m.InstrumentHalted(by, c.instrument_id)]
            case m.ResumeInstrument():
                return [m.InstrumentResumed(by, c.instrument_id)]
            case m.NewOrder():
                return self._new(by, c)
            case m.CancelOrder():
                return self._cancel(by, c)
            case m.ReplaceOrder():
                return self._replace(by, c)
            case m.CancelAll():
                gone = [r for r in self.book if c.account_id in (0, r.order.client_id)]
                return [*self._remove(by, gone, m.Reason.MASS_CANCEL), m.MassCanceled(by, len(gone))]
            case m.BlockClient():
                gone = [r for r in self.book if c.account_id == r.order.client_id]
                return self._remove(by, gone, m.Reason.CLIENT_BLOCKED)
        return []

    def _new(self, by: int, c: m.NewOrder) -> list[m.Message]:
        if c.quantity <= 0:
            return [m.OrderRejected(by, m.Reason.INVALID_QUANTITY)]
        if self._find(c) is not None:
            return [m.OrderRejected(by, m.Reason.DUPLICATE_CLIENT_ORDER_ID)]
        taker = Resting(by, c, c.quantity)
        self.book.append(taker)
        return [m.OrderAccepted(by), *self._trade(taker)]

    def _trade(self, taker: Resting) -> list[m.Message]:
        trades: list[m.Message] = []
        sign = 1 if taker.order.side == m.Side.BUY else -1
        for maker in sorted(self.book, key=lambda r: (r.order.price * sign, r.order_id)):
            same = maker.order.instrument_id == taker.order.instrument_id
            crosses = maker.order.price * sign <= taker.order.price * sign
            if same and crosses and maker.order.side != taker.order.side and taker.leaves:
                lots = min(maker.leaves, taker.leaves)
                maker.leaves -= lots
                taker.leaves -= lots
                price, instrument_id = maker.order.price, maker.order.instrument_id
                trades.append(m.Trade(instrument_id, price, lots, maker.order_id, taker.order_id))
        self.book = [r for r in self.book if r.leaves]
        return trades

    def _cancel(self, by: int, c: m.CancelOrder) -> list[m.Message]:
        found = self._find(c)
        if found is None:
            return [m.CancelRejected(by, m.Reason.UNKNOWN_ORDER)]
        return self._remove(by, [found], m.Reason.REQUESTED)

    def _replace(self, by: int, c: m.ReplaceOrder) -> list[m.Message]:
        found = self._find(c)
        if found is None:
            return [m.ReplaceRejected(by, m.Reason.UNKNOWN_ORDER)]
        traded = found.order.quantity - found.leaves
        if c.quantity <= traded:
            return self._remove(by, [found], m.Reason.REPLACED_BELOW_TRADED)
        found.order.price, found.order.quantity, found.leaves = c.price, c.quantity, c.quantity - traded
        found.order.client_order_id = c.new_client_order_id or c.client_order_id
        replaced = m.OrderReplaced(found.order_id, by, c.price, c.quantity, found.leaves, False)
        return [replaced, *self._trade(found)]

    def _remove(self, by: int, gone: list[Resting], reason: int) -> list[m.Message]:
        self.book = [r for r in self.book if r not in gone]
        return [m.OrderCanceled(r.order_id, by, r.leaves, reason) for r in gone]

    def _find(self, c: m.NewOrder | m.CancelOrder | m.ReplaceOrder) -> Resting | None:
        key = (c.client_id, c.instrument_id, c.client_order_id)
        for r in self.book:
            if (r.order.client_id, r.order.instrument_id, r.order.client_order_id) == key:
                return r
        return None
