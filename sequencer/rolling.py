"""Restarting the processes of a venue one by one, while it trades: a new version of the program comes in like this.

    well? --> SIGTERM to one --> `sequencer up` starts it again --> well? --> the next; who leads hands over first

Rules:
- Nothing is begun while anything is wrong, and the next is not touched before the last is well again.
- Replicas and gateways go first, nodes last, and of these the leader: an older program still understands what an older
  one wrote. A gateway's clients connect again, and miss nothing.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Final

from sequencer import admin, group, supervisor
from sequencer.config import Config
from sequencer.errors import ConfigError, IslandError
from sequencer.process import holder, running

WELL_S: Final = 60.0
PAUSE_S: Final = 0.05

Say = Callable[[str], None]


def restart(config: Config, names: Sequence[str], say: Say) -> list[str]:
    """Restart these processes of this host (none named: all); return them in the order in which it was done.

    Raises ConfigError for names that are not here, IslandError where the venue is not well, or not well again in time.
    """
    if not holder(config.data_dir, supervisor.NAME):
        raise ConfigError("`sequencer up` does not run here: nobody would start again what is stopped")
    here = [name for name, _command in supervisor.commands(config) if name in running(config.data_dir)]
    unknown = [name for name in names if name not in here]
    if unknown:
        raise ConfigError(f"{', '.join(unknown)} does not run here: expected of {', '.join(here)}")
    done: list[str] = []
    _await_well(config, "before anything was restarted")
    for name in _in_order(config, [name for name in here if not names or name in names]):
        say(f"restarting {name}")
        _hand_over(config, name)
        _again(config, name)
        done.append(name)
    return done


def _in_order(config: Config, names: list[str]) -> list[str]:
    """Replicas and gateways as venue.toml has them; then nodes, each with its replayer, and the leader last."""
    leader = group.members(config).leader
    nodes = sorted((node.name for node in config.nodes), key=lambda name: name == leader)
    ordered = [name for name in names if name in config.processes]
    for node in nodes:
        ordered += [name for name in (f"{node}-replayer", node) if name in names]
    return ordered


def _hand_over(config: Config, name: str) -> None:
    """Let another node lead, if this one does and there is another."""
    found = group.members(config)
    heirs = [voter for voter in found.members.voters if voter != name]
    if found.leader == name and heirs:
        group.transfer(config, heirs[0])


def _again(config: Config, name: str) -> None:
    pid = holder(config.data_dir, name)
    if pid:
        os.kill(pid, signal.SIGTERM)
    deadline_s = time.monotonic() + WELL_S
    while holder(config.data_dir, name) in (0, pid):
        if time.monotonic() > deadline_s:
            raise IslandError(f"{name} was stopped and is not back after {WELL_S:.0f} s: see its log in logs/")
        time.sleep(PAUSE_S)
    _await_well(config, f"after {name} was restarted")


def _await_well(config: Config, when: str) -> None:
    reasons = admin.await_healthy(config, WELL_S)
    if reasons:
        raise IslandError(f"the venue is not well {when}: {'; '.join(reasons)}")
