"""Both sides of a book by price, sorted: the best of them without a look at the rest."""

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
