"""Law 12 for matching: any number of shards of it and of credit give each instrument the events of the naive model."""

from collections import Counter, deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.matching import Matching
from engines.matching.machine import PATIENCE_NS
from engines.messages import (
    COMMANDS,
    DECISIONS,
    OPERATIONS,
    CancelAll,
    CreditDecisions,
    MassCanceled,
    Message,
    NewOrder,
    OrderAccepted,
    OrderRejected,
    Reason,
    RefuseUndecided,
    ReplaceOrder,
    SetInstrument,
)
from tests.engines.matching.test_matching_model import STREAMS, Input, as_input, cut, laid_out
from tests.models.venue import Command, by_instrument, expected_events


def decisions_on(run: list[Command], refused: dict[int, int], shards: int) -> list[CreditDecisions]:
    """What the shards of credit say about a run: each that has an order in it."""
    first, said = run[0][0], []
    for shard in range(shards):
        asked = [
            sequence - first
            for sequence, _time_ns, command in run
            if isinstance(command, NewOrder | ReplaceOrder) and command.client_id % shards == shard
        ]
        if asked:
            refusals = [(offset, refused[first + offset]) for offset in asked if first + offset in refused]
            said.append(CreditDecisions(first, len(run), refusals, shard, shards))
    return said


def scheduled(runs: list[list[Command]], refused: dict[int, int], shards: int, draw) -> list[Input]:
    """The runs in order; each credit shard's decisions in order too, at its own pace.

    Now and then an operator refuses what one of them has not decided: `refused` says so then.
    """
    inputs: list[Input] = []
    waiting: list[deque[CreditDecisions]] = [deque() for _ in range(shards)]
    settled: set[int] = set()
    heard = shards == 1

    def decide(time_ns: int) -> None:
        nonlocal heard
        speaking = draw(st.sampled_from([queue for queue in waiting if queue]))
        inputs.append((time_ns, 0, DECISIONS, [speaking.popleft()]))
        heard = True

    def refuse(shard: int, time_ns: int, sequence: int) -> None:
        inputs.append((time_ns, sequence, OPERATIONS, [RefuseUndecided(shard, shards)]))
        for run in runs:
            for decision in waiting[shard]:
                if decision.first_sequence == run[0][0]:
                    for at, _time_ns, command in run:
                        is_order = isinstance(command, NewOrder | ReplaceOrder)
                        if is_order and command.client_id % shards == shard and at not in settled:
                            refused[at] = int(Reason.UNDECIDED)
                            settled.add(at)

    for run in runs:
        inputs.append(as_input(run))
        for decision in decisions_on(run, refused, shards):
            waiting[decision.shard].append(decision)
        while any(waiting) and draw(st.integers(0, 2)):
            decide(run[-1][1])
        if heard and draw(st.integers(0, 5)) == 0:
            refuse(draw(st.integers(0, shards - 1)), run[-1][1], run[-1][0] + 1)
    while any(waiting):
        decide(runs[-1][-1][1])
    return inputs


def merged(parts: list[list[Message]]) -> list[Message]:
    """The events of all shards as if they were one's: what each says of a CancelAll is one sum."""
    counts: Counter[int] = Counter()
    said: Counter[int] = Counter()
    events: list[Message] = []
    for part in parts:
        for event in part:
            if isinstance(event, MassCanceled) and event.shards > 1:
                counts[event.by] += event.count
                said[event.by] += 1
            else:
                events.append(event)
    assert all(number == len(parts) for number in said.values()), said
    return events + [MassCanceled(by, counts[by]) for by in sorted(counts)]


@settings(max_examples=250, deadline=None)
@given(STREAMS, st.integers(1, 4), st.integers(1, 3), st.booleans(), st.data())
def test_any_number_of_shards_equals_the_model(stream, shards, credits, is_slow, data):
    """Decided late or soon or by an operator, spilled or not, restored from a snapshot on the way or not."""
    factor = PATIENCE_NS if is_slow else 1
    stream = [(wait_ns * factor, command, is_refused) for wait_ns, command, is_refused in stream]
    commands, refused = laid_out(stream, lambda: data.draw(st.sampled_from([0, 0, 0, 2])))
    runs = cut(commands, lambda: data.draw(st.integers(0, 3)) == 0)
    machines = [Matching(shard, shards) for shard in range(shards)]
    events: list[list[Message]] = [[] for _ in machines]
    for given_input in scheduled(runs, refused, credits, data.draw):
        for shard, machine in enumerate(machines):
            events[shard] += machine.apply(*given_input)
        if data.draw(st.integers(0, 6)) == 0:
            restored = data.draw(st.integers(0, shards - 1))
            state = machines[restored].snapshot()
            machines[restored] = Matching(restored, shards)
            machines[restored].restore(state)
            assert machines[restored].snapshot() == state

    assert not any(machine.waiting() for machine in machines)
    expected = by_instrument(commands, expected_events(commands, refused))
    assert by_instrument(commands, merged(events)) == expected


def test_an_instrument_belongs_to_one_shard():
    """Whether it exists or not: an order in one that nobody set is answered once."""
    machines = [Matching(shard, 3) for shard in range(3)]
    orders: list[Message] = [NewOrder(1, at, at, f"o{at}", 1, 5, 5) for at in range(7)]
    answers = []
    for machine in machines:
        machine.apply(0, 10, COMMANDS, orders)
        answers += machine.apply(0, 17, DECISIONS, [CreditDecisions(10, 7)])

    assert sorted(event.order_id for event in answers) == list(range(10, 17))
    assert {type(event) for event in answers} == {OrderRejected}


def test_the_first_credit_shard_to_speak_does_not_release_the_others_orders():
    """Two clients of two credit shards in one instrument: the second waits, though it was decided first."""
    machine = Matching()
    machine.apply(0, 1, COMMANDS, [SetInstrument(0, 1, "S", "USD", 1, 2, 1, 8)])
    machine.apply(0, 10, COMMANDS, [NewOrder(2, 1, 1, "a", 1, 5, 5), NewOrder(1, 1, 1, "b", 1, 5, 5)])

    refusal = [(1, int(Reason.CREDIT_EXCEEDED))]
    assert machine.apply(0, 12, DECISIONS, [CreditDecisions(10, 2, refusal, 1, 2)]) == []
    assert machine.apply(0, 13, DECISIONS, [CreditDecisions(10, 2, [], 0, 2)]) == [
        OrderAccepted(10),
        OrderRejected(11, Reason.CREDIT_EXCEEDED),
    ]


@pytest.mark.parametrize("said", [(-1, 2), (2, 2), (0, 0), (0, -3), (0, 1 << 40)])
def test_a_decision_that_no_credit_shard_can_mean_is_void(said):
    """Numbers that are none of a shard change nothing."""
    machine = Matching()
    machine.apply(0, 10, COMMANDS, [NewOrder(2, 1, 1, "a", 1, 5, 5)])
    before = machine.snapshot()

    assert machine.apply(0, 12, DECISIONS, [CreditDecisions(10, 2, [], *said)]) == []
    assert machine.snapshot() == before


def test_a_snapshot_is_of_one_shard():
    """Another one does not begin with it."""
    with pytest.raises(ValueError, match="shard 1 of 2, this is 0 of 2"):
        Matching(0, 2).restore(Matching(1, 2).snapshot())


def test_what_stands_for_all_instruments_is_told_by_each_shard():
    """A CancelAll that names none: as many answers as shards, and each says of how many."""
    machines = [Matching(shard, 2) for shard in range(2)]
    answers = [machine.apply(0, 10, COMMANDS, [CancelAll(1, 1)]) for machine in machines]

    assert answers == [[MassCanceled(10, 0, 0, 2)], [MassCanceled(10, 0, 1, 2)]]


def two_credit_shards(time_ns: int = 0) -> Matching:
    """Orders 10 of client 2, and 11 and 12 of client 1, wait in a line; shard 1 has decided its own, and refused 12."""
    machine = Matching()
    machine.apply(0, 1, COMMANDS, [SetInstrument(0, 1, symbol, "USD", 1, 2, 1, 8) for symbol in "ST"])
    orders: list[Message] = [NewOrder(2, 1, 1, "a", 1, 5, 5), NewOrder(1, 1, 1, "b", 1, 5, 5)]
    machine.apply(time_ns, 10, COMMANDS, [*orders, NewOrder(1, 2, 2, "c", 1, 5, 5)])
    refusal = [(2, int(Reason.CREDIT_EXCEEDED))]
    assert machine.apply(time_ns, 13, DECISIONS, [CreditDecisions(10, 3, refusal, 1, 2)]) == []
    return machine


def test_what_was_decided_behind_the_front_counts_when_the_line_spills():
    """The other instrument goes on at once, and the second order of the first when its front is decided."""
    machine = two_credit_shards()

    assert machine.apply(PATIENCE_NS + 1, 14, COMMANDS, [NewOrder(1, 3, 2, "d", 1, 5, 5)]) == [
        OrderRejected(12, Reason.CREDIT_EXCEEDED)
    ]
    assert machine.apply(0, 15, DECISIONS, [CreditDecisions(10, 3, [], 0, 2)]) == [
        OrderAccepted(10),
        OrderAccepted(11),
    ]


def test_what_an_operator_has_refused_stays_refused():
    """A later word of the shard that was down changes neither the outcome nor the reason."""
    machine = two_credit_shards()
    machine.apply(0, 20, COMMANDS, [NewOrder(3, 1, 1, "e", 1, 5, 5)])

    assert machine.apply(0, 21, OPERATIONS, [RefuseUndecided(1, 2)]) == []
    assert machine.apply(0, 22, DECISIONS, [CreditDecisions(20, 1, [(0, int(Reason.NO_CREDIT))], 1, 2)]) == []
    assert machine.apply(0, 23, DECISIONS, [CreditDecisions(10, 3, [], 0, 2)]) == [
        OrderAccepted(10),
        OrderAccepted(11),
        OrderRejected(12, Reason.CREDIT_EXCEEDED),
        OrderRejected(20, Reason.UNDECIDED),
    ]


def test_who_is_not_down_is_not_refused():
    """It is about the clients of one shard, and about shards of the number that there is."""
    machine = two_credit_shards()
    before = machine.snapshot()

    assert machine.apply(0, 21, OPERATIONS, [RefuseUndecided(0, 1)]) == []
    assert machine.apply(0, 22, OPERATIONS, [RefuseUndecided(1, 2)]) == []
    assert machine.snapshot() == before
    assert machine.apply(0, 23, OPERATIONS, [RefuseUndecided(0, 2)])[0] == OrderRejected(10, Reason.UNDECIDED)
