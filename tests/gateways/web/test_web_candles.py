"""Candles are what a naive reader of all trades would say, of each interval."""

from hypothesis import given
from hypothesis import strategies as st

from gateways.marketdata.protocol import TradeDone
from gateways.web.candles import DAY_MINUTES, INTERVALS, MINUTE_NS, Candle, Candles

trades = st.lists(st.tuples(st.integers(0, 400 * MINUTE_NS), st.integers(1, 99), st.integers(1, 9)), max_size=40).map(
    lambda found: [TradeDone(n, at, price, lots, 1, 1, 2) for n, (at, price, lots) in enumerate(sorted(found))]
)


def naive(found: list[TradeDone], begin: int) -> Candle:
    prices = [trade.price for trade in found]
    notional = sum(trade.price * trade.quantity for trade in found)
    volume = sum(trade.quantity for trade in found)
    return Candle(begin, prices[0], max(prices), min(prices), prices[-1], volume, notional, len(found))


@given(trades, st.sampled_from(INTERVALS), st.integers(1, 9))
def test_candles_of_each_interval(found: list[TradeDone], interval: int, count: int):
    """The latest ones, the oldest first; none where there was no trade."""
    groups: dict[int, list[TradeDone]] = {}
    for trade in found:
        minute = trade.time_ns // MINUTE_NS
        groups.setdefault(minute - minute % interval, []).append(trade)
    expected = [naive(group, begin) for begin, group in groups.items()][-count:]
    assert Candles(found).latest(interval, count) == expected


@given(trades)
def test_a_day(found: list[TradeDone]):
    """The 24 hours up to the latest trade."""
    late = [TradeDone(99, 3 * DAY_MINUTES * MINUTE_NS // 2, 50, 1, 1, 1, 2)] if found else []
    everything = found + late
    day = Candles(everything).day()
    if not everything:
        assert day is None
        return
    last = everything[-1].time_ns // MINUTE_NS
    inside = [trade for trade in everything if trade.time_ns // MINUTE_NS > last - DAY_MINUTES]
    assert day == naive(inside, inside[0].time_ns // MINUTE_NS)
