"""The whole venue: commands a second, CPU a command of each process, and latency at a tenth of that load.

    flow file --sender process--> order gateway --> node(s) <--> credit x2, matching x2 --> gateways --> sender

The flow is the Bitstamp one where it has been fetched (`sequencer flow fetch`), else a generated one, over
16 instruments and 100 clients. The sender is a process of its own and its CPU is shown apart.
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
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from benchmarks.report import cpu_seconds, print_rows
from gateways.flow import bitstamp, generate
from gateways.order.client import OrderClient
from gateways.venue import create
from sequencer import admin, deployment
from sequencer.config import Config
from sequencer.sockets import context
from sequencer.supervisor import Supervisor

INSTRUMENTS, CLIENTS = 16, 100
LONE_ORDERS = 1200
CACHED = Path("flows") / bitstamp.FILE_NAME


def write_flow(opening: Path, path: Path, commands: int) -> None:
    """Write what makes the venue ready, and the flow to measure."""
    real = CACHED.is_file()
    if real:
        lines = bitstamp.lines(CACHED, instruments=INSTRUMENTS, clients=CLIENTS)
    else:
        lines = generate.lines(1, commands, INSTRUMENTS, CLIENTS)
    opening.write_text("".join(line + "\n" for line in islice(lines, INSTRUMENTS + CLIENTS)))
    with path.open("w") as out:
        out.writelines(line + "\n" for line in islice(lines, commands))


@contextmanager
def ready_venue(
    nodes: int, commands: int, scratch: Path, *, doors: tuple[str, ...] = ()
) -> Iterator[tuple[Config, Path]]:
    """A venue from empty data with instruments and credit, and the flow to send; `doors` are of fix-1 and web-1."""
    config = create(scratch / "venue", nodes)
    for name in {"fix-1", "web-1"}.difference(doors):
        deployment.dismiss(config.data_dir, name)
    config = Config.load(config.data_dir)
    opening, flow = scratch / "opening.jsonl", scratch / "flow.jsonl"
    write_flow(opening, flow, commands)
    supervisor = Supervisor(config)
    supervisor.start()
    try:
        reasons = admin.await_healthy(config, 30)
        assert not reasons, reasons
        _send(config, opening, None)
        yield config, flow
    finally:
        supervisor.stop()


def one_run(nodes: int, commands: int, rate: float | None, scratch: Path) -> dict[str, float]:
    """One flow through a venue."""
    with ready_venue(nodes, commands, scratch) as (config, flow):
        pids = pids_of(config)
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        summary, sender_s = _send(config, flow, rate)
        after = {name: cpu_seconds(pid) for name, pid in pids.items()}
        return _row(summary, before, after, sender_s)


def lone_client(nodes: int, scratch: Path) -> dict[str, float]:
    """Order to answer, in ms, of a client that waits for each answer, in a venue without other traffic."""
    times_ms = []
    with (
        ready_venue(nodes, 0, scratch) as (config, _flow),
        context(config) as made,
        OrderClient(config.endpoint("order"), client="C1", context=made) as orders,
    ):
        for number in range(LONE_ORDERS):
            begin_s = time.perf_counter()
            orders.new_order(
                symbol="BTC-USD", side="buy", price="1000.00", quantity="0.1", client_order_id=f"lone-{number}"
            )
            times_ms.append((time.perf_counter() - begin_s) * 1000)
    cuts = statistics.quantiles(times_ms[LONE_ORDERS // 6 :], n=100)
    return {"p50_ms": cuts[49], "p99_ms": cuts[98]}


def _send(config: Config, flow: Path, rate: float | None) -> tuple[dict[str, float], float]:
    command = [sys.executable, "-m", "sequencer", "flow", "send", str(flow), "--data", str(config.data_dir)]
    command += ["-o", "json"] + (["--rate", str(rate)] if rate else [])
    before = os.times()
    done = subprocess.run(command, capture_output=True, check=True)
    after = os.times()
    sender_s = after.children_user + after.children_system - before.children_user - before.children_system
    return json.loads(done.stdout), sender_s


def _row(
    summary: dict[str, float], before: dict[str, float], after: dict[str, float], sender_s: float
) -> dict[str, float]:
    answered = summary["answered"]
    assert not summary["unanswered"], summary
    each = {name: (after[name] - before[name]) / answered * 1e6 for name in before}
    latency = summary["latency"]
    return {
        "commands_per_s": summary["commands_per_s"],
        "p50_ms": latency["p50_us"] / 1000,  # type: ignore[index]
        "p99_ms": latency["p99_us"] / 1000,  # type: ignore[index]
        "venue_us_per_command": sum(each.values()),
        **{f"{name}_us": value for name, value in sorted(each.items())},
        "sender_us": sender_s / answered * 1e6,
    }


def pids_of(config: Config) -> dict[str, int]:
    """Process ids of all nodes, replicas and gateways, by name."""
    found = admin.status(config)
    return {row["name"]: int(row["pid"]) for row in found.nodes + found.replicas + found.gateways}


def main() -> None:
    """Run at full speed, then at a tenth of the median rate, then with a lone client."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--commands", type=int, default=314_057)
    parser.add_argument("--dir", default=None, help="scratch directory, on the disk to be measured")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(dir=options.dir) as scratch:
            row = one_run(options.nodes, options.commands, None, Path(scratch))
            rows.setdefault(f"{options.nodes} node(s), full speed", []).append(row)
    tenth = sorted(row["commands_per_s"] for row in next(iter(rows.values())))[options.runs // 2] / 10
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(dir=options.dir) as scratch:
            row = one_run(options.nodes, min(options.commands, int(tenth * 10)), tenth, Path(scratch))
            rows.setdefault(f"{options.nodes} node(s), {tenth:,.0f} commands/s", []).append(row)
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(dir=options.dir) as scratch:
            rows.setdefault("a lone client, one order at a time", []).append(lone_client(options.nodes, Path(scratch)))
    print_rows("venue", rows, as_json=options.json)


if __name__ == "__main__":
    main()
