"""Orders through the FIX gateway of a whole venue: how many a second, CPU of each process, and a lone client's wait.

    counterparties --TCP--> FIX gateway --> node(s) <--> credit x2, matching x2 --> FIX gateway --> counterparties

Orders of 20 sessions, of which every second one trades with the one before it, sent without waiting; then one order
at a time. The counterparties are a process of their own, which reads no more of a report than its type.
"""

import argparse
import json
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import cpu_seconds, print_rows
from benchmarks.venue import pids_of, ready_venue
from gateways.fix.codec import SOH, encode
from gateways.times import utc_text

SESSIONS = 20
LONE_ORDERS = 1000
PATIENCE_S = 120.0
ACCEPTED, FILLED = b"\x01150=0\x01", b"\x01150=F\x01"


class Client:
    """One session, logged on."""

    def __init__(self, port: int, name: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._name = name
        self._number = 0
        self.socket.sendall(self.message("A", [(98, 0), (108, 300), (141, "Y")]))
        self.socket.recv(4096)

    def message(self, kind: str, fields: list[tuple[int, object]]) -> bytes:
        """The next message."""
        self._number += 1
        header = f"34={self._number}{SOH}49={self._name}{SOH}56=ISLAND{SOH}52={utc_text(time.time_ns())}{SOH}"
        return encode(kind, header, fields)

    def order(self, name: str, side: int) -> bytes:
        """A limit order that trades with one of the other side."""
        return self.message(
            "D",
            [
                (11, name),
                (55, "BTC-USD"),
                (54, side),
                (60, utc_text(time.time_ns())),
                (38, "0.1"),
                (40, 2),
                (44, "1000.00"),
            ],
        )


def send(port: int, orders: int, prefix: str) -> dict[str, float]:
    """Send orders from all sessions, and wait for every report."""
    clients = [Client(port, f"C{number + 1}") for number in range(SESSIONS)]
    each = orders // SESSIONS
    data = [
        b"".join(client.order(f"{prefix}{nth}-{number}", 1 + number % 2) for number in range(each))
        for nth, client in enumerate(clients)
    ]
    selector, sent, accepted, filled = selectors.DefaultSelector(), [0] * SESSIONS, 0, 0
    tails = [b""] * SESSIONS
    for nth, client in enumerate(clients):
        client.socket.setblocking(False)
        selector.register(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, nth)
    begin_s = time.perf_counter()
    while accepted < each * SESSIONS or filled < each * SESSIONS:
        assert time.perf_counter() - begin_s < PATIENCE_S, (accepted, filled)
        for key, events in selector.select(0.1):
            nth = key.data
            if events & selectors.EVENT_WRITE:
                sent[nth] += clients[nth].socket.send(data[nth][sent[nth] : sent[nth] + (1 << 16)])
                if sent[nth] == len(data[nth]):
                    selector.modify(clients[nth].socket, selectors.EVENT_READ, nth)
            if events & selectors.EVENT_READ:
                part = tails[nth] + clients[nth].socket.recv(1 << 18)
                tails[nth] = part[1 - len(FILLED) :]  # what begins there ends in the next part
                accepted += part.count(ACCEPTED)
                filled += part.count(FILLED)
    took_s = time.perf_counter() - begin_s
    return {"orders_per_s": each * SESSIONS / took_s}


def lone(port: int) -> dict[str, float]:
    """One order at a time: ms from before it is sent to its first report."""
    client, times_ms = Client(port, "C1"), []
    for number in range(LONE_ORDERS):
        begin_s = time.perf_counter()
        client.socket.sendall(client.order(f"lone-{begin_s}-{number}", 1))
        while ACCEPTED not in client.socket.recv(1 << 16):
            continue
        times_ms.append((time.perf_counter() - begin_s) * 1000)
    cuts = statistics.quantiles(times_ms[LONE_ORDERS // 6 :], n=100)
    return {"lone_p50_ms": cuts[49], "lone_p99_ms": cuts[98]}


def one_run(orders: int, scratch: Path) -> dict[str, float]:
    """One venue: all at once, then one at a time."""
    with ready_venue(1, 0, scratch, doors=("fix-1",)) as (config, _flow):
        port = int(config.endpoint("fix").rpartition(":")[2])
        pids = pids_of(config)
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        words = [sys.executable, "-m", "benchmarks.fix_venue", "--port", str(port), "--orders", str(orders)]
        done = subprocess.run([*words, "--send"], stdout=subprocess.PIPE, check=True, text=True)
        after = {name: cpu_seconds(pid) for name, pid in pids.items()}
        each = {f"{name}_us": (after[name] - before[name]) / orders * 1e6 for name in pids}
        alone = subprocess.run([*words, "--lone"], stdout=subprocess.PIPE, check=True, text=True)
        return {**json.loads(done.stdout), **dict(sorted(each.items())), **json.loads(alone.stdout)}


def main() -> None:
    """Several venues, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--orders", type=int, default=100_000)
    parser.add_argument("--dir", default=None, help="scratch directory, on the disk to be measured")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--send", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--lone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if options.port:
        print(json.dumps(send(options.port, options.orders, "o") if options.send else lone(options.port)))
        return
    rows = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(dir=options.dir) as scratch:
            rows.append(one_run(options.orders, Path(scratch)))
    print_rows("fix gateway in a venue", {"1 node": rows}, as_json=options.json)


if __name__ == "__main__":
    main()
