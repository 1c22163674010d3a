"""One message of the log and what is around it: its cause, and what followed from it.

    sequence number --bisected--> its entry --> the message | what caused it | what names it, or follows from it

Rules
- Nothing is read but the entries that are looked at: a log is long.
- What follows is looked for in the next ENTRIES_MAX entries or MESSAGES_MAX messages; `is_whole` tells whether the log
  ends there.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import zmq

from engines.messages import COMMANDS, describe
from engines.tracing import NAMING, trace
from sequencer.client import Replay
from sequencer.config import Config
from sequencer.envelope import CONTROL, Batch, Entry
from sequencer.errors import ConfigError
from sequencer.group import committed_index
from sequencer.sockets import context

ENTRIES_MAX: Final = 2000
MESSAGES_MAX: Final = 20_000
PROBE_BYTES: Final = 4096
"""What a replayer is asked for where one entry is wanted."""
EFFECTS_MAX: Final = 200
CONFIRM_S: Final = 2.0
PATIENCE_S: Final = 5.0
FETCH_BYTES: Final = 256 << 10

Context = zmq.Context["zmq.Socket[bytes]"]


class Found(msgspec.Struct, frozen=True):
    """A message. `cause` is the first sequence number of the entry that it followed from; 0: it is from outside."""

    sequence: int
    time_ns: int
    cause: int
    sender: str
    channel: int
    type: str
    fields: dict[str, Any]


class Looked(msgspec.Struct, frozen=True):
    """A message, what caused it, and what followed."""

    message: Found
    causes: list[Found]
    effects: list[Found]
    is_whole: bool
    """Whether there may be no other effects."""
    last: int
    """The last sequence number that was read."""


def look(config: Config, sequence: int) -> Looked:
    """Look at the message at a sequence number. Raises ConfigError where there is none, or UnreachableError."""
    with context(config) as made:
        last = committed_index(config, CONFIRM_S)
        entry = _entry_at(config, made, sequence, last)
        message = _message_in(entry, sequence)
        causes = [_message_in(_entry_at(config, made, one, entry.index), one) for one in _causes(message)]
        entries: list[Entry] = []
        for later in _entries(config, made, entry.index, min(last, entry.index + ENTRIES_MAX)):
            entries.append(later)
            if later.next_sequence - entry.first_sequence > MESSAGES_MAX:
                break
    effects = _effects(entries, entry, message)
    is_whole = entries[-1].index == last and len(effects) <= EFFECTS_MAX
    return Looked(message, causes, effects[:EFFECTS_MAX], is_whole, entries[-1].next_sequence - 1)


def _causes(message: Found) -> list[int]:
    """What a message names as that which it follows from; else the first message of the entry that caused it."""
    named = [int(message.fields[field]) for field in NAMING if message.fields.get(field)]
    if message.channel == COMMANDS:
        return []
    return [one for one in dict.fromkeys(named or [message.cause]) if 0 < one < message.sequence]


def _effects(entries: list[Entry], entry: Entry, message: Found) -> list[Found]:
    """What names the message; where nothing does, what its entry caused."""
    steps = [one for one in trace(entries, message.sequence) if one.sequence != message.sequence]
    if steps:
        return [Found(one.sequence, one.time_ns, one.cause, one.sender, 0, one.type, one.fields) for one in steps]
    caused = [(later, batch) for later in entries for batch in later.batches() if batch.cause == entry.first_sequence]
    return [one for later, batch in caused for one in _messages(later, batch)]


def _entry_at(config: Config, made: Context, sequence: int, last: int) -> Entry:
    """The entry that holds a sequence number, up to entry `last`."""
    low, high = 1, last
    while low <= high:
        middle = (low + high) // 2
        entry = next(_entries(config, made, middle, middle, PROBE_BYTES), None)
        if entry is None:
            break
        if entry.first_sequence <= sequence < entry.next_sequence:
            return entry
        if entry.next_sequence <= sequence:
            low = middle + 1
        else:
            high = middle - 1
    raise ConfigError(f"there is no message at {sequence:,}: the log ends before that")


def _entries(config: Config, made: Context, first: int, last: int, fetch_bytes: int = FETCH_BYTES) -> Iterator[Entry]:
    replay = Replay(config.sources, first, last, context=made, patience_s=PATIENCE_S, fetch_bytes=fetch_bytes)
    try:
        yield from replay
    finally:
        replay.close()


def _message_in(entry: Entry, sequence: int) -> Found:
    batch = next(one for one in entry.batches() if one.first_sequence <= sequence < one.first_sequence + one.count)
    return _messages(entry, batch)[sequence - batch.first_sequence]


def _messages(entry: Entry, batch: Batch) -> list[Found]:
    """All of a batch; what cannot be read is told as such."""
    kind = "OpenSession" if batch.channel == CONTROL else "Opaque"
    told = describe(batch.channel, batch.payload) or [(kind, {"incarnation": batch.incarnation})]
    if len(told) != batch.count:
        told = [(kind, {})] * batch.count
    return [
        Found(batch.first_sequence + nth, entry.time_ns, batch.cause, batch.sender, batch.channel, name, fields)
        for nth, (name, fields) in enumerate(told)
    ]
