"""Sends committed entries to whoever listens, and heartbeats when there is nothing to send.

PUB drops for a subscriber that does not keep up, by design: no back-pressure comes from readers. They
find the gap by number and ask a replayer.
"""

from collections.abc import Callable

import zmq

from sequencer.envelope import Entry, Heartbeat, encode_heartbeat
from sequencer.sockets import bind, tune

SUBSCRIPTION_BYTES_MAX = 256
"""A longer one is not of ours, and libzmq would keep dozens of bytes for each of its bytes."""


class Publisher:
    """One node's end of the stream."""

    def __init__(
        self, endpoint: str, *, heartbeat_ms: int, context: "zmq.Context[zmq.Socket[bytes]]", key: str
    ) -> None:
        self._heartbeat_ms = heartbeat_ms
        self._sent_ms = 0
        self._socket = tune(context.socket(zmq.PUB))
        self._socket.setsockopt(zmq.MAXMSGSIZE, SUBSCRIPTION_BYTES_MAX)
        bind(self._socket, endpoint, key)

    def publish(self, entry: Entry) -> None:
        """Send one committed entry."""
        self._socket.send(entry.data)

    def beat(self, now_ms: int, beat: Callable[[], Heartbeat]) -> None:
        """Send a heartbeat when one is due."""
        if now_ms - self._sent_ms >= self._heartbeat_ms:
            self._sent_ms = now_ms
            self._socket.send(encode_heartbeat(beat()))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=0)
