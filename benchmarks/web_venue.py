"""Orders over WebSocket through a whole venue: how many a second, CPU of each process, and a lone client's wait.

    traders --WebSocket--> web gateway --> node(s) <--> credit x2, matching x2 --> web gateway --> traders

Orders of 20 clients, of which every second one trades with the one before it, each client with at most WINDOW of them
unanswered; then one order at a time. The traders are a process of their own, which counts replies and fills in the
bytes that come, and reads no more of them.
"""

import argparse
import base64
import json
import os
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
from gateways.web.keys import Keys, sign

SESSIONS = 20
WINDOW = 256
LONE_ORDERS = 1000
PATIENCE_S = 180.0
TAKEN, FILLED = b'"method":"add_order","success":true', b'"exec_type":"trade"'


class Trader:
    """One client, connected; it follows its executions."""

    def __init__(self, port: int, key: str, secret: str) -> None:
        token = self._token(port, key, secret)
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        nonce = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /v2 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = self.socket.recv(4096)
        assert b" 101 " in answer, answer
        self._head = f'"params":{{"token":"{token}",'
        self.socket.sendall(framed(f'{{"method":"subscribe",{self._head}"channel":"executions"}}}}'))
        while b'"next_number"' not in answer:
            answer = answer[-64:] + self.socket.recv(1 << 16)

    @staticmethod
    def _token(port: int, key: str, secret: str) -> str:
        nonce = str(time.time_ns() // 1000)
        signature = sign(secret, "POST/v1/token", nonce, b"")
        with socket.create_connection(("127.0.0.1", port)) as asked:
            asked.sendall(
                f"POST /v1/token HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\nAPI-Key: {key}\r\n"
                f"API-Nonce: {nonce}\r\nAPI-Sign: {signature}\r\n\r\n".encode()
            )
            answer = b""
            while part := asked.recv(4096):
                answer += part
        return str(json.loads(answer.partition(b"\r\n\r\n")[2])["token"])

    def order(self, side: str) -> bytes:
        """A limit order that trades with one of the other side."""
        return framed(
            f'{{"method":"add_order",{self._head}"symbol":"BTC-USD","side":"{side}","order_qty":0.1,'
            '"limit_price":1000.00},"req_id":1}'
        )


def framed(text: str) -> bytes:
    """A text message of a client, masked with zeros."""
    data = text.encode()
    assert 125 < len(data) < 1 << 16 or len(data) <= 125, len(data)
    size = bytes([0x80 | len(data)]) if len(data) <= 125 else b"\xfe" + len(data).to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + data


def send(port: int, keys: list[list[str]], orders: int) -> dict[str, float]:
    """Send orders of all clients, and wait for every reply and every fill."""
    traders = [Trader(port, *key) for key in keys]
    each = orders // SESSIONS
    texts = [[one.order("buy"), one.order("sell")] for one in traders]
    selector = selectors.DefaultSelector()
    sent, taken, filled, tails = [0] * SESSIONS, [0] * SESSIONS, 0, [b""] * SESSIONS
    longest = max(len(TAKEN), len(FILLED)) - 1

    def feed(nth: int) -> None:
        count = min(each, taken[nth] + WINDOW) - sent[nth]
        if count > WINDOW // 2 or sent[nth] + count == each:
            traders[nth].socket.sendall(b"".join(texts[nth][(sent[nth] + at) % 2] for at in range(count)))
            sent[nth] += count

    begin_s = time.perf_counter()
    for nth, one in enumerate(traders):
        selector.register(one.socket, selectors.EVENT_READ, nth)
        feed(nth)
    while sum(taken) < each * SESSIONS or filled < each * SESSIONS:
        assert time.perf_counter() - begin_s < PATIENCE_S, (taken, filled)
        for key, _events in selector.select(0.1):
            nth = key.data
            part = tails[nth] + traders[nth].socket.recv(1 << 18)
            tails[nth] = part[-longest:]
            taken[nth] += part.count(TAKEN) - tails[nth].count(TAKEN)
            filled += part.count(FILLED) - tails[nth].count(FILLED)
            feed(nth)
    return {"orders_per_s": each * SESSIONS / (time.perf_counter() - begin_s)}


def lone(port: int, key: list[str]) -> dict[str, float]:
    """One order at a time: ms from before it is sent to its reply."""
    trader, times_ms = Trader(port, *key), []
    text = trader.order("buy")
    for _ in range(LONE_ORDERS):
        begin_s = time.perf_counter()
        trader.socket.sendall(text)
        answer = b""
        while TAKEN not in answer:
            answer = answer[-len(TAKEN) :] + trader.socket.recv(1 << 16)
        times_ms.append((time.perf_counter() - begin_s) * 1000)
    cuts = statistics.quantiles(times_ms[LONE_ORDERS // 6 :], n=100)
    return {"lone_p50_ms": cuts[49], "lone_p99_ms": cuts[98]}


def one_run(orders: int, scratch: Path) -> dict[str, float]:
    """One venue: all at once, then one at a time."""
    with ready_venue(1, 0, scratch, doors=("web-1",)) as (config, _flow):
        keys = Keys.load(config.data_dir)
        made = [keys.issue(f"C{number + 1}", ["read", "trade"]) for number in range(SESSIONS)]
        keys.save(config.data_dir)
        time.sleep(2.0)  # the gateway looks at its keys every second
        port = int(config.endpoint("web").rpartition(":")[2])
        pids = pids_of(config)
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        words = [sys.executable, "-m", "benchmarks.web_venue", "--port", str(port), "--orders", str(orders)]
        words += ["--keys", json.dumps([[one.key, one.secret] for one in made])]
        done = subprocess.run([*words, "--send"], stdout=subprocess.PIPE, check=True, text=True)
        after = {name: cpu_seconds(pid) for name, pid in pids.items()}
        each = {f"{name}_us": (after[name] - before[name]) / orders * 1e6 for name in pids}
        alone = subprocess.run([*words, "--lone"], stdout=subprocess.PIPE, check=True, text=True)
        return {**json.loads(done.stdout), **dict(sorted(each.items())), **json.loads(alone.stdout)}


def main() -> None:
    """Several venues, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--orders", type=int, default=60_000)
    parser.add_argument("--dir", default=None, help="scratch directory, on the disk to be measured")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--keys", default="[]", help=argparse.SUPPRESS)
    parser.add_argument("--send", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--lone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if options.port:
        keys = json.loads(options.keys)
        told = send(options.port, keys, options.orders) if options.send else lone(options.port, keys[0])
        print(json.dumps(told))
        return
    rows = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(dir=options.dir) as scratch:
            rows.append(one_run(options.orders, Path(scratch)))
    print_rows("web gateway in a venue", {"1 node": rows}, as_json=options.json)


if __name__ == "__main__":
    main()
