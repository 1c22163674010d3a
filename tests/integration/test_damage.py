"""The journal of a killed node: what a crash leaves is cut, what rots is found, named and refused."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from sequencer.journal import verify
from tests.models.running import Running, Stream, complaint, last_words, make, without_processes

SECTOR_BYTES = 512
FIRST_ENTRY = SECTOR_BYTES + 64
CHANNEL = 1


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[Running]:
    """A node with thirty batches of 700 bytes in its journal, killed with its replayer."""
    make(tmp_path / "v")
    with Running(without_processes(tmp_path / "v")).start() as venue:
        assert submit(venue, "gateway.before", 30) == 30
        venue.kill_all()
        yield venue


def submit(venue: Running, sender: str, count: int) -> int:
    """Submit batches one by one; return how many batches the log holds then, of all senders."""
    with Stream(venue.config) as stream:
        submitter = stream.speak_as(sender)
        for number in range(count):
            submitter.submit(CHANNEL, bytes([number]) * 700, 1)
            stream.settle()
        return len(stream.batches(CHANNEL))


def segment(venue: Running) -> Path:
    return venue.data_dir / "node-1" / "00000001.seg"


def tail_of(path: Path) -> int:
    """Offset of the first sector that was never written."""
    return -(-len(path.read_bytes().rstrip(b"\0")) // SECTOR_BYTES) * SECTOR_BYTES


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def flip_bit(path: Path, offset: int) -> None:
    [byte] = path.read_bytes()[offset : offset + 1]
    overwrite(path, offset, bytes([byte ^ 1]))


def test_a_torn_tail_is_cut(killed: Running):
    """Sectors of a write whose first one never came: the node starts with all that it acknowledged, and goes on."""
    path = segment(killed)
    garbage = random.Random(1).randbytes(3 * SECTOR_BYTES)
    overwrite(path, tail_of(path) + SECTOR_BYTES, garbage)
    torn = verify(path.parent).torn_bytes

    killed.start()

    assert torn == 4 * SECTOR_BYTES
    assert submit(killed, "gateway.after", 5) == 35
    assert killed.run("log", "verify").returncode == 0


def test_a_tail_that_may_have_been_acknowledged_is_refused(killed: Running):
    """A bit flipped in the last group: a group of one refuses to start, names the place, and changes nothing."""
    path = segment(killed)
    flip_bit(path, tail_of(path) - SECTOR_BYTES)
    before = path.read_bytes()
    done = killed.run("node", "node-1")

    assert last_words(done).startswith("the last group in the journal of node-1 ")
    assert "00000001.seg offset" in last_words(done)
    assert path.read_bytes() == before


def test_a_flipped_bit_in_the_middle_is_named_and_refused(killed: Running):
    """The node and `log verify` name the file, the offset and the entries, and change nothing."""
    path = segment(killed)
    flip_bit(path, FIRST_ENTRY + 100)
    before = path.read_bytes()
    done, verified = killed.run("node", "node-1"), killed.run("log", "verify", "-o", "json")

    assert "00000001.seg offset 512: entries 1 to 1 are damaged" in last_words(done)
    assert "00000001.seg offset 512: entries 1 to 1 are damaged" in verified.stdout
    assert (verified.returncode, path.read_bytes() == before) == (1, True)


def test_a_lost_journal_is_not_taken_for_a_new_one(killed: Running):
    """Segments that are gone, beside a ballot that is not: the node refuses, and makes nothing."""
    segment(killed).unlink()
    done = killed.run("node", "node-1")

    verified = killed.run("log", "verify")

    assert "00000001.seg is gone from" in last_words(done)
    assert (verified.returncode, "00000001.seg is gone from" in verified.stdout) == (1, True)
    assert not segment(killed).exists()


def test_a_journal_of_another_cluster_is_refused(killed: Running):
    """The node and `log verify` name both clusters."""
    path = killed.data_dir / "venue.toml"
    path.write_text(path.read_text().replace(killed.config.cluster.hex(), "0" * 32))

    belongs = f"belongs to cluster {killed.config.cluster.hex()}"
    assert f"{belongs}, the configuration says {'0' * 32}" in last_words(killed.run("node", "node-1"), 2)
    assert f"{belongs}, expected {'0' * 32}" in complaint(killed.run("log", "verify"))


def test_a_lone_journal_is_repaired_only_by_giving_up_what_is_damaged(killed: Running):
    """`log repair` says what it would cost; with --accept-loss the node starts with what is whole, and goes on."""
    flip_bit(segment(killed), FIRST_ENTRY + 10)
    refused = complaint(killed.run("log", "repair", "node-1"), 2)
    done = killed.json("log", "repair", "node-1", "--accept-loss")

    assert "--accept-loss" in refused
    assert killed.json("log", "verify")[0]["problem"] == ""
    assert killed.json("log", "info")[0]["last_index"] == done["last_index"]
