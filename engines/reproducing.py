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
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from engines.forking import fork
from engines.machine import Machine
from engines.messages import shown
from engines.past import advance, machine_at, one_by_one
from engines.runs import Run
from sequencer.envelope import Entry
from sequencer.errors import IslandError

NO_END_S: Final = 5.0
FIELD_BYTES_MAX: Final = 20_000


class Outcome(msgspec.Struct):
    """What became of a message. `ended` is false where it took longer than it was given."""

    sequence: int = 0
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


Tell = Callable[[Outcome], None]


def reproduce(
    machine: Machine, entries: Iterable[Entry], sequence: int, *, no_end_s: float = NO_END_S, patience_s: float = 600.0
) -> Outcome:
    """What the machine makes of the message at a sequence number, after everything before it.

    `machine` is in the state before the first of `entries`. Raises IslandError where the log does not reach so far.
    """

    def again(tell: Tell) -> Outcome:
        entry = _before(machine, entries, lambda entry: entry.next_sequence > sequence)
        return _one_by_one(machine, entry, sequence, tell)

    return _in_child(again, no_end_s, patience_s)


def locate(machine: Machine, entries: Iterable[Entry], sequence: int) -> Outcome:
    """The first message of the entry of `sequence` at which the machine raises. For a process of its own."""
    entry = _before(machine, entries, lambda entry: entry.next_sequence > sequence)
    return _one_by_one(machine, entry, 0, lambda _outcome: None)


def debug(machine: Machine, entries: Iterable[Entry], sequence: int) -> None:
    """Do it again in this process, and open the debugger where it raises, or before it, where it does not."""
    entry = _before(machine, entries, lambda entry: entry.next_sequence > sequence)
    for run in one_by_one(machine, entry):
        if run.first_sequence < sequence:
            advance(machine, entry.time_ns, run)
            continue
        try:
            print(f"{len(advance(machine, entry.time_ns, run))} events, no error")
        except Exception:  # noqa: BLE001 - whatever it is, it is what the user wants to see
            traceback.print_exc()
            pdb.post_mortem()
        return


def _before(machine: Machine, entries: Iterable[Entry], is_it: Callable[[Entry], bool]) -> Entry:
    """Apply all entries before the one that is looked for, and return that."""
    for entry in entries:
        if is_it(entry):
            return entry
        machine_at(machine, [entry], 0)
    raise IslandError("the log does not reach so far: `sequencer status` tells how far it goes")


def _one_by_one(machine: Machine, entry: Entry, sequence: int, tell: Tell) -> Outcome:
    """Up to the message at `sequence`, or (0) up to the first that raises."""
    outcome = Outcome()
    for run in one_by_one(machine, entry):
        if sequence and run.first_sequence + run.count <= sequence:
            advance(machine, entry.time_ns, run)
            continue
        if sequence and run.first_sequence > sequence:
            break
        outcome = _begun(machine, entry, run)
        tell(outcome)
        _do(machine, entry.time_ns, run, outcome)
        if sequence or outcome.error:
            return outcome
    if sequence:
        raise IslandError(f"the machine does not read what is at sequence {sequence:,}: another one does")
    return outcome


def _begun(machine: Machine, entry: Entry, run: Run) -> Outcome:
    kind, fields = ("Unreadable", {"count": run.count}) if run.reason else shown(run.messages[0])
    state = hashlib.sha256(machine.snapshot()).hexdigest()
    return Outcome(run.first_sequence, entry.time_ns, kind, fields, state)


def _do(machine: Machine, time_ns: int, run: Run, outcome: Outcome) -> None:
    begin_s = time.monotonic()
    try:
        outcome.events = [shown(event) for event in advance(machine, time_ns, run)]
    except Exception as error:  # noqa: BLE001 - it is what is asked for
        outcome.error = f"{type(error).__name__}: {error}"
        outcome.traceback = traceback.format_exc()
    outcome.seconds = time.monotonic() - begin_s


def _in_child(work: Callable[[Tell], Outcome], no_end_s: float, patience_s: float) -> Outcome:
    """Do it in a forked process. It tells the outcome twice: begun, and ended."""

    def child(_read_fd: int, write_fd: int) -> None:
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
    return _outcome(told)


def _outcome(told: list[bytes]) -> Outcome:
    if not told:
        raise IslandError("the process that did it again has ended without a word: is there enough memory?")
    last = msgspec.json.decode(told[-1], type=Outcome | str)
    if isinstance(last, str):
        raise IslandError(last)
    if len(told) == 1:
        last.ended = False
        last.seconds = NO_END_S
    return last
