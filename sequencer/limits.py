"""How much one key may ask of one door: a bucket for its requests, one for its bytes, one for our patience. Pure.

    frame of a key --arrive--> PASS: it is heard
                           --> OVER: it is not, and that is told; who goes on all the same
                           --> CUT:  is not even read for CUT_S, and its connection is closed

Rules
- A *request* is what costs a door something: a command, a batch, a question. A frame is one at least; what else was in
  it is charged once it has been read, and paid for before the next frame is heard.
- A bucket lets through its burst, and then its rate: never more than burst + rate x time, and all that stays below.
- Time is monotonic, and given by who asks.
- Each door counts for itself; what a key may do it may do at each of them.
"""

from enum import Enum
from typing import Final

import msgspec

BURST_S: Final = 0.25
"""How much of its rate a key may use at once, after a rest."""
BURST_REQUESTS_MIN: Final = 100.0
PATIENCE_S: Final = 2.0
"""What would take a key so long at its rate it may ask for in vain and is not cut off."""
IN_VAIN_PER_S: Final = 2000.0
"""A message in vain counts as if its key's rate were at most this: to receive it costs the same."""
PATIENCE_PER_S: Final = 0.25
"""So much of it each second gives back: who is always a quarter over its rate, or 500 messages, is not cut off."""
CUT_S: Final = 5.0
SPEAKS_S: Final = 10.0
"""A connection that has said nothing for so long does not count."""
LIMIT_MAX: Final = 10**12


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`limits` of a key in keys.toml: what is left out is as usual for its role."""

    requests_per_s: int | None = None
    bytes_per_s: int | None = None
    message_bytes: int | None = None
    """The largest frame."""
    connections: int | None = None
    """That speak at one door within SPEAKS_S."""

    def over(self, usual: "Limits") -> "Limits":
        """With what is usual in the place of what is left out."""
        return Limits(*(theirs if own is None else own for own, theirs in zip(self._all, usual._all, strict=True)))

    @property
    def problem(self) -> str:
        """What is wrong, or nothing."""
        for field, value in zip(self.__struct_fields__, self._all, strict=True):
            if value is not None and not 1 <= value <= LIMIT_MAX:
                return f"{field}: expected 1 to {LIMIT_MAX}, got {value}: leave it out for what is usual for the role"
        return ""

    @property
    def _all(self) -> tuple[int | None, ...]:
        return msgspec.structs.astuple(self)

    def __str__(self) -> str:
        units = {
            "requests_per_s": "requests/s", "bytes_per_s": "bytes/s", "message_bytes": "bytes a message",
            "connections": "connections",
        }  # fmt: skip
        fields = msgspec.structs.asdict(self).items()
        return ", ".join(f"{value:,} {units[field]}" for field, value in fields if value is not None)


class Verdict(Enum):
    """What becomes of a frame."""

    PASS = "pass"
    OVER = "over"
    CUT = "cut"


class Bucket:
    """Room for `burst`, which fills at `per_s`. May be charged below nothing."""

    __slots__ = ("_at_s", "burst", "per_s", "room")

    def __init__(self, per_s: float, burst: float, now_s: float) -> None:
        self.per_s, self.burst = per_s, burst
        self.room = burst
        self._at_s = now_s

    def take(self, amount: float, now_s: float) -> bool:
        """Whether there is room for it; then it is taken."""
        self.fill(now_s)
        if amount > self.room:
            return False
        self.room -= amount
        return True

    def charge(self, amount: float) -> None:
        """Take it, whether there is room or not: nothing more is let through until that is made up for."""
        self.room -= amount

    def give_back(self, amount: float) -> None:
        """So much of what was taken is not used."""
        self.room = min(self.burst, self.room + amount)

    def fill(self, now_s: float) -> None:
        """Let time pass."""
        if now_s > self._at_s:
            self.room = min(self.burst, self.room + (now_s - self._at_s) * self.per_s)
            self._at_s = now_s


class Meter:
    """What one key has asked of one door."""

    __slots__ = ("_bytes", "_connections", "_cut_until_s", "_excess", "limits", "requests", "told_s", "why")

    def __init__(self, limits: Limits, now_s: float) -> None:
        """`limits` leaves nothing out."""
        self.limits = limits
        self.why = ""
        """Why the last frame that was not passed was not."""
        self.told_s = -CUT_S
        """When its holder was last told so: the door's."""
        per_s, bytes_per_s = float(limits.requests_per_s or 0), float(limits.bytes_per_s or 0)
        self.requests = Bucket(per_s, max(per_s * BURST_S, BURST_REQUESTS_MIN), now_s)
        self._bytes = Bucket(bytes_per_s, max(bytes_per_s * BURST_S, float(limits.message_bytes or 0)), now_s)
        self._excess = Bucket(PATIENCE_PER_S, PATIENCE_S, now_s)
        """In seconds that what was not passed would have taken."""
        self._cut_until_s = now_s
        self._connections: dict[bytes, float] = {}

    @property
    def over_rate(self) -> str:
        """In words, for who is."""
        return f"over its rate: {self.limits.requests_per_s:,} requests/s"

    @property
    def wait_ms(self) -> int:
        """How long until half of a burst fits."""
        requests = self.requests
        return max(1, round((requests.burst / 2 - requests.room) / requests.per_s * 1000))

    def arrive(self, size: int, connection: bytes, now_s: float, *, is_read: bool = False) -> Verdict:
        """Judge a frame, for one request. Where `is_read`, what is over the rate passes too: `read` tells how much."""
        if now_s < self._cut_until_s:
            return Verdict.CUT
        why, asked = "", 0.0 if is_read else 1.0
        if size > (self.limits.message_bytes or 0):
            why = f"a message of {size:,} bytes is over its {self.limits.message_bytes:,}"
        elif not self._bytes.take(size, now_s) and not is_read:
            why = f"over its rate: {self.limits.bytes_per_s:,} bytes/s"
        elif not self._knows(connection, now_s):
            why = f"over its {self.limits.connections:,} connections"
        elif not self.requests.take(asked, now_s) and not is_read:
            why = self.over_rate
        if why:
            self.why = why
        elif not is_read or self.requests.room >= 1:
            return Verdict.PASS
        if self._excess.take(self._takes_s(size), now_s):
            return Verdict.OVER if why else Verdict.PASS
        self._cut_until_s = now_s + CUT_S
        self.why = f"{why or self.over_rate}, and went on: not heard for {CUT_S:g} s"
        return Verdict.CUT

    def charge(self, requests: int) -> None:
        """What was asked for costs so many more; a second's worth at most, so that nobody is kept waiting for long."""
        self.requests.charge(min(requests, self.requests.room + self.requests.per_s))

    def read(self, requests: int) -> int:
        """How many of the requests of a frame that was passed unread may be granted: the first ones."""
        granted = min(requests, max(0, int(self.requests.room)))
        if self._bytes.room < 1:
            granted = 0
        self.requests.charge(granted)
        return granted

    def _takes_s(self, size: int) -> float:
        return 1 / min(max(self.requests.per_s, BURST_REQUESTS_MIN), IN_VAIN_PER_S) + size / self._bytes.per_s

    def _knows(self, connection: bytes, now_s: float) -> bool:
        """Whether it is one of those that may speak; room is made by those that have fallen silent."""
        known, most = self._connections, self.limits.connections or 0
        if connection not in known and len(known) >= most:
            self._connections = known = {one: at_s for one, at_s in known.items() if now_s - at_s < SPEAKS_S}
            if len(known) >= most:
                return False
        known[connection] = now_s
        return True
