"""Having a shard refuse a message: tried on a copy of its state, then sequenced, then decided.

    snapshot before it + log, the message refused --trial--> outputs as in the log? past the place where it stopped?
    SkipMessage --sender of the operator--> log --OpenSession of the shard--> in force, or void --> replicas begin again

Rules:
- Nothing is sequenced before the trial has gone past the place where the replicas are stopped, and has made every
  output that the log holds of the shard. So a message that was acted on is not skipped, and one whose skip does not
  help is not either.
- What was tried is what is decided: an output that is sequenced in between makes the skip void.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from engines.machines import cut
from engines.messages import (
    COMMANDS,
    ENCODER,
    OPERATIONS,
    RESULTS,
    CancelAll,
    CancelOrder,
    Message,
    NewOrder,
    ReplaceOrder,
    SkipMessage,
)
from engines.runs import operations_in, runs
from engines.seeding import skips_behind
from engines.sharding import Shard, Sharding, named
from engines.skips import Decided, Skips, skips_in
from engines.trying import Attempt, Say, Trial, next_culprit, tried
from engines.verdicts import verdicts
from sequencer.client import Voice
from sequencer.config import Config
from sequencer.envelope import CONTROL
from sequencer.errors import ConfigError, IslandError
from sequencer.log_tools import entries_of
from sequencer.sockets import context

STOPPED: Final = ("halted", "stuck")
BEGIN_S: Final = 60.0
RESTART_S: Final = 10.0
"""After which a dead process is not started again by anybody."""
PAUSE_S: Final = 0.1

Row = dict[str, Any]


class Done(msgspec.Struct, frozen=True):
    """A skip that is in force from `at` on, for these replicas, which had come to `stopped_at`.

    `then` is why the shard stops again further on; empty where it does not.
    """

    at: int
    then: str
    stopped_at: int
    replicas: list[str]


def skipped(config: Config, machine: str) -> Mapping[int, Decided]:
    """The skips of a machine that are in force, of whatever shards, by sequence number."""
    return skips_in(entries_of(config), Shard(machine))


def skip(config: Config, machine: str, spec: str, sequences: list[int], reason: str, say: Say) -> Done:
    """Have a stopped shard refuse messages.

    `say` is told how it goes. Raises ConfigError where nothing is stopped, IslandError where a skip would not help,
    was overtaken, or would make other outputs than the log holds.
    """
    make, shard = cut(machine, spec or _stopped_shard(config, machine))
    name = shard.sender
    stopped_at, replicas = _stopped(config, name)
    if shard.count > 1:
        _check_key(config, shard, sequences)
    attempt = Attempt(config, make, name, tuple(sequences), min(sequences))
    trial = tried(attempt, say)
    if trial.diverged:
        raise IslandError(f"{name} has acted on {_listed(sequences)}, directly or not: with it refused, {trial.error}")
    if trial.position <= stopped_at:
        raise IslandError(_no_help(attempt, trial))
    _check_others(attempt, machine, trial, say)
    if tried(replace(attempt, refused=()), say).position > stopped_at:
        raise IslandError(
            f"{name} can take what its replicas are stopped at: nothing has to be skipped. They are about to begin "
            "again, or it is these processes that cannot: detach them and attach others"
        )
    return Done(decided(attempt, reason, trial, say), trial.error, stopped_at, replicas)


def _check_others(attempt: Attempt, machine: str, trial: Trial, say: Say) -> None:
    """Raise IslandError where shards of another number, in force before, have acted on what is to be refused.

    They obey the skip as well, whenever they are replayed.
    """
    ours = named(attempt.shard)
    for name, _incarnation, outputs in trial.skips.shards:
        other = named(name)
        if other.count != ours.count and outputs:
            make, _shard = cut(machine, other.spec)
            if tried(replace(attempt, make=make, shard=name), say).diverged:
                raise IslandError(f"{name}, which was in force before, has acted on {_listed(attempt.refused)}")


def _check_key(config: Config, shard: Shard, sequences: list[int]) -> None:
    """Raise ConfigError for what is not one shard's alone: the others have taken it, and ids or sums would differ."""
    for sequence in sequences:
        message = _message_at(config, sequence)
        is_order = isinstance(message, NewOrder | ReplaceOrder | CancelOrder)
        if not is_order and not (isinstance(message, CancelAll) and message.instrument_id):
            raise ConfigError(
                f"{sequence:,} is {type(message).__name__}, which more shards than {shard.sender} take: only commands "
                "about one order or one instrument can be skipped by one shard of several. Deploy a fix instead"
            )


def _message_at(config: Config, sequence: int) -> Message | None:
    for entry in entries_of(config):
        if entry.next_sequence > sequence:
            for run in runs(entry.batches(), (COMMANDS, RESULTS)):
                if run.first_sequence <= sequence < run.first_sequence + len(run.messages):
                    return run.messages[sequence - run.first_sequence]
            break
    return None


def _no_help(attempt: Attempt, trial: Trial) -> str:
    sequences = attempt.refused
    refused = f"with {_listed(sequences)} refused, {attempt.shard} stops at the same place: {trial.error}"
    found = next_culprit(attempt, trial.stops_at)
    if not found.failed or found.command in sequences:
        return refused
    return f"{refused}; now it is {found.command:,}: does `poison skip {_listed([*sequences, found.command])}` help?"


def _listed(sequences: Sequence[int]) -> str:
    return " ".join(map(str, sequences))


def decided(attempt: Attempt, reason: str, trial: Trial, say: Say) -> int:
    """Sequence skips that were tried; return where they come into force. Raises IslandError where they are void."""
    config, shard, sequences = attempt.config, attempt.shard, attempt.refused
    silent = not attempt.make().writes
    known = Skips(Sharding(named(shard), trial.sharding, silent=silent), trial.skips)
    incarnation, outputs, openings = known.incarnation + 1, known.outputs, known.openings
    say("sequencing the skip")
    with Voice.of_operator(config) as voice:
        asked = [SkipMessage(shard, sequence, incarnation, outputs, reason) for sequence in sequences]
        voice.say(OPERATIONS, ENCODER.encode(asked), len(asked))
    say(f"opening incarnation {incarnation} of {shard}")
    with Voice(config, shard) as voice:
        voice.open()
    skips, index = known, trial.index
    with context(config) as made:
        while skips.incarnation < incarnation:  # others may be opened at the same time
            openings += 1
            blank = Skips(Sharding(named(shard), trial.sharding, silent=silent), trial.skips)
            skips = skips_behind(index, blank, openings, config.sources, context=made, say=say)
    if not set(sequences) <= skips.in_force.keys():
        raise IslandError(
            f"the skip is void: output {skips.outputs} of {shard} was sequenced, {outputs} was "
            "the last before. Nothing is changed: has a replica passed the message (`sequencer replicas`)? Else, again"
        )
    return skips.in_force[sequences[0]].opened


def await_again(config: Config, done: Done, say: Say) -> list[Row]:
    """Wait until the replicas that were stopped are live, or stopped further on, or dead; return how they are."""
    begin_s = time.monotonic()

    def settled(row: Row) -> bool:
        if row["verdict"] == "dead":
            return time.monotonic() > begin_s + RESTART_S
        return row["verdict"] == "live" or (row["verdict"] in STOPPED and row["position"] > done.stopped_at)

    while True:
        rows = [row for row in verdicts(config) if row["name"] in done.replicas]
        if all(settled(row) for row in rows) or time.monotonic() > begin_s + BEGIN_S:
            return rows
        say("; ".join(f"{row['name']} is {row['verdict']}" for row in rows))
        time.sleep(PAUSE_S)


def _stopped_shard(config: Config, machine: str) -> str:
    """The one shard of a machine that is stopped, as I/N. Raises ConfigError where several are."""
    rows = [row for row in verdicts(config) if row["machine"] == machine and row["verdict"] in STOPPED]
    stopped = sorted({row["shard"] for row in rows if _may_be_in_force(row)})
    if len(stopped) > 1:
        raise ConfigError(f"{', '.join(stopped)} are stopped: say which one with --shard I/N")
    return named(stopped[0]).spec if stopped else "0/1"


def _may_be_in_force(row: Row) -> bool:
    """Whether a replica is of a shard that is in force, as far as it tells: one that is stuck does not."""
    return row["shards"] in (0, named(row["shard"]).count)


def _stopped(config: Config, shard: str) -> tuple[int, list[str]]:
    """The last sequence number that the stopped replicas of a shard have applied, and which they are.

    Raises ConfigError where there are none.
    """
    rows = [row for row in verdicts(config) if row["shard"] == shard]
    stopped = [row for row in rows if row["verdict"] in STOPPED and _may_be_in_force(row)]
    if not stopped:
        known = ", ".join(sorted({row["shard"] for row in rows})) or "no such shard is known"
        raise ConfigError(
            f"no replica of {shard} is stopped ({known}): `sequencer poison list` shows which are, and at what"
        )
    furthest = max(row["position"] for row in stopped)
    passed = [row["name"] for row in rows if row["verdict"] not in STOPPED and row["position"] > furthest]
    if passed:
        raise ConfigError(
            f"{', '.join(passed)} has passed it: not the message is the matter, but the processes of "
            f"{', '.join(row['name'] for row in stopped)}; detach them and attach others"
        )
    return int(furthest), [row["name"] for row in stopped]


def history(config: Config) -> list[Row]:
    """Every skip that was ever sequenced, in the order of the log: of what, by which reason, and what became of it."""
    rows: list[Row] = []
    outputs: dict[str, int] = {}
    opened: dict[tuple[str, int], tuple[int, int]] = {}
    for entry in entries_of(config):
        for batch in entry.batches():
            if batch.channel == CONTROL:
                at = (batch.first_sequence, outputs.get(batch.sender, 0))
                opened.setdefault((batch.sender, batch.incarnation), at)
            else:
                outputs[batch.sender] = batch.number
            if batch.channel == OPERATIONS:
                asked = [one for one in operations_in(batch) if isinstance(one, SkipMessage)]
                rows += [{"at": batch.first_sequence, **msgspec.structs.asdict(one)} for one in asked]
    for row in rows:
        position, last = opened.get((row["shard"], row["incarnation"]), (0, 0))
        in_force = position > row["at"] and last == row["outputs"]
        row["became"] = f"in force at {position:,}" if in_force else "void" if position else "not decided"
    return rows
