"""A machine as it was at any place of the log, and what belongs to one message of it."""

import pytest

from engines import messages as m
from engines.credit import Credit
from engines.matching import Matching
from engines.past import advance, machine_at, one_by_one, piecemeal
from engines.reproducing import reproduce
from engines.sharding import Shard, Sharding
from engines.tracing import impact, trace
from tests.models.shards import Shards, traded

SHARDS = traded(3, rounds=25)
ENTRIES = SHARDS.log.entries
END = ENTRIES[-1].next_sequence
MESSAGES = {
    batch.first_sequence + offset: message
    for entry in ENTRIES
    for batch in entry.batches()
    if batch.channel in (m.COMMANDS, m.DECISIONS, m.RESULTS)
    for offset, message in enumerate(m.decode(batch.channel, batch.payload))
}
ORDERS = [sequence for sequence, message in MESSAGES.items() if isinstance(message, m.NewOrder)]


@pytest.mark.parametrize("machine", [Credit, Matching])
def test_a_machine_at_a_place_has_applied_what_comes_before_it_and_nothing_else(machine):
    """For every place of a log: the state is that of applying its messages one by one up to there."""
    stepwise = machine()
    states = {0: stepwise.snapshot()}
    for entry in ENTRIES:
        for run in one_by_one(stepwise, entry):
            stepwise.apply(entry.time_ns, run.first_sequence, run.channel, run.messages)
            states[run.first_sequence] = stepwise.snapshot()
    last = states[0]
    for place in range(1, END):
        last = states.get(place, last)
        if place % 7 == 0 or place in ORDERS[::5]:
            assert machine_at(machine(), ENTRIES, place).snapshot() == last, place


@pytest.mark.parametrize("machine", [Credit, Matching])
def test_a_decision_about_many_orders_is_one_about_each(machine):
    """Cut as finely as can be, an entry leaves the same state, and the same happens in the same order."""
    whole, cut = machine(), machine()
    for entry in ENTRIES:
        events = [event for run in one_by_one(whole, entry) for event in advance(whole, entry.time_ns, run)]
        same = [event for run in piecemeal(cut, entry) for event in advance(cut, entry.time_ns, run)]

        assert (cut.snapshot(), same) == (whole.snapshot(), events), entry.index


@pytest.mark.parametrize("order_id", ORDERS[::3])
def test_the_way_of_an_order_is_all_that_names_it(order_id: int):
    """Its command, the decision, every result that names it; and of the commands those that are about it."""
    steps = {step.sequence: step for step in trace(ENTRIES, order_id)}
    naming = {sequence for sequence, message in MESSAGES.items() if order_id in _orders_of(message)}
    deciding = {
        sequence
        for sequence, message in MESSAGES.items()
        if isinstance(message, m.CreditDecisions) and 0 <= order_id - message.first_sequence < message.count
    }

    assert order_id in steps
    assert naming | deciding <= set(steps)
    for sequence in set(steps) - naming - deciding - {order_id}:
        message = MESSAGES[sequence]
        by = getattr(message, "by", 0)
        if isinstance(message, m.CreditDecisions):
            assert any(message.first_sequence <= one < message.first_sequence + message.count for one in steps)
        elif by:
            assert by in steps
        else:
            assert isinstance(message, m.CancelOrder | m.ReplaceOrder)
            assert message.client_id == MESSAGES[order_id].client_id


def _orders_of(message: m.Message) -> set[int]:
    fields = ("order_id", "maker_order_id", "taker_order_id")
    return {getattr(message, field, 0) for field in fields} - {0}


def test_the_impact_of_an_order_reaches_those_that_it_traded_with():
    """And what became of these; an order that met nobody reaches nobody."""
    trades = [_orders_of(message) for message in MESSAGES.values() if isinstance(message, m.Trade)]
    traded_with = {one: set().union(*(both for both in trades if one in both)) - {one} for one in ORDERS}
    assert any(traded_with.values())
    later = 0
    for order_id in ORDERS[::4]:
        steps = {step.sequence for step in impact(ENTRIES, order_id)}
        reached = {number for step in impact(ENTRIES, order_id) for number in step.concerns}
        assert traded_with[order_id] <= reached
        if not traded_with[order_id]:
            assert reached & set(ORDERS) == {order_id}
        for other in traded_with[order_id]:
            met = min(at for at, one in MESSAGES.items() if {order_id, other} <= _orders_of(one))
            became = {at for at, one in MESSAGES.items() if at > met and other in _orders_of(one)}
            later += len(became - {at for at in became if order_id in _orders_of(MESSAGES[at])})
            assert became <= steps
    assert later, "no order that was met had a life of its own afterwards"


def test_a_message_done_again_gives_what_is_in_the_log():
    """For orders all over the log: credit's decision is the one that was sequenced."""
    for order_id in ORDERS[::10]:
        outcome = reproduce(Credit(), ENTRIES, order_id, {}, Sharding(Shard("credit")))
        refused = {
            message.first_sequence + offset
            for message in MESSAGES.values()
            if isinstance(message, m.CreditDecisions)
            for offset, _reason in message.refused
        }
        (kind, fields), *_others = outcome.events
        assert (outcome.type, kind, outcome.error, outcome.ended) == ("NewOrder", "CreditDecisions", "", True)
        assert bool(fields["refused"]) == (order_id in refused)


def test_the_model_trades():
    """The log that these laws are tried on holds what they are about."""
    kinds = {type(message) for message in MESSAGES.values()}

    assert isinstance(SHARDS, Shards)
    assert {m.Trade, m.OrderReplaced, m.OrderCanceled, m.ReplaceRejected, m.CancelRejected} <= kinds
