"""A message at which replicas stop: found, shown, done again, and what followed from it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.forensics import poisoned
from tests.models.odd import odd_venue, say
from tests.models.running import Running, complaint, until


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Running]:
    with odd_venue(tmp_path, "odd-1", "odd-2") as started:
        yield started


def listed(venue: Running, verdict: str) -> dict[str, Any]:
    """The one line of `poison list`, once both replicas are in it."""

    def found() -> dict[str, Any]:
        rows = poisoned(venue.config)
        return rows[0] if rows and rows[0]["replicas"] == "odd-1 odd-2" and rows[0]["verdict"] == verdict else {}

    return until(found, f"both are {verdict}")


def again(venue: Running, sequence: int, *words: str) -> tuple[int, dict[str, Any]]:
    """`poison reproduce`, as JSON: its exit code and what it says."""
    env = {**os.environ, "PYTHONPATH": str(venue.data_dir.parent)}
    done = venue.run("poison", "reproduce", str(sequence), "--machine", "odd:Odd", *words, "-o", "json", env=env)
    assert done.stderr == "", done
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("with_snapshot", [False, True])
def test_the_message_is_found_among_many(venue: Running, with_snapshot: bool):
    """One of nine in a batch raises: which one is told by itself, from the beginning of the log or from a snapshot."""
    say(venue, "fine", "fine")
    if with_snapshot:
        assert venue.run("snapshot", "take").returncode == 0
    last = say(venue, *["fine"] * 4, "fail", *["fine"] * 4, together=True)
    row = until(lambda: (found := listed(venue, "halted")) and found["message"] and found, "it is located")
    assert (row["sequence"], row["message"]) == (last - 4, "CancelOrder")
    assert f"ValueError: no such thing, at sequence {last - 4:,}" in row["why"]
    code, outcome = again(venue, last - 4)

    assert (code, outcome["error"]) == (1, "ValueError: no such thing")
    assert "in fail" in outcome["traceback"]
    assert again(venue, last - 5)[0] == 0
    env = {**os.environ, "PYTHONPATH": str(venue.data_dir.parent)}
    shown = venue.run("poison", "show", str(last - 4), env=env)
    assert (shown.returncode, "client_order_id=fail" in shown.stdout) == (0, True)


def test_one_without_an_end_is_told_as_such(venue: Running):
    """An endless loop costs the operator the time that he gives it, and nothing else."""
    last = say(venue, "fine", "loop")
    row = listed(venue, "stuck")
    code, outcome = again(venue, last, "--seconds", "1")
    venue.kill("odd-1", "odd-2")

    assert row["sequence"] == last
    assert (code, outcome["ended"], outcome["fields"]["client_order_id"]) == (1, False, "loop")


def test_what_is_not_there_is_named(venue: Running):
    """A number behind the log, one that nobody is stopped at, one that is no message of the venue."""
    say(venue, "fine")

    assert "does not reach so far" in complaint(venue.run("poison", "reproduce", "999999", "--machine", "matching"))
    assert "say which one with --machine" in complaint(venue.run("poison", "show", "1"), 2)
    assert "no message of the venue" in complaint(venue.run("trace", "999999"), 2)
    assert venue.run("poison", "list").returncode == 0
