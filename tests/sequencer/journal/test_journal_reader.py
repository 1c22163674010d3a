"""Reading while another process writes."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from sequencer.errors import CorruptJournalError, JournalError
from sequencer.journal import Journal, JournalReader
from tests.models.entries import CLUSTER, chain, dense
from tests.models.faulty_disk import FaultyDisk
from tests.models.journals import HOME, disk_with, encoded, open_on

FOLLOW = """
import hashlib, sys, time
from sequencer.journal import JournalReader
reader, next_index, digest = JournalReader(sys.argv[1]), 1, hashlib.sha256()
deadline = time.monotonic() + 60
print("ready", flush=True)
while next_index <= int(sys.argv[2]) and time.monotonic() < deadline:
    for data in reader.read(next_index, int(sys.argv[2]), 5000):
        digest.update(data)
        next_index += 1
print(next_index - 1, digest.hexdigest())
"""


def test_another_process_follows_the_writer(tmp_path: Path):
    """A reader in another process gets every entry, byte by byte, while it is written, over many segments."""
    entries = chain([dense(100 + salt * 37 % 900, salt) for salt in range(400)])
    command = [sys.executable, "-c", FOLLOW, tmp_path / "journal", "400"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        journal = Journal.open(tmp_path / "journal", CLUSTER, segment_bytes=16 << 10)
        for at in range(0, 400, 4):
            journal.append(entries[at : at + 4], 0)
        told = other.stdout.read().split()
    journal.close()

    assert told == ["400", hashlib.sha256(b"".join(encoded(entries))).hexdigest()]


def test_a_journal_that_is_not_there_yet_is_empty():
    """A reader may be started before its node."""
    disk = FaultyDisk()
    reader = JournalReader(HOME, CLUSTER, disk=disk)
    assert (reader.read(1, 9, 1000), reader.last_index) == ([], 0)

    journal = open_on(disk)
    entries = chain([b"a", b"b", b"c"])
    journal.append(entries, 2)
    assert (reader.read(1, 2, 1000), reader.last_index, reader.commit_index) == (encoded(entries[:2]), 3, 2)


def test_the_limit_is_kept():
    """Entries beyond the limit are not handed out, though they are there."""
    entries = chain([dense(200, salt) for salt in range(20)])
    reader = JournalReader(HOME, disk=disk_with([entries[:9], entries[9:]]))

    assert reader.read(3, 11, 1 << 20) == encoded(entries[2:11])
    assert reader.read(12, 11, 1 << 20) == []


def test_a_reader_follows_a_truncation():
    """A reader that knew the dropped entries sees the new ones in their place."""
    disk = FaultyDisk()
    journal, reader = open_on(disk), JournalReader(HOME, disk=disk)
    entries = chain([dense(200, salt) for salt in range(20)])
    journal.append(entries, 0)
    reader.refresh()
    journal.truncate_after(7)
    newer = chain([dense(50)], after=entries[6], term=2)
    journal.append(newer, 0)

    assert reader.read(6, 99, 1 << 20) == encoded([*entries[5:7], *newer])


@pytest.mark.parametrize("sector", range(4))
def test_a_group_in_the_making_is_not_seen(sector: int):
    """As long as any part of the last group is missing, a reader gets what is before it."""
    entries = chain([dense(100), dense(1600)])
    disk = disk_with([entries[:1], entries[1:]])
    at = 1024 + 512 * sector
    whole = bytes(disk.contents(HOME / "00000001.seg")[at : at + 512])
    disk.damage(HOME / "00000001.seg", at, bytes(512))
    reader = JournalReader(HOME, disk=disk)
    before = reader.read(1, 9, 1 << 20)
    disk.damage(HOME / "00000001.seg", at, whole)

    assert (before, reader.read(1, 9, 1 << 20)) == (encoded(entries[:1]), encoded(entries))


def test_a_reader_names_damage():
    """A group that no longer reads back is an error with its place, never a silent end."""
    entries = chain([dense(900, salt) for salt in range(12)])
    disk = disk_with([[entry] for entry in entries])
    disk.damage(HOME / "00000002.seg", 700, b"\0")

    with pytest.raises(CorruptJournalError, match=r"00000002\.seg offset 512: entries 3 to 3"):
        JournalReader(HOME, disk=disk).read(1, 99, 1 << 20)


def test_a_reader_refuses_another_cluster():
    """A reader that expects a cluster takes no other's directory."""
    disk = disk_with([chain([b"a"])])

    with pytest.raises(JournalError, match="belongs to cluster"):
        JournalReader(HOME, b"another cluster!", disk=disk).read(1, 9, 1000)


def test_a_reader_notices_that_its_last_segment_was_set_aside():
    """Its number comes again, for a segment with other bytes: the reader begins anew."""
    entries = chain([dense(900, salt) for salt in range(12)])
    disk = disk_with([[entry] for entry in entries], segment_bytes=3072)
    reader = JournalReader(HOME, CLUSTER, disk=disk)
    assert reader.read(1, 12, 1 << 20) == encoded(entries)
    disk.damage(HOME / "00000003.seg", 800, b"\xff\xff\xff")
    salts = iter(range(100, 200))
    journal = Journal.open(
        HOME, CLUSTER, segment_bytes=3072, salt=lambda size: bytes([next(salts)]) * size, disk=disk, keep_damaged=True
    )
    held = journal.last_index
    more = chain([dense(900, salt + 50) for salt in range(12)], after=entries[held - 1], term=4)
    for entry in more:
        journal.append([entry], held)

    assert 0 < held < 12
    assert reader.read(1, held + 12, 1 << 20) == encoded(entries[:held] + more)
