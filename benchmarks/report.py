"""How benchmarks measure CPU and print: minimum, median and maximum over the runs."""

import json
import os
import statistics

from rich.console import Console
from rich.table import Table

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User plus system time of a process, all threads, in seconds."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def summary(runs: list[dict[str, float]]) -> dict[str, tuple[float, float, float]]:
    """Minimum, median and maximum of each figure."""
    return {
        key: (min(values), statistics.median(values), max(values))
        for key in runs[0]
        if (values := [run[key] for run in runs])
    }


def print_rows(title: str, rows: dict[str, list[dict[str, float]]], *, as_json: bool = False) -> None:
    """Print the summary of each case, as a table or as JSON lines."""
    if as_json:
        for case, runs in rows.items():
            print(json.dumps({"benchmark": title, "case": case, "runs": len(runs), **summary(runs)}))
        return
    table = Table(title=f"{title}: min / median / max", title_justify="left", box=None)
    for column in ("case", "runs", "figure", "min", "median", "max"):
        table.add_column(column, justify="right" if column in ("min", "median", "max", "runs") else "left")
    for case, runs in rows.items():
        for key, (low, middle, high) in summary(runs).items():
            table.add_row(case, str(len(runs)), key, f"{low:,.1f}", f"{middle:,.1f}", f"{high:,.1f}")
    Console(width=140).print(table)
