"""A node that was away comes back: how fast it starts on what it has, and how fast it gets what it lacks.

    follower:   up | away, while so much log is written | catches up, while the group goes on | starts on all of it
    group:      before | alone                          | meanwhile                           |

One sender keeps batches of 100 x 64 bytes in flight all the time.
"""

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.nodes import Nodes, await_true
from benchmarks.report import print_rows
from benchmarks.traffic import BATCH_BYTES, Traffic
from gateways.venue import create
from sequencer.snapshot import SNAPSHOT_NAME

BEFORE_S = 3.0
PATIENCE_S = 120.0
LEVEL_ENTRIES = 64
"""No further behind is level."""


def catch_up(directory: Path, log_bytes: float, window: int) -> dict[str, float]:
    """MB/s and messages/s of the follower, and of the group at each stage."""
    config = create(directory, nodes=3)
    with Nodes(config) as nodes, Traffic(config, window) as traffic:
        name = next(name for name in nodes.names if name != nodes.leader)
        row = {"group_before_messages_per_s": traffic.messages_per_s(BEFORE_S)}
        nodes.stop(name)
        begun_s, seen = time.monotonic(), traffic.seen
        traffic.write(log_bytes)
        row["group_alone_messages_per_s"] = traffic.rate_since(begun_s, seen)
        nodes.start(name)
        await_true(lambda: nodes.told(name))
        traffic.longest_pause_s = 0.0
        begun_s, seen, begun_at = time.monotonic(), traffic.seen, position(nodes, name)
        is_level = await_true(lambda: has_caught_up(nodes, name), PATIENCE_S)
        passed_s, messages = time.monotonic() - begun_s, position(nodes, name) - begun_at
        row |= {
            "group_meanwhile_messages_per_s": traffic.rate_since(begun_s, seen),
            "longest_pause_meanwhile_ms": traffic.longest_pause_s * 1000,
            "catch_up_messages_per_s": messages / passed_s,
            "catch_up_mb_per_s": messages / passed_s * BATCH_BYTES / 100 / 1e6,
            "catch_up_s": passed_s if is_level else float("inf"),
        }
        traffic.window = 0
        row["start_s"] = restart_s(nodes, name)
        row["start_without_snapshot_s"] = restart_s(nodes, name, forget=config.journal_directory(name) / SNAPSHOT_NAME)
        return row | {"journal_gb": traffic.seen * BATCH_BYTES / 1e9}


def restart_s(nodes: Nodes, name: str, forget: Path | None = None) -> float:
    """Seconds from a node's start, without this file, to its first answer."""
    nodes.stop(name)
    if forget is not None:
        forget.unlink(missing_ok=True)
    begun_s = time.monotonic()
    nodes.start(name)
    await_true(lambda: nodes.told(name))
    return time.monotonic() - begun_s


def position(nodes: Nodes, name: str) -> int:
    """The last sequence number that a node holds."""
    return int(nodes.told(name)[name]["position"])


def has_caught_up(nodes: Nodes, name: str) -> bool:
    """Whether a node holds about what is committed."""
    told = nodes.told()
    return name in told and all(
        int(told[name]["durable_index"]) >= int(each["commit_index"]) - LEVEL_ENTRIES for each in told.values()
    )


def main() -> None:
    """Run the cases and print minimum, median and maximum of the runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--gb", type=float, nargs="*", default=[0.25, 1.0])
    parser.add_argument("--windows", type=int, nargs="*", default=[4, 64])
    parser.add_argument("--dir", default=None, help="scratch directory, on the disk to be measured")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.runs):
        for gigabytes in options.gb:
            for window in options.windows:
                with tempfile.TemporaryDirectory(dir=options.dir) as scratch:
                    row = catch_up(Path(scratch), gigabytes * 1e9, window)
                    rows.setdefault(f"{gigabytes} GB missed, {window} batches in flight", []).append(row)
    print_rows("catch_up", rows, as_json=options.json)


if __name__ == "__main__":
    main()
