"""A server with keys whose doors are on loopback ports, in one process with everybody who knocks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
from msgspec.structs import replace

from gateways.layout import free_ports
from sequencer.doorman import Refusal
from sequencer.gate import Gate
from sequencer.keyring import Keyring, issue, read_keys, revoke, secret_path, write_keys
from sequencer.keys import FILE_NAME, Door, Keys, Role
from sequencer.limits import Limits
from sequencer.sockets import Context, bind, connect, tune
from tests.models.running import until

ROLES = {"node-1": Role.NODE, "gone": Role.READER, "audit": Role.READER, "ann": Role.CLIENT, "bob": Role.CLIENT}


class House:
    """A server with a key, whose doors are on loopback ports; everybody has his keys from its list."""

    def __init__(self, directory: Path) -> None:
        self.list, self.secrets = directory / FILE_NAME, directory / "keys"
        for name, role in ROLES.items():
            issue(self.list, secret_path(self.secrets, name), name, role)
        self.ports = free_ports()
        self.servers: dict[str, str] = {}
        self.contexts: list[Context] = []
        self.told: list[Refusal] = []
        self._sockets: list[zmq.Socket[bytes]] = []
        """That nobody else may hold, and that are not to be closed."""
        self.server = self.holding("node-1")

    def holding(self, name: str) -> Context:
        """The sockets of who has this key."""
        self.contexts.append(Context.of(Holder(self, name)))  # type: ignore[arg-type]
        return self.contexts[-1]

    def door(self, door: Door, kind: int = zmq.ROUTER) -> tuple[str, "zmq.Socket[bytes]", Gate]:
        """Listen. Who is over a limit is told why."""
        endpoint = self.endpoint()
        socket = tune(self.server.socket(kind))
        return endpoint, socket, bind(socket, endpoint, "key", door, lambda why, _frames: [why.encode()])

    def endpoint(self) -> str:
        endpoint = f"tcp://127.0.0.1:{next(self.ports)}"
        self.servers[endpoint] = "node-1"
        return endpoint

    def speak(self, name: str, endpoint: str, data: bytes, identity: bytes = b"") -> "zmq.Socket[bytes]":
        """Say something with somebody's key, on a connection of its own."""
        socket = tune(self.holding(name).socket(zmq.DEALER))
        if identity:
            socket.setsockopt(zmq.ROUTING_ID, identity)
        connect(socket, endpoint)
        socket.send(data)
        self._sockets.append(socket)
        return socket

    def revoke(self, name: str) -> None:
        """And let the server take note."""
        revoke(self.list, name)
        assert self.server.changed()

    def limit(self, name: str, limits: Limits) -> None:
        """Let a key ask for no more than this, and the server take note."""
        listed = read_keys(self.list).listed
        write_keys(self.list, Keys(replace(key, limits=limits) if key.name == name else key for key in listed))
        assert self.server.changed()

    def close(self) -> None:
        """End all sockets."""
        for context in reversed(self.contexts):
            context.destroy(linger=0)

    def refusals(self) -> list[Refusal]:
        """All so far."""
        self.told += self.server.refusals()
        return self.told


class Holder:
    """What a Context asks of a Config."""

    named_hosts: tuple[str, ...] = ()

    def __init__(self, house: House, name: str) -> None:
        self._house, self._name = house, name

    def keyring(self) -> Keyring:
        return Keyring.load(self._house.list, self._house.secrets, self._name, lambda: self._house.servers)


def heard(gate: Gate) -> tuple[str, bytes]:
    """Whose the next message is, and its last frame."""
    key, frames = until(lambda: attempt(gate.receive), "a message")
    return key.name if key is not None else "", frames[-1]


def attempt(receive: Callable[[], Any]) -> Any:
    """What there is, None where there is nothing."""
    try:
        return receive()
    except zmq.Again:
        return None


def listen(context: Context, endpoint: str) -> "zmq.Socket[bytes]":
    """Subscribe to all that is published."""
    socket = tune(context.socket(zmq.SUB))
    socket.subscribe(b"")
    connect(socket, endpoint)
    return socket


def drained(socket: "zmq.Socket[bytes]") -> int:
    """How many messages had come; none is left."""
    count = 0
    while attempt(lambda: socket.recv_multipart(zmq.NOBLOCK)) is not None:
        count += 1
    return count
