"""A market data reader: books and trades of a venue, from its market data gateway.

    with MarketDataClient(endpoint, updates_endpoint) as client:
        print(client.book("BTC-USD", depth=5))                 # once
        for view in client.follow("BTC-USD", LevelView()):     # after each change, for ever
            ...

Rules
- Subscribe first, then ask for a snapshot: what comes in between waits (see follower).
- A gap, a silent gateway or one that restarted is mended by another snapshot; the reader sees only views
  that are whole.
"""

import time
from collections.abc import Iterator
from contextlib import closing
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

import zmq

from gateways.marketdata.follower import Follower
from gateways.marketdata.protocol import (
    ENCODER,
    LEVELS,
    REPLY_DECODER,
    TRADES,
    TRADES_KEPT,
    UPDATE_DECODER,
    BookRequest,
    Instruments,
    InstrumentsRequest,
    LevelSnapshot,
    OrderSnapshot,
    Refused,
    Reply,
    Request,
    Snapshot,
    TradeDone,
    TradesRequest,
    TradesSnapshot,
    topic,
)
from gateways.marketdata.views import Depth, View, depth_of
from gateways.names import Instrument
from sequencer.client import connect, needs_keys, not_let_in, readable, refusals_of, tune
from sequencer.errors import IslandError, UnreachableError

ASK_AGAIN_MS: Final = 1000
POLL_MS: Final = 50
SILENCE_MS: Final = 5000
"""Heartbeats come every second; after this long without one, a snapshot tells whether all is well."""

TURN_MS: Final = 50
UPDATES_HWM: Final = 10_000

V = TypeVar("V", bound=View)
R = TypeVar("R", LevelSnapshot, OrderSnapshot, TradesSnapshot, Instruments)


class RefusedError(IslandError):
    """The gateway does not answer such a request; the message says why."""


class MarketDataClient:
    """Asks a market data gateway and follows its updates. Not thread-safe: it belongs to one loop."""

    def __init__(
        self,
        endpoint: str,
        updates_endpoint: str,
        *,
        timeout_s: float = 5.0,
        context: "zmq.Context[zmq.Socket[bytes]] | None" = None,
    ) -> None:
        self._context = context or zmq.Context.instance()
        self._endpoint = endpoint
        self._updates_endpoint = updates_endpoint
        self._timeout_s = timeout_s
        self._asked = 0
        self._dealer = self._new_dealer()
        self._refusals = refusals_of(self._dealer) if needs_keys(endpoint) else None
        """Can be read once the gateway does not let us in."""
        connect(self._dealer, endpoint)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the sockets."""
        self._dealer.close(linger=0)
        if self._refusals is not None:
            self._refusals.close(linger=0)

    def instruments(self) -> list[Instrument]:
        """All instruments, by id. Raises UnreachableError."""
        return self._instruments().instruments

    def halted(self) -> list[str]:
        """The symbols of the instruments that are halted. Raises UnreachableError."""
        reply = self._instruments()
        return [instrument.symbol for instrument in reply.instruments if instrument.instrument_id in reply.halted]

    def instrument(self, symbol: str) -> Instrument:
        """The terms of an instrument. Raises RefusedError or UnreachableError."""
        for instrument in self.instruments():
            if instrument.symbol == symbol:
                return instrument
        raise RefusedError(f"expected the symbol of an instrument, got {symbol!r}")

    def book(self, symbol: str, depth: int = 10) -> Depth:
        """The best `depth` levels of each side in decimal text (0: all). Raises RefusedError or UnreachableError."""
        snapshot = self._ask(BookRequest(self._number(), symbol, 2, depth), LevelSnapshot)
        return depth_of(self.instrument(symbol), snapshot)

    def orders(self, symbol: str) -> OrderSnapshot:
        """All orders in ticks and lots. Raises RefusedError or UnreachableError."""
        return self._ask(BookRequest(self._number(), symbol, 3), OrderSnapshot)

    def trades(self, symbol: str, count: int = TRADES_KEPT) -> list[TradeDone]:
        """The latest trades, oldest first, at most `count`. Raises RefusedError or UnreachableError."""
        return self._ask(TradesRequest(self._number(), symbol, count), TradesSnapshot).trades

    def follow(self, symbol: str, view: V, *, timeout_s: float | None = None) -> Iterator[V]:
        """The view (a LevelView, OrderView or TradeView) as it is, and again after each change.

        Ends when nothing has changed for `timeout_s` (None: never). Raises RefusedError.
        """
        follower = Follower(view)
        changed_ms = _now_ms()
        with closing(_Feed(self, follower, symbol)) as feed:
            while timeout_s is None or _now_ms() - changed_ms <= timeout_s * 1000:
                if feed.turn():
                    changed_ms = _now_ms()
                    yield view

    def dealer(self) -> "zmq.Socket[bytes]":
        """A new socket for requests."""
        socket = self._new_dealer()
        connect(socket, self._endpoint)
        return socket

    def updates(self, name: bytes) -> "zmq.Socket[bytes]":
        """A new socket that gets the updates of a topic."""
        socket = tune(self._context.socket(zmq.SUB), hwm=UPDATES_HWM)
        socket.subscribe(name)
        connect(socket, self._updates_endpoint)
        return socket

    def _instruments(self) -> Instruments:
        return self._ask(InstrumentsRequest(self._number()), Instruments)

    def _number(self) -> int:
        """A number for the next request, by which its reply is known."""
        self._asked += 1
        return self._asked

    def _new_dealer(self) -> "zmq.Socket[bytes]":
        socket = tune(self._context.socket(zmq.DEALER))
        socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing is queued for a gateway that is away
        return socket

    def _ask(self, request: Request, expected: type[R]) -> R:
        """The reply to a request, which is sent again while none comes: either of them may get lost."""
        deadline_ms = _now_ms() + int(self._timeout_s * 1000)
        while (left_ms := deadline_ms - _now_ms()) > 0:
            if self._refusals is not None and readable(self._refusals):
                raise not_let_in(self._dealer, f"the market data gateway at {self._endpoint}")
            if not self._dealer.poll(min(left_ms, POLL_MS), zmq.POLLOUT):
                continue
            self._dealer.send(ENCODER.encode(request), zmq.NOBLOCK)
            again_ms = min(deadline_ms, _now_ms() + ASK_AGAIN_MS)
            while self._dealer.poll(max(0, again_ms - _now_ms())):
                _, reply = _read_reply(self._dealer)
                if reply.request != request.request:
                    continue  # of an earlier request that was sent twice
                if isinstance(reply, Refused):
                    raise RefusedError(reply.reason)
                if isinstance(reply, expected):
                    return reply
        raise UnreachableError(f"no market data gateway answered at {self._endpoint} within {self._timeout_s} s")


class _Feed(Generic[V]):
    """The sockets of one followed channel."""

    def __init__(self, client: MarketDataClient, follower: Follower[V], symbol: str) -> None:
        self._follower = follower
        self._symbol = symbol
        self._updates = client.updates(topic(follower.view.channel, symbol))
        self._dealer = client.dealer()
        self._poller = zmq.Poller()
        self._poller.register(self._updates, zmq.POLLIN)
        self._poller.register(self._dealer, zmq.POLLIN)
        self._asked_ms = -ASK_AGAIN_MS
        self._heard_ms = _now_ms()

    def turn(self) -> bool:
        """Wait a little, take at most one message from each socket; whether the view has changed."""
        self._ask()
        ready = dict(self._poller.poll(TURN_MS))
        if ready:
            self._heard_ms = _now_ms()
        changed = False
        if self._dealer in ready:
            log, reply = _read_reply(self._dealer)
            if isinstance(reply, Refused):
                raise RefusedError(reply.reason)
            changed = isinstance(reply, Snapshot) and self._follower.snapshot(log, reply)
        if self._updates in ready:
            _, log, payload = self._updates.recv_multipart()
            changed = self._follower.update(log, UPDATE_DECODER.decode(payload)) or changed
        return changed

    def close(self) -> None:
        """Close the sockets."""
        self._updates.close(linger=0)
        self._dealer.close(linger=0)

    def _ask(self) -> None:
        """Ask for a snapshot where one is needed and was not asked for just now."""
        now_ms = _now_ms()
        if now_ms - self._heard_ms > SILENCE_MS:
            self._follower.needs_snapshot = True
        due = self._follower.needs_snapshot and now_ms - self._asked_ms >= ASK_AGAIN_MS
        if due and self._dealer.poll(0, zmq.POLLOUT):
            self._asked_ms = now_ms
            self._dealer.send(ENCODER.encode(_snapshot_request(self._follower.view.channel, self._symbol)), zmq.NOBLOCK)


def _snapshot_request(channel: str, symbol: str) -> Request:
    if channel == TRADES:
        return TradesRequest(0, symbol)
    return BookRequest(0, symbol, 2 if channel == LEVELS else 3)


def _read_reply(dealer: "zmq.Socket[bytes]") -> tuple[bytes, Reply]:
    log, payload = dealer.recv_multipart()
    return log, REPLY_DECODER.decode(payload)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
