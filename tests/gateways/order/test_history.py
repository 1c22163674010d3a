"""How much of the past a gateway reads in one turn."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.order import history
from gateways.order.history import STEP_ENTRIES, STEP_S, OldEntries
from tests.models.running import until
from tests.models.still import Still

LOOKS = st.lists(st.tuples(st.integers(0, STEP_ENTRIES), st.floats(0, 2 * STEP_S)), max_size=20)
"""What a replayer has at a time, and how long it takes to come."""


class Past:
    """A Replay that has so many entries a step; each step moves the clock."""

    def __init__(self, first: int, looks: list[tuple[int, float]]) -> None:
        self._next, self._looks = first, list(looks)
        self.took_s: list[float] = []
        self.is_closed = False

    @property
    def done(self) -> bool:
        return not self._looks

    def step(self, entries_max: int) -> list[int]:
        count, step_s = self._looks.pop(0) if self._looks else (0, 0.0)
        assert count <= entries_max
        CLOCK.now_s += step_s
        self.took_s.append(step_s)
        self._next += count
        return list(range(self._next - count, self._next))

    def close(self) -> None:
        self.is_closed = True


CLOCK = Still()


@given(LOOKS, st.floats(0, 2 * STEP_S))
def test_all_of_the_past_comes_in_order_and_leaves_half_of_the_time_to_others(
    looks: list[tuple[int, float]], making_s: float
):
    """A turn ends with the look at which its time is over, or that finds nothing; then comes a pause as long as it
    and what was made of it, in which nothing is read."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(history, "time", CLOCK)
        past = Past(5, looks)
        old = OldEntries(lambda index: past)  # type: ignore[arg-type, return-value]
        old.follow(5)
        taken: list[object] = []
        while not math.isinf(pause_s := old.pause_s()):
            assert pause_s == pytest.approx(sum(past.took_s) + making_s * bool(past.took_s), abs=1e-6)
            past.took_s.clear()
            CLOCK.now_s += pause_s / 2
            assert not pause_s or old.step() == []
            CLOCK.now_s += pause_s / 2 + 1e-7
            taken += old.step()
            assert sum(past.took_s[:-1]) < STEP_S
            CLOCK.now_s += making_s

    assert taken == list(range(5, 5 + sum(count for count, _step_s in looks)))
    assert past.is_closed


def test_who_wants_another_place_gets_it_from_there():
    """What was being read is let go; what is wanted next, as it comes, is not opened again."""
    opened: list[Past] = []

    def open_at(index: int) -> Past:
        opened.append(Past(index, [(3, 0.0), (0, 0.0), (2, 0.0)]))
        return opened[-1]

    old = OldEntries(open_at)  # type: ignore[arg-type]
    old.follow(10)
    assert old.step() == [10, 11, 12]
    old.follow(13)
    assert len(opened) == 1
    old.follow(40)

    assert [past.is_closed for past in opened] == [True, False]
    assert until(old.step, "the pause is over") == [40, 41, 42]
