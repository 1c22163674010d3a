"""Turns of a gateway in asyncio: one soon after anything has come, for all of it together.

    ZeroMQ sockets, connections, time --wake--> one call of `turn` in the loop --> again, when it says so

Rules
- A ZeroMQ descriptor tells of news once: what is left in a socket after a turn has to be asked for.
- What a turn raises ends the gateway: `run` raises it.
- A gateway that is behind goes on in small steps: who is connected is served in between.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import zmq

from sequencer.client import StopSignal, Subscriber
from sequencer.envelope import Entry

TURN_S: Final = 0.02
STEP_S: Final = 0.02
"""How long entries are taken in one turn. A range of the log that was missing may be worth seconds."""


class Turns:
    """Calls `turn` whenever one of the sockets has news, and now and then; it tells in how many seconds it has to be
    called again (0: there is more)."""

    def __init__(self, sockets: "Iterable[zmq.Socket[bytes]]", turn: Callable[[], float]) -> None:
        self._sockets = list(sockets)
        self._turn = turn
        self._is_due = False
        self._ended: asyncio.Future[None] | None = None

    async def run(self, stop: StopSignal) -> None:
        """Until `stop`. Raises what a turn raises."""
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        loop.add_reader(stop.fd, self._end)
        for socket in self._sockets:
            loop.add_reader(_option(socket, zmq.FD), self.wake)
        try:
            while not self._ended.done():
                self.wake()
                await asyncio.wait([self._ended], timeout=TURN_S)
            self._ended.result()
        finally:
            for socket in self._sockets:
                loop.remove_reader(_option(socket, zmq.FD))
            loop.remove_reader(stop.fd)

    def wake(self) -> None:
        """Have a turn soon: one for everything that comes until then."""
        if not self._is_due and self._ended is not None and not self._ended.done():
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._is_due = False
        assert self._ended is not None, "turns come while it runs"
        if self._ended.done():
            return
        try:
            pause_s = self._turn()
        except Exception as error:  # noqa: BLE001 - handed on to who runs it
            self._ended.set_exception(error)
            return
        if not pause_s or any(_option(socket, zmq.EVENTS) & zmq.POLLIN for socket in self._sockets):
            self.wake()
        elif pause_s < TURN_S:
            asyncio.get_running_loop().call_later(pause_s, self.wake)

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)


class Stream:
    """What a subscriber delivers, as much of it in a turn as fits."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber
        self._waiting: deque[Entry] = deque()

    def entries(self) -> Iterator[Entry]:
        """The next ones, until STEP_S have passed. Raises as `Subscriber.receive`."""
        if not self._waiting:
            self._waiting.extend(self._subscriber.receive())
        until_s = time.monotonic() + STEP_S
        while self._waiting:
            yield self._waiting.popleft()
            if time.monotonic() >= until_s:
                return

    @property
    def has_more(self) -> bool:
        """Whether there is more at once."""
        return bool(self._waiting) or self._subscriber.pending

    @property
    def caught_up(self) -> bool:
        """Whether everything that is known to be was taken."""
        return not self._waiting and self._subscriber.caught_up

    @property
    def lag(self) -> int:
        """Messages that are known to be and were not taken yet."""
        return self._subscriber.lag + sum([entry.message_count for entry in self._waiting])

    @property
    def silent_ms(self) -> int:
        """For how long no node was heard; nobody was listened to while entries waited."""
        return 0 if self._waiting else self._subscriber.silent_ms


def _option(socket: "zmq.Socket[bytes]", option: int) -> int:
    value = socket.getsockopt(option)
    assert isinstance(value, int), value
    return value
