"""The example machines say what they promise, and pass the checks that a user's machine has to."""

from fractions import Fraction

import pytest

from engines import messages as m
from engines.lint import check_module
from engines.past import machine_at
from examples.positions import Positions
from examples.surveillance import LAYERS, WINDOW_NS, Surveillance
from tests.models.shards import traded


@pytest.mark.parametrize("module", ["examples.positions", "examples.surveillance"])
def test_they_pass_the_determinism_check(module: str):
    """As a machine of a user has to, before it is attached."""
    assert check_module(module) == []


@pytest.mark.parametrize("seed", range(4))
def test_profits_are_those_of_the_trades(seed: int):
    """Against a plain list of all trades: money received, less paid, plus what is held at the last price."""
    shards = traded(seed)
    log = [
        (batch.first_sequence + offset, message)
        for entry in shards.log.entries
        for batch in entry.batches()
        if batch.channel in (m.COMMANDS, m.RESULTS)
        for offset, message in enumerate(m.decode(batch.channel, batch.payload))
    ]
    orders = {sequence: message for sequence, message in log if isinstance(message, m.NewOrder)}
    trades = [message for _sequence, message in log if isinstance(message, m.Trade)]
    last = {trade.instrument_id: trade.price for trade in trades}
    expected: dict[tuple[int, int], Fraction] = {}
    for trade in trades:
        for order_id in (trade.maker_order_id, trade.taker_order_id):
            order = orders[order_id]
            sign = 1 if order.side == m.Side.BUY else -1
            gain = Fraction(sign * trade.quantity) * (last[trade.instrument_id] - trade.price)
            key = (order.client_id, order.instrument_id)
            expected[key] = expected.get(key, Fraction(0)) + gain

    assert trades
    assert machine_at(Positions(), shards.log.entries, 0).profits() == expected


def layered(cancels: int, *, after_ns: int = 1000, entered_before: bool = True) -> list[object]:
    """Client 1 enters LAYERS sells, buys from client 2, and cancels so many of the sells."""
    machine = Surveillance()
    sells = [m.NewOrder(1, number, 1, f"s{number}", m.Side.SELL, 110, 1) for number in range(1, LAYERS + 1)]
    trading = [m.NewOrder(2, 1, 1, "x", m.Side.SELL, 100, 1), m.NewOrder(1, 99, 1, "b", m.Side.BUY, 100, 1)]
    first_sell = 1 if entered_before else 101
    if entered_before:
        machine.apply(0, 1, m.COMMANDS, sells)
    machine.apply(0, 51, m.COMMANDS, trading)
    machine.apply(0, 60, m.RESULTS, [m.Trade(1, 100, 1, 51, 52)])
    if not entered_before:
        machine.apply(0, 101, m.COMMANDS, sells)
    gone = [m.OrderCanceled(first_sell + number, 0, 1, int(m.Reason.REQUESTED)) for number in range(cancels)]
    machine.apply(after_ns, 200, m.RESULTS, gone)
    return machine.alerts


def test_layers_that_go_after_a_trade_on_the_other_side_are_an_alert():
    """It names the client, the instrument, the trade and the last cancel; once."""
    (alert,) = layered(LAYERS)

    assert (alert.client, alert.instrument, alert.trade, alert.cancel) == (1, 1, 60, 200 + LAYERS - 1)


@pytest.mark.parametrize(
    "alerts",
    [layered(LAYERS - 1), layered(LAYERS, after_ns=WINDOW_NS + 1), layered(LAYERS, entered_before=False)],
    ids=["too few", "too late", "entered after the trade"],
)
def test_what_is_no_layering_is_no_alert(alerts: list[object]):
    """One layer less, a moment too late, or orders that came after the trade."""
    assert alerts == []
