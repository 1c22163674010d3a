"""Reading the log again: messages a second through a replayer, alone, into a replica of each machine, into gateways.

    journal files --replayer--> Replay --entries--> nothing | matching | credit | order gateway | web gateway

The log is that of the real flow (a generated one where it was not fetched), written to a node's journal; then
the node and its replayer are started. `matching` and `credit` do all that a blank replica does to catch up, the
gateways what they do before they serve.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.nodes import Nodes
from benchmarks.one_process import record
from benchmarks.report import print_rows
from engines.credit import Credit
from engines.machine import Machine
from engines.matching import Matching
from engines.replica import Replica
from gateways.order.session import Session
from gateways.venue import create
from gateways.web.gateway import WebGateway
from gateways.web.keys import Keys
from sequencer.client import Replay
from sequencer.config import Config
from sequencer.envelope import Entry
from sequencer.journal import Journal
from sequencer.sockets import context

GROUP_ENTRIES = 16

Take = Callable[[Entry], object]
"""What is made of each entry."""


def write_log(config: Config, commands: int) -> int:
    """Put the flow's log into the journal of the first node; return how many messages it has."""
    entries, _count, _what = record(commands, config.cluster)
    write_entries(config, entries)
    return entries[-1].next_sequence - 1


def write_entries(config: Config, entries: list[Entry]) -> None:
    """Put a log into the journal of the first node."""
    journal = Journal.open(config.journal_directory(config.nodes[0].name), config.cluster)
    for first in range(0, len(entries), GROUP_ENTRIES):
        journal.append(entries[first : first + GROUP_ENTRIES], entries[first].index - 1)
    journal.close()


def nothing(_scratch: Path) -> Take:
    """Read only."""
    return lambda _entry: None


def blank_replica(machine: type[Machine]) -> Callable[[Path], Take]:
    """One that catches up."""

    def make(_scratch: Path) -> Take:
        replica = Replica(machine(), f"{machine.name}.0")
        return lambda entry: replica.apply(entry) if entry.message_count else None

    return make


def order_gateway(_scratch: Path) -> Take:
    """What it knows of clients and orders."""
    session = Session()

    def take(entry: Entry) -> None:
        session.stream([entry])
        session.duties()

    return take


def web_gateway(scratch: Path) -> Take:
    """The same, and books, credit and figures of the venue."""
    gateway = WebGateway(Keys(), scratch, time.time_ns, "1")

    def take(entry: Entry) -> None:
        gateway.stream([entry])
        gateway.duties()

    return take


READERS: dict[str, Callable[[Path], Take]] = {
    "read only": nothing,
    "into matching": blank_replica(Matching),
    "into credit": blank_replica(Credit),
    "into the order gateway": order_gateway,
    "into the web gateway": web_gateway,
}


def one_run(config: Config, take: Take) -> dict[str, float]:
    """Messages a second, in millions, from the first entry to the last."""
    messages = 0
    with context(config) as made:
        begin = time.perf_counter()
        for entry in Replay(config.sources, context=made):
            messages += entry.message_count
            take(entry)
        return {"million_messages_per_s": messages / (time.perf_counter() - begin) / 1e6}


def main() -> None:
    """Write the log once, then read it several times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--commands", type=int, default=200_000)
    parser.add_argument("--dir", default=None, help="scratch directory, on the disk to be measured")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(dir=options.dir) as scratch:
        config = create(Path(scratch))
        messages = write_log(config, options.commands)
        with Nodes(config):
            for _ in range(options.runs):
                for name, reader in READERS.items():
                    row = one_run(config, reader(Path(scratch)))
                    rows.setdefault(f"{messages:,} messages, {name}", []).append(row)
    print_rows("replay", rows, as_json=options.json)


if __name__ == "__main__":
    main()
