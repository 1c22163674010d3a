"""A naive model of matching: one list of orders an instrument, scanned from end to end for everything.

It takes the commands of a log one by one, in order, together with what credit refuses, and knows nothing of
runs, decisions, queues or speed. It shares no code with engines.matching but the messages.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from engines.messages import (
    INT_MAX,
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
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderRejected,
    OrderReplaced,
    OrderType,
    Reason,
    ReplaceOrder,
    ReplaceRejected,
    ResumeInstrument,
    SelfTrade,
    SetInstrument,
    Side,
    Tick,
    TimeInForce,
    Trade,
)

Command = tuple[int, int, Message]
"""(sequence number, time in ns, command)"""


@dataclass
class Resting:
    """A live order; `since` is its place in time priority."""

    order_id: int
    since: int
    terms: NewOrder
    name: str
    price: int
    total: int
    traded: int = 0

    @property
    def leaves(self) -> int:
        return self.total - self.traded


@dataclass
class Instrument:
    """What is known about an instrument."""

    terms: SetInstrument
    halted: bool = False
    orders: list[Resting] = field(default_factory=list)


def expected_events(commands: list[Command], refused: Mapping[int, int] | None = None) -> list[Message]:
    """All events that follow from the commands, in the order of the log."""
    venue = Venue(refused or {})
    for sequence, time_ns, command in commands:
        venue.handle(sequence, time_ns, command)
    return venue.events


class Venue:
    """Matching, one command at a time. `events` is all that happened so far."""

    def __init__(self, refused: Mapping[int, int]) -> None:
        self.refused = refused
        self.events: list[Message] = []
        self.instruments: dict[int, Instrument] = {}

    def handle(self, sequence: int, time_ns: int, command: Message) -> None:
        for instrument_id in self._concerned(command):
            self._expire(instrument_id, sequence, time_ns)
            if isinstance(command, CancelAll | BlockClient):
                self._cancel_all(instrument_id, sequence, command)
        match command:
            case NewOrder():
                self._enter(sequence, time_ns, command)
            case ReplaceOrder():
                self._replace(sequence, command)
            case CancelOrder():
                self._cancel(sequence, command)
            case CancelAll():
                canceled = [e for e in self.events if isinstance(e, OrderCanceled) and e.by == sequence]
                self.events.append(MassCanceled(sequence, len(canceled)))
            case SetInstrument():
                self._set(sequence, command)
            case HaltInstrument() | ResumeInstrument():
                self._halt(sequence, command)

    def _concerned(self, command: Message) -> list[int]:
        if isinstance(command, Tick | BlockClient) or (isinstance(command, CancelAll) and command.instrument_id == 0):
            return sorted(self.instruments)
        if isinstance(command, SetInstrument):
            return [self._id_of(command)] if _is_valid(command) and self._id_of(command) in self.instruments else []
        named = getattr(command, "instrument_id", None)
        return [named] if named in self.instruments else []

    def _expire(self, instrument_id: int, by: int, time_ns: int) -> None:
        orders = self.instruments[instrument_id].orders
        due = [o for o in orders if o.terms.time_in_force == TimeInForce.GTD and o.terms.expire_at_ns <= time_ns]
        for order in sorted(due, key=lambda o: (o.terms.expire_at_ns, o.order_id)):
            orders.remove(order)
            self.events.append(OrderExpired(order.order_id, by, order.leaves))

    def _cancel_all(self, instrument_id: int, by: int, command: CancelAll | BlockClient) -> None:
        everybody = isinstance(command, CancelAll) and command.account_id == 0
        reason = Reason.MASS_CANCEL if isinstance(command, CancelAll) else Reason.CLIENT_BLOCKED
        for order in sorted(self.instruments[instrument_id].orders, key=lambda o: o.order_id):
            if everybody or order.terms.client_id == command.account_id:
                self._remove(instrument_id, order, by, reason)

    def _enter(self, order_id: int, time_ns: int, command: NewOrder) -> None:
        reason = self.refused.get(order_id) or self._why_not(command, time_ns)
        if reason:
            self.events.append(OrderRejected(order_id, reason))
            return
        instrument = self.instruments[command.instrument_id]
        order = Resting(order_id, order_id, command, command.client_order_id, command.price, command.quantity)
        self.events.append(OrderAccepted(order_id))
        is_fok = command.time_in_force == TimeInForce.FOK
        stopped = not is_fok or self._fillable(order) >= order.leaves
        stopped = self._trade(order, order_id) if stopped else False
        if not order.leaves:
            return
        if stopped:
            self.events.append(OrderCanceled(order_id, order_id, order.leaves, Reason.SELF_TRADE))
        elif is_fok:
            self.events.append(OrderCanceled(order_id, order_id, order.leaves, Reason.FILL_OR_KILL))
        elif command.order_type == OrderType.MARKET:
            self.events.append(OrderCanceled(order_id, order_id, order.leaves, Reason.MARKET_REMAINDER))
        elif command.time_in_force == TimeInForce.IOC:
            self.events.append(OrderCanceled(order_id, order_id, order.leaves, Reason.IMMEDIATE_OR_CANCEL))
        else:
            instrument.orders.append(order)

    def _why_not(self, command: NewOrder, time_ns: int) -> int:
        if command.instrument_id not in self.instruments:
            return Reason.UNKNOWN_INSTRUMENT
        if self.instruments[command.instrument_id].halted:
            return Reason.INSTRUMENT_HALTED
        is_gtd = command.time_in_force == TimeInForce.GTD
        never_rests = command.order_type == OrderType.MARKET or command.time_in_force in {1, 2}
        bad_terms = (
            command.side not in {1, 2}
            or command.order_type not in {0, 1}
            or command.time_in_force not in {0, 1, 2, 3}
            or command.self_trade not in {0, 1, 2, 3}
            or not 1 <= len(command.client_order_id) <= 64
            or (command.post_only and never_rests)
            or (is_gtd and command.expire_at_ns <= 0)
        )
        if bad_terms:
            return Reason.INVALID_TERMS
        reason = self._why_not_at(command.instrument_id, command.price, command.quantity)
        if reason:
            return reason
        if is_gtd and command.expire_at_ns <= time_ns:
            return Reason.ALREADY_EXPIRED
        if self._find(command.instrument_id, command.client_id, command.client_order_id):
            return Reason.DUPLICATE_CLIENT_ORDER_ID
        if command.post_only and self._opposite(command.instrument_id, command.side, command.price):
            return Reason.POST_ONLY_WOULD_TRADE
        return 0

    def _why_not_at(self, instrument_id: int, price: int, quantity: int) -> int:
        terms = self.instruments[instrument_id].terms
        if not 1 <= quantity <= INT_MAX:
            return Reason.INVALID_QUANTITY
        if not 1 <= price <= INT_MAX:
            return Reason.INVALID_PRICE
        if (terms.band_low and price < terms.band_low) or (terms.band_high and price > terms.band_high):
            return Reason.PRICE_OUTSIDE_BAND
        return 0

    def _replace(self, by: int, command: ReplaceOrder) -> None:
        order = self._find(command.instrument_id, command.client_id, command.client_order_id)
        reason = self.refused.get(by) or self._why_not_replace(order, command)
        if reason:
            self.events.append(ReplaceRejected(by, reason))
            return
        assert order is not None
        if command.quantity <= order.traded:
            self._remove(command.instrument_id, order, by, Reason.REPLACED_BELOW_TRADED)
            return
        kept = command.price == order.price and command.quantity <= order.total
        order.price, order.total = command.price, command.quantity
        order.name = command.new_client_order_id or order.name
        self.events.append(OrderReplaced(order.order_id, by, order.price, order.total, order.leaves, kept))
        if kept:
            return
        order.since = by
        orders = self.instruments[command.instrument_id].orders
        orders.remove(order)
        if self._trade(order, by):
            self.events.append(OrderCanceled(order.order_id, by, order.leaves, Reason.SELF_TRADE))
        elif order.leaves:
            orders.append(order)

    def _why_not_replace(self, order: Resting | None, command: ReplaceOrder) -> int:
        new_name = command.new_client_order_id
        if command.instrument_id not in self.instruments:
            return Reason.UNKNOWN_INSTRUMENT
        if order is None:
            return Reason.UNKNOWN_ORDER
        if self.instruments[command.instrument_id].halted:
            return Reason.INSTRUMENT_HALTED
        if len(new_name) > 64:
            return Reason.INVALID_TERMS
        reason = self._why_not_at(command.instrument_id, command.price, command.quantity)
        if reason:
            return reason
        if new_name and new_name != order.name and self._find(command.instrument_id, command.client_id, new_name):
            return Reason.DUPLICATE_CLIENT_ORDER_ID
        passive = order.terms.post_only and command.quantity > order.traded
        if passive and self._opposite(command.instrument_id, order.terms.side, command.price):
            return Reason.POST_ONLY_WOULD_TRADE
        return 0

    def _cancel(self, by: int, command: CancelOrder) -> None:
        order = self._find(command.instrument_id, command.client_id, command.client_order_id)
        if command.instrument_id not in self.instruments:
            self.events.append(CancelRejected(by, Reason.UNKNOWN_INSTRUMENT))
        elif order is None:
            self.events.append(CancelRejected(by, Reason.UNKNOWN_ORDER))
        else:
            self._remove(command.instrument_id, order, by, Reason.REQUESTED)

    def _set(self, by: int, command: SetInstrument) -> None:
        if not _is_valid(command):
            self.events.append(InstrumentRejected(by, Reason.INVALID_INSTRUMENT))
            return
        instrument_id = self._id_of(command)
        known = self.instruments.setdefault(instrument_id, Instrument(command))
        if _fixed_terms(known.terms) != _fixed_terms(command):
            self.events.append(InstrumentRejected(by, Reason.INSTRUMENT_DIFFERS))
            return
        known.terms = command
        self.events.append(
            InstrumentSet(by, instrument_id, *_fixed_terms(command), command.band_low, command.band_high)
        )

    def _halt(self, by: int, command: HaltInstrument | ResumeInstrument) -> None:
        if command.instrument_id not in self.instruments:
            self.events.append(InstrumentRejected(by, Reason.UNKNOWN_INSTRUMENT))
            return
        halts = isinstance(command, HaltInstrument)
        self.instruments[command.instrument_id].halted = halts
        event = InstrumentHalted if halts else InstrumentResumed
        self.events.append(event(by, command.instrument_id))

    def _trade(self, taker: Resting, by: int) -> bool:
        """Trade what can be; return whether an own order stopped it."""
        terms = taker.terms
        for maker in self._opposite(terms.instrument_id, terms.side, taker.price):
            if not taker.leaves:
                return False
            if terms.self_trade != SelfTrade.ALLOW and maker.terms.client_id == terms.client_id:
                if terms.self_trade in {SelfTrade.CANCEL_OLDEST, SelfTrade.CANCEL_BOTH}:
                    self._remove(terms.instrument_id, maker, by, Reason.SELF_TRADE)
                if terms.self_trade in {SelfTrade.CANCEL_NEWEST, SelfTrade.CANCEL_BOTH}:
                    return True
                continue
            quantity = min(taker.leaves, maker.leaves)
            taker.traded += quantity
            maker.traded += quantity
            self.events.append(Trade(terms.instrument_id, maker.price, quantity, maker.order_id, taker.order_id))
            if not maker.leaves:
                self.instruments[terms.instrument_id].orders.remove(maker)
        return False

    def _fillable(self, taker: Resting) -> int:
        """How many lots an order would trade if it wanted any number."""
        terms, lots = taker.terms, 0
        for maker in self._opposite(terms.instrument_id, terms.side, taker.price):
            if terms.self_trade == SelfTrade.ALLOW or maker.terms.client_id != terms.client_id:
                lots += maker.leaves
            elif terms.self_trade in {SelfTrade.CANCEL_NEWEST, SelfTrade.CANCEL_BOTH}:
                return lots
        return lots

    def _opposite(self, instrument_id: int, side: int, price: int) -> list[Resting]:
        """What an order could trade with, the best first."""
        orders = self.instruments[instrument_id].orders
        if side == Side.BUY:
            asks = [o for o in orders if o.terms.side == Side.SELL and o.price <= price]
            return sorted(asks, key=lambda o: (o.price, o.since))
        bids = [o for o in orders if o.terms.side == Side.BUY and o.price >= price]
        return sorted(bids, key=lambda o: (-o.price, o.since))

    def _find(self, instrument_id: int, client_id: int, name: str) -> Resting | None:
        if instrument_id not in self.instruments:
            return None
        for order in self.instruments[instrument_id].orders:
            if order.terms.client_id == client_id and order.name == name:
                return order
        return None

    def _remove(self, instrument_id: int, order: Resting, by: int, reason: int) -> None:
        self.instruments[instrument_id].orders.remove(order)
        self.events.append(OrderCanceled(order.order_id, by, order.leaves, reason))

    def _id_of(self, command: SetInstrument) -> int:
        for instrument_id, known in self.instruments.items():
            if known.terms.symbol == command.symbol:
                return instrument_id
        return len(self.instruments) + 1


def by_instrument(commands: list[Command], events: list[Message]) -> dict[object, list[Message]]:
    """The events of each instrument, in order; those that belong to no single one are keyed by their command."""
    command_at = {sequence: command for sequence, _time_ns, command in commands}
    found: dict[object, list[Message]] = {}
    for event in events:
        about = getattr(event, "order_id", None) or getattr(event, "by", None)
        key = getattr(event, "instrument_id", None) or getattr(command_at.get(about), "instrument_id", None)
        if isinstance(event, InstrumentRejected) and isinstance(command_at[event.by], SetInstrument):
            key = None
        found.setdefault(key or ("command", about), []).append(event)
    return found


def _fixed_terms(command: SetInstrument) -> tuple[object, ...]:
    c = command
    return c.symbol, c.currency, c.tick, c.tick_decimals, c.lot, c.lot_decimals


def _is_valid(command: SetInstrument) -> bool:
    both_set = command.band_low and command.band_high
    return (
        command.symbol != ""
        and command.currency != ""
        and command.tick > 0
        and command.lot > 0
        and 0 <= command.tick_decimals <= 18
        and 0 <= command.lot_decimals <= 18
        and command.band_low >= 0
        and command.band_high >= 0
        and not (both_set and command.band_low > command.band_high)
    )
