"""What the FIX gateway costs an order: messages in, reports out, stores written.

    python benchmarks/fix.py [--json]

The gateway without its sockets is fed with the bytes of its counterparties and with log entries, both made before;
TCP, submitter and subscriber are not in the figures, the writes of the session stores are. `usual` is half new orders,
half cancels, `trading` new orders of which every second one trades with the one before it: each command is answered by
one report, each trade by one for each side. CPU time of this process, median of several runs; a gateway that serves
20,000 orders a second with one core may spend 50 us on each.
"""

import argparse
import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.order_gateway import CLIENTS, COMMANDS, LIMITS, Answer, Commands, Log, trading, usual
from benchmarks.report import print_rows
from engines import messages as m
from gateways.fix.codec import SOH, encode
from gateways.fix.doors import FixGateway
from gateways.fix.settings import Settings
from gateways.times import utc_text

WAKE_COMMANDS = 64
RUNS = 5
NOW_NS = 1_795_000_000_000_000_000
NOW = utc_text(NOW_NS)
SYMBOL = "BTC-USD"


def start(directory: Path) -> tuple[FixGateway, Log]:
    """A gateway with all clients logged on, each on a connection of its own."""
    gateway, log = FixGateway(Settings(open=True), directory, lambda: NOW_NS, LIMITS), Log()
    gateway.go_live()
    names = [f"client-{number}" for number in range(1, CLIENTS + 1)]
    log.append(m.COMMANDS, [m.RegisterClient(0, 0, name) for name in names])
    log.append(m.DECISIONS, [m.ClientRegistered(number, number, name) for number, name in enumerate(names, 1)])
    at = log.append(m.COMMANDS, [m.SetInstrument(0, 0, SYMBOL, "USD", 1, 2, 1, 8)])
    log.append(m.RESULTS, [m.InstrumentSet(at, 1, SYMBOL, "USD", 1, 2, 1, 8, 0, 0)])
    for number, name in enumerate(names, 1):
        gateway.opened(number)
        gateway.receive(number, message("A", 1, name, [(98, 0), (108, 30)]))
    gateway.flush()
    gateway.duties()
    gateway.stream(log.entries)
    gateway.flush()
    assert gateway.sessions == CLIENTS, gateway.sessions
    gateway.duties()
    return gateway, log


def message(kind: str, number: int, sender: str, fields: list[tuple[int, object]]) -> bytes:
    """As a counterparty sends it."""
    return encode(kind, f"34={number}{SOH}49={sender}{SOH}56=ISLAND{SOH}52={NOW}{SOH}", fields)


def written(command: m.Message, number: int) -> bytes:
    """A command as its client's FIX message."""
    if isinstance(command, m.NewOrder):
        price, quantity = f"{command.price / 100:.2f}", f"{command.quantity / 10**8:.8f}"
        fields: list[tuple[int, object]] = [
            (11, command.client_order_id), (21, 1), (55, SYMBOL), (54, command.side), (60, NOW), (38, quantity),
            (40, 2), (44, price),
        ]  # fmt: skip
        return message("D", number, f"client-{command.client_id}", fields)
    assert isinstance(command, m.CancelOrder), command
    cancel = f"{command.client_order_id}c"
    fields = [(41, command.client_order_id), (11, cancel), (55, SYMBOL), (54, 1), (60, NOW)]
    return message("F", number, f"client-{command.client_id}", fields)


def measure(regime: Callable[[int], tuple[Commands, Answer]]) -> dict[str, float]:
    """us of CPU a command: taking it, and telling what became of it."""
    commands, answer = regime(COMMANDS)
    numbers = dict.fromkeys(range(1, CLIENTS + 1), 1)
    with tempfile.TemporaryDirectory() as scratch:
        gateway, log = start(Path(scratch))
        gc.collect()
        gc.freeze()
        taking_ns = telling_ns = reports = 0
        for wake in range(0, len(commands), WAKE_COMMANDS):
            taken = commands[wake : wake + WAKE_COMMANDS]
            frames = []
            for command in taken:
                numbers[command.client_id] += 1
                frames.append((command.client_id, written(command, numbers[command.client_id])))
            known = len(log.entries)
            first = log.append(m.COMMANDS, taken)
            log.append(m.DECISIONS, [m.CreditDecisions(first, len(taken))])
            log.append(m.RESULTS, [event for at, one in enumerate(taken, first) for event in answer(at, one)])
            t0 = time.process_time_ns()
            for number, data in frames:
                gateway.receive(number, data)
            gateway.flush()
            batches = gateway.duties().batches
            t1 = time.process_time_ns()
            gateway.stream(log.entries[known:])
            gateway.flush()
            told = gateway.duties().frames
            telling_ns += time.process_time_ns() - t1
            taking_ns += t1 - t0
            assert sum(count for count, _ in batches) == len(taken), "the gateway refused what it was sent"
            reports += sum(data.count(b"\x0135=8\x01") for _, data in told)
        gc.unfreeze()
        gateway.close()
    each = COMMANDS * 1000
    return {
        "taking_us": taking_ns / each,
        "telling_us": telling_ns / each,
        "together_us": (taking_ns + telling_ns) / each,
        "reports_each": reports / COMMANDS,
    }


def main() -> None:
    """Both regimes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = {regime.__name__: [measure(regime) for _ in range(RUNS)] for regime in (usual, trading)}
    for runs in rows.values():
        for run in runs:
            run["orders_per_s"] = 1e6 / run["together_us"]
    print_rows("fix gateway, CPU a command", rows, as_json=options.json)


if __name__ == "__main__":
    main()
