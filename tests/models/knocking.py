"""Everybody who may knock at a venue's doors on tcp: what he says, and what comes of it."""

import os
from pathlib import Path
from typing import Any, Final

import zmq
from zmq.utils.monitor import recv_monitor_message

from sequencer.config import Config
from sequencer.keyring import issue, read_pair, revoke, secret_path
from sequencer.keys import Door, Role
from sequencer.limits import Limits
from sequencer.sockets import tune
from tests.faults.group import over_tcp
from tests.models.running import PATIENCE_S, make

NOBODY, STRANGER = "nobody", "stranger"
"""Who has no key, and who has one that nobody knows."""

CALLERS: Final[dict[str, tuple[Role, dict[str, Any]]]] = {
    "node-9": (Role.NODE, {}),
    "matching-9": (Role.REPLICA, {"of": ["matching"]}),
    "order-9": (Role.GATEWAY, {}),
    "ann": (Role.CLIENT, {}),
    "audit": (Role.READER, {}),
    "kim": (Role.ADMIN, {}),
    "gone": (Role.ADMIN, {}),
}
"""Who has a key; that of `gone` was revoked before anybody spoke."""
SPEAKS: Final = {Door.PEER: zmq.PUSH, Door.STREAM: zmq.XSUB}
ENDS: Final = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_DISCONNECTED
)  # fmt: skip


def make_open(directory: Path, limits: Limits | None = None) -> Config:
    """A venue of one node all of whose doors are on tcp, and keys for everybody."""
    config = over_tcp(make(directory), "order", "marketdata", "marketdata_updates")
    for name, (role, rights) in CALLERS.items():
        issue(config.keys_path, secret_path(config.secrets_directory, name), name, role, limits=limits, **rights)
    revoke(config.keys_path, "gone")
    return config


def endpoints(config: Config) -> dict[Door, str]:
    """Where the doors of the first node and of the gateways are."""
    node, places = config.nodes[0], config.endpoints
    return {
        Door.PEER: node.peer, Door.STREAM: node.publisher, Door.INGRESS: node.ingress, Door.REPLAYER: node.replayer,
        Door.ACCESS: places["order"], Door.FEED: places["marketdata"],
    }  # fmt: skip


class Caller:
    """Somebody with a key (by name), or without, and one connection to each door."""

    def __init__(self, config: Config, name: str) -> None:
        self.name = name
        self._config = config
        self._endpoints = endpoints(config)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sockets: dict[Door, zmq.Socket[bytes] | None] = {}

    def close(self) -> None:
        """Hang up."""
        self._context.destroy(linger=0)

    def enters(self, door: Door) -> bool:
        """Whether the door lets him in."""
        if door not in self._sockets:
            self._sockets[door] = self._knock(door)
        return self._sockets[door] is not None

    def say(self, door: Door, *frames: bytes) -> None:
        """One message; nothing, where he is not let in."""
        if self.enters(door):
            self._sockets[door].send_multipart(frames)

    def ask(self, door: Door, *questions: bytes) -> list[bytes] | None:
        """The first answer to questions that are asked one after the other; None where he is not let in."""
        if not self.enters(door):
            return None
        for question in questions:
            self.say(door, question)
        return self.next(door)

    def next(self, door: Door) -> list[bytes]:
        """What comes next at a door that he has entered."""
        socket = self._sockets[door]
        if not socket.poll(PATIENCE_S * 1000):
            raise TimeoutError(f"{self.name} hears nothing at {door}")
        return socket.recv_multipart()

    def drain(self, door: Door) -> int:
        """Throw away what has come; how much it was."""
        return len(self.come(door))

    def come(self, door: Door) -> list[list[bytes]]:
        """What has come, and was not read yet."""
        socket, come = self._sockets[door], []
        while socket.type != zmq.PUSH and socket.poll(0):
            come.append(socket.recv_multipart())
        return come

    def _knock(self, door: Door) -> "zmq.Socket[bytes] | None":
        socket = tune(self._context.socket(SPEAKS.get(door, zmq.DEALER)))
        if socket.type == zmq.DEALER:
            socket.setsockopt(zmq.ROUTING_ID, f"{self.name}/".encode() + os.urandom(4))
        dress(socket, self._config, self.name, self._endpoints[door])
        monitor = socket.get_monitor_socket(ENDS)
        socket.connect(self._endpoints[door])
        event = recv_monitor_message(monitor)["event"]
        socket.disable_monitor()
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            return socket
        socket.close(linger=0)
        return None


def dress(socket: "zmq.Socket[bytes]", config: Config, name: str, endpoint: str) -> None:
    """Have a socket show somebody's key, whatever it is worth."""
    if name == NOBODY:
        return
    pair = zmq.curve_keypair() if name == STRANGER else read_pair(secret_path(config.secrets_directory, name))
    socket.setsockopt(zmq.CURVE_SERVERKEY, config.keyring().server(endpoint))
    socket.setsockopt(zmq.CURVE_PUBLICKEY, pair[0])
    socket.setsockopt(zmq.CURVE_SECRETKEY, pair[1])
