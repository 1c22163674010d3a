"""What a process loads when it starts: its own package, those below it, and nothing that prints for people."""

import subprocess
import sys

import pytest

LOADED = """
import sys
from sequencer.__main__ import prepared
prepared({command!r})
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""


def loaded(command: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(command=command)], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("command", "above"),
    [
        ("node", {"engines", "gateways"}),
        ("replayer", {"engines", "gateways"}),
        ("attach", {"gateways"}),
        ("gateway", set()),
    ],
)
def test_a_process_loads_no_package_above_its_own(command: str, above: set[str]):
    """The ordering process holds no application code, and no engine a gateway."""
    found = loaded(command)

    assert "sequencer" in found
    assert not found & {*above, "rich"}


def test_other_commands_have_all_packages():
    """So that help shows every command, and a word that is none is answered with all that there are."""
    assert {"sequencer", "engines", "gateways"} <= loaded("no-such-command")
