"""What a node keeps for blank hosts: whole snapshots of its own group, the latest of each shard, or nothing."""

import hashlib
from pathlib import Path

import pytest

from sequencer.protocol import StoredSnapshot
from sequencer.store import KEPT, PART_BYTES, SnapshotStore
from tests.models.faulty_disk import Crashed, FaultyDisk

CLUSTER = bytes(range(16))
DIRECTORY = Path("/d/node-1-snapshots")
BODY = bytes(range(256)) * (PART_BYTES // 100)


def opened(disk: FaultyDisk, cluster: bytes = CLUSTER, *, room: int = 1 << 40, reserve: int = 0) -> SnapshotStore:
    return SnapshotStore(DIRECTORY, cluster, disk=disk, reserve_bytes=reserve, room_bytes=lambda _path: room)


def snapshot(number: int = 1, body: bytes = BODY, shard: str = "matching.0", made_by: str = "a") -> StoredSnapshot:
    return StoredSnapshot(
        shard, number, number * 10, number * 100, 1, len(body), hashlib.sha256(body).digest(), number * 10 + 1, made_by
    )


def bring(store: SnapshotStore, offered: StoredSnapshot, body: bytes = BODY) -> str:
    """As a replica does; returns why it is not kept, or nothing."""
    offset, why = store.offer(offered)
    while offset >= 0:
        offset, why = store.put(offered.shard, offered.number, offset, body[offset : offset + PART_BYTES])
    return why


def body_in(store: SnapshotStore, number: int, shard: str = "matching.0") -> bytes:
    body = b""
    while part := store.read(shard, number, len(body)):
        body += part
    return body


def test_what_is_brought_is_read_also_after_a_start():
    """Byte for byte, by the process that took it and by the next one."""
    disk = FaultyDisk()
    store = opened(disk)

    assert bring(store, snapshot()) == ""
    for one in (store, opened(disk)):
        assert one.kept() == [snapshot()]
        assert body_in(one, 1) == BODY


def test_the_latest_of_each_shard_stay():
    """Older ones go, and are not taken any more; shards do not count for each other."""
    store = opened(FaultyDisk())
    for number in range(1, KEPT + 3):
        bring(store, snapshot(number))
    bring(store, snapshot(1, shard="credit.0"))

    assert [one.number for one in store.kept("matching.0")] == list(range(3, KEPT + 3))
    assert "later ones are kept" in bring(store, snapshot(1))
    assert [one.number for one in store.kept("credit.0")] == [1]


def test_several_may_bring_the_same():
    """Two that take turns bring one snapshot; a third is told that it is there; what comes twice does no harm."""
    store = opened(FaultyDisk())
    first, second = snapshot(made_by="a"), snapshot(made_by="b")
    offset, _why = store.offer(first)
    offset, _why = store.put("matching.0", 1, offset, BODY[:PART_BYTES])
    assert store.offer(second) == (PART_BYTES, "")
    assert store.put("matching.0", 1, 0, BODY[:PART_BYTES]) == (PART_BYTES, "")

    assert bring(store, second) == ""
    assert store.offer(first) == (-1, "")
    assert body_in(store, 1) == BODY


def test_a_body_that_is_not_what_was_offered_is_not_kept():
    """Its checksum was offered with it."""
    store = opened(FaultyDisk())

    assert "not the one" in bring(store, snapshot(), BODY[:-1] + b"?")
    assert store.kept() == []


@pytest.mark.parametrize(
    ("offered", "why"),
    [
        (snapshot(shard="../matching.0"), "letters"),
        (snapshot(shard=""), "letters"),
        (snapshot(body=b""), "1 to"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_why(offered: StoredSnapshot, why: str):
    """Before any of it is sent."""
    offset, said = opened(FaultyDisk()).offer(offered)

    assert offset == -1
    assert why in said


def test_the_journal_comes_first():
    """A snapshot that would leave the journal less than twice its reserve is not taken."""
    size = len(BODY)

    assert "nearly full" in bring(opened(FaultyDisk(), room=size + 199, reserve=100), snapshot())
    assert bring(opened(FaultyDisk(), room=size + 200, reserve=100), snapshot()) == ""


def test_a_file_of_another_group_is_left_alone_and_told():
    """It is not listed, not served, and not removed."""
    disk = FaultyDisk()
    bring(opened(disk), snapshot())
    stranger = opened(disk, bytes(16))

    assert stranger.kept() == []
    assert "belongs to group" in stranger.damaged["matching.0-1.snapshot"]
    assert opened(disk).kept() == [snapshot()]


def test_what_is_discarded_is_gone():
    """Also after a start; and can be brought again."""
    disk = FaultyDisk()
    store = opened(disk)
    bring(store, snapshot())

    assert store.discard("matching.0", 1) == ""
    assert "no snapshot 1" in store.discard("matching.0", 1)
    assert body_in(store, 1) == b""
    assert opened(disk).kept() == []


@pytest.mark.parametrize("survives", [lambda _place: False, lambda _place: True, lambda place: place % 2 == 0])
def test_a_crash_at_any_moment_keeps_the_old_or_the_new(survives):
    """Whatever survives of what was not synced: each snapshot that is listed is whole."""
    found = []
    for crash_at in range(1, 1 << 20):
        disk = FaultyDisk()
        bring(opened(disk), snapshot(1))
        disk.crash_at = len(disk.operations) + crash_at
        try:
            bring(opened(disk), snapshot(2))
            break
        except Crashed:
            disk = disk.after_crash(survives, names_kept=crash_at % 3)
        store = opened(disk)
        found.append([one.number for one in store.kept()])
        assert store.damaged == {}
        assert all(body_in(store, one.number) == BODY for one in store.kept())
    assert {*map(tuple, found)} <= {(1,), (1, 2)}
    assert [1] in found


def test_no_flipped_bit_of_a_head_passes():
    """A head that rotted is told as damaged, and what it described is not served."""
    disk = FaultyDisk()
    bring(opened(disk), snapshot(body=b"small"), b"small")
    path = DIRECTORY / "matching.0-1.snapshot"
    whole = bytes(disk.contents(path))
    for bit in range((len(whole) - len(b"small")) * 8):
        disk.damage(path, bit // 8, bytes([whole[bit // 8] ^ 1 << bit % 8]))
        store = opened(disk)
        assert (store.kept(), list(store.damaged)) == ([], [path.name]), bit
        disk.damage(path, bit // 8, whole[bit // 8 : bit // 8 + 1])
