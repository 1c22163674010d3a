r"""Connections that have not said what they want: few, and not for long.

    TCP --> Stranger --its whole first request head--> aiohttp's protocol, which serves it from then on
                    \-> cut off: too slow, too long, or the oldest of too many

aiohttp itself waits for a request head for ever, and takes any number of connections: so it gets to see only those
that have sent one.

Rules
- Where as many are served as may be, who has been silent for longest is cut off for the next: so heads without a body,
  and connections that are kept for nothing, keep nobody out.
- Who `stays` is not cut off for others: a WebSocket, of which the server takes so many, and who has shown a key.
"""

import asyncio
from collections.abc import Callable
from typing import Final

STRANGERS_MAX: Final = 512
STRANGER_S: Final = 10.0
HEAD_BYTES_MAX: Final = 16 << 10
CONNECTIONS_MAX: Final = 3000
_END: Final = b"\r\n\r\n"
_WHY: Final = b'{"error":"too many connections: try again"}'
_FULL: Final = b"HTTP/1.1 503 Busy\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_WHY) + _WHY


class Doorway:
    """All connections of a server; `make` makes what serves one."""

    def __init__(self, make: Callable[[], asyncio.Protocol]) -> None:
        self.make = make
        self.strangers: dict[Stranger, None] = {}
        self.guests: dict[asyncio.BaseTransport, Stranger] = {}
        """Those that are served and may be cut off for others, who spoke last being the last."""
        self.served = 0

    def __call__(self) -> "Stranger":
        """What asyncio asks for a new connection."""
        return Stranger(self)

    def stays(self, transport: asyncio.BaseTransport | None) -> None:
        """A connection is not to be cut off for others."""
        if transport is not None:
            self.guests.pop(transport, None)

    def make_room(self) -> bool:
        """Whether one more may be served."""
        if self.served < CONNECTIONS_MAX:
            return True
        silent = next(iter(self.guests), None)
        if silent is None:
            return False
        self.guests.pop(silent).cut_off()
        return True


class Stranger(asyncio.Protocol):
    """One connection. Once it has asked for something it is only handed on."""

    def __init__(self, doorway: Doorway) -> None:
        self._doorway = doorway
        self._head = bytearray()
        self._inner: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), transport
        self._transport = transport
        strangers = self._doorway.strangers
        if len(strangers) >= STRANGERS_MAX:
            next(iter(strangers)).cut_off()
        strangers[self] = None
        self._late = asyncio.get_running_loop().call_later(STRANGER_S, self.cut_off)

    def cut_off(self, last_words: bytes = b"") -> None:
        """Hear it no longer."""
        self._leave()
        if self._transport is not None:
            if last_words:
                self._transport.write(last_words)
                self._transport.close()
            else:
                self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            self._seen()
            self._inner.data_received(data)
            return
        self._head += data
        if _END in self._head:
            self._introduce()
        elif len(self._head) > HEAD_BYTES_MAX:
            self.cut_off()

    def _introduce(self) -> None:
        if self not in self._doorway.strangers:
            return
        if not self._doorway.make_room():
            self.cut_off(_FULL)
            return
        self._leave()
        assert self._transport is not None, "connected"
        self._doorway.served += 1
        self._doorway.guests[self._transport] = self
        self._inner = self._doorway.make()
        self._inner.connection_made(self._transport)
        self._inner.data_received(bytes(self._head))
        self._head.clear()

    def _seen(self) -> None:
        """It is now the last that has spoken."""
        guests, transport = self._doorway.guests, self._transport
        if transport in guests:
            guests[transport] = guests.pop(transport)

    def _leave(self) -> None:
        self._doorway.strangers.pop(self, None)
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner is not None else None

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._leave()
        if self._inner is not None:
            self._doorway.served -= 1
            self._doorway.stays(self._transport)
            self._inner.connection_lost(error)
