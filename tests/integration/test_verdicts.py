"""Stuck is told from slow, and from each other way to be stuck, by evidence: what is in hand, CPU, state, stack."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.verdicts import verdicts
from tests.models.odd import odd_venue, say
from tests.models.running import Running, until


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Running]:
    with odd_venue(tmp_path, "odd-1", "odd-2") as started:
        yield started


def verdict(venue: Running, name: str = "odd-1") -> dict[str, Any]:
    return next(row for row in verdicts(venue.config) if row["name"] == name)


def awaited(venue: Running, wanted: str, name: str = "odd-1") -> dict[str, Any]:
    def found() -> dict[str, Any]:
        row = verdict(venue, name)
        return row if row["verdict"] == wanted else {}

    return until(found, f"{name} is {wanted}")


@pytest.mark.parametrize(
    ("act", "activity", "innermost"),
    [("loop", "computing", "loop ("), ("loop_in_c", "computing", "match ("), ("wait", "waiting", "wait (")],
)
def test_how_a_replica_is_stuck_is_told(venue: Running, act: str, activity: str, innermost: str):
    """An endless loop, one in C, one who waits: the sequence number, how it is, the stack; and that all are in it."""
    at = say(venue, "fine", act)
    row = awaited(venue, "stuck")
    until(lambda: verdict(venue)["for_ms"] > 2000, "it is stuck for longer")
    row = until(lambda: (found := verdict(venue))["activity"] == activity and found, f"it is {activity}")

    assert row["in_hand"] == [at, at]
    assert row["stack"][0].startswith(innermost)
    assert activity == "waiting" or row["cpu_ms"] + row["ready_ms"] > 1000
    assert "so is odd-2: the message is the matter" in until(lambda: verdict(venue)["why"], "why")
    assert f"sequence {at:,} in hand" in venue.run("health").stdout.replace("\n", " ")
    assert venue.run("detach", "odd-1").stdout.startswith("odd-1: ")
    until(lambda: not venue.row("odd-1"), "odd-1 is gone")
    venue.kill("odd-2")


def test_a_long_computation_is_stuck_until_it_ends(venue: Running):
    """Then it is live again, and what took so long is told."""
    at = say(venue, "long")
    awaited(venue, "stuck")
    row = awaited(venue, "live")

    assert row["longest"] == [at, at]
    assert row["longest_ms"] >= 8000


def test_a_slow_replica_is_not_stuck(venue: Running):
    """It moves, and is behind: rate and lag are told, and it comes back by itself."""
    say(venue, *["slow"] * 160)
    row = awaited(venue, "slow")

    assert row["lag"] > 0
    assert row["lag_ms"] > 1000
    assert "messages behind" in row["why"]
    awaited(venue, "live")


def test_who_is_stopped_is_told_from_who_computes(venue: Running):
    """SIGSTOP: the others have passed it, and SIGCONT brings it back."""
    pid = venue.row("odd-1")["pid"]
    os.kill(pid, signal.SIGSTOP)
    say(venue, "fine")
    row = awaited(venue, "stuck")
    assert row["activity"] == "stopped"
    assert "stopped by a signal" in row["why"]
    assert verdict(venue, "odd-2")["verdict"] == "live"
    os.kill(pid, signal.SIGCONT)

    awaited(venue, "live")


def test_who_is_killed_is_dead_at_once(venue: Running):
    """Its watcher tells it, without waiting for a silence."""
    os.kill(venue.row("odd-1")["pid"], signal.SIGKILL)
    row = awaited(venue, "dead")

    assert "its process ended" in row["why"]
    assert verdict(venue, "odd-2")["verdict"] == "live"


def test_what_raises_is_halted_with_its_traceback(venue: Running):
    """And stays so; another replica of the shard halts at the same place."""
    say(venue, "fine", "fail", "fine")
    rows = [awaited(venue, "halted", name) for name in ("odd-1", "odd-2")]

    assert {row["error"] for row in rows} == {"ValueError: no such thing"}
    assert all("in fail" in row["traceback"] for row in rows)
    assert venue.run("detach", "odd-1").stdout == "odd-1: detached\n"


def test_a_machine_that_leaks_halts_and_harms_nobody(venue: Running):
    """At its limit it is halted, at the message, with what to do; others go on."""
    venue.spawn("attach", "odd:Odd", "--unchecked", "--name", "odd-3", "--memory-mib", "600")
    venue.await_row("odd-3", "live")
    for name in ("odd-1", "odd-2"):
        assert venue.run("detach", name).returncode == 0
    at = say(venue, "fine", "leak")
    row = awaited(venue, "halted", "odd-3")
    row = until(lambda: (found := verdict(venue, "odd-3")).get("poison") == at and found, "the message is found")
    assert "more than its 600 MiB; `attach --memory-mib` gives it more" in row["why"]
    assert venue.row("node-1")["state"] == "live"
