"""The stream as every process reads it: all entries, in order, no gap, no repeat.

    publisher --PUB, lossy--> [ by index: deliver | hold | drop ] --> receive()
                                          ^
    replayer  --ranges on request---------+

Rules:
- An entry is delivered when its index is the next one; a later one is held, an earlier one dropped.
- What is missing below the high-water mark is asked from a replayer; live entries wait meanwhile.
- A publisher that is silent, or says that it is stale, is left for the next one. Delivery never goes
  back: a follower that lags behind delivers nothing until it has passed `next_index`.
- With `arbitrate`, all publishers are heard at once and the first copy of an entry wins.
"""

import time
from collections.abc import Sequence

import zmq

from sequencer.client.replay import Fetcher
from sequencer.config import Source
from sequencer.envelope import ENTRY_MAGIC, HEARTBEAT_MAGIC, Entry, decode_entry, decode_heartbeat
from sequencer.sockets import tune

SILENCE_MS = 500
"""A publisher sends heartbeats every 100 ms; one that is quiet for longer than this is left."""

HELD_BYTES_MAX = 64 << 20
BURST = 256
"""Messages taken from the socket in one call, so that a loop also serves its other sockets."""


class Subscriber:
    """Delivers the stream from `next_index` on. Not thread-safe: it belongs to one loop."""

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        next_index: int = 1,
        context: "zmq.Context[zmq.Socket[bytes]]",
        arbitrate: bool = False,
    ) -> None:
        assert sources, "a subscriber needs a source"
        self._sources = tuple(sources)
        self._arbitrate = arbitrate
        self._current = 0
        self._heard_ms = _now_ms()
        self._held: dict[int, Entry] = {}
        self._held_bytes = 0
        self._full_burst = False
        self.next_index = next_index
        self.next_sequence = 1 if next_index == 1 else 0
        """The next sequence number; 0 until an entry or a heartbeat at the end has told it."""
        self.end_sequence = 0
        """The sequence number behind the last committed message known to be, 0 while nothing is known."""
        self.high_water = -1
        """Index of the last committed entry known to be, -1 while nothing is known."""
        self.switches = 0
        """How often a publisher was left."""
        self._socket = tune(context.socket(zmq.SUB))
        self._socket.subscribe(ENTRY_MAGIC)
        self._socket.subscribe(HEARTBEAT_MAGIC)
        for source in self._sources if arbitrate else self._sources[:1]:
            self._socket.connect(source.publisher)
        self._fetcher = Fetcher(self._sources, context)

    def sockets(self) -> "list[zmq.Socket[bytes]]":
        """What to poll for input."""
        return [self._socket, self._fetcher.socket]

    @property
    def caught_up(self) -> bool:
        """Whether everything up to the known high-water mark has been delivered."""
        return self.high_water >= 0 and self.next_index > self.high_water

    @property
    def lag(self) -> int:
        """Committed messages known to be that were not delivered yet."""
        return max(0, self.end_sequence - max(1, self.next_sequence))

    @property
    def pending(self) -> bool:
        """Whether another `receive` at once may deliver more."""
        return self._full_burst

    def receive(self) -> list[Entry]:
        """What can be delivered now; never blocks. Call it at least every 100 ms."""
        delivered: list[Entry] = []
        self._take_fetched(delivered)
        self._take_live(delivered)
        self._fetch_missing()
        self._watch()
        return delivered

    def wait(self, timeout_ms: int) -> list[Entry]:
        """Receive, waiting up to `timeout_ms` for something to come."""
        deadline_ms = _now_ms() + timeout_ms
        poller = zmq.Poller()
        for socket in self.sockets():
            poller.register(socket, zmq.POLLIN)
        while True:
            entries = self.receive()
            left_ms = deadline_ms - _now_ms()
            if entries or left_ms <= 0:
                return entries
            poller.poll(min(left_ms, 50))

    def close(self) -> None:
        """Close the sockets."""
        self._socket.close(linger=0)
        self._fetcher.close()

    def _take_live(self, delivered: list[Entry]) -> None:
        self._full_burst = False
        for _ in range(BURST):
            try:
                data = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if data[:4] == HEARTBEAT_MAGIC:
                self._hear(data)
            else:
                self._heard_ms = _now_ms()
                self._place(data, delivered)
        self._full_burst = True

    def _hear(self, data: bytes) -> None:
        beat = decode_heartbeat(data)
        if beat.stale:
            return  # not heard from: unless it recovers, `_watch` leaves it
        self._heard_ms = _now_ms()
        if beat.index >= self.high_water:
            self.high_water = beat.index
            self.end_sequence = max(self.end_sequence, beat.next_sequence)
            if self.next_index == beat.index + 1:
                self.next_sequence = beat.next_sequence

    def _place(self, data: bytes, delivered: list[Entry]) -> None:
        index = int.from_bytes(data[40:48], "little")
        if index > self.high_water:
            self.high_water = index
            self.end_sequence = int.from_bytes(data[48:56], "little") + int.from_bytes(data[64:68], "little")
        if index < self.next_index:
            return
        if index == self.next_index:
            self._deliver(decode_entry(data), delivered)
        elif index not in self._held and self._held_bytes < HELD_BYTES_MAX:
            self._held[index] = decode_entry(data)
            self._held_bytes += len(data)

    def _deliver(self, entry: Entry, delivered: list[Entry]) -> None:
        """Deliver an entry, and those held that follow it."""
        while True:
            assert entry.index == self.next_index, (entry.index, self.next_index)
            delivered.append(entry)
            self.next_index = entry.index + 1
            self.next_sequence = entry.next_sequence
            held = self._held.pop(self.next_index, None) if self._held else None
            if held is None:
                return
            self._held_bytes -= len(held.data)
            entry = held

    def _take_fetched(self, delivered: list[Entry]) -> None:
        answer = self._fetcher.receive()
        if answer is None:
            return
        entries, high_water = answer
        self.high_water = max(self.high_water, high_water)
        for entry in entries:
            if entry.index == self.next_index:
                self._deliver(entry, delivered)
        for index in [index for index in self._held if index < self.next_index]:
            self._held_bytes -= len(self._held.pop(index).data)

    def _fetch_missing(self) -> None:
        if self.next_index <= self.high_water:
            self._fetcher.ask(self.next_index)

    def _watch(self) -> None:
        if _now_ms() - self._heard_ms <= SILENCE_MS:
            return
        self._heard_ms = _now_ms()
        if len(self._sources) > 1 and not self._arbitrate:
            self._socket.disconnect(self._sources[self._current].publisher)
            self._current = (self._current + 1) % len(self._sources)
            self._socket.connect(self._sources[self._current].publisher)
            self._fetcher.follow(self._current)
            self.switches += 1


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
