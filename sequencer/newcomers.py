"""How many may come in at one door, from one address, before they have shown a key; beyond that none, for a moment.

    a connection comes in --came--> takes room --its key is let in, admitted--> gives it back
                               +--there is none--> for SHUT_S nobody comes in from there; who is inside notices nothing

A handshake costs the thread that serves all connections of a process some elliptic curves, before it is known whose it
is, and libzmq bounds only how long one may take. So the kernel drops what asks for a connection meanwhile: by a filter
at the socket that listens (socket(7), SO_ATTACH_FILTER). Clients ask again by themselves, as after a lost packet.
"""

import contextlib
import ctypes
import os
import socket
import struct
import time
from collections.abc import Callable, Collection
from typing import Final

from sequencer.limits import Bucket

NEWCOMERS_PER_S: Final = 20.0
NEWCOMERS_BURST: Final = 200.0
SHUT_S: Final = 1.0
ADDRESSES_MAX: Final = 4096
SHUT_OUT_MAX: Final = 64
"""Where more addresses than this are over their number, nobody new comes in."""
_ATTACH, _DETACH = 26, 27
"""SO_ATTACH_FILTER, SO_DETACH_FILTER (asm-generic/socket.h)."""
_INSTRUCTION: Final = struct.Struct("=HBBI")
"""A struct sock_filter (linux/filter.h): code, where to go if so and if not, a value."""
_LOAD_SOURCE: Final = _INSTRUCTION.pack(0x20, 0, 0, 0xFFF0000C)
"""The source's address: 12 bytes into an IPv4 header (SKF_NET_OFF)."""
_DROP: Final = _INSTRUCTION.pack(0x06, 0, 0, 0)
_TAKE: Final = _INSTRUCTION.pack(0x06, 0, 0, 0xFFFFFFFF)


class Newcomers:
    """Those of one door, which listens at `port`, over IPv4."""

    def __init__(self, port: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self._port = port
        self._now_s = now_s
        self._rooms: dict[str, Bucket] = {}
        self._shut_out: dict[str, float] = {}
        """Address -> until when."""
        self._door: socket.socket | None = None

    @property
    def is_shut(self) -> bool:
        """Whether the door is shut for some: `look` now and then ends that."""
        return bool(self._shut_out)

    def listening(self, fd: int) -> None:
        """The door listens by this descriptor; it may be closed again."""
        self.close()
        self._door = _held(fd, self._port)

    def came(self, fd: int) -> str:
        """A connection has come in; from where, if nobody else comes in from there for a while."""
        connection = _held(fd, self._port)
        if connection is None or self._door is None:
            return ""
        with connection:
            try:
                address = str(connection.getpeername()[0])
            except OSError:
                return ""  # it is gone, and still may be one of many; its next one tells
        now_s = self._now_s()
        if self._room(address, now_s).take(1.0, now_s) or address in self._shut_out:
            return ""
        self._shut_out[address] = now_s + SHUT_S
        return address if self._filter() else ""

    def admitted(self, address: str) -> None:
        """One that came from there has a key that is let in."""
        if address in self._rooms:
            self._rooms[address].give_back(1.0)

    def look(self) -> None:
        """Let in again, when it is time."""
        now_s = self._now_s()
        left = {address: until_s for address, until_s in self._shut_out.items() if until_s > now_s}
        if len(left) < len(self._shut_out):
            self._shut_out = left
            self._filter()

    def close(self) -> None:
        """Leave the door as it was."""
        if self._door is not None:
            self._shut_out.clear()
            self._filter()
            self._door.close()
            self._door = None

    def _room(self, address: str, now_s: float) -> Bucket:
        if address not in self._rooms:
            if len(self._rooms) >= ADDRESSES_MAX:
                self._rooms.clear()
            self._rooms[address] = Bucket(NEWCOMERS_PER_S, NEWCOMERS_BURST, now_s)
        return self._rooms[address]

    def _filter(self) -> bool:
        """Have the kernel do it; not where it has no filters, or the door is gone."""
        assert self._door is not None, self._port
        with contextlib.suppress(OSError):
            if self._shut_out:
                program = ctypes.create_string_buffer(_program(self._shut_out))
                length = len(program.raw) // _INSTRUCTION.size
                self._door.setsockopt(
                    socket.SOL_SOCKET, _ATTACH, struct.pack("@HP", length, ctypes.addressof(program))
                )  # a struct sock_fprog
            else:
                self._door.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
            return True
        return False


def _program(shut_out: Collection[str]) -> bytes:
    """What drops packets from these addresses; where they are too many, from all."""
    if len(shut_out) > SHUT_OUT_MAX:
        return _DROP
    known = [int.from_bytes(socket.inet_aton(address), "big") for address in shut_out]
    return _LOAD_SOURCE + b"".join(_INSTRUCTION.pack(0x15, 0, 1, one) + _DROP for one in known) + _TAKE


def _held(fd: int, port: int) -> socket.socket | None:
    """A descriptor of our own for this socket, if it is one of the door's still: libzmq's may be another's by now."""
    with contextlib.suppress(OSError):
        held = socket.socket(fileno=os.dup(fd))
        with contextlib.suppress(OSError):
            if held.type == socket.SOCK_STREAM and held.getsockname()[1:2] == (port,):
                return held
        held.close()
    return None
