"""The node alone: how many messages it orders, what a batch costs it, and how long one takes.

    this process --Submitter--> node --journal, fdatasync--> publisher --Subscriber--> this process

A sender keeps a window of batches of 100 x 64 bytes in flight and counts what comes back in the stream.
Then one batch at a time: submit to commit seen.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import zmq

from benchmarks.nodes import Nodes
from benchmarks.report import cpu_seconds, print_rows
from gateways.layout import loopback, together
from gateways.venue import create
from sequencer.client import Context, Submitter, Subscriber, hold_memory
from sequencer.config import Config

PAYLOAD = bytes(range(64)) * 100
COUNT = 100
COMMANDS = 1


class Sender:
    """A submitter and the stream it looks for its batches in."""

    def __init__(self, config: Config, name: str, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self.subscriber = Subscriber(config.sources, context=context, follow_leader=True)
        self.submitter = Submitter(config.ingress, name, context=context, leader=lambda: self.subscriber.leader_ingress)
        self.submitter.open()
        self.seen = 0
        self.poller = zmq.Poller()
        for socket in (*self.subscriber.sockets(), *self.submitter.sockets()):
            self.poller.register(socket, zmq.POLLIN)
        deadline = time.monotonic() + 30
        while not self.submitter.is_open and time.monotonic() < deadline:
            self.turn()

    def turn(self, timeout_ms: int = 20) -> None:
        """Wait for something, and take note of it."""
        self.poller.poll(timeout_ms)
        self.submitter.receive()
        for entry in self.subscriber.receive():
            for batch in entry.batches():
                self.seen += self.submitter.observe(batch)

    def fill(self, window: int, payload: bytes, count: int) -> None:
        """Submit until `window` batches are in flight."""
        while self.submitter.in_flight < window:
            self.submitter.submit(COMMANDS, payload, count)
        self.submitter.flush()


def throughput(config: Config, pids: dict[str, int], window: int, seconds: float) -> dict[str, float]:
    """Messages a second, and CPU a batch of the node and of the sender, over `seconds`."""
    context = Context.of(config)
    sender = Sender(config, f"gateway.bench-{os.urandom(3).hex()}", context)
    pids = {**pids, "sender": os.getpid()}
    warm_until = time.monotonic() + 1.0
    while time.monotonic() < warm_until:
        sender.fill(window, PAYLOAD, COUNT)
        sender.turn()
    start_s, seen, cpu = time.monotonic(), sender.seen, {name: cpu_seconds(pid) for name, pid in pids.items()}
    while time.monotonic() - start_s < seconds:
        sender.fill(window, PAYLOAD, COUNT)
        sender.turn()
    batches, passed_s = sender.seen - seen, time.monotonic() - start_s
    row = {"messages_per_s": batches * COUNT / passed_s}
    for name, pid in pids.items():
        row[f"{name}_us_per_batch"] = (cpu_seconds(pid) - cpu[name]) / max(1, batches) * 1e6
    context.destroy(linger=0)
    return row


def latency(config: Config, samples: int) -> dict[str, float]:
    """Submit to commit seen, one batch of one message at a time, in us."""
    context = Context.of(config)
    sender = Sender(config, f"gateway.bench-{os.urandom(3).hex()}", context)
    times = []
    for _ in range(samples):
        begin = time.perf_counter()
        sender.fill(1, PAYLOAD[:64], 1)
        while sender.submitter.in_flight:
            sender.turn()
        times.append((time.perf_counter() - begin) * 1e6)
    context.destroy(linger=0)
    cuts = statistics.quantiles(times[samples // 6 :], n=100)
    return {"p50_us": cuts[49], "p99_us": cuts[98]}


def main() -> None:
    """Run the cases and print minimum, median and maximum of the runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--windows", type=int, nargs="*", default=[64, 256, 1024])
    parser.add_argument("--dir", default=None, help="scratch directory, on the disk to be measured")
    parser.add_argument("--tcp", action="store_true", help="over tcp with CURVE, and not over ipc")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    hold_memory()
    rows: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(dir=options.dir) as scratch:
            config = create(Path(scratch), options.nodes, loopback if options.tcp else together)
            with Nodes(config) as nodes:
                pids = {name: nodes.pids[name] for name in nodes.names}
                for window in options.windows:
                    rows.setdefault(f"batches of {COUNT}, {window} in flight", []).append(
                        throughput(config, pids, window, options.seconds)
                    )
                rows.setdefault("one at a time", []).append(latency(config, 2000))
    print_rows("ordering", rows, as_json=options.json)


if __name__ == "__main__":
    main()
