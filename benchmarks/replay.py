"""Reading the log again: messages a second through a replayer, alone and into a replica of each machine.

    journal files --replayer--> Replay --entries--> nothing | matching | credit

The log is that of the real flow (a generated one where it was not fetched), written to a node's journal; then
the node and its replayer are started. `matching` and `credit` do all that a blank replica does to catch up.
"""

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.nodes import Nodes
from benchmarks.one_process import record
from benchmarks.report import print_rows
from engines.credit import Credit
from engines.machine import Machine
from engines.matching import Matching
from engines.replica import Replica
from gateways.venue import create
from sequencer.client import Replay
from sequencer.config import Config
from sequencer.envelope import Entry
from sequencer.journal import Journal
from sequencer.sockets import context

GROUP_ENTRIES = 16


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


def one_run(config: Config, machine: Machine | None) -> dict[str, float]:
    """Messages a second, in millions, from the first entry to the last."""
    replica = Replica(machine, f"{machine.name}.0") if machine else None
    messages = 0
    with context(config) as made:
        begin = time.perf_counter()
        for entry in Replay(config.sources, context=made):
            messages += entry.message_count
            if replica is not None and entry.message_count:
                replica.apply(entry)
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
                for name, kind in (("read only", None), ("into matching", Matching), ("into credit", Credit)):
                    row = one_run(config, kind() if kind else None)
                    rows.setdefault(f"{messages:,} messages, {name}", []).append(row)
    print_rows("replay", rows, as_json=options.json)


if __name__ == "__main__":
    main()
