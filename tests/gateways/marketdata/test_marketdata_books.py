"""Laws of the public books: what is told adds up to what is, however the stream is cut."""

from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines import messages as m
from gateways.marketdata.books import Books
from gateways.marketdata.protocol import LevelUpdate, OrderUpdate, TradeDone, TradeUpdate
from gateways.marketdata.views import LevelView, OrderView, TradeView
from tests.models.public_book import INSTRUMENT_SET, SYMBOL, Market

_prices = st.integers(98, 101)
_quantities = st.integers(1, 5)
_orders = st.builds(
    m.NewOrder,
    client_id=st.integers(1, 2),
    number=st.just(1),
    instrument_id=st.just(1),
    client_order_id=st.just("x"),
    side=st.sampled_from([1, 2]),
    price=_prices,
    quantity=_quantities,
    time_in_force=st.sampled_from([0] * 8 + [1, 2]),
    self_trade=st.sampled_from([0, 2]),
)
_replaces = st.tuples(st.just("replace"), st.integers(0, 9), _prices, _quantities)
_ends = st.tuples(st.sampled_from(["cancel", "expire"]), st.integers(0, 9))
_commands = st.lists(st.one_of(_orders, _orders, _replaces, _ends), min_size=8, max_size=30)


def _market(commands):
    """A market after these commands, its NewOrders by sequence number, and all that it wrote."""
    market, orders, results = Market(), {}, []
    for sequence, command in enumerate(commands, 2):
        if isinstance(command, m.NewOrder):
            orders[sequence] = command
            results += market.new(sequence, command)
        elif market.book:
            action, *terms = command
            results += getattr(market, action)(sequence, *terms)
    return market, orders, results


def _books(orders, results=()):
    """Books that know the instrument and the orders' commands, and took these results."""
    books = Books()
    books.apply(1000, 1, m.RESULTS, [INSTRUMENT_SET])
    for sequence, order in orders.items():
        books.apply(sequence, 1, m.COMMANDS, [order])
    books.apply(1001, 1, m.RESULTS, list(results))
    return books


def _cut(results, cuts):
    """The results as runs of these lengths, the last as long as it takes."""
    runs = []
    for length in cuts:
        runs.append(results[:length])
        results = results[length:]
    return [*runs, results]


def _told(books, runs):
    """All updates of these runs, one list a run."""
    sequence, updates = 1001, []
    for run in runs:
        updates.append(books.apply(sequence, 7, m.RESULTS, run))
        sequence += len(run)
    return updates


def _apply(views, updates):
    for update in updates:
        views[type(update)].apply(update.changes)


def _empty_views():
    return {LevelUpdate: LevelView(), OrderUpdate: OrderView(), TradeUpdate: TradeView()}


def _loaded_views(book):
    views = _empty_views()
    views[LevelUpdate].load(book.level_snapshot())
    views[OrderUpdate].load(book.order_snapshot())
    views[TradeUpdate].load(book.trades_snapshot())
    return views


def _state(views):
    return views[LevelUpdate].best_first(), views[OrderUpdate].best_first(), list(views[TradeUpdate].trades)


cuts = st.lists(st.integers(0, 9), max_size=8)


@given(_commands)
@settings(max_examples=250, deadline=None)
def test_the_book_is_the_markets(commands):
    """After any commands, the orders told are those that rest, in the order in which they would trade."""
    market, orders, results = _market(commands)
    book = _books(orders, results).book(SYMBOL)

    snapshot = book.order_snapshot()

    assert [(order.order_id, order.price, order.quantity) for order in snapshot.buys] == market.side(m.Side.BUY)
    assert [(order.order_id, order.price, order.quantity) for order in snapshot.sells] == market.side(m.Side.SELL)


@given(_commands, cuts)
@settings(max_examples=250, deadline=None)
def test_cutting_into_runs_changes_nothing_in_the_end(commands, cuts):
    """However the results are cut into runs, also within a command, the book comes out the same."""
    _, orders, results = _market(commands)
    whole, cut = _books(orders, results), _books(orders)

    _told(cut, _cut(results, cuts))

    assert cut.book(SYMBOL).order_snapshot().buys == whole.book(SYMBOL).order_snapshot().buys
    assert cut.book(SYMBOL).level_snapshot().sells == whole.book(SYMBOL).level_snapshot().sells


@given(_commands, cuts)
@settings(max_examples=250, deadline=None)
def test_orders_add_up_to_levels_at_any_time(commands, cuts):
    """After every run, the orders told, summed by price, are the levels told."""
    _, orders, results = _market(commands)
    views = _empty_views()

    for updates in _told(_books(orders), _cut(results, cuts)):
        _apply(views, updates)
        assert views[OrderUpdate].levels().best_first() == views[LevelUpdate].best_first()


@given(_commands, cuts)
@settings(max_examples=250, deadline=None)
def test_the_book_is_never_told_crossed(commands, cuts):
    """After every run, also one that ends within a command, the best buy told is below the best sell."""
    _, orders, results = _market(commands)
    view = LevelView()

    for updates in _told(_books(orders), _cut(results, cuts)):
        for update in updates:
            if isinstance(update, LevelUpdate):
                view.apply(update.changes)
        assert max(view.buys, default=0) < min(view.sells, default=1 << 63)


@given(_commands, cuts, st.integers(0, 8))
@settings(max_examples=250, deadline=None)
def test_a_snapshot_and_what_follows_is_the_later_snapshot(commands, cuts, at):
    """A snapshot after any run, and all updates after it, give what a snapshot at the end gives."""
    _, orders, results = _market(commands)
    books, runs = _books(orders), _cut(results, cuts)
    _told(books, runs[:at])
    views = _loaded_views(books.book(SYMBOL))

    for updates in _told(books, runs[at:]):
        _apply(views, updates)

    assert _state(views) == _state(_loaded_views(books.book(SYMBOL)))


@given(_commands, cuts)
@settings(max_examples=250, deadline=None)
def test_changes_are_numbered_without_gaps(commands, cuts):
    """The changes of each channel are numbered 1, 2, 3, ..., and a heartbeat tells the next number."""
    _, orders, results = _market(commands)
    books, numbers = _books(orders), {LevelUpdate: 0, OrderUpdate: 0, TradeUpdate: 0}

    for update in chain(*_told(books, _cut(results, cuts))):
        assert update.first_number == numbers[type(update)] + 1
        numbers[type(update)] += len(update.changes)

    beats = books.book(SYMBOL).heartbeats()
    assert {type(beat): beat.first_number - 1 for beat in beats} == numbers


@given(_commands, cuts)
@settings(max_examples=100, deadline=None)
def test_nothing_is_told_that_did_not_change(commands, cuts):
    """Every level change differs from what was told of that price, and every order is removed at most once."""
    _, orders, results = _market(commands)
    told = {}

    for update in chain(*_told(_books(orders), _cut(results, cuts))):
        if isinstance(update, LevelUpdate):
            for change in update.changes:
                state = (change.quantity, change.orders)
                assert told.get((change.side, change.price), (0, 0)) != state
                told[change.side, change.price] = state


@given(_commands, cuts)
@settings(max_examples=100, deadline=None)
def test_every_trade_is_told_once(commands, cuts):
    """The trades told are the market's, in its order, with the side of the taker."""
    _, orders, results = _market(commands)
    updates = chain(*_told(_books(orders), _cut(results, cuts)))

    told = [trade for update in updates if isinstance(update, TradeUpdate) for trade in update.changes]

    assert told == [
        TradeDone(1001 + at, 7, trade.price, trade.quantity, orders[trade.taker_order_id].side,
                  trade.maker_order_id, trade.taker_order_id)
        for at, trade in enumerate(results) if isinstance(trade, m.Trade)
    ]  # fmt: skip


def _order(side, price, quantity, **terms):
    return m.NewOrder(1, 1, 1, "x", side, price, quantity, **terms)


@pytest.mark.parametrize("terms", [{"time_in_force": 1}, {"time_in_force": 2}, {"order_type": 1}])
def test_an_order_that_may_not_rest_is_never_told(terms):
    """An IOC, FOK or market order whose cancel comes in another run is not in the book in between."""
    books = _books({10: _order(1, 100, 5, **terms)})

    told = _told(books, [[m.OrderAccepted(10)], [m.OrderCanceled(10, 10, 5, 2)]])

    assert told == [[], []]


def test_an_order_that_comes_and_goes_in_a_run_is_not_told():
    """A new order and its cancel in one run leave no trace."""
    books = _books({10: _order(1, 100, 5)})

    assert _told(books, [[m.OrderAccepted(10), m.OrderCanceled(10, 11, 5, 1)]]) == [[]]


def test_answered_commands_are_forgotten():
    """What is accepted or rejected does not wait any more, and what is gone is not remembered."""
    books = _books({10: _order(1, 100, 5), 11: _order(1, -1, 5)})

    _told(books, [[m.OrderAccepted(10), m.OrderRejected(11, m.Reason.INVALID_PRICE), m.OrderCanceled(10, 12, 5, 1)]])

    assert (books._pending, books._orders) == ({}, {})


def test_no_client_is_told():
    """Nothing in what is sent holds a client's id or its own order id."""
    order = m.NewOrder(987654321, 123456789, 1, "SECRET-ID", 1, 100, 5)
    books = _books({10: order}, [m.OrderAccepted(10)])

    sent = m.ENCODER.encode([books.book(SYMBOL).order_snapshot(), books.book(SYMBOL).level_snapshot()])

    assert b"SECRET-ID" not in sent
    assert (987654321).to_bytes(4) not in sent
    assert (123456789).to_bytes(4) not in sent


def test_halts_are_known():
    """An instrument is halted from its halt to its resumption."""
    books = _books({})

    books.apply(2000, 1, m.RESULTS, [m.InstrumentHalted(1, 1)])
    halted = set(books.halted)
    books.apply(2001, 1, m.RESULTS, [m.InstrumentResumed(2, 1)])

    assert (halted, books.halted) == ({1}, set())
