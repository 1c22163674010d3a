"""Positions and profit and loss of each client in each instrument, from the trades alone.

    NewOrder (who, which side) --> orders --+
    Trade (price, quantity) ----------------+--> (client, instrument) -> net lots, cash in ticks x lots

What a position is worth at a price p is `cash + net x p`: with p the last price, that is the profit or loss so far.

    sequencer attach examples.positions:Positions --name positions-1
"""

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from engines.messages import (
    COMMANDS,
    RESULTS,
    Message,
    NewOrder,
    OrderCanceled,
    OrderExpired,
    OrderRejected,
    Side,
    Trade,
)


class Position(msgspec.Struct, array_like=True):
    """Bought less sold, and money received less money paid, in ticks x lots."""

    net: int = 0
    cash: int = 0


class _State(msgspec.Struct, array_like=True):
    orders: list[tuple[int, int, int, int]]
    positions: list[tuple[int, int, Position]]
    last: list[tuple[int, int]]


class Positions:
    """A machine that only reads."""

    name: ClassVar[str] = "positions"
    reads: ClassVar[tuple[int, ...]] = (COMMANDS, RESULTS)
    writes: ClassVar[int] = 0

    def __init__(self) -> None:
        self._orders: dict[int, tuple[int, int, int]] = {}
        """order id -> client, instrument, side"""
        self._positions: dict[tuple[int, int], Position] = {}
        self._last: dict[int, int] = {}

    def apply(self, time_ns: int, first_sequence: int, channel: int, messages: Sequence[Message]) -> list[Message]:
        """Follow orders and trades."""
        for sequence, message in enumerate(messages, first_sequence):
            if isinstance(message, NewOrder):
                self._orders[sequence] = (message.client_id, message.instrument_id, message.side)
            elif isinstance(message, Trade):
                self._last[message.instrument_id] = message.price
                self._move(message.maker_order_id, message)
                self._move(message.taker_order_id, message)
            elif isinstance(message, OrderRejected | OrderCanceled | OrderExpired):
                self._orders.pop(message.order_id, None)
        return []

    def reject(self, time_ns: int, first_sequence: int, channel: int, count: int, reason: int) -> list[Message]:
        """Nothing: an unreadable batch trades nothing."""
        return []

    def snapshot(self) -> bytes:
        """Orders that may still trade, positions, last prices: each sorted."""
        orders = [(order_id, *order) for order_id, order in sorted(self._orders.items())]
        positions = [(client, instrument, held) for (client, instrument), held in sorted(self._positions.items())]
        return msgspec.msgpack.encode(_State(orders, positions, sorted(self._last.items())))

    def restore(self, state: bytes) -> None:
        """Become the machine that made this snapshot."""
        restored = msgspec.msgpack.decode(state, type=_State)
        self._orders = {order_id: (client, instrument, side) for order_id, client, instrument, side in restored.orders}
        self._positions = {(client, instrument): held for client, instrument, held in restored.positions}
        self._last = dict(restored.last)

    def profits(self) -> dict[tuple[int, int], int]:
        """(client, instrument) -> profit or loss at the last price, in ticks x lots."""
        return {key: held.cash + held.net * self._last[key[1]] for key, held in sorted(self._positions.items())}

    def _move(self, order_id: int, trade: Trade) -> None:
        client, instrument, side = self._orders[order_id]
        held = self._positions.setdefault((client, instrument), Position())
        sign = 1 if side == Side.BUY else -1
        held.net += sign * trade.quantity
        held.cash -= sign * trade.quantity * trade.price
