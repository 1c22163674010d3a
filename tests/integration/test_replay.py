"""Replaying a log gives byte-identical outputs and the same digests, in any process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engines.machines import find
from engines.replica import Replica
from sequencer.config import Config
from sequencer.log_tools import entries_of
from tests.integration.conftest import Traded


def replay(data_dir: Path, name: str) -> Replica:
    """A fresh replica, fed with the whole log: it compares every output in the log with its own."""
    replica = Replica(find(name)(), f"{name}.0")
    for entry in entries_of(Config.load(data_dir)):
        if entry.message_count:
            replica.apply(entry)
    return replica


def said_under(hash_seed: int, data_dir: Path, name: str) -> list[str]:
    """What a process with this PYTHONHASHSEED says of its own replay."""
    code = (
        "import sys, pathlib\n"
        "from hashlib import sha256\n"
        "from tests.integration.test_replay import replay\n"
        "replica = replay(pathlib.Path(sys.argv[1]), sys.argv[2])\n"
        "state = sha256(replica.machine.snapshot()).hexdigest()\n"
        "print(replica.number, replica.confirmed, replica.digest.hex(), state)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(data_dir), name],
        capture_output=True, text=True, timeout=60, check=True, cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
    )  # fmt: skip
    return done.stdout.split()


@pytest.mark.parametrize("name", ["credit", "matching"])
def test_a_replay_makes_the_outputs_that_are_in_the_log(name: str, traded: Traded):
    """No output differs, none is missing, and the digest is the one that the running replicas report."""
    outputs, digest = traded.venue.agreement()[f"{name}.0"]
    replica = replay(traded.venue.data_dir, name)

    assert (replica.number, replica.confirmed, replica.digest.hex()[:16]) == (outputs, outputs, digest)


@pytest.mark.parametrize("name", ["credit", "matching"])
def test_a_replay_does_not_depend_on_the_hash_seed(name: str, traded: Traded):
    """Outputs and the whole state are the same in processes of different PYTHONHASHSEEDs."""
    assert said_under(3, traded.venue.data_dir, name) == said_under(4, traded.venue.data_dir, name)
