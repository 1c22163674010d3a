"""A machine as it was at any place of the log: everything up to a sequence number applied, and nothing behind it.

entries --runs--> whole ones | the one that holds the place: its messages up to there | the rest is left
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeVar

from engines.machine import Machine, Refusing, Turning
from engines.messages import OPERATIONS, CreditDecisions, Message
from engines.runs import Run, operations_in, runs
from engines.sharding import Shard, Sharding
from engines.skips import Decided, without
from engines.versions import activate, asked_in
from sequencer.envelope import Entry

M = TypeVar("M", bound=Machine)
NOTHING_SKIPPED: Final[Mapping[int, Decided]] = {}


def advance(machine: Machine, time_ns: int, run: Run) -> list[Message]:
    """Have a machine take a run, or refuse it; what follows from it. Raises what the machine raises.

    A machine that cannot refuse is not told of what was skipped; only one that writes nothing may go without.
    """
    if run.skipped:
        if isinstance(machine, Refusing):
            return machine.skip(time_ns, run.first_sequence, run.channel, run.messages[0])
        if machine.writes:
            raise ValueError(f"{machine.name} has no `skip`: nothing would answer the message that was skipped")
        return []
    if run.reason:
        return machine.reject(time_ns, run.first_sequence, run.channel, run.count, run.reason)
    return machine.apply(time_ns, run.first_sequence, run.channel, run.messages)


def until(entries: Iterable[Entry], last_sequence: int) -> Iterator[Entry]:
    """The entries up to the one that holds a sequence number; 0 means all."""
    for entry in entries:
        if last_sequence and entry.first_sequence > last_sequence:
            return
        yield entry


def runs_until(machine: Machine, entry: Entry, last_sequence: int, skipped: Mapping[int, Decided]) -> Iterator[Run]:
    """What a machine gets of an entry up to a sequence number. A batch that cannot be read is not cut."""
    for run in without(runs(entry.batches(), machine.reads), skipped):
        room = last_sequence + 1 - run.first_sequence
        if not last_sequence or run.count <= room:
            yield run
        elif room > 0 and not run.reason:
            yield run.part(run.first_sequence, last_sequence + 1)


def machine_at(
    machine: M,
    entries: Iterable[Entry],
    last_sequence: int,
    skipped: Mapping[int, Decided] = NOTHING_SKIPPED,
    sharding: Sharding | None = None,
) -> M:
    """The machine, after everything up to a sequence number (0: after all).

    `skipped` are the skips in the log, `sharding` is what is known of its shards before the first entry.
    """
    sharding = sharding or Sharding(Shard(machine.name), silent=not machine.writes)
    for entry in until(entries, last_sequence):
        for run in runs_until(machine, entry, last_sequence, skipped):
            advance(machine, entry.time_ns, run)
        if not last_sequence or entry.next_sequence <= last_sequence + 1:
            finish(machine, entry, sharding)
    return machine


def finish(machine: Machine, entry: Entry, sharding: Sharding) -> list[Message]:
    """What the end of an entry does to a machine: its shards change, its rules do; what follows from that."""
    asked, events = 0, []
    for batch in entry.batches():
        if batch.channel == OPERATIONS:
            operations = operations_in(batch)
            sharding.hear_all(batch.first_sequence, operations)
            asked = max(asked, asked_in(operations, machine.name))
        elif sharding.closing:
            sharding.see(batch.sender, batch.payload)
    if sharding.ends and isinstance(machine, Turning):
        events = machine.turn()
    sharding.turn()
    activate(machine, asked)
    return events


def one_by_one(machine: Machine, entry: Entry, skipped: Mapping[int, Decided] = NOTHING_SKIPPED) -> Iterator[Run]:
    """What a machine gets of an entry, cut into runs of a single message each: it means the same."""
    for run in without(runs(entry.batches(), machine.reads), skipped):
        if run.reason or run.skipped:
            yield run
            continue
        for offset in range(run.count):
            yield run.part(run.first_sequence + offset, run.first_sequence + offset + 1)


def piecemeal(machine: Machine, entry: Entry, skipped: Mapping[int, Decided] = NOTHING_SKIPPED) -> Iterator[Run]:
    """The same, with a decision about many orders cut into one about each: that means the same as well."""
    for run in one_by_one(machine, entry, skipped):
        decision = run.messages[0] if run.messages else None
        if not isinstance(decision, CreditDecisions) or run.skipped:
            yield run
            continue
        refused = dict(decision.refused)
        for offset in range(decision.count):
            reason = refused.get(offset)
            refusal = [] if reason is None else [(0, reason)]
            part = CreditDecisions(decision.first_sequence + offset, 1, refusal, decision.shard, decision.shards)
            yield Run(run.first_sequence, run.channel, [part], 1)
