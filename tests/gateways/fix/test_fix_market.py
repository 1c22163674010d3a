"""Market data in FIX: whoever applies what it is told has the book, at its depth, and every trade."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.messages import Side
from gateways.fix.codec import encode, parse
from gateways.fix.market import BID, OFFER, Market
from gateways.marketdata.feeds import Feed
from gateways.marketdata.protocol import LevelChanged, TradeDone
from gateways.names import Directory, Instrument
from tests.gateways.fix.test_fix_sessions import last, stage  # noqa: F401 - a fixture
from tests.models.fix_stage import Counterparty, Stage

I1 = Instrument(1, "I1", "USD", 1, 2, 1, 0)
NAMES = Directory([I1])

changes = st.builds(
    LevelChanged,
    st.sampled_from([int(Side.BUY), int(Side.SELL)]),
    st.integers(90, 110),
    st.integers(1, 9),
    st.integers(0, 3),
)


def request(depth: int, *, kind: int = 1, update: int = 1, entries: str = "012", symbol: str = "I1"):
    types = [(269, entry) for entry in entries]
    fields = [(262, "m"), (263, kind), (264, depth), (265, update), (267, len(types)), *types, (146, 1), (55, symbol)]
    return parse(encode("V", "34=2\x01", fields))


class Reader:
    """A book made of nothing but the messages."""

    def __init__(self) -> None:
        self.book: dict[tuple[str, str], str] = {}
        self.trades: list[tuple[str, str]] = []

    def take(self, report: tuple[str, list[tuple[int, object]]]) -> None:
        kind, fields = report
        if kind == "W":
            self.book.clear()
        entries: list[dict[int, str]] = []
        first = 269 if kind == "W" else 279
        for tag, value in fields:
            if tag == first:
                entries.append({})
            if entries:
                entries[-1][tag] = str(value)
        for entry in entries:
            key = (entry[269], entry[270])
            if entry[269] == "2":
                self.trades.append((entry[270], entry[271]))
            elif entry.get(279) == "2":
                del self.book[key]
            else:
                assert (key in self.book) == (entry.get(279) == "1")
                self.book[key] = entry[271]


def expected(feed: Feed, depth: int) -> dict[tuple[str, str], str]:
    made = {}
    for kind, side in ((BID, feed.levels.view.buys), (OFFER, feed.levels.view.sells)):
        prices = sorted(side, reverse=kind == BID)[: depth or None]
        made |= {(kind, I1.price_text(price)): I1.quantity_text(side[price][0]) for price in prices}
    return made


@given(st.lists(st.lists(changes, max_size=6), max_size=12), st.integers(0, 4), st.integers(0, 1))
def test_a_reader_has_the_book(steps: list[list[LevelChanged]], depth: int, update: int):
    """Incrementally or by whole books, at any depth; told often or seldom."""
    market, reader, feed = Market(), Reader(), Feed("I1")
    assert market.request(request(depth, update=update), NAMES) is None
    for number, step in enumerate(steps):
        feed.levels.view.apply(step)
        trades = [TradeDone(number, 0, 100, 1 + number, 1, 1, 2)]
        for report in market.tell(feed, trades, I1):
            reader.take(report)
        assert reader.book == expected(feed, depth)
    assert reader.trades == [("1.00", str(1 + number)) for number in range(1, len(steps))]


def test_a_snapshot_is_told_once():
    """And then nothing follows."""
    market, feed = Market(), Feed("I1")
    market.request(request(0, kind=0), NAMES)
    assert market.waits_for("I1")
    assert [kind for kind, _ in market.tell(feed, [], I1)] == ["W"]
    feed.levels.view.apply([LevelChanged(1, 100, 5, 1)])
    assert market.tell(feed, [], I1) == []
    assert market.symbols == set()


def test_what_is_not_wanted_any_more_is_not_told():
    """An unsubscription names the MDReqID."""
    market, feed = Market(), Feed("I1")
    market.request(request(1), NAMES)
    market.tell(feed, [], I1)
    market.request(request(1, kind=2), NAMES)
    feed.levels.view.apply([LevelChanged(1, 100, 5, 1)])
    assert market.tell(feed, [], I1) == []


@pytest.mark.parametrize(
    ("again", "why"), [(request(1, symbol="I9"), "0"), (request(1), "1"), (request(1, update=1), "1")]
)
def test_what_cannot_be_followed_is_rejected(again, why: str):
    """With the standard's reason."""
    market = Market()
    market.request(request(1), NAMES)
    kind, fields = market.request(again, NAMES)
    assert (kind, dict(fields)[281]) == ("Y", why)


def test_the_session_passes_it_on(stage: Stage, tmp_path: Path):  # noqa: F811
    """A reject at once, a snapshot when the book is there, and gaps in its place where it is asked for again."""
    ann = Counterparty(stage, "ANN")
    ann.log_on()
    ann.send("V", (262, "x"), (263, 0), (264, 1), (267, 1), (269, 0), (146, 1), (55, "I9"))
    assert last(ann, "Y")[281] == "0"
    ann.send("V", (262, "y"), (263, 0), (264, 1), (267, 1), (269, 0), (146, 1), (55, "I1"))
    stage.settle()
    assert stage.gateway.followed == {"I1"}
    assert stage.gateway.waits_for("I1")
    feed = Feed("I1")
    feed.levels.view.apply([LevelChanged(1, 100, 5, 1)])
    stage.gateway.tell_market([feed])
    told = last(ann, "W")
    assert (told[262], told[268], told[270], told[271]) == ("y", "1", "1.00", "5")
    ann.send("2", (7, 2), (16, 0))
    stage.settle()
    assert [one.type for one in ann.heard[-2:]] == ["Y", "4"]
