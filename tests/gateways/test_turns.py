"""What a turn of a gateway takes of the stream."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways import turns
from gateways.turns import STEP_S, Stream
from tests.models.still import Still


class Deliveries:
    """A subscriber that has these bursts to deliver, one a call."""

    def __init__(self, bursts: list[int]) -> None:
        self._left = list(bursts)
        self._next = 0
        self.silent_ms = 7

    def receive(self) -> list[int]:
        count = self._left.pop(0) if self._left else 0
        self._next += count
        return list(range(self._next - count, self._next))

    @property
    def pending(self) -> bool:
        return bool(self._left)

    @property
    def caught_up(self) -> bool:
        return not self._left


CLOCK = Still()


@given(
    bursts=st.lists(st.integers(0, 40), max_size=6),
    steps=st.lists(st.floats(0, 3 * STEP_S), min_size=1, max_size=9),
)
def test_all_is_taken_in_order_and_no_turn_takes_long(bursts: list[int], steps: list[float]):
    """A turn ends with the entry at which its time is over; what is left comes in the next ones."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(turns, "time", CLOCK)
        stream = Stream(Deliveries(bursts))  # type: ignore[arg-type]
        taken: list[object] = []
        costs = cost_of(steps)
        for _ in range(sum(bursts) + len(bursts) + 1):
            begun_s, last_s = CLOCK.now_s, 0.0
            for entry in stream.entries():
                taken.append(entry)
                last_s = costs()
                CLOCK.now_s += last_s
            assert CLOCK.now_s - begun_s - last_s < STEP_S
            if not stream.has_more:
                break

    assert taken == list(range(sum(bursts)))
    assert stream.caught_up


def cost_of(steps: list[float]) -> Callable[[], float]:
    """Each in its turn, and again."""
    place = -1

    def cost() -> float:
        nonlocal place
        place += 1
        return steps[place % len(steps)]

    return cost


def test_who_works_off_what_came_is_not_deaf(monkeypatch: pytest.MonkeyPatch):
    """It asks for no more meanwhile, and so cannot tell whether anybody speaks."""
    monkeypatch.setattr(turns, "time", CLOCK)
    stream = Stream(Deliveries([3]))  # type: ignore[arg-type]
    for _entry in stream.entries():
        CLOCK.now_s += STEP_S
    assert (stream.silent_ms, stream.has_more, stream.caught_up) == (0, True, False)
    assert list(stream.entries()) == [1, 2]
    assert (stream.silent_ms, stream.has_more, stream.caught_up) == (7, False, True)
