"""How much is said at a door where others only listen: next to nothing, or the connection is cut.

    a connection comes in --> Listeners --the kernel's count of its bytes, each LOOK_MS--> over its allowance: shut down

libzmq takes in subscriptions in the thread that publishes, all that have come, and keeps each one: who subscribes
without end makes a publisher stand still, and fills its memory. So it is looked at from beside, in another thread.

Rules
- A connection may say ALLOWANCE_BYTES, and RATE_BYTES a second more. A handshake, a thousand subscriptions and all
  heartbeats are less.
- Which key a connection has, libzmq does not tell of one that only listens. Where several come from one address at
  once, each may have any of the keys that are let in from there.
- A connection is held by a file descriptor of our own, since libzmq's may be another's by now.
"""

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

ALLOWANCE_BYTES: Final = 128 << 10
RATE_BYTES: Final = 4 << 10
LOOK_MS: Final = 50
_RECEIVED: Final = struct.Struct("@128xQ")
"""tcpi_bytes_received in Linux's struct tcp_info (linux/tcp.h, since 4.1)."""


class Cut(NamedTuple):
    """A connection that was shut down: from where, and whose it may be."""

    address: str
    keys: frozenset[str]


class _Line:
    """One connection."""

    def __init__(self, held: socket.socket, began_s: float) -> None:
        self.held = held
        self.began_s = began_s
        self.host, port = held.getpeername()[:2]
        self.address = f"{self.host}:{port}"
        self.keys: frozenset[str] = frozenset()

    def received_bytes(self) -> int:
        """What has come over it, as the kernel counts. Raises OSError."""
        info = self.held.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RECEIVED.size)
        return int(_RECEIVED.unpack(info)[0]) if len(info) == _RECEIVED.size else 0


class _Arrivals:
    """Connections of one address, and the keys that were let in from there since the first of them came."""

    def __init__(self) -> None:
        self.lines: list[_Line] = []
        self.keys: list[str] = []


class Listeners:
    """The connections of one door, which listens at `port`."""

    def __init__(self, port: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self._port = port
        self._now_s = now_s
        self._lines: dict[int, _Line] = {}
        self._arrivals: dict[str, _Arrivals] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def accepted(self, fd: int) -> None:
        """A connection has come in, which libzmq holds by this descriptor; it may be gone again."""
        self.closed(fd)
        with contextlib.suppress(OSError):
            held = socket.socket(fileno=os.dup(fd))
            try:
                if held.type == socket.SOCK_STREAM and held.getsockname()[1:2] == (self._port,):
                    line = self._lines[fd] = _Line(held, self._now_s())
                    self._arrivals.setdefault(line.host, _Arrivals()).lines.append(line)
            finally:
                if fd not in self._lines:
                    held.close()

    def admitted(self, host: str, key: str) -> None:
        """A key was let in from there."""
        if host in self._arrivals:
            self._arrivals[host].keys.append(key)
            self._settle(host)

    def closed(self, fd: int) -> None:
        """A connection has ended."""
        line = self._lines.pop(fd, None)
        if line is not None:
            line.held.close()
            if line.host in self._arrivals and line in self._arrivals[line.host].lines:
                self._arrivals[line.host].lines.remove(line)
                self._settle(line.host)

    def _settle(self, host: str) -> None:
        """All that came have a key, or are gone."""
        arrivals = self._arrivals[host]
        for line in arrivals.lines:
            line.keys = frozenset(arrivals.keys)
        if len(arrivals.keys) >= len(arrivals.lines):
            del self._arrivals[host]

    def look(self) -> Iterator[Cut]:
        """Shut down what says too much, each once."""
        now_s = self._now_s()
        for fd, line in list(self._lines.items()):
            try:
                is_over = line.received_bytes() > ALLOWANCE_BYTES + RATE_BYTES * (now_s - line.began_s)
                if is_over:
                    line.held.shutdown(socket.SHUT_RDWR)
            except OSError:
                is_over = False  # it has ended by itself
            if is_over:
                self.closed(fd)
                yield Cut(line.address, line.keys)

    def close(self) -> None:
        """Let go of all; they stay open as far as libzmq wants."""
        for fd in list(self._lines):
            self.closed(fd)
