"""A naive market of one instrument: lists and linear scans. It writes results and knows the true book."""

from dataclasses import dataclass

from engines import messages as m

SYMBOL = "BTC-USD"
INSTRUMENT_SET = m.InstrumentSet(1, 1, SYMBOL, "USD", 1, 2, 1, 8, 0, 0)


@dataclass
class Standing:
    """An order of the book."""

    order_id: int
    client_id: int
    side: int
    price: int
    leaves: int


class Market:
    """Carries out commands one by one; `book` is every resting order, the first to trade first."""

    def __init__(self) -> None:
        self.book: list[Standing] = []

    def new(self, order_id: int, order: m.NewOrder) -> list[m.Message]:
        """An order comes; self-trades cancel the resting order where its instruction says so."""
        taker = Standing(order_id, order.client_id, order.side, order.price, order.quantity)
        events: list[m.Message] = [m.OrderAccepted(order_id)]
        if order.time_in_force != m.TimeInForce.FOK:
            events += self._trade(taker, order_id, cancels_own=order.self_trade == m.SelfTrade.CANCEL_OLDEST)
        if taker.leaves and order.time_in_force in {m.TimeInForce.IOC, m.TimeInForce.FOK}:
            return [*events, m.OrderCanceled(order_id, order_id, taker.leaves, m.Reason.IMMEDIATE_OR_CANCEL)]
        self._enter(taker)
        return events

    def replace(self, by: int, place: int, price: int, leaves: int) -> list[m.Message]:
        """The order at a place of the book gets another price and leaves quantity."""
        order = self.book[place % len(self.book)]
        kept = price == order.price and leaves <= order.leaves
        events: list[m.Message] = [m.OrderReplaced(order.order_id, by, price, leaves, leaves, kept)]
        order.price, order.leaves = price, leaves
        if not kept:
            self.book.remove(order)
            events += self._trade(order, by, cancels_own=False)
            self._enter(order)
        return events

    def cancel(self, by: int, place: int) -> list[m.Message]:
        """The order at a place of the book goes."""
        order = self.book.pop(place % len(self.book))
        return [m.OrderCanceled(order.order_id, by, order.leaves, m.Reason.REQUESTED)]

    def expire(self, by: int, place: int) -> list[m.Message]:
        """The order at a place of the book comes to its end."""
        order = self.book.pop(place % len(self.book))
        return [m.OrderExpired(order.order_id, by, order.leaves)]

    def side(self, side: int) -> list[tuple[int, int, int]]:
        """(order id, price, leaves) of one side, the first to trade first."""
        return [(order.order_id, order.price, order.leaves) for order in self.book if order.side == side]

    def _trade(self, taker: Standing, by: int, *, cancels_own: bool) -> list[m.Message]:
        events: list[m.Message] = []
        sign = 1 if taker.side == m.Side.BUY else -1
        for maker in list(self.book):
            if maker.side == taker.side or maker.price * sign > taker.price * sign or not taker.leaves:
                continue
            if cancels_own and maker.client_id == taker.client_id:
                events.append(m.OrderCanceled(maker.order_id, by, maker.leaves, m.Reason.SELF_TRADE))
                maker.leaves = 0
                continue
            lots = min(maker.leaves, taker.leaves)
            maker.leaves -= lots
            taker.leaves -= lots
            events.append(m.Trade(1, maker.price, lots, maker.order_id, taker.order_id))
        self.book = [order for order in self.book if order.leaves]
        return events

    def _enter(self, order: Standing) -> None:
        if order.leaves:
            self.book.append(order)
            self.book.sort(key=lambda other: -other.price if other.side == m.Side.BUY else other.price)
