"""A full disk stops intake, not the venue: it is told, nothing is lost, and intake resumes by itself."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateways.flow import generate
from tests.models.running import Running, by_instrument, make, read_events, tagged, until

LINES = list(generate.lines(seed=9, count=4000, instruments=2, clients=4))
DISK_BYTES = 12 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of a few MB."""
    path = tmp_path / "disk"
    path.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_stops_intake_until_there_is_room(small_disk: Path, tmp_path: Path):
    """The node says `full`; when space is freed the flow goes on, and its events are as if nothing had been."""
    config = make(small_disk, segment_bytes="65536", reserve_bytes="16384")
    with Running(config).start() as venue:
        undisturbed = by_instrument(venue.events(tagged(LINES, "ref-")), "ref-")
        filler = small_disk / "filler"
        fill(filler, small_disk)
        out = tmp_path / "events.jsonl"
        with venue.sending(LINES, "--events", str(out)) as flow:
            until(lambda: venue.row("node-1")["state"] == "full", "node-1 says that its disk is full")
            health = venue.run("health")
            pids = venue.pids
            filler.unlink()
            flow()
        venue.await_well()

        assert (health.returncode, "node node-1 is full" in health.stdout) == (1, True)
        assert venue.pids == pids
        assert by_instrument(read_events(out)) == undisturbed
        assert set(venue.agreement()) == {"matching.0", "credit.0"}


def fill(filler: Path, disk: Path) -> None:
    """Take all that is free: the journal has the rest of its segment and one that is made in advance."""
    free = os.statvfs(disk)
    filler.write_bytes(bytes(free.f_bavail * free.f_bsize))
