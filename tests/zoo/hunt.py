"""The bug zoo: known bugs of consensus, journals and sessions, and what catches each.

    bugs/NAME.patch --applied to a copy of the tree--> scenarios, journal tests, simulation --> caught, by what

A patch begins with a few lines for its reader: what goes wrong, and where it has been seen. Then

    Caught by: tests PLACE              a scenario, or another test
    Caught by: simulation, seed N       the first of all seeds that fails

says what a test run has to show again. `python -m tests.zoo` finds it out anew for every bug.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TREE = Path(__file__).parents[2]
BUGS = Path(__file__).parent / "bugs"
COPIED = ("sequencer", "tests", "gateways", "engines", "pyproject.toml")
RUN_S = 300


@dataclass(frozen=True)
class Bug:
    """One patch. What catches it is the test at `place`, or else the simulation of `seed`."""

    name: str
    path: Path
    text: str
    place: str
    seed: int


def bugs() -> list[Bug]:
    """All bugs, by name."""
    return [read(path) for path in sorted(BUGS.glob("*.patch"))]


def read(path: Path) -> Bug:
    """One patch with what it says of itself."""
    head = path.read_text().split("\ndiff --git", 1)[0]
    caught = re.search(r"^Caught by: (?:tests (\S+)|simulation, seed (\d+))$", head, re.M)
    assert caught, f"{path.name} does not say what catches it"
    return Bug(path.stem, path, head, caught[1] or "", int(caught[2] or 0))


def infect(bug: Bug, tree: Path) -> None:
    """Make a copy of the project with the bug in it; what is compiled stays good for all other files."""
    for name in COPIED:
        source = TREE / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("integration"))
        else:
            shutil.copy(source, tree / name)
    applied = subprocess.run(
        ["git", "apply", "--whitespace=nowarn", str(bug.path)], cwd=tree, capture_output=True, text=True, check=False,
        env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)},
    )  # fmt: skip
    assert applied.returncode == 0, f"{bug.name} no longer fits the code: {applied.stderr}"


def fails(tree: Path, place: str) -> bool:
    """Whether a test of the infected tree fails."""
    done = _python(tree, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", place)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.returncode == 1


def seeds_until_failure(tree: Path, seeds: int, start: int = 0) -> int | None:
    """How many seeds, from one on, the simulation needs to fail on the infected tree; None if it does not."""
    words = ("--seeds", str(seeds), "--start", str(start), "--jobs", "1", "--first", "-o", "json")
    done = _python(tree, "-m", "tests.simulation", *words)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return json.loads(done.stdout)["runs"] if done.returncode else None


def _python(tree: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """In the copy; a property that fails is not tried for smaller examples."""
    env = {**os.environ, "PYTHONPATH": str(tree), "ISLAND_HYPOTHESIS_PROFILE": "zoo"}
    return subprocess.run(
        [sys.executable, *words], cwd=tree, env=env, capture_output=True, text=True, timeout=RUN_S, check=False
    )
