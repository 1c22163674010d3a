"""What became of orders, as JSON: one object for each event of a client, and one for each order that it has.

    OrderAccepted, Fill, ... --row--> {"exec_type":"new","order_id":...,"log_sequence":...}

Rules
- What a row says is in its event, so it is the same when it is made again from the log.
- `log_sequence` is its place in the log, and `exec_id` names it among all: whoever has seen it knows it again.
- Numbers are JSON numbers with all decimals of their tick or lot. What does not apply is left out.
- A row is made once for all who get it, and as text: a dictionary of it would take three times as long (9 us, not 3).
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from gateways import events as e
from gateways.names import Directory, Instrument, average_text, decimal_text
from gateways.orders import LiveOrder
from gateways.times import iso_text

Row = str
"""A JSON object."""

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
        made = _order_fields(event, names)
    elif isinstance(event, e.MassCanceled):
        symbol = f'"symbol":{_quoted(names.symbol(event.instrument_id))},' if event.instrument_id else ""
        made = f'"exec_type":"mass_canceled",{symbol}"count":{event.count}'
    elif isinstance(event, e.TradeCorrected):
        made = _corrected_fields(event, names)
    else:
        return None
    exec_id = f"{event.sequence}-{nth}" if nth else event.sequence
    place = f'"exec_id":"{exec_id}","log_sequence":{event.sequence},"timestamp":"{iso_text(event.time_ns)}"'
    return f"{{{made},{place}}}"


def order_row(order: LiveOrder, names: Directory) -> Row:
    """An order that can still trade, as it stands."""
    instrument = names.instruments[order.instrument_id]
    traded = order.traded
    head = _head("status", _status(order.leaves, traded), order.order_id, order.client_order_id)
    price = instrument.price_text(order.price)
    sums = _sums(instrument, order.quantity, order.leaves, traded, order.notional)
    return f'{{{head}{_terms(instrument.symbol, order.side)},"limit_price":{price}{sums}}}'


def with_field(made: Row, name: str, value: object) -> Row:
    """A row that says one thing more, first."""
    return f'{{"{name}":{_quoted(value)},{made[1:]}'


def listed(rows: Iterable[Row]) -> msgspec.Raw:
    """Rows as a JSON array."""
    return msgspec.Raw(f"[{','.join(rows)}]".encode())


def _order_fields(event: e.OrderEvent, names: Directory) -> str:
    head = _head(_TYPES[type(event)], _order_status(event), event.order_id, event.client_order_id)
    made = head + _terms(names.symbol(event.instrument_id), event.side)
    if event.reason:
        made += f',"reason":"{e.reason_word(event.reason)}"'
    if event.request_id:
        made += f',"request_id":{_quoted(event.request_id)}'
    instrument = names.instruments.get(event.instrument_id)
    if instrument is None:
        return made
    if isinstance(event, e.Fill):
        made += (
            f',"last_qty":{instrument.quantity_text(event.quantity)},"last_price":{instrument.price_text(event.price)},'
            f'"liquidity_ind":"{"m" if event.is_maker else "t"}","trade_id":{event.sequence}'
        )
    elif event.price > 0:
        made += f',"limit_price":{instrument.price_text(event.price)}'
    if isinstance(event, e.OrderReplaced) and event.previous_client_order_id != event.client_order_id:
        made += f',"previous_cl_ord_id":{_quoted(event.previous_client_order_id)}'
    return made + _sums(instrument, event.total, event.leaves, event.traded, event.paid) if event.total else made


def _head(exec_type: str, status: str, order_id: int, client_order_id: str) -> str:
    made = f'"exec_type":"{exec_type}"'
    if status:
        made += f',"order_status":"{status}"'
    if order_id:
        made += f',"order_id":"{order_id}"'
    return f'{made},"cl_ord_id":{_quoted(client_order_id)}' if client_order_id else made


def _terms(symbol: str, side: int) -> str:
    made = f',"symbol":{_quoted(symbol)}' if symbol else ""
    return f'{made},"side":"{e.side_word(side)}"' if side else made


def _sums(instrument: Instrument, total: int, leaves: int, traded: int, notional: int) -> str:
    quantity_text = instrument.quantity_text
    cost = decimal_text(notional * instrument.tick * instrument.lot, instrument.tick_decimals + instrument.lot_decimals)
    return (
        f',"order_qty":{quantity_text(total)},"leaves_qty":{quantity_text(leaves)},"cum_qty":{quantity_text(traded)},'
        f'"cum_cost":{cost},"avg_price":{average_text(instrument, notional, traded)}'
    )


def _corrected_fields(event: e.TradeCorrected, names: Directory) -> str:
    instrument = names.instruments[event.instrument_id]
    price, quantity = instrument.price_text, instrument.quantity_text
    kind, status = "trade_corrected" if event.quantity else "trade_busted", ""
    if event.order_id and not event.leaves and event.traded < event.total:
        status = "expired" if event.is_expired else "canceled"
    elif event.order_id:
        status = _status(event.leaves, event.traded)
    made = (
        f'{_head(kind, status, event.order_id, event.client_order_id)},"trade_id":{event.trade}'
        f'{_terms(instrument.symbol, event.side)},"last_qty":{quantity(event.quantity)},'
        f'"last_price":{price(event.price)},"previous_qty":{quantity(event.previous_quantity)},'
        f'"previous_price":{price(event.previous_price)}'
    )
    return made + _sums(instrument, event.total, event.leaves, event.traded, event.paid) if event.order_id else made


def _quoted(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _order_status(event: e.OrderEvent) -> str:
    ended = _ENDS.get(type(event))
    if ended is not None or not event.total:
        return ended or ""
    return _status(event.leaves, event.traded)


def _status(leaves: int, traded: int) -> str:
    if not leaves:
        return "filled"
    return "partially_filled" if traded else "new"
