"""Candles and tickers of one instrument, folded from its trades.

    trades --> minutes (kept for KEPT_MINUTES) --> candles of 1, 5, 15, 60 ... minutes
                                               --> ticker: the last 24 hours, and the best of the book

Rules
- Time is the log's: a candle begins at a multiple of its interval since the epoch. A minute without trades has none.
- All is integers; only the volume-weighted average price is rounded, where it is said.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from gateways.marketdata.protocol import TradeDone

MINUTE_NS: Final = 60_000_000_000
INTERVALS: Final = (1, 5, 15, 30, 60, 240, 1440)
"""In minutes."""
KEPT_MINUTES: Final = 7 * 1440
DAY_MINUTES: Final = 1440


class Candle(msgspec.Struct):
    """Prices in ticks, `volume` in lots, `notional` in ticks x lots; `begin` in minutes since the epoch."""

    begin: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    notional: int
    trades: int

    def add(self, other: "Candle") -> None:
        """What came behind it belongs to it."""
        self.high, self.low = max(self.high, other.high), min(self.low, other.low)
        self.close = other.close
        self.volume += other.volume
        self.notional += other.notional
        self.trades += other.trades


class Candles:
    """The candles of one instrument."""

    def __init__(self, trades: Iterable[TradeDone] = ()) -> None:
        self._minutes: deque[Candle] = deque(maxlen=KEPT_MINUTES)
        self._day: Candle | None = None
        for trade in trades:
            self.take(trade)

    def take(self, trade: TradeDone) -> None:
        """A trade, the latest so far."""
        self._day = None
        price, notional = trade.price, trade.price * trade.quantity
        one = Candle(trade.time_ns // MINUTE_NS, price, price, price, price, trade.quantity, notional, 1)
        if self._minutes and self._minutes[-1].begin == one.begin:
            self._minutes[-1].add(one)
        else:
            self._minutes.append(one)

    def latest(self, interval: int, count: int) -> list[Candle]:
        """The last `count` candles of `interval` minutes, the oldest first."""
        made: list[Candle] = []
        for minute in reversed(self._minutes):
            begin = minute.begin - minute.begin % interval
            if not made or made[-1].begin != begin:
                if len(made) == count:
                    break
                made.append(msgspec.structs.replace(minute, begin=begin))
            else:
                later = made[-1]
                made[-1] = msgspec.structs.replace(minute, begin=begin)
                made[-1].add(later)
        return made[::-1]

    def day(self) -> Candle | None:
        """All of the 24 hours up to the latest trade as one candle; None where there was no trade."""
        if self._day is not None or not self._minutes:
            return self._day
        since = self._minutes[-1].begin - DAY_MINUTES
        found = [minute for minute in self._minutes if minute.begin > since]
        made = msgspec.structs.replace(found[0])
        for minute in found[1:]:
            made.add(minute)
        self._day = made
        return made
