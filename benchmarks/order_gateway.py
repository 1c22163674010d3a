"""What the order gateway costs a command: intake of frames, and reports from the log.

    python benchmarks/order_gateway.py [--json]

The pure session is fed with frames and log entries that were encoded before; sockets, submitter and
subscriber are not in the figures. `usual` is half new orders, half cancels; `trading` is new orders of which
every second one trades with the one before it. CPU time of this process, median of several runs.
"""

import argparse
import gc
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator

from engines import messages as m
from gateways.order import protocol as p
from gateways.order.session import Limits, Session
from sequencer.envelope import Entry, encode_batch, encode_entry

COMMANDS = 60_000
CLIENTS = 100
FRAME_COMMANDS = 64
WAKE_COMMANDS = 256
RUNS = 5
SEED = 1
LIMITS = Limits(in_flight_total=1 << 20, in_flight_per_client=1 << 20)

Commands = list[m.Message]
Answer = Callable[[int, m.Message], Commands]


class Log:
    """Encodes entries one behind the other."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.next_sequence = 1

    def append(self, channel: int, messages: Commands) -> int:
        """One batch, one entry; returns its first sequence number."""
        first = self.next_sequence
        batch = encode_batch("bench", channel, 1, m.ENCODER.encode(messages), count=len(messages))
        self.entries.append(
            encode_entry(
                [batch],
                cluster=bytes(16),
                term=1,
                index=len(self.entries) + 1,
                first_sequence=first,
                time_ns=first,
                previous=bytes(32),
            )
        )
        self.next_sequence += len(messages)
        return first


def usual(count: int) -> tuple[Commands, Answer]:
    """Every order is canceled by its client's next command."""
    rng = random.Random(SEED)
    numbers = dict.fromkeys(range(1, CLIENTS + 1), 0)
    commands: Commands = []
    live: dict[tuple[int, str], int] = {}
    for i in range(count // 2):
        client = rng.randint(1, CLIENTS)
        price, side = rng.randint(7_000_000, 8_000_000), rng.randint(1, 2)
        number = numbers[client] + 1
        commands.append(m.NewOrder(client, number, 1, f"order-{i}", side, price, rng.randint(1, 10**9)))
        commands.append(m.CancelOrder(client, number + 1, 1, f"order-{i}"))
        numbers[client] = number + 1

    def answer(sequence: int, command: m.Message) -> Commands:
        if isinstance(command, m.NewOrder):
            live[command.client_id, command.client_order_id] = sequence
            return [m.OrderAccepted(sequence)]
        assert isinstance(command, m.CancelOrder)
        order_id = live.pop((command.client_id, command.client_order_id))
        return [m.OrderCanceled(order_id, sequence, 5, m.Reason.REQUESTED)]

    return commands, answer


def trading(count: int) -> tuple[Commands, Answer]:
    """Orders come in pairs that trade completely."""
    commands: Commands = []
    for i in range(count):
        client, number = i % CLIENTS + 1, i // CLIENTS + 1
        commands.append(m.NewOrder(client, number, 1, f"order-{i}", 1 + i % 2, 7_800_000, 500))
    resting: list[int] = []

    def answer(sequence: int, _command: m.Message) -> Commands:
        if not resting:
            resting.append(sequence)
            return [m.OrderAccepted(sequence)]
        return [m.OrderAccepted(sequence), m.Trade(1, 7_800_000, 500, resting.pop(), sequence)]

    return commands, answer


def start() -> tuple[Session, Log]:
    """A gateway with all clients logged on, on one connection."""
    session, log = Session(LIMITS), Log()
    names = [f"client-{n}" for n in range(1, CLIENTS + 1)]
    session.receive(b"link", p.ENCODER.encode([p.Logon(name) for name in names]))
    log.append(m.COMMANDS, [m.RegisterClient(0, 0, name) for name in names])
    log.append(m.DECISIONS, [m.ClientRegistered(n, n, name) for n, name in enumerate(names, 1)])
    session.stream(log.entries)
    session.duties()
    return session, log


def encode(commands: Commands, answer: Answer, log: Log) -> Iterator[tuple[list[bytes], list[Entry]]]:
    """For each wake: the clients' frames, and the entries that follow from them."""
    for wake in range(0, len(commands), WAKE_COMMANDS):
        taken = commands[wake : wake + WAKE_COMMANDS]
        frames = [p.ENCODER.encode(taken[i : i + FRAME_COMMANDS]) for i in range(0, len(taken), FRAME_COMMANDS)]
        known = len(log.entries)
        first = log.append(m.COMMANDS, taken)
        log.append(m.DECISIONS, [m.CreditDecisions(first, len(taken))])
        log.append(m.RESULTS, [event for at, c in enumerate(taken, first) for event in answer(at, c)])
        yield frames, log.entries[known:]


def measure(regime: Callable[[int], tuple[Commands, Answer]]) -> tuple[float, float]:
    """(intake, reports) in us a command."""
    session, log = start()
    wakes = list(encode(*regime(COMMANDS), log))
    gc.collect()
    gc.freeze()
    intake_ns = reports_ns = sent = 0
    for frames, entries in wakes:
        t0 = time.process_time_ns()
        for frame in frames:
            session.receive(b"link", frame)
        submitted = session.duties().batches
        t1 = time.process_time_ns()
        session.stream(entries)
        told = session.duties().frames
        reports_ns += time.process_time_ns() - t1
        intake_ns += t1 - t0
        assert submitted, "the gateway refused the commands of the benchmark"
        sent += len(told)
    assert session.in_flight == 0, session.in_flight
    assert sent, "no reports were sent"
    gc.unfreeze()
    return intake_ns / COMMANDS / 1000, reports_ns / COMMANDS / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    for regime in (usual, trading):
        runs = [measure(regime) for _ in range(RUNS)]
        totals = [sum(run) for run in runs]
        rows.append({
            "regime": regime.__name__,
            "intake_us": round(statistics.median(run[0] for run in runs), 2),
            "reports_us": round(statistics.median(run[1] for run in runs), 2),
            "total_us": round(statistics.median(totals), 2),
            "spread_us": [round(min(totals), 2), round(max(totals), 2)],
        })  # fmt: skip
    if options.json:
        print(json.dumps(rows))
        return
    print(f"order gateway, us of CPU a command ({COMMANDS} commands, {CLIENTS} clients, {WAKE_COMMANDS} a wake)")
    for row in rows:
        low, high = row["spread_us"]
        print(f"{row['regime']:>8}: intake {row['intake_us']}, reports {row['reports_us']}, "
              f"together {row['total_us']} ({low} to {high})")  # fmt: skip


if __name__ == "__main__":
    main()
