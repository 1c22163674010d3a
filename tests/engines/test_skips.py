"""A skip is a sequenced answer: whatever happens around it, every replica obeys it at the same place."""

from collections import Counter

import msgspec
import pytest

from engines import messages as m
from engines import snapshot as images
from engines.credit import Credit
from engines.credit.ledger import State as LedgerState
from engines.matching import Matching
from engines.past import advance
from engines.replica import Replica
from engines.runs import Run
from engines.sharding import Shard, Sharding, ShardingState, named
from engines.skips import Decided, Skips, skips_in, without
from sequencer.envelope import CONTROL, encode_batch
from tests.models.poisoned import PoisonedCredit, PoisonedMatching, Sequencer, World, counts, vouched

SEEDS = range(10)
KINDS = {
    "matching": ((PoisonedMatching, PoisonedMatching), Credit),
    "one-replica-of-matching": ((PoisonedMatching, Matching), Credit),
    "credit": ((Matching, Matching), PoisonedCredit),
    "both": ((PoisonedMatching, Matching), PoisonedCredit),
}


def whole(process, entries, skipped):
    replica = Replica(process.make(), process.shard, skipped)
    for entry in entries:
        replica.apply(entry)
    return replica


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_replay_obeys_it(seed: int, kind: str):
    """From the beginning, and from every snapshot that counts: each output as in the log, and the same state."""
    matching, credit = KINDS[kind]
    world = World(seed, matching, credit)
    world.run(600)
    world.settle()
    entries = world.sequencer.log.entries

    for process in world.processes:
        skipped = skips_in(entries, named(process.shard))
        again = whole(process, entries, skipped)
        state = images.encode(again.snapshot())
        assert images.encode(process.replica.snapshot()) == state
        assert not again.unconfirmed
        for snapshot, vouch in vouched(entries, process.shard, process.images):
            if not counts(snapshot, skipped):
                continue
            replica = Replica.resumed(process.make(), snapshot, vouch, skipped)
            for entry in entries[snapshot.index :]:
                replica.apply(entry)
            assert images.encode(replica.snapshot()) == state


def answers(entries):
    """How often each command was answered, by its position, and with which reasons."""
    found, reasons = Counter(), {}
    for entry in entries:
        for batch in entry.batches():
            if batch.channel == m.RESULTS:
                for event in m.decode(m.RESULTS, batch.payload):
                    if isinstance(event, m.OrderAccepted | m.OrderRejected):
                        found[event.order_id] += 1
                        reasons[event.order_id] = getattr(event, "reason", 0)
    return found, reasons


@pytest.mark.parametrize("kind", ["matching", "credit"])
def test_every_order_is_answered_once(kind: str):
    """The skipped one as well, and it is told so; nothing is reserved for it any more."""
    matching, credit = KINDS[kind]
    world = World(77, matching, credit)
    world.run(800)
    world.settle()
    entries = world.sequencer.log.entries
    orders = {
        batch.first_sequence + offset
        for entry in entries
        for batch in entry.batches()
        if batch.channel == m.COMMANDS
        for offset, command in enumerate(m.decode(m.COMMANDS, batch.payload))
        if isinstance(command, m.NewOrder)
    }
    found, reasons = answers(entries)
    skipped = {*skips_in(entries, Shard("matching")), *skips_in(entries, Shard("credit"))}
    state = world.processes[0].replica.machine.snapshot()
    _shard, _shards, ledger = msgspec.msgpack.decode(state, type=tuple[int, int, LedgerState])

    assert found == Counter(orders)
    assert {order for order in orders if reasons[order] == m.Reason.SKIPPED} == skipped & orders
    assert skipped & orders
    assert skipped.isdisjoint(sequence for sequence, *_terms in ledger.reservations)


# --- when it counts -------------------------------------------------------------------------------


def proposed(outputs: int, incarnation: int = 1, sequence: int = 5) -> m.SkipMessage:
    return m.SkipMessage("matching.0", sequence, incarnation, outputs, "why")


def output(number: int):
    return encode_batch("matching.0", m.RESULTS, number, b"\x90", count=1)


def opening(incarnation: int = 1):
    return encode_batch("matching.0", CONTROL, 0, b"", count=1, incarnation=incarnation)


def skips_after(*acts) -> Skips:
    """What is known after a log of outputs, openings and proposals that begins at sequence 10."""
    skips = Skips(Sharding(Shard("matching")))
    for place, act in enumerate(acts, 10):
        batch = act if not isinstance(act, m.SkipMessage) else encode_batch("operator", m.OPERATIONS, 1, b"", count=1)
        batch.first_sequence = place
        if isinstance(act, m.SkipMessage):
            skips.propose(batch, [act])
        elif batch.channel == CONTROL:
            skips.open(batch)
        else:
            skips.note(batch)
    return skips


@pytest.mark.parametrize(
    ("acts", "in_force"),
    [
        ((output(1), proposed(1), opening()), {5: 12}),
        ((output(1), proposed(1)), {}),
        ((proposed(0), output(1), opening()), {}),
        ((output(1), opening(), proposed(1)), {}),
        ((proposed(0, incarnation=2), opening()), {}),
        ((proposed(0, incarnation=2), opening(1), opening(2)), {5: 12}),
        ((proposed(0), proposed(0, sequence=6), opening()), {5: 12, 6: 12}),
        ((proposed(0, sequence=10), opening()), {}),
        ((proposed(0), output(1), proposed(1), opening()), {5: 13}),
    ],
    ids=[
        "nothing was put out since",
        "nothing is decided before the opening",
        "an output just before it",
        "asked for too late",
        "another incarnation",
        "decided by the one that it names",
        "two at once",
        "of what comes behind it",
        "asked for again after one that is void",
    ],
)
def test_it_is_decided_where_the_incarnation_is_opened(acts, in_force):
    """In force if the last output in the log is the one that it names; void if not."""
    assert {sequence: one.opened for sequence, one in skips_after(*acts).in_force.items()} == in_force


def test_a_shadow_cannot_skip():
    """What it is stopped at the shard in force may have acted on: its proposal is void, whoever opens what."""
    for shard in (Shard("matching"), Shard("matching", 0, 2)):
        skips = Skips(Sharding(shard))
        ask = encode_batch("operator", m.OPERATIONS, 1, b"", count=1)
        ask.first_sequence = 10
        skips.propose(ask, [m.SkipMessage("matching.0of2", 5, 1, 0)])
        opened = encode_batch("matching.0of2", CONTROL, 0, b"", count=1, incarnation=1)
        opened.first_sequence = 11

        assert skips.open(opened) == []
        assert skips.in_force == {}


@pytest.mark.parametrize("name", ["matching.evil", "matching.", "matching.0.state", "matching.1of", "matching", "m.0"])
def test_a_session_under_a_name_that_is_no_shard_is_nobodys(name: str):
    """Anybody may open one: it stops no replica, and is not counted."""
    replica = Replica(Matching(), "matching.0")
    opened = encode_batch(name, CONTROL, 0, b"", count=1, incarnation=1)
    ask = m.SkipMessage(name, 1, 1, 0)
    said = encode_batch("operator", m.OPERATIONS, 1, m.ENCODER.encode([ask]), count=1)
    sequencer = Sequencer()
    sequencer.take([encode_batch("gateway.1", m.COMMANDS, 1, m.ENCODER.encode([m.Tick()]), count=1)])
    sequencer.take([said])
    sequencer.take([opened])
    for entry in sequencer.log.entries:
        replica.apply(entry)

    assert len(sequencer.log.entries) == 3
    assert (replica.skips.openings, replica.skips.in_force, replica.overruled_by) == (0, {}, 0)


def test_siblings_do_not_obey_and_other_numbers_do():
    """With two shards in force, what one skips is no matter of the other, and one of a whole."""
    obeyed = {}
    for shard in (Shard("matching"), Shard("matching", 0, 2), Shard("matching", 1, 2), Shard("matching", 3, 4)):
        skips = Skips(Sharding(shard, ShardingState(2, 3, [])))
        ask = encode_batch("operator", m.OPERATIONS, 1, b"", count=1)
        ask.first_sequence = 10
        skips.propose(ask, [m.SkipMessage("matching.1of2", 5, 1, 0)])
        opened = encode_batch("matching.1of2", CONTROL, 0, b"", count=1, incarnation=1)
        opened.first_sequence = 11
        obeyed[shard.sender] = skips.open(opened)

    assert obeyed == {"matching.0": [5], "matching.0of2": [], "matching.1of2": [5], "matching.3of4": [5]}


def test_an_output_that_comes_too_late_is_refused():
    """What a replica put out just before it heard of the opening never enters the log."""
    sequencer = Sequencer()
    sequencer.take([output(1)])
    late = encode_batch("matching.0", m.RESULTS, 2, b"\x90", count=1, previous=output(1).digest)
    sequencer.open("matching.0")
    sequencer.take([late])

    assert sequencer.sessions.position("matching.0").number == 1
    assert len(sequencer.log.entries) == 2


# --- what a machine answers -----------------------------------------------------------------------


def refused(machine, message, channel=m.COMMANDS, sequence=10):
    (run,) = without([Run(sequence, channel, [message], 1)], {sequence: Decided(99, "any.0")})
    return advance(machine, 1, run)


@pytest.mark.parametrize(
    ("command", "credit", "matching"),
    [
        (
            m.NewOrder(1, 1, 1, "a", 1, 5, 5),
            [m.CreditDecisions(10, 1, [(0, m.Reason.SKIPPED)])],
            m.OrderRejected(10, m.Reason.SKIPPED),
        ),
        (
            m.ReplaceOrder(1, 1, 1, "a", 5, 5),
            [m.CreditDecisions(10, 1, [(0, m.Reason.SKIPPED)])],
            m.ReplaceRejected(10, m.Reason.SKIPPED),
        ),
        (m.CancelOrder(1, 1, 1, "a"), [], m.CancelRejected(10, m.Reason.SKIPPED)),
        (m.CancelAll(1, 1), [], m.CancelRejected(10, m.Reason.SKIPPED)),
        (m.HaltInstrument(1, 1, 1), [], m.InstrumentRejected(10, m.Reason.SKIPPED)),
        (m.SetInstrument(1, 1, "S", "USD", 1, 0, 1, 0), [], m.InstrumentRejected(10, m.Reason.SKIPPED)),
        (m.SetCredit(0, 1, 1, "USD", 5, 0), [m.CreditRejected(10, m.Reason.SKIPPED)], None),
        (m.RegisterClient(0, 1, "C1"), [m.CreditRejected(10, m.Reason.SKIPPED)], None),
        (m.BlockClient(0, 1, 1), [m.CreditRejected(10, m.Reason.SKIPPED)], None),
        (m.Tick(), [], None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, m.Message) else "",
)
def test_the_answer_is_a_refusal(command, credit, matching):
    """By credit at once; by matching in its turn, which for an order comes with credit's decision."""
    assert refused(Credit(), command) == credit
    engine = Matching()
    events = refused(engine, command)
    if isinstance(command, m.NewOrder | m.ReplaceOrder):
        assert events == []
        events = engine.apply(2, 11, m.DECISIONS, [m.CreditDecisions(10, 1)])

    assert events == ([] if matching is None else [matching])
    assert not engine.waiting()


@pytest.mark.parametrize("shard", [(0, 1), (0, 2), (1, 2), (3, 4)])
def test_no_symbol_gets_an_id_by_being_skipped(shard):
    """In a shard of any number the next new symbol has the same id; the rejection is one shard's."""
    engine = Matching(*shard)
    engine.apply(1, 1, m.COMMANDS, [m.SetInstrument(0, 1, "A", "USD", 1, 0, 1, 0)])
    refused(engine, m.SetInstrument(0, 1, "BAD", "USD", 1, 0, 1, 0))
    engine.apply(1, 11, m.COMMANDS, [m.SetInstrument(0, 1, name, "USD", 1, 0, 1, 0) for name in "BCDE"])
    ids = {symbol: instrument_id for instrument_id, symbol in engine.symbols().items()}

    assert ids == {name: at for at, name in enumerate("ABCDE", 1) if at % shard[1] == shard[0]}


def test_what_concerns_no_instrument_waits_in_no_queue():
    """An order for instrument 0 waits; a skipped CancelAll of everything does not wait behind it."""
    engine = Matching()
    engine.apply(1, 1, m.COMMANDS, [m.NewOrder(1, 1, 0, "a", 1, 5, 5)])
    engine.apply(1, 2, m.DECISIONS, [m.CreditDecisions(9, 1)])
    engine.turn()

    assert refused(engine, m.CancelAll(1, 2)) == [m.CancelRejected(10, m.Reason.SKIPPED)]


def test_a_decision_is_never_skipped():
    """The orders that it is about would wait for ever: the operator is told to skip one of these."""
    with pytest.raises(ValueError, match="skip an order that it is about, of 3 to 6"):
        refused(Matching(), m.CreditDecisions(3, 4), m.DECISIONS)


def test_a_trade_that_credit_skips_changes_nothing():
    """What it would have used stays reserved, so that nobody can spend it twice; the sum holds."""
    machine = Credit()
    machine.apply(1, 1, m.COMMANDS, [m.RegisterClient(0, 1, "C1"), m.SetCredit(0, 2, 1, "USD", 1000, 0)])
    machine.apply(1, 3, m.RESULTS, [m.InstrumentSet(9, 1, "S", "USD", 1, 0, 1, 0, 0, 0)])
    machine.apply(1, 4, m.COMMANDS, [m.NewOrder(1, 1, 1, "a", 1, 10, 7)])
    before = machine.account(1)

    assert refused(machine, m.Trade(1, 10, 7, 4, 99), m.RESULTS) == []
    assert machine.account(1) == before == [("USD", 2, 100_000, 93_000, 7_000, 0)]


class _Reader:
    """A machine that only reads."""

    name, reads, writes = "reader", (m.COMMANDS,), 0

    def __init__(self):
        self.seen = []

    def apply(self, _time_ns, first_sequence, _channel, messages):
        self.seen += [first_sequence + offset for offset in range(len(messages))]
        return []


def test_one_that_only_reads_is_not_told_of_it():
    """It needs no `skip`; one that writes does, since something has to answer."""
    reader = _Reader()
    for run in without([Run(10, m.COMMANDS, [m.Tick()] * 5, 5)], dict.fromkeys((12, 14), Decided(99, "reader.0"))):
        advance(reader, 1, run)
    assert reader.seen == [10, 11, 13]

    reader.writes = m.RESULTS
    with pytest.raises(ValueError, match="no `skip`"):
        refused(reader, m.Tick())
