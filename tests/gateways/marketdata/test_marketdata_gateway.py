"""Laws of the market data gateway, over real sockets."""

import itertools
import threading
import time
from contextlib import contextmanager

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from engines import messages as m
from gateways.marketdata.books import Books
from gateways.marketdata.client import MarketDataClient, RefusedError
from gateways.marketdata.fold import fold_book
from gateways.marketdata.gateway import MarketDataGateway, Topics
from gateways.marketdata.protocol import TRADES_KEPT, Instruments, Refused, topic
from gateways.marketdata.queries import answer
from gateways.marketdata.views import DepthLevel, LevelView, OrderView, TradeView
from gateways.venue import create
from sequencer.client import Context
from sequencer.errors import IslandError, UnreachableError
from tests.models.island import Island

SYMBOL = "BTC-USD"
DEADLINE_S = 20


class Tape:
    """A stream that delivers the entries of a log in this process."""

    pending = False

    def __init__(self, log):
        self.log = log
        self.index = 0

    @property
    def caught_up(self):
        return self.index == len(self.log)

    def sockets(self):
        return []

    def receive(self):
        entries = self.log[self.index :]
        self.index += len(entries)
        return entries


def _island():
    """A log with one instrument."""
    island = Island()
    island.sequence([m.SetInstrument(1, 1, SYMBOL, "USD", 1, 2, 1, 3)])
    return island


def _order(side, price, quantity, client_order_id="x"):
    return m.NewOrder(1, 1, 1, client_order_id, side, price, quantity)


def _endpoints(tmp_path):
    return f"ipc://{tmp_path}/requests", f"ipc://{tmp_path}/updates"


@contextmanager
def _serving(island, endpoints):
    """A gateway on this log in a thread of its own."""
    stop = threading.Event()

    def serve():
        with Context() as context:
            gateway = MarketDataGateway(*endpoints, Tape(island.log), context=context)
            while not stop.is_set():
                gateway.turn()
            gateway.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(DEADLINE_S)


@contextmanager
def _client(endpoints, **options):
    with Context() as context, MarketDataClient(*endpoints, context=context, **options) as client:
        yield client


def _until(views, holds):
    """The first view of which something holds."""
    deadline_s = time.monotonic() + DEADLINE_S
    for view in views:
        if holds(view):
            return view
        assert time.monotonic() < deadline_s, f"never, up to {view}"
    raise AssertionError("the views came to an end")


def test_a_book_in_decimal_text(tmp_path):
    """A one-shot book has both sides, the best price first, with the decimals of tick and lot."""
    island = _island()
    island.sequence([_order(1, 9990, 1500, "a"), _order(1, 9991, 500, "b"), _order(2, 10001, 2, "c")])

    with _serving(island, _endpoints(tmp_path)), _client(_endpoints(tmp_path)) as client:
        book = client.book(SYMBOL)

    assert book.buys == [DepthLevel("99.91", "0.500", 1), DepthLevel("99.90", "1.500", 1)]
    assert book.sells == [DepthLevel("100.01", "0.002", 1)]
    assert book.sequence == island.position


@pytest.mark.parametrize("view", [LevelView(), OrderView()])
def test_following_shows_what_happens(tmp_path, view):
    """Who follows a book sees it as it is, and then every later change."""
    island = _island()
    island.sequence([_order(1, 9990, 1500, "a")])
    with _serving(island, _endpoints(tmp_path)), _client(_endpoints(tmp_path)) as client:
        views = client.follow(SYMBOL, view)
        _until(views, lambda view: len(view.best_first()[0]) == 1)

        island.sequence([_order(1, 9991, 7, "b")])

        shown = _until(views, lambda view: len(view.best_first()[0]) == 2)
        views.close()

    assert [(best.price, best.quantity) for best in shown.best_first()[0]] == [(9991, 7), (9990, 1500)]


def test_following_trades(tmp_path):
    """Who follows trades gets those that were and those that come."""
    island = _island()
    island.sequence([_order(1, 9990, 10, "a"), _order(2, 9990, 4, "b")])
    with _serving(island, _endpoints(tmp_path)), _client(_endpoints(tmp_path)) as client:
        views = client.follow(SYMBOL, TradeView())
        _until(views, lambda view: len(view.trades) == 1)
        island.sequence([_order(2, 9980, 5, "c")])
        shown = _until(views, lambda view: len(view.trades) == 2)
        views.close()
        asked = client.trades(SYMBOL, 1)

    assert [(trade.price, trade.quantity, trade.aggressor_side) for trade in shown.trades] == [
        (9990, 4, 2),
        (9990, 5, 2),
    ]
    assert asked == [shown.trades[-1]]


def test_a_reader_goes_on_with_the_next_gateway(tmp_path):
    """A gateway that is replaced costs its readers nothing but time, whatever they missed."""
    island = _island()
    with _client(_endpoints(tmp_path)) as client:
        with _serving(island, _endpoints(tmp_path)):
            views = client.follow(SYMBOL, LevelView())
            _until(views, lambda view: True)
        island.sequence([_order(1, 9990, 10, "a")])
        with _serving(island, _endpoints(tmp_path)):
            shown = _until(views, lambda view: 9990 in view.buys)
            views.close()

    assert shown.buys == {9990: (10, 1)}


def test_a_slow_reader_misses_updates_and_mends_its_view(tmp_path, monkeypatch):
    """A reader that stops reading loses updates, delays nobody, and sees the book as it is when it reads again."""
    monkeypatch.setattr("gateways.marketdata.gateway.READER_HWM", 5)
    monkeypatch.setattr("gateways.marketdata.client.UPDATES_HWM", 5)
    island, rounds = _island(), 5000
    with _serving(island, _endpoints(tmp_path)), _client(_endpoints(tmp_path)) as client:
        views = client.follow(SYMBOL, LevelView())
        _until(views, lambda view: True)
        for _ in range(rounds):
            island.sequence([_order(1, 9990, 10, "a")])
            island.sequence([m.CancelOrder(1, 1, 1, "a")])
        island.sequence([_order(1, 9991, 7, "b")])
        _until(iter(lambda: client.book(SYMBOL), None), lambda book: book.sequence == island.position)

        seen = itertools.count()
        shown = _until(views, lambda view: next(seen) >= 0 and 9991 in view.buys)
        views.close()

    assert shown.buys == {9991: (7, 1)}
    assert next(seen) < 2 * rounds


def test_following_ends_when_nothing_happens(tmp_path):
    """With a time limit, following a quiet book ends."""
    with _serving(_island(), _endpoints(tmp_path)), _client(_endpoints(tmp_path)) as client:
        views = list(client.follow(SYMBOL, LevelView(), timeout_s=0.2))

    assert len(views) == 1


def test_nobody_there_is_said(tmp_path):
    """A client whose gateway does not run says where it looked."""
    with _client(_endpoints(tmp_path), timeout_s=0.05) as client, pytest.raises(UnreachableError, match="requests"):
        client.instruments()


def test_an_unknown_symbol_is_refused(tmp_path):
    """A question about an instrument that is not there is answered with the reason."""
    with _serving(_island(), _endpoints(tmp_path)), _client(_endpoints(tmp_path)) as client:
        with pytest.raises(RefusedError, match=r"expected a known symbol .* got 'ETH-USD'"):
            client.book("ETH-USD")

        assert [instrument.symbol for instrument in client.instruments()] == [SYMBOL]


def test_an_endpoint_in_use_is_named(tmp_path):
    """A gateway that cannot listen says which key of the configuration to change."""
    with Context.of(create(tmp_path / "v", 1)) as context, context.socket(zmq.ROUTER) as taken:
        taken.bind("tcp://127.0.0.1:*")
        endpoint = taken.getsockopt_string(zmq.LAST_ENDPOINT)
        gateway = MarketDataGateway(endpoint, _endpoints(tmp_path)[1], Tape([]), context=context)
        with pytest.raises(IslandError, match=r"endpoints\.marketdata"):
            gateway.turn()
        gateway.close()


def test_the_fold_of_a_log_is_the_gateways_book():
    """What the log of a stopped venue holds can be shown without a gateway."""
    island = _island()
    island.sequence([_order(1, 9990, 10, "a")])
    island.submit("gateway.test", b"\xc1", 3)
    island.control()
    island.sequence([_order(2, 9990, 4, "b")])

    book = fold_book(island.log).book(SYMBOL)

    assert book.level_snapshot().buys[0].quantity == 6
    assert len(book.tape) == 1


@given(
    st.binary(max_size=60) | st.builds(m.ENCODER.encode, st.lists(st.integers(0, 40) | st.text(max_size=3), max_size=5))
)
@settings(max_examples=200, deadline=None)
def test_any_request_is_answered(frame):
    """Whatever a reader sends gets an answer: where there are no instruments, a refusal or an empty list."""
    assert isinstance(answer(Books(), frame), Refused | Instruments)


@given(st.integers(-(1 << 63), (1 << 64) - 1), st.integers(-(1 << 63), (1 << 64) - 1))
@settings(max_examples=100, deadline=None)
def test_any_number_can_be_asked_for(count, depth):
    """A count of any size gives at most what is kept; a depth of any size is answered, a negative one refused."""
    books = fold_book(_island().log)

    trades = answer(books, m.ENCODER.encode([21, 1, SYMBOL, count]))
    levels = answer(books, m.ENCODER.encode([20, 1, SYMBOL, 2, depth]))

    assert len(getattr(trades, "trades", [])) <= TRADES_KEPT
    assert isinstance(levels, Refused) == (depth < 0)


def test_topics_are_wanted_by_prefix():
    """A topic is wanted while anybody subscribes to a beginning of it; BTC-USD is none of BTC-USD-2."""
    topics = Topics()
    topics.take(b"\1" + topic("L2", SYMBOL))

    wanted = [topics.wants(topic("L2", symbol)) for symbol in (SYMBOL, SYMBOL + "-2")]
    topics.take(b"\0" + topic("L2", SYMBOL))

    assert [*wanted, topics.wants(topic("L2", SYMBOL))] == [True, False, False]
