"""The FIX gateway as a process: TCP connections in asyncio, and the log's sockets beside them.

    counterparties <--TCP--> | FixGateway | <--Subscriber-- log
                             |            | ---Submitter--> log
                             |            | <--Replay------ old entries, while somebody needs them
                             |            | <--Feeds------- market data gateway, of what is subscribed to

Rules
- It listens only when its session in the log is open: it has then seen all that an earlier process of its name got in.
- What comes in one turn of the loop is decided on together. Stores are written, batches submitted, bytes sent, in turn.
- A connection that does not take what it is sent is dropped; its counterparty logs on again and asks for the rest.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable
from typing import Final

import zmq

from engines.messages import COMMANDS
from gateways.fix.doors import FixGateway
from gateways.fix.settings import Settings
from gateways.listener import Listener
from gateways.marketdata.feeds import Feeds
from gateways.news import News, What
from gateways.order.history import OldEntries
from gateways.turns import TURN_S, Stream, Turns
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
from sequencer.errors import IslandError

CLOGGED_BYTES: Final = 256 << 10
UNSENT_BYTES_MAX: Final = 64 << 20
CLOSE_S: Final = 2.0
"""For what a connection that is closed was still to be told."""


class _Peer(asyncio.Protocol):
    """One TCP connection."""

    def __init__(self, server: "FixServer") -> None:
        self._server = server
        self._number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), transport
        self._number = self._server.opened(transport)

    def data_received(self, data: bytes) -> None:
        self._server.received(self._number, data)

    def pause_writing(self) -> None:
        self._server.clogged(self._number, is_clogged=True)

    def resume_writing(self) -> None:
        self._server.clogged(self._number, is_clogged=False)

    def connection_lost(self, _error: Exception | None) -> None:
        self._server.lost(self._number)


class FixServer:
    """Moves bytes, batches and entries between sockets and a FixGateway; decides nothing."""

    def __init__(
        self, config: Config, name: str, settings: Settings, context: "zmq.Context[zmq.Socket[bytes]]"
    ) -> None:
        self.gateway = FixGateway(settings, config.data_dir / name, time.time_ns)
        self._log = open_log(config, name)
        self._config = config
        self._listener = Listener(config, "fix", self._log)
        self._context = context
        self._subscriber = Subscriber(config.sources, next_index=1, context=context, follow_leader=True)
        self._submitter = Submitter(
            config.ingress, f"gateway.{name}", context=context, leader=lambda: self._subscriber.leader_ingress
        )
        self._reporter = Reporter(config.ingress, name, "fix", context=context, monitor=config.monitoring.get(name, ""))
        self._feeds = Feeds(config.endpoint("marketdata"), config.endpoint("marketdata_updates"), context)
        self._old = OldEntries(self._open_past)
        self._transports: dict[int, asyncio.Transport] = {}
        self._addresses: dict[int, str] = {}
        self._gone: list[int] = []
        """Connections whose addresses are still there for the log."""
        self._paused: set[int] = set()
        self._connections = 0
        self._failure: IslandError | None = None
        self._stream = Stream(self._subscriber)
        sockets = (*self._subscriber.sockets(), *self._submitter.sockets(), *self._feeds.sockets())
        self._turns = Turns(sockets, self._turn)

    async def run(self, stop: StopSignal) -> None:
        """Serve until `stop`. Raises IslandError where it cannot go on."""
        self._submitter.open()
        listening = asyncio.create_task(self._listen())
        try:
            await self._turns.run(stop)
        finally:
            listening.cancel()
            await self._end()

    async def _listen(self) -> None:
        """Once everything of the log is seen, and from then on. What keeps it from that ends the process."""
        while not self.gateway.orders.is_live:
            await asyncio.sleep(TURN_S)
        try:
            await self._listener.open(lambda: _Peer(self))
        except IslandError as error:
            self._failure = error
            return
        self._log.info("listening", endpoint=self._listener.endpoint, position=self.gateway.orders.position)
        await self._listener.watch()

    async def _end(self) -> None:
        self._listener.close()
        self.gateway.stop()
        with contextlib.suppress(IslandError):
            self.gateway.flush()
            duties = self.gateway.duties()
            for number, data in duties.frames:
                self._send(number, data)
            self._tell(duties.news)
        for transport in self._transports.values():
            transport.close()
        deadline_s = asyncio.get_running_loop().time() + CLOSE_S
        while any(one.get_write_buffer_size() for one in self._transports.values()):
            if asyncio.get_running_loop().time() > deadline_s:
                break
            await asyncio.sleep(TURN_S)
        self._old.close()
        self._log.tend(is_ending=True)
        self._feeds.close()
        self._reporter.close()
        self.gateway.close()

    # --- connections ------------------------------------------------------------------------------

    def opened(self, transport: asyncio.Transport) -> int:
        """Take a new connection; its number."""
        self._connections += 1
        transport.set_write_buffer_limits(high=CLOGGED_BYTES)
        self._transports[self._connections] = transport
        self._addresses[self._connections] = ":".join(map(str, (transport.get_extra_info("peername") or ())[:2]))
        self.gateway.opened(self._connections)
        self._turns.wake()
        return self._connections

    def received(self, number: int, data: bytes) -> None:
        """Take bytes of a connection."""
        self.gateway.receive(number, data)
        if number not in self._paused and number in self._transports and self.gateway.is_full(number):
            self._paused.add(number)
            self._transports[number].pause_reading()
        self._turns.wake()

    def clogged(self, number: int, *, is_clogged: bool) -> None:
        """A connection takes no more bytes for now, or it does again."""
        self.gateway.clog(number, is_clogged=is_clogged)
        self._turns.wake()

    def lost(self, number: int) -> None:
        """Forget a connection."""
        self._transports.pop(number, None)
        self._gone.append(number)
        self._paused.discard(number)
        self.gateway.lost(number)
        self._turns.wake()

    # --- turns ------------------------------------------------------------------------------------

    def _turn(self) -> float:
        if self._failure is not None:
            raise self._failure
        self._take()
        self._perform()
        return 0.0 if self._stream.has_more else self._old.pause_s()

    def _take(self) -> None:
        gateway, now_ms = self.gateway, time.monotonic_ns() // 1_000_000
        gateway.tick(now_ms)
        self._feeds.follow(gateway.followed)
        gateway.tell_market(self._feeds.turn(now_ms, gateway.waits_for))
        self._submitter.receive()
        self._take_entries(self._stream.entries())
        gateway.rebuild(self._old.step())

    def _take_entries(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            for batch in entry.batches():
                self._submitter.observe(batch)
            self.gateway.stream([entry])
        if self._submitter.is_open and not self.gateway.orders.is_live:
            self.gateway.go_live()

    def _perform(self) -> None:
        self.gateway.flush()
        duties = self.gateway.duties()
        for count, payload in duties.batches:
            self._submitter.submit(COMMANDS, payload, count)
        self._submitter.flush()
        for number, data in duties.frames:
            self._send(number, data)
        for number in duties.closing:
            transport = self._transports.pop(number, None)
            if transport is not None:
                transport.close()
                asyncio.get_running_loop().call_later(CLOSE_S, transport.abort)
        for number in [number for number in self._paused if not self.gateway.is_full(number)]:
            self._paused.discard(number)
            if number in self._transports:
                self._transports[number].resume_reading()
        self._old.follow(duties.rebuild_from)
        self._tell(duties.news)
        self._log.follows(self._subscriber.source)
        self._log.tend()
        self._reporter.tend("live" if self.gateway.orders.is_live else "catching-up", self._report)

    def _send(self, number: int, data: bytes) -> None:
        transport = self._transports.get(number)
        if transport is None:
            return
        transport.write(data)
        if transport.get_write_buffer_size() > UNSENT_BYTES_MAX:  # reports that nobody reads
            kind = What.SLOW
            self._log.seldom(kind.level, kind.event, at_once=kind.at_once, address=self._addresses.get(number, ""))
            transport.abort()

    def _tell(self, news: Iterable[News]) -> None:
        for one in news:
            told = {"comp_id": one.who, "address": self._addresses.get(one.connection, ""), "why": one.why}
            if one.traceback:
                told["traceback"] = one.traceback
            self._log.seldom(one.what.level, one.what.event, at_once=one.what.at_once, **told)
        for number in self._gone:
            self._addresses.pop(number, None)
        self._gone.clear()

    def _open_past(self, index: int) -> Replay:
        self._log.seldom("info", "old entries are read", at_once=10, first_index=index)
        return Replay(self._config.sources, index, context=self._context)

    def _report(self) -> dict[str, object]:
        orders = self.gateway.orders
        return {
            "position": orders.position,
            "lag": self._stream.lag,
            "connections": len(self._transports),
            "sessions": self.gateway.sessions,
            "in_flight": orders.in_flight,
            "batches_in_flight": self._submitter.in_flight,
            "warning": self._listener.warning,
        }


def run(config: Config, name: str, stop: StopSignal | None = None) -> None:
    """Serve until `stop` (None: SIGTERM or SIGINT), as the sender `gateway.NAME`, at the endpoint `fix`."""
    stop = stop or stop_signal()
    settings = Settings.load(config.data_dir)
    hold_memory()
    context = Context.of(config)
    try:
        asyncio.run(FixServer(config, name, settings, context).run(stop))
    finally:
        context.destroy(linger=0)
