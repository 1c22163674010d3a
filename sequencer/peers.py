"""A node's connections to the others of its group, and what these tell of their processes.

    send --PUSH--> a peer's `peer` endpoint
    gone <--monitor-- the peer's process has closed the connection

Rules
- What cannot be sent at once is lost: raft says it again.
- A process that ends closes its connections at once, long before its silence is noticed. That is told a moment later,
  since what it had said before may still be on its way. A host that vanishes closes nothing.
"""

from collections.abc import Container
from typing import Final

import zmq

from sequencer.config import Config
from sequencer.errors import ConfigError
from sequencer.logs import Log
from sequencer.members import Member, Members
from sequencer.raft import Log as RaftLog
from sequencer.raft import Message
from sequencer.raft.messages import pack
from sequencer.sockets import Context, connect, events_of, next_event, readable, tune

LAST_WORDS_MS: Final = 3
"""How long what a process said before it ended may take to arrive."""


class Peers:
    """The others of the group of `me`. `poller` is told what to listen to."""

    def __init__(self, config: Config, me: str, context: Context, poller: zmq.Poller, log: Log) -> None:
        self._config = config
        self._me = me
        self._context = context
        self._poller = poller
        self._log = log
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        self._endpoints: dict[str, str] = {}
        self._monitors: dict[str, zmq.Socket[bytes]] = {}
        self._closed_ms: dict[str, int] = {}
        self._met: Members | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether `gone` will soon have something to tell."""
        return bool(self._closed_ms)

    def send(self, peer: str, message: Message, log: RaftLog) -> None:
        """To a peer, which is where the log tells."""
        if log.members is not self._met:
            self.meet(log.members)
        if peer not in self._sockets:
            self._look_for(peer, log)
        socket = self._sockets.get(peer)
        if socket is not None:
            try:
                socket.send_multipart([self._config.cluster, *pack(message)], zmq.NOBLOCK)
            except zmq.Again:
                return  # away or slow

    def meet(self, members: Members) -> None:
        """Connect to the others of the group; who was removed may still need a word, and stays."""
        self._met = members
        for member in members.all:
            self._connect(member)

    def gone(self, ready: Container[object], now_ms: int) -> list[str]:
        """Peers whose processes closed their connections, each once. Call it when all that has come was heard.

        `ready`: the sockets that have something to tell.
        """
        for name, monitor in self._monitors.items():
            while monitor in ready and readable(monitor):
                if next_event(monitor)[0] == zmq.EVENT_DISCONNECTED:
                    self._closed_ms[name] = now_ms
        gone = [name for name, closed_ms in self._closed_ms.items() if now_ms - closed_ms >= LAST_WORDS_MS]
        for name in gone:
            del self._closed_ms[name]
        return gone

    def close(self) -> None:
        """Close all sockets."""
        for name in list(self._sockets):
            self._leave(name)

    def _look_for(self, name: str, log: RaftLog) -> None:
        """Connect to one that had no key yet, or was removed before this process began, and does not know."""
        member, former = log.members.find(name), log.former(name)
        if member is not None:
            self._connect(member)
        elif former is not None:
            self._connect(former[0])

    def _connect(self, member: Member) -> None:
        name, endpoint = member.name, self._config.resolved(member).peer
        if name == self._me or self._endpoints.get(name) == endpoint:
            return
        if name in self._sockets:
            self._leave(name)
        socket = tune(self._context.socket(zmq.PUSH))
        socket.setsockopt(zmq.IMMEDIATE, 1)
        monitor = events_of(socket, zmq.EVENT_DISCONNECTED)
        try:
            connect(socket, endpoint, name)
        except ConfigError as error:
            socket.close(linger=0)
            monitor.close(linger=0)
            self._log.seldom("warning", "member not reached", member=name, why=str(error))
            return
        self._poller.register(monitor, zmq.POLLIN)
        self._sockets[name], self._endpoints[name], self._monitors[name] = socket, endpoint, monitor

    def _leave(self, name: str) -> None:
        monitor = self._monitors.pop(name)
        self._poller.unregister(monitor)
        self._sockets.pop(name).close(linger=0)
        monitor.close(linger=0)
        del self._endpoints[name]
