"""Three real nodes under fire, judged by a checker that shares no code with them. `make soak` does it for longer."""

import json
import signal
from pathlib import Path

import pytest

from tests.faults.checker import check
from tests.faults.group import Fire, Group, Load
from tests.models.entries import chain, entry_after
from tests.models.running import until


@pytest.mark.parametrize("seed", [1, 2])
def test_every_promise_holds_under_fire(seed: int, tmp_path: Path):
    """Leaders killed and stopped, followers killed, all killed at once: nothing is lost, doubled or reordered."""
    with Group(tmp_path) as group, Load(group) as load:
        fire = Fire(group, load, seed)
        for kind in ("kill_leader", "_kill_any", "_stop_leader", "_kill_all", "kill_leader"):
            getattr(fire, kind)()
            load.await_progress()

    assert load.errors == []
    assert check(group.histories) == []


def test_each_node_may_die_in_turn(tmp_path: Path):
    """One of three is always down for a while; the others go on without it."""
    with Group(tmp_path) as group, Load(group) as load:
        for name in group.names:
            group.send(name, signal.SIGKILL)
            load.await_progress()
            group.start(name)
            until(lambda: group.leader, "a leader")

    assert load.errors == []
    assert check(group.histories) == []


def test_a_group_that_lost_its_majority_says_nothing_and_goes_on_when_it_is_back(tmp_path: Path):
    """Two of three are gone: no acknowledgement comes; with one of them back everything that waited is sequenced."""
    with Group(tmp_path) as group, Load(group) as load:
        gone = [name for name in group.names if name != group.leader]
        for name in gone:
            group.send(name, signal.SIGKILL)
        until(lambda: not group.leader, "the leader steps down")
        stuck_at = load.acknowledged
        group.start(gone[0])
        load.await_progress()

    assert load.acknowledged > stuck_at
    assert check(group.histories) == []


ENTRIES = chain([b"a", b"b", b"c"])


def history(directory: Path, logs: dict[str, list[object]], rows: list[dict[str, object]]) -> list[str]:
    """What the checker says of a history."""
    for name, entries in logs.items():
        (directory / f"{name}.log").write_bytes(b"".join(entry.data for entry in entries))
    (directory / "submitted.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return check(directory)


def row(place: int, began_ns: int, seen_ns: int, seen_index: int) -> dict[str, object]:
    batch = ENTRIES[place].batches()[0]
    return {
        "sender": batch.sender, "number": batch.number, "digest": batch.digest.hex(), "began_ns": began_ns,
        "seen_ns": seen_ns, "seen_index": seen_index,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("logs", "rows", "says"),
    [
        ({"x": ENTRIES, "y": [ENTRIES[0], entry_after(ENTRIES[0], b"other")]}, [], "another entry 2"),
        ({"x": ENTRIES[1:]}, [], "where 1 is due"),
        ({"x": [ENTRIES[0], ENTRIES[2]]}, [], "where 2 is due"),
        ({"x": ENTRIES}, [], "does not follow number"),
        ({"x": ENTRIES[:2]}, [row(2, 1, 2, 3)], "is in none"),
        ({"x": ENTRIES}, [row(2, 1, 2, 3), row(0, 5, 0, 0)], "submitted after entry 3"),
    ],
)
def test_the_checker_can_fail(logs, rows, says, tmp_path: Path):
    """Each rule, broken by hand in a forged history, is found."""
    assert any(says in line for line in history(tmp_path, logs, rows))


def test_the_checker_passes_what_is_right(tmp_path: Path):
    """One entry, seen by two, acknowledged."""
    assert history(tmp_path, {"x": ENTRIES[:1], "y": ENTRIES[:1]}, [row(0, 1, 2, 1)]) == []
