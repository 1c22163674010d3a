"""Trying a machine on a log before it is let near a venue: does it do the same again, however it is run?

    log --by runs, PYTHONHASHSEED=1-------------------------> events of each entry --+-- states --+
    log --by runs, PYTHONHASHSEED=2, restored on the way----> events of each entry --+            |
    log --message by message, PYTHONHASHSEED=3--------------------------------------- states -----+--> the same?
    outputs of its shard in the log --> compared with the first

Rules
- Three processes, so that hash seeds, memory addresses and caches differ. Events are compared entry by entry, states
  every STATE_EVERY entries and at the end.
- Message by message leaves the same state as together. A machine that was restored from its snapshot is the one that
  made it.
- Where the log holds outputs of the shard, a new version has to make the same, or say from where on it does not.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from engines.machine import Machine
from engines.machines import find
from engines.messages import ENCODER, Message
from engines.past import advance, finish, one_by_one
from engines.replica import Replica
from engines.skipping import skipped
from engines.skips import Decided
from engines.versions import activate, in_force
from sequencer.admin import can_ask_nodes
from sequencer.config import Config
from sequencer.envelope import Entry
from sequencer.errors import IslandError
from sequencer.group import committed_index
from sequencer.log_tools import entries_of

STATE_EVERY: Final = 101
"""Entries after which states are compared, and the second process goes on with a restored machine."""
_DIGEST_BYTES: Final = 16
CONFIRM_S: Final = 5.0
INDEX_MAX: Final = 1 << 62


class Proof(msgspec.Struct):
    """What was tried, and what was found: no problems, or what differs and where."""

    machine: str
    messages: int = 0
    entries: int = 0
    events: int = 0
    compared: int = 0
    """Output batches that the log holds of its shard, and that were the same."""
    state: str = ""
    problems: list[str] = []


class _Told(msgspec.Struct):
    """What one process found. `first` are the first sequence numbers of the entries that `digests` are of."""

    messages: int = 0
    events: int = 0
    compared: int = 0
    problem: str = ""
    first: list[int] = []
    digests: list[bytes] = []
    states: list[tuple[int, bytes]] = []
    """(last sequence number, SHA-256 of the snapshot behind it)"""


def prove(data_dir: Path, machine: str, messages: int = 0) -> Proof:
    """Try a machine on the log of a venue, on its first `messages` (0: on all). Raises ConfigError for no machine."""
    find(machine)
    config = Config.load(data_dir)
    # A running venue's log grows: all processes end at the same place.
    last_index = committed_index(config, CONFIRM_S) if can_ask_nodes(config) else INDEX_MAX
    limits = [str(messages), str(last_index)]
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch) / mode for mode in _MODES]
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "engines.proving", machine, str(data_dir), file.name, *limits, str(file)],
                env={**os.environ, "PYTHONHASHSEED": str(seed)},
                stdin=subprocess.DEVNULL,
            )
            for seed, file in enumerate(files, 1)
        ]
        for process in processes:
            process.wait()
        told = [_told(file) for file in files]
    whole, restored, single = told
    failed = list(dict.fromkeys(one.problem for one in told if one.problem))
    one_by_one_differs = _states(whole, single, "messages one by one leave another state than together")
    problems = failed or [problem for problem in (_events(whole, restored), one_by_one_differs) if problem]
    state = whole.states[-1][1].hex() if whole.states else ""
    return Proof(machine, whole.messages, len(whole.first), whole.events, whole.compared, state, problems)


def _told(file: Path) -> _Told:
    try:
        return msgspec.msgpack.decode(file.read_bytes(), type=_Told)
    except (OSError, msgspec.MsgspecError):
        return _Told(problem="its process ended without a result")


def _events(whole: _Told, restored: _Told) -> str:
    for first, one, other in zip(whole.first, whole.digests, restored.digests, strict=True):
        if one != other:
            return (
                f"the events of the entry at sequence {first:,} differ between two processes: `restore` does not give "
                "the machine that made the snapshot, or something depends on PYTHONHASHSEED"
            )
    return _states(whole, restored, "`restore` does not give the machine that made the snapshot")


def _states(whole: _Told, other: _Told, otherwise: str) -> str:
    before = 0
    for (position, state), (_position, other_state) in zip(whole.states, other.states, strict=True):
        if state != other_state:
            return (
                f"the states behind sequence {position:,} differ between two processes, those behind {before:,} did "
                f"not: {otherwise}, or something depends on PYTHONHASHSEED"
            )
        before = position
    return ""


# --- in a process of its own --------------------------------------------------------------------


class _Tried:
    """A machine that is run by runs, as a replica does; outputs that the log holds are compared."""

    def __init__(self, make: Callable[[], Machine], skipped: Mapping[int, Decided]) -> None:
        self.make = make
        self.replica = Replica(make(), f"{make().name}.0", skipped)

    def take(self, entry: Entry) -> list[Message]:
        """What follows from an entry."""
        self.replica.apply(entry)
        return self.replica.events

    def pause(self) -> bytes:
        """The state, between two entries."""
        return self.replica.machine.snapshot()


class _Restored(_Tried):
    """One that goes on with a machine restored from its snapshot."""

    def pause(self) -> bytes:
        state = super().pause()
        blank = self.make()
        activate(blank, in_force(self.replica.machine))
        blank.restore(state)
        self.replica.machine = blank
        return state


class _Single(_Tried):
    """One that takes every message by itself: its events may be cut otherwise, its state is the same."""

    def take(self, entry: Entry) -> list[Message]:
        for run in one_by_one(self.replica.machine, entry, self.replica.skipped):
            advance(self.replica.machine, entry.time_ns, run)
        finish(self.replica.machine, entry, self.replica.sharding)
        return []


_MODES: Final[dict[str, type[_Tried]]] = {"whole": _Tried, "restored": _Restored, "single": _Single}


def _try(machine: str, data_dir: Path, mode: str, messages: int, last_index: int) -> _Told:
    make, config = find(machine), Config.load(data_dir)
    tried = _MODES[mode](make, skipped(config, make().name))
    told = _Told()
    sequence = position = 0

    def pause() -> None:
        told.states.append((position, hashlib.sha256(tried.pause()).digest()))

    try:
        for entry in entries_of(config):
            if entry.index > last_index or (messages and entry.first_sequence > messages):
                break
            if not entry.message_count:
                continue
            sequence = entry.first_sequence
            events = tried.take(entry)
            position = entry.next_sequence - 1
            told.messages += entry.message_count
            told.events += len(events)
            told.first.append(sequence)
            told.digests.append(hashlib.sha256(ENCODER.encode(events)).digest()[:_DIGEST_BYTES])
            if len(told.first) % STATE_EVERY == 0:
                pause()
        pause()
    except IslandError as error:
        told.problem = str(error)
    except Exception as error:  # noqa: BLE001 - whatever a machine raises is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename}:{last.lineno}"
        told.problem = f"{type(error).__name__}: {error} ({where}), in the entry at sequence {sequence:,}"
    told.compared = tried.replica.confirmed
    return told


if __name__ == "__main__":
    _machine, _data, _mode, _messages, _last_index, _file = sys.argv[1:]
    Path(_file).write_bytes(
        msgspec.msgpack.encode(_try(_machine, Path(_data), _mode, int(_messages), int(_last_index)))
    )
