"""What a node snapshot holds is what the log says, and a damaged one is none."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sequencer.envelope import CONTROL, NO_DIGEST, Batch, encode_batch
from sequencer.journal.disk import replace_file
from sequencer.members import Member, Members
from sequencer.raft import Log
from sequencer.sessions import DIGESTS_REMEMBERED, Position, Sessions
from sequencer.snapshot import SNAPSHOT_NAME, forget_snapshot, read_snapshot, take_snapshot, write_snapshot
from tests.models.entries import CLUSTER, chain, dense
from tests.models.faulty_disk import FaultyDisk

HOME = Path("/journal")
FOUNDERS = Members.founding(Member(name, name.encode() * 16) for name in "abc")


def history(steps: list[tuple[str, int, int]]) -> Sessions:
    """A table after entries with batches of two senders, openings, commits and dropped tails."""
    table, at, index = Sessions(), {name: [Position()] for name in "xy"}, 0
    marks = [dict.fromkeys("xy", 1)]
    committed = 0
    for name, count, what in steps:
        if what == 0:
            index = max(committed, index - count)
            table.truncate(index)
            del marks[index + 1 :]
            for sender, positions in at.items():
                del positions[marks[index][sender] :]
        elif what == 1:
            committed = min(index, committed + count)
            table.commit(committed)
        else:
            batches = [_next(name, at[name], opens=what == 2) for _ in range(count)]
            index += 1
            table.append(index, batches)
            marks.append({sender: len(positions) for sender, positions in at.items()})
    return table


def _next(sender: str, positions: list[Position], *, opens: bool) -> Batch:
    at = positions[-1]
    if opens:
        batch = encode_batch(sender, CONTROL, at.number, b"o", count=1, incarnation=at.incarnation + 1)
        positions.append(Position(batch.incarnation, at.number, at.digest))
        return batch
    batch = encode_batch(sender, 1, at.number + 1, b"payload", count=1, incarnation=at.incarnation, previous=at.digest)
    positions.append(Position(at.incarnation, batch.number, batch.digest))
    return batch


STEPS = st.lists(st.tuples(st.sampled_from("xy"), st.integers(1, 4), st.integers(0, 5)), max_size=40)


@given(STEPS)
def test_a_table_is_resumed_as_it_was_committed(steps: list[tuple[str, int, int]]):
    """Positions and remembered digests, whatever was appended and dropped before."""
    table = history(steps)
    resumed = Sessions.resumed(table.committed_state())

    table.truncate(0)
    assert resumed.committed_state() == table.committed_state()
    for sender in "xy":
        for number in range(12):
            repeat = encode_batch(sender, 1, number, b"other", count=1, incarnation=table.position(sender).incarnation)
            assert resumed.judge(repeat, {}) is table.judge(repeat, {})


def test_as_many_digests_are_resumed_as_are_remembered():
    """And none that only a tail told."""
    table, positions = Sessions(), [Position()]
    for index in range(1, DIGESTS_REMEMBERED + 40):
        table.append(index, [_next("x", positions, opens=False)])
    table.commit(DIGESTS_REMEMBERED + 30)
    [state] = table.committed_state()

    size = len(NO_DIGEST)
    assert len(state.digests) == DIGESTS_REMEMBERED * size
    assert state.digests[-size:] == state.digest == positions[DIGESTS_REMEMBERED + 30].digest


def test_a_log_is_resumed_at_any_entry():
    """Terms, the group and the end are those of the log that was read, and it goes on alike."""
    entries = chain([dense(9, salt) for salt in range(4)], term=2)
    entries += chain([dense(9, salt) for salt in range(4)], after=entries[-1], term=5)
    data = [entry.data for entry in entries]
    whole = Log.of(FOUNDERS, entries, lambda first, _bytes: data[first - 1 :])
    for index in range(1, len(entries) + 1):
        resumed = Log.resumed(whole.state_at(index), entries[index - 1], lambda first, _bytes: data[first - 1 :])
        assert (resumed.last_index, resumed.last_digest) == (index, entries[index - 1].digest)
        for entry in entries[index:]:
            resumed.append(entry)
        assert resumed.state_at(len(entries)) == whole.state_at(len(entries))
        assert [resumed.term_at(at) for at in range(10)] == [whole.term_at(at) for at in range(10)]
        assert (resumed.last_index, resumed.next_sequence) == (whole.last_index, whole.next_sequence)


def written() -> tuple[FaultyDisk, object]:
    disk, table, positions = FaultyDisk(), Sessions(), [Position()]
    disk.make_directory(HOME)
    entries = chain([dense(30, 1), dense(30, 2)])
    for entry in entries:
        table.append(entry.index, [_next("x", positions, opens=False)])
    table.commit(2)
    snapshot = take_snapshot(Log.of(FOUNDERS, entries), table, segment=3, index=2)
    write_snapshot(disk, HOME, CLUSTER, snapshot)
    return disk, snapshot


def test_a_snapshot_reads_back():
    """Of this cluster only, and until it is forgotten."""
    disk, snapshot = written()

    assert read_snapshot(disk, HOME, CLUSTER) == snapshot
    assert read_snapshot(disk, HOME, b"another cluster!") is None
    forget_snapshot(disk, HOME)
    assert read_snapshot(disk.durable(), HOME, CLUSTER) is None


def test_a_damaged_snapshot_is_none():
    """Every flipped bit and every truncation."""
    disk, _snapshot = written()
    whole = bytes(disk.contents(HOME / SNAPSHOT_NAME))
    damaged = [whole[:at] for at in range(len(whole))]
    damaged += [
        whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :] for at in range(len(whole)) for bit in range(8)
    ]
    for data in damaged:
        replace_file(disk, HOME / SNAPSHOT_NAME, data)
        assert read_snapshot(disk, HOME, CLUSTER) is None
