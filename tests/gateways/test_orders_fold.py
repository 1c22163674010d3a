"""Orders: what becomes of every command."""

import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from engines import messages as m
from gateways import events as e
from gateways.names import Directory
from gateways.orders import Orders, runs
from sequencer.envelope import Entry
from tests.models.island import Island

BUY, SELL = m.Side.BUY, m.Side.SELL
SET = m.SetInstrument(9, 1, "BTC-USD", "USD", 1, 2, 1, 8)


def new(client_id: int, number: int, order: str, side: int = BUY, *terms: int) -> m.NewOrder:
    return m.NewOrder(client_id, number, 1, order, side, *(terms or (100, 5)))


def fold(log: list[Entry], orders: Orders | None = None) -> list[e.Event | e.Trade]:
    orders = orders or Orders()
    return [
        event
        for entry in log
        for first_sequence, channel, messages in runs(entry)
        for event in orders.apply(first_sequence, entry.time_ns, channel, messages)
    ]


def happened(*commands: m.Message) -> list[e.Event | e.Trade]:
    """What follows from commands that are sequenced one by one."""
    island = Island()
    for command in commands:
        island.sequence([command])
    return fold(island.log)


def kinds(events: list[e.Event | e.Trade]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_an_event_says_all_about_its_order():
    """An OrderAccepted carries its place, its time, the command's number and the order."""
    island = Island()
    island.sequence([new(3, 8, "a1")])

    assert fold(island.log) == [e.OrderAccepted(3, 3000, 3, 8, 1, "a1", 1, BUY, 100, 5, 5, total=5)]


def test_a_trade_knows_both_sides():
    """Each side of a trade is a fill at the maker's price with what is left of its order."""
    *_, trade = happened(new(1, 1, "m", SELL, 99, 5), new(2, 1, "t", BUY, 101, 3))

    assert isinstance(trade, e.Trade)
    assert (trade.maker.client_order_id, trade.maker.price, trade.maker.leaves, trade.maker.is_maker) == (
        "m",
        99,
        2,
        True,
    )
    assert (trade.taker.client_order_id, trade.taker.price, trade.taker.leaves, trade.taker.is_maker) == (
        "t",
        99,
        0,
        False,
    )


def test_an_event_says_how_the_order_stands():
    """Its total, what has traded and for how much, through a replace to the end; and what the client called it."""
    fills = [new(2, 1, "x", SELL, 99, 2), new(2, 2, "y", SELL, 100, 3)]
    replace = m.ReplaceOrder(1, 2, 1, "a", 100, 9, "b")
    events = happened(new(1, 1, "a", BUY, 100, 7), *fills, replace, m.CancelOrder(1, 3, 1, "b", "c"))
    told = [event.maker if isinstance(event, e.Trade) else event for event in events]
    assert [(type(one), one.total, one.traded, one.notional, one.request_id) for one in told if one.client_id == 1] == [
        (e.OrderAccepted, 7, 0, 0, ""),
        (e.Fill, 7, 2, 200, ""),
        (e.Fill, 7, 5, 500, ""),
        (e.OrderReplaced, 9, 5, 500, "b"),
        (e.OrderCanceled, 9, 5, 500, "c"),
    ]
    refused = happened(
        m.CancelOrder(1, 1, 1, "a", "c"), m.ReplaceOrder(1, 2, 1, "a", 1, 1, "d"), m.CancelAll(1, 3, 1, 0, "e")
    )
    assert [one.request_id for one in refused] == ["c", "d", "e"]


def test_a_cancel_is_answered_by_what_it_canceled():
    """The OrderCanceled of a requested cancel carries the cancel's number; one of a mass cancel does not."""
    asked = happened(new(1, 1, "a"), m.CancelOrder(1, 2, 1, "a"))
    swept = happened(new(1, 1, "a"), m.CancelAll(9, 1, 1, 0))

    assert [(event.client_id, event.number) for event in asked[1:]] == [(1, 2)]
    assert [(type(event), event.client_id, event.number) for event in swept[1:]] == [
        (e.OrderCanceled, 1, 0),
        (e.MassCanceled, 9, 1),
    ]


def test_a_replace_may_change_the_id():
    """OrderReplaced has the new client order id and the one before; later events have the new one."""
    replaced, canceled = happened(
        new(1, 1, "a"), m.ReplaceOrder(1, 2, 1, "a", 101, 7, "b"), m.CancelOrder(1, 3, 1, "b")
    )[1:]

    assert (replaced.client_order_id, replaced.previous_client_order_id, replaced.number) == ("b", "a", 2)
    assert (canceled.client_order_id, canceled.price, canceled.quantity) == ("b", 101, 7)


def test_a_replace_below_what_traded_is_answered_by_the_cancel():
    """OrderCanceled(replaced_below_traded) carries the replace's number."""
    last = happened(new(1, 1, "m", SELL, 99, 5), new(2, 1, "t", BUY, 99, 3), m.ReplaceOrder(1, 2, 1, "m", 99, 2))[-1]

    assert (type(last), last.number, last.reason) == (e.OrderCanceled, 2, m.Reason.REPLACED_BELOW_TRADED)


def test_a_void_batch_is_an_event_and_nothing_else():
    """Commands that nobody can read are not awaited."""
    island, orders = Island(), Orders()
    island.submit("gateway.x", m.ENCODER.encode([new(1, 1, "a")]), 2)
    island.submit("gateway.x", b"\xc1", 1)

    assert kinds(fold(island.log, orders)) == ["BatchRejected", "BatchRejected"]
    assert not orders.pending


clients = st.integers(1, 3)
order_ids = st.sampled_from(["a", "b", "c"])
commands = st.one_of(
    st.builds(
        new,
        clients,
        st.just(0),
        order_ids,
        st.sampled_from([BUY, SELL]),
        st.integers(98, 102),
        st.integers(0, 9),
    ),
    st.builds(m.CancelOrder, clients, st.just(0), st.just(1), order_ids),
    st.builds(
        m.ReplaceOrder,
        clients,
        st.just(0),
        st.just(1),
        order_ids,
        st.integers(98, 102),
        st.integers(1, 9),
        order_ids,
    ),
    st.builds(m.CancelAll, clients, st.just(0), clients, st.just(0)),
    st.builds(m.BlockClient, st.just(9), st.just(0), clients),
    st.builds(m.SetCredit, st.just(9), st.just(0), clients, st.just("USD"), st.integers(-1, 5), st.just(0)),
    st.builds(m.HaltInstrument, st.just(9), st.just(0), st.integers(0, 2)),
    st.builds(m.Tick),
)


def numbered(batches: list[list[m.Message]]) -> list[list[m.Message]]:
    """Give each client's commands their numbers; Ticks have none."""
    last: dict[int, int] = {}
    for command in (command for batch in batches for command in batch):
        if type(command) is not m.Tick:
            command.number = last[command.client_id] = last.get(command.client_id, 0) + 1
    return batches


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(commands, min_size=1, max_size=6), max_size=12).map(numbered))
def test_every_command_is_answered_once(batches: list[list[m.Message]]):
    """Exactly one event carries a command's number; at the end only live orders are kept."""
    island, orders = Island(), Orders()
    for batch in [[SET], *batches]:
        island.sequence(batch)
    found = fold(island.log, orders)
    events = [event for event in found if not isinstance(event, e.Trade)]

    asked = [(c.client_id, c.number) for batch in [[SET], *batches] for c in batch if type(c) is not m.Tick]
    assert sorted((event.client_id, event.number) for event in events if event.number) == sorted(asked)
    assert not orders.pending
    assert {id_: order.leaves for id_, order in orders.live.items()} == {
        resting.order_id: resting.leaves for resting in island._answers.book
    }


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(commands, min_size=1, max_size=6), max_size=12).map(numbered))
def test_a_line_is_json_in_log_order(batches: list[list[m.Message]]):
    """Every event makes one JSON line with its place, time and type, in log order."""
    island = Island()
    for batch in [[SET], *batches]:
        island.sequence(batch)
    names = Directory()
    names.apply(m.DECISIONS, [m.ClientRegistered(1, client, f"C{client}") for client in (1, 2, 3, 9)])
    found = [json.loads(e.line(event, names)) for event in fold(island.log)]

    assert [line["sequence"] for line in found] == sorted(line["sequence"] for line in found)
    assert all(list(line)[:3] == ["sequence", "time_ns", "type"] for line in found)


def test_the_lines_of_a_trade_have_the_contract_s_fields():
    """Names, decimal strings, lower-case sides and reasons, as flow files promise."""
    island = Island()
    for command in (
        m.RegisterClient(0, 0, "C1"), m.RegisterClient(0, 0, "C2"), SET, new(1, 1, "m", SELL, 7831800, 150_000_000),
        new(2, 1, "t", BUY, 7831900, 50_000_000), m.CancelOrder(2, 2, 1, "t"),
    ):  # fmt: skip
        island.sequence([command])
    names = Directory()
    lines = []
    for entry in island.log:
        for _first_sequence, channel, messages in runs(entry):
            names.apply(channel, messages)
    for event in fold(island.log):
        found = e.fields(event, names)
        del found["sequence"], found["time_ns"]
        lines.append(found)

    assert lines[2:] == [
        {"type": "InstrumentSet", "client": "#9", "symbol": "BTC-USD", "currency": "USD", "tick": "0.01",
         "lot": "0.00000001"},
        {"type": "OrderAccepted", "client": "C1", "client_order_id": "m", "order_id": 7, "symbol": "BTC-USD",
         "side": "sell", "price": "78318.00", "quantity": "1.50000000"},
        {"type": "OrderAccepted", "client": "C2", "client_order_id": "t", "order_id": 10, "symbol": "BTC-USD",
         "side": "buy", "price": "78319.00", "quantity": "0.50000000"},
        {"type": "Trade", "symbol": "BTC-USD", "price": "78318.00", "quantity": "0.50000000", "aggressor_side": "buy",
         "maker_client": "C1", "maker_client_order_id": "m", "maker_order_id": 7,
         "taker_client": "C2", "taker_client_order_id": "t", "taker_order_id": 10},
        {"type": "CancelRejected", "client": "C2", "client_order_id": "t", "symbol": "BTC-USD",
         "reason": "unknown_order"},
    ]  # fmt: skip


def test_an_event_survives_the_wire():
    """Every kind of report decodes to what was encoded."""
    fill = e.Fill(1, 2, 3, 0, 4, "a", 1, BUY, 100, 5, 6, 0, 11, 5, 500, "", True)
    decoder = msgspec.msgpack.Decoder(list[e.Report])

    assert decoder.decode(msgspec.msgpack.encode([fill])) == [fill]
