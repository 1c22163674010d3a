"""What is said to connections in one wake, cut into frames.

messages, sealed reports --say, send--> Link.parts --frames--> (connection, frame)
Client.fresh --seal--> Client.recent, and its connection
"""

from typing import Final

from gateways import events as e
from gateways.order.links import Client, Link
from gateways.order.protocol import ENCODER, Frame, frame
from gateways.order.reports import seal

FRAME_BYTES: Final = 1 << 20
"""Reports to one connection are cut into frames of about this size."""


class Outgoing:
    """All that is owed to connections."""

    def __init__(self, recent_reports_max: int) -> None:
        """Of each client so many reports are kept, for when it comes back."""
        self._recent_max = recent_reports_max
        self._speaking: list[Link] = []

    def say(self, link: Link, message: Frame | e.Event) -> None:
        """One message."""
        self.send(link, 1, ENCODER.encode(message))

    def send(self, link: Link, count: int, encoded: bytes) -> None:
        """So many messages, encoded already."""
        if not link.parts:
            self._speaking.append(link)
        link.parts.append(encoded)
        link.counts.append(count)

    def seal(self, client: Client) -> None:
        """Encode a client's fresh reports, keep them, and send them unless older ones must come first."""
        if not client.fresh:
            return
        chunk = seal(client.fresh)
        client.fresh = []
        client.recent.add(chunk, self._recent_max)
        if client.link is not None and client.resume is None:
            self.send(client.link, chunk.count, chunk.encoded)

    def frames(self, now_ms: int) -> list[tuple[bytes, bytes]]:
        """(connection, frame) of all that was said since the last call."""
        speaking, self._speaking = self._speaking, []
        return [(link.connection, data) for link in speaking for data in _frames_of(link, now_ms)]


def _frames_of(link: Link, now_ms: int) -> list[bytes]:
    parts, counts = link.parts, link.counts
    link.parts, link.counts, link.sent_ms = [], [], now_ms
    frames = []
    start = size = 0
    for stop, part in enumerate(parts, 1):
        size += len(part)
        if size >= FRAME_BYTES or stop == len(parts):
            frames.append(frame(sum(counts[start:stop]), parts[start:stop]))
            start, size = stop, 0
    return frames
