"""Looks for layering: many orders of one client on one side, canceled soon after it traded on the other side.

    NewOrder, CancelOrder answers, Trade --> per client and instrument: recent cancels and trades --> Alert

A client is suspected when it cancels LAYERS orders within WINDOW_NS of a trade of its own on the other side, all of
them entered before that trade. The alerts are part of the state, the latest ALERTS of them; a venue that wants them in
the log gives the machine a channel of its own.

    sequencer attach examples.surveillance:Surveillance --name surveillance-1
"""

from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec

from engines.messages import COMMANDS, RESULTS, Message, NewOrder, OrderCanceled, OrderExpired, OrderRejected, Trade

WINDOW_NS: Final = 2_000_000_000
LAYERS: Final = 5
ALERTS: Final = 1000


class Order(msgspec.Struct, array_like=True, frozen=True):
    """A live order."""

    order_id: int
    client: int
    instrument: int
    side: int


class Alert(msgspec.Struct, array_like=True, frozen=True):
    """A client canceled its layers within the window of a trade; the trade's and the last cancel's sequence numbers."""

    client: int
    instrument: int
    trade: int
    cancel: int


class Watch(msgspec.Struct, array_like=True):
    """A trade of a client, and how many orders of the other side it has canceled since."""

    client: int
    instrument: int
    side: int
    trade: int
    time_ns: int
    canceled: int = 0


class _State(msgspec.Struct, array_like=True):
    orders: list[Order]
    watches: list[Watch]
    alerts: list[Alert]


class Surveillance:
    """A machine that only reads."""

    name: ClassVar[str] = "surveillance"
    reads: ClassVar[tuple[int, ...]] = (COMMANDS, RESULTS)
    writes: ClassVar[int] = 0

    def __init__(self) -> None:
        self._orders: dict[int, Order] = {}
        self._watches: dict[tuple[int, int], Watch] = {}
        self.alerts: list[Alert] = []

    def apply(self, time_ns: int, first_sequence: int, channel: int, messages: Sequence[Message]) -> list[Message]:
        """Follow orders, trades and cancels."""
        for sequence, message in enumerate(messages, first_sequence):
            if isinstance(message, NewOrder):
                self._orders[sequence] = Order(sequence, message.client_id, message.instrument_id, message.side)
            elif isinstance(message, Trade):
                for order_id in (message.maker_order_id, message.taker_order_id):
                    order = self._orders[order_id]
                    key = (order.client, order.instrument)
                    self._watches[key] = Watch(order.client, order.instrument, order.side, sequence, time_ns)
            elif isinstance(message, OrderCanceled):
                self._canceled(time_ns, sequence, self._orders.pop(message.order_id, None))
            elif isinstance(message, OrderRejected | OrderExpired):
                self._orders.pop(message.order_id, None)
        return []

    def reject(self, time_ns: int, first_sequence: int, channel: int, count: int, reason: int) -> list[Message]:
        """Nothing: an unreadable batch enters no order."""
        return []

    def snapshot(self) -> bytes:
        """Live orders, watches and alerts; sorted, but for the alerts, which are in the order of the log."""
        watches = [self._watches[key] for key in sorted(self._watches)]
        return msgspec.msgpack.encode(_State([self._orders[key] for key in sorted(self._orders)], watches, self.alerts))

    def restore(self, state: bytes) -> None:
        """Become the machine that made this snapshot."""
        restored = msgspec.msgpack.decode(state, type=_State)
        self._orders = {order.order_id: order for order in restored.orders}
        self._watches = {(watch.client, watch.instrument): watch for watch in restored.watches}
        self.alerts = restored.alerts

    def _canceled(self, time_ns: int, sequence: int, order: Order | None) -> None:
        watch = self._watches.get((order.client, order.instrument)) if order is not None else None
        if order is None or watch is None or order.side == watch.side or order.order_id > watch.trade:
            return
        if time_ns - watch.time_ns > WINDOW_NS:
            return
        watch.canceled += 1
        if watch.canceled == LAYERS:
            self.alerts = [*self.alerts, Alert(order.client, order.instrument, watch.trade, sequence)][-ALERTS:]
