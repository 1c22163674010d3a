"""What the journal costs: CPU of an append beside its sync, the sync itself, and the speed of recovery.

    python benchmarks/journal.py --dir DIRECTORY_ON_A_DISK

CPU is this process's, user and system. The bare loop makes the same write and sync without a
journal, on a file that was prepared in the same way: the difference is what the journal adds.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sequencer import envelope
from sequencer.envelope import Entry
from sequencer.journal import Journal, JournalReader, verify
from sequencer.journal.disk import LOCAL_DISK, LocalDisk
from sequencer.journal.segment import make_blank

CLUSTER = b"cluster-of-bench"
SEGMENT_BYTES = 64 << 20
GROUPS = {
    "1 x 0.5 KB": (1, 256),
    "1 x 6.5 KB": (1, 6_250),
    "32 x 6.5 KB": (32, 6_250),
    "1 x 200 KB": (1, 200_000),
}


class UnsyncedDisk(LocalDisk):
    """Leaves out the syncs, so that only the CPU of everything else is measured."""

    def sync(self, fd: int) -> None:
        pass


def chain(count: int, payload_bytes: int) -> list[Entry]:
    """Entries of one batch each, of random bytes."""
    entries: list[Entry] = []
    previous = envelope.NO_DIGEST
    for index in range(1, count + 1):
        batch = envelope.encode_batch("bench", 1, index, os.urandom(payload_bytes), count=100)
        entry = envelope.encode_entry(
            [batch],
            cluster=CLUSTER,
            term=1,
            index=index,
            first_sequence=index * 100,
            time_ns=index,
            previous=previous,
        )
        previous = entry.digest
        entries.append(entry)
    return entries


def spread(values: list[float]) -> str:
    """Median, and the smallest and largest value."""
    return f"{statistics.median(values):8.1f}  ({min(values):.1f} to {max(values):.1f})"


def each_us(work: Callable[[], None], count: int, clock: Callable[[], int]) -> float:
    """Microseconds of a clock that each of `count` pieces of work takes."""
    begin = clock()
    work()
    return (clock() - begin) / count / 1000


def append_all(home: Path, groups: list[list[Entry]], disk: LocalDisk, clock: Callable[[], int]) -> float:
    """Microseconds for each append to a fresh journal."""
    shutil.rmtree(home, ignore_errors=True)
    journal = Journal.open(home, CLUSTER, segment_bytes=SEGMENT_BYTES, disk=disk)

    def work() -> None:
        for group in groups:
            journal.append(group, 0)

    try:
        return each_us(work, len(groups), clock)
    finally:
        journal.close()


def write_all(home: Path, groups: list[list[Entry]], disk: LocalDisk, clock: Callable[[], int]) -> float:
    """Microseconds for each write and sync of the same bytes, without a journal."""
    home.mkdir(exist_ok=True)
    fd = make_blank(LOCAL_DISK, home / "bare", SEGMENT_BYTES)

    def work() -> None:
        offset = 0
        for group in groups:
            parts = [entry.data for entry in group]
            disk.pwritev(fd, parts, offset)
            disk.sync(fd)
            offset += -(-sum(map(len, parts)) // 512) * 512

    try:
        return each_us(work, len(groups), clock)
    finally:
        os.close(fd)


def bench_appends(home: Path, rounds: int) -> None:
    """Print what appends cost, by size of the group."""
    print("one append, us: median (smallest to largest)")
    for name, (entries_per_group, payload_bytes) in GROUPS.items():
        group_bytes = entries_per_group * (payload_bytes + 272)
        count = max(20, min(2000, (SEGMENT_BYTES // 2 - 8192) // (group_bytes + 1024)))
        entries = chain(count * entries_per_group, payload_bytes)
        groups = [entries[at : at + entries_per_group] for at in range(0, len(entries), entries_per_group)]
        synced = groups[:200]
        runs: dict[str, list[float]] = {
            "journal CPU": [],
            "bare CPU": [],
            "journal wall": [],
            "bare wall": [],
        }
        for _ in range(rounds):
            runs["journal CPU"].append(append_all(home, groups, UnsyncedDisk(), time.process_time_ns))
            runs["bare CPU"].append(write_all(home, groups, UnsyncedDisk(), time.process_time_ns))
            runs["journal wall"].append(append_all(home, synced, LOCAL_DISK, time.perf_counter_ns))
            runs["bare wall"].append(write_all(home, synced, LOCAL_DISK, time.perf_counter_ns))
        for what, values in runs.items():
            print(f"  {name:12} {what:13} {spread(values)}")


def bench_recovery(home: Path, rounds: int) -> None:
    """Print how fast a journal of full segments opens, reads back and verifies."""
    shutil.rmtree(home, ignore_errors=True)
    journal = Journal.open(home, CLUSTER, segment_bytes=SEGMENT_BYTES, disk=UnsyncedDisk())
    entries = chain(20_000, 6_250)
    for entry in entries:
        journal.append([entry], 0)
    journal.close()
    size_mb = sum(len(entry.data) for entry in entries) / 1e6
    print(f"a journal of {size_mb:.0f} MB in groups of 6.5 KB, MB/s: median (smallest to largest)")
    works = {
        "open": lambda: open_once(home),
        "read": lambda: read_all(home),
        "verify": lambda: verify_all(home),
    }
    for name, work in works.items():
        speeds = [size_mb / (each_us(work, 1, time.perf_counter_ns) / 1e6) for _ in range(rounds)]
        print(f"  {name:12} {spread(speeds)}")


def open_once(home: Path) -> None:
    """Recover."""
    Journal.open(home, CLUSTER, segment_bytes=SEGMENT_BYTES).close()


def read_all(home: Path) -> None:
    """Read every entry as the replayer does."""
    reader, index = JournalReader(home), 1
    while found := reader.read(index, 1 << 62, 1 << 20):
        index += len(found)


def verify_all(home: Path) -> None:
    """Check every entry."""
    assert verify(home).is_sound


def main() -> None:
    """Run both parts in a scratch directory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dir", help="a directory on the disk to measure; a scratch directory is made in it")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as scratch:
        bench_appends(Path(scratch) / "journal", options.rounds)
        bench_recovery(Path(scratch) / "journal", options.rounds)


if __name__ == "__main__":
    main()
