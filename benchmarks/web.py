"""A book to many WebSocket readers while a flow runs: what it costs the web gateway, and whether all keep up.

    flow --> venue --> web gateway --book of one instrument, depth 10--> READERS readers, in a process of their own

The readers count bytes and look at nothing else. `updates` is how many messages each of them got; CPU is the web
gateway's, for each update and reader. The flow is sent at a fixed rate.
"""

import argparse
import base64
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import cpu_seconds, print_rows
from benchmarks.venue import ready_venue
from sequencer import admin

READERS = 500
RATE = 1000.0
COMMANDS = 20_000
SYMBOL = "BTC-USD"
QUIET_S = 2.0
MARK = b'"channel":"book","type":"update"'


def reader(port: int) -> socket.socket:
    """A connection that subscribes to the book."""
    made = socket.create_connection(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    made.sendall(
        f"GET /v2 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = made.recv(4096)
    assert b" 101 " in answer, answer
    request = {"method": "subscribe", "params": {"channel": "book", "symbol": [SYMBOL], "depth": 10}}
    text = json.dumps(request).encode()
    made.sendall(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text)  # masked with zeros
    made.setblocking(False)
    return made


def read(port: int, readers: int) -> dict[str, float]:
    """Read until standard input ends; the updates that each reader got."""
    selector, counts = selectors.DefaultSelector(), [0] * readers
    for number in range(readers):
        selector.register(reader(port), selectors.EVENT_READ, number)
    selector.register(sys.stdin, selectors.EVENT_READ, -1)
    print("ready", flush=True)
    ended, goes_on = 0, True
    while goes_on:
        for key, _events in selector.select():
            if key.data < 0:
                goes_on = False
                continue
            part = key.fileobj.recv(1 << 18)  # type: ignore[union-attr]
            if not part:
                ended += 1
                selector.unregister(key.fileobj)
            elif MARK in part:
                counts[key.data] += part.count(MARK)
    return {"updates_least": min(counts), "updates_most": max(counts), "cut_off": ended}


def one_run(scratch: Path, readers: int) -> dict[str, float]:
    """One venue, one flow."""
    with ready_venue(1, COMMANDS, scratch, doors=("web-1",)) as (config, flow):
        port = int(config.endpoint("web").rpartition(":")[2])
        words = [sys.executable, "-m", "benchmarks.web", "--port", str(port), "--readers", str(readers)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(words, text=True, **pipes) as reading:
            assert reading.stdin is not None, words
            assert reading.stdout is not None, words
            assert reading.stdout.readline() == "ready\n"
            (pid,) = (row["pid"] for row in admin.status(config).gateways if row["name"] == "web-1")
            before = cpu_seconds(pid)
            command = [sys.executable, "-m", "sequencer", "flow", "send", str(flow), "--data", str(config.data_dir)]
            subprocess.run([*command, "--rate", str(RATE), "-o", "json"], check=True, capture_output=True)
            time.sleep(QUIET_S)  # what is on its way arrives
            reading.stdin.close()
            told = json.loads(reading.stdout.read())
            spent = cpu_seconds(pid) - before
    messages = told["updates_most"] * readers
    return {
        **told,
        "web_cpu_s": spent,
        "us_a_message": spent / max(1, messages) * 1e6,
        "messages_per_s": messages / (COMMANDS / RATE),
    }


def main() -> None:
    """Several venues, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--readers", type=int, default=READERS)
    parser.add_argument("--dir", default=None, help="scratch directory, on the disk to be measured")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if options.port:
        print(json.dumps(read(options.port, options.readers)))
        return
    rows = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(dir=options.dir) as scratch:
            rows.append(one_run(Path(scratch), options.readers))
    print_rows("web gateway", {f"{options.readers} readers, {RATE:.0f} commands/s": rows}, as_json=options.json)


if __name__ == "__main__":
    main()
