"""A dead host is replaced: from `members add` of a blank node to its vote, and what senders notice of it.

    group of three --writes a log--> one follower's disk is lost --> blank node --members add--> learner --> voter

One sender has one batch of 100 x 64 bytes in flight at a time meanwhile.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks.nodes import Nodes, await_true
from benchmarks.report import print_rows
from benchmarks.traffic import Traffic
from gateways.venue import create
from sequencer import group
from sequencer.config import Config

WRITING_WINDOW = 256


def replace(directory: Path, log_bytes: float) -> dict[str, float]:
    """Seconds until the blank node votes, and the longest pause of the sender meanwhile."""
    config = create(directory, nodes=3)
    with Nodes(config) as nodes, Traffic(config, WRITING_WINDOW) as traffic:
        traffic.write(log_bytes)
        traffic.window = 1
        name = next(name for name in nodes.names if name != nodes.leader)
        nodes.stop(name)
        shutil.rmtree(config.journal_directory(name))
        nodes.start(name)
        await_true(lambda: nodes.told(name))
        traffic.longest_pause_s = 0.0
        begun_s = time.monotonic()
        group.add(config, name)
        added_s = time.monotonic() - begun_s
        await_true(lambda: votes(config, name), 600.0)
        return {
            "added_s": added_s,
            "voter_s": time.monotonic() - begun_s,
            "longest_pause_ms": traffic.longest_pause_s * 1000,
        }


def votes(config: Config, name: str) -> bool:
    """Whether a node is a voter, and that is committed."""
    found = group.members(config)
    return found.committed and name in found.members.voters


def main() -> None:
    """Run the cases and print minimum, median and maximum of the runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--gb", type=float, nargs="*", default=[0.1, 1.0])
    parser.add_argument("--dir", default=None, help="scratch directory, on the disk to be measured")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.runs):
        for gigabytes in options.gb:
            with tempfile.TemporaryDirectory(dir=options.dir) as scratch:
                rows.setdefault(f"a log of {gigabytes} GB", []).append(replace(Path(scratch), gigabytes * 1e9))
    print_rows("replace", rows, as_json=options.json)


if __name__ == "__main__":
    main()
