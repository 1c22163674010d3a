"""Three real nodes under fire, judged by a checker that shares no code with them. `make soak` does it for longer."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.fire import DISK_WEIGHTS, WEIGHTS, Fire
from tests.faults.group import Group
from tests.faults.load import Load
from tests.faults.small_disk import can_mount
from tests.models.running import until

SEGMENT_BYTES = 512 << 10


@contextmanager
def burning(directory: Path, *, small_disk: bool = False) -> Iterator[tuple[Group, Load]]:
    """A group with links that can be hurt, under load; segments are small, so that a disk fills up soon."""
    sizes = {"segment_bytes": str(SEGMENT_BYTES), "reserve_bytes": str(SEGMENT_BYTES // 8)}
    with Group(directory, linked=True, small_disk=small_disk, **sizes) as group, Load(group) as load:
        yield group, load


def test_each_node_may_die_in_turn(tmp_path: Path):
    """One of three is always down for a while; the others go on without it."""
    with burning(tmp_path) as (group, load):
        for name in group.names:
            group.send(name, signal.SIGKILL)
            load.await_progress()
            group.start(name)
            until(lambda: group.leader, "a leader")

        assert load.judge() == []


def test_a_group_that_lost_its_majority_says_nothing_and_goes_on_when_it_is_back(tmp_path: Path):
    """Two of three are gone: no acknowledgement comes; with one of them back everything that waited is sequenced."""
    with burning(tmp_path) as (group, load):
        gone = [name for name in group.names if name != group.leader]
        for name in gone:
            group.send(name, signal.SIGKILL)
        until(lambda: not group.leader, "the leader steps down")
        stuck_at = load.acknowledged
        group.start(gone[0])
        load.await_progress()
        group.start(gone[1])

        assert load.acknowledged > stuck_at
        assert load.judge() == []


@pytest.fixture(scope="module")
def fire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fire]:
    """One group for all acts, under load all the time: it is up until the last test has ended, so these stand last."""
    with burning(tmp_path_factory.mktemp("fire"), small_disk=can_mount()) as (group, load):
        yield Fire(group, load, seed=1)


@pytest.mark.parametrize("kind", [*WEIGHTS, *DISK_WEIGHTS])
def test_every_promise_holds_through(kind: str, fire: Fire):
    """One act: nothing is lost, doubled or reordered, the group goes on, and nobody who reads is left behind."""
    if kind in DISK_WEIGHTS and not can_mount():
        pytest.skip("needs the right to mount a tmpfs")
    fire.do(kind)

    assert fire.judge() == []
