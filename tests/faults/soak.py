"""A real group under fire for as long as it takes: `python -m tests.faults.soak --failovers 200`.

Shows progress, stops at Ctrl-C with what it has, and ends with the pauses by kind of act and the independent
checker's verdict. With `--only`, one kind of act and no other.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults.fire import DISK_WEIGHTS, FAILOVERS, WEIGHTS, Fire
from tests.faults.group import Group
from tests.faults.load import PAUSE_S, Load
from tests.faults.small_disk import can_mount

SIZES = {"segment_bytes": "4194304", "reserve_bytes": "524288"}
"""Small segments, so that a disk fills up soon."""
ACTS_OF_A_GROUP = 50


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
    if not can_mount():
        console.print("no disk is filled: that needs the right to mount a tmpfs")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    soak, begun_s = Soak(options), time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("failovers", total=options.failovers)
        try:
            while not soak.is_over:
                soak.burn_one_group(lambda: progress.update(task, completed=soak.done))
        except KeyboardInterrupt:
            console.print("stopped")
    minutes = (time.monotonic() - begun_s) / 60
    print(f"{soak.done} {options.only or 'failovers'} in {minutes:.1f} minutes, {soak.acknowledged:,} batches seen")
    print_pauses(soak.pauses_ms)
    for line in soak.broken or ["every promise held"]:
        print(line)
    return bool(soak.broken)


class Soak:
    """Groups one after the other, until there were enough acts; a log of each, and so a start, stays short."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.acknowledged = 0
        self.pauses_ms: dict[str, list[float]] = defaultdict(list)
        self.broken: list[str] = []
        self._options = options
        self._counted = frozenset((options.only,)) if options.only else FAILOVERS
        self._deadline_s = time.monotonic() + options.minutes * 60
        self._seed = options.seed

    @property
    def done(self) -> int:
        """The acts so far that count."""
        return sum(len(pauses) for kind, pauses in self.pauses_ms.items() if kind in self._counted)

    @property
    def is_over(self) -> bool:
        """Whether it was enough, or too much."""
        return bool(self.broken) or self.done >= self._options.failovers or time.monotonic() > self._deadline_s

    def burn_one_group(self, tell: Callable[[], None]) -> None:
        """Act on a new group, and have it judged; also where it is interrupted."""
        enough = self.done + ACTS_OF_A_GROUP
        with tempfile.TemporaryDirectory() as scratch:
            group = Group(Path(scratch), self._options.nodes, linked=True, small_disk=can_mount(), **SIZES)
            with group, Load(group) as load:
                fire = Fire(group, load, self._seed)
                self._seed += 1
                try:
                    while not self.is_over and self.done < enough:
                        kind = fire.draw() if self._options.only is None else self._options.only
                        self.pauses_ms[kind].append(fire.do(kind) * 1000)
                        tell()
                finally:
                    self.acknowledged += load.acknowledged
                    self.broken += load.judge()


def print_pauses(pauses_ms: dict[str, list[float]]) -> None:
    """For each kind of act: how often, and the longest pause of all senders together in each."""
    print(f"the longest pause in each act, in ms; {PAUSE_S * 1000:.0f} where there was none that long")
    print(f"{'act':28}{'times':>6}{'p50':>7}{'p90':>7}{'max':>7}")
    for kind, pauses in sorted(pauses_ms.items()):
        cuts = statistics.quantiles(pauses, n=10, method="inclusive") if len(pauses) > 1 else pauses * 9
        print(f"{kind:28}{len(pauses):>6}{cuts[4]:>7.0f}{cuts[8]:>7.0f}{max(pauses):>7.0f}")


if __name__ == "__main__":
    sys.exit(main())
