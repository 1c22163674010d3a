"""The public books against the matching machine itself, over whole generated flows."""

import msgspec
import pytest

from engines import messages as m
from engines.matching import Matching
from engines.matching.machine import State
from gateways.flow import generate
from gateways.flow.lines import CancelOrder, OrderLine, ReplaceOrder, parse
from gateways.marketdata.books import Books
from gateways.marketdata.protocol import LevelUpdate, OrderUpdate
from gateways.marketdata.views import LevelView, OrderView

RUN_LENGTH = 97
RESULTS_MAX = 16


def _command(line, instrument, client_id):
    """The message of an order's line."""
    place = (client_id, 1, instrument.instrument_id, line.client_order_id)
    if isinstance(line, CancelOrder):
        return m.CancelOrder(*place)
    price, quantity = instrument.ticks(line.price), instrument.lots(line.quantity)
    if isinstance(line, ReplaceOrder):
        return m.ReplaceOrder(*place, price, quantity)
    return m.NewOrder(
        *place, m.Side[line.side.upper()], price, quantity, m.OrderType[line.order_type.upper()],
        m.TimeInForce[line.time_in_force.upper()], line.expire_at, line.post_only, m.SelfTrade[line.self_trade.upper()],
    )  # fmt: skip


def _commands(books, machine, instruments):
    """The commands of a flow, once the machine and the books know its instruments."""
    lines = [parse(text, 1) for text in generate.lines(5, 6000, instruments, 4)]
    for at, line in enumerate(lines[:instruments], 1):
        new = m.SetInstrument(1, at, line.symbol, line.currency, 1, 2, 1, 8)
        books.apply(at, at, m.RESULTS, machine.apply(at, at, m.COMMANDS, [new]))
    orders = [line for line in lines if isinstance(line, OrderLine)]
    return [_command(line, books.directory.instrument(line.symbol), int(line.client[1:])) for line in orders]


@pytest.mark.parametrize("instruments", [1, 3])
def test_public_books_are_the_machines(instruments):
    """What readers were told, update by update, is the machine's book, order by order, after every run."""
    machine, books = Matching(), Books()
    commands = _commands(books, machine, instruments)
    views = {at: (LevelView(), OrderView()) for at in range(1, instruments + 1)}
    sequence = 1000
    for start in range(0, len(commands), RUN_LENGTH):
        run = commands[start : start + RUN_LENGTH]
        books.apply(sequence, sequence, m.COMMANDS, run)
        results = machine.apply(sequence, sequence, m.COMMANDS, run)
        results += machine.apply(sequence, sequence, m.DECISIONS, [m.CreditDecisions(sequence, len(run))])
        sequence += len(run)
        for at in range(0, len(results), RESULTS_MAX):
            batch = results[at : at + RESULTS_MAX]
            _take(views, books.apply(sequence, sequence, m.RESULTS, batch))
            sequence += len(batch)

        assert {at: _told(orders) for at, (_, orders) in views.items()} == _standing(machine)
        assert all(orders.levels().best_first() == levels.best_first() for levels, orders in views.values())


def _take(views, updates):
    for update in updates:
        levels, orders = views[update.instrument_id]
        if isinstance(update, LevelUpdate):
            levels.apply(update.changes)
        elif isinstance(update, OrderUpdate):
            orders.apply(update.changes)


def _told(view):
    return tuple([(order.order_id, order.price, order.quantity) for order in side] for side in view.best_first())


def _standing(machine):
    """The same of the machine, from its snapshot."""
    state = msgspec.msgpack.decode(machine.snapshot(), type=State)
    return {
        found.instrument_id: tuple(
            [(order.order_id, order.price, order.leaves) for order in side] for side in (found.bids, found.asks)
        )
        for found in state.instruments
    }
