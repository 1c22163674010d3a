"""Law 12 under resharding: whatever the number of shards, and whenever it changes, the events are the same."""

import os

import pytest

from engines import messages as m
from engines import snapshot as images
from engines.past import advance, finish, machine_at, piecemeal
from engines.replica import Replica
from engines.sharding import Shard, Sharding, ShardingState, named, parsed
from engines.skips import skips_in
from gateways.orders import Orders, runs
from sequencer.errors import ConfigError
from tests.models.poisoned import counts, vouched
from tests.models.resharded import COUNTS, Venue
from tests.models.venue import by_instrument, expected_events

SEEDS = range(25 if "ISLAND_THOROUGH" in os.environ else 12)


def messages_of(entries, channel):
    """(sequence number, time, message) of everything on a channel."""
    return [
        (batch.first_sequence + offset, entry.time_ns, message)
        for entry in entries
        for batch in entry.batches()
        if batch.channel == channel
        for offset, message in enumerate(m.decode(channel, batch.payload))
    ]


def without_sums(found):
    """What is left when the answers to mass cancels are taken out: these are told by shard, and by an end of time."""
    kept = {key: [one for one in events if not isinstance(one, m.MassCanceled)] for key, events in found.items()}
    return {key: events for key, events in kept.items() if events}


@pytest.mark.parametrize("seed", SEEDS)
def test_each_instrument_has_the_events_of_the_naive_model(seed: int):
    """With replicas that begin again on the way, from the log or from snapshots, and shards of all numbers."""
    venue = Venue(seed)
    venue.run(1500)
    venue.settle()
    entries = venue.sequencer.log.entries
    commands = messages_of(entries, m.COMMANDS)
    events = [event for _at, _time, event in messages_of(entries, m.RESULTS) if not isinstance(event, m.ShardClosed)]
    expected = expected_events(commands)

    assert without_sums(by_instrument(commands, events)) == without_sums(by_instrument(commands, expected))
    for process in venue.processes:
        again = Replica(process.make(), process.shard)
        for entry in entries:
            again.apply(entry)
        state = images.encode(again.snapshot())
        assert images.encode(process.replica.snapshot()) == state
        assert not again.unconfirmed
        offline = machine_at(process.make(), entries, 0, {}, Sharding(named(process.shard)))
        assert offline.snapshot() == again.machine.snapshot()
        cut, sharding = process.make(), Sharding(named(process.shard))
        for entry in entries:
            for run in piecemeal(cut, entry):
                advance(cut, entry.time_ns, run)
            finish(cut, entry, sharding)
        assert cut.snapshot() == again.machine.snapshot()
        for snapshot, vouch in vouched(entries, process.shard, process.images)[::5]:
            replica = Replica.resumed(process.make(), snapshot, vouch)
            for entry in entries[snapshot.index :]:
                replica.apply(entry)
            assert images.encode(replica.snapshot()) == state


@pytest.mark.parametrize("seed", SEEDS)
def test_every_command_has_one_answer(seed: int):
    """As a gateway reads the log: nothing stays pending, and nothing is answered twice."""
    venue = Venue(seed)
    venue.run(1500)
    venue.settle()
    orders = Orders()
    for entry in venue.sequencer.log.entries:
        for first_sequence, channel, messages in runs(entry):
            orders.apply(first_sequence, entry.time_ns, channel, messages)

    assert orders.pending == {}
    assert orders.mass_canceled == {}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_one_shard_was_told_to_skip_every_later_one_skips(seed: int):
    """Poison in between: shards of any number, that come later or were there as shadows, obey the same skips."""
    venue = Venue(seed, poison_share=0.01)
    venue.run(1500)
    venue.settle()
    entries = venue.sequencer.log.entries
    for process in venue.processes:
        skipped = skips_in(entries, named(process.shard))
        again = Replica(process.make(), process.shard, skipped)
        for entry in entries:
            again.apply(entry)
        state = images.encode(again.snapshot())
        assert images.encode(process.replica.snapshot()) == state
        for snapshot, vouch in vouched(entries, process.shard, process.images)[::5]:
            if counts(snapshot, skipped):
                replica = Replica.resumed(process.make(), snapshot, vouch, skipped)
                for entry in entries[snapshot.index :]:
                    replica.apply(entry)
                assert images.encode(replica.snapshot()) == state
    commands = messages_of(entries, m.COMMANDS)
    skips = {at: int(m.Reason.SKIPPED) for name in COUNTS for at in skips_in(entries, Shard(name))}
    events = [event for _at, _time, event in messages_of(entries, m.RESULTS) if not isinstance(event, m.ShardClosed)]
    expected = expected_events(commands, skips)

    assert without_sums(by_instrument(commands, events)) == without_sums(by_instrument(commands, expected))


def test_the_number_of_shards_does_change():
    """The seeds above see every number of each machine in force, and orders that wait while it changes."""
    seen = set()
    for seed in SEEDS:
        venue = Venue(seed)
        venue.run(1500)
        venue.settle()
        for entry in venue.sequencer.log.entries:
            seen |= {batch.sender for batch in entry.batches() if batch.channel in (m.DECISIONS, m.RESULTS)}

    assert {"credit.0", "credit.1of2", "credit.2of3", "matching.0", "matching.1of2", "matching.3of4"} <= seen


# --- names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shard", [Shard("matching"), Shard("credit", 1, 2), Shard("my.own", 11, 12)])
def test_a_shard_is_known_by_its_name(shard: Shard):
    """In the log, and as users write it."""
    assert named(shard.sender) == shard
    assert parsed(shard.machine, shard.spec) == shard
    assert Shard("matching").sender == "matching.0"


@pytest.mark.parametrize("spec", ["", "1", "2/2", "-1/2", "0/0", "0/65", "a/b", "1/2/3"])
def test_what_is_no_shard_is_refused(spec: str):
    """With what was expected."""
    with pytest.raises(ConfigError, match="expected a shard as I/N"):
        parsed("matching", spec)


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ([m.Reshard("matching", 2)], 2),
        ([m.Reshard("credit", 2)], 1),
        ([m.Reshard("matching", 0)], 1),
        ([m.Reshard("matching", 65)], 1),
        ([m.Reshard("matching", 1)], 1),
        ([m.Reshard("matching", 2), m.Reshard("matching", 4)], 2),
    ],
)
def test_what_changes_the_number(asked, count):
    """One change at a time, of this machine, to a number that makes sense."""
    sharding = Sharding(Shard("matching"))
    for sequence, operation in enumerate(asked, 10):
        sharding.hear(sequence, operation)
        sharding.turn()

    assert sharding.count == count
    assert sharding.state() == (ShardingState(2, 10, ["matching.0"]) if count == 2 else ShardingState())
