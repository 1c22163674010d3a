"""A real group under fire for as long as it takes: `python -m tests.faults.soak --failovers 200`.

Shows progress, stops at Ctrl-C with what it has, and ends with the independent checker's verdict.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults.checker import check
from tests.faults.group import Fire, Group, Load

FAILOVERS = ("kill_leader", "stop_leader", "kill_all")


def main() -> int:
    """Exit with 0 only if every promise held."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--failovers", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=30.0, help="end after so long in any case")
    options = parser.parse_args()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        with Group(Path(scratch), options.nodes) as group, Load(group) as load:
            fire, failovers = Fire(group, load, options.seed), 0
            with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
                task = progress.add_task("failovers", total=options.failovers)
                try:
                    while failovers < options.failovers and time.monotonic() - begun_s < options.minutes * 60:
                        failovers += fire.act() in FAILOVERS
                        progress.update(task, completed=failovers)
                except KeyboardInterrupt:
                    console.print("stopped")
        broken = check(group.histories)
    gaps_ms = sorted(gap * 1000 for gap in load.gaps_s) or [0.0, 0.0]
    cuts = statistics.quantiles(gaps_ms, n=100) if len(gaps_ms) > 1 else gaps_ms * 99
    print(
        f"{failovers} failovers in {(time.monotonic() - begun_s) / 60:.1f} minutes, {load.acknowledged:,} batches seen"
    )
    print(", ".join(f"{kind} {count}" for kind, count in sorted(fire.counts.items())))
    print(f"pauses over 50 ms: {len(gaps_ms)}; p50 {cuts[49]:.0f} ms, p90 {cuts[89]:.0f} ms, max {gaps_ms[-1]:.0f} ms")
    for line in broken or ["every promise held"]:
        print(line)
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
