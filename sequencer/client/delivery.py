"""The stream as every process reads it, without sockets: all entries, in order, no gap, no repeat.

    publisher --lossy--> place --> [ by index: deliver | hold | drop ]
                                          ^
    replayer  --ranges on request--> take_fetched

Rules:
- An entry is delivered when its index is the next one; a later one is held, an earlier one dropped. Delivery
  never goes back: a source that lags behind delivers nothing until it has passed `next_index`.
- What is missing below the high-water mark is asked from a replayer; live entries wait meanwhile.
- A source is left when for SILENCE_MS it was silent, or said that it is stale, or was behind what is known to
  be committed without coming any nearer. With `arbitrate`, all are heard at once and the first copy wins.
- Each entry names the digest of the one before it. One that names another is not of this log: that ends
  the subscription, since something that was delivered is not what the group holds.
- What does not decode, or belongs to another group, is as good as lost.
"""

from collections.abc import Callable, Sequence

from sequencer.envelope import HEARTBEAT_MAGIC, NO_DIGEST, Entry, decode_entry, decode_heartbeat
from sequencer.errors import EnvelopeError, IslandError

SILENCE_MS = 300
"""A publisher sends heartbeats every 100 ms; one that says nothing new for longer than this is left."""

HELD_BYTES_MAX = 64 << 20


class Delivery:
    """The state of one subscription to `sources` sources. `now_ms` tells a monotonic time.

    The shell passes in what comes, listens to the source `current`, and fetches from `missing`.
    """

    def __init__(
        self, sources: int, *, now_ms: Callable[[], int], next_index: int = 1, arbitrate: bool = False
    ) -> None:
        assert sources, "a subscriber needs a source"
        self.next_index = next_index
        self.next_sequence = 1 if next_index == 1 else 0
        """The next sequence number; 0 until an entry or a heartbeat at the end has told it."""
        self.end_sequence = 0
        """The sequence number behind the last committed message known to be, 0 while nothing is known."""
        self.high_water = -1
        """Index of the last committed entry known to be, -1 while nothing is known."""
        self.current = 0
        """The source that is listened to."""
        self.switches = 0
        """How often a source was left."""
        self._sources = sources
        self._arbitrate = arbitrate
        self._now_ms = now_ms
        self._heard_ms = now_ms()
        self._source_index = -1
        self._cluster = b""
        self._last_digest: bytes | None = NO_DIGEST if next_index == 1 else None
        self._held: dict[int, Entry] = {}
        self._held_bytes = 0

    @property
    def caught_up(self) -> bool:
        """Whether everything up to the known high-water mark has been delivered."""
        return self.high_water >= 0 and self.next_index > self.high_water

    @property
    def lag(self) -> int:
        """Committed messages known to be that were not delivered yet."""
        return max(0, self.end_sequence - max(1, self.next_sequence))

    @property
    def missing(self) -> int:
        """The index from which to fetch, 0 if nothing is missing."""
        return self.next_index if self.next_index <= self.high_water else 0

    def take_live(self, data: bytes, delivered: list[Entry]) -> None:
        """Take one message of a publisher; what can be delivered is added to `delivered`.

        Raises IslandError for an entry that contradicts what was delivered.
        """
        try:
            if data[:4] == HEARTBEAT_MAGIC:
                self._hear(data)
            else:
                self._place(data, delivered)
        except EnvelopeError:
            return  # damaged on the way: a loss like any other

    def take_fetched(self, entries: Sequence[Entry], high_water: int, delivered: list[Entry]) -> None:
        """Take a range from a replayer, and the mark that it told. Raises IslandError as `take_live` does."""
        self.high_water = max(self.high_water, high_water)
        for entry in entries:
            if entry.index == self.next_index and self._is_ours(entry.cluster):
                self._deliver(entry, delivered)
        for index in [index for index in self._held if index < self.next_index]:
            self._held_bytes -= len(self._held.pop(index).data)

    def watch(self) -> bool:
        """Whether the source has just been left for the next one. Call it at least every 100 ms."""
        if self._now_ms() - self._heard_ms <= SILENCE_MS:
            return False
        self._heard_ms = self._now_ms()
        if self._sources == 1 or self._arbitrate:
            return False
        self.current = (self.current + 1) % self._sources
        self._source_index = -1
        self.switches += 1
        return True

    def _is_ours(self, cluster: bytes) -> bool:
        if not self._cluster:
            self._cluster = cluster
        return cluster == self._cluster

    def _hear(self, data: bytes) -> None:
        beat = decode_heartbeat(data)
        if beat.stale or not self._is_ours(beat.cluster):
            return  # not heard from: unless it recovers, `watch` leaves it
        self._progress_of_source(beat.index)
        if beat.index >= self.high_water:
            self.high_water = beat.index
            self.end_sequence = max(self.end_sequence, beat.next_sequence)
            if self.next_index == beat.index + 1:
                self.next_sequence = beat.next_sequence

    def _progress_of_source(self, index: int) -> None:
        """A source counts as heard while it is level with what is known, or comes nearer."""
        if index >= self.high_water or index > self._source_index:
            self._heard_ms = self._now_ms()
        self._source_index = max(self._source_index, index)

    def _place(self, data: bytes, delivered: list[Entry]) -> None:
        index = int.from_bytes(data[40:48], "little")
        if index != self.next_index and (index < self.next_index or index in self._held):
            if self._is_ours(data[16:32]):
                self._progress_of_source(index)
            return
        entry = decode_entry(data)
        if not self._is_ours(entry.cluster):
            return
        self._progress_of_source(index)
        if index > self.high_water:
            self.high_water = index
            self.end_sequence = entry.next_sequence
        if index == self.next_index:
            self._deliver(entry, delivered)
        elif self._held_bytes < HELD_BYTES_MAX:
            self._held[index] = entry
            self._held_bytes += len(data)

    def _deliver(self, entry: Entry, delivered: list[Entry]) -> None:
        """Deliver an entry, and those held that follow it."""
        while True:
            assert entry.index == self.next_index, (entry.index, self.next_index)
            self._check_chain(entry)
            delivered.append(entry)
            self.next_index = entry.index + 1
            self.next_sequence = entry.next_sequence
            held = self._held.pop(self.next_index, None) if self._held else None
            if held is None:
                return
            self._held_bytes -= len(held.data)
            entry = held

    def _check_chain(self, entry: Entry) -> None:
        if self._last_digest is not None and entry.previous != self._last_digest:
            raise IslandError(
                f"entry {entry.index} of the stream follows an entry with digest {entry.previous.hex()}, but the one "
                f"that was delivered before it has {self._last_digest.hex()}: this is another log, or it was set "
                "back; start this process again from its beginning"
            )
        self._last_digest = entry.digest
