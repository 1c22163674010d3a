"""Each bug of the zoo is caught by what its patch says: a bug that survives is a hole in the checks."""

import os
from pathlib import Path

import pytest

from tests.zoo.hunt import Bug, bugs, fails, infect, seeds_until_failure

HUNTED = bugs() if "ISLAND_THOROUGH" in os.environ else bugs()[::2]
"""Every second one by default, in the order of their names; all of them with `make acceptance`."""


@pytest.mark.parametrize("bug", HUNTED, ids=lambda bug: bug.name)
def test_the_bug_is_caught(bug: Bug, tmp_path: Path):
    """With the patch applied, the scenario, test or seed that it names fails."""
    infect(bug, tmp_path)
    caught = fails(tmp_path, bug.place) if bug.place else seeds_until_failure(tmp_path, 1, start=bug.seed)

    assert caught, f"{bug.name} survives {bug.place or f'seed {bug.seed}'}; `make zoo` looks for what else catches it"


def test_the_zoo_is_not_empty():
    """At least thirty bugs, each with a few words for its reader."""
    assert len(bugs()) >= 30
    assert all(len(bug.text.splitlines()) >= 3 for bug in bugs())
