"""What a command must be before it may enter the log: well-formed, in range, and its issuer's to send.

Only what could never mean anything is refused here. Whatever has a meaning and is merely wrong (no such
order, a price outside the band) goes into the log and is answered by an engine, at its place.
"""

from collections.abc import Callable
from typing import Any, Final

from engines import messages as m

TEXT_CHARS_MAX: Final = 64
DECIMALS_MAX: Final = 18

_SIDES: Final = frozenset(map(int, m.Side))
_ORDER_TYPES: Final = frozenset(map(int, m.OrderType))
_TIMES_IN_FORCE: Final = frozenset(map(int, m.TimeInForce))
_SELF_TRADES: Final = frozenset(map(int, m.SelfTrade))
_INT_MAX: Final = m.INT_MAX
_ID_CHARS_MAX: Final = m.CLIENT_ORDER_ID_CHARS_MAX


def problem(command: m.Message, *, is_operator: bool) -> str:
    """Why the command cannot be taken, or "" where it can."""
    check = _OF_CLIENTS.get(type(command))
    if check is not None:
        return check(command)
    if isinstance(command, m.CancelAll):
        return _cancel_all(command, is_operator)
    if not is_operator:
        return f"only the client 'operator' may send {type(command).__name__}"
    return _in_range(command) or _OF_OPERATORS[type(command)](command)


def _new_order(c: m.NewOrder) -> str:
    if (
        c.side in _SIDES
        and c.order_type in _ORDER_TYPES
        and c.time_in_force in _TIMES_IN_FORCE
        and c.self_trade in _SELF_TRADES
        and 0 < len(c.client_order_id) <= _ID_CHARS_MAX
        and c.price <= _INT_MAX
        and c.quantity <= _INT_MAX
        and c.expire_at_ns <= _INT_MAX
        and c.instrument_id <= _INT_MAX
    ):
        return ""
    return (
        _one_of("side", c.side, _SIDES)
        or _one_of("order_type", c.order_type, _ORDER_TYPES)
        or _one_of("time_in_force", c.time_in_force, _TIMES_IN_FORCE)
        or _one_of("self_trade", c.self_trade, _SELF_TRADES)
        or _order_id("client_order_id", c.client_order_id)
        or _in_range(c)
    )


def _replace_order(c: m.ReplaceOrder) -> str:
    if (
        0 < len(c.client_order_id) <= _ID_CHARS_MAX
        and len(c.new_client_order_id) <= _ID_CHARS_MAX
        and c.price <= _INT_MAX
        and c.quantity <= _INT_MAX
        and c.instrument_id <= _INT_MAX
    ):
        return ""
    new_id = _order_id("new_client_order_id", c.new_client_order_id) if c.new_client_order_id else ""
    return _order_id("client_order_id", c.client_order_id) or new_id or _in_range(c)


def _cancel_order(c: m.CancelOrder) -> str:
    if (
        0 < len(c.client_order_id) <= _ID_CHARS_MAX
        and len(c.request_id) <= _ID_CHARS_MAX
        and c.instrument_id <= _INT_MAX
    ):
        return ""
    return _order_id("client_order_id", c.client_order_id) or _request_id(c.request_id) or _in_range(c)


def _cancel_all(c: m.CancelAll, is_operator: bool) -> str:
    if not is_operator and c.account_id != c.client_id:
        return f"only the client 'operator' may cancel orders of others: account_id {c.account_id}"
    return _request_id(c.request_id) or _in_range(c)


def _register(c: m.RegisterClient) -> str:
    return _text("name", c.name)


def _set_instrument(c: m.SetInstrument) -> str:
    return (
        _text("symbol", c.symbol)
        or _text("currency", c.currency)
        or _decimals("tick_decimals", c.tick_decimals)
        or _decimals("lot_decimals", c.lot_decimals)
    )


def _amount(c: m.SetCredit | m.AdjustCredit | m.Settle) -> str:
    return _text("currency", c.currency) or _decimals("decimals", c.decimals)


def _anything(_command: m.Message) -> str:
    return ""


def _in_range(command: m.Message) -> str:
    for field in command.__struct_fields__:
        value = getattr(command, field)
        if type(value) is int and not -_INT_MAX <= value <= _INT_MAX:
            return f"{field}: expected an integer of at most 63 bits, got {value}"
    return ""


def _one_of(field: str, value: int, known: frozenset[int]) -> str:
    return "" if value in known else f"{field}: expected one of {sorted(known)}, got {value}"


def _order_id(field: str, value: str) -> str:
    if 0 < len(value) <= _ID_CHARS_MAX:
        return ""
    return f"{field}: expected 1 to {_ID_CHARS_MAX} characters, got {len(value)}"


def _request_id(value: str) -> str:
    return _order_id("request_id", value) if value else ""


def _text(field: str, value: str) -> str:
    if 0 < len(value) <= TEXT_CHARS_MAX and value.isprintable():
        return ""
    return f"{field}: expected 1 to {TEXT_CHARS_MAX} printable characters, got {value[:80]!r}"


def _decimals(field: str, value: int) -> str:
    return "" if 0 <= value <= DECIMALS_MAX else f"{field}: expected 0 to {DECIMALS_MAX}, got {value}"


_OF_CLIENTS: Final[dict[type, Callable[[Any], str]]] = {
    m.NewOrder: _new_order,
    m.ReplaceOrder: _replace_order,
    m.CancelOrder: _cancel_order,
}
_OF_OPERATORS: Final[dict[type, Callable[[Any], str]]] = {
    m.RegisterClient: _register,
    m.SetInstrument: _set_instrument,
    m.HaltInstrument: _anything,
    m.ResumeInstrument: _anything,
    m.SetCredit: _amount,
    m.AdjustCredit: _amount,
    m.Settle: _amount,
    m.BlockClient: _anything,
    m.UnblockClient: _anything,
}
