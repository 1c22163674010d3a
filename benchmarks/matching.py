"""How many commands a second the matching machine handles, in several market regimes.

    seeded flow --encoded once--> payloads --decode, apply, encode--> results

One process, one instrument, the real codec in and out. Each payload of RUN commands comes with the
CreditDecisions that credit would send, a few runs later, as in a live venue. What rested before the clock
starts is not measured. A command is a new order, a replace or a cancel.

    python benchmarks/matching.py [--json] [--commands N] [--runs N]
"""

import argparse
import gc
import json
import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from engines.matching import Matching
from engines.messages import (
    COMMANDS,
    DECISIONS,
    ENCODER,
    CancelOrder,
    CreditDecisions,
    Message,
    NewOrder,
    ReplaceOrder,
    SetInstrument,
    Side,
    TimeInForce,
    decode,
)

RUN = 256
RUNS_IN_FLIGHT = 3
CLIENTS = 64
MID = 1_000_000
Payload = tuple[int, int, bytes]


@dataclass(frozen=True)
class Regime:
    """The shape of a market: shares are of all commands; prices in ticks from the mid.

    Cancels and replaces fall mostly on young orders: the age of one is the age of the oldest times a random
    number to the power of `recency`; at 1 they fall anywhere, and most of what they touch is in no cache.
    """

    name: str
    new: float
    replace: float
    ioc: float = 0.0
    depth_ticks: int = 200
    step_ticks: int = 1
    standing: int = 2_000
    standing_ticks: int = 200
    crossing: float = 0.01
    recency: int = 4
    is_out_of_order: bool = False


REGIMES = (
    Regime("usual", new=0.50, replace=0.02),
    Regime("deep standing book", new=0.50, replace=0.02, standing=200_000, standing_ticks=5_000),
    Regime("wide swings", new=0.50, replace=0.02, depth_ticks=4_000, step_ticks=60),
    Regime("95% cancels", new=0.05, replace=0.0, standing=200_000, standing_ticks=1_000),
    Regime("15% IOC", new=0.50, replace=0.02, ioc=0.15, crossing=0.02),
    Regime("20% replaces", new=0.40, replace=0.20),
    Regime(
        "deep, anywhere in it", new=0.50, replace=0.02, standing=200_000, standing_ticks=5_000,
        depth_ticks=5_000, recency=1,
    ),
    Regime("usual, decided out of order", new=0.50, replace=0.02, is_out_of_order=True),
)  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """Commands a second over some runs; `codec_per_s` is what decoding and encoding alone would allow.

    The codec is C and the machine Python on the same cores in the same minute: compare their ratio, not two
    figures of different hours.
    """

    regime: str
    median_per_s: int
    low_per_s: int
    high_per_s: int
    codec_per_s: int
    events_per_command: float


class Flow:
    """A seeded order flow around a random walk."""

    def __init__(self, regime: Regime, seed: int) -> None:
        self.regime = regime
        self._random = random.Random(seed)
        self._mid = MID
        self._names = 0
        self._live: list[tuple[int, str, int, int]] = []
        self._next_sequence = 1

    def opening(self) -> list[Payload]:
        """The instrument and the orders that stand in the book beforehand."""
        orders = [self._new(0, is_resting=True) for _ in range(self.regime.standing)]
        instrument = SetInstrument(0, 0, "BTC-USD", "USD", 1, 2, 1, 8)
        payloads = [self._payload(COMMANDS, [instrument])]
        for at in range(0, len(orders), RUN):
            payloads += self._decided(orders[at : at + RUN])
        return payloads

    def payloads(self, count: int) -> list[Payload]:
        """`count` commands, and the decisions about each run of them a few runs later."""
        payloads: list[Payload] = []
        waiting: list[CreditDecisions] = []
        for _ in range(count // RUN):
            commands = [self._command() for _ in range(RUN)]
            first = self._next_sequence
            payloads.append(self._payload(COMMANDS, commands))
            waiting.append(CreditDecisions(first, RUN))
            if len(waiting) > RUNS_IN_FLIGHT:
                payloads.append(self._payload(DECISIONS, [waiting.pop(1 if self.regime.is_out_of_order else 0)]))
        payloads += [self._payload(DECISIONS, [decision]) for decision in waiting]
        return payloads

    def _decided(self, commands: list[Message]) -> Iterator[Payload]:
        first = self._next_sequence
        yield self._payload(COMMANDS, commands)
        yield self._payload(DECISIONS, [CreditDecisions(first, len(commands))])

    def _payload(self, channel: int, messages: list[Message]) -> Payload:
        first = self._next_sequence
        self._next_sequence += len(messages)
        return channel, first, ENCODER.encode(messages)

    def _command(self) -> Message:
        draw, regime = self._random.random(), self.regime
        self._mid = max(MID // 2, self._mid + self._random.randint(-regime.step_ticks, regime.step_ticks))
        if draw < regime.new or not self._live:
            return self._new(regime.ioc, is_resting=False)
        if draw < regime.new + regime.replace:
            at = self._any_live()
            client, name, _side, price = self._live[at]
            return ReplaceOrder(client, 1, 1, name, price, self._random.randint(1, 100))
        return self._cancel()

    def _new(self, ioc_share: float, *, is_resting: bool) -> Message:
        client, name = self._random.randrange(1, CLIENTS), f"o{self._names}"
        self._names += 1
        side = Side.BUY if self._random.random() < 0.5 else Side.SELL
        crosses = not is_resting and self._random.random() < self.regime.crossing
        is_ioc = self._random.random() * self.regime.new < ioc_share
        depth_ticks = self.regime.standing_ticks if is_resting else self.regime.depth_ticks
        away = -2 if crosses or is_ioc else 1 + int(self._random.random() ** 2 * depth_ticks)
        price = self._mid - away if side == Side.BUY else self._mid + away
        if not is_ioc:
            self._live.append((client, name, side, price))
        time_in_force = TimeInForce.IOC if is_ioc else TimeInForce.GTC
        quantity = self._random.randint(1, 100)
        return NewOrder(client, 1, 1, name, int(side), price, quantity, 0, int(time_in_force))

    def _cancel(self) -> Message:
        at = self._any_live()
        self._live[at], self._live[-1] = self._live[-1], self._live[at]
        client, name, *_ = self._live.pop()
        return CancelOrder(client, 1, 1, name)

    def _any_live(self) -> int:
        return len(self._live) - 1 - int(len(self._live) * self._random.random() ** self.regime.recency)


def feed(machine: Matching, payloads: list[Payload]) -> int:
    """Decode, apply and encode, as a host does; return the number of events."""
    count = 0
    for channel, first, payload in payloads:
        events = machine.apply(0, first, channel, decode(channel, payload))
        if events:
            ENCODER.encode(events)
            count += len(events)
    return count


def codec_rate(opening: list[Payload], payloads: list[Payload], commands: int) -> int:
    """Commands a second of the codec alone, on what goes in and what comes out; the best of three."""
    machine, seconds = Matching(), []
    feed(machine, opening)
    events = [machine.apply(0, first, channel, decode(channel, payload)) for channel, first, payload in payloads]
    for _ in range(3):
        started = time.perf_counter()
        for channel, _first, payload in payloads:
            decode(channel, payload)
        for happened in events:
            ENCODER.encode(happened)
        seconds.append(time.perf_counter() - started)
    return round(commands / min(seconds))


def measure(regime: Regime, commands: int, runs: int) -> Figure:
    """Feed the same payloads to a machine with the same book, several times."""
    flow = Flow(regime, seed=1)
    opening, payloads = flow.opening(), flow.payloads(commands)
    done = commands // RUN * RUN
    rates, events, codec = [], 0, codec_rate(opening, payloads, done)
    for _ in range(runs):
        machine = Matching()
        feed(machine, opening)
        gc.collect()
        gc.freeze()
        started = time.perf_counter()
        events = feed(machine, payloads)
        rates.append(round(done / (time.perf_counter() - started)))
        gc.unfreeze()
    return Figure(regime.name, round(statistics.median(rates)), min(rates), max(rates), codec, round(events / done, 2))


def main() -> None:
    """Measure every regime and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commands", type=int, default=200_000, help="commands in each regime's flow")
    parser.add_argument("--runs", type=int, default=5, help="runs over each flow")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args()
    gc.set_threshold(100_000, 50, 1000)
    figures = [measure(regime, options.commands, options.runs) for regime in REGIMES]
    if options.json:
        print(json.dumps({"benchmark": "matching", "figures": [asdict(figure) for figure in figures]}))
        return
    print(f"matching: million commands/s, median (low - high) of {options.runs} runs of {options.commands:,}")
    print(f"  {'':28} {'handled':21} codec alone, events a command")
    for figure in figures:
        rest = f"{figure.codec_per_s / 1e6:11.2f}  {figure.events_per_command:18.2f}"
        print(f"  {figure.regime:28} {_millions(figure)} {rest}")


def _millions(figure: Figure) -> str:
    median, low, high = (rate / 1e6 for rate in (figure.median_per_s, figure.low_per_s, figure.high_per_s))
    return f"{median:5.2f} ({low:.2f} - {high:.2f})"


if __name__ == "__main__":
    main()
