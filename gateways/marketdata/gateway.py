"""The market data gateway as a process: sockets around the books.

    log --Subscriber--> Books --updates of subscribed topics--> XPUB   --> readers
                          +----answers--> ROUTER <--requests--------------- readers

Rules
- It listens once it has caught up with the log, so every snapshot is a recent one. The numbers are those
  of the log: a reader that followed an earlier process goes on, or finds a gap.
- What nobody subscribes to is not encoded.
- It never waits for a reader: PUB drops what a slow one does not take, ROUTER too.
- A wake drains every socket up to a bound, so that no reader keeps the books from following the log.
"""

import contextlib
import time
from collections.abc import Iterable
from typing import Final, Protocol

import zmq

from gateways.marketdata.books import Books
from gateways.marketdata.protocol import (
    ENCODER,
    LEVELS,
    ORDERS,
    REQUEST_BYTES_MAX,
    TRADES,
    LevelUpdate,
    OrderUpdate,
    Refused,
    TradeUpdate,
    Update,
    topic,
)
from gateways.marketdata.queries import answer
from gateways.orders import runs
from sequencer.client import (
    Context,
    Door,
    Gate,
    KeyWatch,
    Log,
    NoLog,
    Reporter,
    Subscriber,
    bind,
    hold_memory,
    open_log,
    stop_signal,
    tune,
)
from sequencer.config import Config
from sequencer.envelope import Entry
from sequencer.errors import IslandError

TURN_MS: Final = 50
HEARTBEAT_MS: Final = 1000
WAKE_REQUESTS: Final = 64
READER_HWM: Final = 10_000
_CHANNELS: Final[dict[type[Update], str]] = {LevelUpdate: LEVELS, OrderUpdate: ORDERS, TradeUpdate: TRADES}


class Stream(Protocol):
    """What is read of a Subscriber."""

    @property
    def pending(self) -> bool:
        """Whether another `receive` at once may deliver more."""
        ...

    @property
    def caught_up(self) -> bool:
        """Whether everything known to be in the log has been delivered."""
        ...

    def sockets(self) -> "list[zmq.Socket[bytes]]":
        """What to poll for input."""
        ...

    def receive(self) -> list[Entry]:
        """What can be delivered now."""
        ...


class Topics:
    """Which topics somebody subscribes to: those that begin with a prefix that a reader named."""

    def __init__(self) -> None:
        self._prefixes: set[bytes] = set()
        self._wanted: dict[bytes, bool] = {}

    def take(self, frame: bytes) -> None:
        """Learn from a frame of an XPUB socket: 1 or 0 (subscribed or not any more), then the prefix."""
        if frame[:1] == b"\1":
            self._prefixes.add(frame[1:])
        elif frame[:1] == b"\0":
            self._prefixes.discard(frame[1:])
        self._wanted.clear()

    def wants(self, name: bytes) -> bool:
        """Whether anybody would get a message of this topic."""
        wanted = self._wanted.get(name)
        if wanted is None:
            wanted = self._wanted[name] = any(name.startswith(prefix) for prefix in self._prefixes)
        return wanted


class MarketDataGateway:
    """Moves entries, updates and requests between sockets and the books; decides nothing."""

    def __init__(
        self,
        endpoint: str,
        updates_endpoint: str,
        subscriber: Stream,
        *,
        context: Context,
        log: Log | None = None,
    ) -> None:
        self.books = Books()
        self.log = log or NoLog()
        self.position = 0
        self.requests = 0
        self.is_live = False
        self._endpoint = endpoint
        self._updates_endpoint = updates_endpoint
        self._subscriber = subscriber
        self._log = b""
        self._topics = Topics()
        self._names: dict[tuple[str, int], bytes] = {}
        self._beat_ms = 0
        self._router = tune(context.socket(zmq.ROUTER))
        self._router.setsockopt(zmq.MAXMSGSIZE, REQUEST_BYTES_MAX * 2)
        self._gate: Gate | None = None
        self._keys = KeyWatch(context, self.log)
        self._context = context
        self._is_renewed = False
        """The socket of the updates is a new one, which does not listen yet."""
        self._updates = self._publisher()
        self._poller = zmq.Poller()
        for socket in (*subscriber.sockets(), self._router, self._updates):
            self._poller.register(socket, zmq.POLLIN)

    def wake_on(self, fd: int) -> None:
        """End a turn's wait also when this file descriptor can be read."""
        self._poller.register(fd, zmq.POLLIN)

    def turn(self) -> None:
        """Wait for something to come (a little), take it, and do what follows."""
        self._poller.poll(0 if self._subscriber.pending else TURN_MS)
        self._take_subscriptions()
        for entry in self._subscriber.receive():
            self._take_entry(entry)
        if not self.is_live and self._subscriber.caught_up:
            self._listen()
        if self._keys.look():
            self._renew_updates()
        if self._is_renewed:
            self._listen_again()
        self._take_requests()
        self._beat()

    def close(self) -> None:
        """Close what this gateway opened."""
        self.log.tend(is_ending=True)
        self._router.close(linger=0)
        self._updates.close(linger=0)

    def _listen(self) -> None:
        bind(self._updates, self._updates_endpoint, "endpoints.marketdata_updates", Door.FEED)
        self._gate = bind(self._router, self._endpoint, "endpoints.marketdata", Door.FEED, self._over_limit)
        self.is_live = True
        endpoints = {"endpoint": self._endpoint, "updates": self._updates_endpoint}
        self.log.info("listening", **endpoints, position=self.position)

    def _publisher(self) -> "zmq.Socket[bytes]":
        socket = tune(self._context.socket(zmq.XPUB), hwm=READER_HWM)
        socket.setsockopt(zmq.MAXMSGSIZE, REQUEST_BYTES_MAX)
        return socket

    def _renew_updates(self) -> None:
        """Have all readers connect again: who may not any more is not let in, the others ask for snapshots."""
        self._poller.unregister(self._updates)
        self._updates.close(linger=0)
        self._updates, self._topics = self._publisher(), Topics()
        self._poller.register(self._updates, zmq.POLLIN)
        self._is_renewed = True

    def _listen_again(self) -> None:
        with contextlib.suppress(IslandError):  # the socket before it is not gone yet
            bind(self._updates, self._updates_endpoint, "endpoints.marketdata_updates", Door.FEED)
            self._is_renewed = False

    def _take_entry(self, entry: Entry) -> None:
        self._log = entry.cluster
        self.position = entry.next_sequence - 1
        for first_sequence, channel, messages in runs(entry):
            self._publish(self.books.apply(first_sequence, entry.time_ns, channel, messages))

    def _publish(self, updates: Iterable[Update]) -> None:
        for update in updates:
            name = self._topic(_CHANNELS[type(update)], update.instrument_id)
            if self._topics.wants(name):
                self._updates.send_multipart((name, self._log, ENCODER.encode(update)), zmq.NOBLOCK)

    def _topic(self, channel: str, instrument_id: int) -> bytes:
        name = self._names.get((channel, instrument_id))
        if name is None:
            name = self._names[channel, instrument_id] = topic(channel, self.books.directory.symbol(instrument_id))
        return name

    def _take_subscriptions(self) -> None:
        while True:
            try:
                self._topics.take(self._updates.recv(zmq.NOBLOCK))
            except zmq.Again:
                return

    def _take_requests(self) -> None:
        if self._gate is None:
            return
        for _ in range(WAKE_REQUESTS):
            try:
                key, (reader, *frames) = self._gate.receive()
            except zmq.Again:
                return
            if key is None:
                continue
            self.requests += 1
            reply = answer(self.books, frames[0] if len(frames) == 1 else b"")
            if isinstance(reply, Refused):
                self.log.seldom("info", "request refused", why=reply.reason)
            self._router.send_multipart((reader, self._log, ENCODER.encode(reply)), zmq.NOBLOCK)

    def _over_limit(self, why: str, _frames: list[bytes]) -> list[bytes]:
        return [self._log, ENCODER.encode(Refused(0, why))]

    def _beat(self) -> None:
        now_ms = time.monotonic_ns() // 1_000_000
        if now_ms - self._beat_ms >= HEARTBEAT_MS:
            self._beat_ms = now_ms
            for book in self.books.books.values():
                self._publish(book.heartbeats())
            self.log.tend()


def run(config: Config, name: str) -> None:
    """Serve until SIGTERM or SIGINT at the endpoints `marketdata` and `marketdata_updates`."""
    stop = stop_signal()
    hold_memory()
    context = Context.of(config)
    subscriber = Subscriber(config.sources, next_index=1, context=context)
    reporter = Reporter(config.ingress, name, "marketdata", context=context, monitor=config.monitoring.get(name, ""))
    endpoints = (config.endpoint("marketdata"), config.endpoint("marketdata_updates"))
    gateway = MarketDataGateway(*endpoints, subscriber, context=context, log=open_log(config, name))
    try:
        gateway.wake_on(stop.fd)
        while not stop.is_set:
            gateway.turn()
            gateway.log.follows(subscriber.source)
            reporter.tend("live" if gateway.is_live else "catching-up", lambda: _report(gateway, subscriber))
    finally:
        gateway.close()
        reporter.close()
        context.destroy(linger=0)


def _report(gateway: MarketDataGateway, subscriber: Subscriber) -> dict[str, object]:
    return {
        "position": gateway.position,
        "lag": subscriber.lag,
        "instruments": len(gateway.books.books),
        "requests": gateway.requests,
    }
