"""What a group costs when nothing happens: CPU of each node and replayer, in percent of a core."""

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.nodes import Nodes
from benchmarks.report import cpu_seconds, print_rows
from gateways.venue import create

SETTLE_S = 2.0


def idle(directory: Path, seconds: float) -> dict[str, float]:
    """Percent of a core, of a process of each kind."""
    with Nodes(create(directory, nodes=3)) as nodes:
        time.sleep(SETTLE_S)
        leader, pids = nodes.leader, nodes.pids
        before_s, begun_s = {name: cpu_seconds(pid) for name, pid in pids.items()}, time.monotonic()
        time.sleep(seconds)
        passed_s = time.monotonic() - begun_s
        used = {name: (cpu_seconds(pid) - before_s[name]) / passed_s * 100 for name, pid in pids.items()}
    followers = [used[name] for name in nodes.names if name != leader]
    replayers = [used[f"{name}-replayer"] for name in nodes.names]
    return {
        "leader_percent": used[leader],
        "follower_percent": sum(followers) / len(followers),
        "replayer_percent": sum(replayers) / len(replayers),
        "all_percent": sum(used.values()),
    }


def main() -> None:
    """Run it and print minimum, median and maximum of the runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as scratch:
            rows.append(idle(Path(scratch), options.seconds))
    print_rows("idle", {"3 nodes, nothing to do": rows}, as_json=options.json)


if __name__ == "__main__":
    main()
