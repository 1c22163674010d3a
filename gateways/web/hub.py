"""Connections, what they ask for, and what they are told: the WebSocket side of the web gateway without its sockets.

    text of a connection --receive--> replies
    updates of the books --publish--> (connections, text), made once for all that subscribe

Rules
- A request is a JSON object with a `method`; its reply has the same `req_id`, and says what is wrong with it.
- A subscription is to one channel of one symbol (at one depth). It begins with a snapshot; each update follows.
- What nobody subscribes to is not made.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from gateways.marketdata.book import Book
from gateways.marketdata.books import Books
from gateways.marketdata.protocol import LevelUpdate, TradeUpdate, Update
from gateways.names import Instrument, UnknownNameError, decimal_text
from gateways.web.candles import INTERVALS, Candles
from gateways.web.channels import (
    DEPTHS,
    BookChannel,
    CandleChannel,
    Channel,
    OrderChannel,
    TickerChannel,
    TradeChannel,
)
from gateways.web.ladder import Ladder
from gateways.web.private import CHANNELS as PRIVATE_CHANNELS
from gateways.web.private import Private
from gateways.web.refusals import RefusedError
from gateways.web.requests import METHODS

SUBSCRIPTIONS_MAX: Final = 200
"""Of one connection."""
SYMBOLS_MAX: Final = 100
"""In one request."""
REQUEST_BYTES_MAX: Final = 16 << 10
API_VERSION: Final = "v2"
CHANNELS: Final = ("book", "level3", "trade", "ticker", "candles", "instrument")

CONFLATE_MS_MAX: Final = 10_000

ONLINE: Final = "online"
SILENT: Final = "silent"
"""Nothing is heard from the venue's nodes: what is told is of before."""

Key = tuple[str, str, int, int]
"""Channel, symbol, the depth of a book or the interval of candles, and how many ms lie between updates at least."""
_DETAILS: Final = {"book": "depth", "candles": "interval"}
INSTRUMENTS: Final[Key] = ("instrument", "", 0, 0)


class Params(msgspec.Struct):
    """What a subscription is to."""

    channel: str
    symbol: list[str] = []
    depth: int = DEPTHS[0]
    interval: int = INTERVALS[0]
    conflate_ms: int = 0
    snapshot: bool = True


class Request(msgspec.Struct):
    """What a connection says."""

    method: str
    params: msgspec.Raw = msgspec.Raw(b"")
    req_id: int | None = None


class _Channel(msgspec.Struct):
    channel: str = ""


_REQUESTS: Final = msgspec.json.Decoder(Request)
_METHODS: Final = ("ping", "subscribe", "unsubscribe", *METHODS)


class Hub:
    """All connections; `books` is the read model that they are told of, `private` what needs a key."""

    def __init__(self, books: Books, version: str, private: Private | None = None) -> None:
        self._private = private
        self._books = books
        self._version = version
        self._system = ONLINE
        self._channels: dict[Key, Channel] = {}
        self._subscribers: dict[Key, dict[int, None]] = {}
        self._of: dict[int, dict[Key, None]] = {}
        self._by_instrument: dict[int, list[Key]] = {}
        self._candles: dict[int, Candles] = {}
        self._ladders: dict[int, Ladder] = {}
        """Of instruments that somebody has subscribed to."""
        self._waiting: dict[Key, Update] = {}
        """Books that have changed and are told of later."""
        self._told_ms: dict[Key, int] = {}

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._of)

    # --- connections ------------------------------------------------------------------------------

    def connect(self, number: int) -> list[bytes]:
        """A connection was made; what it is told at once."""
        self._of[number] = {}
        return [self._status(number)]

    def lost(self, number: int) -> None:
        """A connection is gone."""
        for key in self._of.pop(number, ()):
            self._leave(number, key)
        if self._private is not None:
            self._private.lost(number)

    def receive(self, number: int, text: str | bytes) -> list[bytes]:
        """Take what a connection says; what is replied at once. Whatever is in it, nothing is raised."""
        request: Request | None = None
        try:
            request = self._read(text)
            return self._obey(number, request)
        except RefusedError as why:
            method, req_id = (request.method, request.req_id) if request is not None else ("", None)
            return [reply(method, req_id, {"success": False, "error": str(why)})]

    @staticmethod
    def _read(text: str | bytes) -> Request:
        if len(text) > REQUEST_BYTES_MAX:
            raise RefusedError(f"expected a request of at most {REQUEST_BYTES_MAX} bytes, got {len(text)}")
        try:
            return _REQUESTS.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            example = '{"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC-USD"]}}'
            raise RefusedError(f"expected a JSON object such as {example}: {error}") from None

    def _obey(self, number: int, request: Request) -> list[bytes]:
        if request.method == "ping":
            return [reply("pong", request.req_id, {})]
        if request.method not in _METHODS:
            raise RefusedError(f"method: expected {', '.join(_METHODS)}, got {request.method[:80]!r}")
        if not request.params:
            raise RefusedError("params: expected an object, got nothing")
        if request.method in METHODS:
            self._keyed.act(number, request.method, request.req_id, request.params)
            return []
        if _channel_of(request.params) in PRIVATE_CHANNELS:
            if request.method == "subscribe":
                return list(self._keyed.subscribe(number, request.req_id, request.params))
            return [self._keyed.unsubscribe(number, request.req_id, request.params)]
        return self._public(number, request)

    @property
    def _keyed(self) -> Private:
        if self._private is None:
            raise RefusedError("this gateway serves public data only", 404)
        return self._private

    def _public(self, number: int, request: Request) -> list[bytes]:
        try:
            params = msgspec.json.decode(request.params, type=Params)
        except msgspec.DecodeError as error:
            raise RefusedError(f"params: {error}") from None
        keys = self._keys(params)
        act = self._subscribe if request.method == "subscribe" else self._unsubscribe
        replies = []
        for key in keys:
            result: dict[str, Any] = {"channel": key[0]} | ({"symbol": key[1]} if key[1] else {})
            result |= {_DETAILS[key[0]]: key[2]} if key[0] in _DETAILS else {}
            problem, told = act(number, key, snapshot=params.snapshot)
            outcome = {"success": False, "error": problem} if problem else {"success": True, "result": result}
            replies += [reply(request.method, request.req_id, outcome), *told]
        return replies

    def _keys(self, params: Params) -> list[Key]:
        if params.channel not in CHANNELS:
            raise RefusedError(
                f"channel: expected {', '.join((*CHANNELS, *PRIVATE_CHANNELS))}, got {params.channel[:80]!r}"
            )
        if params.channel == "instrument":
            return [INSTRUMENTS]
        if not 0 < len(params.symbol) <= SYMBOLS_MAX:
            raise RefusedError(f"symbol: expected 1 to {SYMBOLS_MAX} symbols, got {len(params.symbol)}")
        if params.channel == "book" and params.depth not in DEPTHS:
            raise RefusedError(f"depth: expected {', '.join(map(str, DEPTHS))}, got {params.depth}")
        if params.channel == "candles" and params.interval not in INTERVALS:
            raise RefusedError(f"interval: expected {', '.join(map(str, INTERVALS))}, got {params.interval}")
        if not 0 <= params.conflate_ms <= (CONFLATE_MS_MAX if params.channel == "book" else 0):
            raise RefusedError(f"conflate_ms: expected 0 to {CONFLATE_MS_MAX}, of a book; got {params.conflate_ms}")
        detail = getattr(params, _DETAILS[params.channel]) if params.channel in _DETAILS else 0
        known = self._books.directory
        try:
            return [
                (params.channel, known.instrument(symbol).symbol, detail, params.conflate_ms)
                for symbol in params.symbol
            ]
        except UnknownNameError as error:
            raise RefusedError(f"symbol: {error}") from None

    def _subscribe(self, number: int, key: Key, *, snapshot: bool) -> tuple[str, list[bytes]]:
        mine = self._of[number]
        if key in mine:
            return "already subscribed", []
        if len(mine) >= SUBSCRIPTIONS_MAX:
            return f"expected at most {SUBSCRIPTIONS_MAX} subscriptions of a connection", []
        mine[key] = None
        self._subscribers.setdefault(key, {})[number] = None
        if key == INSTRUMENTS:
            return "", [self._instruments("snapshot", self._books.directory.instruments.values())]
        channel = self._channels.get(key)
        if channel is None:
            instrument = self._books.directory.instrument(key[1])
            channel = self._channels[key] = self._make(key, instrument)
            self._by_instrument.setdefault(instrument.instrument_id, []).append(key)
        return "", [channel.snapshot()] if snapshot else []

    def _unsubscribe(self, number: int, key: Key, *, snapshot: bool) -> tuple[str, list[bytes]]:
        del snapshot
        if self._of[number].pop(key, self) is self:
            return "not subscribed", []
        self._leave(number, key)
        return "", []

    def _leave(self, number: int, key: Key) -> None:
        subscribers = self._subscribers[key]
        del subscribers[number]
        if not subscribers:
            del self._subscribers[key]
            self._told_ms.pop(key, None)
            if self._channels.pop(key, None) is not None:
                self._by_instrument[self._books.directory.instrument(key[1]).instrument_id].remove(key)

    def _make(self, key: Key, instrument: Instrument) -> Channel:
        book = self._books.books[instrument.instrument_id]
        kind, _symbol, detail, _conflate_ms = key
        if kind == "book":
            return BookChannel(instrument, book, self._ladder(book), detail)
        if kind == "ticker":
            return TickerChannel(instrument, self._ladder(book), self.candles(instrument.instrument_id))
        if kind == "candles":
            return CandleChannel(instrument, self.candles(instrument.instrument_id), detail)
        return OrderChannel(instrument, book) if kind == "level3" else TradeChannel(instrument, book)

    def candles(self, instrument_id: int) -> Candles:
        """The candles of an instrument, of all its trades."""
        return self._candles.setdefault(instrument_id, Candles())

    def _ladder(self, book: Book) -> Ladder:
        if book.instrument_id not in self._ladders:
            self._ladders[book.instrument_id] = Ladder(book.level_snapshot())
        return self._ladders[book.instrument_id]

    # --- publishing -------------------------------------------------------------------------------

    def publish(self, updates: Iterable[Update]) -> Iterator[tuple[list[int], bytes]]:
        """Who is told what, after these changes of the books; each update once, and in order."""
        for update in updates:
            if isinstance(update, LevelUpdate) and update.instrument_id in self._ladders:
                self._ladders[update.instrument_id].take(update.changes)
            if isinstance(update, TradeUpdate):
                candles = self.candles(update.instrument_id)
                for trade in update.changes:
                    candles.take(trade)
            for key in self._by_instrument.get(update.instrument_id, ()):
                if key[3] and isinstance(update, LevelUpdate):
                    self._waiting.setdefault(key, update)
                if key[3]:
                    continue
                told = self._channels[key].update(update)
                if told is not None:
                    yield list(self._subscribers[key]), told

    def turn(self, now_ms: int) -> Iterator[tuple[list[int], bytes]]:
        """Who is told what of books that change faster than somebody wants to hear of it."""
        for key, update in tuple(self._waiting.items()):
            if key not in self._channels:
                del self._waiting[key]
            elif now_ms - self._told_ms.get(key, -CONFLATE_MS_MAX) >= key[3]:
                del self._waiting[key]
                self._told_ms[key] = now_ms
                told = self._channels[key].update(update)
                if told is not None:
                    yield list(self._subscribers[key]), told

    def announce(self, instruments: Iterable[Instrument]) -> Iterator[tuple[list[int], bytes]]:
        """Who is told of instruments that are new, or halted, resumed or have another band."""
        subscribers = list(self._subscribers.get(INSTRUMENTS, ()))
        if subscribers:
            yield subscribers, self._instruments("update", instruments)

    def heartbeat(self) -> tuple[list[int], bytes]:
        """What all that subscribe to anything are told now and then."""
        return [number for number, keys in self._of.items() if keys], b'{"channel":"heartbeat"}'

    def turn_system(self, system: str) -> Iterator[tuple[list[int], bytes]]:
        """Who is told how the venue is, where that is other than before: all."""
        if system != self._system:
            self._system = system
            yield from (([number], self._status(number)) for number in self._of)

    def _status(self, number: int) -> bytes:
        status = {"api_version": API_VERSION, "connection_id": number, "system": self._system, "version": self._version}
        return _json({"channel": "status", "type": "update", "data": [status]})

    def _instruments(self, kind: str, instruments: Iterable[Instrument]) -> bytes:
        pairs = [instrument_row(one, halted=one.instrument_id in self._books.halted) for one in instruments]
        return _json({"channel": "instrument", "type": kind, "data": {"pairs": pairs}})


def _channel_of(params: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(params, type=_Channel).channel
    except msgspec.DecodeError:
        return ""


def instrument_row(instrument: Instrument, *, halted: bool) -> dict[str, Any]:
    """An instrument as it is told."""
    return {
        "symbol": instrument.symbol,
        "quote": instrument.currency,
        "status": "halted" if halted else "online",
        "price_increment": msgspec.Raw(decimal_text(instrument.tick, instrument.tick_decimals).encode()),
        "price_precision": instrument.tick_decimals,
        "qty_increment": msgspec.Raw(decimal_text(instrument.lot, instrument.lot_decimals).encode()),
        "qty_precision": instrument.lot_decimals,
        "price_low": _bound(instrument, instrument.band_low),
        "price_high": _bound(instrument, instrument.band_high),
    }


def _bound(instrument: Instrument, ticks: int) -> msgspec.Raw | None:
    return msgspec.Raw(instrument.price_text(ticks).encode()) if ticks else None


def reply(method: str, req_id: int | None, outcome: dict[str, Any]) -> bytes:
    """What is said to a request."""
    return _json({"method": method} | outcome | ({} if req_id is None else {"req_id": req_id}))


def _json(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value)
