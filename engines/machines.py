"""Which machines there are: the venue's own, installed ones, and any class that a user names.

matching | credit            the venue's own
NAME                         an entry point of the group `sequencer.machines`
package.module:Class         whatever can be imported from here, also from the current directory
"""

import importlib
import sys
from collections.abc import Callable
from functools import partial
from typing import Final

from engines.credit import Credit
from engines.machine import Machine, Sharded
from engines.matching import Matching
from engines.sharding import Shard, parsed
from sequencer.envelope import SENDER_BYTES_MAX
from sequencer.errors import ConfigError

GROUP: Final = "sequencer.machines"
STATE_SUFFIX_BYTES: Final = len(".0.state")
SHARD_SUFFIX_BYTES: Final = len(".63of64.state")
_OWN: Final[dict[str, Callable[..., Machine]]] = {"matching": Matching, "credit": Credit}
_ATTRIBUTES: Final = ("name", "reads", "writes", "apply", "reject", "snapshot", "restore")


def find(named: str) -> Callable[..., Machine]:
    """What makes a machine of this name. Raises ConfigError that says what is missing."""
    if named in _OWN:
        return _OWN[named]
    if ":" in named:
        return _checked(named, _imported(named))
    from importlib.metadata import entry_points  # noqa: PLC0415 - 30 ms of a start, which machines of ours can spare

    installed = {point.name: point for point in entry_points(group=GROUP)}
    if named in installed:
        return _checked(named, installed[named].load())
    known = ", ".join([*_OWN, *sorted(installed)])
    raise ConfigError(f"there is no machine {named!r}: expected {known}, or a class as package.module:Class")


def cut(machine: str, spec: str) -> tuple[Callable[[], Machine], Shard]:
    """What makes one shard of a machine, and which that is. Raises ConfigError, as `find` does."""
    make = find(machine)
    shard = parsed(make().name, spec)
    if shard.count == 1:
        return make, shard
    if not isinstance(make(), Sharded):
        raise ConfigError(f"{machine} declares no shard_key: it cannot be cut; engines/machine.py says how")
    return partial(make, shard.index, shard.count), shard


def _imported(named: str) -> object:
    module_name, _, class_name = named.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # a user's file lies where the command is called
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"{module_name} cannot be imported: {error}") from None
    try:
        found: object = getattr(module, class_name)
    except AttributeError:
        raise ConfigError(f"{module_name} has no {class_name!r}") from None
    return found


def _checked(named: str, found: object) -> Callable[..., Machine]:
    missing = [attribute for attribute in _ATTRIBUTES if not hasattr(found, attribute)]
    if missing or not isinstance(found, type):
        lacks = ", ".join(missing) or "being a class"
        raise ConfigError(f"{named} is no machine: it lacks {lacks}; engines/machine.py says what one is")
    name = getattr(found, "name", "")
    room = SENDER_BYTES_MAX - (SHARD_SUFFIX_BYTES if hasattr(found, "shard_key") else STATE_SUFFIX_BYTES)
    if not isinstance(name, str) or not name.isidentifier() or not name.isascii() or len(name) > room:
        raise ConfigError(f"{named}: `name` must be an identifier of at most {room} letters, got {name!r}")
    if name in _OWN:
        raise ConfigError(f"{named}: `name` is {name!r}, which is the venue's own; choose another")
    return found
