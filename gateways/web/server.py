"""The web gateway as a process: aiohttp for connections, the log's sockets beside them.

    readers, traders <--HTTP, WebSocket--> | WebGateway | <--Subscriber-- log
                                           |            | ---Submitter--> log
                                           |            | <--OldEntries-- log, while somebody needs them

Rules
- It listens only when its session in the log is open, and it has caught up: so every snapshot is a recent one, and all
  that an earlier process of its name got in is seen.
- Text is made once for all that get it, and not compressed for each. A reader that lets more than UNSENT_BYTES_MAX wait
  is cut off, with the reason; no other reader waits for it.
- The file of keys is looked at every second: a key that is gone from it is refused from then on.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import Final

import zmq
from aiohttp import WSCloseCode, WSMsgType, web

from engines.messages import COMMANDS
from gateways.listener import Listener
from gateways.news import What
from gateways.order.history import OldEntries
from gateways.turns import TURN_S, Stream, Turns
from gateways.web import actions
from gateways.web.gateway import WebGateway
from gateways.web.hub import REQUEST_BYTES_MAX
from gateways.web.keys import FILE_NAME, Keys
from gateways.web.operator_routes import OperatorRoutes
from gateways.web.routes import VERSION, Routes, as_json
from gateways.web.strangers import Doorway
from sequencer.client import (
    Context,
    Replay,
    Reporter,
    StopSignal,
    Submitter,
    Subscriber,
    hold_memory,
    open_log,
    stop_signal,
)
from sequencer.config import Config
from sequencer.envelope import Entry
from sequencer.errors import ConfigError, IslandError
from sequencer.looks import looks

UNSENT_BYTES_MAX: Final = 4 << 20
CONNECTIONS_MAX: Final = 2000
HEARTBEAT_S: Final = 1.0
PING_S: Final = 20.0
LOOK_S: Final = 1.0
LOOK_SELDOM_S: Final = 5.0


class _Reader:
    """One WebSocket: what is to be sent on it, in turn."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.is_slow = False
        self._unsent: deque[bytes] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self._end: tuple[int, str] | None = None

    def close(self, code: int, why: str) -> None:
        """Say no more, and hang up."""
        self._end = (code, why)
        self._news.set()

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
            while self._unsent and not self.is_slow and self._end is None:
                text = self._unsent.popleft()
                self._size -= len(text)
                await self.socket.send_frame(text, WSMsgType.TEXT)
            if self.is_slow:
                why = f"this reader is slow: more than {UNSENT_BYTES_MAX >> 20} MiB wait for it"
                self._end = (WSCloseCode.TRY_AGAIN_LATER, why)
            if self._end is not None:
                code, why = self._end
                await self.socket.close(code=code, message=why.encode())
                return


class WebServer:
    """Moves text, batches and entries between sockets and a WebGateway; decides nothing."""

    def __init__(self, config: Config, name: str, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self._keys_path = config.data_dir / FILE_NAME
        self._keys_seen = looks(self._keys_path)
        self.gateway = WebGateway(Keys.load(config.data_dir), config.data_dir / name, time.time_ns, VERSION)
        self._log = open_log(config, name)
        self._config = config
        self._listener = Listener(config, "web", self._log)
        self._subscriber = Subscriber(config.sources, next_index=1, context=context, follow_leader=True)
        self._submitter = Submitter(
            config.ingress, f"gateway.{name}", context=context, leader=lambda: self._subscriber.leader_ingress
        )
        self._reporter = Reporter(config.ingress, name, "web", context=context, monitor=config.monitoring.get(name, ""))
        self._stream = Stream(self._subscriber)
        self._turns = Turns((*self._subscriber.sockets(), *self._submitter.sockets()), self._turn)
        self._routes = Routes(self.gateway, self._turns.wake, self._stays)
        self._doorway: Doorway | None = None
        self._old = [OldEntries(partial(self._open_past, context)) for _ in range(3)]
        self._reports, self._past, self._accounts = self._old
        self._readers: dict[int, _Reader] = {}
        self._count = 0
        self._failure: IslandError | None = None
        self._beat_s = 0.0

    def _open_past(self, context: "zmq.Context[zmq.Socket[bytes]]", index: int) -> Replay:
        self._log.seldom("info", "old entries are read", at_once=10, first_index=index)
        return Replay(self._config.sources, index, context=context)

    async def run(self, stop: StopSignal) -> None:
        """Serve until `stop`. Raises IslandError where it cannot go on."""
        self._submitter.open()
        app = web.Application(client_max_size=REQUEST_BYTES_MAX, middlewares=[as_json])
        operators = OperatorRoutes(self._config, self.gateway, self._routes)
        app.add_routes([web.get("/v2", self._serve_socket), *self._routes.table(), *operators.table()])
        runner = web.AppRunner(app, access_log=None)
        listening, looking = asyncio.create_task(self._listen(runner)), asyncio.create_task(self._look())
        try:
            await self._turns.run(stop)
        finally:
            listening.cancel()
            looking.cancel()
            self._listener.close()
            for reader in tuple(self._readers.values()):
                await reader.socket.close(code=WSCloseCode.GOING_AWAY, message=b"the gateway stops")
            await runner.cleanup()
            for old in self._old:
                old.close()
            self._log.tend(is_ending=True)
            self._reporter.close()

    async def _listen(self, runner: web.AppRunner) -> None:
        """Once everything of the log is seen, and from then on. What keeps it from that ends the process."""
        while not self.gateway.is_live:
            await asyncio.sleep(TURN_S)
        await runner.setup()
        assert runner.server is not None, "it is set up"
        try:
            self._doorway = Doorway(runner.server)
            await self._listener.open(self._doorway)
        except IslandError as error:
            self._failure = error
            return
        self._log.info("listening", endpoint=self._listener.endpoint, position=self.gateway.trading.orders.position)
        await self._listener.watch()

    def _stays(self, request: web.Request) -> None:
        """Its connection is not cut off for others."""
        if self._doorway is not None:
            self._doorway.stays(request.transport)

    async def _look(self) -> None:
        """At all processes, for operators: every second while one looks on, else now and then, for what changes."""
        while True:
            await asyncio.sleep(LOOK_S if self.gateway.private.watching else LOOK_SELDOM_S)
            try:
                self.gateway.see(*await asyncio.to_thread(actions.status, self._config))
            except IslandError as error:
                self._failure = error
            self._turns.wake()

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        if len(self._readers) >= CONNECTIONS_MAX:
            return web.json_response({"error": f"at most {CONNECTIONS_MAX} connections: try again later"}, status=503)
        socket = web.WebSocketResponse(heartbeat=PING_S, max_msg_size=REQUEST_BYTES_MAX, compress=False)
        await socket.prepare(request)
        self._stays(request)
        self._count += 1
        number, reader = self._count, _Reader(socket)
        self._readers[number] = reader
        sending = asyncio.create_task(reader.send())
        try:
            self.gateway.connect(number)
            self._turns.wake()
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self.gateway.receive(number, message.data)
                    self._turns.wake()
                elif message.type is WSMsgType.BINARY:
                    await socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"expected text")
        finally:
            sending.cancel()
            if reader.is_slow:
                slow = What.SLOW
                self._log.seldom(
                    slow.level, slow.event, at_once=slow.at_once, connection=number, address=request.remote
                )
            self.gateway.lost(number)
            del self._readers[number]
        return socket

    # --- turns ------------------------------------------------------------------------------------

    def _turn(self) -> float:
        if self._failure is not None:
            raise self._failure
        gateway = self.gateway
        gateway.tick(time.monotonic_ns() // 1_000_000)
        self._submitter.receive()
        self._take(self._stream.entries())
        gateway.old_reports(self._reports.step())
        gateway.old_past(self._past.step())
        gateway.old_accounts(self._accounts.step())
        self._tend()
        self._perform()
        return 0.0 if self._stream.has_more else min(one.pause_s() for one in self._old)

    def _take(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            for batch in entry.batches():
                self._submitter.observe(batch)
            self.gateway.stream([entry])
        if not self.gateway.is_live and self._submitter.is_open and self._stream.caught_up:
            self.gateway.go_live()

    def _tend(self) -> None:
        """What is to be done now and then."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._beat_s >= HEARTBEAT_S:
            self._beat_s = now_s
            self.gateway.heartbeat(self._stream.silent_ms)
            found = looks(self._keys_path)
            if found != self._keys_seen:
                self._keys_seen = found
                self._use_keys()
        self._log.follows(self._subscriber.source)
        self._log.tend()
        self._reporter.tend("live" if self.gateway.is_live else "catching-up", self._report)

    def _use_keys(self) -> None:
        try:
            self.gateway.use(Keys.load(self._config.data_dir))
        except ConfigError as error:
            self._log.error("keys cannot be read: nobody is let in", why=str(error))
            self.gateway.use(Keys())
        else:
            self._log.info("keys read")

    def _perform(self) -> None:
        duties = self.gateway.duties()
        for count, payload in duties.batches:
            self._submitter.submit(COMMANDS, payload, count)
        self._submitter.flush()
        for numbers, text in duties.told:
            for number in numbers:
                reader = self._readers.get(number)
                if reader is not None:
                    reader.say(text)
        for caller, answer in duties.answers:
            self._routes.answered(caller, answer)
        for news in duties.news:
            kind = news.what
            self._log.seldom(kind.level, kind.event, at_once=kind.at_once, client=news.who, why=news.why)
        for number, why in duties.closing:
            self._log.info("connection closed", connection=number, why=why)
            reader = self._readers.get(number)
            if reader is not None:
                reader.close(WSCloseCode.POLICY_VIOLATION, why)
        self._reports.follow(duties.reports_from)
        self._past.follow(duties.past_from)
        self._accounts.follow(duties.accounts_from)

    def _report(self) -> dict[str, object]:
        orders = self.gateway.trading.orders
        return {
            "position": orders.position,
            "lag": self._stream.lag,
            "connections": len(self._readers),
            "in_flight": orders.in_flight,
            "batches_in_flight": self._submitter.in_flight,
            "warning": self._listener.warning,
        }


def run(config: Config, name: str, stop: StopSignal | None = None) -> None:
    """Serve until `stop` (None: SIGTERM or SIGINT), as the sender `gateway.NAME`, at the endpoint `web`."""
    stop = stop or stop_signal()
    hold_memory()
    context = Context.of(config)
    try:
        asyncio.run(WebServer(config, name, context).run(stop))
    finally:
        context.destroy(linger=0)
