"""Changing how many shards a machine has, on a venue that trades.

    shadows of the new shards, caught up --> Reshard --> log --> old ones close, new ones speak --> old ones end

Rules:
- Nothing is sequenced before every new shard has a live replica, and every replica that is in force is live.
- Where `sequencer up` runs on this host the replicas are its processes, as many of each shard as before; elsewhere they
  are attached by hand, and this goes on from there.
"""

import time
from typing import Any, Final

from engines.machine import Sharded
from engines.machines import find
from engines.messages import Reshard
from engines.operating import detach, tell
from engines.sharding import SHARDS_MAX, Shard, named
from engines.trying import Say
from engines.verdicts import verdicts
from sequencer import deployment, supervisor
from sequencer.config import Config
from sequencer.errors import ConfigError, IslandError
from sequencer.process import holder

LIVE_S: Final = 120.0
TURN_S: Final = 30.0
PAUSE_S: Final = 0.1

Row = dict[str, Any]


def reshard(config: Config, machine: str, count: int, say: Say) -> tuple[int, list[Row]]:
    """Have a machine cut into so many shards; return where that was sequenced, and how its replicas are then.

    Raises ConfigError for what cannot be, IslandError for what does not come about in time.
    """
    make = find(machine)
    if not isinstance(make(), Sharded):
        raise ConfigError(f"{machine} declares no shard_key: it cannot be cut; engines/machine.py says how")
    if not 0 < count <= SHARDS_MAX:
        raise ConfigError(f"expected 1 to {SHARDS_MAX} shards, got {count}")
    kind = make().name
    before = _in_force(_rows(config, kind), kind)
    if before == count:
        raise ConfigError(f"{kind} has {count} shards already")
    wanted = [Shard(kind, index, count) for index in range(count)]
    _supply(config, machine, wanted, before)
    _await(lambda: _missing(_rows(config, kind), wanted), LIVE_S, say)
    at = tell(config, Reshard(kind, count))
    say(f"at {at:,} the shards change")
    _await(lambda: _turning(_rows(config, kind), wanted), TURN_S, say)
    for row in _rows(config, kind):
        if named(row["shard"]).count != count and row["name"] in Config.load(config.data_dir).processes:
            say(f"{row['name']} ends")
            detach(config, row["name"])
    return at, _rows(config, kind)


def _rows(config: Config, kind: str) -> list[Row]:
    return [row for row in verdicts(config) if row["shard"] and named(row["shard"]).machine == kind]


def _in_force(rows: list[Row], kind: str) -> int:
    """How many shards there are. Raises ConfigError unless all of them are well."""
    live = [row for row in rows if row["verdict"] == "live"]
    if not live:
        raise ConfigError(f"no replica of {kind} is live: `sequencer replicas` tells why")
    count = int(max(live, key=lambda row: row["position"])["shards"])
    missing = _missing(rows, [Shard(kind, index, count) for index in range(count)])
    if missing:
        raise ConfigError(f"{missing}: what is stopped would hold up the change; `sequencer replicas` tells more")
    return count


def _supply(config: Config, machine: str, wanted: list[Shard], before: int) -> None:
    """See to it that there are replicas of the new shards. Raises ConfigError where others have to."""
    rows = _rows(config, wanted[0].machine)
    known = {row["shard"] for row in rows if row["verdict"] != "dead"}
    missing = [shard for shard in wanted if shard.sender not in known]
    if not missing:
        return
    if not holder(config.data_dir, supervisor.NAME):
        commands = "; ".join(f"sequencer attach {machine} --shard {shard.spec}" for shard in missing)
        raise ConfigError(f"`sequencer up` does not run here: attach replicas of the new shards first: {commands}")
    in_force = [named(row["shard"]) for row in rows if row["verdict"] == "live"]
    copies = max(1, sum(shard.count == before for shard in in_force) // before)
    for shard in missing:
        for copy in range(1, copies + 1):
            name = f"{shard.machine}-{shard.index}of{shard.count}-{copy}"
            deployment.engage(config.data_dir, name, ["attach", machine, "--shard", shard.spec, "--name", name])


def _missing(rows: list[Row], shards: list[Shard]) -> str:
    """Which shards have no live replica, or one that is not well; empty where all are."""
    ill = [f"{row['name']} is {row['verdict']}" for row in rows if named(row["shard"]) in shards]
    live = {row["shard"] for row in rows if row["verdict"] in ("live", "slow")}
    lacking = [f"{shard.sender} has no live replica" for shard in shards if shard.sender not in live]
    return "; ".join(lacking + [one for one in ill if not one.endswith((" is live", " is slow", " is dead"))])


def _turning(rows: list[Row], wanted: list[Shard]) -> str:
    """Which replicas of the new shards do not speak yet; empty where all do."""
    names = {shard.sender for shard in wanted}
    waits = [row["name"] for row in rows if row["shard"] in names and row["verdict"] != "dead" and not row["speaks"]]
    return f"{', '.join(waits)} do not speak yet" if waits else ""


def _await(why_not: Any, patience_s: float, say: Say) -> None:
    deadline_s = time.monotonic() + patience_s
    while why := why_not():
        if time.monotonic() > deadline_s:
            raise IslandError(f"not within {patience_s:.0f} s: {why}; `sequencer replicas` tells more")
        say(why)
        time.sleep(PAUSE_S)
