"""What became of every command: the fold of the stream that all order gateways and tools share.

    commands ---> pending --(OrderAccepted)--> live --(filled, canceled, expired)--> gone
    decisions, results ---> Event, Event, ... in log order

Rules
- It is a function of the log from its beginning: the same runs give the same events, in every process.
- It keeps what is open (commands without an answer, orders that live) and the latest orders that have ended. What a
  correction of an older trade says of its orders is what the operator found in the log.
- Every command but a Tick is answered by exactly one event, the one whose `number` is the command's.
- The times and places of events are those of the log.
- A batch that nobody can read (undecodable, or with a false count) is void, as it is for the engines.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from engines import messages as m
from gateways import events as e
from sequencer import envelope

CHANNELS: Final = frozenset((m.COMMANDS, m.DECISIONS, m.RESULTS, m.OPERATIONS))
ENDED_KEPT: Final = 4096
"""Orders that may have ended between an operator's look at the log and the correction that followed from it."""
_REQUESTED: Final = int(m.Reason.REQUESTED)
_BELOW_TRADED: Final = int(m.Reason.REPLACED_BELOW_TRADED)
_MARKET: Final = int(m.OrderType.MARKET)
_ANSWERING_CANCELS: Final = frozenset((_REQUESTED, _BELOW_TRADED))


def runs(entry: envelope.Entry) -> Iterator[tuple[int, int, list[m.Message]]]:
    """The readable messages of an entry, batch by batch: (first sequence, channel, messages)."""
    for batch in entry.batches():
        if batch.channel not in CHANNELS:
            continue
        try:
            found = m.decode(batch.channel, batch.payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if len(found) == batch.count:
            yield batch.first_sequence, batch.channel, found


class LiveOrder(msgspec.Struct, gc=False):
    """An order that can still trade. What has traded of it did for `notional` ticks x lots.

    `mended` lots came to what has traded by corrections of its trades (busted: they went); the book knows nothing of
    it.
    """

    order_id: int
    client_id: int
    client_order_id: str
    instrument_id: int
    side: int
    price: int
    quantity: int
    leaves: int
    notional: int = 0
    is_market: bool = False
    mended: int = 0
    is_expired: bool = False

    @property
    def traded(self) -> int:
        """Lots that have traded, as they have been mended."""
        return self.quantity - self.leaves + self.mended


class Orders:
    """Pending commands and live orders; `apply` turns runs into events."""

    def __init__(self) -> None:
        self.pending: dict[int, Any] = {}
        self.live: dict[int, LiveOrder] = {}
        self.live_of: defaultdict[int, dict[int, LiveOrder]] = defaultdict(dict)
        """The same, by client."""
        self.mass_canceled: dict[int, dict[int, int]] = {}
        """CancelAll -> shard -> how many it canceled, until all of them have told."""
        self._ended: deque[LiveOrder] = deque(maxlen=ENDED_KEPT)
        self._corrections: dict[int, m.CorrectTrade] = {}
        """By place; those whose two sides have not been told yet."""
        self._handlers: dict[type, Callable[[int, int, Any], e.Event | e.Trade | None]] = {
            m.CreditDecisions: _nothing,
            m.ClientRegistered: self._client_registered,
            m.CreditSet: self._credit_set,
            m.CreditSettled: self._credit_settled,
            m.ClientBlocked: self._client_blocked,
            m.ClientUnblocked: self._client_unblocked,
            m.CreditRejected: self._credit_rejected,
            m.TradeCorrected: self._trade_corrected,
            m.OrderAccepted: self._accepted,
            m.OrderRejected: self._rejected,
            m.OrderCanceled: self._canceled,
            m.OrderReplaced: self._replaced,
            m.OrderExpired: self._expired,
            m.CancelRejected: self._cancel_rejected,
            m.ReplaceRejected: self._replace_rejected,
            m.Trade: self._trade,
            m.MassCanceled: self._mass_canceled,
            m.InstrumentSet: self._instrument_set,
            m.InstrumentHalted: self._instrument_halted,
            m.InstrumentResumed: self._instrument_resumed,
            m.InstrumentRejected: self._instrument_rejected,
            m.BatchRejected: _batch_rejected,
            m.ShardClosed: _nothing,
        }

    def apply(
        self, first_sequence: int, time_ns: int, channel: int, messages: Sequence[m.Message]
    ) -> list[e.Event | e.Trade]:
        """Take a run at positions first_sequence, first_sequence + 1, ...; return what happened."""
        if channel == m.COMMANDS:
            self._take(first_sequence, messages)
            return []
        if channel == m.OPERATIONS:
            for sequence, operation in enumerate(messages, first_sequence):
                if isinstance(operation, m.CorrectTrade):
                    self._corrections[sequence] = operation
            return []
        happened = []
        handlers = self._handlers
        sequence = first_sequence
        for message in messages:
            event = handlers[type(message)](sequence, time_ns, message)
            if event is not None:
                happened.append(event)
            sequence += 1
        return happened

    def find(self, client_id: int, client_order_id: str, instrument_id: int = 0) -> LiveOrder | None:
        """A client's live order of this id in an instrument (0: in any, and the oldest)."""
        for one in self.live_of[client_id].values() if client_id in self.live_of else ():
            if one.client_order_id == client_order_id and instrument_id in (0, one.instrument_id):
                return one
        return None

    def _take(self, first_sequence: int, messages: Sequence[m.Message]) -> None:
        """Await the answers to commands (all at once: no Python code runs for each of them)."""
        self.pending.update(zip(range(first_sequence, first_sequence + len(messages)), messages, strict=True))
        if m.Tick in map(type, messages):
            for offset, message in enumerate(messages):
                if type(message) is m.Tick:
                    del self.pending[first_sequence + offset]

    def _accepted(self, sequence: int, time_ns: int, message: m.OrderAccepted) -> e.Event:
        order_id = message.order_id
        new = self.pending.pop(order_id)
        client_id, client_order_id, instrument_id = new.client_id, new.client_order_id, new.instrument_id
        side, price, quantity = new.side, new.price, new.quantity
        self.live[order_id] = self.live_of[client_id][order_id] = LiveOrder(
            order_id, client_id, client_order_id, instrument_id, side, price, quantity, quantity, 0,
            new.order_type == _MARKET,
        )  # fmt: skip
        return e.OrderAccepted(
            sequence, time_ns, client_id, new.number, order_id, client_order_id, instrument_id,
            side, price, quantity, quantity, 0, quantity, 0, 0, "", new.order_type == _MARKET,
        )  # fmt: skip

    def _rejected(self, sequence: int, time_ns: int, message: m.OrderRejected) -> e.Event:
        new = self.pending.pop(message.order_id)
        return e.OrderRejected(
            sequence, time_ns, new.client_id, new.number, message.order_id, new.client_order_id,
            new.instrument_id, new.side, new.price, new.quantity, 0, message.reason, new.quantity, 0, 0, "",
            new.order_type == _MARKET,
        )  # fmt: skip

    def _canceled(self, sequence: int, time_ns: int, message: m.OrderCanceled) -> e.Event:
        order = self._end(message.order_id)
        number, request_id = 0, ""
        if message.reason in _ANSWERING_CANCELS:
            command = self.pending.pop(message.by)
            number, request_id = command.number, _request_id(command)
        return e.OrderCanceled(
            sequence, time_ns, order.client_id, number, order.order_id, order.client_order_id,
            order.instrument_id, order.side, order.price, message.quantity, 0, message.reason,
            order.quantity, order.traded, wide(order.notional), request_id, order.is_market,
        )  # fmt: skip

    def _replaced(self, sequence: int, time_ns: int, message: m.OrderReplaced) -> e.Event:
        command = self.pending.pop(message.by)
        order = self.live[message.order_id]
        before = order.client_order_id
        order.client_order_id = command.new_client_order_id or before
        order.price, order.quantity, order.leaves = message.price, message.quantity, message.leaves
        return e.OrderReplaced(
            sequence, time_ns, order.client_id, command.number, order.order_id, order.client_order_id,
            order.instrument_id, order.side, order.price, order.quantity, order.leaves, 0,
            order.quantity, order.traded, wide(order.notional), command.new_client_order_id,
            message.kept_priority, before,
        )  # fmt: skip

    def _expired(self, sequence: int, time_ns: int, message: m.OrderExpired) -> e.Event:
        order = self._end(message.order_id)
        order.is_expired = True
        return e.OrderExpired(
            sequence, time_ns, order.client_id, 0, order.order_id, order.client_order_id,
            order.instrument_id, order.side, order.price, message.quantity, 0, 0,
            order.quantity, order.traded, wide(order.notional),
        )  # fmt: skip

    def _end(self, order_id: int) -> LiveOrder:
        order = self.live.pop(order_id)
        del self.live_of[order.client_id][order_id]
        self._ended.append(order)
        return order

    def _cancel_rejected(self, sequence: int, time_ns: int, message: m.CancelRejected) -> e.Event:
        command = self.pending.pop(message.by)
        return e.CancelRejected(
            sequence, time_ns, command.client_id, command.number, 0, getattr(command, "client_order_id", ""),
            command.instrument_id, 0, 0, 0, 0, message.reason, 0, 0, 0, _request_id(command),
        )  # fmt: skip

    def _replace_rejected(self, sequence: int, time_ns: int, message: m.ReplaceRejected) -> e.Event:
        command = self.pending.pop(message.by)
        order = self.find(command.client_id, command.client_order_id, command.instrument_id)
        stands = (order.quantity, order.traded, wide(order.notional)) if order else (0, 0, 0)
        return e.ReplaceRejected(
            sequence, time_ns, command.client_id, command.number, order.order_id if order else 0,
            command.client_order_id, command.instrument_id, order.side if order else 0, command.price,
            command.quantity, order.leaves if order else 0, message.reason, *stands, command.new_client_order_id,
        )  # fmt: skip

    def _trade(self, sequence: int, time_ns: int, message: m.Trade) -> e.Trade:
        maker = self._fill(sequence, time_ns, message, message.maker_order_id, True)
        return e.Trade(maker, self._fill(sequence, time_ns, message, message.taker_order_id, False))

    def _fill(self, sequence: int, time_ns: int, message: m.Trade, order_id: int, is_maker: bool) -> e.Fill:
        order = self.live[order_id]
        order.leaves = leaves = order.leaves - message.quantity
        order.notional = notional = order.notional + message.price * message.quantity
        if not leaves:
            self._end(order_id)
        return e.Fill(
            sequence, time_ns, order.client_id, 0, order_id, order.client_order_id, order.instrument_id,
            order.side, message.price, message.quantity, leaves, 0, order.quantity, order.traded,
            wide(notional), "", is_maker,
        )  # fmt: skip

    def _trade_corrected(self, sequence: int, time_ns: int, message: m.TradeCorrected) -> e.Event:
        """The order of this side as it stands now, where the correction says which it is."""
        c = message
        asked = self._corrections.get(c.by)
        told = (asked.bought if c.side == m.Side.BUY else asked.sold) if asked is not None else None
        stands: tuple[Any, ...] = ()
        if told is not None:
            order = self._traded_order(told, c)
            order.mended += c.quantity - c.previous_quantity
            order.notional += c.price * c.quantity - c.previous_price * c.previous_quantity
            stands = (
                order.order_id, order.client_order_id, order.quantity,
                order.leaves if order.order_id in self.live else 0, order.traded, wide(order.notional),
                order.is_expired,
            )  # fmt: skip
        return e.TradeCorrected(
            sequence, time_ns, c.account_id, 0, c.trade, c.instrument_id, c.side, c.price, c.quantity,
            c.previous_price, c.previous_quantity, *stands,
        )  # fmt: skip

    def _traded_order(self, told: m.TradedOrder, c: m.TradeCorrected) -> LiveOrder:
        """The order itself, if it is still known: it may have traded since the operator looked."""
        order = self.live.get(told.order_id)
        if order is None:
            order = next((one for one in self._ended if one.order_id == told.order_id), None)
        if order is None:
            order = LiveOrder(
                told.order_id, c.account_id, told.client_order_id, c.instrument_id, c.side, 0, told.quantity,
                told.quantity - told.traded, int(told.notional), is_expired=told.is_expired,
            )  # fmt: skip
        return order

    def _mass_canceled(self, sequence: int, time_ns: int, message: m.MassCanceled) -> e.Event | None:
        """One answer, when all shards that it was for have given theirs."""
        by, count = message.by, message.count
        if by not in self.pending:
            return None  # it was answered when the number of shards changed
        if message.shards > 1:
            told = self.mass_canceled.setdefault(by, {})
            told[message.shard] = count
            if len(told) < message.shards:
                return None
            count = sum(self.mass_canceled.pop(by).values())
        c = self.pending.pop(by)
        return e.MassCanceled(
            sequence, time_ns, c.client_id, c.number, c.account_id, c.instrument_id, count, c.request_id
        )

    def _instrument_set(self, sequence: int, time_ns: int, message: m.InstrumentSet) -> e.Event:
        c = self.pending.pop(message.by)
        return e.InstrumentSet(
            sequence, time_ns, c.client_id, c.number, message.instrument_id, message.symbol, message.currency,
            message.tick, message.tick_decimals, message.lot, message.lot_decimals, message.band_low,
            message.band_high,
        )  # fmt: skip

    def _instrument_halted(self, sequence: int, time_ns: int, message: m.InstrumentHalted) -> e.Event:
        c = self.pending.pop(message.by)
        return e.InstrumentHalted(sequence, time_ns, c.client_id, c.number, message.instrument_id)

    def _instrument_resumed(self, sequence: int, time_ns: int, message: m.InstrumentResumed) -> e.Event:
        c = self.pending.pop(message.by)
        return e.InstrumentResumed(sequence, time_ns, c.client_id, c.number, message.instrument_id)

    def _instrument_rejected(self, sequence: int, time_ns: int, message: m.InstrumentRejected) -> e.Event:
        c = self.pending.pop(message.by)
        instrument_id, symbol = getattr(c, "instrument_id", 0), getattr(c, "symbol", "")
        return e.InstrumentRejected(sequence, time_ns, c.client_id, c.number, instrument_id, symbol, message.reason)

    def _client_registered(self, sequence: int, time_ns: int, message: m.ClientRegistered) -> e.Event:
        c = self.pending.pop(message.by)
        return e.ClientRegistered(sequence, time_ns, c.client_id, c.number, message.registered_id, message.name)

    def _credit_set(self, sequence: int, time_ns: int, message: m.CreditSet) -> e.Event:
        c = self.pending.pop(message.by)
        return e.CreditSet(
            sequence, time_ns, c.client_id, c.number, message.account_id, message.currency, message.amount,
            message.decimals,
        )  # fmt: skip

    def _credit_settled(self, sequence: int, time_ns: int, message: m.CreditSettled) -> e.Event:
        c = self.pending.pop(message.by)
        return e.CreditSettled(
            sequence, time_ns, c.client_id, c.number, message.account_id, message.currency, message.amount,
            message.decimals,
        )  # fmt: skip

    def _client_blocked(self, sequence: int, time_ns: int, message: m.ClientBlocked) -> e.Event:
        c = self.pending.pop(message.by)
        return e.ClientBlocked(sequence, time_ns, c.client_id, c.number, message.account_id)

    def _client_unblocked(self, sequence: int, time_ns: int, message: m.ClientUnblocked) -> e.Event:
        c = self.pending.pop(message.by)
        return e.ClientUnblocked(sequence, time_ns, c.client_id, c.number, message.account_id)

    def _credit_rejected(self, sequence: int, time_ns: int, message: m.CreditRejected) -> e.Event:
        c = self.pending.pop(message.by)
        account_id, currency = getattr(c, "account_id", 0), getattr(c, "currency", "")
        return e.CreditRejected(sequence, time_ns, c.client_id, c.number, account_id, currency, message.reason)


def _nothing(_sequence: int, _time_ns: int, _message: m.Message) -> None:
    """Refusals of credit are reported when matching rejects the order, at its place in the queue."""


def wide(number: int) -> int | str:
    """A number as msgpack can hold it."""
    return number if number <= m.INT_MAX else str(number)


def _request_id(command: m.CancelOrder | m.CancelAll | m.ReplaceOrder) -> str:
    """What the client calls a command by which it cancels."""
    return command.new_client_order_id if isinstance(command, m.ReplaceOrder) else command.request_id


def _batch_rejected(sequence: int, time_ns: int, message: m.BatchRejected) -> e.Event:
    return e.BatchRejected(sequence, time_ns, 0, 0, message.first_sequence, message.count, message.reason)
