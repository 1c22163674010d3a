"""The stream as every process reads it, without sockets: all entries, in order, no gap, no repeat.

    publishers --heartbeats of all--> which node to follow, who leads
    publisher  --entries, lossy-----> place --> [ by index: deliver | hold | drop ]
                                                   ^
    replayer   --ranges on request--> take_fetched-+

Rules:
- An entry is delivered when its index is the next one; a later one is held, an earlier one dropped. Delivery
  never goes back: a source that lags behind delivers nothing until it has passed `next_index`.
- What is missing below the high-water mark is asked from a replayer; live entries wait meanwhile.
- A source is left when for SILENCE_MS it was silent, or said that it is stale, or was behind what is known to
  be committed without coming any nearer; or when another leads and it has not followed for GRACE_MS. With
  `arbitrate`, all are heard at once and the first copy wins; with `follow_leader`, whoever leads is followed.
- Each entry names the digest of the one before it. One that names another is not of this log: that ends
  the subscription, since something that was delivered is not what the group holds.
- What does not decode, or belongs to another group, is as good as lost.
"""

from collections.abc import Callable, Sequence

import msgspec

from sequencer.envelope import HEARTBEAT_MAGIC, NO_DIGEST, Entry, Heartbeat, decode_entry, decode_heartbeat
from sequencer.errors import EnvelopeError, IslandError

SILENCE_MS = 300
"""A publisher sends heartbeats every 100 ms; one that says nothing new for longer than this is left."""
GRACE_MS = 50
"""How long a source may take to follow a new leader."""

HELD_BYTES_MAX = 64 << 20


class _Source(msgspec.Struct):
    """What is known of one publisher. It was last good at `good_ms`: heard, and not falling behind."""

    good_ms: int
    index: int = -1
    term: int = 0


class Delivery:
    """The state of one subscription to `sources` sources. `now_ms` tells a monotonic time.

    The shell passes in the heartbeats of all sources and the entries of those that are `followed`, and
    fetches from `missing`.
    """

    def __init__(
        self,
        sources: int,
        *,
        now_ms: Callable[[], int],
        next_index: int = 1,
        previous: bytes | None = None,
        arbitrate: bool = False,
        follow_leader: bool = False,
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
        self.leader: int | None = None
        """The source that leads the group, as far as it is known."""
        self.switches = 0
        """How often a source was left."""
        self._arbitrate = arbitrate
        self._follow_leader = follow_leader
        self._now_ms = now_ms
        self._sources = [_Source(now_ms()) for _ in range(sources)]
        self._heard_ms = now_ms()
        self._committed_index = -1
        self._term = 0
        self._term_ms = 0
        self._cluster = b""
        self._last_digest: bytes | None = NO_DIGEST if next_index == 1 else previous
        self._held: dict[int, Entry] = {}
        self._held_bytes = 0

    @property
    def followed(self) -> Sequence[int]:
        """The sources whose entries are wanted."""
        return range(len(self._sources)) if self._arbitrate else (self.current,)

    @property
    def caught_up(self) -> bool:
        """Whether everything up to the known high-water mark has been delivered."""
        return self.high_water >= 0 and self.next_index > self.high_water

    @property
    def lag(self) -> int:
        """Committed messages known to be that were not delivered yet."""
        return max(0, self.end_sequence - max(1, self.next_sequence))

    @property
    def silent_ms(self) -> int:
        """For how long no source has said anything that it vouches for."""
        return self._now_ms() - self._heard_ms

    @property
    def missing(self) -> int:
        """The index from which to fetch, 0 if nothing is missing."""
        return self.next_index if self.next_index <= self.high_water else 0

    def take_live(self, source: int, data: bytes, delivered: list[Entry]) -> None:
        """Take one message of a publisher; what can be delivered is added to `delivered`.

        Raises IslandError for an entry that contradicts what was delivered.
        """
        try:
            if data[:4] == HEARTBEAT_MAGIC:
                self._hear(source, decode_heartbeat(data))
            else:
                self._place(source, data, delivered)
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
        """Whether the source has just been left for another one. Call it at least every 100 ms."""
        if len(self._sources) == 1 or self._arbitrate:
            return False
        chosen = self._choose()
        if chosen == self.current:
            return False
        self.current = chosen
        self._sources[chosen].good_ms = self._now_ms()  # it gets its time
        self.switches += 1
        return True

    # --- sources --------------------------------------------------------------------------------

    def _choose(self) -> int:
        """The source to follow from now on."""
        if self._follow_leader and self.leader is not None and self._is_good(self.leader):
            return self.leader
        if self._is_good(self.current):
            return self.current
        others = [(self.current + step) % len(self._sources) for step in range(1, len(self._sources))]
        return next((other for other in others if self._is_good(other)), others[0])

    def _is_good(self, place: int) -> bool:
        source, now_ms = self._sources[place], self._now_ms()
        follows = source.term >= self._term or now_ms - self._term_ms <= GRACE_MS
        return follows and now_ms - source.good_ms <= SILENCE_MS

    def _is_ours(self, cluster: bytes) -> bool:
        if not self._cluster:
            self._cluster = cluster
        return cluster == self._cluster

    def _hear(self, place: int, beat: Heartbeat) -> None:
        if not self._is_ours(beat.cluster):
            return
        self._note_term(place, beat.term)
        if beat.leads and beat.term == self._term:
            self.leader = place
        elif self.leader == place:
            self.leader = None
        if beat.stale:
            return  # not heard from: unless it recovers, `watch` leaves it
        self._note_progress(place, beat.index)
        if beat.index >= self.high_water and place in self.followed:
            self.high_water = beat.index
            self.end_sequence = max(self.end_sequence, beat.next_sequence)
            if self.next_index == beat.index + 1:
                self.next_sequence = beat.next_sequence

    def _note_term(self, place: int, term: int) -> None:
        source = self._sources[place]
        source.term = max(source.term, term)
        if term > self._term:
            self._term, self._term_ms = term, self._now_ms()
            self.leader = None

    def _note_progress(self, place: int, index: int) -> None:
        """A source is good while it is level with what is known, or comes nearer."""
        source = self._sources[place]
        self._heard_ms = self._now_ms()
        if index >= self._committed_index or index > source.index:
            source.good_ms = self._now_ms()
        source.index = max(source.index, index)
        self._committed_index = max(self._committed_index, index)

    # --- entries --------------------------------------------------------------------------------

    def _place(self, place: int, data: bytes, delivered: list[Entry]) -> None:
        index = int.from_bytes(data[40:48], "little")
        if index != self.next_index and (index < self.next_index or index in self._held):
            if self._is_ours(data[16:32]):
                self._note_progress(place, index)
            return
        entry = decode_entry(data)
        if not self._is_ours(entry.cluster):
            return
        self._note_progress(place, index)
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
