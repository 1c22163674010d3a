"""Matching equals the naive model, however its input is cut, delayed and interleaved."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from engines.matching import Matching
from engines.messages import (
    COMMANDS,
    DECISIONS,
    BlockClient,
    CancelAll,
    CancelOrder,
    CreditDecisions,
    HaltInstrument,
    Message,
    NewOrder,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderReplaced,
    Reason,
    RegisterClient,
    ReplaceOrder,
    ResumeInstrument,
    SetInstrument,
    Tick,
    Trade,
)
from tests.models.venue import Command, by_instrument, expected_events

CLIENTS = st.integers(1, 3)
INSTRUMENTS = st.sampled_from([1, 1, 1, 2, 2, 3, 4, 0])
NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
PRICES = st.integers(96, 104)
QUANTITIES = st.integers(1, 9)
ODD_INTS = st.sampled_from([-(1 << 63), -1, 0, 5, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
LIMIT_ORDERS = st.builds(
    NewOrder, CLIENTS, st.just(1), INSTRUMENTS, NAMES, st.integers(1, 2), PRICES, QUANTITIES,
    st.just(0), st.sampled_from([0, 0, 0, 1, 2, 3]), st.integers(0, 60), st.just(False), st.integers(0, 3),
)  # fmt: skip
ANY_ORDERS = st.builds(
    NewOrder, CLIENTS, st.just(1), INSTRUMENTS, NAMES | st.sampled_from(["", "x" * 65]), st.integers(0, 3),
    PRICES | ODD_INTS, QUANTITIES | ODD_INTS, st.integers(0, 2), st.integers(0, 4), st.integers(0, 60),
    st.booleans(), st.integers(0, 4),
)  # fmt: skip
REPLACES = st.builds(
    ReplaceOrder, CLIENTS, st.just(1), INSTRUMENTS, NAMES, PRICES | ODD_INTS, QUANTITIES | ODD_INTS,
    st.just("") | NAMES,
)  # fmt: skip
CANCELS = st.builds(CancelOrder, CLIENTS, st.just(1), INSTRUMENTS, NAMES)
SETS = st.builds(
    SetInstrument, st.just(0), st.just(1), st.sampled_from(["A", "B", "C", "D", ""]), st.just("USD"),
    st.sampled_from([1, 1, 1, 2, 0]), st.just(2), st.just(1), st.just(8),
    st.sampled_from([0, 0, 97, 120, -1]), st.sampled_from([0, 0, 103]),
)  # fmt: skip
RARE = st.one_of(
    st.builds(CancelAll, CLIENTS, st.just(1), st.integers(0, 3), INSTRUMENTS),
    st.builds(HaltInstrument, st.just(0), st.just(1), INSTRUMENTS),
    st.builds(ResumeInstrument, st.just(0), st.just(1), INSTRUMENTS),
    st.builds(BlockClient, st.just(0), st.just(1), CLIENTS),
    st.just(Tick()),
    st.builds(RegisterClient, st.just(0), st.just(1), st.just("C")),
    SETS,
)
COMMAND = st.one_of(LIMIT_ORDERS, LIMIT_ORDERS, LIMIT_ORDERS, ANY_ORDERS, REPLACES, CANCELS, RARE)
OPENING: list[Message] = [SetInstrument(0, 1, symbol, "USD", 1, 2, 1, 8) for symbol in "AB"]
STREAMS = st.lists(st.tuples(st.integers(0, 3), COMMAND, st.booleans()), max_size=40)
"""(ns since the command before, the command, whether credit refuses it if it has a say)"""

Input = tuple[int, int, int, list[Message]]
"""(time in ns, first sequence, channel, messages)"""


def laid_out(stream, next_gap):
    """The commands at positions with holes, as a log has them, and what is refused."""
    commands: list[Command] = [(at, 0, command) for at, command in enumerate(OPENING, 1)]
    sequence, time_ns, refused = len(OPENING), 1, {}
    for wait_ns, command, is_refused in stream:
        sequence += 1 + next_gap()
        time_ns += wait_ns
        commands.append((sequence, time_ns, command))
        if is_refused and wait_ns == 0 and isinstance(command, NewOrder | ReplaceOrder):
            refused[sequence] = int(Reason.CREDIT_EXCEEDED)
    return commands, refused


def cut(commands: list[Command], ends_here) -> list[list[Command]]:
    """Runs of consecutive positions at one time."""
    runs: list[list[Command]] = []
    for command in commands:
        last = runs[-1][-1] if runs else None
        if last and last[0] + 1 == command[0] and last[1] == command[1] and not ends_here():
            runs[-1].append(command)
        else:
            runs.append([command])
    return runs


def as_input(run: list[Command]) -> Input:
    return run[0][1], run[0][0], COMMANDS, [command for _sequence, _time_ns, command in run]


def decision_on(run: list[Command], refused: dict[int, int]) -> CreditDecisions | None:
    """What credit says about a run."""
    if not any(isinstance(command, NewOrder | ReplaceOrder) for _, _, command in run):
        return None
    first = run[0][0]
    refusals = [(sequence - first, refused[sequence]) for sequence, _, _ in run if sequence in refused]
    return CreditDecisions(first, len(run), refusals)


def scheduled(runs: list[list[Command]], refused: dict[int, int], draw) -> list[Input]:
    """The runs in order, and each one's decision somewhere behind it, in any order among them."""
    inputs, waiting = [], []
    for run in runs:
        inputs.append(as_input(run))
        decision = decision_on(run, refused)
        if decision:
            waiting.append(decision)
        while waiting and draw(st.integers(0, 2)):
            inputs.append((run[-1][1], 0, DECISIONS, [waiting.pop(draw(st.integers(0, len(waiting) - 1)))]))
    while waiting:
        inputs.append((runs[-1][-1][1], 0, DECISIONS, [waiting.pop(draw(st.integers(0, len(waiting) - 1)))]))
    return inputs


def feed(machine: Matching, inputs: list[Input]) -> list[Message]:
    return [event for given in inputs for event in machine.apply(*given)]


@settings(max_examples=250, deadline=None)
@given(STREAMS, st.data())
def test_matching_equals_the_model(stream, data):
    """However the log is cut into runs, and whenever decisions come, each instrument's events are the model's."""
    commands, refused = laid_out(stream, lambda: data.draw(st.sampled_from([0, 0, 0, 2])))
    runs = cut(commands, lambda: data.draw(st.integers(0, 3)) == 0)
    machine = Matching()

    events = feed(machine, scheduled(runs, refused, data.draw))

    assert not machine.waiting()
    assert by_instrument(commands, events) == by_instrument(commands, expected_events(commands, refused))


@settings(max_examples=80, deadline=None)
@given(STREAMS, st.data())
def test_patience_changes_no_instrument(stream, data):
    """Commands that come long after a stuck order go on in other instruments, with the same events."""
    slow = [(wait_ns * 400_000_000, command, is_refused) for wait_ns, command, is_refused in stream]
    commands, refused = laid_out(slow, lambda: 0)
    machine = Matching()

    events = feed(machine, scheduled(cut(commands, lambda: False), refused, data.draw))

    assert by_instrument(commands, events) == by_instrument(commands, expected_events(commands, refused))


@settings(max_examples=120, deadline=None)
@given(STREAMS, st.data())
def test_a_run_equals_its_messages_one_by_one(stream, data):
    """Applying a run leaves the same events and the same snapshot as its messages one by one."""
    commands, refused = laid_out(stream, lambda: 0)
    inputs = scheduled(cut(commands, lambda: False), refused, data.draw)
    whole, single = Matching(), Matching()

    for time_ns, first, channel, messages in inputs:
        events = whole.apply(time_ns, first, channel, messages)
        apart = [(time_ns, first + at, channel, [message]) for at, message in enumerate(messages)]

        assert feed(single, apart) == events
        assert single.snapshot() == whole.snapshot()


@settings(max_examples=80, deadline=None)
@given(STREAMS, st.data())
def test_decisions_come_whole_or_one_by_one(stream, data):
    """A decision for each command alone gives the same events as one for the run."""
    commands, refused = laid_out(stream, lambda: 0)
    runs = cut(commands, lambda: False)
    singles = [decision_on([command], refused) for command in commands]
    whole, single = Matching(), Matching()

    events = feed(whole, [as_input(run) for run in runs])
    apart = feed(single, [as_input(run) for run in runs])
    for run in runs:
        decision = decision_on(run, refused)
        events += whole.apply(0, 0, DECISIONS, [decision] if decision else [])
    for decision in singles:
        apart += single.apply(0, 0, DECISIONS, [decision] if decision else [])

    assert (apart, single.snapshot()) == (events, whole.snapshot())


@settings(max_examples=120, deadline=None)
@given(STREAMS, st.data())
def test_a_restored_machine_goes_on_the_same(stream, data):
    """At any place of any log, a machine restored from the snapshot is the machine."""
    commands, refused = laid_out(stream, lambda: 0)
    inputs = scheduled(cut(commands, lambda: data.draw(st.booleans())), refused, data.draw)
    place = data.draw(st.integers(0, len(inputs)))
    machine, other = Matching(), Matching()
    feed(machine, inputs[:place])
    feed(other, inputs[: place // 2])

    other.restore(machine.snapshot())

    assert other.snapshot() == machine.snapshot()
    assert feed(other, inputs[place:]) == feed(machine, inputs[place:])
    assert other.snapshot() == machine.snapshot()


@settings(max_examples=120, deadline=None)
@given(STREAMS, st.data())
def test_no_lot_appears_or_vanishes(stream, data):
    """Of every order: traded + canceled + expired + leaves is its total."""
    commands, refused = laid_out(stream, lambda: 0)
    machine = Matching()
    events = feed(machine, scheduled(cut(commands, lambda: False), refused, data.draw))
    sent = {sequence: command for sequence, _, command in commands}
    total, gone = {}, Counter()
    for event in events:
        match event:
            case OrderAccepted(order_id):
                total[order_id] = sent[order_id].quantity
            case OrderReplaced(order_id=order_id, quantity=quantity):
                total[order_id] = quantity
            case OrderCanceled(order_id=order_id, quantity=quantity):
                gone[order_id] += quantity
            case OrderExpired(order_id=order_id, quantity=quantity):
                gone[order_id] += quantity
            case Trade(quantity=quantity, maker_order_id=maker, taker_order_id=taker):
                gone[maker] += quantity
                gone[taker] += quantity
    for instrument_id in machine.symbols():
        for order in machine.orders(instrument_id):
            gone[order.order_id] += order.leaves

    assert dict(gone) == total


@settings(max_examples=120, deadline=None)
@given(STREAMS)
def test_a_book_is_never_crossed(stream):
    """After every command, the best bid is below the best ask and each side is in priority."""
    commands, refused = laid_out(stream, lambda: 0)
    machine = Matching()
    for command in commands:
        feed(machine, scheduled([[command]], refused, lambda _: 0))
        for instrument_id in machine.symbols():
            keys = [order.key for order in machine.orders(instrument_id)]
            bids, asks = [k for k in keys if k > 0], [k for k in keys if k < 0]

            assert keys == sorted(bids, reverse=True) + sorted(asks, reverse=True)
            assert not bids or not asks or bids[0] + asks[0] < 0
