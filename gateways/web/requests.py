"""What clients ask of their orders, as JSON, and the commands that follow. The same over WebSocket and REST.

    {"symbol": "BTC-USD", "side": "buy", ...} --AddOrder--> NewOrder(client, number, ...)

Rules
- Prices and quantities are JSON numbers or strings; they become ticks and lots exactly, or not at all.
- An order is named by its client's own id (`cl_ord_id`) or by the venue's (`order_id`); the latter only while it lives.
- What could mean something is left to the venue, which answers it at its place; what could not is refused here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from engines import messages as m
from gateways.names import Directory, Instrument, TextError, UnknownNameError
from gateways.order import checks
from gateways.order.session import Session as OrderSession
from gateways.orders import LiveOrder
from gateways.times import rfc3339_ns
from gateways.web.refusals import RefusedError

CANCELS_MAX: Final = 50
"""In one request."""
TIMER_S_MAX: Final = 86_400
_NUMBER_CHARS_MAX: Final = 80
_EXPONENT_CHARS_MAX: Final = 3
_ORDER_ID: Final = re.compile(r"\d{1,19}", re.ASCII)

Number = Annotated[
    msgspec.Raw,
    Meta(extra_json_schema={"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\d+(\.\d+)?$"}]}),
]
"""A decimal as a JSON number or string; kept as text."""
Text = Annotated[str, Meta(max_length=64)]
Texts = Annotated[list[Text], Meta(max_length=CANCELS_MAX)]
CommandNumber = Annotated[int, Meta(ge=0, le=m.INT_MAX)]


def _no_number() -> msgspec.Raw:
    return msgspec.Raw(b"")


class AddOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Enter an order.

    `limit_price` of a market order is its protection; the price band, where it is left out. `cl_ord_id` is made from
    the command's number, where it is left out. `number`, of any command: the client's own count; see `docs/web.md`.
    `token`, of any request: whose it is, where it is not signed.
    """

    symbol: Text
    side: Literal["buy", "sell"]
    order_qty: Number
    order_type: Literal["limit", "market"] = "limit"
    limit_price: Number = msgspec.field(default_factory=_no_number)
    time_in_force: Literal["gtc", "ioc", "fok", "gtd", ""] = ""
    expire_time: Text = ""
    post_only: bool = False
    stp_type: Literal["allow", "cancel_newest", "cancel_oldest", "cancel_both"] = "allow"
    cl_ord_id: Text = ""
    number: CommandNumber = 0
    token: Text = ""


class AmendOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Give an order another price, or another total quantity; what is left out stays as it is."""

    cl_ord_id: Text = ""
    order_id: Text = ""
    symbol: Text = ""
    order_qty: Number = msgspec.field(default_factory=_no_number)
    limit_price: Number = msgspec.field(default_factory=_no_number)
    new_cl_ord_id: Text = ""
    number: CommandNumber = 0
    token: Text = ""


class CancelOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Cancel what is left of some orders; each is answered by itself. `number` is that of the first."""

    cl_ord_id: Texts = []
    order_id: Texts = []
    symbol: Text = ""
    number: CommandNumber = 0
    token: Text = ""


class CancelAll(msgspec.Struct, forbid_unknown_fields=True):
    """Cancel all of one's orders, everywhere or of one symbol."""

    symbol: Text = ""
    number: CommandNumber = 0
    token: Text = ""


class CancelAllOrdersAfter(msgspec.Struct, forbid_unknown_fields=True):
    """Cancel all of one's orders in so many seconds, unless this is said again; 0: not any more."""

    timeout: Annotated[int, Meta(ge=0, le=TIMER_S_MAX)]
    token: Text = ""


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose request it is, and the order session that knows the client's orders and all names."""

    client_id: int
    orders: OrderSession

    @property
    def names(self) -> Directory:
        """All instruments."""
        return self.orders.names


Request = AddOrder | AmendOrder | CancelOrder | CancelAll | CancelAllOrdersAfter
METHODS: Final[dict[str, type[Any]]] = {
    "add_order": AddOrder,
    "amend_order": AmendOrder,
    "cancel_order": CancelOrder,
    "cancel_all": CancelAll,
    "cancel_all_orders_after": CancelAllOrdersAfter,
}


def read(method: str, params: bytes | msgspec.Raw) -> Any:
    """A request of this method. Raises RefusedError."""
    try:
        request = msgspec.json.decode(params or b"{}", type=METHODS[method])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(f"{method}: {error}") from None
    if not 0 < count(request) <= CANCELS_MAX:
        raise RefusedError(f"cl_ord_id, order_id: expected 1 to {CANCELS_MAX} orders, got {count(request)}")
    return request


def commands(request: Any, asker: Asker, number: int) -> list[m.Message]:
    """What follows from a request, numbered from `number` on. Raises RefusedError."""
    made: list[m.Message] = _COMMANDS[type(request)](request, asker, number)
    for command in made:
        if problem := checks.problem(command, is_operator=False):
            raise RefusedError(problem)
    return made


def behind(request: Any, taken: int) -> Any:
    """The same request, without what its first commands have asked for already."""
    if not isinstance(request, CancelOrder) or not taken:
        return request
    by_client, by_venue = request.cl_ord_id, request.order_id
    left = {"cl_ord_id": by_client[taken:], "order_id": by_venue[max(0, taken - len(by_client)) :]}
    return msgspec.structs.replace(request, **left)


def count(request: Any) -> int:
    """How many commands follow from a request."""
    return len(request.cl_ord_id) + len(request.order_id) if isinstance(request, CancelOrder) else 1


def _add(asked: AddOrder, asker: Asker, number: int) -> list[m.Message]:
    instrument = _instrument(asker.names, asked.symbol)
    side, is_limit = m.Side[asked.side.upper()], asked.order_type == "limit"
    ticks = _ticks(instrument, asked.limit_price)
    if not ticks and not is_limit:
        ticks = instrument.band_high if side is m.Side.BUY else instrument.band_low
    if not ticks:
        raise RefusedError(
            "limit_price: a limit order needs one; a market order too, as its protection, where there is no price band"
        )
    time_in_force = asked.time_in_force or ("gtc" if is_limit else "ioc")
    return [
        m.NewOrder(
            asker.client_id, number, instrument.instrument_id, asked.cl_ord_id or f"web-{number}", int(side), ticks,
            _lots(instrument, asked.order_qty), int(m.OrderType[asked.order_type.upper()]),
            int(m.TimeInForce[time_in_force.upper()]), _expiry(asked, time_in_force), asked.post_only,
            int(m.SelfTrade[asked.stp_type.upper()]),
        )
    ]  # fmt: skip


def _expiry(asked: AddOrder, time_in_force: str) -> int:
    if (time_in_force == "gtd") != bool(asked.expire_time):
        raise RefusedError(f"expire_time: expected with time_in_force gtd, and only then; got {time_in_force!r}")
    if not asked.expire_time:
        return 0
    at = rfc3339_ns(asked.expire_time)
    if at is None or not 0 < at <= m.INT_MAX:
        raise RefusedError(f"expire_time: expected a time such as 2026-12-01T09:30:00Z, got {asked.expire_time!r}")
    return at


def _amend(asked: AmendOrder, asker: Asker, number: int) -> list[m.Message]:
    order = _named(asker, asked.cl_ord_id, asked.order_id)
    name = order.client_order_id if order is not None else asked.cl_ord_id
    if order is None and not (asked.symbol and asked.order_qty and asked.limit_price):
        raise RefusedError(
            f"cl_ord_id: no live order {name!r} is known; with symbol, order_qty and limit_price the venue is asked"
        )
    if order is None:
        instrument = _instrument(asker.names, asked.symbol)
        ticks, lots = _ticks(instrument, asked.limit_price), _lots(instrument, asked.order_qty)
    else:
        instrument = asker.names.instruments[order.instrument_id]
        ticks = _ticks(instrument, asked.limit_price) or order.price
        lots = _lots(instrument, asked.order_qty) if asked.order_qty else order.quantity
    return [m.ReplaceOrder(asker.client_id, number, instrument.instrument_id, name, ticks, lots, asked.new_cl_ord_id)]


def _cancel(asked: CancelOrder, asker: Asker, number: int) -> list[m.Message]:
    made: list[m.Message] = []
    pairs = [(name, "") for name in asked.cl_ord_id] + [("", order_id) for order_id in asked.order_id]
    for nth, (name, order_id) in enumerate(pairs):
        order = _named(asker, name, order_id)
        if order is None and not asked.symbol:
            raise RefusedError(f"cl_ord_id: no live order {name!r} is known; with symbol the venue is asked")
        if order is None:
            terms = _instrument(asker.names, asked.symbol).instrument_id, name
        else:
            terms = order.instrument_id, order.client_order_id
        made.append(m.CancelOrder(asker.client_id, number + nth, *terms))
    return made


def _cancel_all(asked: CancelAll, asker: Asker, number: int) -> list[m.Message]:
    instrument_id = _instrument(asker.names, asked.symbol).instrument_id if asked.symbol else 0
    return [m.CancelAll(asker.client_id, number, asker.client_id, instrument_id)]


def _named(asker: Asker, name: str, order_id: str) -> LiveOrder | None:
    """The live order that is meant; None where it is named by its client's id and there is none."""
    if bool(name) == bool(order_id):
        raise RefusedError("expected either cl_ord_id or order_id")
    if name:
        return asker.orders.live_order(asker.client_id, name)
    order = asker.orders.live_order_at(asker.client_id, int(order_id)) if _ORDER_ID.fullmatch(order_id) else None
    if order is not None:
        return order
    raise RefusedError(f"order_id: there is no live order {order_id!r} of this client")


def _instrument(names: Directory, symbol: str) -> Instrument:
    try:
        return names.instrument(symbol)
    except UnknownNameError as error:
        raise RefusedError(f"symbol: {error}", 404) from None


def _ticks(instrument: Instrument, number: Number) -> int:
    """0 where there is none."""
    if not number:
        return 0
    try:
        return instrument.ticks(_decimal(number))
    except TextError as error:
        raise RefusedError(f"limit_price: {error}") from None


def _lots(instrument: Instrument, number: Number) -> int:
    try:
        return instrument.lots(_decimal(number))
    except TextError as error:
        raise RefusedError(f"order_qty: {error}") from None


def _decimal(number: Number) -> str:
    """The digits of a JSON number (1e-8 is one) or string."""
    text = bytes(number)[:_NUMBER_CHARS_MAX].decode("utf-8", "replace")
    if text[:1] == '"':
        return text.strip('"')
    mantissa, _, exponent = text.lower().partition("e")
    if not exponent or len(exponent) > _EXPONENT_CHARS_MAX:
        return text
    sign, digits, places = Decimal(mantissa).as_tuple()
    return f"{Decimal((sign, digits, int(places) + int(exponent))):f}"  # exact: arithmetic would round


_COMMANDS: Final[dict[type, Callable[[Any, Asker, int], list[m.Message]]]] = {
    AddOrder: _add,
    AmendOrder: _amend,
    CancelOrder: _cancel,
    CancelAll: _cancel_all,
}
