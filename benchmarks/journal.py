"""What the journal costs: CPU of an append beside its sync, the sync itself, and the speed of recovery.

    python -m benchmarks.journal --dir DIRECTORY_ON_A_DISK

CPU is this process's, user and system. The bare loop makes the same write and sync without a
journal, on a file that was prepared in the same way: the difference is what the journal adds.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.report import print_rows
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


def bench_appends(home: Path, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Microseconds for each append, by size of the group."""
    rows: dict[str, list[dict[str, float]]] = {}
    for name, (entries_per_group, payload_bytes) in GROUPS.items():
        group_bytes = entries_per_group * (payload_bytes + 272)
        count = max(20, min(2000, (SEGMENT_BYTES // 2 - 8192) // (group_bytes + 1024)))
        entries = chain(count * entries_per_group, payload_bytes)
        groups = [entries[at : at + entries_per_group] for at in range(0, len(entries), entries_per_group)]
        rows[name] = [append_figures(home, groups) for _ in range(rounds)]
    return rows


def append_figures(home: Path, groups: list[list[Entry]]) -> dict[str, float]:
    """One round: with syncs left out for CPU, with a few hundred real ones for the time that passes."""
    synced = groups[:200]
    return {
        "journal, CPU us": append_all(home, groups, UnsyncedDisk(), time.process_time_ns),
        "bare, CPU us": write_all(home, groups, UnsyncedDisk(), time.process_time_ns),
        "journal with sync, us": append_all(home, synced, LOCAL_DISK, time.perf_counter_ns),
        "bare with sync, us": write_all(home, synced, LOCAL_DISK, time.perf_counter_ns),
    }


def bench_recovery(home: Path, rounds: int) -> dict[str, list[dict[str, float]]]:
    """MB/s at which a journal of full segments opens, reads back and verifies."""
    shutil.rmtree(home, ignore_errors=True)
    journal = Journal.open(home, CLUSTER, segment_bytes=SEGMENT_BYTES, disk=UnsyncedDisk())
    entries = chain(20_000, 6_250)
    for entry in entries:
        journal.append([entry], 0)
    journal.close()
    size_mb = sum(len(entry.data) for entry in entries) / 1e6
    works = {"open": open_once, "read": read_all, "verify": verify_all}
    speeds = [
        {
            f"{name}, MB/s": size_mb / each_us(partial(work, home), 1, time.perf_counter_ns) * 1e6
            for name, work in works.items()
        }
        for _ in range(rounds)
    ]
    return {f"{size_mb:.0f} MB, groups of 6.5 KB": speeds}


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
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as scratch:
        home = Path(scratch) / "journal"
        print_rows("journal append", bench_appends(home, options.rounds), as_json=options.json)
        print_rows("journal recovery", bench_recovery(home, options.rounds), as_json=options.json)


if __name__ == "__main__":
    main()
