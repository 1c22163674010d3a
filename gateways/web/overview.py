"""The venue as operators see it: processes, what is wrong, what has changed of late, how fast it goes.

status, again and again --compared with the one before--> news
log ----------------------operations--------------------> what operators did
                                                          +--> one JSON object
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from engines.actions import noted
from engines.messages import OPERATIONS, Message, OperatorAction, shown
from engines.runs import operations_in
from engines.top import changes
from engines.verdicts import judged
from gateways.times import iso_text
from gateways.web.pulse import Pulse
from sequencer.admin import Status
from sequencer.envelope import Entry

NEWS_KEPT: Final = 200
ACTIONS_KEPT: Final = 200

Row = dict[str, Any]

_NODE: Final = (
    *("name", "role", "state", "position", "lag", "pid", "term", "leader"),
    *("last_index", "durable_index", "commit_index"),
)
_REPLICA: Final = (
    *("name", "shard", "machine", "verdict", "position", "lag", "lag_ms", "rate", "outputs", "confirmed"),
    *("digest", "agrees", "why", "pid", "stack", "error"),
)
_GATEWAY: Final = ("name", "role", "state", "position", "lag", "pid", "connections")


class Overview:
    """What was seen so far."""

    def __init__(self) -> None:
        self.pulse = Pulse()
        self.position = 0
        self._time_ns = 0
        self._rows: dict[str, list[Row]] = {"nodes": [], "replicas": [], "gateways": []}
        self._problems: list[str] = []
        self._news: deque[Row] = deque(maxlen=NEWS_KEPT)
        self._actions: deque[Row] = deque(maxlen=ACTIONS_KEPT)
        self._before: dict[str, Row] = {}

    def take(self, entry: Entry, readable: list[tuple[int, int, list[Message]]]) -> None:
        """Take an entry with its runs: how fast it goes, and what operators asked for."""
        self.pulse.take(entry, readable)
        self.position = entry.next_sequence - 1
        for batch in entry.batches():
            if batch.channel == OPERATIONS:
                for sequence, operation in enumerate(operations_in(batch), batch.first_sequence):
                    self._actions.appendleft(_action(sequence, entry.time_ns, batch.sender, operation))

    def see(self, found: Status, problems: list[str], time_ns: int, now_ms: int) -> None:
        """Take a status, of this UTC and monotonic time: what is other than in the one before is news."""
        self.pulse.until(now_ms)
        replicas = _with_digests(judged(found.replicas), found.replicas)
        rows = {row["name"]: row for row in (*found.nodes, *replicas, *found.gateways)}
        if self._before:
            for text in changes(self._before, rows):
                self._news.appendleft({"timestamp": iso_text(time_ns), "what": text})
        self._before, self._problems, self._time_ns = rows, problems, time_ns
        self._rows = {
            "nodes": _picked(found.nodes, _NODE),
            "replicas": _picked(replicas, _REPLICA),
            "gateways": _picked(found.gateways, _GATEWAY),
        }

    def whole(self) -> Row:
        """All of it."""
        return {**self._head(), "news": list(self._news), "pulse": self.pulse.rows()}

    def latest(self) -> Row:
        """The same, but of the pulse only what is new since the last call."""
        return {**self._head(), "news": list(self._news), "pulse": self.pulse.fresh()}

    def actions(self) -> bytes:
        """What operators did, the latest first, as JSON."""
        return msgspec.json.encode({"actions": list(self._actions)})

    def _head(self) -> Row:
        timestamp = iso_text(self._time_ns)
        return {"log_sequence": self.position, "timestamp": timestamp, "problems": self._problems, **self._rows}


def _with_digests(verdicts: list[Row], reported: list[Row]) -> list[Row]:
    """Verdicts, with each replica's digest, and whether those of its shard with as many outputs have the same."""
    by_name = {row["name"]: row for row in reported}
    made = []
    for row in verdicts:
        digest = by_name[row["name"]].get("digest", "")
        same = [
            by_name[other["name"]].get("digest", "")
            for other in verdicts
            if (other["shard"], other["outputs"]) == (row["shard"], row["outputs"])
        ]
        made.append({**row, "digest": digest, "agrees": len(set(same)) == 1})
    return made


def _picked(rows: Iterable[Row], fields: tuple[str, ...]) -> list[Row]:
    return [{field: row[field] for field in fields if field in row} for row in rows]


def _action(sequence: int, time_ns: int, sender: str, operation: Message) -> Row:
    """An operation in the log; what operators asked for says who it was, the others follow from that."""
    made: Row = {"log_sequence": sequence, "timestamp": iso_text(time_ns)}
    if isinstance(operation, OperatorAction):
        asked = noted(sequence, time_ns, sender, operation)
        told = {"reason": asked.reason, "operator": asked.operator, "key": asked.key, "action": asked.action}
        return {**made, **told, "fields": asked.details}
    kind, fields = shown(operation)
    reason = fields.pop("reason", "")
    return {**made, "reason": reason, "operator": "", "key": "", "action": kind, "fields": fields}
