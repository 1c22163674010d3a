"""How much a key may ask for: buckets, and what a door makes of each frame."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencer.limits import CUT_S, LIMIT_MAX, PATIENCE_S, SPEAKS_S, Bucket, Limits, Meter, Verdict

LIMITS: Final = Limits(requests_per_s=1000, bytes_per_s=1 << 20, message_bytes=1 << 16, connections=4)
"""A burst is 250 requests."""
BURST: Final = 250

rates = st.floats(0.1, 1e6)
bursts = st.floats(1, 1e6)
pauses = st.floats(0, 10)
amounts = st.floats(0, 100)


@given(rates, bursts, st.lists(st.tuples(pauses, amounts), max_size=50))
def test_a_bucket_lets_through_its_burst_and_its_rate_and_no_more(
    per_s: float, burst: float, asked: list[tuple[float, float]]
):
    """Between any two moments: what was taken is at most burst + rate x time."""
    bucket, now_s = Bucket(per_s, burst, 0.0), 0.0
    taken: list[tuple[float, float]] = []
    for pause_s, amount in asked:
        now_s += pause_s
        if bucket.take(amount, now_s):
            taken.append((now_s, amount))

    for first, (begin_s, _amount) in enumerate(taken):
        total = 0.0
        for at_s, amount in taken[first:]:
            total += amount
            assert total <= burst + per_s * (at_s - begin_s) + 1e-6 * (burst + total)


@given(rates, bursts, st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_a_bucket_refuses_nothing_that_stays_below_its_rate(per_s: float, burst: float, shares: list[float]):
    """Each asks for no more than has come since the one before it, and than a burst."""
    bucket, now_s = Bucket(per_s, burst, 0.0), 0.0
    bucket.take(burst, now_s)
    for share in shares:
        now_s += share
        assert bucket.take(min(share * per_s, burst) * (1 - 1e-6), now_s)


@given(st.lists(st.tuples(st.floats(-10, 10), amounts), max_size=30))
def test_a_clock_that_goes_back_gives_nothing(asked: list[tuple[float, float]]):
    """What is told of time that has been is not paid again."""
    bucket, latest_s, total = Bucket(1.0, 10.0, 0.0), 0.0, 0.0
    for now_s, amount in asked:
        latest_s = max(latest_s, now_s)
        total += amount if bucket.take(amount, now_s) else 0.0

    assert total <= 10.0 + latest_s + 1e-6


def frames(meter: Meter, count: int, now_s: float = 0.0, size: int = 10, connection: bytes = b"a") -> list[Verdict]:
    """What becomes of so many frames at once."""
    return [meter.arrive(size, connection, now_s) for _ in range(count)]


def test_what_is_over_is_turned_away_and_in_time_it_is_heard_again():
    """A burst passes; then one frame for each thousandth of a second."""
    meter = Meter(LIMITS, 0.0)
    at_once = frames(meter, BURST + 1)

    assert at_once == [Verdict.PASS] * BURST + [Verdict.OVER]
    assert "1,000 requests/s" in meter.why
    assert frames(meter, 11, now_s=0.01) == [Verdict.PASS] * 10 + [Verdict.OVER]


def test_who_goes_on_is_cut_off_and_comes_back():
    """After what takes PATIENCE_S at its rate, in vain; nothing is judged until CUT_S have passed."""
    meter = Meter(LIMITS, 0.0)
    in_vain = int(PATIENCE_S * 1000 * 0.9)
    assert frames(meter, BURST + in_vain)[BURST:] == [Verdict.OVER] * in_vain

    frames(meter, int(PATIENCE_S * 1000 * 0.1))
    assert frames(meter, 2) == [Verdict.CUT, Verdict.CUT]
    assert "not heard" in meter.why
    assert frames(meter, 1, now_s=CUT_S * 0.99) == [Verdict.CUT]
    assert frames(meter, 1, now_s=CUT_S) == [Verdict.PASS]


def test_large_messages_in_vain_count_as_what_they_are():
    """A few of them at once, each a sixteenth of a second's bytes, are as much as thousands of small ones."""
    meter = Meter(LIMITS, 0.0)

    assert frames(meter, 80, size=1 << 16).count(Verdict.OVER) < PATIENCE_S * 16
    assert frames(meter, 1, size=1 << 16) == [Verdict.CUT]


def test_a_message_that_is_too_long_is_not_heard():
    """It tells how long it was, and how long it might have been."""
    meter = Meter(LIMITS, 0.0)

    assert frames(meter, 1, size=1 << 16) == [Verdict.PASS]
    assert frames(meter, 1, size=(1 << 16) + 1) == [Verdict.OVER]
    assert meter.why == "a message of 65,537 bytes is over its 65,536"


def test_bytes_are_counted_beside_requests():
    """Few frames, but large ones."""
    meter = Meter(LIMITS, 0.0)

    assert frames(meter, 5, size=1 << 16) == [Verdict.PASS] * 4 + [Verdict.OVER]
    assert "bytes/s" in meter.why


def test_connections_are_those_that_speak():
    """One more than a key may have is not heard, until one of them has been silent for SPEAKS_S."""
    meter = Meter(LIMITS, 0.0)
    four = [meter.arrive(1, bytes([name]), 0.0) for name in range(4)]
    fifth = meter.arrive(1, b"fifth", 1.0)

    assert (four, fifth) == ([Verdict.PASS] * 4, Verdict.OVER)
    assert meter.why == "over its 4 connections"
    assert meter.arrive(1, b"fifth", SPEAKS_S) is Verdict.PASS


@given(st.lists(st.integers(0, 600), max_size=20))
def test_of_frames_that_are_read_the_first_requests_are_granted(sizes: list[int]):
    """All together never more than a burst at one moment; and a frame is granted whole, where there is room."""
    meter, granted = Meter(LIMITS, 0.0), 0
    for size in sizes:
        if meter.arrive(10, b"a", 0.0, is_read=True) is Verdict.PASS:
            room = BURST - granted
            assert meter.read(size) == min(size, room)
            granted += min(size, room)

    assert granted <= BURST


def test_what_is_charged_is_paid_for_within_two_seconds():
    """Whatever it cost: who asked for much waits, and is not shut out."""
    meter = Meter(LIMITS, 0.0)
    meter.charge(LIMIT_MAX)

    assert frames(meter, 1, now_s=1.0) == [Verdict.OVER]
    assert frames(meter, 1, now_s=2.0) == [Verdict.PASS]


@pytest.mark.parametrize("field", Limits.__struct_fields__)
@pytest.mark.parametrize("value", [0, -1, LIMIT_MAX + 1])
def test_a_limit_that_cannot_be_says_what_was_expected(field: str, value: int):
    """And what came, and what to do."""
    assert Limits(**{field: value}).problem == (
        f"{field}: expected 1 to {LIMIT_MAX}, got {value}: leave it out for what is usual for the role"
    )


def test_what_is_left_out_is_as_usual():
    """And what is said counts, whatever is usual."""
    assert Limits(connections=7).over(LIMITS) == Limits(1000, 1 << 20, 1 << 16, 7)
    assert not Limits(1, 1, 1, LIMIT_MAX).problem
