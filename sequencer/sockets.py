"""ZeroMQ sockets with the options that this project needs: libzmq's defaults are wrong for it."""

import contextlib
import errno
from collections.abc import Iterator

import zmq

from sequencer.errors import IslandError

MESSAGE_BYTES_MAX = 16 << 20
HWM_MESSAGES = 1000


def tune(socket: "zmq.Socket[bytes]", *, hwm: int = HWM_MESSAGES) -> "zmq.Socket[bytes]":
    """Bound what a socket queues, takes and waits for. Call it before bind or connect."""
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, hwm)
    socket.setsockopt(zmq.RCVHWM, hwm)
    socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)
    socket.setsockopt(zmq.RECONNECT_IVL, 20)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
    socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)
    socket.setsockopt(zmq.HEARTBEAT_IVL, 2000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6000)
    return socket


def readable(socket: "zmq.Socket[bytes]") -> bool:
    """Whether something has come: cheaper than the exception of a receive that finds nothing."""
    events = socket.getsockopt(zmq.EVENTS)
    assert isinstance(events, int), events
    return bool(events & zmq.POLLIN)


def bind(socket: "zmq.Socket[bytes]", endpoint: str, key: str) -> None:
    """Bind, or say which configuration key names an endpoint that cannot be had."""
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        why = {
            errno.EADDRINUSE: "another program listens there: stop it or choose another port",
            errno.EACCES: "this user may not listen there: choose another",
            errno.ENODEV: "there is no such network interface",
            errno.ENOENT: "its directory does not exist",
        }.get(error.errno or 0, error.strerror)
        raise IslandError(f"cannot listen on {endpoint} ({key}): {why}") from None


@contextlib.contextmanager
def context() -> Iterator["zmq.Context[zmq.Socket[bytes]]"]:
    """A ZeroMQ context that drops its sockets at the end, whatever happens."""
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        yield made
    finally:
        made.destroy(linger=0)
