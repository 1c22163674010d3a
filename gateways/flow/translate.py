"""From the lines of a flow file to the venue's commands: names to ids, decimals to ticks and lots.

Client and number of a command are 0: they are set when it is sent.
"""

from collections.abc import Callable
from typing import Any, Final

from engines import messages as m
from gateways.flow import lines as f
from gateways.names import Directory, Instrument, decimal_parts

_SIDES: Final = {side.name.lower(): int(side) for side in m.Side}
_ORDER_TYPES: Final = {kind.name.lower(): int(kind) for kind in m.OrderType}
_TIMES_IN_FORCE: Final = {time.name.lower(): int(time) for time in m.TimeInForce}
_SELF_TRADES: Final = {word.name.lower(): int(word) for word in m.SelfTrade}


def translate(line: f.AnyLine, names: Directory) -> m.Message:
    """The command that a line asks for. Raises names.TextError for an unknown name or a value off its grid."""
    return _TRANSLATIONS[type(line)](line, names)


def accounts(line: f.AnyLine) -> list[str]:
    """The clients whose ids the line's command needs."""
    named = (getattr(line, "client", None), getattr(line, "account", None))
    return [account for account in named if account]


def _new_order(line: f.NewOrder, names: Directory) -> m.Message:
    i = names.instrument(line.symbol)
    return m.NewOrder(
        0, 0, i.instrument_id, line.client_order_id, _SIDES[line.side], i.ticks(line.price), i.lots(line.quantity),
        _ORDER_TYPES[line.order_type], _TIMES_IN_FORCE[line.time_in_force], line.expire_at, line.post_only,
        _SELF_TRADES[line.self_trade],
    )  # fmt: skip


def _replace_order(line: f.ReplaceOrder, names: Directory) -> m.Message:
    i = names.instrument(line.symbol)
    price, quantity = i.ticks(line.price), i.lots(line.quantity)
    return m.ReplaceOrder(0, 0, i.instrument_id, line.client_order_id, price, quantity, line.new_client_order_id or "")


def _cancel_order(line: f.CancelOrder, names: Directory) -> m.Message:
    return m.CancelOrder(0, 0, names.instrument(line.symbol).instrument_id, line.client_order_id)


def _cancel_all(line: f.CancelAll, names: Directory) -> m.Message:
    account = line.account or line.client
    instrument_id = names.instrument(line.symbol).instrument_id if line.symbol else 0
    return m.CancelAll(0, 0, names.client_id(account) if account else 0, instrument_id)


def _set_instrument(line: f.SetInstrument, _names: Directory) -> m.Message:
    terms = Instrument(0, line.symbol, line.currency, *decimal_parts(line.tick), *decimal_parts(line.lot))
    low, high = (terms.ticks(price) if price else 0 for price in (line.price_low, line.price_high))
    return m.SetInstrument(
        0, 0, terms.symbol, terms.currency, terms.tick, terms.tick_decimals, terms.lot, terms.lot_decimals, low, high
    )  # fmt: skip


def _halt(line: f.HaltInstrument, names: Directory) -> m.Message:
    return m.HaltInstrument(0, 0, names.instrument(line.symbol).instrument_id)


def _resume(line: f.ResumeInstrument, names: Directory) -> m.Message:
    return m.ResumeInstrument(0, 0, names.instrument(line.symbol).instrument_id)


def _set_credit(line: f.SetCredit, names: Directory) -> m.Message:
    return m.SetCredit(0, 0, names.client_id(line.client), line.currency, *decimal_parts(line.limit))


def _adjust_credit(line: f.AdjustCredit, names: Directory) -> m.Message:
    return m.AdjustCredit(0, 0, names.client_id(line.client), line.currency, *decimal_parts(line.amount))


def _settle(line: f.Settle, names: Directory) -> m.Message:
    return m.Settle(0, 0, names.client_id(line.client), line.currency, *decimal_parts(line.amount))


def _block(line: f.BlockClient, names: Directory) -> m.Message:
    return m.BlockClient(0, 0, names.client_id(line.client))


def _unblock(line: f.UnblockClient, names: Directory) -> m.Message:
    return m.UnblockClient(0, 0, names.client_id(line.client))


_TRANSLATIONS: Final[dict[type, Callable[[Any, Directory], m.Message]]] = {
    f.NewOrder: _new_order,
    f.ReplaceOrder: _replace_order,
    f.CancelOrder: _cancel_order,
    f.CancelAll: _cancel_all,
    f.SetInstrument: _set_instrument,
    f.HaltInstrument: _halt,
    f.ResumeInstrument: _resume,
    f.SetCredit: _set_credit,
    f.AdjustCredit: _adjust_credit,
    f.Settle: _settle,
    f.BlockClient: _block,
    f.UnblockClient: _unblock,
}

BARRIERS: Final = frozenset(_TRANSLATIONS) - {f.NewOrder, f.ReplaceOrder, f.CancelOrder, f.CancelAll}
"""What an operator does: everything before it is answered first, and it before everything behind it."""
