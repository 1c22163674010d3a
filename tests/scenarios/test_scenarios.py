"""Every transcript goes as it says."""

import os
from pathlib import Path

import pytest

from tests.scenarios.runner import play

HERE = Path(__file__).parent
TRANSCRIPTS = sorted(HERE.glob("*/*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_it_goes_as_written(path: Path):
    """What the commands print is what stands in the file."""
    text = path.read_text()
    played = play(text)
    if os.environ.get("REWRITE"):
        path.write_text(played)

    assert played == text


def test_there_are_enough():
    """Two hundred and more, each of which says at its top what can go wrong."""
    assert len(TRANSCRIPTS) >= 200
    assert all(path.read_text().startswith("# ") for path in TRANSCRIPTS)
