"""A venue at a glance: nodes, replicas, gateways, how fast it goes, and what has changed of late.

    status, again and again --compared with the one before--> rates, news --> one screen

What is told is what the nodes tell: `status` and `replicas` have the same, once.
"""

import time
from collections import deque
from typing import Any, Final

from rich.console import Group
from rich.table import Table

from engines.verdicts import judged
from sequencer.admin import Status
from sequencer.output import table

NEWS_MAX: Final = 12
NODES: Final = ("name", "role", "state", "position", "lag", "rate")
REPLICAS: Final = ("name", "shard", "verdict", "position", "lag", "rate", "why")
GATEWAYS: Final = ("name", "role", "state", "position", "lag")
NEWS: Final = ("time", "what")

Row = dict[str, Any]


class Top:
    """What was seen so far."""

    def __init__(self) -> None:
        self.news: deque[Row] = deque(maxlen=NEWS_MAX)
        """The latest first."""
        self._before: dict[str, Row] = {}
        self._seen_s = 0.0

    def see(self, found: Status, now_s: float, clock: str) -> Group:
        """Take a status at a monotonic time; the screen for it. `clock` is the time of day, for news."""
        replicas = judged(found.replicas)
        rows = {row["name"]: row for row in (*found.nodes, *replicas, *found.gateways)}
        if self._before:
            for text in changes(self._before, rows):
                self.news.appendleft({"time": clock, "what": text})
        nodes = [{**row, "rate": self._rate(row, now_s)} for row in found.nodes]
        self._before, self._seen_s = rows, now_s
        return Group(*_tables(nodes, replicas, found.gateways, list(self.news)))

    def _rate(self, row: Row, now_s: float) -> int:
        """Messages a second that a node has come further since the last look."""
        before, passed_s = self._before.get(row["name"]), now_s - self._seen_s
        if before is None or passed_s <= 0:
            return 0
        return max(0, int((row["position"] - before["position"]) / passed_s))


def changes(before: dict[str, Row], after: dict[str, Row]) -> list[str]:
    """What is other than before, in words, by process name; the rows are of `status`, replicas' of `replicas`."""
    said = [f"{name} is here, {_state(after[name])}" for name in sorted(after.keys() - before.keys())]
    said += [f"{name} has left" for name in sorted(before.keys() - after.keys())]
    for name in sorted(before.keys() & after.keys()):
        said += [f"{name} {text}" for text in _changed(before[name], after[name])]
    return said


def _changed(before: Row, after: Row) -> list[str]:
    said = []
    if before.get("role") != after.get("role"):
        said.append(f"is {after.get('role')} now, it was {before.get('role')}")
    if _state(before) != _state(after):
        why = f": {after['why']}" if after.get("why") else ""
        said.append(f"is {_state(after)}, it was {_state(before)}{why}")
    if before.get("pid") and after.get("pid") and before["pid"] != after["pid"]:
        said.append(f"was started again, as process {after['pid']}")
    if before.get("shards") and after.get("shards") and before["shards"] != after["shards"]:
        said.append(f"knows of {after['shards']} shards, {before['shards']} before")
    return said


def _state(row: Row) -> str:
    return str(row.get("verdict") or row.get("state", ""))


def _tables(nodes: list[Row], replicas: list[Row], gateways: list[Row], news: list[Row]) -> list[Table]:
    return [
        table("nodes", NODES, nodes),
        table("replicas", REPLICAS, replicas),
        table("gateways", GATEWAYS, gateways),
        table("news", NEWS, news),
    ]


def clock() -> str:
    """The time of day, as news have it."""
    return time.strftime("%H:%M:%S")
