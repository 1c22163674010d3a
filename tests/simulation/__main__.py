"""Runs many simulated groups: `python -m tests.simulation --seeds 1000`.

Shows progress, stops at Ctrl-C with what it has, and prints for each seed that fails what was broken and the
command that replays it, with the faults that do not matter left out.
"""

import argparse
import json
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.simulation.cluster import Outcome, Plan, simulate
from tests.simulation.shrink import shrink

CHUNK = 8


def main() -> int:
    """Exit with 0 only if every seed held."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many runs")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--first", action="store_true", help="stop at the first failure, and do not shrink it")
    parser.add_argument("--replay", type=int, metavar="SEED", help="run one seed, and print everything that happens")
    parser.add_argument("--skip", default="", help="with --replay: numbers of faults to leave out, as 3,17-40")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    if options.replay is not None:
        return replay(options.replay, options.skip)
    seeds = range(options.start, options.start + options.seeds)
    return run(seeds, options.jobs, first=options.first, as_json=options.output == "json")


def replay(seed: int, skip: str) -> int:
    """One seed in full."""
    outcome = simulate(Plan.of(seed, frozenset(_numbers(skip))), tell=True)
    print(f"seed {seed}: {outcome.failure or 'holds'}; trace {outcome.trace}")
    return bool(outcome.failure)


def run(seeds: range, jobs: int, *, first: bool, as_json: bool) -> int:
    """All seeds, and a summary."""
    console = Console(stderr=True)
    begun_s, runs, virtual_ns, failed = time.monotonic(), 0, 0, []
    counts: Counter[str] = Counter()
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("simulating", total=len(seeds))
        for outcome in _outcomes(seeds, jobs):
            runs += 1
            virtual_ns += outcome.virtual_ns
            counts.update(outcome.faults)
            counts.update(
                entries=outcome.entries,
                acknowledged=outcome.acknowledged,
                events=outcome.events,
                resumed=outcome.resumed,
            )
            progress.update(task, completed=runs, description=f"simulating, {virtual_ns / 3.6e12:.1f} virtual hours")
            if outcome.failure:
                failed.append(outcome)
                console.print(f"seed {outcome.plan.seed}: {outcome.failure}", highlight=False, soft_wrap=True)
                if first:
                    break
                console.print(f"  {command(shrink(outcome))}", highlight=False, soft_wrap=True)
    summary = {
        "runs": runs,
        "failed": [outcome.plan.seed for outcome in failed],
        "virtual_hours": round(virtual_ns / 3.6e12, 3),
        "minutes": round((time.monotonic() - begun_s) / 60, 2),
        "counts": dict(sorted(counts.items())),
    }
    if as_json:
        print(json.dumps(summary))
    else:
        faults = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
        print(f"{runs:,} runs, {len(failed)} failed, {summary['virtual_hours']:,} virtual hours; {faults}")
    return bool(failed)


def command(plan: Plan) -> str:
    """What replays a run."""
    skip = f" --skip {_ranges(sorted(plan.skip))}" if plan.skip else ""
    return f"python -m tests.simulation --replay {plan.seed}{skip}"


def _outcomes(seeds: range, jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        yield from map(_simulate, seeds)
        return
    pool = multiprocessing.Pool(jobs, initializer=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    try:
        yield from pool.imap_unordered(_simulate, seeds, CHUNK)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    finally:
        pool.terminate()
        pool.join()


def _simulate(seed: int) -> Outcome:
    return simulate(Plan.of(seed))


def _numbers(text: str) -> Iterator[int]:
    for part in filter(None, text.split(",")):
        first, _dash, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def _ranges(numbers: list[int]) -> str:
    found: list[list[int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in found)


if __name__ == "__main__":
    sys.exit(main())
