"""Nobody overtakes: what waits for credit, what goes on meanwhile, and what that may never change."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engines.matching import Matching
from engines.matching.machine import PATIENCE_NS
from engines.messages import (
    COMMANDS,
    DECISIONS,
    BatchRejected,
    CancelAll,
    CancelOrder,
    CancelRejected,
    ClientBlocked,
    CreditDecisions,
    MassCanceled,
    NewOrder,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderRejected,
    Reason,
    SetInstrument,
    Tick,
    TimeInForce,
    Trade,
)

ROOT = Path(__file__).parents[3]


def venue(instruments=1):
    """A machine with instruments 1, 2, ... set at these positions."""
    machine = Matching()
    for instrument_id in range(1, instruments + 1):
        machine.apply(0, instrument_id, COMMANDS, [SetInstrument(0, 1, f"S{instrument_id}", "USD", 1, 2, 1, 8)])
    return machine


def buy(name, instrument=1, client=1, **terms):
    return NewOrder(client, 1, instrument, name, 1, 100, 5, **terms)


def sell(name, instrument=1, client=1):
    return NewOrder(client, 1, instrument, name, 2, 100, 5)


def cancel(name, instrument=1):
    return CancelOrder(1, 1, instrument, name)


def decide(machine, first, count=1, refused=()):
    return machine.apply(0, 0, DECISIONS, [CreditDecisions(first, count, list(refused))])


def test_an_order_waits_for_its_decision():
    """No order is handled before credit has decided it."""
    machine = venue()

    assert machine.apply(0, 10, COMMANDS, [buy("a")]) == []
    assert decide(machine, 10) == [OrderAccepted(10)]


def test_a_cancel_does_not_overtake():
    """A cancel behind an undecided order waits for it."""
    machine = venue()

    assert machine.apply(0, 10, COMMANDS, [buy("a"), cancel("a")]) == []
    assert decide(machine, 10, 2) == [OrderAccepted(10), OrderCanceled(10, 11, 5, Reason.REQUESTED)]


def test_what_needs_no_decision_goes_at_once():
    """With nothing in the line, a command that credit has no say in is handled on arrival."""
    assert venue().apply(0, 10, COMMANDS, [cancel("a")]) == [CancelRejected(10, Reason.UNKNOWN_ORDER)]


def test_a_command_is_handled_at_its_own_time():
    """An order that was in time when it came is in time when its decision comes."""
    machine = venue()
    machine.apply(4, 10, COMMANDS, [buy("a", time_in_force=TimeInForce.GTD, expire_at_ns=5)])
    machine.apply(5, 11, COMMANDS, [sell("b", client=2)])

    assert decide(machine, 10) == [OrderAccepted(10)]
    assert decide(machine, 11) == [OrderExpired(10, 11, 5), OrderAccepted(11)]


def test_a_decision_names_offsets_from_its_own_first():
    """A refusal hits the order at first_sequence + offset, and no other."""
    machine = venue()
    machine.apply(0, 10, COMMANDS, [cancel("x"), buy("a"), buy("b")])

    assert decide(machine, 10, 3, [(2, Reason.NO_CREDIT)])[-2:] == [
        OrderAccepted(11),
        OrderRejected(12, Reason.NO_CREDIT),
    ]


def test_a_later_decision_lets_other_instruments_go_on():
    """Decisions out of order: only the instrument of the undecided order stands still."""
    machine = venue(2)
    machine.apply(0, 10, COMMANDS, [buy("a")])
    machine.apply(0, 11, COMMANDS, [buy("b", 2), sell("c", 1, 2)])

    assert decide(machine, 11, 2) == [OrderAccepted(11)]
    assert decide(machine, 10) == [OrderAccepted(10), OrderAccepted(12), Trade(1, 100, 5, 10, 12)]
    assert not machine.waiting()


def test_a_stuck_order_holds_only_its_instrument():
    """When the line has waited for too long, other instruments go on without decisions."""
    machine = venue(2)
    machine.apply(0, 10, COMMANDS, [buy("a"), cancel("x", 2)])

    assert machine.apply(PATIENCE_NS, 12, COMMANDS, [cancel("y", 2)]) == []
    assert machine.apply(PATIENCE_NS + 1, 13, COMMANDS, [Tick()]) == [
        CancelRejected(11, Reason.UNKNOWN_ORDER),
        CancelRejected(12, Reason.UNKNOWN_ORDER),
    ]


def test_a_mass_cancel_ends_with_the_last_instrument():
    """A CancelAll cancels at once where nothing waits, and is answered when it is through everywhere."""
    machine = venue(2)
    machine.apply(0, 10, COMMANDS, [buy("a", 1), buy("b", 2)])
    decide(machine, 10, 2)
    machine.apply(0, 12, COMMANDS, [buy("c", 1)])
    machine.apply(0, 13, COMMANDS, [CancelAll(0, 1)])

    assert machine.apply(PATIENCE_NS + 1, 14, COMMANDS, [Tick()]) == [OrderCanceled(11, 13, 5, Reason.MASS_CANCEL)]
    assert decide(machine, 12) == [
        OrderAccepted(12),
        OrderCanceled(10, 13, 5, Reason.MASS_CANCEL),
        OrderCanceled(12, 13, 5, Reason.MASS_CANCEL),
        MassCanceled(13, 3),
    ]


@pytest.mark.parametrize("stray", [(1, 3), (11, 5), (50, 2), (0, 0), (-5, 3), (10, -1), (-(1 << 63), 1 << 62)])
def test_a_decision_about_nothing_that_waits_is_void(stray):
    """A decision that covers no waiting order changes nothing."""
    machine = venue()
    machine.apply(0, 10, COMMANDS, [buy("a")])
    before = machine.snapshot()

    assert decide(machine, *stray) == []
    assert machine.snapshot() == before


def test_other_news_of_credit_is_none_of_ours():
    """Only CreditDecisions matter to matching."""
    assert venue().apply(0, 10, DECISIONS, [ClientBlocked(9, 1)]) == []


def test_commands_that_cannot_be_read_have_one_answer():
    """An unreadable batch of commands is answered once and has no effect."""
    machine = venue()
    before = machine.snapshot()

    assert machine.reject(0, 10, COMMANDS, 7, Reason.UNDECODABLE) == [BatchRejected(10, 7, Reason.UNDECODABLE)]
    assert machine.snapshot() == before


def test_decisions_that_cannot_be_read_halt_it():
    """An unreadable batch of decisions is our own bug."""
    with pytest.raises(AssertionError, match="decisions at 10"):
        venue().reject(0, 10, DECISIONS, 7, Reason.UNDECODABLE)


def test_a_long_queue_is_eaten_in_order():
    """A level of thousands of orders trades them by age, one taker at a time."""
    machine, count = venue(), 3_000
    machine.apply(0, 10, COMMANDS, [buy(f"b{at}") for at in range(count)])
    decide(machine, 10, count)
    machine.apply(0, 10 + count, COMMANDS, [sell(f"s{at}", client=2) for at in range(count)])

    trades = [event for event in decide(machine, 10 + count, count) if isinstance(event, Trade)]

    assert [trade.maker_order_id for trade in trades] == list(range(10, 10 + count))


def test_the_hash_seed_changes_nothing():
    """A seeded flow gives the same events and snapshot in processes with different hash seeds."""
    digests = [_digest_in_a_process(seed) for seed in ("0", "1", "4242")]

    assert digests[0] == digests[1] == digests[2]
    assert len(digests[0]) == 2 * hashlib.sha256().digest_size


def _digest_in_a_process(hash_seed):
    code = (
        "import hashlib\n"
        "from benchmarks.matching import Flow, REGIMES\n"
        "from engines.matching import Matching\n"
        "from engines.messages import ENCODER, decode\n"
        "machine, digest, flow = Matching(), hashlib.sha256(), Flow(REGIMES[-1], seed=3)\n"
        "for channel, first, payload in flow.opening() + flow.payloads(20_000)[:-2]:\n"
        "    digest.update(ENCODER.encode(machine.apply(0, first, channel, decode(channel, payload))))\n"
        "assert machine.waiting()\n"
        "digest.update(machine.snapshot())\n"
        "print(digest.hexdigest())\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()
