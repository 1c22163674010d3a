"""Sends committed entries to whoever listens, and heartbeats when there is nothing to send.

    | E/ and the node's name | entry     |
    | H/ and the node's name | heartbeat |      every heartbeat_ms, and at once when the lead has changed

A reader subscribes to the heartbeats of all nodes and to the entries of one. PUB drops for a subscriber that
does not keep up, by design: no back-pressure comes from readers. They find the gap by number and ask a replayer.
"""

from collections.abc import Callable

import zmq

from sequencer.envelope import Entry, Heartbeat, encode_heartbeat
from sequencer.protocol import ENTRIES_OF, HEARTBEATS_OF
from sequencer.sockets import bind, tune

SUBSCRIPTION_BYTES_MAX = 256
"""A longer one is not of ours, and libzmq would keep dozens of bytes for each of its bytes."""


class Publisher:
    """One node's end of the stream."""

    def __init__(
        self, endpoint: str, name: str, *, heartbeat_ms: int, context: "zmq.Context[zmq.Socket[bytes]]", key: str
    ) -> None:
        self._entries_topic = ENTRIES_OF + name.encode()
        self._heartbeats_topic = HEARTBEATS_OF + name.encode()
        self._heartbeat_ms = heartbeat_ms
        self._sent_ms = 0
        self._lead: tuple[int, bool] | None = None
        self._socket = tune(context.socket(zmq.PUB))
        self._socket.setsockopt(zmq.MAXMSGSIZE, SUBSCRIPTION_BYTES_MAX)
        bind(self._socket, endpoint, key)

    def publish(self, entry: Entry) -> None:
        """Send one committed entry."""
        self._socket.send(self._entries_topic, zmq.SNDMORE)
        self._socket.send(entry.data)

    def beat(self, now_ms: int, lead: tuple[int, bool], beat: Callable[[], Heartbeat]) -> None:
        """Send a heartbeat when one is due; `lead` is the node's term, and whether it leads."""
        if now_ms - self._sent_ms >= self._heartbeat_ms or lead != self._lead:
            self._sent_ms, self._lead = now_ms, lead
            self._socket.send_multipart([self._heartbeats_topic, encode_heartbeat(beat())])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=0)
