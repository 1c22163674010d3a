"""The order gateway as a process: sockets around a Session.

    clients <--ROUTER--> | Session | <--Subscriber-- log
                         |         | ---Submitter--> log
                         |         | <--Replay------ old entries, while somebody needs them

Rules
- It listens only when its session in the log is open: it has then seen all that an earlier process of
  its name ever got in.
- A wake drains every socket up to a bound, decides once, submits, sends.
- A connection that does not take its frames is dropped; its client logs on again and resumes.
"""

import math
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import zmq

from engines.messages import COMMANDS
from gateways.order.history import History, OldEntries
from gateways.order.protocol import ENCODER, FRAME_BYTES_MAX, Reject
from gateways.order.session import Limits, Session
from sequencer.client import (
    LOCAL,
    Context,
    Door,
    Gate,
    Key,
    KeyWatch,
    Log,
    NoLog,
    Replay,
    Reporter,
    StopSignal,
    Submitter,
    Subscriber,
    bind,
    hold_memory,
    open_log,
    stop_signal,
    tune,
)
from sequencer.config import Config
from sequencer.envelope import Batch, Entry

WAKE_FRAMES: Final = 256
"""Client frames taken in one wake, so that the stream is served as well."""
TURN_MS: Final = 50
CLIENT_HWM: Final = 10_000
RECEIVE_HWM: Final = 256
"""Frames of one connection that wait to be read: each may have FRAME_BYTES_MAX."""


class Stream(Protocol):
    """What is read of a Subscriber."""

    @property
    def pending(self) -> bool: ...
    def sockets(self) -> "list[zmq.Socket[bytes]]": ...
    def receive(self) -> list[Entry]: ...


class Intake(Protocol):
    """What is used of a Submitter."""

    @property
    def is_open(self) -> bool: ...
    def sockets(self) -> "list[zmq.Socket[bytes]]": ...
    def receive(self) -> None: ...
    def submit(self, channel: int, payload: bytes, count: int) -> int: ...
    def flush(self) -> None: ...
    def observe(self, batch: Batch) -> bool: ...


class OrderGateway:
    """Moves frames, batches and entries between sockets and a Session; decides nothing."""

    def __init__(
        self,
        endpoint: str,
        subscriber: Stream,
        submitter: Intake,
        history: Callable[[int], History],
        *,
        context: Context,
        limits: Limits | None = None,
        log: Log | None = None,
    ) -> None:
        self.session = Session(limits)
        self.log = log or NoLog()
        self._endpoint = endpoint
        self._subscriber = subscriber
        self._submitter = submitter
        self._read_past = history
        self._old = OldEntries(self._open_past)
        self._context = context
        self._router: zmq.Socket[bytes] | None = None
        self._gate: Gate | None = None
        self._keys = KeyWatch(context, self.log)
        self._speaking = LOCAL
        """Whose the frame in hand is."""
        self._holders: dict[bytes, Key] = {}
        """Connection -> whose it is, of those that have logged on over tcp."""
        self._poller = zmq.Poller()
        for socket in (*subscriber.sockets(), *submitter.sockets()):
            self._poller.register(socket, zmq.POLLIN)

    def wake_on(self, fd: int) -> None:
        """End a turn's wait also when this file descriptor can be read."""
        self._poller.register(fd, zmq.POLLIN)

    def turn(self) -> None:
        """Wait for something to come (a little), take it, and do what follows."""
        patience_ms = 0 if self._subscriber.pending else min(TURN_MS, self._old.pause_s() * 1000)
        self._poller.poll(math.ceil(patience_ms))
        session = self.session
        session.tick(time.monotonic_ns() // 1_000_000)
        if self._gate is not None:
            self._take_frames(self._gate)
            self._let_go(self._keys.look())
        self._submitter.receive()
        self._take_entries(self._subscriber.receive())
        session.rebuild(self._old.step())
        self._perform()

    def close(self) -> None:
        """Close what this gateway opened."""
        self.log.tend(is_ending=True)
        if self._router is not None:
            self._router.close(linger=0)
        self._old.close()

    def _take_frames(self, gate: Gate) -> None:
        for _ in range(WAKE_FRAMES):
            try:
                key, (connection, *frames) = gate.receive(is_read=True)
            except zmq.Again:
                return
            if key is None:
                continue
            if self._is_stolen(connection, key):
                gate.refuse(f"it speaks on the connection of {self._holders.pop(connection).name}", key.name)
                self.session.lost(connection, "another key speaks on its connection")
                continue
            self._speaking = key
            meter = gate.meter(key) if key is not LOCAL else None
            if not self.session.receive(connection, frames[0] if len(frames) == 1 else b"", meter):
                assert meter is not None, key
                gate.refuse(meter.over_rate, key.name)

    def _is_stolen(self, connection: bytes, key: Key) -> bool:
        """Whether somebody else is logged on there: routing identities are free again when their connection is gone."""
        holder = self._holders.get(connection)
        return holder is not None and holder.public != key.public and self.session.knows(connection)

    def _may_trade_as(self, connection: bytes, client: str) -> bool:
        """Over tcp a connection acts for the clients that its key is for."""
        key = self._speaking
        if key is LOCAL:
            return True
        if key.acts_as(client):
            self._note(connection, key)
            return True
        assert self._gate is not None, connection
        self._gate.refuse(f"it logs on as {client}", key.name)
        return False

    def _note(self, connection: bytes, key: Key) -> None:
        if len(self._holders) > 2 * (self.session.connections + WAKE_FRAMES):
            self._holders = {one: whose for one, whose in self._holders.items() if self.session.knows(one)}
        self._holders[connection] = key

    def _let_go(self, changed: frozenset[str]) -> None:
        """Who may still do it logs on again."""
        for connection in [one for one, key in self._holders.items() if key.public in changed]:
            del self._holders[connection]
            self.session.lost(connection, "its key was revoked, or changed")

    def _take_entries(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            for batch in entry.batches():
                self._submitter.observe(batch)
        self.session.stream(entries)
        if self._router is None and self._submitter.is_open:
            self._listen()

    def _listen(self) -> None:
        self._router = tune(self._context.socket(zmq.ROUTER), hwm=CLIENT_HWM)
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._router.setsockopt(zmq.RCVHWM, RECEIVE_HWM)
        self._router.setsockopt(zmq.MAXMSGSIZE, FRAME_BYTES_MAX)
        self._gate = bind(self._router, self._endpoint, "endpoints.order", Door.ACCESS, _over_limit)
        self.session.may_trade_as = self._may_trade_as
        self._poller.register(self._router, zmq.POLLIN)
        self.session.is_live = True
        self.log.info("listening", endpoint=self._endpoint, position=self.session.position)

    def _perform(self) -> None:
        duties = self.session.duties()
        for count, payload in duties.batches:
            self._submitter.submit(COMMANDS, payload, count)
        self._submitter.flush()
        for connection, frame in duties.frames:
            self._send(connection, frame)
        for news in duties.news:
            kind = news.what
            self.log.seldom(kind.level, kind.event, at_once=kind.at_once, client=news.who, why=news.why)
        self._old.follow(duties.rebuild_from)

    def _open_past(self, index: int) -> History:
        self.log.seldom("info", "old entries are read", at_once=10, first_index=index)
        return self._read_past(index)

    def _send(self, connection: bytes, frame: bytes) -> None:
        assert self._router is not None, "frames are owed to clients before any could connect"
        try:
            self._router.send_multipart((connection, frame), zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
            is_slow = error.errno == zmq.EAGAIN
            self.session.lost(connection, "it does not take its reports" if is_slow else "it is gone", is_slow=is_slow)


def run(config: Config, name: str, stop: StopSignal | None = None) -> None:
    """Serve until `stop` (None: SIGTERM or SIGINT), as the sender `gateway.NAME`, at the endpoint `order`."""
    stop = stop or stop_signal()
    hold_memory()
    context = Context.of(config)
    subscriber = Subscriber(config.sources, next_index=1, context=context, follow_leader=True)
    submitter = Submitter(config.ingress, f"gateway.{name}", context=context, leader=lambda: subscriber.leader_ingress)
    reporter = Reporter(config.ingress, name, "order", context=context, monitor=config.monitoring.get(name, ""))
    gateway = OrderGateway(
        config.endpoint("order"),
        subscriber,
        submitter,
        lambda first_index: Replay(config.sources, first_index, context=context),
        context=context,
        log=open_log(config, name),
    )
    try:
        gateway.wake_on(stop.fd)
        submitter.open()
        while not stop.is_set:
            gateway.turn()
            gateway.log.follows(subscriber.source)
            gateway.log.tend()
            state = "live" if gateway.session.is_live else "catching-up"
            reporter.tend(state, lambda: _report(gateway.session, subscriber, submitter))
    finally:
        gateway.close()
        reporter.close()
        context.destroy(linger=0)


def _over_limit(why: str, _frames: list[bytes]) -> list[bytes]:
    return [ENCODER.encode([Reject(0, 0, why)])]


def _report(session: Session, subscriber: Subscriber, submitter: Submitter) -> dict[str, object]:
    return {
        "position": session.position,
        "lag": subscriber.lag,
        "connections": session.connections,
        "in_flight": session.in_flight,
        "batches_in_flight": submitter.in_flight,
    }
