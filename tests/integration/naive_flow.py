"""What a flow file leads to, by the naive model of matching: the file is walked line by line, in order.

    lines --ids, ticks, lots--> commands --tests.models.venue--> messages --names, decimals--> events

It shares no code with the gateways: a line's decimals are fractions of its instrument's tick and lot, and an
event is put together from the line that it answers. Credit is taken to be there to spare.
"""

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

from engines import messages as m
from tests.models.venue import expected_events

Fields = dict[str, Any]
NOON_NS = 1_800_000_000_000_000_000
"""A time in 2027: the dates of generated flows lie before or long after it."""


def events_of(lines: Iterable[str]) -> list[Fields]:
    """The events of all instruments, in the order in which one thread would make them."""
    flow = _Flow(lines)
    return [event for message in expected_events(flow.commands) for event in flow.told(message)]


class _Flow:
    """The lines as commands, and what it takes to tell of them: `sequence` is the number of the line."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = dict(enumerate(map(json.loads, lines), 1))
        self._clients: dict[str, int] = {}
        self._terms: dict[str, Fields] = {}
        self._orders: dict[int, Fields] = {}
        self.commands = [
            (number, NOON_NS + number, command)
            for number, line in self._lines.items()
            if (command := self._command(line)) is not None
        ]

    # --- lines to commands ----------------------------------------------------------------------

    def _command(self, line: Fields) -> m.Message | None:
        match line["type"]:
            case "SetInstrument":
                self._terms[line["symbol"]] = line
                tick, lot = _parts(line["tick"]), _parts(line["lot"])
                return m.SetInstrument(0, 0, line["symbol"], line["currency"], *tick, *lot)
            case "NewOrder":
                return m.NewOrder(
                    *self._order(line), m.Side[line["side"].upper()], *self._amounts(line),
                    m.OrderType[line.get("order_type", "limit").upper()],
                    m.TimeInForce[line.get("time_in_force", "gtc").upper()],
                    line.get("expire_at", 0), line.get("post_only", False),
                    m.SelfTrade[line.get("self_trade", "allow").upper()],
                )  # fmt: skip
            case "ReplaceOrder":
                return m.ReplaceOrder(*self._order(line), *self._amounts(line), line.get("new_client_order_id", ""))
            case "CancelOrder":
                return m.CancelOrder(*self._order(line))
            case "CancelAll":
                return m.CancelAll(self._client(line["client"]), 0, self._client(line["account"]), self._id(line))
        return None

    def _order(self, line: Fields) -> tuple[int, int, int, str]:
        return self._client(line["client"]), 0, self._id(line), line["client_order_id"]

    def _amounts(self, line: Fields) -> tuple[int, int]:
        terms = self._terms[line["symbol"]]
        found = Fraction(line["price"]) / Fraction(terms["tick"]), Fraction(line["quantity"]) / Fraction(terms["lot"])
        assert all(amount.denominator == 1 for amount in found), line
        return int(found[0]), int(found[1])

    def _client(self, name: str) -> int:
        return self._clients.setdefault(name, len(self._clients) + 1)

    def _id(self, line: Fields) -> int:
        return list(self._terms).index(line["symbol"]) + 1

    # --- messages to events ---------------------------------------------------------------------

    def told(self, message: m.Message) -> Iterator[Fields]:
        """The event that a message tells."""
        kind = type(message).__name__
        match message:
            case m.InstrumentSet(by=by):
                line = self._lines[by]
                told = {name: line[name] for name in ("symbol", "currency", "tick", "lot")}
                yield {"type": kind, "client": "operator", **told}
            case m.OrderAccepted(order_id=order_id):
                self._orders[order_id] = order = _of_order(self._lines[order_id])
                yield {"type": kind, **order, "quantity": self._lines[order_id]["quantity"]}
            case m.OrderRejected(order_id=order_id, reason=reason):
                line = self._lines[order_id]
                yield {"type": kind, **_of_order(line), "quantity": line["quantity"], "reason": _word(reason)}
            case m.OrderCanceled(order_id=order_id, quantity=lots, reason=reason):
                order = self._orders[order_id]
                yield {"type": kind, **order, "quantity": self._quantity(order, lots), "reason": _word(reason)}
            case m.OrderReplaced(order_id=order_id, by=by):
                self._orders[order_id] = order = {**self._orders[order_id], "price": self._lines[by]["price"]}
                yield {"type": kind, **order, "quantity": self._lines[by]["quantity"]}
            case m.CancelRejected(by=by, reason=reason) | m.ReplaceRejected(by=by, reason=reason):
                line = {name: value for name, value in self._lines[by].items() if name != "type"}
                yield {"type": kind, **line, "reason": _word(reason)}
            case m.MassCanceled(by=by, count=count):
                yield {**self._lines[by], "type": kind, "count": count}
            case m.Trade():
                yield {"type": kind, **self._trade(message)}
            case _:
                raise AssertionError(f"no flow leads to {message}")

    def _trade(self, trade: m.Trade) -> Fields:
        maker, taker = self._orders[trade.maker_order_id], self._orders[trade.taker_order_id]
        sides = {
            f"{side}_{name}": order[name] for side, order in (("maker", maker), ("taker", taker)) for name in _WHOSE
        }
        return {
            "symbol": taker["symbol"],
            "price": maker["price"],
            "quantity": self._quantity(taker, trade.quantity),
            "aggressor_side": taker["side"],
            **sides,
        }

    def _quantity(self, order: Fields, lots: int) -> str:
        return f"{lots * Decimal(self._terms[order['symbol']]['lot']):f}"


_WHOSE = ("client", "client_order_id")


def _of_order(line: Fields) -> Fields:
    return {name: line[name] for name in ("client", "client_order_id", "symbol", "side", "price")}


def _parts(text: str) -> tuple[int, int]:
    """A decimal as an integer and how many decimals it has."""
    _sign, digits, exponent = Decimal(text).as_tuple()
    return int("".join(map(str, digits))), -int(exponent)


def _word(reason: int) -> str:
    return m.Reason(reason).name.lower()
