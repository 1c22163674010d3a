"""What an honest client notices of somebody who floods a door: p50 and p99 from order to report, beside each flood.

    honest client --open loop--> order gateway --> node --> ...      the figures; CPU of node and gateway beside them
    flooder, at nice 19 ---------> one door                          a process of its own, for a few seconds

A real venue on this host, every door on tcp with keys. Flooders compete for the same CPUs, and would take from the
venue what hosts of their own would not: so they run at nice 19, and figures show the venue's own weakness. They are
bounded in time and in messages. `times_p99` is the p99 beside a flood over that of the seconds before it.
"""

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count, cycle
from pathlib import Path
from typing import Final

import zmq

from benchmarks.report import cpu_seconds, print_rows
from engines import messages as m
from gateways import events as e
from gateways.layout import loopback
from gateways.order.client import OrderClient, OrderConnection
from gateways.order.protocol import ENCODER as ORDERS
from gateways.order.protocol import FROM_GATEWAY, Busy, Expected, LoggedOn, Logon
from gateways.venue import create
from sequencer import admin, deployment
from sequencer.client import Context, Replay
from sequencer.config import Config
from sequencer.envelope import encode_batch
from sequencer.keyring import KEY_VARIABLE, issue, read_pair, secret_path
from sequencer.keys import Role
from sequencer.protocol import ENCODER, FRAME_BATCHES_MAX, AskCommitted, AskStatus, Fetch
from sequencer.sockets import connect, context, tune
from sequencer.supervisor import Supervisor

HONEST, SYMBOL = "honest", "A-B"
MESSAGES_MAX: Final = 5_000_000
CONNECTIONS: Final = 64
"""Of who has no key, at a time; a flooder with a key has FLOODER_SOCKETS."""
FLOODER_SOCKETS: Final = 4
TOO_MANY: Final = 4000
GREETING: Final = b"\xff" + bytes(7) + b"\x01\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)
KEYS: Final = {
    "honest": (Role.CLIENT, {}),
    "mallory": (Role.CLIENT, {}),
    "spy": (Role.READER, {}),
    "matching-9": (Role.REPLICA, {"of": ["matching"]}),
}
PATIENCE_S: Final = 15.0
REST_S: Final = 1.0
"""Between floods: what they left in queues is not the next one's."""


# --- the flooder's process ------------------------------------------------------------------------


class Flood:
    """One flooder's means: where it goes, with which key, and until when."""

    def __init__(self, config: Config, node: str, seconds: float) -> None:
        self.config = config
        self.ingress, self.replayer = config.node(node).ingress, config.node(node).replayer
        self.access = config.endpoint("order")
        self.sent = 0
        self._until_s = time.monotonic() + seconds

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self._until_s and self.sent < MESSAGES_MAX

    def say(self, endpoint: str, frames: Iterator[bytes]) -> None:
        """Send at full speed over several connections, and throw away what is answered."""
        with context(self.config) as made:
            sockets = [tune(made.socket(zmq.DEALER)) for _ in range(FLOODER_SOCKETS)]
            for one in sockets:
                connect(one, endpoint)
            for one in cycle(sockets):
                if not self.goes_on:
                    return
                with suppress(zmq.Again):
                    while True:
                        one.recv_multipart(zmq.NOBLOCK)
                with suppress(zmq.Again):
                    for _ in range(100):
                        one.send(next(frames), zmq.NOBLOCK)
                        self.sent += 1
                one.poll(1, zmq.POLLOUT)

    def knock(self, endpoint: str, greeting: bytes) -> None:
        """Open connections, CONNECTIONS at a time, say something that is no handshake, and hang up."""
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        opened: list[socket.socket] = []
        while self.goes_on:
            with suppress(OSError):
                one = socket.create_connection((host, int(port)), timeout=1.0)
                opened.append(one)
                one.sendall(greeting)
            self.sent += 1
            if len(opened) >= CONNECTIONS:
                opened.pop(0).close()

    def shake_hands(self, endpoint: str) -> None:
        """CURVE handshakes with a key that nobody knows, CONNECTIONS at a time, over and over."""
        server = self.config.keyring().server(endpoint)
        made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        waiting: list[zmq.Socket[bytes]] = []
        public, secret = zmq.curve_keypair()
        while self.goes_on:
            try:
                one = made.socket(zmq.DEALER)
            except zmq.ZMQError:  # those before are not gone yet
                time.sleep(0.01)
                continue
            one.setsockopt(zmq.CURVE_SERVERKEY, server)
            one.setsockopt(zmq.CURVE_PUBLICKEY, public)
            one.setsockopt(zmq.CURVE_SECRETKEY, secret)
            one.connect(endpoint)
            waiting.append(one)
            self.sent += 1
            if len(waiting) >= CONNECTIONS:
                waiting.pop(0).close(linger=0)
        made.destroy(linger=0)

    def trade(self) -> None:
        """Orders as fast as the gateway's own bounds allow: numbers are right, and what is refused comes again."""
        with context(self.config) as made:
            orders = tune(made.socket(zmq.DEALER))
            connect(orders, self.access)
            orders.send(ORDERS.encode([Logon("mallory")]))
            client_id = number = 0
            while self.goes_on:
                orders.poll(0 if client_id else 50)
                with suppress(zmq.Again):
                    while True:
                        for said in FROM_GATEWAY.decode(orders.recv(zmq.NOBLOCK)):
                            if isinstance(said, LoggedOn):
                                client_id, number = said.client_id, said.last_number + 1
                            elif isinstance(said, Busy | Expected):
                                number = said.next_number
                if not client_id:
                    continue
                with suppress(zmq.Again):
                    orders.send(ORDERS.encode([order(client_id, number + i) for i in range(64)]), zmq.NOBLOCK)
                    number += 64
                    self.sent += 64

    def duplicates(self, count: int) -> bytes:
        """A frame of so many copies of a batch that is in the log."""
        with context(self.config) as made:
            for entry in Replay(self.config.sources, context=made):
                for batch in entry.batches():
                    if batch.sender.startswith("matching.") and batch.number:
                        return bytes(batch.data) * count
        raise AssertionError("matching has said nothing yet")


def order(client_id: int, number: int) -> m.NewOrder:
    """One that finds nobody to trade with, and does not stay."""
    return m.NewOrder(client_id, number, 1, f"o{number}", m.Side.BUY, 100, 1, time_in_force=m.TimeInForce.IOC)


def garbage() -> Iterator[bytes]:
    return (os.urandom(200) for _ in count())


def gaps() -> Iterator[bytes]:
    """Batches that follow nothing."""
    one = bytes(encode_batch("matching.0", m.RESULTS, 1 << 40, b"\x90", count=1).data)
    return (one for _ in count())


def always(said: bytes) -> Iterator[bytes]:
    return (said for _ in count())


FLOODS: Final[dict[str, tuple[str, Callable[[Flood], None]]]] = {
    "strangers at the ingress": ("", lambda f: f.knock(f.ingress, GREETING)),
    "strangers at the order gateway": ("", lambda f: f.knock(f.access, GREETING)),
    "wrong keys at the ingress": ("", lambda f: f.shake_hands(f.ingress)),
    "wrong keys at the order gateway": ("", lambda f: f.shake_hands(f.access)),
    "a client: garbage": ("mallory", lambda f: f.say(f.access, garbage())),
    "a client: orders": ("mallory", Flood.trade),
    "a client: logons": ("mallory", lambda f: f.say(f.access, always(ORDERS.encode([Logon("mallory", 0)])))),
    "a client: 1 MB frames": ("mallory", lambda f: f.say(f.access, always(bytes((1 << 20) - 64)))),
    "a reader: AskStatus": ("spy", lambda f: f.say(f.ingress, always(ENCODER.encode(AskStatus())))),
    "a reader: AskCommitted": ("spy", lambda f: f.say(f.ingress, always(ENCODER.encode(AskCommitted())))),
    "a reader: 15 MB frames": ("spy", lambda f: f.say(f.ingress, always(bytes(15 << 20)))),
    "a replica: duplicates": ("matching-9", lambda f: f.say(f.ingress, always(f.duplicates(FRAME_BATCHES_MAX)))),
    "a replica: frames of too many": ("matching-9", lambda f: f.say(f.ingress, always(f.duplicates(TOO_MANY)))),
    "a replica: batches that follow nothing": ("matching-9", lambda f: f.say(f.ingress, gaps())),
    "a reader: ranges of the log": ("spy", lambda f: f.say(f.replayer, always(ENCODER.encode(Fetch(1, 4 << 20))))),
}
"""Name -> whose key, and what is done with it."""


def flood(data_dir: Path, name: str, node: str, seconds: float) -> int:
    """Be the flooder, and print how much was sent."""
    os.nice(19)
    one = Flood(Config.load(data_dir), node, seconds)
    FLOODS[name][1](one)
    print(one.sent)
    return 0


# --- the venue and its honest client --------------------------------------------------------------


@contextmanager
def venue(directory: Path, nodes: int) -> Iterator[Config]:
    """Of nodes, replicas and an order gateway, with an instrument and credit, and keys for all."""
    config = create(directory, nodes, loopback)
    for name in ("fix-1", "web-1", "marketdata-1"):
        deployment.dismiss(config.data_dir, name)
    config = Config.load(directory)
    for name, (role, rights) in KEYS.items():
        issue(config.keys_path, secret_path(config.secrets_directory, name), name, role, **rights)  # type: ignore[arg-type]
    supervisor = Supervisor(config)
    supervisor.start()
    try:
        reasons = admin.await_healthy(config, 30)
        assert not reasons, reasons
        with context(config) as made, OrderClient(config.endpoint("order"), "operator", context=made) as operator:
            operator.set_instrument(symbol=SYMBOL, currency="EUR", tick="1", lot="1")
            for name in (HONEST, "mallory"):
                operator.set_credit(name, "EUR", "1000000000")
        yield config
    finally:
        supervisor.stop()


class Honest:
    """A client that sends orders when they are due, and measures from then to the answer."""

    def __init__(self, config: Config, rate: float) -> None:
        path = secret_path(config.secrets_directory, HONEST)
        assert read_pair(path), path
        with key_of(path):
            self._context = Context.of(config)
            self._orders = OrderConnection(config.endpoint("order"), context=self._context)
        self._orders.log_on([HONEST])
        self._period_s = 1 / rate

    def measure(self, seconds: float) -> list[float]:
        """ms from due to answered, of each order; PATIENCE_S for those that have no answer by then."""
        due_s: dict[int, float] = {}
        times_ms: list[float] = []
        total, begin_s = int(seconds / self._period_s), time.perf_counter()
        submitted, give_up_s = 0, begin_s + seconds + PATIENCE_S
        while len(times_ms) < total:
            now_s = time.perf_counter()
            if now_s > give_up_s:
                return times_ms + [PATIENCE_S * 1000] * (total - len(times_ms))
            while submitted < total and begin_s + submitted * self._period_s <= now_s:
                number = self._orders.send(HONEST, order(0, 1))
                due_s[number] = begin_s + submitted * self._period_s
                submitted += 1
            for report in self._orders.receive(0.001):
                self._note(report, due_s, times_ms)
        return times_ms

    @staticmethod
    def _note(report: e.Event, due_s: dict[int, float], times_ms: list[float]) -> None:
        begun_s = due_s.pop(report.number, None)
        if begun_s is not None:
            times_ms.append((time.perf_counter() - begun_s) * 1000)

    def close(self) -> None:
        self._orders.close()
        self._context.destroy(linger=0)


@contextmanager
def key_of(path: Path) -> Iterator[None]:
    """Commands of this process use this key."""
    os.environ[KEY_VARIABLE] = str(path)
    try:
        yield
    finally:
        del os.environ[KEY_VARIABLE]


def beside(config: Config, honest: Honest, name: str, node: str, seconds: float) -> dict[str, float]:
    """The honest client's figures while one flood goes on; "": none."""
    pids = {"node": pid_of(config, node), "gateway": pid_of(config, "order-1")}
    before = {one: cpu_seconds(pid) for one, pid in pids.items()}
    flooder, sent = None, 0
    if name:
        key = FLOODS[name][0]
        env = {**os.environ, **({KEY_VARIABLE: str(secret_path(config.secrets_directory, key))} if key else {})}
        words = ["--flood", name, "--dir", str(config.data_dir), "--node", node, "--seconds", str(seconds + 2)]
        flooder = subprocess.Popen([sys.executable, "-m", "benchmarks.floods", *words], env=env, stdout=subprocess.PIPE)
        time.sleep(1.0)
    try:
        times_ms = honest.measure(seconds)
    finally:
        if flooder is not None:
            try:
                sent = int(flooder.communicate(timeout=seconds + 20)[0] or 0)
            except subprocess.TimeoutExpired:
                flooder.kill()
                flooder.communicate()
    cuts = statistics.quantiles(times_ms, n=100)
    spent = {f"{one}_cpu_s": cpu_seconds(pid) - before[one] for one, pid in pids.items()}
    time.sleep(REST_S)
    unanswered = times_ms.count(PATIENCE_S * 1000)
    return {"p50_ms": cuts[49], "p99_ms": cuts[98], "unanswered": unanswered, "sent_by_flooder": sent, **spent}


def pid_of(config: Config, name: str) -> int:
    found = admin.status(config)
    return next(int(row["pid"]) for row in found.nodes + found.gateways if row["name"] == name)


def one_run(nodes: int, seconds: float, rate: float, names: list[str], scratch: Path) -> dict[str, dict[str, float]]:
    """All floods, one after the other; at a new venue after one that it has not withstood."""
    rows: dict[str, dict[str, float]] = {}
    while names:
        scratch = scratch / "v"
        rows |= (at_one_venue := until_it_stands(nodes, seconds, rate, names, scratch))
        names = names[len(at_one_venue) :]
    return rows


def until_it_stands(
    nodes: int, seconds: float, rate: float, names: list[str], scratch: Path
) -> dict[str, dict[str, float]]:
    """As many floods as a venue goes on after."""
    rows: dict[str, dict[str, float]] = {}
    with venue(scratch / "venue", nodes) as config:
        node = next(row["name"] for row in admin.status(config).nodes if row["role"] == "leader")
        honest = Honest(config, rate)
        try:
            honest.measure(2.0)
            for name in names:
                without = beside(config, honest, "", node, seconds)
                rows[name] = row = beside(config, honest, name, node, seconds)
                row["p50_ms_without"], row["p99_ms_without"] = without["p50_ms"], without["p99_ms"]
                row["times_p50"] = row["p50_ms"] / without["p50_ms"]
                row["times_p99"] = row["p99_ms"] / without["p99_ms"]
                print(name, {key: round(value, 2) for key, value in row.items()}, file=sys.stderr, flush=True)
                if row["unanswered"]:
                    break
        finally:
            honest.close()
    return rows


def main() -> int:
    """Run the floods and print minimum, median and maximum of the runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each flood")
    parser.add_argument("--rate", type=float, default=200.0, help="orders a second of the honest client")
    parser.add_argument("--only", default="", help="floods whose names have this in them")
    parser.add_argument("--dir", default=None, help="scratch directory, on the disk to be measured")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--flood", choices=FLOODS, help=argparse.SUPPRESS)
    parser.add_argument("--node", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.flood:
        return flood(Path(options.dir), options.flood, options.node, options.seconds)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows: dict[str, list[dict[str, float]]] = {}
    names = [name for name in FLOODS if options.only in name]
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(dir=options.dir) as scratch:
            for name, row in one_run(options.nodes, options.seconds, options.rate, names, Path(scratch)).items():
                rows.setdefault(name, []).append(row)
    print_rows("floods", rows, as_json=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
