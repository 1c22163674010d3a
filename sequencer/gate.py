"""What comes in at a socket that listens: whose it is, and how much of it is heard.

    frames --whose connection?--> a key that enters --within its limits?--> (key, frames)
                                                    +--> else dropped and told, or cut off

Rules
- Whose a message is libzmq tells with each one (its user id); names that senders give themselves are not believed.
- Who comes over ipc is this user (keys.LOCAL), and is not bounded.
- What is over a key's limits is not heard, and its holder is told, now and then. Who goes on all the same is cut off:
  its connections are closed, and for a while no new ones are let in, and nothing of it is read.
"""

import contextlib
import os
import socket as plain
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import zmq

from sequencer.keys import LOCAL, Door, Key
from sequencer.limits import CUT_S, Meter, Verdict

if TYPE_CHECKING:
    from sequencer.sockets import Context

HUNG_UP_MAX: Final = 4096
TOLD_S: Final = 0.1
"""Who is over a limit is told that, and not more often than this."""
_USER_ID: Final = "User-Id"


class Gate:
    """What comes in at a socket that listens, whose it is, and how much of it is heard."""

    def __init__(
        self,
        socket: "zmq.Socket[bytes]",
        door: Door,
        made: "Context | None",
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
