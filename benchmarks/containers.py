"""The venue of compose.yaml: how fast it comes up, trades, fails over and takes a replica in, and what it takes.

    this process --flow send, kill -9--> containers, over their own networks, every connection with keys

Needs a Docker engine with compose, and root, since processes are killed by their pids on this host.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import print_rows
from benchmarks.venue import write_flow
from tests.compose.containers import BUILD_S, ROOT, Containers, docker
from tests.faults.load import Load
from tests.models.running import until

IMAGE = "sequencer-island:benchmark"


def trading(venue: Containers, commands: int, scratch: Path) -> dict[str, float]:
    """The flow through the order gateway, as fast as it takes it."""
    opening, flow = scratch / "opening.jsonl", scratch / "flow.jsonl"
    write_flow(opening, flow, commands)
    _send(venue, opening)
    begin_s = time.monotonic()
    summary = _send(venue, flow)
    return {"commands_per_s": commands / (time.monotonic() - begin_s), "answered": float(summary["answered"])}


def failovers(venue: Containers, kills: int) -> dict[str, float]:
    """From the kill of the leader until a batch is seen that was submitted after it; in ms."""
    with Load(venue) as load:
        times_ms = []
        for _ in range(kills):
            load.await_observers()
            pid = venue.pid(until(lambda: venue.leader, "a leader"))  # asking Docker takes longer than what is measured
            begun_ns = time.monotonic_ns()
            os.kill(pid, signal.SIGKILL)
            load.await_progress()
            times_ms.append((load.fresh_ns - begun_ns) / 1e6)
            until(lambda: not venue.problems, "all is well")
        broken = load.judge()
        assert not broken, broken
    return {"p50_ms": statistics.median(times_ms), "max_ms": max(times_ms)}


def attaching(venue: Containers) -> dict[str, float]:
    """From the command until the replica is live."""
    begin_s = time.monotonic()
    container = venue.compose("run", "-d", "--no-deps", "attach", "matching").split()[-1]
    name = f"matching-{container[:12]}"
    until(lambda: [row for row in venue.rows(name) if row["state"] == "live"], f"{name} is live")
    took_s = time.monotonic() - begin_s
    venue.command("detach", name)
    return {"seconds": took_s}


def memory(venue: Containers) -> dict[str, float]:
    """Of each kind of process, in MiB, the largest."""
    found: dict[str, float] = {}
    for line in venue.compose("stats", "--no-stream", "--format", "json").splitlines():
        row = json.loads(line)
        kind = row["Name"].rsplit("-", 1)[0].split("-", 2)[-1].replace("-1", "").replace("-2", "").replace("-3", "")
        number, unit = row["MemUsage"].split("/")[0].strip()[:-3], row["MemUsage"].split("/")[0].strip()[-3:]
        found[kind] = max(found.get(kind, 0.0), float(number) * {"GiB": 1024.0, "MiB": 1.0, "KiB": 1 / 1024}[unit])
    return {f"{kind}_mib": size for kind, size in sorted(found.items())}


def _send(venue: Containers, flow: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "sequencer", "flow", "send", str(flow), "--data", str(venue.outside.data_dir)]
    done = subprocess.run([*command, "-o", "json"], capture_output=True, text=True, check=True)
    summary: dict[str, float] = json.loads(done.stdout)
    return summary


def main() -> None:
    """Run the cases and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    docker("build", "-q", "-t", IMAGE, str(ROOT), timeout_s=BUILD_S)
    size = float(docker("image", "inspect", "-f", "{{.Size}}", IMAGE)) / 1e6
    rows: dict[str, list[dict[str, float]]] = {"image": [{"megabytes": size}]}
    with tempfile.TemporaryDirectory() as scratch:
        begin_s = time.monotonic()
        with Containers(Path(scratch), IMAGE) as venue:
            venue.await_well()
            rows["docker compose up, until all is well"] = [{"seconds": time.monotonic() - begin_s}]
            rows["trading"] = [trading(venue, options.commands, Path(scratch))]
            rows["a replica attached behind it"] = [attaching(venue)]
            rows["memory"] = [memory(venue)]
            rows[f"{options.kills} kills of the leader"] = [failovers(venue, options.kills)]
    print_rows("containers", rows, as_json=options.json)


if __name__ == "__main__":
    main()
