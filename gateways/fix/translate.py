"""FIX messages as commands of the venue, and its events as FIX messages. Nothing else knows both languages.

    NewOrderSingle, ... --command--> NewOrder, ...          (refused: an answer in FIX)
    OrderAccepted, Fill, ... --report--> ExecutionReport, ...

Rules
- Prices and quantities are decimal text outside, ticks and lots inside, exactly or not at all.
- What a report says is in its event, so it is the same when it is made again from the log.
- The average price alone is rounded: to four decimals more than the tick has.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from engines import messages as m
from engines.messages import Reason
from gateways import events as e
from gateways.fix import tags as t
from gateways.fix.codec import Message
from gateways.fix.tags import Type
from gateways.names import Directory, Instrument, TextError, UnknownNameError, average_text, decimal_text
from gateways.order import checks
from gateways.orders import LiveOrder
from gateways.times import utc_ns, utc_text

Fields = list[tuple[int, object]]
Report = tuple[str, Fields]
"""MsgType and body."""

NONE: Final = "NONE"
_NO_ORDER: Final = (NONE, "8")
"""OrderID and OrdStatus where no order is known."""
_OTHER: Final = 99
_SIDES: Final = {"1": int(m.Side.BUY), "2": int(m.Side.SELL)}
_FIX_SIDES: Final = {side: text for text, side in _SIDES.items()}
_TIMES_IN_FORCE: Final = {
    "": int(m.TimeInForce.GTC),
    "0": int(m.TimeInForce.GTC),
    "1": int(m.TimeInForce.GTC),
    "3": int(m.TimeInForce.IOC),
    "4": int(m.TimeInForce.FOK),
    "6": int(m.TimeInForce.GTD),
}
_SELF_TRADES: Final = {"": 0, "0": 0, "1": 1, "2": 2, "3": 3}
_REJECT_REASONS: Final = {
    Reason.UNKNOWN_INSTRUMENT: 1,
    Reason.INSTRUMENT_HALTED: 2,
    Reason.CREDIT_EXCEEDED: 3,
    Reason.NO_CREDIT: 3,
    Reason.UNKNOWN_ORDER: 5,
    Reason.DUPLICATE_CLIENT_ORDER_ID: 6,
    Reason.INVALID_QUANTITY: 13,
    Reason.INVALID_TERMS: 11,
    Reason.UNKNOWN_CLIENT: 15,
}
"""OrdRejReason (103); all others are 99."""
_CANCEL_REASONS: Final = {Reason.UNKNOWN_ORDER: 1, Reason.DUPLICATE_CLIENT_ORDER_ID: 6}
"""CxlRejReason (102)."""
_REASON_TEXTS: Final = {int(reason): reason.name.lower().replace("_", " ") for reason in Reason}


class RefusedError(Exception):
    """A message that cannot become a command: why, and the reason code of its answer."""

    def __init__(self, message: Message, why: str, code: int) -> None:
        super().__init__(why)
        self._message = message
        self._code = code

    def answer(self, order: LiveOrder | None) -> Report:
        """What its sender is told; `order` is the live order that it names, if there is one."""
        return _refusal(self._message, str(self), self._code, order)


# --- commands ---------------------------------------------------------------------------------


def command(message: Message, client_id: int, number: int, names: Directory) -> m.Message:
    """An order message as the client's command of this number. Raises RefusedError."""
    made = _COMMANDS[message.type](message, client_id, number, names)
    if problem := checks.problem(made, is_operator=False):
        raise RefusedError(message, problem, _OTHER)
    return made


def _new_order(message: Message, client_id: int, number: int, names: Directory) -> m.Message:
    get = message.first.get
    is_limit, side = message.first[t.ORD_TYPE] == "2", _SIDES[message.first[t.SIDE]]
    price, quantity, instrument_id = _amounts(message, names)
    if not price and not is_limit:
        instrument = names.instruments[instrument_id]
        price = instrument.band_high if side == m.Side.BUY else instrument.band_low
    if not price:
        text = "Price: a limit order needs one; a market order too, as its protection, where there is no price band"
        raise RefusedError(message, text, 11)
    time_in_force = get(t.TIME_IN_FORCE, "")
    if time_in_force == "" and not is_limit:
        time_in_force = "3"
    return m.NewOrder(
        client_id, number, instrument_id, message.first[t.CL_ORD_ID], side, price, quantity,
        int(m.OrderType.LIMIT if is_limit else m.OrderType.MARKET), _TIMES_IN_FORCE[time_in_force],
        _expiry(message, time_in_force), get(t.EXEC_INST) == "6", _SELF_TRADES[get(t.SELF_TRADE_PREVENTION, "")],
    )  # fmt: skip


def _expiry(message: Message, time_in_force: str) -> int:
    expires = message.get(t.EXPIRE_TIME)
    if bool(expires) != (time_in_force == "6"):
        why = "ExpireTime goes with TimeInForce 6 (good till date), and only with that"
        raise RefusedError(message, why, 11)
    return utc_ns(expires) if expires else 0


def _replace(message: Message, client_id: int, number: int, names: Directory) -> m.Message:
    if message.get(t.TIME_IN_FORCE) not in ("", "0", "1"):
        raise RefusedError(message, "TimeInForce: a replace changes price and quantity, and nothing else", _OTHER)
    if message.first[t.ORD_TYPE] != "2":
        raise RefusedError(message, "only limit orders rest, so only these can be replaced", _OTHER)
    price, quantity, instrument_id = _amounts(message, names)
    original, new = message.first[t.ORIG_CL_ORD_ID], message.first[t.CL_ORD_ID]
    return m.ReplaceOrder(client_id, number, instrument_id, original, price, quantity, new)


def _cancel(message: Message, client_id: int, number: int, names: Directory) -> m.Message:
    instrument = _instrument(message, names)
    original, request_id = message.first[t.ORIG_CL_ORD_ID], message.first[t.CL_ORD_ID]
    return m.CancelOrder(client_id, number, instrument.instrument_id, original, request_id)


def _mass_cancel(message: Message, client_id: int, number: int, names: Directory) -> m.Message:
    by_symbol = message.first[t.MASS_CANCEL_REQUEST_TYPE] == "1"
    if by_symbol and t.SYMBOL not in message.first:
        raise RefusedError(message, "MassCancelRequestType 1 needs a Symbol", _OTHER)
    instrument_id = _instrument(message, names).instrument_id if by_symbol else 0
    return m.CancelAll(client_id, number, client_id, instrument_id, message.first[t.CL_ORD_ID])


def _instrument(message: Message, names: Directory) -> Instrument:
    try:
        return names.instrument(message.first[t.SYMBOL])
    except UnknownNameError as error:
        raise RefusedError(message, str(error), 1) from None


def _amounts(message: Message, names: Directory) -> tuple[int, int, int]:
    """Price in ticks (0: none), quantity in lots, instrument id."""
    instrument = _instrument(message, names)
    try:
        price = message.first.get(t.PRICE)
        ticks = instrument.ticks(_decimal(price)) if price is not None else 0
    except TextError as error:
        raise RefusedError(message, f"Price: {error}", _OTHER) from None
    try:
        return ticks, instrument.lots(_decimal(message.first[t.ORDER_QTY])), instrument.instrument_id
    except TextError as error:
        raise RefusedError(message, f"OrderQty: {error}", 13) from None


def _decimal(text: str) -> str:
    """FIX leaves out digits on either side of the point."""
    whole, _, fraction = text.partition(".")
    return f"{whole or '0'}.{fraction}" if fraction else whole or "0"


_COMMANDS: Final[dict[str, Callable[[Message, int, int, Directory], m.Message]]] = {
    Type.NEW_ORDER_SINGLE: _new_order,
    Type.ORDER_CANCEL_REQUEST: _cancel,
    Type.ORDER_CANCEL_REPLACE_REQUEST: _replace,
    Type.ORDER_MASS_CANCEL_REQUEST: _mass_cancel,
}
ORDER_TYPES: Final = frozenset(_COMMANDS)


def unlogged_id(message: Message) -> str:
    """An ExecID for an answer that is not in the log: those from the log are numbers."""
    return f"R{message.get(t.SENDING_TIME)}-{message.get(t.MSG_SEQ_NUM)}"


def _refusal(message: Message, text: str, reason: int, order: LiveOrder | None) -> Report:
    """The answer to an order message that this gateway does not pass on."""
    get = message.get
    if message.type == Type.NEW_ORDER_SINGLE:
        return Type.EXECUTION_REPORT, [
            (t.ORDER_ID, NONE), (t.CL_ORD_ID, get(t.CL_ORD_ID)), (t.EXEC_ID, unlogged_id(message)),
            (t.EXEC_TYPE, "8"), (t.ORD_STATUS, "8"), (t.ORD_REJ_REASON, reason), (t.SYMBOL, get(t.SYMBOL)),
            (t.SIDE, get(t.SIDE)),
            (t.ORDER_QTY, get(t.ORDER_QTY)), (t.LEAVES_QTY, 0), (t.CUM_QTY, 0), (t.AVG_PX, 0),
            (t.TRANSACT_TIME, get(t.TRANSACT_TIME)), (t.TEXT, text),
        ]  # fmt: skip
    if message.type == Type.ORDER_MASS_CANCEL_REQUEST:
        return Type.ORDER_MASS_CANCEL_REPORT, [
            (t.CL_ORD_ID, get(t.CL_ORD_ID)), (t.ORDER_ID, NONE),
            (t.MASS_CANCEL_REQUEST_TYPE, get(t.MASS_CANCEL_REQUEST_TYPE)), (t.MASS_CANCEL_RESPONSE, "0"),
            (t.MASS_CANCEL_REJECT_REASON, _OTHER), (t.TEXT, text),
        ]  # fmt: skip
    response_to = 1 if message.type == Type.ORDER_CANCEL_REQUEST else 2
    known = (order.order_id, _status(order.leaves, order.traded)) if order is not None else _NO_ORDER
    return _cancel_reject(get(t.CL_ORD_ID), get(t.ORIG_CL_ORD_ID), response_to, _OTHER, text, known)


# --- reports ----------------------------------------------------------------------------------


def report(event: e.Event, index: int, names: Directory) -> Report | None:
    """An event as a message, or None where FIX has none for it. `index`: its place among the client's there."""
    made = _REPORTS.get(type(event))
    return made(event, index, names) if made is not None else None


def copy(event: e.Event, index: int, names: Directory) -> Report | None:
    """The same for somebody else: ExecutionReports alone, each with its client, and as what it is."""
    made = report(event, index, names)
    if made is None or made[0] != Type.EXECUTION_REPORT:
        return None
    kind, fields = made
    return kind, [(t.ACCOUNT, names.client_name(event.client_id)), *fields, (t.COPY_MSG_INDICATOR, "Y")]


def _execution(event: e.OrderEvent, index: int, names: Directory, exec_type: str, status: str) -> Fields:
    """What all ExecutionReports say."""
    instrument = names.instruments.get(event.instrument_id)
    exec_id = f"{event.sequence}-{index}" if index else event.sequence
    if instrument is None:  # nobody knows its grid: as it came, in ticks and lots
        return [
            (t.ORDER_ID, event.order_id), (t.CL_ORD_ID, event.client_order_id), (t.EXEC_ID, exec_id),
            (t.EXEC_TYPE, exec_type), (t.ORD_STATUS, status), (t.SYMBOL, names.symbol(event.instrument_id)),
            (t.SIDE, _FIX_SIDES.get(event.side, "7")), (t.ORDER_QTY, event.total), (t.LEAVES_QTY, 0), (t.CUM_QTY, 0),
            (t.AVG_PX, 0), (t.TRANSACT_TIME, utc_text(event.time_ns)),
        ]  # fmt: skip
    quantity_text = instrument.quantity_text
    return [
        (t.ORDER_ID, event.order_id), (t.CL_ORD_ID, event.client_order_id), (t.EXEC_ID, exec_id),
        (t.EXEC_TYPE, exec_type), (t.ORD_STATUS, status), (t.SYMBOL, instrument.symbol),
        (t.SIDE, _FIX_SIDES[event.side]), (t.ORDER_QTY, quantity_text(event.total)),
        (t.LEAVES_QTY, quantity_text(event.leaves)), (t.CUM_QTY, quantity_text(event.traded)),
        (t.AVG_PX, average_text(instrument, event.paid, event.traded)), (t.TRANSACT_TIME, utc_text(event.time_ns)),
    ]  # fmt: skip


def _price(event: e.OrderEvent, names: Directory, *, is_market: bool = False) -> Fields:
    """OrdType, and the order's own price: what protects a market order is none."""
    if is_market:
        return [(t.ORD_TYPE, "1")]
    instrument = names.instruments.get(event.instrument_id)
    limit: Fields = [(t.ORD_TYPE, "2")]
    return [*limit, (t.PRICE, instrument.price_text(event.price))] if instrument and event.price > 0 else limit


def _accepted(event: e.OrderAccepted, index: int, names: Directory) -> Report:
    fields = _execution(event, index, names, "0", "0")
    return Type.EXECUTION_REPORT, fields + _price(event, names, is_market=event.is_market)


def _rejected(event: e.OrderRejected, index: int, names: Directory) -> Report:
    reason = _REJECT_REASONS.get(Reason(event.reason), _OTHER) if event.reason in _REASON_TEXTS else _OTHER
    fields = _execution(event, index, names, "8", "8") + _price(event, names, is_market=event.is_market)
    return Type.EXECUTION_REPORT, [*fields, (t.ORD_REJ_REASON, reason), (t.TEXT, _text(event.reason))]


def _canceled(event: e.OrderCanceled, index: int, names: Directory) -> Report:
    fields = _execution(event, index, names, "4", "4") + _price(event, names, is_market=event.is_market)
    if event.request_id:
        fields[1:2] = [(t.CL_ORD_ID, event.request_id), (t.ORIG_CL_ORD_ID, event.client_order_id)]
    return Type.EXECUTION_REPORT, [*fields, (t.TEXT, _text(event.reason))]


def _replaced(event: e.OrderReplaced, index: int, names: Directory) -> Report:
    fields = _execution(event, index, names, "5", _status(event.leaves, event.traded)) + _price(event, names)
    fields.insert(2, (t.ORIG_CL_ORD_ID, event.previous_client_order_id))
    return Type.EXECUTION_REPORT, fields


def _expired(event: e.OrderExpired, index: int, names: Directory) -> Report:
    return Type.EXECUTION_REPORT, _execution(event, index, names, "C", "C") + _price(event, names)


def _fill(event: e.Fill, index: int, names: Directory) -> Report:
    instrument = names.instruments[event.instrument_id]
    fields = _execution(event, index, names, "F", _status(event.leaves, event.traded))
    last: Fields = [
        (t.LAST_QTY, instrument.quantity_text(event.quantity)),
        (t.LAST_PX, instrument.price_text(event.price)),
        (t.LAST_LIQUIDITY_IND, 1 if event.is_maker else 2),
    ]
    return Type.EXECUTION_REPORT, fields + last


def _status(leaves: int, traded: int) -> str:
    """OrdStatus of an order that was not ended by anything but trading."""
    if not leaves:
        return "2"
    return "1" if traded else "0"


def _cancel_rejected(event: e.CancelRejected, _index: int, _names: Directory) -> Report:
    if not event.client_order_id:
        return Type.ORDER_MASS_CANCEL_REPORT, [
            (t.CL_ORD_ID, event.request_id or NONE), (t.ORDER_ID, event.sequence),
            (t.MASS_CANCEL_REQUEST_TYPE, "1" if event.instrument_id else "7"),
            (t.MASS_CANCEL_RESPONSE, "0"), (t.MASS_CANCEL_REJECT_REASON, _OTHER), (t.TEXT, _text(event.reason)),
        ]  # fmt: skip
    reason = _CANCEL_REASONS.get(Reason(event.reason), _OTHER)
    return _cancel_reject(event.request_id, event.client_order_id, 1, reason, _text(event.reason), _NO_ORDER)


def _replace_rejected(event: e.ReplaceRejected, _index: int, _names: Directory) -> Report:
    reason = _CANCEL_REASONS.get(Reason(event.reason), _OTHER)
    order = (event.order_id, _status(event.leaves, event.traded)) if event.order_id else _NO_ORDER
    return _cancel_reject(event.request_id, event.client_order_id, 2, reason, _text(event.reason), order)


def _cancel_reject(
    request_id: str, original: str, response_to: int, reason: int, text: str, order: tuple[object, str]
) -> Report:
    """`order`: OrderID and OrdStatus of the order, which is as it was."""
    order_id, status = order
    return Type.ORDER_CANCEL_REJECT, [
        (t.ORDER_ID, order_id), (t.CL_ORD_ID, request_id or NONE), (t.ORIG_CL_ORD_ID, original),
        (t.ORD_STATUS, status), (t.CXL_REJ_RESPONSE_TO, response_to), (t.CXL_REJ_REASON, reason), (t.TEXT, text),
    ]  # fmt: skip


def _mass_canceled(event: e.MassCanceled, _index: int, names: Directory) -> Report | None:
    if not event.request_id:
        return None  # nobody asked in FIX
    kind: Fields = [(t.MASS_CANCEL_REQUEST_TYPE, "1"), (t.MASS_CANCEL_RESPONSE, "1")]
    if not event.instrument_id:
        kind = [(t.MASS_CANCEL_REQUEST_TYPE, "7"), (t.MASS_CANCEL_RESPONSE, "7")]
    symbol: Fields = [(t.SYMBOL, names.symbol(event.instrument_id))] if event.instrument_id else []
    return Type.ORDER_MASS_CANCEL_REPORT, [
        (t.CL_ORD_ID, event.request_id), (t.ORDER_ID, event.sequence), *kind, (t.TOTAL_AFFECTED_ORDERS, event.count),
        *symbol, (t.TRANSACT_TIME, utc_text(event.time_ns)),
    ]  # fmt: skip


def _trade_corrected(event: e.TradeCorrected, index: int, names: Directory) -> Report:
    """A bust or a correction of the trade whose ExecID is ExecRefID, and how its order stands with it."""
    instrument = names.instruments[event.instrument_id]
    quantity_text = instrument.quantity_text
    exec_id = f"{event.sequence}-{index}" if index else event.sequence
    order: Fields = [(t.ORDER_ID, event.order_id or NONE)]
    stands: Fields = [(t.LEAVES_QTY, 0), (t.CUM_QTY, 0), (t.AVG_PX, 0)]
    if event.order_id:
        order.append((t.CL_ORD_ID, event.client_order_id))
        stands = [
            (t.ORDER_QTY, quantity_text(event.total)), (t.LEAVES_QTY, quantity_text(event.leaves)),
            (t.CUM_QTY, quantity_text(event.traded)), (t.AVG_PX, average_text(instrument, event.paid, event.traded)),
        ]  # fmt: skip
    return Type.EXECUTION_REPORT, [
        *order, (t.EXEC_ID, exec_id), (t.EXEC_REF_ID, event.trade),
        (t.EXEC_TYPE, "G" if event.quantity else "H"), (t.ORD_STATUS, _corrected_status(event)),
        (t.SYMBOL, instrument.symbol), (t.SIDE, _FIX_SIDES[event.side]), *stands,
        (t.LAST_QTY, quantity_text(event.quantity)), (t.LAST_PX, instrument.price_text(event.price)),
        (t.TRANSACT_TIME, utc_text(event.time_ns)),
    ]  # fmt: skip


def _corrected_status(event: e.TradeCorrected) -> str:
    """The book is as it was: an order that had ended is not open again, and where it has traded less it is canceled."""
    if not event.order_id or event.leaves or event.traded >= event.total:
        return _status(event.leaves, event.traded)
    return "C" if event.is_expired else "4"


def _text(reason: int) -> str:
    return _REASON_TEXTS.get(reason, f"reason {reason}")


_REPORTS: Final[dict[type, Callable[[Any, int, Directory], Report | None]]] = {
    e.OrderAccepted: _accepted,
    e.OrderRejected: _rejected,
    e.OrderCanceled: _canceled,
    e.OrderReplaced: _replaced,
    e.OrderExpired: _expired,
    e.CancelRejected: _cancel_rejected,
    e.ReplaceRejected: _replace_rejected,
    e.Fill: _fill,
    e.MassCanceled: _mass_canceled,
    e.TradeCorrected: _trade_corrected,
}


# --- questions ----------------------------------------------------------------------------------


class Asked(msgspec.Struct, frozen=True):
    """Which question a status report answers, and as which of how many."""

    fields: tuple[tuple[int, object], ...]
    exec_id: str
    time_ns: int


def is_asked(message: Message, order: LiveOrder, names: Directory) -> bool:
    """Whether an order is of the Symbol and the Side that a request names; it may name neither."""
    symbol, side = message.get(t.SYMBOL), message.get(t.SIDE)
    return symbol in ("", names.symbol(order.instrument_id)) and side in ("", _FIX_SIDES[order.side])


def status(order: LiveOrder, asked: Asked, names: Directory) -> Report:
    """A live order as it stands."""
    instrument = names.instruments[order.instrument_id]
    price: Fields = [(t.ORD_TYPE, "2"), (t.PRICE, instrument.price_text(order.price))]
    return Type.EXECUTION_REPORT, [
        (t.ORDER_ID, order.order_id), (t.CL_ORD_ID, order.client_order_id), (t.EXEC_ID, asked.exec_id),
        (t.EXEC_TYPE, "I"), (t.ORD_STATUS, _status(order.leaves, order.traded)), (t.SYMBOL, instrument.symbol),
        (t.SIDE, _FIX_SIDES[order.side]), (t.ORDER_QTY, instrument.quantity_text(order.quantity)),
        *([(t.ORD_TYPE, "1")] if order.is_market else price), (t.LEAVES_QTY, instrument.quantity_text(order.leaves)),
        (t.CUM_QTY, instrument.quantity_text(order.traded)),
        (t.AVG_PX, average_text(instrument, order.notional, order.traded)),
        (t.TRANSACT_TIME, utc_text(asked.time_ns)), *asked.fields,
    ]  # fmt: skip


def no_status(message: Message, asked: Asked, text: str, status: str = "8") -> Report:
    """There is no such live order, or (status A) it is not known yet whether there is."""
    unknown: Fields = [(t.ORD_REJ_REASON, 5)] if status == "8" else []
    symbol: Fields = [(t.SYMBOL, message.get(t.SYMBOL) or NONE), (t.SIDE, message.get(t.SIDE) or "7")]
    return Type.EXECUTION_REPORT, [
        (t.ORDER_ID, NONE), (t.CL_ORD_ID, message.get(t.CL_ORD_ID) or NONE), (t.EXEC_ID, asked.exec_id),
        (t.EXEC_TYPE, "I"), (t.ORD_STATUS, status), *unknown, *symbol, (t.LEAVES_QTY, 0), (t.CUM_QTY, 0),
        (t.AVG_PX, 0), (t.TRANSACT_TIME, utc_text(asked.time_ns)), *asked.fields, (t.TEXT, text),
    ]  # fmt: skip


def security_list(message: Message, names: Directory, response_id: str) -> Report:
    """All instruments, or the one that is asked for."""
    wanted = message.get(t.SYMBOL)
    found = [one for one in names.instruments.values() if wanted in ("", one.symbol)]
    head: Fields = [
        (t.SECURITY_REQ_ID, message.get(t.SECURITY_REQ_ID)), (t.SECURITY_RESPONSE_ID, response_id),
        (t.SECURITY_REQUEST_RESULT, 0 if found else 2),
    ]  # fmt: skip
    if not found:
        return Type.SECURITY_LIST, head
    made: Fields = [(t.TOT_NO_RELATED_SYM, len(found)), (t.NO_RELATED_SYM, len(found))]
    for one in found:
        grid = f"tick {decimal_text(one.tick, one.tick_decimals)}, lot {decimal_text(one.lot, one.lot_decimals)}"
        made += [
            (t.SYMBOL, one.symbol), (t.CURRENCY, one.currency), (t.ROUND_LOT, one.quantity_text(1)), (t.TEXT, grid)
        ]  # fmt: skip
    return Type.SECURITY_LIST, head + made


def business_reject(message: Message, reason: int, text: str, ref_id: str = "") -> Report:
    """A message of a type, or at a time, at which nothing can be done with it (BusinessRejectReason, 380).

    `ref_id` is what its sender calls it.
    """
    ref: Fields = [(t.BUSINESS_REJECT_REF_ID, ref_id)] if ref_id else []
    return Type.BUSINESS_MESSAGE_REJECT, [
        (t.REF_SEQ_NUM, message.get(t.MSG_SEQ_NUM)), (t.REF_MSG_TYPE, message.type[:16]), *ref,
        (t.BUSINESS_REJECT_REASON, reason), (t.TEXT, text),
    ]  # fmt: skip
