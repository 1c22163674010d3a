"""A file that was written anew is seen to be another one."""

import os
from pathlib import Path

import pytest

from sequencer.looks import looks


@pytest.mark.parametrize("text", ["one", "two!", "two"])
def test_a_file_that_takes_the_place_of_another_looks_other(tmp_path: Path, text: str):
    """Also at the same time, and with as many bytes."""
    path, other = tmp_path / "venue.toml", tmp_path / "new"
    path.write_text("one")
    before, at_ns = looks(path), path.stat().st_mtime_ns
    other.write_text(text)
    os.utime(other, ns=(at_ns, at_ns))
    other.replace(path)

    assert looks(path) != before


def test_a_file_that_is_not_there_looks_like_none(tmp_path: Path):
    """And one that stays looks the same."""
    path = tmp_path / "venue.toml"
    assert looks(path) == ()
    path.write_text("one")
    assert looks(path) == looks(path) != ()
