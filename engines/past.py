"""A machine as it was at any place of the log: everything up to a sequence number applied, and nothing behind it.

entries --runs--> whole ones | the one that holds the place: its messages up to there | the rest is left
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from engines.machine import Machine
from engines.messages import Message
from engines.runs import Run, runs
from sequencer.envelope import Entry

M = TypeVar("M", bound=Machine)


def advance(machine: Machine, time_ns: int, run: Run) -> list[Message]:
    """Have a machine take a run; what follows from it. Raises what the machine raises."""
    if run.reason:
        return machine.reject(time_ns, run.first_sequence, run.channel, run.count, run.reason)
    return machine.apply(time_ns, run.first_sequence, run.channel, run.messages)


def until(entries: Iterable[Entry], last_sequence: int) -> Iterator[Entry]:
    """The entries up to the one that holds a sequence number; 0 means all."""
    for entry in entries:
        if last_sequence and entry.first_sequence > last_sequence:
            return
        yield entry


def runs_until(machine: Machine, entry: Entry, last_sequence: int) -> Iterator[Run]:
    """What a machine gets of an entry up to a sequence number. A batch that cannot be read is not cut."""
    for run in runs(entry.batches(), machine.reads):
        room = last_sequence + 1 - run.first_sequence
        if not last_sequence or run.count <= room:
            yield run
        elif room > 0 and not run.reason:
            yield Run(run.first_sequence, run.channel, run.messages[:room], room)


def machine_at(machine: M, entries: Iterable[Entry], last_sequence: int) -> M:
    """The machine, after everything up to a sequence number (0: after all)."""
    for entry in until(entries, last_sequence):
        for run in runs_until(machine, entry, last_sequence):
            advance(machine, entry.time_ns, run)
    return machine


def one_by_one(machine: Machine, entry: Entry) -> Iterator[Run]:
    """What a machine gets of an entry, cut into runs of a single message each: it means the same."""
    for run in runs(entry.batches(), machine.reads):
        if run.reason:
            yield run
            continue
        for offset, message in enumerate(run.messages):
            yield Run(run.first_sequence + offset, run.channel, [message], 1)
