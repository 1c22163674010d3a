"""A short form of `python -m tests.faults.fuzz`."""

from pathlib import Path

from tests.faults.fuzz import UNBOUNDED, Fuzz
from tests.models.knocking import make_open
from tests.models.running import Running

FRAMES = 50_000


def test_hostile_frames_end_nothing(tmp_path: Path):
    """Whatever comes in at any door, with a key or without: the same processes go on, are well, and trade."""
    with Running(make_open(tmp_path / "v", UNBOUNDED)).start() as venue, Fuzz(venue, seed=2) as fuzz:
        while fuzz.done < FRAMES:
            fuzz.burst()

        assert fuzz.judge() == []
