"""A replica: what its machine gets of the log, and what it makes of its own outputs in it."""

import pytest

from engines.messages import COMMANDS, DECISIONS, ENCODER, RESULTS, CancelAll, MassCanceled, Message, Reason, Tick
from engines.replica import OUTPUT_MESSAGES, Replica
from engines.runs import runs
from sequencer.envelope import NO_DIGEST, encode_batch, encode_entry
from sequencer.errors import DivergedError


class Echo:
    """Answers each command with one event, and remembers what it was given."""

    name = "echo"
    reads = (COMMANDS, DECISIONS)
    writes = RESULTS

    def __init__(self, answer=1):
        self.answer = answer
        self.seen = []

    def apply(self, _time_ns, first_sequence, channel, messages) -> list[Message]:
        self.seen.append((first_sequence, channel, len(messages)))
        return [MassCanceled(first_sequence + offset, self.answer) for offset in range(len(messages))]

    def reject(self, _time_ns, first_sequence, channel, count, reason) -> list[Message]:
        self.seen.append((first_sequence, channel, -count, reason))
        return []


class Log:
    """Entries one after the other."""

    def __init__(self):
        self.entries = []

    def add(self, *batches):
        last = self.entries[-1] if self.entries else None
        self.entries.append(
            encode_entry(
                batches,
                cluster=bytes(16),
                term=1,
                index=len(self.entries) + 1,
                first_sequence=last.next_sequence if last else 1,
                time_ns=1,
                previous=last.digest if last else NO_DIGEST,
            )
        )
        return self.entries[-1]


def batch(channel, *messages, count=None, payload=None):
    data = ENCODER.encode(list(messages)) if payload is None else payload
    return encode_batch("gateway.t", channel, 1, data, count=len(messages) if count is None else count)


def ticks(count):
    return batch(COMMANDS, *[Tick()] * count)


def test_consecutive_batches_of_a_channel_are_one_run():
    """A run ends where the channel changes, or where a batch is not for the machine."""
    entry = Log().add(ticks(2), ticks(3), batch(RESULTS, MassCanceled(1, 1)), ticks(1), batch(DECISIONS, count=1))
    found = [(run.first_sequence, run.channel, run.count, run.reason) for run in runs(entry.batches(), Echo.reads)]

    assert found == [(1, COMMANDS, 5, 0), (7, COMMANDS, 1, 0), (8, DECISIONS, 1, Reason.FALSE_COUNT)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (batch(COMMANDS, payload=b"\xc1", count=2), Reason.UNDECODABLE),
        (batch(COMMANDS, payload=ENCODER.encode([[99, 1, 2]]), count=1), Reason.UNDECODABLE),
        (batch(COMMANDS, Tick(), Tick(), count=3), Reason.FALSE_COUNT),
        (batch(COMMANDS, payload=b"\x91" * 5000, count=1), Reason.UNDECODABLE),
    ],
)
def test_a_batch_that_cannot_be_read_is_void_as_a_whole(bad, reason):
    """The machine is told its place, count and why; what stands around it is read."""
    replica = Replica(Echo(), "echo.0")
    replica.apply(Log().add(ticks(1), bad, ticks(1)))
    count = bad.count

    assert replica.machine.seen == [(1, COMMANDS, 1), (2, COMMANDS, -count, reason), (2 + count, COMMANDS, 1)]


def test_replicas_make_the_same_bytes_cut_at_a_fixed_count():
    """What an entry gives is cut into batches of OUTPUT_MESSAGES, chained, with the entry as their cause."""
    first, second = (Replica(Echo(), "echo.0") for _ in range(2))
    entry = Log().add(ticks(OUTPUT_MESSAGES + 1))
    made = first.apply(entry)

    assert [(b.number, b.count, b.cause) for b in made] == [(1, OUTPUT_MESSAGES, 1), (2, 1, 1)]
    assert made[1].previous == made[0].digest
    assert [b.data for b in made] == [b.data for b in second.apply(entry)]


def test_the_own_output_in_the_log_is_a_confirmation():
    """Seen in the stream, an output is no longer waited for."""
    log, replica = Log(), Replica(Echo(), "echo.0")
    made = replica.apply(log.add(ticks(1)))
    replica.apply(log.add(*made))

    assert (replica.confirmed, len(replica.unconfirmed)) == (1, 0)


def test_a_replica_that_differs_from_the_log_stops():
    """An output in the log that this replica did not make, or made otherwise, is never passed over."""
    log = Log()
    made = Replica(Echo(answer=1), "echo.0").apply(log.add(ticks(1)))
    differing = Replica(Echo(answer=2), "echo.0")
    differing.apply(log.entries[0])

    with pytest.raises(DivergedError, match=r"output 1 of echo\.0 at sequence 2"):
        differing.apply(log.add(*made))


def test_what_raises_leaves_no_output_behind():
    """A message that a machine cannot take has no effect that others could see."""

    class Poisoned(Echo):
        def apply(self, time_ns, first_sequence, channel, messages):
            if any(isinstance(message, CancelAll) for message in messages):
                raise ZeroDivisionError
            return super().apply(time_ns, first_sequence, channel, messages)

    replica = Replica(Poisoned(), "echo.0")
    entry = Log().add(ticks(1), batch(DECISIONS, count=1, payload=b"\x90"), batch(COMMANDS, CancelAll(1, 1)))
    with pytest.raises(ZeroDivisionError):
        replica.apply(entry)

    assert (replica.number, replica.position) == (0, 0)
