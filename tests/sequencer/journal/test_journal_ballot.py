"""The ballot: never forgotten, never taken for another's; and the identity of the disk that holds it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencer.errors import ConfigError, CorruptJournalError, JournalError
from sequencer.journal import Ballot, BallotBox
from tests.models.entries import CLUSTER
from tests.models.faulty_disk import Crashed, FaultyDisk
from tests.models.journals import HOME

names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=24)
ballots = st.builds(Ballot, st.integers(0, 2**64 - 1), st.none() | names)


def box_on(disk: FaultyDisk, node: str = "node-1", cluster: bytes = CLUSTER) -> BallotBox | None:
    return BallotBox.open(HOME, node, cluster, disk=disk)


def made(disk: FaultyDisk, node: str = "node-1") -> BallotBox:
    return BallotBox.create(HOME, node, CLUSTER, salt=lambda size: b"\x07" * size, disk=disk)


@given(st.lists(ballots, max_size=5), names)
def test_the_last_ballot_saved_is_read_back(saved: list[Ballot], node: str):
    """Whatever was saved before it; a new box has term 0 and no vote, and keeps its identity."""
    disk = FaultyDisk()
    box = made(disk, node)
    for ballot in saved:
        box.save(ballot)
    again = box_on(disk, node)

    assert (again.ballot, again.identity) == ([Ballot(0, None), *saved][-1], box.identity)


def test_where_none_was_made_there_is_none():
    """A blank directory has no ballot box; making a second one is refused."""
    disk = FaultyDisk()

    assert box_on(disk) is None
    made(disk)
    with pytest.raises(ConfigError, match="a node's directory already"):
        made(disk)


@pytest.mark.parametrize(("node", "cluster"), [("node-2", CLUSTER), ("node-1", b"another cluster!")])
def test_a_box_of_another_is_refused(node: str, cluster: bytes):
    """A directory that was moved or mixed up is not voted from."""
    disk = FaultyDisk()
    made(disk)

    with pytest.raises(ConfigError, match="give this node its own directory"):
        box_on(disk, node, cluster)


def test_every_flipped_bit_is_refused():
    """A ballot that may be wrong is no ballot, whichever of the two slots it is in."""
    disk = FaultyDisk()
    made(disk).save(Ballot(7, "node-2"))
    raw = bytes(disk.contents(HOME / "ballot"))
    for place in range(len(raw) * 8):
        wrong = bytes([raw[place // 8] ^ 1 << place % 8])
        disk.damage(HOME / "ballot", place // 8, wrong)
        with pytest.raises(CorruptJournalError, match="may have voted"):
            box_on(disk)
        disk.damage(HOME / "ballot", place // 8, raw[place // 8 : place // 8 + 1])


@pytest.mark.parametrize("survives", [True, False])
def test_a_crash_at_any_operation_leaves_the_old_ballot_or_the_new(survives: bool):
    """Or, before the box was made, none."""
    for crash_at in range(1, 40):
        disk = FaultyDisk(crash_at=crash_at)
        done = [None]
        try:
            box = made(disk)
            for term in range(1, 4):
                done.append(Ballot(term - 1, None))
                box.save(Ballot(term, None))
        except Crashed:
            found = box_on(disk.after_crash(lambda _place: survives, names_kept=9 * survives))
            last = done[-1]
            assert (found and found.ballot) in (last, last and Ballot(last.term + 1, None), last or Ballot(0, None))


def test_a_ballot_is_saved_on_a_full_disk():
    """Its room was taken when the box was made."""
    disk = FaultyDisk()
    box = made(disk)
    disk.capacity_bytes = 0
    box.save(Ballot(3, "node-3"))

    assert box_on(disk).ballot == Ballot(3, "node-3")


def test_a_ballot_that_cannot_be_saved_stops_the_node():
    """A vote that is not durable is not spoken."""
    disk = FaultyDisk()
    box = made(disk)
    disk.failing["sync"] = 5

    with pytest.raises(JournalError, match="must stop"):
        box.save(Ballot(1, None))

    del disk.failing["sync"]
    with pytest.raises(JournalError, match="not usable"):
        box.save(Ballot(1, None))


@pytest.mark.parametrize("survives", [True, False])
def test_a_ballot_that_a_restart_finds_is_durable(survives: bool):
    """Though the sync that was to make it so has failed, and the page only reads as if it had been written."""
    disk = FaultyDisk()
    box = made(disk)
    box.save(Ballot(1, "node-1"))
    disk.failing["sync"] = 5
    with pytest.raises(JournalError):
        box.save(Ballot(2, "node-2"))
    again = disk.after_kill()
    found = box_on(again).ballot

    assert found == Ballot(2, "node-2")
    assert box_on(again.after_crash(lambda _place: survives)).ballot == found


@pytest.mark.parametrize(("source", "to"), [(0, 512), (512, 0)])
def test_a_slot_that_was_written_over_the_other_is_refused(source: int, to: int):
    """A misplaced write must not bring back an older vote, nor pass for both."""
    disk = FaultyDisk()
    box = made(disk)
    for term in range(1, 4):
        box.save(Ballot(term, "node-2"))
    sectors = bytes(disk.contents(HOME / "ballot"))
    disk.damage(HOME / "ballot", to, sectors[source : source + 512])

    with pytest.raises(CorruptJournalError, match="not follow each other"):
        box_on(disk)


def test_slots_that_changed_places_are_refused():
    """The next save would write over the newer one."""
    disk = FaultyDisk()
    made(disk).save(Ballot(7, "node-2"))
    sectors = bytes(disk.contents(HOME / "ballot"))
    disk.damage(HOME / "ballot", 0, sectors[512:] + sectors[:512])

    with pytest.raises(CorruptJournalError, match="not follow each other"):
        box_on(disk)


def test_a_box_is_made_in_a_real_directory(tmp_path: Path):
    """With the identity that it was given, for good."""
    identity = BallotBox.create(tmp_path / "node-1", "node-1", CLUSTER).identity

    assert BallotBox.open(tmp_path / "node-1", "node-1", CLUSTER).identity == identity
