"""Sends committed entries to whoever listens, and heartbeats when there is nothing to send.

    | E/ and the node's name | entry     |
    | H/ and the node's name | heartbeat |      every heartbeat_ms, and at once when the lead has changed

A reader subscribes to the heartbeats of all nodes and to the entries of one. PUB drops for a subscriber that
does not keep up, by design: no back-pressure comes from readers. They find the gap by number and ask a replayer.
"""

from collections.abc import Callable

import zmq

from sequencer.envelope import Entry, Heartbeat, encode_heartbeat
from sequencer.errors import IslandError
from sequencer.keys import Door
from sequencer.protocol import ENTRIES_OF, HEARTBEATS_OF
from sequencer.sockets import Context, bind, tune

SUBSCRIPTION_BYTES_MAX = 1024
"""A longer one is not of ours, and libzmq would keep dozens of bytes for each of its bytes. A CURVE handshake fits."""


class Publisher:
    """One node's end of the stream."""

    def __init__(self, endpoint: str, name: str, *, heartbeat_ms: int, context: Context, key: str) -> None:
        self._endpoint, self._key, self._context = endpoint, key, context
        self._entries_topic = ENTRIES_OF + name.encode()
        self._heartbeats_topic = HEARTBEATS_OF + name.encode()
        self._heartbeat_ms = heartbeat_ms
        self._sent_ms = 0
        self._lead: tuple[int, bool] | None = None
        self._socket: zmq.Socket[bytes] | None = self._listen()

    def publish(self, entry: Entry) -> None:
        """Send one committed entry."""
        if self._socket is not None:
            self._socket.send(self._entries_topic, zmq.SNDMORE)
            self._socket.send(entry.data)

    def beat(self, now_ms: int, lead: tuple[int, bool], beat: Callable[[], Heartbeat]) -> None:
        """Send a heartbeat when one is due; `lead` is the node's term, and whether it leads."""
        if now_ms - self._sent_ms >= self._heartbeat_ms or lead != self._lead:
            self._sent_ms, self._lead = now_ms, lead
            if self._socket is None:
                self._socket = self._listen_again()
            if self._socket is not None:
                self._socket.send_multipart([self._heartbeats_topic, encode_heartbeat(beat())])

    @property
    def is_listening(self) -> bool:
        """Not for a moment after `renew`."""
        return self._socket is not None

    def renew(self) -> None:
        """Have all readers connect again: who may not any more is not let in, the others fill the gap."""
        self.close()
        self._socket = None

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close(linger=0)

    def _listen(self) -> "zmq.Socket[bytes]":
        socket = tune(self._context.socket(zmq.PUB))
        socket.setsockopt(zmq.MAXMSGSIZE, SUBSCRIPTION_BYTES_MAX)
        try:
            bind(socket, self._endpoint, self._key, Door.STREAM)
        except IslandError:
            socket.close(linger=0)
            raise
        return socket

    def _listen_again(self) -> "zmq.Socket[bytes] | None":
        try:
            return self._listen()
        except IslandError:
            return None  # the socket before it is not gone yet
