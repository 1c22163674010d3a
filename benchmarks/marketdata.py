"""Market data: what the fold of the stream into public books costs, per command.

    python benchmarks/marketdata.py [--commands N] [--run-length N] [--runs N] [--json]

A seeded flow of one instrument (50% new orders, 48% cancels, 2% replaces, one new order in 25 trades on
arrival), over some thousand resting orders, with the results that a matching engine writes, is folded into Books:

    fold     messages are decoded already
    decode   decoding the two payloads alone
    encode   encoding all updates alone, as when all three channels are subscribed to
"""

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from engines import messages as m
from gateways.marketdata.books import Books
from gateways.marketdata.protocol import ENCODER, Update

MID_TICKS = 7_800_000
RESTING = 3_000


@dataclass
class Run:
    """A run of commands and the run of results that answers it."""

    first_sequence: int
    commands: list[m.Message]
    results: list[m.Message]


class Flow:
    """Makes commands with their results; it knows which orders rest, and lets takers meet them at random."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._live: list[tuple[int, m.NewOrder]] = []

    def run(self, first_sequence: int, length: int) -> Run:
        """The next commands, and their results."""
        run = Run(first_sequence, [], [])
        for sequence in range(first_sequence, first_sequence + length):
            dice = self._random.random()
            if len(self._live) > RESTING and dice < 0.48:
                self._cancel(sequence, run)
            elif len(self._live) > RESTING and dice < 0.50:
                self._replace(sequence, run)
            else:
                self._new(sequence, run)
        return run

    def _cancel(self, sequence: int, run: Run) -> None:
        order_id, order = self._take()
        run.commands.append(m.CancelOrder(1, sequence, 1, order.client_order_id))
        run.results.append(m.OrderCanceled(order_id, sequence, order.quantity, m.Reason.REQUESTED))

    def _replace(self, sequence: int, run: Run) -> None:
        order_id, order = self._take()
        quantity = self._random.randint(1, 2 * order.quantity)
        kept = quantity <= order.quantity
        order = m.NewOrder(1, sequence, 1, order.client_order_id, order.side, order.price, quantity)
        self._live.append((order_id, order))
        run.commands.append(m.ReplaceOrder(1, sequence, 1, order.client_order_id, order.price, quantity))
        run.results.append(m.OrderReplaced(order_id, sequence, order.price, quantity, quantity, kept))

    def _new(self, sequence: int, run: Run) -> None:
        side = self._random.randint(1, 2)
        away = 1 + int(self._random.random() ** 2 * 5_000)
        price = MID_TICKS - away if side == m.Side.BUY else MID_TICKS + away
        order = m.NewOrder(1, sequence, 1, f"b{sequence}", side, price, self._random.randint(1, 1_000_000))
        run.commands.append(order)
        run.results.append(m.OrderAccepted(sequence))
        if self._live and self._random.random() < 0.04:
            maker_id, maker = self._take()
            order.quantity = maker.quantity
            run.results.append(m.Trade(1, maker.price, maker.quantity, maker_id, sequence))
        else:
            self._live.append((sequence, order))

    def _take(self) -> tuple[int, m.NewOrder]:
        place = self._random.randrange(len(self._live))
        self._live[place], self._live[-1] = self._live[-1], self._live[place]
        return self._live.pop()


def flow(commands: int, run_length: int) -> list[Run]:
    """The benchmark's input."""
    source = Flow(1)
    return [source.run(first, run_length) for first in range(2, commands + 2, run_length)]


def fold(runs: list[Run]) -> list[list[Update]]:
    """All updates of the flow, one list a run."""
    books = Books()
    books.apply(1, 0, m.RESULTS, [m.InstrumentSet(1, 1, "BTC-USD", "USD", 1, 2, 1, 8, 0, 0)])
    updates = []
    for run in runs:
        books.apply(run.first_sequence, 0, m.COMMANDS, run.commands)
        updates.append(books.apply(run.first_sequence, 0, m.RESULTS, run.results))
    return updates


def seconds(work: Callable[[], object]) -> float:
    """The CPU time that this takes, with the collector tuned as in the gateway's process."""
    gc.collect()
    gc.freeze()
    start = time.process_time()
    work()
    taken = time.process_time() - start
    gc.unfreeze()
    return taken


def measure(commands: int, run_length: int, repeats: int) -> list[dict[str, object]]:
    """One row for each thing measured: us a command, median and spread over the repeats."""
    runs = flow(commands, run_length)
    updates = fold(runs)
    payloads = [(m.ENCODER.encode(run.commands), m.ENCODER.encode(run.results)) for run in runs]
    works: dict[str, Callable[[], object]] = {
        "fold": lambda: fold(runs),
        "decode": lambda: [(m.decode(m.COMMANDS, a), m.decode(m.RESULTS, b)) for a, b in payloads],
        "encode": lambda: [ENCODER.encode(update) for told in updates for update in told],
    }
    rows: list[dict[str, object]] = []
    for name, work in works.items():
        taken_us = sorted(seconds(work) / commands * 1e6 for _ in range(repeats))
        median_us = statistics.median(taken_us)
        rows.append(
            {
                "what": name,
                "run_length": run_length,
                "us_per_command": round(median_us, 3),
                "min_us": round(taken_us[0], 3),
                "max_us": round(taken_us[-1], 3),
                "commands_per_s": round(1e6 / median_us),
            }
        )
    return rows


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--commands", type=int, default=100_000)
    parser.add_argument("--run-length", type=int, action="append", help="commands a run; may be repeated")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [
        row for length in options.run_length or [512, 16, 1] for row in measure(options.commands, length, options.runs)
    ]
    if options.json:
        print(json.dumps(rows))
        return
    print(f"{'what':8}{'run length':>12}{'us/command':>12}{'min':>8}{'max':>8}{'commands/s':>14}")
    for row in rows:
        print("{what:8}{run_length:>12}{us_per_command:>12}{min_us:>8}{max_us:>8}{commands_per_s:>14,}".format(**row))


if __name__ == "__main__":
    main()
