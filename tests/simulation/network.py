"""Links between hosts: each direction of each pair loses, delays, repeats and reorders as its weather says.

    send(from, to, deliver) --weather of the link--> deliver(), none, one or two times, in any order

Names are those of hosts: nodes and clients alike. A link that is cut carries nothing, in that direction.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests.simulation.world import MS, Chance, World

LATENCY_NS = 200_000
"""A quiet link."""


@dataclass
class Weather:
    """How links behave at the moment, in thousandths of the messages."""

    loss: int = 0
    repeat: int = 0
    slow: int = 0
    """Messages that take up to `slow_ns` longer, and so overtake each other."""
    slow_ns: int = 40 * MS


class Network:
    """All links. What was sent arrives later, or not."""

    def __init__(self, world: World) -> None:
        self.weather = Weather()
        self.sent = 0
        self._world = world
        self._chance = Chance(world.seed, "network")
        self._cut: set[tuple[str, str]] = set()
        self._last: dict[tuple[str, str], int] = {}

    def send(self, source: str, to: str, deliver: Callable[[], None]) -> None:
        """Carry one message; a quiet link keeps the order."""
        self.sent += 1
        if (source, to) in self._cut:
            return
        weather, chance = self.weather, self._chance
        for _copy in range(2 if weather.repeat and chance.hits(weather.repeat) else 1):
            if weather.loss and chance.hits(weather.loss):
                continue
            if weather.slow and chance.hits(weather.slow):
                when_ns = self._world.now_ns + LATENCY_NS + chance.below(weather.slow_ns)
            else:
                when_ns = max(self._last.get((source, to), 0), self._world.now_ns + LATENCY_NS)
                self._last[(source, to)] = when_ns
            self._world.at(when_ns, lambda: self._arrive(source, to, deliver))

    def cut(self, source: str, to: str) -> None:
        """Let nothing pass in this direction, nor arrive that is under way."""
        self._cut.add((source, to))

    def mend(self) -> None:
        """All links carry again."""
        self._cut.clear()

    def _arrive(self, source: str, to: str, deliver: Callable[[], None]) -> None:
        if (source, to) not in self._cut:
            deliver()
