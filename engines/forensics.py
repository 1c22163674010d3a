"""Finding out what a message did: which stopped a replica, what the machine makes of it again, what followed from it.

verdicts --> poisoned          log + snapshot --> reproduced          log --> traced, affected
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from engines import messages as m
from engines.machine import Machine
from engines.machines import cut
from engines.past import until
from engines.reproducing import NO_END_S, Outcome, debug, locate, reproduce
from engines.runs import runs
from engines.seeding import seed
from engines.sharding import Shard, Sharding, named
from engines.skips import Decided, skips_in
from engines.tracing import Step, impact, trace
from engines.verdicts import verdicts
from sequencer.admin import can_ask_nodes
from sequencer.config import Config
from sequencer.envelope import Entry
from sequencer.errors import ConfigError
from sequencer.log_tools import entries_of
from sequencer.sockets import context

STOPPED: Final = ("halted", "stuck", "diverged")

Row = dict[str, Any]


def poisoned(config: Config) -> list[Row]:
    """What replicas are stopped at: shard, sequence number (0: not known yet), verdict, why, and which replicas.

    `command` is what was in hand: an order, where the message is a decision of credit about orders.
    """
    found: dict[tuple[str, int, str], Row] = {}
    for row in verdicts(config):
        if row["verdict"] not in STOPPED or (row["verdict"] == "stuck" and not row["in_hand"]):
            continue
        sequence = row.get("poison") or (row["in_hand"][0] if row["in_hand"] else 0)
        known = found.setdefault(
            (row["shard"], sequence, row["verdict"]),
            {
                "shard": row["shard"],
                "machine": row["machine"],
                "sequence": sequence,
                "command": row.get("command", 0),
                "verdict": row["verdict"],
                "message": row.get("message", {}).get("type", ""),
                "replicas": "",
                "why": row["why"],
            },
        )
        known["replicas"] += f" {row['name']}" if known["replicas"] else row["name"]
    return [found[key] for key in sorted(found)]


def reproduced(config: Config, machine: str, shard: str, sequence: int, no_end_s: float = NO_END_S) -> Outcome:
    """What a machine makes of one message, from the state before it. Raises IslandError where that cannot be had."""
    state, first_index, skipped, sharding = _state_before(config, machine, shard, sequence)
    return reproduce(state, entries_of(config, first_index), sequence, skipped, sharding, no_end_s=no_end_s)


def located(config: Config, machine: str, shard: str, sequence: int, no_end_s: float = NO_END_S) -> Outcome:
    """The first message of the entry of a sequence number that a machine cannot take. Raises IslandError as above."""
    state, first_index, skipped, sharding = _state_before(config, machine, shard, sequence)
    return locate(state, entries_of(config, first_index), sequence, skipped, sharding, no_end_s=no_end_s)


def debugged(config: Config, machine: str, shard: str, sequence: int) -> None:
    """The same under the debugger, in this process."""
    state, first_index, skipped, sharding = _state_before(config, machine, shard, sequence)
    debug(state, entries_of(config, first_index), sequence, skipped, sharding)


def stopped_at(config: Config, sequence: int, machine: str, spec: str) -> tuple[str, str]:
    """The machine and the shard (`1/4`) that are meant: those stopped at a sequence number, where they are not told.

    Raises ConfigError where no machine is stopped there, or several are.
    """
    stopped = [row for row in poisoned(config) if row["sequence"] == sequence and machine in ("", row["machine"])]
    machines = {row["machine"] for row in stopped} or {machine} - {""}
    if len(machines) != 1:
        raise ConfigError(f"no single machine is stopped at {sequence:,}: say which one with --machine")
    specs = {named(row["shard"]).spec for row in stopped}
    return machines.pop(), spec or (specs.pop() if len(specs) == 1 else Shard("").spec)


def traced(config: Config, sequence: int) -> list[Step]:
    """An order's whole way. Raises ConfigError where nothing of the venue's language is at this place."""
    return _found(trace(entries_of(config), sequence), sequence)


def affected(config: Config, sequence: int) -> tuple[list[Step], list[Row]]:
    """All that followed from a message, and the clients that it reached: name, and the orders through which."""
    steps = _found(impact(entries_of(config), sequence), sequence)
    numbers = {number for step in steps for number in step.concerns} | {step.sequence for step in steps}
    return steps, _clients(entries_of(config), numbers)


def _found(steps: list[Step], sequence: int) -> list[Step]:
    if not steps:
        raise ConfigError(f"there is no message of the venue at {sequence:,}: `sequencer log dump` shows what is there")
    return steps


def _state_before(
    config: Config, machine: str, spec: str, sequence: int
) -> tuple[Machine, int, Mapping[int, Decided], Sharding]:
    """A machine in the latest state before a sequence number that is kept, the index to go on at, skips and shards."""
    make, cut_off = cut(machine, spec)
    shard = cut_off.sender
    if not can_ask_nodes(config):  # nobody serves snapshots: from the beginning of the files
        silent = not make().writes
        skipped = skips_in(entries_of(config), cut_off, silent=silent)
        return make(), 1, skipped, Sharding(cut_off, silent=silent)
    with context(config) as made:
        begun = seed(
            make, shard, config.sources, config.cluster, before=sequence, context=made, say=lambda _doing: None
        )
    return begun.replica.machine, begun.next_index, begun.replica.skipped, begun.replica.sharding


def _clients(entries: Iterable[Entry], numbers: set[int]) -> list[Row]:
    """Who issued the commands at these places, by name."""
    names: dict[int, str] = {}
    places: dict[int, list[int]] = {}
    for entry in until(entries, 0):
        for run in runs(entry.batches(), (m.COMMANDS, m.DECISIONS)):
            if run.channel == m.DECISIONS:
                names |= {one.registered_id: one.name for one in run.messages if isinstance(one, m.ClientRegistered)}
            elif not numbers.isdisjoint(range(run.first_sequence, run.first_sequence + run.count)):
                for offset, command in enumerate(run.messages):
                    if run.first_sequence + offset in numbers:
                        places.setdefault(getattr(command, "client_id", 0), []).append(run.first_sequence + offset)
    return [
        {"client": names.get(client_id, f"#{client_id}"), "commands": sequences}
        for client_id, sequences in sorted(places.items())
        if client_id
    ]


def as_rows(steps: list[Step]) -> list[Row]:
    """Steps for people: times in us since the first, fields as text."""
    begin_ns = steps[0].time_ns
    return [
        {
            "sequence": step.sequence,
            "after_us": (step.time_ns - begin_ns) // 1000,
            "cause": step.cause,
            "sender": step.sender,
            "type": step.type,
            "fields": " ".join(f"{name}={_short(value)}" for name, value in step.fields.items()),
        }
        for step in steps
    ]


def as_json(steps: list[Step]) -> list[Row]:
    """Steps for programs."""
    return [msgspec.structs.asdict(step) for step in steps]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
