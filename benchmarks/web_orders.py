"""What the web gateway costs an order: a request in, its reply and executions out, books and credit kept.

    python benchmarks/web_orders.py [--json]

The gateway without its sockets is fed with JSON of its clients, each on a connection that follows its executions, and
with log entries, both made before; TCP, WebSocket framing, submitter and subscriber are not in the figures. `usual` is
half new orders, half cancels, `trading` new orders of which every second one trades with the one before; `reading` is
the same flow through another gateway, so that this one only keeps its read models. CPU time of this process.
"""

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.order_gateway import CLIENTS, COMMANDS, LIMITS, Answer, Commands, Log, trading, usual
from benchmarks.report import print_rows
from engines import messages as m
from gateways.web.gateway import WebGateway
from gateways.web.keys import Keys

WAKE_COMMANDS = 64
RUNS = 5
NOW_NS = 1_795_000_000_000_000_000
SYMBOL = "BTC-USD"


def start(directory: Path, watching: bool) -> tuple[WebGateway, Log, list[str]]:
    """A gateway, and the token of each client, which is connected."""
    keys = Keys()
    gateway, log = WebGateway(keys, directory, lambda: NOW_NS, "1", LIMITS), Log()
    names = [f"client-{number}" for number in range(1, CLIENTS + 1)]
    log.append(m.COMMANDS, [m.RegisterClient(0, 0, name) for name in names])
    log.append(m.DECISIONS, [m.ClientRegistered(number, number, name) for number, name in enumerate(names, 1)])
    at = log.append(m.COMMANDS, [m.SetInstrument(0, 0, SYMBOL, "USD", 1, 2, 1, 8)])
    log.append(m.RESULTS, [m.InstrumentSet(at, 1, SYMBOL, "USD", 1, 2, 1, 8, 0, 0)])
    gateway.stream(log.entries)
    gateway.go_live()
    tokens = [gateway.gate.token(keys.issue(name, ["read", "trade"])) for name in names]
    gateway.use(keys)
    for number, token in enumerate(tokens, 1) if watching else ():
        gateway.connect(number)
        params = {"channel": "executions", "token": token}
        gateway.receive(number, json.dumps({"method": "subscribe", "params": params}))
    gateway.duties()
    return gateway, log, tokens


def written(command: m.Message, number: int, token: str) -> str:
    """A command as its client's request."""
    if isinstance(command, m.NewOrder):
        price, quantity = f"{command.price / 100:.2f}", f"{command.quantity / 10**8:.8f}"
        side = "buy" if command.side == m.Side.BUY else "sell"
        params = {
            "token": token, "symbol": SYMBOL, "side": side, "order_qty": quantity, "limit_price": price,
            "cl_ord_id": command.client_order_id,
        }  # fmt: skip
        return json.dumps({"method": "add_order", "params": params, "req_id": number})
    assert isinstance(command, m.CancelOrder), command
    params = {"token": token, "cl_ord_id": [command.client_order_id], "symbol": SYMBOL}
    return json.dumps({"method": "cancel_order", "params": params, "req_id": number})


def measure(regime: Callable[[int], tuple[Commands, Answer]], *, reading: bool = False) -> dict[str, float]:
    """us of CPU a command: taking it, and telling what became of it."""
    commands, answer = regime(COMMANDS)
    with tempfile.TemporaryDirectory() as scratch:
        gateway, log, tokens = start(Path(scratch), watching=not reading)
        gc.collect()
        gc.freeze()
        taking_ns = telling_ns = told = 0
        for wake in range(0, len(commands), WAKE_COMMANDS):
            taken = commands[wake : wake + WAKE_COMMANDS]
            asked = [
                (one.client_id, written(one, wake + nth, tokens[one.client_id - 1])) for nth, one in enumerate(taken)
            ]
            known = len(log.entries)
            first = log.append(m.COMMANDS, taken)
            log.append(m.DECISIONS, [m.CreditDecisions(first, len(taken))])
            log.append(m.RESULTS, [event for at, one in enumerate(taken, first) for event in answer(at, one)])
            t0 = time.process_time_ns()
            for number, text in () if reading else asked:
                gateway.receive(number, text)
            batches = gateway.duties().batches
            t1 = time.process_time_ns()
            gateway.stream(log.entries[known:])
            owed = gateway.duties()
            telling_ns += time.process_time_ns() - t1
            taking_ns += t1 - t0
            assert reading or sum(count for count, _ in batches) == len(taken), "the gateway refused what it was sent"
            told += sum(len(numbers) for numbers, _text in owed.told)
        gc.unfreeze()
    each = COMMANDS * 1000
    return {
        "taking_us": taking_ns / each,
        "telling_us": telling_ns / each,
        "together_us": (taking_ns + telling_ns) / each,
        "messages_each": told / COMMANDS,
    }


def main() -> None:
    """All regimes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = {regime.__name__: [measure(regime) for _ in range(RUNS)] for regime in (usual, trading)}
    rows["reading, usual"] = [measure(usual, reading=True) for _ in range(RUNS)]
    for runs in rows.values():
        for run in runs:
            run["commands_per_s"] = 1e6 / run["together_us"]
    print_rows("web gateway, CPU a command", rows, as_json=options.json)


if __name__ == "__main__":
    main()
