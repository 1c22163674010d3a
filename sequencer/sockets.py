"""ZeroMQ sockets with the options that this project needs: libzmq's defaults are wrong for it.

    Context.of(config) --socket--> tune --> connect   over tcp to a server whose key is known, or not at all
                                        --> bind      over tcp a Door, which lets in who has a key for it
                                              |
                                            Gate.receive --> (whose key, frames), within what that key may ask for

Rules
- Over tcp, and whatever else others may reach, there is CURVE, or nothing: a context without keys neither connects nor
  listens there.
- ipc sockets are private to their user, by their files' modes: who comes there is that user (keys.LOCAL).
- libzmq looks a name up in the I/O thread of the connection, which waits: for seconds, where the host has just gone. So
  each name has a thread of its own, and all else another.
- Heartbeats go between hosts only. Over ipc the kernel tells of an end; and of who does not read for long they are
  missed, so that the connection is made again, at which libzmq may abort the process (zeromq/libzmq#3937, in 4.3.5).
- Whose a message is libzmq tells with each one (its user id); names that senders give themselves are not believed.
- What is over a key's limits is not heard, and its holder is told, now and then. Who goes on all the same is cut off:
  its connections are closed, and for a while no new ones are let in, and nothing of it is read.
"""

import contextlib
import errno
import os
import socket as plain
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Self

import zmq

from sequencer.config import TCP, Config, listening_host, named_host
from sequencer.errors import ConfigError, IslandError, UnreachableError
from sequencer.keyring import Keyring
from sequencer.keys import LOCAL, Door, Key
from sequencer.limits import CUT_S, Meter, Verdict

if TYPE_CHECKING:
    from sequencer.doorman import Doorman, Refusal

MESSAGE_BYTES_MAX = 16 << 20
HWM_MESSAGES = 1000
HEARTBEAT_MS = 2000
SILENCE_MS = 6000
"""After which a connection counts as dead, at either end."""
_PINGING = frozenset({zmq.DEALER, zmq.PUSH, zmq.PUB, zmq.XPUB})
"""One end of each connection pings, and has the other hang up when no ping comes. It must not be the end that data
comes to: libzmq 4.3.5 aborts the process where a ping is due on a connection whose peer hung up while what it had sent
waited to be read (its issue 4364)."""
HUNG_UP_MAX = 4096
TOLD_S = 0.1
"""Who is over a limit is told that, and not more often than this."""
_PRIVATE = ("ipc://", "inproc://")
_ABSTRACT = "ipc://@"
"""A name without a file, and so without anybody's rights."""
_OTHERS = 0o077
_USER_ID = "User-Id"
_COMMON = 1
"""The affinity of what waits for no name: the first I/O thread."""
_THREADS_MAX = 32


class Context(zmq.Context["zmq.Socket[bytes]"]):
    """The sockets of one process, and its keys, which are read when the first tcp endpoint is met."""

    _config: "Config | None" = None
    _doorman: "Doorman | None" = None
    _affinities: dict[str, int]

    @classmethod
    def of(cls, config: "Config") -> Self:
        """Of who has read this configuration; see `context` for one that ends by itself."""
        made = cls(io_threads=min(1 + len(config.named_hosts), _THREADS_MAX))
        made._config, made._affinities = config, {}
        return made

    def affinity(self, endpoint: str) -> int:
        """The I/O thread that serves a connection, as libzmq's option of that name has it."""
        host, others = named_host(endpoint), self.get(zmq.IO_THREADS) - 1
        if not host or not others:
            return _COMMON
        return self._affinities.setdefault(host, _COMMON << 1 + len(self._affinities) % others)

    @cached_property
    def keyring(self) -> Keyring:
        """Raises ConfigError where there are no keys."""
        if self._config is None:
            raise ConfigError("a tcp:// endpoint needs keys: expected a context that has them, Context.of(config)")
        return self._config.keyring()

    @property
    def doorman(self) -> "Doorman":
        """Who decides about connections, from the first tcp socket on that listens."""
        if self._doorman is None:
            from sequencer.doorman import Doorman  # noqa: PLC0415 - only who listens on tcp needs it

            self._doorman = Doorman(self, self.keyring)
        return self._doorman

    def changed(self) -> frozenset[str]:
        """Follow the list of keys: those that do not count as they did at the last call. Raises ConfigError, once."""
        return self.keyring.refresh() if self._doorman is not None else frozenset()

    def guard(self) -> None:
        """Raises IslandError where nobody decides about connections any more."""
        if self._doorman is not None and not self._doorman.is_alive:
            raise IslandError("the thread that lets connections in has ended: nobody can come in, start again")

    def refusals(self) -> "list[Refusal]":
        """Who was not let in, or not listened to, since the last call."""
        waiting = self._doorman.refusals if self._doorman is not None else ()
        return [waiting.popleft() for _ in range(len(waiting))] if waiting else []

    def destroy(self, linger: int | None = None) -> None:
        """End all sockets."""
        if self._doorman is not None:
            self._doorman.close()
            self._doorman = None
        super().destroy(linger)


def tune(socket: "zmq.Socket[bytes]", *, hwm: int = HWM_MESSAGES) -> "zmq.Socket[bytes]":
    """Bound what a socket queues, takes and waits for. Call it before bind or connect."""
    socket.setsockopt(zmq.AFFINITY, _COMMON)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, hwm)
    socket.setsockopt(zmq.RCVHWM, hwm)
    socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)
    socket.setsockopt(zmq.RECONNECT_IVL, 20)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
    socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, SILENCE_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, SILENCE_MS)
    return socket


def readable(socket: "zmq.Socket[bytes]") -> bool:
    """Whether something has come: cheaper than the exception of a receive that finds nothing."""
    events = socket.getsockopt(zmq.EVENTS)
    assert isinstance(events, int), events
    return bool(events & zmq.POLLIN)


def needs_keys(endpoint: str) -> bool:
    """Whether others than this user may get there: anywhere but at a file of his, or in his process."""
    return endpoint.startswith(_ABSTRACT) or not endpoint.startswith(_PRIVATE)


def events_of(socket: "zmq.Socket[bytes]", events: int) -> "zmq.Socket[bytes]":
    """What tells of these events of a socket's connections. Call it before connect, and close it too."""
    endpoint = f"inproc://events-{os.urandom(8).hex()}"
    socket.monitor(endpoint, events)
    told: zmq.Socket[bytes] = socket.context.socket(zmq.PAIR)
    told.connect(endpoint)
    return told


def key_in_use(config: "Config") -> str:
    """The name of the key with which this process speaks to nodes; empty where it needs none. Raises ConfigError."""
    if not any(needs_keys(node.ingress) for node in config.nodes):
        return ""
    keyring = config.keyring()
    return keyring.keys.whose(keyring.public.decode())


def refusals_of(socket: "zmq.Socket[bytes]") -> "zmq.Socket[bytes]":
    """What can be read once a server does not let this socket in. Call it before connect, and close it too."""
    return events_of(socket, zmq.EVENT_HANDSHAKE_FAILED_AUTH)


def not_let_in(socket: "zmq.Socket[bytes]", who: str) -> UnreachableError:
    """What to raise where a server does not let this socket in."""
    return UnreachableError(
        f"{_context_of(socket).keyring.path} is not let in by {who}: that key was revoked, is unknown there, or is of "
        "a role that has no business there; `sequencer keys list` tells, on the venue's host"
    )


def can_connect(socket: "zmq.Socket[bytes]", endpoint: str) -> bool:
    """Whether it is known who listens at an endpoint."""
    return not needs_keys(endpoint) or _context_of(socket).keyring.knows(endpoint)


def connect(socket: "zmq.Socket[bytes]", endpoint: str, server: str = "") -> None:
    """Connect; over tcp, to who has the key of `server`, or listens there as venue.toml says. Raises ConfigError."""
    if needs_keys(endpoint):
        made = _context_of(socket)
        keyring = made.keyring
        socket.setsockopt(zmq.AFFINITY, made.affinity(endpoint))
        socket.setsockopt(zmq.CURVE_SERVERKEY, keyring.server(endpoint, server))
        socket.setsockopt(zmq.CURVE_PUBLICKEY, keyring.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keyring.secret)
    set_heartbeats(socket, endpoint)
    socket.connect(endpoint)


def set_heartbeats(socket: "zmq.Socket[bytes]", endpoint: str) -> None:
    """Have it ping, where it is the end that does."""
    pings = socket.type in _PINGING and needs_keys(endpoint)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS if pings else 0)


def bind(
    socket: "zmq.Socket[bytes]",
    endpoint: str,
    key: str,
    door: Door,
    over: "Callable[[str, list[bytes]], list[bytes]] | None" = None,
) -> "Gate":
    """Listen as a door, or say which configuration key names an endpoint that cannot be had.

    `over` makes the frames that are said to who is over a limit, of why and of those that were not heard.
    """
    made = _context_of(socket) if needs_keys(endpoint) else None
    if made is not None:
        made.doorman.watch(socket, door, endpoint.rpartition(":")[2])
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, made.keyring.secret)
        socket.setsockopt(zmq.ZAP_DOMAIN, door.encode())
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    set_heartbeats(socket, endpoint)
    umask = os.umask(_OTHERS)
    try:
        socket.bind(_listening(endpoint))
    except zmq.ZMQError as error:
        why = {
            errno.EADDRINUSE: "another program listens there: stop it or choose another port",
            errno.EACCES: "this user may not listen there: choose another",
            errno.ENODEV: "there is no such network interface",
            errno.ENOENT: "its directory does not exist",
        }.get(error.errno or 0, error.strerror)
        raise IslandError(f"cannot listen on {endpoint} ({key}): {why}") from None
    finally:
        os.umask(umask)
    return Gate(socket, door, made, over)


class Gate:
    """What comes in at a socket that listens, whose it is, and how much of it is heard."""

    def __init__(
        self,
        socket: "zmq.Socket[bytes]",
        door: Door,
        made: Context | None,
        over: "Callable[[str, list[bytes]], list[bytes]] | None" = None,
    ) -> None:
        self._socket = socket
        self._door = door
        self._context = made
        """None: an ipc socket."""
        self._over = over
        self._meters: dict[str, Meter] = {}
        """By public key; those of keys that are listed."""
        self._is_metered = door is not Door.PEER
        self._hung_up: set[bytes] = set()
        """Connections of who is cut off that were closed: descriptors are others' soon."""

    def receive(self, *, is_read: bool = False) -> tuple[Key | None, list[bytes]]:
        """Whose it is, and the frames; nobody's, where it is not to be heard, and that is told.

        Where `is_read`, also what is over its key's rate is handed over, and who reads it asks `meter` for how much of
        it there is room. Raises zmq.Again.
        """
        if self._context is None:
            return LOCAL, self._socket.recv_multipart(zmq.NOBLOCK)
        first = self._socket.recv(zmq.NOBLOCK, copy=False)
        public = first.get(_USER_ID)
        assert isinstance(public, str), public
        frames = [first.bytes, *(self._socket.recv_multipart() if first.more else ())]
        key = self._context.keyring.keys.of(public)
        if key is None or not key.enters(self._door):
            self.refuse("its key was revoked, or is now of a role that does not enter", public)
            return None, frames
        if self._is_metered:
            meter, now_s = self.meter(key), time.monotonic()
            size = sum(map(len, frames)) - len(frames[0])
            verdict = meter.arrive(size, frames[0], now_s, is_read=is_read)
            if verdict is not Verdict.PASS:
                self._turn_away(key, meter, verdict, frames, now_s, first)
                return None, frames
        return key, frames

    def meter(self, key: Key) -> Meter:
        """What a key has asked for here; it begins anew when its limits are others."""
        meter = self._meters.get(key.public)
        if meter is None or meter.limits != key.bounds:
            meter = self._meters[key.public] = Meter(key.bounds, time.monotonic())
        return meter

    def refuse(self, why: str, who: str) -> None:
        """Have it told that something was not taken, of the key or the name `who`."""
        if self._context is not None:
            self._context.doorman.refuse(self._door, why, who)

    def _turn_away(
        self, key: Key, meter: Meter, verdict: Verdict, frames: list[bytes], now_s: float, first: zmq.Frame
    ) -> None:
        self.refuse(meter.why, key.name)
        if verdict is Verdict.CUT:
            self._hang_up(key, frames[0], first)
        elif self._over is not None and now_s - meter.told_s >= TOLD_S:
            meter.told_s = now_s
            with contextlib.suppress(zmq.ZMQError):  # it is gone, or does not listen
                self._socket.send_multipart([frames[0], *self._over(meter.why, frames)], zmq.NOBLOCK)

    def _hang_up(self, key: Key, connection: bytes, first: zmq.Frame) -> None:
        """Close a connection, once: what it has sent before is still to come."""
        assert self._context is not None, key
        self._context.doorman.bar(key.public, time.monotonic() + CUT_S)
        if connection in self._hung_up:
            return
        if len(self._hung_up) >= HUNG_UP_MAX:
            self._hung_up.clear()
        self._hung_up.add(connection)
        _shut(first.get(zmq.SRCFD), self._socket.getsockopt(zmq.LAST_ENDPOINT))


@contextlib.contextmanager
def context(config: "Config") -> Iterator[Context]:
    """A context that drops its sockets at the end, whatever happens."""
    made = Context.of(config)
    try:
        yield made
    finally:
        made.destroy(linger=0)


def _listening(endpoint: str) -> str:
    if not endpoint.startswith(TCP):
        return endpoint
    host, _, port = endpoint.removeprefix(TCP).rpartition(":")
    return endpoint if host == "*" or listening_host(host) else f"{TCP}*:{port}"


def _shut(fd: object, endpoint: object) -> None:
    """End a TCP connection of libzmq's, which does not offer to: by its descriptor, if that is still one of this door.

    Should it be another's by now, that one connects again, as after any failure.
    """
    assert isinstance(fd, int), fd
    assert isinstance(endpoint, bytes), endpoint
    port = endpoint.rpartition(b":")[2].rstrip(b"\0").decode()
    with contextlib.suppress(OSError), plain.socket(fileno=os.dup(fd)) as connection:
        if str(connection.getsockname()[1]) == port:
            connection.shutdown(plain.SHUT_RDWR)


def _context_of(socket: "zmq.Socket[bytes]") -> Context:
    made = socket.context
    if not isinstance(made, Context):
        raise ConfigError("a tcp:// endpoint needs keys: expected a socket of a sequencer.client.Context")
    return made
