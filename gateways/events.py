"""What happened to orders, instruments and accounts: one self-contained value per event.

    Orders (orders.py) --> Event --+--> array on the wire of the order gateway (to `client_id`)
                                   +--> JSON line of a flow's events (`line`)

Rules
- An event says all that its reader needs; nobody has to remember the command that it answers.
- `sequence` and `time_ns` are its place and time in the log.
- `client_id` is whom it is for. `number` is the command of that client which it answers, or 0: every
  command is answered by exactly one event.
- A Trade has two sides, so it is for nobody as it is: each side gets its own Fill.
- Prices are ticks, quantities lots, as in the log; `fields` makes them decimal text.
- On the wire, the tags are those of the messages that the events follow from.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from engines.messages import Reason, Side
from gateways.names import Directory, decimal_text


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Root of all events. Field order is the wire format: append only, with defaults."""

    sequence: int
    time_ns: int
    client_id: int
    number: int


class OrderEvent(Event, frozen=True):
    """Something happened to one order of the client. What is not known or does not apply is 0.

    `quantity` is what this event is about. The order is one of `total` lots; `traded` of them have traded by now, for
    `notional` ticks x lots (text, where that takes more than 63 bits: see `paid`). `request_id` is that of the cancel
    (of a replace: its new id) which this answers.
    """

    order_id: int
    client_order_id: str
    instrument_id: int
    side: int
    price: int
    quantity: int
    leaves: int
    reason: int = 0
    total: int = 0
    traded: int = 0
    notional: int | str = 0
    request_id: str = ""

    @property
    def paid(self) -> int:
        """`notional` as a number."""
        return int(self.notional)


class OrderAccepted(OrderEvent, frozen=True, tag=60):
    """The order is live with this price and total quantity. The price of a market order is its protection."""

    is_market: bool = False


class OrderRejected(OrderEvent, frozen=True, tag=61):
    """The order never lived."""

    is_market: bool = False


class OrderCanceled(OrderEvent, frozen=True, tag=62):
    """`quantity` was left and is gone."""

    is_market: bool = False


class OrderReplaced(OrderEvent, frozen=True, tag=63):
    """The order now has this price, total quantity and client order id, and `leaves` is open."""

    kept_priority: bool = False
    previous_client_order_id: str = ""


class OrderExpired(OrderEvent, frozen=True, tag=64):
    """`quantity` was left when the order's time came."""


class CancelRejected(OrderEvent, frozen=True, tag=65):
    """There was nothing to cancel."""


class ReplaceRejected(OrderEvent, frozen=True, tag=66):
    """The order, if it lives, is as it was; `price` and `quantity` are what was asked for."""


class Fill(OrderEvent, frozen=True, tag=67):
    """`quantity` of the order traded at `price`; `is_maker` when it was the one that rested."""

    is_maker: bool = False


class Trade(msgspec.Struct, frozen=True, gc=False):
    """Both sides of one trade; the taker is the aggressor."""

    maker: Fill
    taker: Fill


class MassCanceled(Event, frozen=True, tag=68):
    """A CancelAll has been carried out everywhere; the orders that it canceled were reported one by one."""

    account_id: int
    instrument_id: int
    count: int
    request_id: str = ""


class InstrumentSet(Event, frozen=True, tag=70):
    """The instrument's terms from now on."""

    instrument_id: int
    symbol: str
    currency: str
    tick: int
    tick_decimals: int
    lot: int
    lot_decimals: int
    band_low: int
    band_high: int


class InstrumentHalted(Event, frozen=True, tag=71):
    """New orders are refused from here."""

    instrument_id: int


class InstrumentResumed(Event, frozen=True, tag=72):
    """New orders are taken again."""

    instrument_id: int


class InstrumentRejected(Event, frozen=True, tag=73):
    """A command on an instrument (by id, or by symbol where it was to be set) changed nothing."""

    instrument_id: int
    symbol: str
    reason: int


class BatchRejected(Event, frozen=True, tag=74):
    """A batch of commands could not be read by anybody; none of its `count` positions has an effect."""

    first_sequence: int
    count: int
    reason: int


class ClientRegistered(Event, frozen=True, tag=41):
    """`account_id` is the id of the client `name`."""

    account_id: int
    name: str


class CreditSet(Event, frozen=True, tag=42):
    """The account's limit is now `amount` x 10^-decimals of the currency."""

    account_id: int
    currency: str
    amount: int
    decimals: int


class CreditSettled(Event, frozen=True, tag=43):
    """So much used credit was freed."""

    account_id: int
    currency: str
    amount: int
    decimals: int


class ClientBlocked(Event, frozen=True, tag=44):
    """The kill switch is on."""

    account_id: int


class ClientUnblocked(Event, frozen=True, tag=45):
    """The kill switch is off."""

    account_id: int


class CreditRejected(Event, frozen=True, tag=46):
    """A command on an account changed nothing."""

    account_id: int
    currency: str
    reason: int


class TradeCorrected(Event, frozen=True, tag=47):
    """A trade of the client was mended: it is one of `quantity` at `price` now; 0: it is busted. The book is as it was.

    `trade` is its place in the log, `previous_price` and `previous_quantity` what it was before. The client's order
    is one of `total` lots; `traded` of them have traded now, for `notional` (see OrderEvent), and `leaves` are open.
    `order_id` is 0 where the correction does not say which order it was.
    """

    trade: int
    instrument_id: int
    side: int
    price: int
    quantity: int
    previous_price: int
    previous_quantity: int
    order_id: int = 0
    client_order_id: str = ""
    total: int = 0
    leaves: int = 0
    traded: int = 0
    notional: int | str = 0
    is_expired: bool = False

    @property
    def paid(self) -> int:
        """`notional` as a number."""
        return int(self.notional)


OrderReport = (
    OrderAccepted | OrderRejected | OrderCanceled | OrderReplaced | OrderExpired
    | CancelRejected | ReplaceRejected | Fill
)  # fmt: skip
Report = (
    OrderReport | MassCanceled | InstrumentSet | InstrumentHalted | InstrumentResumed | InstrumentRejected
    | BatchRejected | ClientRegistered | CreditSet | CreditSettled | CreditRejected | ClientBlocked
    | ClientUnblocked | TradeCorrected
)  # fmt: skip
"""All that is sent to a client."""

Fields = dict[str, object]
_SIDES: Final = {int(side): side.name.lower() for side in Side}
_REASONS: Final = {int(reason): reason.name.lower() for reason in Reason}


def sequence_of(event: Event | Trade) -> int:
    """The event's place in the log."""
    return event.taker.sequence if type(event) is Trade else event.sequence  # type: ignore[union-attr]


def concerns(event: Event | Trade) -> tuple[int, ...]:
    """The ids of all clients that an event is about: whom it is for, and whose account it changed."""
    if isinstance(event, Trade):
        return event.maker.client_id, event.taker.client_id
    return event.client_id, getattr(event, "account_id", 0)


def told(event: Event | Trade) -> list[tuple[Event, int]]:
    """Whom an event is told, as reports, each with its place among those of its client at this place of the log."""
    if not isinstance(event, Trade):
        return [(event, 0)] if event.client_id else []
    return [(event.maker, 0), (event.taker, int(event.maker.client_id == event.taker.client_id))]


def executions(happened: Iterable[Event | Trade]) -> Iterator[Event]:
    """What became of orders and trades, as it is told to their clients: what a copy for others consists of."""
    for event in happened:
        for report, _nth in told(event):
            if isinstance(report, OrderEvent | TradeCorrected):
                yield report


def side_word(side: int) -> str:
    """How users write a side; "" for 0."""
    return _SIDES.get(side, "")


def reason_word(reason: int) -> str:
    """How users write a reason; "" for 0."""
    return _reason(reason) or ""


def line(event: Event | Trade, names: Directory) -> bytes:
    """The event as one JSON line, newline included."""
    return _JSON.encode(fields(event, names)) + b"\n"


def fields(event: Event | Trade, names: Directory) -> Fields:
    """The event with names for ids, decimal text for numbers; what does not apply is left out.

    `sequence`, `time_ns` and `type` come first. Where an event is about another account than its
    issuer's, `client` is that account.
    """
    kind = type(event)
    origin = event.taker if isinstance(event, Trade) else event
    head: Fields = {"sequence": origin.sequence, "time_ns": origin.time_ns, "type": kind.__name__}
    head.update(_FIELDS.get(kind, _order_fields)(event, names))
    return {name: value for name, value in head.items() if value not in ("", None)}


def _order_fields(event: OrderEvent, names: Directory) -> Fields:
    instrument = names.instruments.get(event.instrument_id)
    return {
        "client": names.client_name(event.client_id),
        "client_order_id": event.client_order_id,
        "order_id": event.order_id or None,
        "symbol": names.symbol(event.instrument_id),
        "side": _SIDES.get(event.side),
        "price": instrument.price_text(event.price) if instrument and event.price else None,
        "quantity": instrument.quantity_text(event.quantity) if instrument and event.quantity else None,
        "reason": _reason(event.reason),
    }


def _replaced_fields(event: OrderReplaced, names: Directory) -> Fields:
    found = _order_fields(event, names)
    if event.previous_client_order_id != event.client_order_id:
        found["previous_client_order_id"] = event.previous_client_order_id
    return found


def _replace_rejected_fields(event: ReplaceRejected, names: Directory) -> Fields:
    """What was asked for; how the order stands, if it lives, is not what this line is about."""
    found = _order_fields(event, names)
    del found["order_id"], found["side"]
    return found


def _trade_fields(trade: Trade, names: Directory) -> Fields:
    maker, taker = trade.maker, trade.taker
    terms = _order_fields(taker, names)
    return {
        "symbol": terms["symbol"],
        "price": terms["price"],
        "quantity": terms["quantity"],
        "aggressor_side": terms["side"],
        "maker_client": names.client_name(maker.client_id),
        "maker_client_order_id": maker.client_order_id,
        "maker_order_id": maker.order_id,
        "taker_client": names.client_name(taker.client_id),
        "taker_client_order_id": taker.client_order_id,
        "taker_order_id": taker.order_id,
    }


def _corrected_fields(event: TradeCorrected, names: Directory) -> Fields:
    known = names.instruments[event.instrument_id]
    return {
        "client": names.client_name(event.client_id),
        "symbol": known.symbol,
        "trade": event.trade,
        "client_order_id": event.client_order_id,
        "order_id": event.order_id or None,
        "side": _SIDES.get(event.side),
        "price": known.price_text(event.price),
        "quantity": known.quantity_text(event.quantity),
        "previous_price": known.price_text(event.previous_price),
        "previous_quantity": known.quantity_text(event.previous_quantity),
    }


def _mass_fields(event: MassCanceled, names: Directory) -> Fields:
    return {
        "client": names.client_name(event.client_id),
        "account": names.client_name(event.account_id),
        "symbol": names.symbol(event.instrument_id),
        "count": event.count,
    }


def _instrument_set_fields(event: InstrumentSet, names: Directory) -> Fields:
    return {
        "client": names.client_name(event.client_id),
        "symbol": event.symbol,
        "currency": event.currency,
        "tick": decimal_text(event.tick, event.tick_decimals),
        "lot": decimal_text(event.lot, event.lot_decimals),
        "price_low": _bound(event, event.band_low),
        "price_high": _bound(event, event.band_high),
    }


def _bound(event: InstrumentSet, ticks: int) -> str | None:
    return decimal_text(ticks * event.tick, event.tick_decimals) if ticks else None


def _instrument_fields(event: InstrumentHalted | InstrumentResumed, names: Directory) -> Fields:
    return {"client": names.client_name(event.client_id), "symbol": names.symbol(event.instrument_id)}


def _instrument_rejected_fields(event: InstrumentRejected, names: Directory) -> Fields:
    symbol = event.symbol or names.symbol(event.instrument_id)
    return {"client": names.client_name(event.client_id), "symbol": symbol, "reason": _reason(event.reason)}


def _batch_fields(event: BatchRejected, _names: Directory) -> Fields:
    return {"first_sequence": event.first_sequence, "count": event.count, "reason": _reason(event.reason)}


def _registered_fields(event: ClientRegistered, _names: Directory) -> Fields:
    return {"client": event.name}


def _account_fields(event: ClientBlocked | ClientUnblocked, names: Directory) -> Fields:
    return {"client": names.client_name(event.account_id)}


def _credit_set_fields(event: CreditSet, names: Directory) -> Fields:
    limit = decimal_text(event.amount, event.decimals)
    return {"client": names.client_name(event.account_id), "currency": event.currency, "limit": limit}


def _credit_settled_fields(event: CreditSettled, names: Directory) -> Fields:
    amount = decimal_text(event.amount, event.decimals)
    return {"client": names.client_name(event.account_id), "currency": event.currency, "amount": amount}


def _credit_rejected_fields(event: CreditRejected, names: Directory) -> Fields:
    account = names.client_name(event.account_id)
    return {"client": account, "currency": event.currency, "reason": _reason(event.reason)}


def _reason(reason: int) -> str | None:
    return _REASONS.get(reason, f"#{reason}") if reason else None


_JSON: Final = msgspec.json.Encoder()
_FIELDS: Final[dict[type, Callable[..., Fields]]] = {
    OrderReplaced: _replaced_fields,
    ReplaceRejected: _replace_rejected_fields,
    Trade: _trade_fields,
    TradeCorrected: _corrected_fields,
    MassCanceled: _mass_fields,
    InstrumentSet: _instrument_set_fields,
    InstrumentHalted: _instrument_fields,
    InstrumentResumed: _instrument_fields,
    InstrumentRejected: _instrument_rejected_fields,
    BatchRejected: _batch_fields,
    ClientRegistered: _registered_fields,
    ClientBlocked: _account_fields,
    ClientUnblocked: _account_fields,
    CreditSet: _credit_set_fields,
    CreditSettled: _credit_settled_fields,
    CreditRejected: _credit_rejected_fields,
}
