"""Both sides of a book by price, sorted: the best of them without a look at the rest."""

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Final

from sortedcontainers import SortedDict

from engines.messages import Side
from gateways.marketdata.protocol import LevelChanged, LevelSnapshot

_BUY: Final = int(Side.BUY)

Levels = dict[int, int]
"""Price in ticks -> quantity in lots, the best price first."""


class Ladder:
    """The levels of one instrument, kept by what the level channel tells."""

    def __init__(self, snapshot: LevelSnapshot) -> None:
        self._bids: SortedDict[int, int] = SortedDict({-one.price: one.quantity for one in snapshot.buys})
        self._asks: SortedDict[int, int] = SortedDict({one.price: one.quantity for one in snapshot.sells})

    def take(self, changes: list[LevelChanged]) -> None:
        """Take the changes that come next."""
        for change in changes:
            side, key = (self._bids, -change.price) if change.side == _BUY else (self._asks, change.price)
            if change.orders:
                side[key] = change.quantity
            else:
                side.pop(key, None)

    def bids(self, count: int) -> Levels:
        """The best `count` of the buyers."""
        return {-key: quantity for key, quantity in islice(self._bids.items(), count)}

    def asks(self, count: int) -> Levels:
        """The best `count` of the sellers."""
        return dict(islice(self._asks.items(), count))


class Prices:
    """The prices of one side at which there are orders, best first, and how many: 10 of 6,000 are wanted each time."""

    def __init__(self, side: int, prices: Iterable[int]) -> None:
        self._sign = -1 if side == _BUY else 1
        self._orders: SortedDict[int, int] = SortedDict(Counter(price * self._sign for price in prices))

    def add(self, price: int) -> None:
        """An order came."""
        merit = price * self._sign
        self._orders[merit] = self._orders.get(merit, 0) + 1

    def remove(self, price: int) -> None:
        """One went."""
        merit = price * self._sign
        self._orders[merit] -= 1
        if not self._orders[merit]:
            del self._orders[merit]

    def best(self, count: int) -> list[int]:
        """The best `count`."""
        return [merit * self._sign for merit in islice(self._orders, count)]
