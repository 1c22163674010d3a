"""A key for each process that venue.toml names, and one for who gives commands.

venue.toml [[nodes]], [processes] --issue_missing--> keys.toml, keys/NAME.key

A gateway of a kind listens at the [endpoints] that are called KIND, or KIND_something.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sequencer.config import Config, ProcessConfig
from sequencer.keyring import ADMIN, issue, read_keys, secret_path
from sequencer.keys import Key, Keys, Role

Rights = dict[str, Any]


def issue_missing(config: Config, key_of: Callable[[str], Path] | None = None) -> list[Key]:
    """Make the keys that a venue needs and does not have, in the files that `key_of` tells; return them.

    Raises ConfigError.
    """
    place = key_of or (lambda name: secret_path(config.secrets_directory, name))
    listed = read_keys(config.keys_path) if config.keys_path.exists() else Keys()
    wanted: dict[str, tuple[Role, Rights]] = {node.name: (Role.NODE, {}) for node in config.nodes}
    wanted |= {name: _role(config, process) for name, process in config.processes.items()}
    wanted[ADMIN] = (Role.ADMIN, {})
    return [
        issue(config.keys_path, place(name), name, role, **rights)
        for name, (role, rights) in wanted.items()
        if listed.named(name) is None
    ]


def _role(config: Config, process: ProcessConfig) -> tuple[Role, Rights]:
    match process.command:
        case ["attach", machine, *_]:
            return Role.REPLICA, {"of": (machine,)}
        case ["gateway", kind, *_]:
            serves = tuple(name for name in config.endpoints if name.partition("_")[0] == kind)
            return Role.GATEWAY, {"serves": serves, "operates": process.operates}
        case _:
            return Role.READER, {}
