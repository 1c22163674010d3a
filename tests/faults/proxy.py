"""Links between processes that can be hurt: stream proxies of plain sockets, all in one thread.

    from --tcp--> listener | chunks, each due at a time | --ipc or tcp--> the endpoint of `to`

Rules:
- A link carries what one process says to another at one of its doors. ZeroMQ's peers speak one way on a
  connection, so hurting the link from a to b leaves b to a as it was.
- PASS forwards, each chunk `delay_s` late and up to `jitter_s` later, drawn from the seed; never out of order.
- CUT resets what is open, and each new connection.
- HOLD reads nothing: what was sent arrives late, all of it, once the link passes again.
- SWALLOW takes everything and forwards nothing. What it took is missing in the stream, so the connections
  that it touched are reset when it ends, as a host does that comes back and knows of no connection.
"""

import enum
import random
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Self

CHUNK_BYTES = 64 << 10
QUEUE_BYTES_MAX = 1 << 20
TURN_S = 0.05
_RESET = struct.pack("ii", 1, 0)


class Mode(enum.Enum):
    """What a link does with what it is given."""

    PASS = "pass"
    CUT = "cut"
    HOLD = "hold"
    SWALLOW = "swallow"


class Link:
    """One way from a process to a door of another."""

    def __init__(self, source: str, target: str, endpoint: str) -> None:
        self.source = source
        self.target = target
        self.mode = Mode.PASS
        self.delay_s = 0.0
        self.jitter_s = 0.0
        self.connections: list[Connection] = []
        self.upstream = endpoint
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)

    @property
    def endpoint(self) -> str:
        """Where its proxy listens."""
        return f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self) -> None:
        """Take a connection, and pass it on where the mode wants that."""
        try:
            client, _address = self.listener.accept()
        except BlockingIOError:
            return
        upstream = _connect(self.upstream) if self.mode is Mode.PASS else None
        if self.mode is Mode.CUT or (self.mode is Mode.PASS and upstream is None):
            _reset(client)
            return
        client.setblocking(False)
        self.connections.append(Connection(client, upstream))

    def reset(self) -> None:
        """Reset all its connections."""
        for connection in self.connections:
            connection.close()
        self.connections = []

    def turn_to(self, mode: Mode) -> None:
        """Change what it does."""
        if mode is Mode.CUT or Mode.SWALLOW in (mode, self.mode):
            self.reset()
        self.mode = mode


class Connection:
    """Two sockets and what is under way between them; no second one where all is swallowed."""

    def __init__(self, client: socket.socket, upstream: socket.socket | None) -> None:
        self.streams = [Stream(client, upstream)]
        if upstream is not None:
            self.streams.append(Stream(upstream, client))

    def close(self) -> None:
        """Reset both ends."""
        for stream in self.streams:
            _reset(stream.source)


class Stream:
    """One direction of a connection: chunks with the times at which they are due."""

    def __init__(self, source: socket.socket, sink: socket.socket | None) -> None:
        self.source = source
        self._sink = sink
        self._chunks: deque[tuple[float, bytes]] = deque()
        self._queued_bytes = 0

    @property
    def has_room(self) -> bool:
        """Whether more may be read."""
        return self._queued_bytes < QUEUE_BYTES_MAX

    @property
    def due_s(self) -> float:
        """When the next chunk is due; infinity where there is none."""
        return self._chunks[0][0] if self._chunks else float("inf")

    def read(self, late_s: float) -> bool:
        """Take what has come; whether the connection lives on."""
        try:
            chunk = self.source.recv(CHUNK_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if chunk and self._sink is not None:
            last_due_s = self._chunks[-1][0] if self._chunks else 0.0
            self._chunks.append((max(last_due_s, time.monotonic() + late_s), chunk))
            self._queued_bytes += len(chunk)
        return bool(chunk)

    def write(self, now_s: float) -> bool:
        """Forward what is due; whether the connection lives on."""
        while self._chunks and self._chunks[0][0] <= now_s:
            due_s, chunk = self._chunks[0]
            assert self._sink is not None, "nothing is queued for nobody"
            try:
                sent = self._sink.send(chunk)
            except BlockingIOError:
                return True
            except OSError:
                return False
            self._queued_bytes -= sent
            if sent < len(chunk):
                self._chunks[0] = (due_s, chunk[sent:])
                return True
            self._chunks.popleft()
        return True


class Links:
    """All links of a test; a context manager. `turn` may be called from any thread."""

    def __init__(self, seed: int = 0) -> None:
        self._links: list[Link] = []
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._selector: selectors.BaseSelector = selectors.DefaultSelector()
        self._changed = True
        """Whether the selector waits for other sockets than it should."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="links", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()
        for link in self._links:
            link.reset()
            link.listener.close()

    def add(self, source: str, target: str, endpoint: str) -> str:
        """A new link, and where to connect instead of `endpoint`."""
        link = Link(source, target, endpoint)
        with self._lock:
            self._links.append(link)
            self._changed = True
        return link.endpoint

    def turn(self, mode: Mode, *ways: tuple[str, str], delay_s: float = 0.0, jitter_s: float = 0.0) -> None:
        """Let the links from a to b, for each of `ways` (all where none is named), do this from now on."""
        with self._lock:
            for link in self._links:
                if not ways or (link.source, link.target) in ways:
                    link.turn_to(mode)
                    link.delay_s, link.jitter_s = delay_s, jitter_s
            self._changed = True

    def part(self, mode: Mode, side: Iterable[str]) -> None:
        """Let all links between `side` and the rest, both ways, do this from now on."""
        inside = set(side)
        with self._lock:
            for link in self._links:
                if (link.source in inside) != (link.target in inside):
                    link.turn_to(mode)
            self._changed = True

    @property
    def under_way(self) -> int:
        """How many connections are open."""
        with self._lock:
            return sum(len(link.connections) for link in self._links)

    def heal(self) -> None:
        """All links pass everything at once."""
        self.turn(Mode.PASS)

    # --- the thread ---------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                wait_s = self._prepare()
            ready = self._selector.select(wait_s)
            with self._lock:
                for key, _events in ready:
                    self._serve(*key.data)
                self._forward()
        self._selector.close()

    def _prepare(self) -> float:
        """See to it that what can be read is waited for; return for how long."""
        if self._changed:
            self._changed = False
            self._selector.close()
            self._selector = selectors.DefaultSelector()
            for link in self._links:
                if link.mode is not Mode.HOLD:
                    self._register(link)
        streams = (stream for link in self._links for each in link.connections for stream in each.streams)
        due_s = min((stream.due_s for stream in streams), default=float("inf"))
        return min(TURN_S, max(0.001, due_s - time.monotonic()))

    def _register(self, link: Link) -> None:
        self._selector.register(link.listener, selectors.EVENT_READ, (link, None, None))
        for connection in link.connections:
            for stream in connection.streams:
                if stream.has_room:
                    self._selector.register(stream.source, selectors.EVENT_READ, (link, connection, stream))

    def _serve(self, link: Link, connection: Connection | None, stream: Stream | None) -> None:
        if connection is None or stream is None:
            link.accept()
            self._changed = True
        elif connection in link.connections and link.mode is not Mode.HOLD:
            late_s = link.delay_s + self._random.random() * link.jitter_s
            if not stream.read(late_s):
                self._drop(link, connection)
            self._changed |= not stream.has_room

    def _forward(self) -> None:
        now_s = time.monotonic()
        for link in self._links:
            if link.mode is Mode.PASS:
                for connection in list(link.connections):
                    self._changed |= not all(stream.has_room for stream in connection.streams)
                    if not all(stream.write(now_s) for stream in connection.streams):
                        self._drop(link, connection)

    def _drop(self, link: Link, connection: Connection) -> None:
        link.connections.remove(connection)
        connection.close()
        self._changed = True


def _connect(endpoint: str) -> socket.socket | None:
    """A connection to an endpoint of this host, which is there at once or not at all."""
    transport, _, address = endpoint.partition("://")
    made = socket.socket(socket.AF_UNIX if transport == "ipc" else socket.AF_INET)
    try:
        if transport == "ipc":
            made.setblocking(False)
            made.connect(address)
        else:
            host, _, port = address.rpartition(":")
            made.connect((host, int(port)))
            made.setblocking(False)
    except OSError:
        made.close()
        return None
    return made


def _reset(connection: socket.socket) -> None:
    """Close it as a host does that knows nothing of it."""
    if connection.family == socket.AF_INET:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.close()
