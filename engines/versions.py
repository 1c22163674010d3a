"""Which rules a machine follows: a function of the log, so that old entries are replayed under the old rules.

Activate(machine, 2) at S  -->  entries up to here: version 1  |  entries behind it: version 2
"""

from collections.abc import Iterable

from engines.machine import Machine, Versioned
from engines.messages import Activate, Message
from sequencer.errors import VersionError

FIRST = 1


def latest_known(machine: Machine) -> int:
    """The latest version whose rules this program knows."""
    return machine.version if isinstance(machine, Versioned) else FIRST


def asked_in(operations: Iterable[Message], machine: str) -> int:
    """The latest version of a machine that operators activate here, or 0."""
    return max((one.version for one in operations if isinstance(one, Activate) and one.machine == machine), default=0)


def activate(machine: Machine, version: int) -> None:
    """Have a machine follow the rules of a version, if that is a later one than it follows.

    Raises VersionError where this program does not know them.
    """
    if version <= in_force(machine):
        return
    if not isinstance(machine, Versioned) or version > machine.version:
        raise VersionError(
            f"version {version} of {machine.name} is in force from here on, and this program knows versions up to "
            f"{latest_known(machine)}: run the newer one"
        )
    machine.activate(version)
    assert machine.rules == version, f"{machine.name}.activate({version}) left rules at {machine.rules}"


def in_force(machine: Machine) -> int:
    """Whose rules a machine follows."""
    return machine.rules if isinstance(machine, Versioned) else FIRST
