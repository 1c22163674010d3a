"""What operators did, as it stands in the log: by commands and over the web alike.

log --OperatorAction--> who says so, with whose key, what, why
"""

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from engines.messages import OPERATIONS, OperatorAction
from engines.runs import operations_in
from sequencer.client import key_of_operator
from sequencer.envelope import Entry

Row = dict[str, Any]


class Action(msgspec.Struct, frozen=True):
    """What was asked for at a place of the log. What came of it follows there.

    `operator` is what who asked says of himself; `key` is whose it was, by a node that compared it, and empty where
    it came from the nodes' own host. They differ where a gateway asks for its users.
    """

    sequence: int
    time_ns: int
    operator: str
    key: str
    action: str
    details: Row
    reason: str

    def as_row(self) -> Row:
        """For people."""
        return {
            "sequence": self.sequence,
            "time": _time_text(self.time_ns),
            "operator": self.operator,
            "key": self.key,
            "action": self.action,
            "details": " ".join(f"{name}={_text(value)}" for name, value in self.details.items()),
            "reason": self.reason,
        }

    def as_json(self) -> Row:
        """For programs."""
        return {**msgspec.structs.asdict(self), "time": _time_text(self.time_ns)}


def noted(sequence: int, time_ns: int, sender: str, asked: OperatorAction) -> Action:
    """The action that a message of the log tells of, as its sender submitted it."""
    return Action(
        sequence, time_ns, asked.operator, key_of_operator(sender), asked.action, _details(asked.details), asked.reason
    )


def latest(entries: Iterable[Entry], count: int = 0) -> list[Action]:
    """The last so many actions (0: all), in the order of the log."""
    return list(deque(_actions(entries), count or None))


def _actions(entries: Iterable[Entry]) -> Iterator[Action]:
    for entry in entries:
        for batch in entry.batches():
            if batch.channel == OPERATIONS:
                for sequence, operation in enumerate(operations_in(batch), batch.first_sequence):
                    if isinstance(operation, OperatorAction):
                        yield noted(sequence, entry.time_ns, batch.sender, operation)


def _details(text: str) -> Row:
    try:
        return msgspec.json.decode(text, type=Row)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return {"details": text}  # who submits by himself may write anything


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _time_text(time_ns: int) -> str:
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns // 1000:06d}Z"
