"""What an operator does to replicas: snapshots, digests, detaching; printing is the CLI's.

TakeSnapshot, DetachReplica --sender of the operator--> log --> replicas --StateDigest--> log, snapshots --> nodes
"""

import os
import signal
import time
from collections.abc import Callable
from typing import Any, Final

from engines import machines
from engines.messages import (
    DECISIONS,
    DECODERS,
    ENCODER,
    OPERATIONS,
    STATES,
    Activate,
    CreditDecisions,
    DetachReplica,
    Message,
    OperatorAction,
    RefuseUndecided,
    ScheduleSnapshots,
    StateDigest,
    TakeSnapshot,
)
from engines.seeding import candidates, fetch_vouched, restored
from engines.sharding import named, parsed
from sequencer import admin, deployment
from sequencer.client import Context, SnapshotClient, Source, Voice, kept_by_node
from sequencer.config import Config
from sequencer.envelope import Entry
from sequencer.errors import ConfigError, IslandError
from sequencer.log_tools import entries_of
from sequencer.process import holder
from sequencer.sockets import context

NOTE_S: Final = 10.0
DIGEST_S: Final = 30.0
KEEP_S: Final = 60.0
DETACH_S: Final = 3.0
KILL_S: Final = 2.0
DEATH_S: Final = 2.0
"""How long the watcher of one that was killed may take to tell it."""
PAUSE_S: Final = 0.05

Row = dict[str, Any]


def tell(config: Config, operation: Message) -> int:
    """Have an operation sequenced; return its sequence number. Raises IslandError."""
    with Voice.of_operator(config) as voice:
        return voice.say(OPERATIONS, ENCODER.encode([operation])).first_sequence


def note_action(
    config: Config, operator: str, action: str, details: str, reason: str, *, patience_s: float = NOTE_S
) -> int:
    """Write into the log who asks for what, and why; return where. Raises IslandError.

    `details` is JSON. Commands do this by `sequencer.noting`, the web gateway by itself.
    """
    with Voice.of_operator(config, patience_s=patience_s) as voice:
        asked = OperatorAction(operator, action, details, reason)
        return voice.say(OPERATIONS, ENCODER.encode([asked])).first_sequence


def take_snapshot(config: Config, machine: str, *, keep: bool) -> tuple[int, dict[str, StateDigest]]:
    """Let the replicas of a machine (empty: of all) tell their state's digest, and keep it if asked.

    Returns the sequence number of the request, and what each shard told, by its name. Waits for every shard that has
    a live replica. Raises IslandError for those that tell nothing.
    """
    expected = _live_shards(config, machine)
    if not expected:
        raise IslandError(f"no replica of {machine or 'any machine'} is live: `sequencer replicas` tells why")
    told: dict[str, StateDigest] = {}

    def hear(entry: Entry) -> bool:
        for batch in entry.batches():
            if batch.channel == STATES:
                said = DECODERS[STATES].decode(batch.payload)[0]
                assert isinstance(said, StateDigest), said
                if said.position >= asked:
                    told[batch.sender.removesuffix(".state")] = said
        return told.keys() >= expected

    with Voice.of_operator(config) as voice:
        asked = voice.say(OPERATIONS, ENCODER.encode([TakeSnapshot(machine, keep)])).first_sequence
        if not voice.listen(hear, DIGEST_S):
            missing = ", ".join(sorted(expected - told.keys()))
            raise IslandError(f"{missing} told no digest within {DIGEST_S:.0f} s: `sequencer replicas` tells why")
    return asked, told


def await_kept(config: Config, told: dict[str, StateDigest]) -> None:
    """Wait until some node keeps a snapshot of each of these states. Raises IslandError."""

    def missing() -> set[str]:
        with context(config) as made:
            listed = kept_by_node(config.sources, context=made)
        kept = {(stored.shard, stored.position) for answer in listed.values() for stored in answer.kept}
        return {shard for shard, said in told.items() if (shard, said.position) not in kept}

    if not _until(lambda: not missing(), KEEP_S):
        raise IslandError(
            f"no node keeps the snapshot of {', '.join(sorted(missing()))}: `sequencer replicas` tells why"
        )


def schedule(config: Config, every_messages: int, every_s: float) -> int:
    """Have snapshots taken on this schedule from here on; return the sequence number of that."""
    return tell(config, ScheduleSnapshots(every_messages, int(every_s * 1_000_000_000)))


def activate(config: Config, machine: str, version: int) -> int:
    """Have all replicas of a machine follow the rules of a version; return the sequence number of that.

    Raises ConfigError where a replica does not know them, or they are in force; IslandError where not all follow in
    time.
    """

    def replicas() -> list[Row]:
        rows = admin.status(config).replicas
        return [row for row in rows if row["role"] == machine and row["state"] != "dead" and "rules" in row]

    found = replicas()
    if not found:
        raise ConfigError(f"no replica of {machine} is up: `sequencer replicas` shows which are")
    behind = [f"{row['name']} knows versions up to {row['knows']}" for row in found if row["knows"] < version]
    if behind:
        raise ConfigError(f"{'; '.join(behind)}: restart them with the newer program first")
    in_force = max(row["rules"] for row in found)
    if version <= in_force:
        raise ConfigError(f"version {in_force} of {machine} is in force: expected a later one, got {version}")
    at = tell(config, Activate(machine, version))
    if not _until(lambda: all(row["rules"] == version for row in replicas()), KEEP_S):
        raise IslandError(f"activated at {at:,}, and not all follow yet: `sequencer replicas` tells why")
    return at


def refuse_undecided(config: Config, spec: str, reason: str) -> int:
    """Have what a credit shard (`1/4`) has not decided refused; return the sequence number of that.

    Raises ConfigError where one of its replicas is live: it decides.
    """
    shard = parsed("credit", spec)
    live = [
        row["name"] for row in admin.status(config).replicas
        if row.get("sender") == shard.sender and row["state"] in ("live", "slow", "catching-up", "attaching")
    ]  # fmt: skip
    if live:
        raise ConfigError(f"{', '.join(live)} of {shard.sender} is up, or comes up: it decides what waits")
    known = _deciding_shards(config)
    if known != shard.count:
        raise ConfigError(
            f"the last decision in the log is one of {known} shard(s) of credit: expected I/{known}. Shards of another "
            "number are not known to matching before one of them has decided something"
        )
    return tell(config, RefuseUndecided(shard.index, shard.count, reason))


def _deciding_shards(config: Config) -> int:
    """How many shards of credit the last decision in the log speaks of."""
    known = 1
    for entry in entries_of(config):
        for batch in entry.batches():
            if batch.channel == DECISIONS:
                for message in DECODERS[DECISIONS].decode(batch.payload):
                    known = message.shards if isinstance(message, CreditDecisions) else known
    return known


def snapshots(config: Config) -> list[Row]:
    """Every snapshot that a node keeps, the newest first; and what a node holds that it cannot read."""
    with context(config) as made:
        listed = kept_by_node(config.sources, context=made)
    rows: dict[tuple[str, int, bytes], Row] = {}
    damaged = []
    for node, answer in sorted(listed.items()):
        for stored in answer.kept:
            row = rows.setdefault(
                (stored.shard, stored.number, stored.checksum),
                {
                    "shard": stored.shard,
                    "number": stored.number,
                    "position": stored.position,
                    "bytes": stored.size_bytes,
                    "nodes": "",
                    "made_by": stored.made_by,
                    "problem": "",
                },
            )
            row["nodes"] += f" {node}" if row["nodes"] else node
        damaged += [
            {"shard": name, "number": 0, "position": 0, "bytes": 0, "nodes": node, "made_by": "", "problem": why}
            for name, why in answer.damaged
        ]
    ordered = sorted(rows.values(), key=lambda row: (row["shard"], -row["number"]))
    return ordered + damaged


def verify_snapshots(config: Config, say: Callable[[str], None]) -> list[Row]:
    """Fetch each snapshot from each node, compare it with the log, and restore it; `problem` says what is wrong."""
    rows = []
    with context(config) as made:
        for stored, source in candidates(config.sources, "", context=made, say=say):
            rows.append(
                {
                    "shard": stored.shard,
                    "number": stored.number,
                    "position": stored.position,
                    "node": source.name,
                    "problem": _problem_of(config, stored, source, made, say),
                }
            )
    return sorted(rows, key=lambda row: (row["shard"], -row["number"], row["node"]))


def discard_snapshot(config: Config, shard: str, number: int) -> dict[str, str]:
    """Have every node forget a snapshot; return why not, by node. Raises IslandError where none had it."""
    refused = {}
    with context(config) as made:
        for source in config.sources:
            client = SnapshotClient(source, context=made)
            try:
                why = client.discard(shard, number)
            except IslandError as error:
                why = str(error)
            finally:
                client.close()
            if why:
                refused[source.name] = why
    if len(refused) == len(config.sources):
        raise IslandError("; ".join(f"{node}: {why}" for node, why in refused.items()))
    return refused


def digests(config: Config, position: int = 0) -> list[Row]:
    """The state digest of each replica at a marker: at the latest that all of a shard have, or at `position`.

    `agrees` tells whether it is the one of the shard's other replicas.
    """
    shards: dict[str, dict[str, dict[int, str]]] = {}
    for row in admin.status(config).replicas:
        if row.get("sender") and row.get("states"):
            shards.setdefault(row["sender"], {})[row["name"]] = row["states"]
    rows = []
    for shard, replicas in sorted(shards.items()):
        places = {at for states in replicas.values() for at in states if not position or at <= position}
        common = {at for at in places if all(at in states for states in replicas.values())}
        if places:
            rows += _compared(shard, replicas, max(common or places))
    return rows


def _compared(shard: str, replicas: dict[str, dict[int, str]], at: int) -> list[Row]:
    told = {name: states.get(at, "") for name, states in sorted(replicas.items())}
    agree = len(set(told.values())) == 1
    return [
        {"shard": shard, "replica": name, "position": at, "digest": digest, "agrees": agree}
        for name, digest in told.items()
    ]


def fresh_digests(config: Config) -> list[Row]:
    """The state digest of every live replica at a new marker. Raises IslandError for those that tell none in time."""
    _asked, told = take_snapshot(config, "", keep=False)

    def all_told() -> bool:
        rows = [row for row in admin.status(config).replicas if row["state"] == "live" and row.get("sender") in told]
        return all(told[row["sender"]].position in row.get("states", ()) for row in rows)

    _until(all_told, DIGEST_S)
    return digests(config)


def detach(config: Config, name: str) -> str:
    """Have a replica end; return how that went. It is taken out of venue.toml. Raises IslandError if it goes on."""
    known = {row["name"]: row for row in admin.status(config).replicas}
    if name not in known:
        raise ConfigError(f"there is no replica {name!r}: the venue knows {', '.join(sorted(known)) or 'none'}")
    deployment.dismiss(config.data_dir, name)
    tell(config, DetachReplica(name))
    if _until(lambda: _is_gone(config, name), DETACH_S):
        admin.forget(config, name)
        return "detached"
    for signum in (signal.SIGTERM, signal.SIGKILL):
        pid = holder(config.data_dir, name)
        if pid:
            os.kill(pid, signum)
            if _until(lambda: not holder(config.data_dir, name), KILL_S):
                _forget_killed(config, name)
                return f"did not answer, and was ended by {signum.name}"
    raise IslandError(f"{name} (pid {known[name]['pid']}) does not answer and is not on this host: end it there")


def _forget_killed(config: Config, name: str) -> None:
    """Say goodbye in its place: once more, where its watcher has told its death after that."""
    admin.forget(config, name)
    if _until(lambda: any(row["name"] == name for row in admin.status(config).replicas), DEATH_S):
        admin.forget(config, name)


def _live_shards(config: Config, machine: str) -> set[str]:
    rows = [row for row in admin.status(config).replicas if row["state"] == "live" and row.get("sender")]
    return {row["sender"] for row in rows if not machine or row["role"] == machine}


def _is_gone(config: Config, name: str) -> bool:
    rows = [row for row in admin.status(config).replicas if row["name"] == name]
    return not holder(config.data_dir, name) and all(row["state"] == "dead" for row in rows)


def _problem_of(config: Config, stored: Any, source: Source, made: Context, say: Callable[[str], None]) -> str:
    try:
        snapshot, vouch = fetch_vouched(stored, source, config.sources, config.cluster, context=made, say=say)
        shard = named(stored.shard)
        make, _shard = machines.cut(shard.machine, shard.spec)
        again = restored(make, snapshot, vouch).machine.snapshot()
    except ConfigError:
        return ""  # a machine that is not installed here: the log vouches for its state, and that is all
    except IslandError as error:
        return str(error)
    return "" if again == snapshot.state else "its machine, restored, gives another state"


def _until(condition: Callable[[], bool], patience_s: float) -> bool:
    deadline_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(PAUSE_S)
    return True
