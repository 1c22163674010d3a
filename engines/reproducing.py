"""Doing one message again, offline: what a machine makes of it, from the state that it was in.

    snapshot before it --> messages up to it --> the message alone --> events | an error | no end

Rules
- It runs in a forked process, which tells each message that it begins: one without an end costs nothing but time.
- Messages of the entry in question are applied one by one, which means the same as together: so the one that raises is
  known, and not only its entry.
"""

import contextlib
import hashlib
import io
import os
import pdb  # noqa: T100 - `poison reproduce --debug` opens it
import select
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from engines.forking import fork
from engines.machine import Machine
from engines.messages import CreditDecisions, shown
from engines.past import advance, finish, machine_at, one_by_one, piecemeal
from engines.runs import Run
from engines.sharding import Sharding
from engines.skips import Decided
from sequencer.client import bound_memory, host_mib
from sequencer.envelope import Entry
from sequencer.errors import IslandError

NO_END_S: Final = 5.0
PATIENCE_S: Final = 600.0
FIELD_BYTES_MAX: Final = 20_000


class Outcome(msgspec.Struct):
    """What became of a message. `ended` is false where it took longer than it was given.

    `command` is what was in hand: the order, where the message is a decision about orders, else the message itself.
    """

    sequence: int = 0
    command: int = 0
    time_ns: int = 0
    type: str = ""
    fields: dict[str, Any] = {}
    state: str = ""
    """SHA-256 of the machine's snapshot before it, in hexadecimal."""
    ended: bool = True
    seconds: float = 0.0
    events: list[tuple[str, dict[str, Any]]] = []
    error: str = ""
    traceback: str = ""

    @property
    def failed(self) -> bool:
        """Whether the machine cannot take it."""
        return bool(self.error) or not self.ended


Tell = Callable[[Outcome], None]
Skipped = Mapping[int, Decided]


def reproduce(
    machine: Machine,
    entries: Iterable[Entry],
    sequence: int,
    skipped: Skipped,
    sharding: Sharding,
    *,
    no_end_s: float = NO_END_S,
    patience_s: float = PATIENCE_S,
) -> Outcome:
    """What the machine makes of the message at a sequence number, after everything before it.

    `machine` is in the state before the first of `entries`, in which `skipped` are skipped; the message itself is
    not; `sharding` is what is known of its shards there. Raises IslandError where the log does not reach so far.
    """

    def again(tell: Tell) -> Outcome:
        entry = _before(machine, entries, sequence, skipped, sharding)
        for run in one_by_one(machine, entry, _others(skipped, sequence)):
            if run.first_sequence + run.count <= sequence:
                advance(machine, entry.time_ns, run)
            elif run.first_sequence <= sequence:
                outcome = _described(entry, run)
                outcome.state = _digest(machine)
                return _do(machine, entry.time_ns, run, outcome, tell)
        raise IslandError(f"the machine does not read what is at sequence {sequence:,}: another one does")

    return _in_child(again, no_end_s, patience_s)


def locate(
    machine: Machine,
    entries: Iterable[Entry],
    sequence: int,
    skipped: Skipped,
    sharding: Sharding,
    *,
    no_end_s: float = NO_END_S,
    patience_s: float = PATIENCE_S,
) -> Outcome:
    """The first message of the entry of `sequence` that the machine cannot take; one of number 0, where it takes all.

    It is looked for in a process of its own. `machine` goes up to it in this one, to tell the state before it.
    """
    entry = _before(machine, entries, sequence, skipped, sharding)

    def scan(tell: Tell) -> Outcome:
        for run in piecemeal(machine, entry, skipped):
            outcome = _do(machine, entry.time_ns, run, _described(entry, run), tell)
            if outcome.failed:
                return outcome
        return _end(machine, entry, sharding, tell)

    found = _in_child(scan, no_end_s, patience_s)
    if found.failed:
        for run in piecemeal(machine, entry, skipped):
            if (run.first_sequence, _command(run)) == (found.sequence, found.command):
                break
            advance(machine, entry.time_ns, run)
        found.state = _digest(machine)
    return found


def debug(machine: Machine, entries: Iterable[Entry], sequence: int, skipped: Skipped, sharding: Sharding) -> None:
    """Do it again in this process, and open the debugger where it raises, or before it, where it does not."""
    entry = _before(machine, entries, sequence, skipped, sharding)
    for run in one_by_one(machine, entry, _others(skipped, sequence)):
        if run.first_sequence < sequence:
            advance(machine, entry.time_ns, run)
            continue
        try:
            print(f"{len(advance(machine, entry.time_ns, run))} events, no error")
        except Exception:  # noqa: BLE001 - whatever it is, it is what the user wants to see
            traceback.print_exc()
            pdb.post_mortem()
        return


def _before(machine: Machine, entries: Iterable[Entry], sequence: int, skipped: Skipped, sharding: Sharding) -> Entry:
    """Apply all entries before the one that holds a sequence number, and return that."""
    for entry in entries:
        if entry.next_sequence > sequence:
            return entry
        machine_at(machine, [entry], 0, skipped, sharding)
    raise IslandError("the log does not reach so far: `sequencer status` tells how far it goes")


def _end(machine: Machine, entry: Entry, sharding: Sharding, tell: Tell) -> Outcome:
    """What the end of an entry does: no message, but perhaps an operation among them."""
    outcome = Outcome(entry.next_sequence - 1, 0, entry.time_ns, "the end of the entry", ended=False)
    tell(outcome)
    try:
        finish(machine, entry, sharding)
    except Exception as error:  # noqa: BLE001 - it is what is looked for
        outcome.error = f"{type(error).__name__}: {error}"
        outcome.traceback = traceback.format_exc()
    outcome.ended = True
    return outcome if outcome.error else Outcome()


def _others(skipped: Skipped, sequence: int) -> Skipped:
    return {other: decided for other, decided in skipped.items() if other != sequence}


def _command(run: Run) -> int:
    message = run.messages[0] if run.messages else None
    return message.first_sequence if isinstance(message, CreditDecisions) else run.first_sequence


def _described(entry: Entry, run: Run) -> Outcome:
    kind, fields = ("Unreadable", {"count": run.count}) if run.reason else shown(run.messages[0])
    return Outcome(run.first_sequence, _command(run), entry.time_ns, kind, fields)


def _digest(machine: Machine) -> str:
    return hashlib.sha256(machine.snapshot()).hexdigest()


def _do(machine: Machine, time_ns: int, run: Run, outcome: Outcome, tell: Tell) -> Outcome:
    """Have it done; say before that it was begun."""
    outcome.ended = False
    tell(outcome)
    begin_s = time.monotonic()
    try:
        outcome.events = [shown(event) for event in advance(machine, time_ns, run)]
    except Exception as error:  # noqa: BLE001 - it is what is asked for
        outcome.error = f"{type(error).__name__}: {error}"
        outcome.traceback = traceback.format_exc()
    outcome.ended = True
    outcome.seconds = time.monotonic() - begin_s
    return outcome


def _in_child(work: Callable[[Tell], Outcome], no_end_s: float, patience_s: float) -> Outcome:
    """Do it in a forked process, which tells what it begins, and at the end the outcome."""

    def child(_read_fd: int, write_fd: int) -> None:
        bound_memory(host_mib() // 4, unless_bounded=True)  # it may be what leaks
        with contextlib.redirect_stdout(io.StringIO()), os.fdopen(write_fd, "wb", closefd=False) as out:

            def tell(outcome: Outcome) -> None:
                out.write(msgspec.json.encode(outcome) + b"\n")
                out.flush()

            try:
                tell(work(tell))
            except IslandError as error:
                out.write(msgspec.json.encode(str(error)) + b"\n")

    made = fork(child, keeps_files=True)
    told: list[bytes] = []
    rest, limit_s = b"", patience_s
    try:
        while select.select([made.read_fd], [], [], limit_s)[0]:
            part = os.read(made.read_fd, 1 << 16)
            if not part:
                break
            *whole, rest = (rest + part).split(b"\n")
            told += whole
            limit_s = no_end_s if told else patience_s
        else:
            made.kill()
    finally:
        made.bury()
    return _outcome(told, no_end_s)


def _outcome(told: list[bytes], no_end_s: float) -> Outcome:
    if not told:
        raise IslandError("the process that did it again has ended without a word: is there enough memory?")
    last = msgspec.json.decode(told[-1], type=Outcome | str)
    if isinstance(last, str):
        raise IslandError(last)
    if not last.ended:
        last.seconds = no_end_s
    return last
