"""Sequenced time never decreases, never jumps, and finds back to true time."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sequencer.clock import SLEW_PER_MILLE, SequencedClock

SECOND = 1_000_000_000


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, SECOND)), min_size=1, max_size=50))
def test_time_never_decreases_and_moves_at_most_a_little_faster_than_it_passes(readings):
    """Whatever the wall clock says, a stamp follows the last by at most what passed plus the slew."""
    clock, monotonic_ns = SequencedClock(0, readings[0][0], 0), 0
    stamps = [(clock.stamp(readings[0][0], 0), 0)]
    for wall_ns, passed_ns in readings[1:]:
        monotonic_ns += passed_ns
        stamps.append((clock.stamp(wall_ns, monotonic_ns), passed_ns))
    steps = [(after - before, passed) for (before, _), (after, passed) in itertools.pairwise(stamps)]

    assert all(0 <= step <= passed + passed * SLEW_PER_MILLE // 1000 for step, passed in steps)


def test_a_jump_of_the_wall_clock_is_counted_and_not_followed():
    """An hour forward or back moves sequenced time by no more than the slew."""
    clock = SequencedClock(0, 10_000 * SECOND, 0)
    start = clock.stamp(10_000 * SECOND, 0)
    later = clock.stamp(13_600 * SECOND, SECOND)

    assert (later - start, clock.jumps) == (SECOND + SECOND * SLEW_PER_MILLE // 1000, 1)


def test_a_small_offset_is_worn_off():
    """Ten ms of difference are gone after a few seconds."""
    clock = SequencedClock(0, 10_000 * SECOND, 0)
    clock.stamp(10_000 * SECOND, 0)
    for second in range(1, 6):
        stamp = clock.stamp(10_000 * SECOND + second * SECOND + SECOND // 100, second * SECOND)

    assert stamp == 10_005 * SECOND + SECOND // 100


def test_a_new_leader_never_goes_behind_the_log():
    """A process starts at the later of the log's end and its wall clock, and goes along with what it follows."""
    clock = SequencedClock(50 * SECOND, 40 * SECOND, 0)
    clock.follow(60 * SECOND, monotonic_ns=0, fresh=False)

    assert clock.stamp(40 * SECOND, 0) == 60 * SECOND


def test_a_follower_whose_wall_clock_jumped_leads_without_a_jump():
    """It goes by the times that the leader before it gave, and by its own monotonic clock."""
    clock = SequencedClock(0, 10_000 * SECOND, 0)
    clock.follow(10_001 * SECOND, monotonic_ns=SECOND, fresh=False)
    stamp = clock.stamp(99_999 * SECOND, 3 * SECOND)

    assert stamp - 10_003 * SECOND == 2 * SECOND * SLEW_PER_MILLE // 1000


def test_a_jump_before_the_first_entry_does_not_show():
    """What counts is the wall clock at the start of the process."""
    clock = SequencedClock(0, 10_000 * SECOND, 0)

    assert clock.stamp(13_600 * SECOND, SECOND) - 10_001 * SECOND == SECOND * SLEW_PER_MILLE // 1000


def test_what_a_leader_stamped_a_moment_ago_goes_before_the_wall_clock():
    """A host that began an hour ahead goes along with its leader; the time of an old entry proves nothing."""
    clock = SequencedClock(0, 13_600 * SECOND, 0)
    clock.follow(10_000 * SECOND, monotonic_ns=0, fresh=False)
    before = clock.last_ns
    clock.follow(10_000 * SECOND, monotonic_ns=0, fresh=True)

    assert (before, clock.last_ns) == (13_600 * SECOND, 10_000 * SECOND)
