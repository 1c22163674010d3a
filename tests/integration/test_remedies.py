"""What operators mend in the log: a credit shard that stays down."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import messages as m
from tests.models.running import Running, Stream, complaint, make, until
from tests.models.trader import Trader


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Running]:
    with Running(make(tmp_path / "v")).start() as started:
        yield started


@pytest.fixture
def trader(venue: Running) -> Iterator[Trader]:
    with Stream(venue.config) as stream:
        yield Trader(stream)


def test_what_credit_does_not_decide_is_refused(venue: Running, trader: Trader):
    """While it is down; its late decisions are void, and nothing stays reserved."""
    assert "it decides what waits" in complaint(venue.run("refuse-undecided", "--reason", "a test"), 2)
    first = trader.say(trader.order("a"))
    trader.answer(first)
    credit = [venue.pids["credit-1"], venue.pids["credit-2"]]
    for pid in credit:
        os.kill(pid, signal.SIGSTOP)
    at = trader.say(trader.order("b"), m.CancelOrder(1, 99, 1, "a"), trader.order("c", instrument=2))
    until(lambda: {venue.row(f"credit-{one}").get("state") for one in (1, 2)} == {"stuck"}, "credit is down")

    assert venue.run("refuse-undecided", "--reason", "a test").returncode == 0
    assert trader.answer(at) == m.OrderRejected(at, m.Reason.UNDECIDED)
    assert trader.answer(at + 2) == m.OrderRejected(at + 2, m.Reason.UNDECIDED)
    for pid in credit:
        os.kill(pid, signal.SIGCONT)
    after = trader.say(trader.order("d"))
    assert trader.answer(after) == m.OrderAccepted(after)
    assert set(venue.agreement()) == {"matching.0", "credit.0"}
    (account,) = venue.json("credit", "C1")["accounts"]
    assert account["reserved"] == str(10 * 5)
