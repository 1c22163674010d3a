"""What became of orders, as JSON rows: one for each event of a client, and one for each order that it has.

    OrderAccepted, Fill, ... --row--> {"exec_type": "new", "order_id": ..., "log_sequence": ...}

Rules
- What a row says is in its event, so it is the same when it is made again from the log.
- `log_sequence` is its place in the log, and `exec_id` names it among all: whoever has seen it knows it again.
- Numbers are JSON numbers with all decimals of their tick or lot.
"""

from typing import Any, Final

import msgspec

from gateways import events as e
from gateways.names import Directory, Instrument, average_text, decimal_text
from gateways.orders import LiveOrder
from gateways.times import iso_text

Row = dict[str, Any]

_TYPES: Final[dict[type, str]] = {
    e.OrderAccepted: "new",
    e.OrderRejected: "rejected",
    e.OrderCanceled: "canceled",
    e.OrderReplaced: "amended",
    e.OrderExpired: "expired",
    e.Fill: "trade",
    e.CancelRejected: "cancel_rejected",
    e.ReplaceRejected: "amend_rejected",
}
EXEC_TYPES: Final = (*_TYPES.values(), "status", "mass_canceled", "trade_corrected", "trade_busted")
_ENDS: Final[dict[type, str]] = {
    e.OrderRejected: "rejected",
    e.OrderCanceled: "canceled",
    e.OrderExpired: "expired",
}
STATUSES: Final = ("new", "partially_filled", "filled", *_ENDS.values())


def row(event: e.Event, nth: int, names: Directory) -> Row | None:
    """An event, or None where it is not about orders or trades. `nth`: its place among the client's there, from 0."""
    if isinstance(event, e.OrderEvent):
        made = _order_row(event, names)
    elif isinstance(event, e.MassCanceled):
        made = {"exec_type": "mass_canceled", "symbol": names.symbol(event.instrument_id), "count": event.count}
    elif isinstance(event, e.TradeCorrected):
        made = _corrected_row(event, names)
    else:
        return None
    exec_id = f"{event.sequence}-{nth}" if nth else str(event.sequence)
    place: Row = {"exec_id": exec_id, "log_sequence": event.sequence, "timestamp": iso_text(event.time_ns)}
    return {name: value for name, value in (made | place).items() if value not in ("", None)}


def order_row(order: LiveOrder, names: Directory) -> Row:
    """An order that can still trade, as it stands."""
    instrument = names.instruments[order.instrument_id]
    return {
        "exec_type": "status",
        "order_status": _status(order.leaves, order.quantity - order.leaves),
        "order_id": str(order.order_id),
        "cl_ord_id": order.client_order_id,
        "symbol": instrument.symbol,
        "side": e.side_word(order.side),
        "limit_price": price(instrument, order.price),
        **_sums(instrument, order.quantity, order.leaves, order.quantity - order.leaves, order.notional),
    }


def price(instrument: Instrument, ticks: int) -> msgspec.Raw:
    """As a JSON number."""
    return msgspec.Raw(instrument.price_text(ticks).encode())


def quantity(instrument: Instrument, lots: int) -> msgspec.Raw:
    """As a JSON number."""
    return msgspec.Raw(instrument.quantity_text(lots).encode())


def _order_row(event: e.OrderEvent, names: Directory) -> Row:
    made: Row = {
        "exec_type": _TYPES[type(event)],
        "order_status": _order_status(event),
        "order_id": str(event.order_id) if event.order_id else "",
        "cl_ord_id": event.client_order_id,
        "symbol": names.symbol(event.instrument_id),
        "side": e.side_word(event.side),
        "reason": e.reason_word(event.reason),
        "request_id": event.request_id,
    }
    instrument = names.instruments.get(event.instrument_id)
    if instrument is None:
        return made
    if isinstance(event, e.Fill):
        made |= {
            "last_qty": quantity(instrument, event.quantity),
            "last_price": price(instrument, event.price),
            "liquidity_ind": "m" if event.is_maker else "t",
            "trade_id": event.sequence,
        }
    elif event.price > 0:
        made["limit_price"] = price(instrument, event.price)
    if isinstance(event, e.OrderReplaced) and event.previous_client_order_id != event.client_order_id:
        made["previous_cl_ord_id"] = event.previous_client_order_id
    if event.total:
        made |= _sums(instrument, event.total, event.leaves, event.traded, event.paid)
    return made


def _sums(instrument: Instrument, total: int, leaves: int, traded: int, notional: int) -> Row:
    cost = decimal_text(notional * instrument.tick * instrument.lot, instrument.tick_decimals + instrument.lot_decimals)
    return {
        "order_qty": quantity(instrument, total),
        "leaves_qty": quantity(instrument, leaves),
        "cum_qty": quantity(instrument, traded),
        "cum_cost": msgspec.Raw(cost.encode()),
        "avg_price": msgspec.Raw(average_text(instrument, notional, traded).encode()),
    }


def _corrected_row(event: e.TradeCorrected, names: Directory) -> Row:
    instrument = names.instruments[event.instrument_id]
    return {
        "exec_type": "trade_corrected" if event.quantity else "trade_busted",
        "trade_id": event.trade,
        "symbol": instrument.symbol,
        "side": e.side_word(event.side),
        "last_qty": quantity(instrument, event.quantity),
        "last_price": price(instrument, event.price),
        "previous_qty": quantity(instrument, event.previous_quantity),
        "previous_price": price(instrument, event.previous_price),
    }


def _order_status(event: e.OrderEvent) -> str:
    ended = _ENDS.get(type(event))
    if ended is not None or not event.total:
        return ended or ""
    return _status(event.leaves, event.traded)


def _status(leaves: int, traded: int) -> str:
    if not leaves:
        return "filled"
    return "partially_filled" if traded else "new"
