"""Which machines there are: the venue's own, installed ones, a user's class; and what is none."""

from pathlib import Path

import pytest

from engines.machines import cut, find
from engines.matching import Matching
from engines.sharding import Shard
from sequencer.errors import ConfigError

MODULE = '''
class Mine:
    """A machine that does nothing."""

    name, reads, writes = "mine", (1,), 0

    def apply(self, time_ns, first_sequence, channel, messages):
        return []

    def reject(self, time_ns, first_sequence, channel, count, reason):
        return []

    def snapshot(self):
        return b""

    def restore(self, state):
        pass


class Impostor(Mine):
    name = "matching"


class Unfinished:
    name = "unfinished"
'''


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution as an installer leaves it: a module, and its entry points."""
    (tmp_path / "mine_package.py").write_text(MODULE)
    described = tmp_path / "mine_package-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: mine-package\nVersion: 1.0\n")
    points = {"mine": "Mine", "impostor": "Impostor", "unfinished": "Unfinished"}
    lines = [f"{name} = mine_package:{found}" for name, found in points.items()]
    (described / "entry_points.txt").write_text("\n".join(["[sequencer.machines]", *lines, ""]))
    monkeypatch.syspath_prepend(str(tmp_path))


def test_an_installed_machine_is_found_by_its_entry_point():
    """By the name under which its package announces it; a class of one's own by its place."""
    assert find("mine")().name == "mine"
    assert find("mine_package:Mine") is find("mine")
    assert find("matching") is Matching


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("yours", "there is no machine 'yours': expected matching, credit, impostor, mine, unfinished"),
        ("impostor", "which is the venue's own; choose another"),
        ("unfinished", "it lacks reads, writes, apply, reject, snapshot, restore"),
        ("mine_package:Yours", "mine_package has no 'Yours'"),
        ("no_such_package:Mine", "no_such_package cannot be imported"),
    ],
)
def test_what_is_none_is_refused(named: str, why: str):
    """With what is missing."""
    with pytest.raises(ConfigError, match=why):
        find(named)


def test_only_a_machine_with_a_key_can_be_cut():
    """One of several shards is made with its place."""
    make, shard = cut("matching", "1/4")

    assert shard == Shard("matching", 1, 4)
    assert make().snapshot() == Matching(1, 4).snapshot()
    assert cut("mine", "0/1")[1] == Shard("mine")
    with pytest.raises(ConfigError, match="declares no shard_key"):
        cut("mine", "0/2")
