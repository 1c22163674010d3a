"""How many commands a second one credit process takes, with the codec in and out.

    run of commands --decode--> apply --> CreditDecisions --encode-->
    run of results  --decode--> apply

A command here is a new order, a replace or a cancel *and* the results that matching sends for it. The flow
is seeded: 50% new orders, 48% cancels and 2% replaces in the `usual` regime, over 100 clients and 16
instruments, with runs of 256 to 1,000 commands; the others move one thing each. All payloads are encoded
before the clock starts. Each figure is the median of several runs over a fresh machine, with the spread, and beside it
stands what decoding alone reached in the same minute.

    python benchmarks/credit.py [--commands N] [--runs N] [--json]
"""

import argparse
import gc
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from engines.credit import Credit
from engines.messages import (
    COMMANDS,
    ENCODER,
    RESULTS,
    CancelOrder,
    InstrumentSet,
    Message,
    NewOrder,
    OrderAccepted,
    OrderCanceled,
    OrderReplaced,
    Reason,
    RegisterClient,
    ReplaceOrder,
    SetCredit,
    Trade,
    decode,
)

CLIENTS = 100
INSTRUMENTS = 16
STANDING_ORDERS = 10_000
YOUNG_ORDERS = 500


@dataclass(frozen=True)
class Regime:
    """Shares of the flow in percent.

    `new` and `replace` are those of the commands (the rest are cancels), `trade` that of the new orders that trade,
    `young` that of the cancels and trades which hit one of the youngest live orders, as most do on real venues,
    and not any. `limit` is each client's credit, in dollars.
    """

    name: str
    new: int = 50
    replace: int = 2
    trade: int = 4
    young: int = 90
    run_min: int = 256
    run_max: int = 1000
    limit: int = 10**12


REGIMES = (
    Regime("usual"),
    Regime("old orders canceled", young=0),
    Regime("many replaces", new=45, replace=20),
    Regime("every order trades", new=90, trade=100),
    Regime("no credit left", new=100, replace=0, limit=0),
    Regime("runs of 32", run_min=32, run_max=32),
)


@dataclass(frozen=True)
class Figure:
    """What one regime reached, in commands a second; `codec` is decoding the same payloads and no more."""

    regime: str
    codec_per_s: int
    median_per_s: int
    low_per_s: int
    high_per_s: int
    live_orders: int


class Flow:
    """A seeded stream of commands and what a matching engine would answer, as pre-encoded payloads."""

    def __init__(self, regime: Regime, seed: int) -> None:
        self._regime = regime
        self._random = random.Random(seed)
        self._live: list[tuple[int, NewOrder]] = []
        self._sequence = 1
        self._number = 0

    def opening(self) -> list[tuple[int, int, bytes]]:
        """Clients with credit, instruments, and the orders that rest before the clock starts."""
        commands: list[Message] = [RegisterClient(0, 0, f"C{client}") for client in range(1, CLIENTS + 1)]
        commands += [SetCredit(0, 0, client, "USD", self._regime.limit, 0) for client in range(1, CLIENTS + 1)]
        instruments: list[Message] = [
            InstrumentSet(0, key, f"I{key}", "USD", 1, 2, 1, 4, 0, 10**6) for key in range(1, INSTRUMENTS + 1)
        ]
        terms = [self._payload(COMMANDS, commands), self._payload(RESULTS, instruments)]
        resting = [self._order() for _ in range(STANDING_ORDERS)]
        self._live = [(self._sequence + offset, order) for offset, order in enumerate(resting)]
        return [*terms, self._payload(COMMANDS, resting)]

    def runs(self, commands: int) -> Iterator[tuple[int, int, bytes]]:
        """(channel, first sequence, payload): runs of commands, each followed by its results."""
        while commands > 0:
            size = min(commands, self._random.randint(self._regime.run_min, self._regime.run_max))
            commands -= size
            events: list[Message] = []
            asked = [self._command(self._sequence + offset, events) for offset in range(size)]
            yield self._payload(COMMANDS, asked)
            self._sequence += 1  # the decisions
            if events and self._regime.limit:
                yield self._payload(RESULTS, events)

    @property
    def live_orders(self) -> int:
        """Orders that rest at the end."""
        return len(self._live) if self._regime.limit else 0

    def _payload(self, channel: int, messages: Sequence[Message]) -> tuple[int, int, bytes]:
        first = self._sequence
        self._sequence += len(messages)
        return channel, first, ENCODER.encode(messages)

    def _command(self, sequence: int, events: list[Message]) -> Message:
        dice = self._random.randrange(100)
        if dice < self._regime.new or not self._live:
            return self._new(sequence, events)
        if dice < self._regime.new + self._regime.replace:
            return self._replace(sequence, events)
        return self._cancel(sequence, events)

    def _order(self) -> NewOrder:
        self._number += 1
        pick = self._random
        client, instrument = pick.randint(1, CLIENTS), pick.randint(1, INSTRUMENTS)
        side, price, quantity = pick.randint(1, 2), pick.randint(90_000, 110_000), pick.randint(1, 10**6)
        return NewOrder(client, self._number, instrument, f"o{self._number}", side, price, quantity)

    def _new(self, sequence: int, events: list[Message]) -> Message:
        order = self._order()
        events.append(OrderAccepted(sequence))
        if self._live and self._random.randrange(100) < self._regime.trade:
            maker = self._take()
            events.append(Trade(order.instrument_id, order.price, order.quantity, maker[0], sequence))
        else:
            self._live.append((sequence, order))
        return order

    def _replace(self, sequence: int, events: list[Message]) -> Message:
        order_id, order = self._random.choice(self._live)
        price, quantity = order.price + 1, order.quantity
        events.append(OrderReplaced(order_id, sequence, price, quantity, quantity, False))
        return ReplaceOrder(order.client_id, self._number, order.instrument_id, order.client_order_id, price, quantity)

    def _cancel(self, sequence: int, events: list[Message]) -> Message:
        order_id, order = self._take()
        events.append(OrderCanceled(order_id, sequence, order.quantity, Reason.REQUESTED))
        return CancelOrder(order.client_id, self._number, order.instrument_id, order.client_order_id)

    def _take(self) -> tuple[int, NewOrder]:
        youngest = self._random.randrange(100) < self._regime.young
        low = max(0, len(self._live) - YOUNG_ORDERS) if youngest else 0
        index = self._random.randrange(low, len(self._live))
        self._live[index], self._live[-1] = self._live[-1], self._live[index]
        return self._live.pop()


def feed(machine: Credit, payloads: list[tuple[int, int, bytes]]) -> None:
    """Decode, apply and encode, as a host does."""
    for channel, first, payload in payloads:
        events = machine.apply(0, first, channel, decode(channel, payload))
        if events:
            ENCODER.encode(events)


def read(payloads: list[tuple[int, int, bytes]]) -> None:
    """Decode and nothing else: what any reader of the stream pays."""
    for channel, _, payload in payloads:
        decode(channel, payload)


def measure(regime: Regime, commands: int, runs: int) -> Figure:
    """Feed the same payloads to a fresh machine, several times."""
    flow = Flow(regime, seed=1)
    opening, payloads = flow.opening(), list(flow.runs(commands))
    gc.collect()
    gc.freeze()
    rates, codec = [], []
    for _ in range(runs):
        machine = Credit()
        feed(machine, opening)
        rates.append(_rate(commands, partial(feed, machine, payloads)))
        codec.append(_rate(commands, partial(read, payloads)))
    median = statistics.median
    return Figure(regime.name, round(median(codec)), round(median(rates)), min(rates), max(rates), flow.live_orders)


def _rate(commands: int, work: Callable[[], None]) -> int:
    started = time.perf_counter()
    work()
    return round(commands / (time.perf_counter() - started))


def main() -> None:
    """Measure every regime and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commands", type=int, default=300_000, help="commands in each regime's flow")
    parser.add_argument("--runs", type=int, default=7, help="runs over each flow")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    gc.set_threshold(100_000, 50, 1000)
    figures = [measure(regime, options.commands, options.runs) for regime in REGIMES]
    if options.json:
        print(json.dumps({"benchmark": "credit", "figures": [asdict(figure) for figure in figures]}))
        return
    print(f"credit: million commands/s, median (low - high) of {options.runs} runs of {options.commands:,}")
    for figure in figures:
        print(f"  {figure.regime:20} {_millions(figure)}  {figure.live_orders:,} live at the end")


def _millions(figure: Figure) -> str:
    median, low, high = (rate / 1e6 for rate in (figure.median_per_s, figure.low_per_s, figure.high_per_s))
    return f"{median:5.2f} ({low:.2f} - {high:.2f})   decoding alone {figure.codec_per_s / 1e6:5.2f}"


if __name__ == "__main__":
    main()
