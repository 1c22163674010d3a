r"""Connections that have not said what they want: few, and not for long.

    TCP --> Stranger --its whole first request head--> aiohttp's protocol, which serves it from then on
                    \-> cut off: too slow, too long, or the oldest of too many

aiohttp itself waits for a request head for ever, and takes any number of connections: so it gets to see only those
that have sent one.
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
        self.served = 0

    def __call__(self) -> "Stranger":
        """What asyncio asks for a new connection."""
        return Stranger(self)


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
        if self._doorway.served >= CONNECTIONS_MAX:
            self.cut_off(_FULL)
            return
        self._leave()
        self._doorway.served += 1
        self._inner = self._doorway.make()
        assert self._transport is not None, "connected"
        self._inner.connection_made(self._transport)
        self._inner.data_received(bytes(self._head))
        self._head.clear()

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
            self._inner.connection_lost(error)
