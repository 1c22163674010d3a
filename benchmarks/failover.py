"""How long a group is silent when its leader dies: SIGKILL to the next batch that a sender sees in the stream.

    kill -9 leader --> election --> sender finds the new leader, resends --> commit --> seen

Two senders keep batches in flight all the time.
"""

import argparse
import signal
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.report import print_rows
from tests.faults.group import Group
from tests.faults.load import Load
from tests.models.running import until


def failovers(kills: int, directory: Path) -> dict[str, float]:
    """From the kill of the leader until a batch is seen that was submitted after it, so many times; in ms."""
    with Group(directory) as group, Load(group) as load:
        times_ms = []
        for _ in range(kills):
            load.await_observers()  # all nodes are there: two dead ones are no failover
            name, begun_ns = until(lambda: group.leader, "a leader"), time.monotonic_ns()
            group.send(name, signal.SIGKILL)
            load.await_progress()
            times_ms.append((load.fresh_ns - begun_ns) / 1e6)
            group.start(name)
    cuts = statistics.quantiles(times_ms, n=100)
    return {"p50_ms": cuts[49], "p90_ms": cuts[89], "p99_ms": cuts[98], "max_ms": max(times_ms)}


def main() -> None:
    """Run the cases and print minimum, median and maximum of the runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as scratch:
            begun_s = time.monotonic()
            rows.append(failovers(options.kills, Path(scratch)) | {"minutes": (time.monotonic() - begun_s) / 60})
    print_rows("failover", {f"{options.kills} kills of the leader, 3 nodes": rows}, as_json=options.json)


if __name__ == "__main__":
    main()
