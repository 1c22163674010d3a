"""Journals on a disk in memory."""

from collections.abc import Callable, Sequence
from pathlib import Path

from sequencer.envelope import Entry
from sequencer.journal import Journal
from tests.models.entries import CLUSTER
from tests.models.faulty_disk import FaultyDisk

HOME = Path("/journal")
SEGMENT_BYTES = 4096


def counting_salt() -> Callable[[int], bytes]:
    """Salts that differ from each other and are the same in every run."""
    numbers = iter(range(1, 1 << 30))
    return lambda size_bytes: (next(numbers) * 0x9E3779B97F4A7C15 % (1 << 64)).to_bytes(size_bytes, "little")


def open_on(disk: FaultyDisk, *, segment_bytes: int = SEGMENT_BYTES, keep_damaged: bool = False) -> Journal:
    """The journal on a disk in memory."""
    return Journal.open(
        HOME, CLUSTER, segment_bytes=segment_bytes, salt=counting_salt(), disk=disk, keep_damaged=keep_damaged
    )


def disk_with(groups: Sequence[Sequence[Entry]], *, segment_bytes: int = SEGMENT_BYTES) -> FaultyDisk:
    """A disk with a journal of these groups that was closed."""
    disk = FaultyDisk()
    journal = open_on(disk, segment_bytes=segment_bytes)
    for group in groups:
        journal.append(group, group[0].index - 1)
    journal.close()
    return disk


def held_by(journal: Journal) -> list[bytes]:
    """All entries of a journal, encoded."""
    return journal.read(journal.first_index, 1 << 40)


def encoded(entries: Sequence[Entry]) -> list[bytes]:
    """The entries as `held_by` gives them."""
    return [entry.data for entry in entries]
