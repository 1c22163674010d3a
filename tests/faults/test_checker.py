"""The checker finds what it is there to find: each rule, broken by hand in a forged history."""

import json
from pathlib import Path
from typing import Any

import pytest

from sequencer.envelope import Entry, encode_batch, encode_entry
from tests.faults.checker import check
from tests.models.entries import chain, entry_after

ENTRIES = chain([b"a", b"b", b"c"])
FIRST = ENTRIES[0]
LINKED = encode_batch("tests", 1, 2, b"b", count=1, previous=FIRST.batches()[0].digest)

Rows = list[dict[str, Any]]


def history(directory: Path, logs: dict[str, list[Entry]], rows: Rows, leaders: str = "aabb") -> list[str]:
    """What the checker says of a history; `leaders` led in terms 1, 1, 2 and 2."""
    for name, entries in logs.items():
        (directory / f"{name}.log").write_bytes(b"".join(entry.data for entry in entries))
    write(directory / "leaders.jsonl", [{"term": 1 + place // 2, "leader": each} for place, each in enumerate(leaders)])
    write(directory / "submitted.jsonl", rows)
    return check(directory)


def write(path: Path, rows: Rows) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def row(place: int, began_ns: int, seen_ns: int, seen_index: int) -> dict[str, Any]:
    batch = ENTRIES[place].batches()[0]
    return {
        "sender": batch.sender, "number": batch.number, "digest": batch.digest.hex(), "began_ns": began_ns,
        "seen_ns": seen_ns, "seen_index": seen_index,
    }  # fmt: skip


def second(**changes: Any) -> Entry:
    """An entry that could follow the first but for these fields."""
    fields: dict[str, Any] = {
        "cluster": FIRST.cluster, "term": 1, "index": 2, "first_sequence": 2, "time_ns": 2, "previous": FIRST.digest,
    }  # fmt: skip
    return encode_entry([LINKED], **fields | changes)


def damaged(entry: Entry, at: int) -> Entry:
    data = bytearray(entry.data)
    data[at] ^= 1
    entry.data = bytes(data)
    return entry


@pytest.mark.parametrize(
    ("logs", "rows", "says"),
    [
        ({"x": ENTRIES, "y": [FIRST, entry_after(FIRST, b"other")]}, [], "another entry 2"),
        ({"x": ENTRIES[1:]}, [], "where 1 is due"),
        ({"x": [FIRST, ENTRIES[2]]}, [], "where 2 is due"),
        ({"x": [FIRST, FIRST]}, [], "where 2 is due"),
        ({"x": ENTRIES}, [], "does not follow number"),
        ({"x": ENTRIES[:2]}, [row(2, 1, 2, 3)], "is in none"),
        ({"x": ENTRIES}, [row(2, 1, 2, 3), row(0, 5, 0, 0)], "submitted after entry 3"),
        ({"x": ENTRIES, "y": [FIRST]}, [row(2, 1, 2, 3)], "y ends with entry 1"),
        ({"x": [FIRST, second()]}, [row(0, 1, 2, 1)], "batch 2 of tests in entry 2 was submitted by nobody"),
        ({"x": [FIRST, second(first_sequence=3)]}, [], "gap of sequence numbers"),
        ({"x": [FIRST, second(time_ns=0)]}, [], "back in time"),
        ({"x": [FIRST, second(term=0)]}, [], "back in time or term"),
        ({"x": [FIRST, second(previous=bytes(32))]}, [], "does not link"),
        ({"x": [FIRST, second(cluster=bytes(16))]}, [], "another group"),
        ({"x": [second(index=1)]}, [], "does not begin a log"),
        ({"x": [damaged(second(), -1)]}, [], "no whole entry"),
    ],
)
def test_what_is_broken_is_found(logs, rows, says, tmp_path: Path):
    """And named."""
    assert any(says in line for line in history(tmp_path, logs, rows))


def test_two_leaders_of_one_term_are_found(tmp_path: Path):
    """And named."""
    assert history(tmp_path, {}, [], leaders="aabc") == ["b and c both led in term 2"]


def test_what_is_right_passes(tmp_path: Path):
    """Two entries, seen by two, one of them acknowledged."""
    log = [FIRST, second()]

    assert (
        history(tmp_path, {"x": log, "y": log}, [row(0, 1, 2, 1), row(1, 2, 0, 0) | {"digest": LINKED.digest.hex()}])
        == []
    )
