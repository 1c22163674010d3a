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
"""

import contextlib
import errno
import os
import struct
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Self

import zmq

from sequencer.config import TCP, Config, listening_host, named_host
from sequencer.errors import ConfigError, IslandError, UnreachableError
from sequencer.gate import Gate
from sequencer.keyring import Keyring
from sequencer.keys import Door

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
_PRIVATE = ("ipc://", "inproc://")
_ABSTRACT = "ipc://@"
"""A name without a file, and so without anybody's rights."""
_OTHERS = 0o077
_EVENT = struct.Struct("=HI")
"""How libzmq tells of one (zmq_socket_monitor(3))."""
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


def next_event(told: "zmq.Socket[bytes]") -> tuple[int, int]:
    """The event that waits, and its value: of pyzmq's own function the import costs each process an asyncio."""
    event, value = _EVENT.unpack(told.recv_multipart()[0])
    return event, value


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


def _context_of(socket: "zmq.Socket[bytes]") -> Context:
    made = socket.context
    if not isinstance(made, Context):
        raise ConfigError("a tcp:// endpoint needs keys: expected a socket of a sequencer.client.Context")
    return made
