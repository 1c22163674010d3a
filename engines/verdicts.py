"""What is told of each replica, and what follows from comparing it with the others of its shard.

reports (by replicas, or by their watchers) --status--> rows --compared within a shard--> verdict, and why

attaching     fetching a snapshot                catching-up  reading what followed it
live          everything known is applied        slow         moving, and behind for more than a second
stuck         the same entry in hand for more than a second: computing, waiting or stopped
halted        the machine raised                 diverged     its output or state is not the one in the log
silent, dead  not heard of                       (its process is there, or not)
"""

from typing import Any, Final

from sequencer import admin
from sequencer.config import Config

Row = dict[str, Any]
COLUMNS: Final = ("name", "shard", "verdict", "position", "lag", "lag_ms", "rate", "why")
"""What is shown of them in a table."""
FIELDS: Final = (
    *("position", "lag", "lag_ms", "rate", "outputs", "confirmed", "marker", "vouched", "pid"),
    *("shards", "speaks", "rules", "knows"),
)
EVIDENCE: Final = (
    *("activity", "cpu_ms", "ready_ms", "looks", "places", "stack"),
    *("error", "traceback", "poison", "command", "message", "state_before", "search_error"),
    *("longest", "longest_ms", "passed_over", "snapshot_error"),
)


def verdicts(config: Config) -> list[Row]:
    """One row a replica: name, shard, verdict, FIELDS, in_hand, for_ms, why; and more of what it told."""
    return judged(admin.status(config).replicas)


def judged(found: list[Row]) -> list[Row]:
    """The same, of the replicas' rows of a status."""
    return [_judged(row, [other for other in found if other is not row]) for row in found]


def _judged(row: Row, others: list[Row]) -> Row:
    same = [other for other in others if other.get("sender") and other.get("sender") == row.get("sender")]
    judged = {"name": row["name"], "shard": row.get("sender", ""), "verdict": row["state"]}
    judged["machine"] = row.get("machine", row.get("role", ""))
    judged |= {field: row.get(field, 0) for field in FIELDS}
    judged["in_hand"] = row.get("in_hand", [])
    judged["for_ms"] = row.get("in_hand_ms", 0)
    judged["why"] = "; ".join(filter(None, [row.get("why") or row.get("doing", ""), _compared(row, same)]))
    return judged | {field: row[field] for field in EVIDENCE if field in row}


def _compared(row: Row, same: list[Row]) -> str:
    """Whether what a replica is stuck in, others have done: then it is this process, and not the message."""
    if row["state"] != "stuck" or not row.get("in_hand"):
        return ""
    last = row["in_hand"][-1]
    passed = [other["name"] for other in same if other["position"] >= last]
    stuck = [other["name"] for other in same if other["state"] == "stuck" and other.get("in_hand") == row["in_hand"]]
    if passed:
        return f"{', '.join(passed)} has passed it: this process is the matter, and not the message"
    if stuck:
        return f"so is {', '.join(stuck)}: the message is the matter"
    return ""
