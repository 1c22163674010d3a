"""Virtual time, and chance: everything that happens in a simulation is an event in one queue, drawn from one seed.

    at(when, do) --> queue --run--> do(), in the order of time, then of planning

The same seed gives the same events on every Python and under every PYTHONHASHSEED: chance is our own
generator, nothing depends on the order of a set, and `trace` is a digest of all that happened.
"""

import hashlib
import heapq
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

MS = 1_000_000
"""Nanoseconds; all times in the simulation are ns."""

_MASK = (1 << 64) - 1
_T = TypeVar("_T")


class Chance:
    """SplitMix64 (Steele, Lea, Flood, 2014). Streams of different names are independent of each other."""

    def __init__(self, *names: object) -> None:
        digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
        self._state = int.from_bytes(digest[:8], "little")

    def next(self) -> int:
        """64 bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)

    def below(self, limit: int) -> int:
        """0 to limit - 1."""
        return self.next() % limit

    def between(self, low: int, high: int) -> int:
        """low to high, both included."""
        return low + self.next() % (high - low + 1)

    def hits(self, per_mille: int) -> bool:
        """True so often in a thousand."""
        return self.next() % 1000 < per_mille

    def pick(self, choices: Sequence[_T]) -> _T:
        """One of them."""
        return choices[self.next() % len(choices)]

    def bytes(self, count: int) -> bytes:
        """So many bytes."""
        return b"".join(self.next().to_bytes(8, "little") for _ in range(-(-count // 8)))[:count]


class World:
    """The queue of one simulation."""

    def __init__(self, seed: int, *, tell: bool = False) -> None:
        self.seed = seed
        self.now_ns = 0
        self.events = 0
        self._tell = tell
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._planned = 0
        self._trace = hashlib.sha256()

    def at(self, when_ns: int, do: Callable[[], None]) -> None:
        """Plan something; what lies in the past happens next."""
        self._planned += 1
        heapq.heappush(self._queue, (max(when_ns, self.now_ns), self._planned, do))

    def after(self, delay_ns: int, do: Callable[[], None]) -> None:
        """Plan something for later."""
        self.at(self.now_ns + delay_ns, do)

    def run(self, until_ns: int) -> None:
        """Let everything happen that is planned up to a time."""
        queue = self._queue
        while queue and queue[0][0] <= until_ns:
            self.now_ns, _order, do = heapq.heappop(queue)
            self.events += 1
            do()
        self.now_ns = max(self.now_ns, until_ns)

    def note(self, *words: Any) -> None:
        """Write something into the trace; it is printed where somebody wants to see it."""
        line = f"{self.now_ns} {' '.join(map(str, words))}"
        self._trace.update(line.encode())
        if self._tell:
            print(f"{self.now_ns / 1e9:9.4f} {' '.join(map(str, words))}", flush=True)

    @property
    def trace(self) -> str:
        """A digest of everything that was noted."""
        return self._trace.hexdigest()
