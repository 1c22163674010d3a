"""A real group under fire for as long as it takes: `python -m tests.faults.soak --failovers 200`.

Shows progress, stops at Ctrl-C with what it has, and ends with the pauses by kind of act and the independent
checker's verdict. With `--only`, one kind of act and no other.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults.fire import DISK_WEIGHTS, FAILOVERS, WEIGHTS, Fire
from tests.faults.group import Group
from tests.faults.load import PAUSE_S, Load
from tests.faults.small_disk import can_mount

SIZES = {"segment_bytes": "4194304", "reserve_bytes": "524288"}
"""Small segments, so that a disk fills up soon."""


def main() -> int:
    """Exit with 0 only if every promise held."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--failovers", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=30.0, help="end after so long in any case")
    parser.add_argument(
        "--only", choices=sorted(WEIGHTS | DISK_WEIGHTS), help="this act, as often as failovers asks for"
    )
    options = parser.parse_args()
    console = Console(stderr=True)
    small_disk = can_mount()
    if not small_disk:
        console.print("no disk is filled: that needs the right to mount a tmpfs")
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        with Group(directory, options.nodes, linked=True, small_disk=small_disk, **SIZES) as group, Load(group) as load:
            fire = Fire(group, load, options.seed)
            try:
                failovers = burn(fire, options, console)
            except KeyboardInterrupt:
                console.print("stopped")
                failovers = count(fire, FAILOVERS)
            broken = load.judge()
    minutes = (time.monotonic() - begun_s) / 60
    print(f"{failovers} failovers in {minutes:.1f} minutes, {load.acknowledged:,} batches seen")
    print_pauses(fire)
    for line in broken or ["every promise held"]:
        print(line)
    return bool(broken)


def burn(fire: Fire, options: argparse.Namespace, console: Console) -> int:
    """Act until there were enough failovers, or it takes too long; how many there were."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    deadline_s = time.monotonic() + options.minutes * 60
    counted = frozenset((options.only,)) if options.only else FAILOVERS
    done = 0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("failovers", total=options.failovers)
        while done < options.failovers and time.monotonic() < deadline_s:
            if options.only:
                fire.do(options.only)
            else:
                fire.act()
            done = count(fire, counted)
            progress.update(task, completed=done)
    return done


def count(fire: Fire, kinds: frozenset[str]) -> int:
    """The acts so far of these kinds."""
    return sum(len(pauses) for kind, pauses in fire.pauses_ms.items() if kind in kinds)


def print_pauses(fire: Fire) -> None:
    """For each kind of act: how often, and the longest pause of all senders together in each."""
    print(f"the longest pause in each act, ms (none is longer than {PAUSE_S * 1000:.0f} where nothing was noted)")
    print(f"{'act':28}{'times':>6}{'p50':>7}{'p90':>7}{'max':>7}")
    for kind, pauses in sorted(fire.pauses_ms.items()):
        cuts = statistics.quantiles(pauses, n=10, method="inclusive") if len(pauses) > 1 else pauses * 9
        print(f"{kind:28}{len(pauses):>6}{cuts[4]:>7.0f}{cuts[8]:>7.0f}{max(pauses):>7.0f}")


if __name__ == "__main__":
    sys.exit(main())
