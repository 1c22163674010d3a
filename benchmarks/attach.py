"""Replicas that come while the venue trades: how soon a blank one is live, and what a snapshot costs.

a log of so many messages --> node, replayer --> attach (from its beginning | from a snapshot) --> live

flow --> venue --> gaps between matching's outputs, while snapshots are taken and while not
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from benchmarks.nodes import Nodes
from benchmarks.one_process import CLIENTS, INSTRUMENTS, Recorder
from benchmarks.replay import write_entries
from benchmarks.report import print_rows
from benchmarks.venue import ready_venue
from engines import operating
from engines.messages import RESULTS
from gateways.flow import generate
from gateways.venue import create
from sequencer import admin
from sequencer.client import Subscriber
from sequencer.config import Config
from sequencer.sockets import context

PASS = 100_000
POLL_S = 0.005
PATIENCE_S = 120.0
SECONDS = 10.0
RATE = 4000.0


def record(messages: int, cluster: bytes) -> Recorder:
    """A log of at least so many messages, of generated flows."""
    recorder = Recorder(cluster)
    seed = 0
    while not recorder.entries or recorder.entries[-1].next_sequence <= messages:
        seed += 1
        recorder.flow(generate.lines(seed, PASS, INSTRUMENTS, CLIENTS))
        print(f"recorded {recorder.entries[-1].next_sequence - 1:,} messages", file=sys.stderr, flush=True)
    return recorder


@contextmanager
def attached(config: Config, machine: str, name: str) -> Iterator[dict[str, float]]:
    """A replica from its process's start until it is live, and how long that took."""
    begin_s = time.perf_counter()
    words = [sys.executable, "-m", "sequencer", "attach", machine, "--name", name, "--data", str(config.data_dir)]
    with subprocess.Popen(words) as process:
        try:
            while (row := _row(config, name)).get("state") != "live":
                assert time.perf_counter() - begin_s < PATIENCE_S, row
                time.sleep(POLL_S)
            yield {"live_s": time.perf_counter() - begin_s, "began_at": row["began_at"], "position": row["position"]}
        finally:
            process.terminate()


def blank_replicas(messages: int, runs: int, scratch: Path) -> dict[str, list[dict[str, float]]]:
    """Attach a blank replica of each machine behind a log, without and with a snapshot."""
    config = create(scratch / "log", 1)
    recorder = record(messages, config.cluster)
    write_entries(config, recorder.entries)
    rows: dict[str, list[dict[str, float]]] = {}
    with Nodes(config):
        for machine in ("matching", "credit"):
            with attached(config, machine, f"{machine}-0") as row:
                rows[f"{machine}, from the beginning"] = [row]
                begin_s = time.perf_counter()
                _asked, told = operating.take_snapshot(config, machine, keep=True)
                operating.await_kept(config, told)
                kept = {"seconds": time.perf_counter() - begin_s}
            rows[f"{machine}, snapshot taken and kept"] = [
                {**kept, "megabytes": max(one["bytes"] for one in operating.snapshots(config)) / 1e6}
            ]
            for number in range(1, runs + 1):
                with attached(config, machine, f"{machine}-{number}") as row:
                    rows.setdefault(f"{machine}, from a snapshot", []).append(row)
    return rows


def output_gaps(runs: int, scratch: Path) -> dict[str, list[dict[str, float]]]:
    """Gaps between matching's outputs at RATE commands a second, with a snapshot every second and without."""
    rows: dict[str, list[dict[str, float]]] = {}
    for run in range(runs):
        with ready_venue(1, int(RATE * SECONDS * 4), scratch / f"gaps-{run}") as (config, flow):
            words = [sys.executable, "-m", "sequencer", "flow", "send", str(flow), "--rate", str(RATE)]
            with subprocess.Popen([*words, "--data", str(config.data_dir)], stdout=subprocess.DEVNULL) as sender:
                time.sleep(2)
                for case in ("no snapshots", "a snapshot of each shard a second"):
                    rows.setdefault(case, []).append(_gaps(config, taking=case != "no snapshots"))
                sender.terminate()
    return rows


def _gaps(config: Config, *, taking: bool) -> dict[str, float]:
    stop = threading.Event()
    taker = threading.Thread(target=_take, args=(config, stop))
    if taking:
        taker.start()
    times_s: list[float] = []
    with context(config) as made:
        stream = Subscriber(config.sources, context=made, next_index=1 << 40)
        _await_end(stream)
        stream = Subscriber(config.sources, context=made, next_index=stream.high_water + 1)
        end_s = time.perf_counter() + SECONDS
        while (now_s := time.perf_counter()) < end_s:
            if any(batch.channel == RESULTS for entry in stream.wait(20) for batch in entry.batches()):
                times_s.append(now_s)
    stop.set()
    if taking:
        taker.join()
    gaps_ms = [(later - earlier) * 1000 for earlier, later in pairwise(times_s)]
    cuts = statistics.quantiles(gaps_ms, n=1000)
    return {"p50_ms": cuts[499], "p99_ms": cuts[989], "p999_ms": cuts[998], "longest_ms": max(gaps_ms)}


def _await_end(stream: Subscriber) -> None:
    while stream.high_water < 0:
        stream.wait(20)


def _take(config: Config, stop: threading.Event) -> None:
    while not stop.wait(1.0):
        operating.take_snapshot(config, "", keep=True)


def _row(config: Config, name: str) -> admin.Row:
    return next((row for row in admin.status(config).replicas if row["name"] == name), {})


def main() -> None:
    """Both parts, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--messages", type=int, default=10_000_000)
    parser.add_argument("--dir", default=None, help="scratch directory, on the disk to be measured")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as scratch:
        gaps = output_gaps(options.runs, Path(scratch))
        print_rows("matching's outputs", gaps, as_json=options.json)
        rows = blank_replicas(options.messages, options.runs, Path(scratch))
        print_rows(f"attach behind {options.messages:,} messages", rows, as_json=options.json)


if __name__ == "__main__":
    main()
