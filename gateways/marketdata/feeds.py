"""Levels and trades of several instruments, kept up to date for a loop that has other things to do.

    market data gateway --updates, snapshots--> Feeds.turn() --> {symbol: Feed}, of those that changed

Rules
- It never waits: `turn` takes what is there. A snapshot that does not come is asked for again.
- What is joined to what, and how a gap is found, is the followers' business; see `follower`.
"""

from collections.abc import Callable, Iterable
from typing import Final

import zmq

from gateways.marketdata.follower import Follower
from gateways.marketdata.protocol import (
    ENCODER,
    LEVELS,
    REPLY_DECODER,
    TRADES,
    UPDATE_DECODER,
    BookRequest,
    Instruments,
    Refused,
    Request,
    TradeDone,
    TradesRequest,
    topic,
)
from gateways.marketdata.views import LevelView, TradeView
from sequencer.client import connect, tune

ASK_AGAIN_MS: Final = 1000
SILENCE_MS: Final = 5000
UPDATES_HWM: Final = 10_000
WAKE_MESSAGES: Final = 512


class Feed:
    """One instrument. `seen` is how many trades its owner has been told of."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.levels = Follower(LevelView())
        self.trades = Follower(TradeView())
        self._told = 0

    @property
    def is_ready(self) -> bool:
        """Whether both are there."""
        return not (self.levels.needs_snapshot or self.trades.needs_snapshot)

    def fresh_trades(self) -> list[TradeDone]:
        """The trades since the last call, as far as they are kept; none at the first."""
        count = self.trades.number - self._told if self._told else 0
        self._told = max(self.trades.number, 1)
        kept = self.trades.view.trades
        return list(kept)[max(0, len(kept) - count) :] if count > 0 else []


class Feeds:
    """The sockets of all that is followed. Not thread-safe: it belongs to one loop."""

    def __init__(self, endpoint: str, updates_endpoint: str, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self._updates = tune(context.socket(zmq.SUB), hwm=UPDATES_HWM)
        connect(self._updates, updates_endpoint)
        self._dealer = tune(context.socket(zmq.DEALER))
        self._dealer.setsockopt(zmq.IMMEDIATE, 1)
        connect(self._dealer, endpoint)
        self._feeds: dict[str, Feed] = {}
        self._topics: dict[bytes, Feed] = {}
        self._asked: dict[int, Feed] = {}
        self._number = 0
        self._asked_ms = self._heard_ms = 0

    def sockets(self) -> "list[zmq.Socket[bytes]]":
        """What to poll for input."""
        return [self._updates, self._dealer]

    def follow(self, symbols: Iterable[str]) -> None:
        """Follow these instruments, and no others."""
        wanted = set(symbols)
        for symbol in self._feeds.keys() - wanted:
            del self._feeds[symbol]
            for channel in (LEVELS, TRADES):
                self._updates.unsubscribe(topic(channel, symbol))
                del self._topics[topic(channel, symbol)]
        for symbol in sorted(wanted - self._feeds.keys()):
            feed = self._feeds[symbol] = Feed(symbol)
            for channel in (LEVELS, TRADES):
                self._topics[topic(channel, symbol)] = feed
                self._updates.subscribe(topic(channel, symbol))
            self._asked_ms = 0

    def turn(self, now_ms: int, waits_for: Callable[[str], bool]) -> list[Feed]:
        """Take what has come; the instruments that are whole, and have changed or are waited for."""
        if not self._feeds:
            return []
        changed = {symbol: feed for symbol, feed in self._feeds.items() if feed.is_ready and waits_for(symbol)}
        for _ in range(WAKE_MESSAGES):
            try:
                name, log, payload = self._updates.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            self._heard_ms = now_ms
            feed = self._topics.get(name)
            if feed is not None and self._follower(feed, name).update(log, UPDATE_DECODER.decode(payload)):
                changed[feed.symbol] = feed
        self._take_replies(changed)
        self._ask(now_ms)
        return [feed for feed in changed.values() if feed.is_ready]

    def close(self) -> None:
        """Close the sockets."""
        self._updates.close(linger=0)
        self._dealer.close(linger=0)

    @staticmethod
    def _follower(feed: Feed, name: bytes) -> Follower[LevelView] | Follower[TradeView]:
        return feed.levels if name.startswith(LEVELS.encode()) else feed.trades

    def _take_replies(self, changed: dict[str, Feed]) -> None:
        while True:
            try:
                log, payload = self._dealer.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            reply = REPLY_DECODER.decode(payload)
            feed = self._asked.pop(reply.request, None)
            if feed is None or isinstance(reply, Refused | Instruments):
                continue
            follower = feed.trades if hasattr(reply, "trades") else feed.levels
            if follower.snapshot(log, reply):
                changed[feed.symbol] = feed

    def _ask(self, now_ms: int) -> None:
        """Ask for the snapshots that are needed, now and then."""
        if now_ms - self._heard_ms > SILENCE_MS:
            self._heard_ms = now_ms
            for feed in self._feeds.values():
                feed.levels.needs_snapshot = feed.trades.needs_snapshot = True
        if now_ms - self._asked_ms < ASK_AGAIN_MS:
            return
        self._asked_ms = now_ms
        self._asked.clear()
        for feed in self._feeds.values():
            if feed.levels.needs_snapshot:
                self._say(feed, BookRequest(self._next(), feed.symbol))
            if feed.trades.needs_snapshot:
                self._say(feed, TradesRequest(self._next(), feed.symbol))

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _say(self, feed: Feed, request: Request) -> None:
        self._asked[request.request] = feed
        try:
            self._dealer.send(ENCODER.encode(request), zmq.NOBLOCK)
        except zmq.Again:
            return  # the gateway is away
