"""Sequenced time: close to true time, never decreasing, never jumping.

    wall clock --+
                 +--> SequencedClock.stamp --> ns since the epoch, for the next entry
    monotonic ---+

Between two stamps sequenced time moves as the monotonic clock does, and leans towards the wall clock
by at most SLEW of what passed. A wall clock that is further off than `jump_ns` is not believed: the
jump is counted for the operator, and sequenced time goes on leaning towards it slowly. A follower goes
along with the times that its leader gives, so a new leader's wall clock makes no jump either, not even one
that was wrong when its process started. The time of an entry that is not fresh is only a lower bound.
"""

SLEW_PER_MILLE = 5
"""Sequenced time runs at most this much faster or slower than the monotonic clock: 5 ms a second."""

JUMP_NS = 250_000_000


class SequencedClock:
    """Turns two unreliable clocks into one that entries can carry. Pure: the readings are passed in."""

    def __init__(self, last_ns: int, wall_ns: int, monotonic_ns: int) -> None:
        # When a process starts there is only the log and the wall clock to go by; later jumps are seen.
        self._last_ns = max(last_ns, wall_ns)
        self._monotonic_ns = monotonic_ns
        self._apart_ns = wall_ns - monotonic_ns
        self.offset_ns = 0
        """Wall clock minus sequenced time at the last stamp."""
        self.jumps = 0
        """How often the wall clock moved by more than JUMP_NS against the monotonic one."""

    @property
    def last_ns(self) -> int:
        """The latest sequenced time."""
        return self._last_ns

    def follow(self, time_ns: int, monotonic_ns: int, *, fresh: bool) -> None:
        """An entry has come that another leader stamped, if `fresh` a moment ago: go on from its time from here on."""
        if fresh or time_ns > self._last_ns:
            self._last_ns, self._monotonic_ns = time_ns, monotonic_ns

    def stamp(self, wall_ns: int, monotonic_ns: int) -> int:
        """The time of an entry made now."""
        self._last_ns += self._advance(wall_ns, max(0, monotonic_ns - self._monotonic_ns))
        self._monotonic_ns = monotonic_ns
        self._watch_for_jumps(wall_ns - monotonic_ns)
        return self._last_ns

    def _advance(self, wall_ns: int, passed_ns: int) -> int:
        self.offset_ns = wall_ns - (self._last_ns + passed_ns)
        slew_ns = passed_ns * SLEW_PER_MILLE // 1000
        return passed_ns + max(-slew_ns, min(slew_ns, self.offset_ns))

    def _watch_for_jumps(self, apart_ns: int) -> None:
        if abs(apart_ns - self._apart_ns) > JUMP_NS:
            self.jumps += 1
        self._apart_ns = apart_ns
