"""A message that an engine cannot take, on a venue that trades: skipped, and everything goes on."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines import messages as m
from engines.forensics import poisoned
from sequencer.config import Config
from tests.models.poisoned_venue import poisoned_venue
from tests.models.running import Running, Stream, complaint, until
from tests.models.trader import Trader


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Running]:
    with poisoned_venue(tmp_path) as started:
        yield started


@pytest.fixture
def trader(venue: Running) -> Iterator[Trader]:
    with Stream(venue.config) as stream:
        yield Trader(stream)


def command(venue: Running, *words: str):
    """A `poison` command that has the same defects."""
    return venue.run("poison", *words, env={**os.environ, "PYTHONPATH": str(venue.data_dir.parent)})


def stopped(venue: Running, machine: str, verdict: str = "halted") -> dict[str, Any]:
    """The line of `poison list` about both replicas of a machine, once it knows the command."""

    def found() -> dict[str, Any]:
        rows = poisoned(venue.config)
        fits = [row for row in rows if row["shard"] == f"{machine}.0" and row["verdict"] == verdict]
        both = f"{machine}-1 {machine}-2"
        return next((row for row in fits if row["replicas"] == both and (row["command"] or verdict == "stuck")), {})

    try:
        return until(found, f"both replicas of {machine} are {verdict}")
    except TimeoutError as late:
        raise TimeoutError(f"{late}: {venue.run('replicas', '-o', 'json').stdout}") from late


def skip(venue: Running, machine: str, *sequences: int, code: int = 0):
    words = ["skip", *map(str, sequences), "--machine", machine, "--reason", "a test"]
    done = command(venue, *words)
    assert done.returncode == code, done
    return done


@pytest.mark.parametrize("with_snapshot", [False, True])
def test_an_order_at_matching(venue: Running, trader: Trader, with_snapshot: bool):
    """Found in the decision that it came with, refused, told to its client; orders before and behind it are served."""
    first = trader.say(trader.order("a"))
    trader.answer(first)
    if with_snapshot:
        assert venue.run("snapshot", "take").returncode == 0
    at = trader.say(trader.order("b"), trader.order("raise"), trader.order("c", instrument=2))
    row = stopped(venue, "matching")
    assert (row["message"], row["command"]) == ("CreditDecisions", at + 1)
    behind = trader.say(trader.order("d", side=2, client=2), trader.order("e"))
    assert "skip an order that it is about" in complaint(skip(venue, "matching", row["sequence"], code=1))
    fixed = venue.run("poison", "skip", str(at + 1), "--machine", "matching", "--reason", "none")
    assert "nothing has to be skipped" in complaint(fixed)

    done = skip(venue, "matching", at + 1)
    assert f"{at + 1} skipped" in done.stdout
    assert trader.answer(at + 1) == m.OrderRejected(at + 1, m.Reason.SKIPPED)
    for order_id in (at, at + 2, behind, behind + 1):
        assert trader.answer(order_id) == m.OrderAccepted(order_id)
    assert set(venue.agreement()) == {"matching.0", "credit.0"}
    (told,) = venue.json("poison", "skipped")
    assert (told["sequence"], told["shard"], told["reason"]) == (at + 1, "matching.0", "a test")
    assert told["became"].startswith("in force")
    assert command(venue, "list").returncode == 0

    venue.kill("matching-1", "matching-2")  # who begins anew knows it from the log
    after = trader.say(trader.order("f"))
    assert trader.answer(after) == m.OrderAccepted(after)
    assert set(venue.agreement()) == {"matching.0", "credit.0"}
    assert all(row["agrees"] for row in venue.json("digest"))


def test_an_endless_order_at_matching(venue: Running, trader: Trader):
    """Replicas that are stuck cannot hear of it: their watchers end them, and they begin again behind it."""
    at = trader.say(trader.order("a"), trader.order("loop"), trader.order("b", instrument=2))
    row = stopped(venue, "matching", "stuck")
    found = command(venue, "locate", str(row["sequence"]), "--machine", "matching", "--seconds", "2", "-o", "json")
    assert json.loads(found.stdout)["command"] == at + 1

    skip(venue, "matching", at + 1)
    assert trader.answer(at + 1) == m.OrderRejected(at + 1, m.Reason.SKIPPED)
    assert trader.answer(at + 2) == m.OrderAccepted(at + 2)
    assert set(venue.agreement()) == {"matching.0", "credit.0"}


def test_two_in_one_entry(venue: Running, trader: Trader):
    """One alone does not help, and the operator is told which other it takes."""
    at = trader.say(trader.order("raise"), trader.order("a"), trader.order("raise", client=2))
    assert stopped(venue, "matching")["command"] == at
    told = complaint(skip(venue, "matching", at, code=1))
    assert f"does `poison skip {at} {at + 2}` help?" in told

    skip(venue, "matching", at, at + 2)
    assert [trader.answer(at + place) for place in (0, 1, 2)] == [
        m.OrderRejected(at, m.Reason.SKIPPED),
        m.OrderAccepted(at + 1),
        m.OrderRejected(at + 2, m.Reason.SKIPPED),
    ]


def test_an_order_at_credit(venue: Running, trader: Trader):
    """A refusal of credit's, which matching obeys like any other; the orders that came with it are authorized."""
    at = trader.say(trader.order("a"), trader.order("raise-credit"), trader.order("b"))
    assert stopped(venue, "credit")["command"] == at + 1

    skip(venue, "credit", at + 1)
    assert trader.answer(at + 1) == m.OrderRejected(at + 1, m.Reason.SKIPPED)
    assert trader.answer(at) == m.OrderAccepted(at)
    assert trader.answer(at + 2) == m.OrderAccepted(at + 2)
    assert set(venue.agreement()) == {"matching.0", "credit.0"}


def test_a_trade_at_credit(venue: Running, trader: Trader):
    """The books stay as they are; credit goes on, and what the trade would have used stays reserved."""
    at = trader.say(trader.order("a", 666), trader.order("b", 666, client=2, side=2))
    trade = stopped(venue, "credit")
    assert trade["message"] == "Trade"
    assert "matching.0 is stopped" in complaint(skip(venue, "matching", trade["sequence"], code=2), 2)

    skip(venue, "credit", trade["sequence"])
    after = trader.say(trader.order("c"))
    assert trader.answer(after) == m.OrderAccepted(after)
    (account,) = venue.json("credit", "C1")["accounts"]
    assert (account["used"], account["reserved"]) == ("0", str(666 * 5 + 50))
    assert trader.answer(at) == m.OrderAccepted(at)


def test_what_was_acted_on_is_not_skipped(venue: Running, trader: Trader):
    """An order that rests and was reported: with it refused, other outputs would follow than the log holds."""
    first = trader.say(trader.order("a"))
    trader.answer(first)
    trader.say(trader.order("raise"))
    stopped(venue, "matching")

    assert f"has acted on {first}" in complaint(skip(venue, "matching", first, code=1))
    assert venue.json("poison", "skipped") == []


def test_one_after_the_other(venue: Running, trader: Trader):
    """Behind the first waits a second: it goes on as far as that, and says so."""
    first = trader.say(trader.order("raise"))
    stopped(venue, "matching")
    second = trader.say(trader.order("raise"), trader.order("a"))
    trader.stream.follow(lambda: len(trader.stream.batches(m.DECISIONS)) > 2, "credit decides the second")

    assert "stops at the next" in skip(venue, "matching", first, code=1).stdout
    assert trader.answer(first) == m.OrderRejected(first, m.Reason.SKIPPED)
    assert stopped(venue, "matching")["command"] == second
    skip(venue, "matching", second)
    assert trader.answer(second + 1) == m.OrderAccepted(second + 1)
    assert set(venue.agreement()) == {"matching.0", "credit.0"}


def test_a_snapshot_that_a_skip_has_overruled(venue: Running, trader: Trader):
    """It was vouched for while the order waited inside; nobody begins with it any more."""
    credit = [venue.pids["credit-1"], venue.pids["credit-2"]]
    for pid in credit:
        os.kill(pid, signal.SIGSTOP)
    at = trader.say(trader.order("raise"))
    assert venue.run("snapshot", "take", "--machine", "matching").returncode == 0
    for pid in credit:
        os.kill(pid, signal.SIGCONT)
    stopped(venue, "matching")

    skip(venue, "matching", at)
    assert trader.answer(at) == m.OrderRejected(at, m.Reason.SKIPPED)
    for name in ("matching-1", "matching-2"):
        passed_over = venue.row(name)["passed_over"]
        assert any(f"it is of behind {at}, which was skipped later" in why for why in passed_over), passed_over
    assert set(venue.agreement()) == {"matching.0", "credit.0"}


def test_one_shard_of_several(venue: Running, trader: Trader):
    """The other shard goes on meanwhile; the skip is of the one that was stopped, and of no other."""
    assert venue.run("reshard", "matching", "2", timeout_s=180).returncode == 0
    venue.config = Config.load(venue.data_dir)
    odd = trader.say(trader.order("a", instrument=1), trader.order("raise", instrument=1))
    shard = until(lambda: stopped_shard(venue), "both replicas of a shard are stopped")
    even = trader.say(trader.order("b", instrument=2))
    assert trader.answer(even) == m.OrderAccepted(even)
    assert shard == "matching.1of2"

    swept = trader.say(m.CancelAll(0, 77, 1, 0))
    assert "more shards than matching.1of2 take" in complaint(skip(venue, "matching", swept, code=2), 2)
    skip(venue, "matching", odd + 1)
    assert trader.answer(odd) == m.OrderAccepted(odd)
    assert trader.answer(odd + 1) == m.OrderRejected(odd + 1, m.Reason.SKIPPED)
    assert {"matching.0of2", "matching.1of2"} < {*venue.agreement()}
    (told,) = venue.json("poison", "skipped")
    assert told["shard"] == shard

    assert venue.run("reshard", "matching", "1", timeout_s=180).returncode == 0  # which obeys it as well
    venue.config = Config.load(venue.data_dir)
    assert "matching.0" in venue.agreement()


def stopped_shard(venue: Running) -> str:
    rows = poisoned(venue.config)
    return next((row["shard"] for row in rows if len(row["replicas"].split()) == 2 and row["command"]), "")
