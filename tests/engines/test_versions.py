"""New rules begin at one place of the log, for every replica and in every replay."""

import pytest

from engines import messages as m
from engines import snapshot as images
from engines.messages import COMMANDS, ENCODER, OPERATIONS, RESULTS
from engines.past import machine_at
from engines.replica import Replica
from engines.snapshot import Snapshot
from sequencer.envelope import encode_batch
from sequencer.errors import VersionError
from tests.models.shards import Log


class Old:
    """Answers each command with the number of commands so far. It knows one version."""

    name, reads, writes = "counting", (COMMANDS,), RESULTS

    def __init__(self):
        self.count = 0

    def apply(self, _time_ns, first_sequence, _channel, messages):
        events = []
        for sequence in range(first_sequence, first_sequence + len(messages)):
            self.count += self.step()
            events.append(m.MassCanceled(sequence, self.count))
        return events

    def step(self):
        return 1

    def reject(self, *_given):
        return []

    def snapshot(self):
        return ENCODER.encode(self.count)

    def restore(self, state):
        self.count = int.from_bytes(state[-1:], "big") if len(state) == 1 else int.from_bytes(state[1:], "big")


class New(Old):
    """From version 2 on each command counts ten, from 3 on a hundred."""

    version = 3

    def __init__(self):
        super().__init__()
        self.rules = 1

    def step(self):
        return 10 ** (self.rules - 1)

    def activate(self, version):
        self.rules = version


def said(number, channel, *messages):
    return encode_batch(f"s{channel}", channel, number, ENCODER.encode(list(messages)), count=len(messages))


def log_of(*acts):
    """An entry each: a number of commands, or operations."""
    log = Log()
    for number, act in enumerate(acts, 1):
        batch = said(number, COMMANDS, *[m.Tick()] * act) if isinstance(act, int) else said(number, OPERATIONS, *act)
        log.add(batch)
    return log.entries


ENTRIES = log_of(2, [m.Activate("counting", 2)], 2, [m.Activate("other", 3)], 1, [m.Activate("counting", 3)], 1)


def outputs(replica, entries):
    return [event.count for entry in entries for batch in replica.apply(entry) for event in events_in(batch)]


def events_in(batch):
    return m.decode(RESULTS, batch.payload)


def test_what_comes_before_follows_the_old_rules():
    """And what comes behind it the new ones; another machine's versions are its own."""
    assert outputs(Replica(New(), "counting.0"), ENTRIES) == [1, 2, 12, 22, 32, 132]


@pytest.mark.parametrize("cut", range(1, len(ENTRIES)))
def test_a_snapshot_knows_the_rules(cut: int):
    """A replica that begins with it goes on with those that were in force there."""
    whole, vouch = Replica(New(), "counting.0"), said(1, m.STATES)
    outputs(whole, ENTRIES[:cut])
    taken = images.decode(images.encode(whole.snapshot()))
    resumed = Replica.resumed(New(), taken, vouch)

    assert isinstance(taken, Snapshot)
    assert outputs(resumed, ENTRIES[cut:]) == outputs(whole, ENTRIES[cut:])


def test_a_program_that_does_not_know_them_stops_there():
    """What it made before is its own to say; nothing behind it is applied under rules that are over."""
    replica = Replica(Old(), "counting.0")
    assert outputs(replica, ENTRIES[:1]) == [1, 2]
    with pytest.raises(VersionError, match=r"version 2 of counting .* knows versions up to 1: run the newer"):
        replica.apply(ENTRIES[1])

    assert (replica.position, replica.number) == (3, 1)


@pytest.mark.parametrize("asked", [0, -1, 1])
def test_what_is_no_later_version_is_void(asked: int):
    """The rules in force stay."""
    entries = log_of([m.Activate("counting", 2)], [m.Activate("counting", asked)], 1)

    assert outputs(Replica(New(), "counting.0"), entries) == [10]


def test_tools_follow_them_too():
    """A machine as it was at any place."""
    counts = [machine_at(New(), ENTRIES, entry.next_sequence - 1).count for entry in ENTRIES]

    assert counts == [2, 2, 22, 22, 32, 32, 132]
