"""What travels between the market data gateway and its readers: msgpack arrays of integers.

    PUB    -> SUB      topic | log | Update          one message per instrument, channel and run of results
    DEALER -> ROUTER   Request
    ROUTER -> DEALER   log | Reply

Three channels per instrument, with a topic each (a zero byte ends a topic, so that no symbol is the
beginning of another):

    L2.BTC-USD\\0      price levels: quantity and number of orders
    L3.BTC-USD\\0      orders, in the order of their queues
    TRADES.BTC-USD\\0  trades

Rules
- The changes of a channel are numbered 1, 2, 3, ...; an Update holds those from `first_number` on. The
  numbers are a function of the log: all gateways of a log agree, before and after a restart.
- An Update without changes is a heartbeat, once a second: the next number is `first_number`.
- A snapshot holds everything up to `number`: it is followed by the changes from number + 1 on.
- `log` names the log (16 bytes): numbers of different logs have nothing to do with each other.
- An update may be lost (PUB drops what a slow reader does not take). The reader sees it by number
  and asks for a snapshot again.
- Prices are ticks, quantities lots; `Instrument` has the terms that make them decimal text.
- Order ids are public, clients are not: no client's id or name, nor its own order id, is ever sent.
"""

from typing import Final

import msgspec

from gateways.names import Instrument

LEVELS: Final = "L2"
ORDERS: Final = "L3"
TRADES: Final = "TRADES"
TRADES_KEPT: Final = 1000
"""So many latest trades of an instrument can be asked for."""

REQUEST_BYTES_MAX: Final = 1024


class Wire(msgspec.Struct, array_like=True, gc=False, eq=True):
    """Root of all that travels. Field order is the wire format: append only, with defaults."""


# --- changes ----------------------------------------------------------------------------------


class LevelChanged(Wire):
    """The level at this price now has this quantity in so many orders; 0 and 0: it is gone."""

    side: int
    price: int
    quantity: int
    orders: int


class OrderAdded(Wire, tag=1):
    """The order is now the last in the queue at its price."""

    order_id: int
    side: int
    price: int
    quantity: int


class OrderChanged(Wire, tag=2):
    """The order has this quantity left, and its place in the queue as before."""

    order_id: int
    quantity: int


class OrderRemoved(Wire, tag=3):
    """The order is gone from the queue (it may come back at once, at another place)."""

    order_id: int


class TradeDone(Wire):
    """A trade; `sequence` is its place in the log and `aggressor_side` the side of the taker."""

    sequence: int
    time_ns: int
    price: int
    quantity: int
    aggressor_side: int
    maker_order_id: int
    taker_order_id: int


OrderChange = OrderAdded | OrderChanged | OrderRemoved


# --- updates ----------------------------------------------------------------------------------


class LevelUpdate(Wire, tag=10):
    """Changes of price levels, as of a place and time in the log."""

    instrument_id: int
    first_number: int
    sequence: int
    time_ns: int
    changes: list[LevelChanged]


class OrderUpdate(Wire, tag=11):
    """Changes of orders, as of a place and time in the log."""

    instrument_id: int
    first_number: int
    sequence: int
    time_ns: int
    changes: list[OrderChange]


class TradeUpdate(Wire, tag=12):
    """Trades, as of a place and time in the log."""

    instrument_id: int
    first_number: int
    sequence: int
    time_ns: int
    changes: list[TradeDone]


Update = LevelUpdate | OrderUpdate | TradeUpdate


# --- requests ---------------------------------------------------------------------------------


class BookRequest(Wire, tag=20):
    """A book: level 2 by price (the best `depth` levels of each side; 0: all), level 3 by order."""

    request: int
    symbol: str
    level: int = 2
    depth: int = 0


class TradesRequest(Wire, tag=21):
    """The latest trades, at most `count` of them."""

    request: int
    symbol: str
    count: int = TRADES_KEPT


class InstrumentsRequest(Wire, tag=22):
    """All instruments."""

    request: int


Request = BookRequest | TradesRequest | InstrumentsRequest


# --- replies ----------------------------------------------------------------------------------


class LevelSnapshot(Wire, tag=30):
    """Both sides by price, best first; `sequence` is the place in the log up to which it holds."""

    request: int
    instrument_id: int
    number: int
    sequence: int
    time_ns: int
    buys: list[LevelChanged]
    sells: list[LevelChanged]


class OrderSnapshot(Wire, tag=31):
    """Both sides by order: best price first, and at a price in the order of the queue."""

    request: int
    instrument_id: int
    number: int
    sequence: int
    time_ns: int
    buys: list[OrderAdded]
    sells: list[OrderAdded]


class TradesSnapshot(Wire, tag=32):
    """The latest trades, oldest first; the last of them is number `number` of the channel."""

    request: int
    instrument_id: int
    number: int
    sequence: int
    time_ns: int
    trades: list[TradeDone]


class Instruments(Wire, tag=33):
    """All instruments, by id, and the ids of those that are halted."""

    request: int
    instruments: list[Instrument]
    halted: list[int]


class Refused(Wire, tag=34):
    """The request cannot be answered, and why."""

    request: int
    reason: str


Snapshot = LevelSnapshot | OrderSnapshot | TradesSnapshot
Reply = LevelSnapshot | OrderSnapshot | TradesSnapshot | Instruments | Refused

ENCODER: Final = msgspec.msgpack.Encoder()
UPDATE_DECODER: Final["msgspec.msgpack.Decoder[Update]"] = msgspec.msgpack.Decoder(Update)
REQUEST_DECODER: Final["msgspec.msgpack.Decoder[Request]"] = msgspec.msgpack.Decoder(Request)
REPLY_DECODER: Final["msgspec.msgpack.Decoder[Reply]"] = msgspec.msgpack.Decoder(Reply)


def topic(channel: str, symbol: str) -> bytes:
    """What a reader of LEVELS, ORDERS or TRADES of a symbol subscribes to."""
    return f"{channel}.{symbol}\0".encode()
