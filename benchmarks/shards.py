"""What a command costs one process of matching and of credit, when each has 1, 2 or 4 shards.

    seeded flow --> n shards of credit, n of matching, one after the other --encoded--> the log's payloads
    payloads --decode, apply, encode--> one shard alone, timed

All shards of a number are run once to make the log, and then each by itself on it. Shown is the mean of a number's
shards, in ns of CPU a command of the *whole* flow, and its ratio to one shard in the same run. What does not divide:
every shard decodes every command, and looks at each to see whose it is.
"""

import argparse
import gc
import random
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from benchmarks.report import print_rows
from engines.credit import Credit
from engines.machine import Machine
from engines.matching import Matching
from engines.messages import (
    COMMANDS,
    DECISIONS,
    DECODERS,
    ENCODER,
    RESULTS,
    CancelOrder,
    Message,
    NewOrder,
    RegisterClient,
    ReplaceOrder,
    SetCredit,
    SetInstrument,
)

COUNTS = (1, 2, 4)
RUN = 256
INSTRUMENTS, CLIENTS = 16, 64
MID, DEPTH = 1_000_000, 200
YOUNG = 4_000
Payload = tuple[int, int, bytes]


def flow(commands: int) -> list[list[Message]]:
    """Half new orders, some replaces, the rest cancels of young orders; over all instruments and clients alike."""
    draw = random.Random(7)
    opening: list[Message] = [RegisterClient(0, 1, f"C{client}") for client in range(1, CLIENTS + 1)]
    opening += [SetCredit(0, 1, client, "USD", 10**15, 0) for client in range(1, CLIENTS + 1)]
    opening += [SetInstrument(0, 1, f"I{number}", "USD", 1, 0, 1, 0) for number in range(1, INSTRUMENTS + 1)]
    young: deque[tuple[int, int, str]] = deque(maxlen=YOUNG)
    runs: list[list[Message]] = [opening]
    for first in range(0, commands, RUN):
        runs.append([_command(draw, young, number) for number in range(first, min(first + RUN, commands))])
    return runs


def _command(draw: random.Random, young: deque[tuple[int, int, str]], number: int) -> Message:
    kind = draw.random()
    if kind < 0.5 or not young:
        client, instrument, name = draw.randint(1, CLIENTS), draw.randint(1, INSTRUMENTS), f"o{number}"
        young.append((client, instrument, name))
        side = draw.randint(1, 2)
        away = draw.randint(-2, DEPTH)
        return NewOrder(client, number, instrument, name, side, MID - away if side == 1 else MID + away, 5)
    client, instrument, name = young[draw.randrange(len(young))]
    if kind < 0.52:
        return ReplaceOrder(client, number, instrument, name, MID - draw.randint(100, DEPTH), 5)
    return CancelOrder(client, number, instrument, name)


def log_of(runs: list[list[Message]], count: int) -> list[Payload]:
    """(channel, first sequence, payload) of the whole flow and all that follows from it."""
    credit = [Credit(shard, count) for shard in range(count)]
    matching = [Matching(shard, count) for shard in range(count)]
    log: list[Payload] = []
    sequence = 1

    def add(channel: int, messages: list[Message]) -> int:
        nonlocal sequence
        first, sequence = sequence, sequence + len(messages)
        log.append((channel, first, ENCODER.encode(messages)))
        return first

    def apply(machines: list[Credit] | list[Matching], channel: int, messages: list[Message]) -> list[list[Message]]:
        first = add(channel, messages)
        made = [machine.apply(0, first, channel, messages) for machine in machines]
        if channel == COMMANDS:  # matching takes them too
            asked = [machine.apply(0, first, channel, messages) for machine in matching]
            _settle([events for events in asked if events])
        return [events for events in made if events]

    def _settle(results: list[list[Message]]) -> None:
        for events in results:
            apply(credit, RESULTS, events)

    for run in runs:
        for decisions in apply(credit, COMMANDS, run):
            _settle(apply(matching, DECISIONS, decisions))
    return log


def cost_ns(make: Callable[[], Machine], log: list[Payload], commands: int) -> float:
    """CPU of one machine on a log, codec in and out, for each command."""
    machine = make()
    wanted = [payload for payload in log if payload[0] in machine.reads]
    decoders = {channel: DECODERS[channel].decode for channel in machine.reads}
    gc.collect()
    gc.freeze()
    begin_ns = time.process_time_ns()
    for channel, first, payload in wanted:
        events = machine.apply(0, first, channel, decoders[channel](payload))
        if events:
            ENCODER.encode(events)
    spent_ns = time.process_time_ns() - begin_ns
    gc.unfreeze()
    return spent_ns / commands


def one_run(commands: int) -> dict[str, dict[str, float]]:
    """Each machine with each number of shards."""
    runs = flow(commands)
    found: dict[str, dict[str, float]] = {}
    for count in COUNTS:
        log = log_of(runs, count)
        for kind in (Matching, Credit):
            costs = [cost_ns(partial(kind, shard, count), log, commands) for shard in range(count)]
            found[f"{kind.name}, {count} shard(s)"] = {"ns_a_command": sum(costs) / count}
    for kind in (Matching, Credit):
        whole = found[f"{kind.name}, 1 shard(s)"]["ns_a_command"]
        for count in COUNTS:
            row = found[f"{kind.name}, {count} shard(s)"]
            row["percent_of_one"] = 100 * row["ns_a_command"] / whole
    return found


def main() -> None:
    """Run several times; print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.runs):
        for case, row in one_run(options.commands).items():
            rows.setdefault(case, []).append(row)
    print_rows("shards", rows, as_json=options.json)


if __name__ == "__main__":
    main()
