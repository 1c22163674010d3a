"""What taking the machines apart gains and costs: the same commands, by one process and by two.

    one process:   commands --decode--> credit --> matching --> credit again --encode--> events
    the island:    matching reads commands and decisions;  credit reads commands and results

The first is the design that this architecture replaces: one state machine that holds books and accounts,
bound to one thread. The second is what a replica of each machine does with the same log. `gain` is how much
more the slower of the two bears than the one process; `cost` is the CPU of both over that of one.
"""

import argparse
import gc
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.report import print_rows
from engines.credit import Credit
from engines.machine import Machine
from engines.matching import Matching
from engines.messages import COMMANDS, DECISIONS, DECODERS, ENCODER, RESULTS, Message, RegisterClient
from engines.replica import Replica
from gateways.flow import bitstamp, generate
from gateways.flow.lines import parse
from gateways.flow.translate import BARRIERS, accounts, translate
from gateways.names import Directory
from gateways.order.protocol import OPERATOR
from sequencer.envelope import NO_DIGEST, Batch, Entry, encode_batch, encode_entry

RUN = 256
INSTRUMENTS, CLIENTS = 16, 100
CACHED = Path("flows") / bitstamp.FILE_NAME


class Recorder:
    """A log in memory: entries one after the other, and the outputs of both machines in them."""

    def __init__(self, cluster: bytes = bytes(16)) -> None:
        self.cluster = cluster
        self.entries: list[Entry] = []
        self.credit = Replica(Credit(), "credit.0")
        self.matching = Replica(Matching(), "matching.0")
        self.names = Directory()
        self._numbers: Counter[str] = Counter()
        self._made: Counter[str] = Counter()
        """How many messages of each type."""
        self._number = 0
        self._previous = NO_DIGEST

    def flow(self, lines: Iterable[str]) -> int:
        """Sequence a flow in batches of RUN; what an operator does is a batch of its own. Return the commands."""
        waiting: list[Message] = []
        count = 0
        for count, text in enumerate(lines, 1):
            line = parse(text, count)
            for name in (line.issuer or OPERATOR, *accounts(line)):
                if name not in self.names.client_ids:
                    self.command([RegisterClient(0, 0, name)])
            waiting.append(self._issued(translate(line, self.names), line.issuer or OPERATOR))
            if type(line) in BARRIERS or len(waiting) == RUN:
                self.command(waiting)
                waiting = []
        if waiting:
            self.command(waiting)
        entered, accepted = self._made["NewOrder"], self._made["OrderAccepted"]
        assert 2 * accepted > entered, f"of {entered} orders {accepted} were accepted: this would measure refusals"
        return count

    def _issued(self, command: Any, issuer: str) -> Message:
        """The command as a client's next one."""
        self._numbers[issuer] += 1
        command.client_id, command.number = self.names.client_ids[issuer], self._numbers[issuer]
        issued: Message = command
        return issued

    def command(self, messages: Sequence[Message]) -> None:
        """Sequence a batch of commands, and all that follows from it."""
        self._number += 1
        payload = ENCODER.encode(messages)
        batch = encode_batch("gateway.b", COMMANDS, self._number, payload, count=len(messages), previous=self._previous)
        self._previous = batch.digest
        self._sequence([batch])

    def _sequence(self, batches: list[Batch]) -> None:
        while batches:
            last = self.entries[-1] if self.entries else None
            entry = encode_entry(
                batches,
                cluster=self.cluster,
                term=1,
                index=len(self.entries) + 1,
                first_sequence=last.next_sequence if last else 1,
                time_ns=(len(self.entries) + 1) * 1000,
                previous=last.digest if last else NO_DIGEST,
            )
            self.entries.append(entry)
            for batch in entry.batches():
                messages = DECODERS[batch.channel].decode(batch.payload)
                self.names.apply(batch.channel, messages)
                self._made.update(type(message).__name__ for message in messages)
            batches = self.credit.apply(entry) + self.matching.apply(entry)


def record(commands: int, cluster: bytes = bytes(16)) -> tuple[list[Entry], int, str]:
    """The log of a flow; how many commands it has, and what it is."""
    real = CACHED.is_file()
    if real:
        lines = bitstamp.lines(CACHED, instruments=INSTRUMENTS, clients=CLIENTS)
    else:
        lines = generate.lines(1, commands, INSTRUMENTS, CLIENTS)
    recorder = Recorder(cluster)
    count = recorder.flow(islice(lines, commands))
    return recorder.entries, count, "Bitstamp" if real else "generated"


class OneProcess:
    """Both machines in one thread, behind one codec: what a state machine inside a consensus log does."""

    def __init__(self) -> None:
        self.credit = Credit()
        self.matching = Matching()

    def apply(self, time_ns: int, first_sequence: int, payload: memoryview) -> bytes:
        """Take a batch of commands, and give its encoded events."""
        commands = DECODERS[COMMANDS].decode(payload)
        decisions = self.credit.apply(time_ns, first_sequence, COMMANDS, commands)
        results = self.matching.apply(time_ns, first_sequence, COMMANDS, commands)
        results += self.matching.apply(time_ns, first_sequence, DECISIONS, decisions)
        self.credit.apply(time_ns, first_sequence, RESULTS, results)
        return ENCODER.encode(decisions + results)


def cpu_of(work: Callable[[], object]) -> float:
    """CPU seconds that a piece of work takes in this thread."""
    gc.collect()
    gc.freeze()
    begin_s = time.process_time()
    work()
    return time.process_time() - begin_s


def one_process(entries: list[Entry]) -> None:
    """All command batches of the log through one process."""
    both = OneProcess()
    for entry in entries:
        for batch in entry.batches():
            if batch.channel == COMMANDS:
                both.apply(entry.time_ns, batch.first_sequence, batch.payload)


def replica(machine: Machine, entries: list[Entry]) -> None:
    """The whole log through one replica: it reads, applies, seals its outputs and compares them."""
    held = Replica(machine, f"{machine.name}.0")
    for entry in entries:
        held.apply(entry)


def one_run(entries: list[Entry], commands: int) -> dict[str, float]:
    """CPU a command of the one process and of each of the two, in us."""
    one = cpu_of(lambda: one_process(entries)) / commands * 1e6
    matching = cpu_of(lambda: replica(Matching(), entries)) / commands * 1e6
    credit = cpu_of(lambda: replica(Credit(), entries)) / commands * 1e6
    return {
        "one_process_us": one,
        "matching_us": matching,
        "credit_us": credit,
        "gain": one / max(matching, credit),
        "cost": (matching + credit) / one,
    }


def main() -> None:
    """Record the log once, then take it apart several times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--commands", type=int, default=200_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    entries, count, what = record(options.commands)
    rows = {f"{what} flow, {count:,} commands": [one_run(entries, count) for _ in range(options.runs)]}
    print_rows("one process and two", rows, as_json=options.json)


if __name__ == "__main__":
    main()
