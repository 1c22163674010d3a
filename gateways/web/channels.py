"""What the subscribers of one channel of one instrument are told: text that is made once for all of them.

    Book --snapshot--> to who subscribes
         --update----> to all, when it has changed: the difference to what was told last, with the next number

Rules
- `sequence` numbers the messages of a channel without a gap; a snapshot has the number of the last update in it.
- A book of a depth is told as levels that come, change (`qty` is the new total) or go (`qty` 0). What falls out of the
  depth is told as gone, and what moves up into it as come.
- Numbers are JSON numbers with all decimals of their tick or lot: the checksum is over this text.
"""

from typing import Final, Protocol

import msgspec

from engines.messages import Side
from gateways.marketdata.book import Book, Half
from gateways.marketdata.protocol import (
    LevelUpdate,
    OrderAdded,
    OrderChanged,
    OrderUpdate,
    TradeDone,
    TradeUpdate,
    Update,
)
from gateways.names import Instrument, average_text, decimal_text
from gateways.times import iso_text
from gateways.web.candles import MINUTE_NS, Candle, Candles
from gateways.web.checksums import TOP, checksum
from gateways.web.ladder import Ladder, Levels, Prices

DEPTHS: Final = (10, 25, 100, 500, 1000)
TRADES_IN_SNAPSHOT: Final = 50
CANDLES_IN_SNAPSHOT: Final = 100
_BUY: Final = int(Side.BUY)
_SELL: Final = int(Side.SELL)


class Channel(Protocol):
    """One channel of one instrument."""

    def snapshot(self) -> bytes:
        """What a new subscriber is told."""
        ...

    def update(self, update: Update) -> bytes | None:
        """What all are told after a change; None where it does not concern them."""
        ...


class BookChannel:
    """The best `depth` levels of each side."""

    def __init__(self, instrument: Instrument, book: Book, ladder: Ladder, depth: int) -> None:
        self._instrument = instrument
        self._symbol = json_text(instrument.symbol)
        self._book = book
        self._ladder = ladder
        self._depth = depth
        self._number = 0
        self._bids, self._asks = ladder.bids(depth), ladder.asks(depth)

    def snapshot(self) -> bytes:
        """All levels."""
        return self._message("snapshot", self._bids, self._asks)

    def update(self, update: Update) -> bytes | None:
        """The levels that differ from what was told last."""
        if not isinstance(update, LevelUpdate):
            return None
        bids, asks = self._ladder.bids(self._depth), self._ladder.asks(self._depth)
        changed = _changes(self._bids, bids), _changes(self._asks, asks)
        self._bids, self._asks = bids, asks
        if not any(changed):
            return None
        self._number += 1
        return self._message("update", *changed)

    def _message(self, kind: str, bids: Levels, asks: Levels) -> bytes:
        instrument, book = self._instrument, self._book
        sides = [
            ",".join([f'{{"price":{price},"qty":{quantity}}}' for price, quantity in _pairs(instrument, side)])
            for side in (bids, asks)
        ]
        crc = checksum(_pairs(instrument, self._asks, TOP), _pairs(instrument, self._bids, TOP))
        return (
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":{self._symbol},"depth":{self._depth},'
            f'"sequence":{self._number},"bids":[{sides[0]}],"asks":[{sides[1]}],"checksum":{crc},'
            f'"timestamp":"{iso_text(book.time_ns)}"}}]}}'
        ).encode()


class OrderChannel:
    """Every order, in the order of the queues: level 3."""

    def __init__(self, instrument: Instrument, book: Book) -> None:
        self._instrument = instrument
        self._symbol = json_text(instrument.symbol)
        self._book = book
        self._number = 0
        snapshot = book.order_snapshot()
        self._orders = {order.order_id: order for order in (*snapshot.buys, *snapshot.sells)}
        self._prices = {
            side: Prices(side, [order.price for order in orders])
            for side, orders in ((_BUY, snapshot.buys), (_SELL, snapshot.sells))
        }

    def snapshot(self) -> bytes:
        """All orders, best price first, at a price in the order of the queue."""
        told = self._book.order_snapshot()
        return self._message("snapshot", *([self._text(order) for order in side] for side in (told.buys, told.sells)))

    def update(self, update: Update) -> bytes | None:
        """The orders that came, changed or went, in the order in which they did."""
        if not isinstance(update, OrderUpdate):
            return None
        bids: list[str] = []
        asks: list[str] = []
        for change in update.changes:
            event, order = self._step(change)
            (bids if order.side == _BUY else asks).append(self._text(order, event))
        self._number += 1
        return self._message("update", bids, asks)

    def _step(self, change: object) -> tuple[str, OrderAdded]:
        if isinstance(change, OrderAdded):
            self._orders[change.order_id] = change
            self._prices[change.side].add(change.price)
            return "add", change
        order_id: int = change.order_id  # type: ignore[attr-defined]
        if isinstance(change, OrderChanged):
            known = self._orders[order_id]
            order = self._orders[order_id] = OrderAdded(order_id, known.side, known.price, change.quantity)
            return "modify", order
        known = self._orders.pop(order_id)
        self._prices[known.side].remove(known.price)
        return "delete", OrderAdded(order_id, known.side, known.price, 0)

    def _text(self, order: OrderAdded, event: str = "") -> str:
        head = f'"event":"{event}",' if event else ""
        instrument = self._instrument
        return (
            f'{{{head}"order_id":"{order.order_id}","limit_price":{instrument.price_text(order.price)},'
            f'"order_qty":{instrument.quantity_text(order.quantity)}}}'
        )

    def _message(self, kind: str, bids: list[str], asks: list[str]) -> bytes:
        book = self._book
        crc = checksum(self._queues(book.sells), self._queues(book.buys))
        return (
            f'{{"channel":"level3","type":"{kind}","data":[{{"symbol":{self._symbol},"sequence":{self._number},'
            f'"bids":[{",".join(bids)}],"asks":[{",".join(asks)}],"checksum":{crc},'
            f'"timestamp":"{iso_text(book.time_ns)}"}}]}}'
        ).encode()

    def _queues(self, half: Half) -> list[tuple[str, str]]:
        instrument = self._instrument
        return [
            (instrument.price_text(price), instrument.quantity_text(order.leaves))
            for price in self._prices[half.side].best(TOP)
            for order in half.levels[price].orders.values()
        ]


class TradeChannel:
    """Trades as they happen."""

    def __init__(self, instrument: Instrument, book: Book) -> None:
        self._instrument = instrument
        self._symbol = json_text(instrument.symbol)
        self._book = book
        self._number = 0

    def snapshot(self) -> bytes:
        """The latest ones, oldest first."""
        return self._message("snapshot", self._book.trades_snapshot(0, TRADES_IN_SNAPSHOT).trades)

    def update(self, update: Update) -> bytes | None:
        """Those of one update."""
        if not isinstance(update, TradeUpdate):
            return None
        self._number += 1
        return self._message("update", update.changes)

    def _message(self, kind: str, trades: list[TradeDone]) -> bytes:
        instrument = self._instrument
        texts = [
            f'{{"symbol":{self._symbol},"side":"{_side(trade.aggressor_side)}","trade_id":{trade.sequence},'
            f'"price":{instrument.price_text(trade.price)},"qty":{instrument.quantity_text(trade.quantity)},'
            f'"timestamp":"{iso_text(trade.time_ns)}"}}'
            for trade in trades
        ]
        head = f'"channel":"trade","type":"{kind}","symbol":{self._symbol},"sequence":{self._number}'
        return f'{{{head},"data":[{",".join(texts)}]}}'.encode()


def json_text(text: str) -> str:
    """Text as JSON has it."""
    return msgspec.json.encode(text).decode()


class TickerChannel:
    """The best of the book, the last trade, and the 24 hours up to it."""

    def __init__(self, instrument: Instrument, ladder: Ladder, candles: Candles) -> None:
        self._instrument = instrument
        self._symbol = json_text(instrument.symbol)
        self._ladder = ladder
        self._candles = candles
        self._number = 0
        self._told = self._text()

    def snapshot(self) -> bytes:
        """As it is."""
        return self._message("snapshot")

    def update(self, update: Update) -> bytes | None:
        """As it is now, where that is different."""
        text = self._told if isinstance(update, OrderUpdate) else self._text()
        if text == self._told:
            return None
        self._number += 1
        self._told = text
        return self._message("update")

    def _message(self, kind: str) -> bytes:
        head = f'"channel":"ticker","type":"{kind}","sequence":{self._number}'
        return f'{{{head},"data":[{{"symbol":{self._symbol},{self._told}}}]}}'.encode()

    def _text(self) -> str:
        instrument, price = self._instrument, self._instrument.price_text
        said = [self._best("bid", self._ladder.bids(1)), self._best("ask", self._ladder.asks(1))]
        day = self._candles.day()
        if day is not None:
            change = decimal_text((day.close - day.open) * instrument.tick, instrument.tick_decimals)
            said += [
                f'"last":{price(day.close)},"high":{price(day.high)},"low":{price(day.low)},"change":{change}',
                f'"volume":{instrument.quantity_text(day.volume)}',
                f'"vwap":{average_text(instrument, day.notional, day.volume)}',
            ]  # fmt: skip
        return ",".join(said)

    def _best(self, name: str, levels: Levels) -> str:
        for price, quantity in levels.items():
            instrument = self._instrument
            return f'"{name}":{instrument.price_text(price)},"{name}_qty":{instrument.quantity_text(quantity)}'
        return f'"{name}":null,"{name}_qty":null'


class CandleChannel:
    """Candles of one interval: the one that is open, as it changes."""

    def __init__(self, instrument: Instrument, candles: Candles, interval: int) -> None:
        self._instrument = instrument
        self._candles = candles
        self._interval = interval
        self._number = 0

    def snapshot(self) -> bytes:
        """The latest ones, the oldest first."""
        return self._message("snapshot", self._candles.latest(self._interval, CANDLES_IN_SNAPSHOT))

    def update(self, update: Update) -> bytes | None:
        """The latest one after a trade, and those that it followed since the last update."""
        if not isinstance(update, TradeUpdate):
            return None
        begin = update.changes[0].time_ns // MINUTE_NS
        begin -= begin % self._interval
        self._number += 1
        latest = self._candles.latest(self._interval, len(update.changes))
        return self._message("update", [candle for candle in latest if candle.begin >= begin])

    def _message(self, kind: str, candles: list[Candle]) -> bytes:
        data = ",".join(candle_text(self._instrument, candle, self._interval) for candle in candles)
        symbol = json_text(self._instrument.symbol)
        head = f'"channel":"candles","type":"{kind}","symbol":{symbol},"interval":{self._interval}'
        head += f',"sequence":{self._number}'
        return f'{{{head},"data":[{data}]}}'.encode()


def candle_text(instrument: Instrument, candle: Candle, interval: int) -> str:
    """A candle as JSON."""
    price = instrument.price_text
    vwap = average_text(instrument, candle.notional, candle.volume)
    return (
        f'{{"symbol":{json_text(instrument.symbol)},"interval":{interval},'
        f'"interval_begin":"{iso_text(candle.begin * MINUTE_NS)}",'
        f'"open":{price(candle.open)},"high":{price(candle.high)},"low":{price(candle.low)},"close":{price(candle.close)},"volume":{instrument.quantity_text(candle.volume)},'
        f'"vwap":{vwap},"trades":{candle.trades}}}'
    )


def _changes(before: Levels, now: Levels) -> Levels:
    """What a reader of `before` has to apply: new quantities, and 0 for what is gone."""
    gone = {price: 0 for price in before if price not in now}
    return gone | {price: quantity for price, quantity in now.items() if before.get(price) != quantity}


def _pairs(instrument: Instrument, levels: Levels, count: int | None = None) -> list[tuple[str, str]]:
    found = list(levels.items())[:count]
    return [(instrument.price_text(price), instrument.quantity_text(quantity)) for price, quantity in found]


def _side(side: int) -> str:
    return "buy" if side == _BUY else "sell"
