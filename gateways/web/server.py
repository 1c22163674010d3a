"""The web gateway as a process: aiohttp for connections, a Subscriber for the log, the books in between.

    log --Subscriber--> Books --updates--> Hub --text--> a queue for each WebSocket --> readers
                          +----------------------------> REST

Rules
- It listens once it has caught up with the log, so every snapshot is a recent one.
- Text is made once for all that get it. A reader that lets more than UNSENT_BYTES_MAX wait is cut off, with the reason;
  no other reader waits for it.
"""

import asyncio
from collections import deque
from typing import Final

import zmq
from aiohttp import WSCloseCode, WSMsgType, web

from engines.messages import COMMANDS, RESULTS, InstrumentHalted, InstrumentResumed, InstrumentSet
from gateways.marketdata.books import Books
from gateways.orders import runs
from gateways.turns import TURN_S, Turns
from gateways.web import rest
from gateways.web.hub import REQUEST_BYTES_MAX, Hub
from sequencer.client import Reporter, StopSignal, Subscriber, hold_memory, stop_signal
from sequencer.config import Config
from sequencer.envelope import Entry
from sequencer.errors import ConfigError, IslandError

VERSION: Final = "0.1.0"
UNSENT_BYTES_MAX: Final = 4 << 20
CONNECTIONS_MAX: Final = 2000
HEARTBEAT_S: Final = 1.0
PING_S: Final = 20.0
_NEWS: Final = (InstrumentSet, InstrumentHalted, InstrumentResumed)


class _Reader:
    """One WebSocket: what is to be sent on it, in turn."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.is_slow = False
        self._unsent: deque[bytes] = deque()
        self._size = 0
        self._news = asyncio.Event()

    def say(self, text: bytes) -> None:
        """Queue a message."""
        if self.is_slow:
            return
        self._unsent.append(text)
        self._size += len(text)
        self.is_slow = self._size > UNSENT_BYTES_MAX
        self._news.set()

    async def send(self) -> None:
        """Send what is queued, for as long as the reader keeps up."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._unsent and not self.is_slow:
                text = self._unsent.popleft()
                self._size -= len(text)
                await self.socket.send_str(text.decode())
            if self.is_slow:
                why = f"this reader is slow: more than {UNSENT_BYTES_MAX >> 20} MiB wait for it"
                await self.socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=why.encode())
                return


class WebServer:
    """Moves text and entries between sockets and the hub."""

    def __init__(self, config: Config, name: str, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self.books = Books()
        self.hub = Hub(self.books, VERSION)
        self._endpoint = config.endpoint("web")
        self._subscriber = Subscriber(config.sources, next_index=1, context=context, follow_leader=True)
        self._reporter = Reporter(config.ingress, name, "web", context=context, monitor=config.monitoring.get(name, ""))
        self._turns = Turns(self._subscriber.sockets(), self._turn)
        self._readers: dict[int, _Reader] = {}
        self._count = 0
        self._position = 0
        self._is_live = False
        self._failure: IslandError | None = None
        self._beat_s = 0.0

    async def run(self, stop: StopSignal) -> None:
        """Serve until `stop`. Raises IslandError where it cannot go on."""
        app = web.Application(client_max_size=REQUEST_BYTES_MAX)
        app.add_routes([
            web.get("/v2", self._serve_socket),
            web.get("/v1/instruments", self._serve_instruments),
            web.get("/v1/book/{symbol}", self._serve_book),
            web.get("/v1/trades/{symbol}", self._serve_trades),
            web.get("/v1/candles/{symbol}", self._serve_candles),
        ])  # fmt: skip
        runner = web.AppRunner(app, access_log=None)
        listening = asyncio.create_task(self._listen(runner))
        try:
            await self._turns.run(stop)
        finally:
            listening.cancel()
            for reader in tuple(self._readers.values()):
                await reader.socket.close(code=WSCloseCode.GOING_AWAY, message=b"the gateway stops")
            await runner.cleanup()
            self._reporter.close()

    async def _listen(self, runner: web.AppRunner) -> None:
        """Once everything of the log is seen. What keeps it from that ends the process."""
        while not self._is_live:
            await asyncio.sleep(TURN_S)
        host, _, port = self._endpoint.removeprefix("tcp://").rpartition(":")
        await runner.setup()
        try:
            await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "expected tcp://HOST:PORT"
            self._failure = IslandError(f"cannot listen on {self._endpoint} (endpoints.web): {why}")

    # --- requests ---------------------------------------------------------------------------------

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        if len(self._readers) >= CONNECTIONS_MAX:
            return web.json_response({"error": f"at most {CONNECTIONS_MAX} connections: try again later"}, status=503)
        socket = web.WebSocketResponse(heartbeat=PING_S, max_msg_size=REQUEST_BYTES_MAX)
        await socket.prepare(request)
        self._count += 1
        number, reader = self._count, _Reader(socket)
        self._readers[number] = reader
        sending = asyncio.create_task(reader.send())
        try:
            self._reply(reader, self.hub.connect(number))
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._reply(reader, self.hub.receive(number, message.data))
                elif message.type is WSMsgType.BINARY:
                    await socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"expected text")
        finally:
            sending.cancel()
            self.hub.lost(number)
            del self._readers[number]
        return socket

    @staticmethod
    def _reply(reader: _Reader, replies: list[bytes]) -> None:
        for text in replies:
            reader.say(text)

    async def _serve_instruments(self, _request: web.Request) -> web.Response:
        return _response(rest.instruments(self.books))

    async def _serve_book(self, request: web.Request) -> web.Response:
        return _response(rest.book(self.books, request.match_info["symbol"], request.query))

    async def _serve_trades(self, request: web.Request) -> web.Response:
        return _response(rest.trades(self.books, request.match_info["symbol"], request.query))

    async def _serve_candles(self, request: web.Request) -> web.Response:
        return _response(rest.candles(self.books, self.hub, request.match_info["symbol"], request.query))

    # --- turns ------------------------------------------------------------------------------------

    def _turn(self) -> bool:
        if self._failure is not None:
            raise self._failure
        for entry in self._subscriber.receive():
            self._take(entry)
        self._is_live = self._is_live or self._subscriber.caught_up
        now_s = asyncio.get_running_loop().time()
        if now_s - self._beat_s >= HEARTBEAT_S:
            self._beat_s = now_s
            self._tell(*self.hub.heartbeat())
        self._reporter.tend("live" if self._is_live else "catching-up", self._report)
        return self._subscriber.pending

    def _take(self, entry: Entry) -> None:
        for first_sequence, channel, messages in runs(entry):
            if channel not in (COMMANDS, RESULTS):
                continue
            for numbers, text in self.hub.publish(self.books.apply(first_sequence, entry.time_ns, channel, messages)):
                self._tell(numbers, text)
            news = {one.instrument_id for one in messages if isinstance(one, _NEWS)} if channel == RESULTS else ()
            if news:
                instruments = self.books.directory.instruments
                for numbers, text in self.hub.announce([instruments[one] for one in sorted(news)]):
                    self._tell(numbers, text)
        self._position = entry.next_sequence - 1

    def _tell(self, numbers: list[int], text: bytes) -> None:
        for number in numbers:
            self._readers[number].say(text)

    def _report(self) -> dict[str, object]:
        return {"position": self._position, "lag": self._subscriber.lag, "connections": len(self._readers)}


def _response(answer: rest.Answer) -> web.Response:
    status, body = answer
    return web.Response(body=body, status=status, content_type="application/json")


def run(config: Config, name: str, stop: StopSignal | None = None) -> None:
    """Serve until `stop` (None: SIGTERM or SIGINT), at the endpoint `web`."""
    stop = stop or stop_signal()
    if not config.endpoint("web").startswith("tcp://"):
        raise ConfigError(f"endpoints.web: expected tcp://HOST:PORT, got {config.endpoint('web')}")
    hold_memory()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        asyncio.run(WebServer(config, name, context).run(stop))
    finally:
        context.destroy(linger=0)
