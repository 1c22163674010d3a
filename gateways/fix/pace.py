"""How many messages a session may send in a second: more of them wait."""


class Pace:
    """As many at once as in a second, and then so many a second; 0: as many as come. Times are monotonic."""

    __slots__ = ("_left", "_per_s", "_since_ms")

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._left = per_s * 1000
        """Thousandths of a message."""
        self._since_ms = 0

    def has_room(self, now_ms: int) -> bool:
        """Whether a message may be taken now."""
        if not self._per_s:
            return True
        self._left = min(self._per_s * 1000, self._left + (now_ms - self._since_ms) * self._per_s)
        self._since_ms = now_ms
        return self._left >= 1000

    def took(self) -> None:
        """A message was taken."""
        self._left -= 1000 if self._per_s else 0
