"""What a reader keeps of one instrument: its levels, its orders or its trades.

    snapshot --load--> view <--apply-- changes of the updates that follow

Each view is the fold of one channel. A LevelView made from orders equals the one of the level channel.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from engines.messages import Side
from gateways.marketdata.protocol import (
    LEVELS,
    ORDERS,
    TRADES,
    TRADES_KEPT,
    LevelChanged,
    LevelSnapshot,
    OrderAdded,
    OrderChange,
    OrderRemoved,
    OrderSnapshot,
    Snapshot,
    TradeDone,
    TradesSnapshot,
)
from gateways.names import Instrument


class View(Protocol):
    """What a Follower keeps up to date."""

    @property
    def channel(self) -> str:
        """LEVELS, ORDERS or TRADES."""
        ...

    def load(self, snapshot: Snapshot) -> None:
        """Become what the snapshot says."""
        ...

    def apply(self, changes: Sequence[LevelChanged | OrderChange | TradeDone]) -> None:
        """Take the changes that come next."""
        ...


class LevelView:
    """Both sides by price: {price in ticks: (quantity in lots, number of orders)}."""

    channel = LEVELS

    def __init__(self) -> None:
        self.buys: dict[int, tuple[int, int]] = {}
        self.sells: dict[int, tuple[int, int]] = {}

    def load(self, snapshot: Snapshot) -> None:
        """Become what a LevelSnapshot says."""
        assert isinstance(snapshot, LevelSnapshot), f"a level view cannot load {type(snapshot).__name__}"
        self.buys, self.sells = _levels(snapshot.buys), _levels(snapshot.sells)

    def apply(self, changes: Sequence[LevelChanged | OrderChange | TradeDone]) -> None:
        """Take the LevelChanged that come next."""
        for change in changes:
            assert isinstance(change, LevelChanged), f"a level view cannot apply {change}"
            side = self.buys if change.side == Side.BUY else self.sells
            if change.orders:
                side[change.price] = (change.quantity, change.orders)
            else:
                side.pop(change.price, None)

    def best_first(self) -> tuple[list[LevelChanged], list[LevelChanged]]:
        """The levels of buys and of sells, the best price first."""
        return (
            [LevelChanged(int(Side.BUY), price, *self.buys[price]) for price in sorted(self.buys, reverse=True)],
            [LevelChanged(int(Side.SELL), price, *self.sells[price]) for price in sorted(self.sells)],
        )


class OrderView:
    """Both sides by order: {order id: the order}, those at one price in the order of their queue."""

    channel = ORDERS

    def __init__(self) -> None:
        self.orders: dict[int, OrderAdded] = {}

    def load(self, snapshot: Snapshot) -> None:
        """Become what an OrderSnapshot says."""
        assert isinstance(snapshot, OrderSnapshot), f"an order view cannot load {type(snapshot).__name__}"
        self.orders = {order.order_id: order for order in [*snapshot.buys, *snapshot.sells]}

    def apply(self, changes: Sequence[LevelChanged | OrderChange | TradeDone]) -> None:
        """Take the OrderAdded, OrderChanged and OrderRemoved that come next."""
        for change in changes:
            assert not isinstance(change, LevelChanged | TradeDone), f"an order view cannot apply {change}"
            if isinstance(change, OrderAdded):
                self.orders[change.order_id] = change
            elif isinstance(change, OrderRemoved):
                del self.orders[change.order_id]
            else:
                known = self.orders[change.order_id]
                self.orders[change.order_id] = msgspec.structs.replace(known, quantity=change.quantity)

    def best_first(self) -> tuple[list[OrderAdded], list[OrderAdded]]:
        """The orders of buys and of sells, the best price first, at a price in the order of the queue."""
        buys = [order for order in self.orders.values() if order.side == Side.BUY]
        sells = [order for order in self.orders.values() if order.side != Side.BUY]
        return sorted(buys, key=lambda order: -order.price), sorted(sells, key=lambda order: order.price)

    def levels(self) -> LevelView:
        """The same book by price."""
        view = LevelView()
        for order in self.orders.values():
            side = view.buys if order.side == Side.BUY else view.sells
            quantity, orders = side.get(order.price, (0, 0))
            side[order.price] = (quantity + order.quantity, orders + 1)
        return view


class TradeView:
    """The latest trades, oldest first."""

    channel = TRADES

    def __init__(self) -> None:
        self.trades: deque[TradeDone] = deque(maxlen=TRADES_KEPT)

    def load(self, snapshot: Snapshot) -> None:
        """Become what a TradesSnapshot says."""
        assert isinstance(snapshot, TradesSnapshot), f"a trade view cannot load {type(snapshot).__name__}"
        self.trades = deque(snapshot.trades, maxlen=TRADES_KEPT)

    def apply(self, changes: Sequence[LevelChanged | OrderChange | TradeDone]) -> None:
        """Take the TradeDone that come next."""
        for change in changes:
            assert isinstance(change, TradeDone), f"a trade view cannot apply {change}"
            self.trades.append(change)


class DepthLevel(msgspec.Struct, frozen=True):
    """One price of a book, in decimal text."""

    price: str
    quantity: str
    orders: int


class Depth(msgspec.Struct, frozen=True):
    """A book by price in decimal text, the best price first, as of a place and time in the log."""

    symbol: str
    sequence: int
    time_ns: int
    buys: list[DepthLevel]
    sells: list[DepthLevel]


def depth_of(instrument: Instrument, snapshot: LevelSnapshot) -> Depth:
    """A level snapshot as a person reads it."""
    buys, sells = (
        [
            DepthLevel(instrument.price_text(level.price), instrument.quantity_text(level.quantity), level.orders)
            for level in side
        ]
        for side in (snapshot.buys, snapshot.sells)
    )
    return Depth(instrument.symbol, snapshot.sequence, snapshot.time_ns, buys, sells)


def _levels(levels: Iterable[LevelChanged]) -> dict[int, tuple[int, int]]:
    return {level.price: (level.quantity, level.orders) for level in levels}
