"""What operators mend in the log: a credit shard that stays down."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import messages as m
from gateways import events
from gateways.order.client import OrderClient
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


def test_a_trade_is_corrected_and_busted(venue: Running, trader: Trader):
    """Both sides are told, credit has used what it is now, the book stays; a second bust is refused."""
    at = trader.say(trader.order("a"), trader.order("b", client=2, side=2))
    trade = trader.stream.follow(lambda: trade_behind(trader, at), "the orders have traded")
    assert venue.json("trade", "show", str(trade))["quantity"] == "5"
    assert "there is no trade at sequence" in complaint(venue.run("trade", "show", str(at)), 2)

    done = venue.run("trade", "correct", str(trade), "--price", "9", "--reason", "a test")
    assert done.returncode == 0, done
    assert used(venue) == {"C1": "45", "C2": "45"}
    assert "expected --price" in complaint(venue.run("trade", "correct", str(trade), "--reason", "x"), 2)
    assert venue.run("trade", "bust", str(trade), "--reason", "a test").returncode == 0
    assert used(venue) == {"C1": "0", "C2": "0"}
    assert venue.json("trade", "show", str(trade))["quantity"] == "0"
    assert "busted already" in complaint(venue.run("trade", "bust", str(trade), "--reason", "x"), 2)
    trader.stream.follow(lambda: len(corrections(trader)) == 4, "both sides are told twice")
    assert corrections(trader) == [(1, 9, 5), (2, 9, 5), (1, 9, 0), (2, 9, 0)]
    with OrderClient(venue.config.endpoint("order"), client="C1") as client:
        corrected = [one for one in client.reports(timeout_s=1.0) if isinstance(one, events.TradeCorrected)]
    assert [(one.trade, one.price, one.quantity) for one in corrected] == [(trade, 9, 5), (trade, 9, 0)]


def trade_behind(trader: Trader, position: int) -> int:
    for batch in trader.stream.batches(m.RESULTS):
        for offset, event in enumerate(m.decode(m.RESULTS, batch.payload)):
            if isinstance(event, m.Trade) and event.taker_order_id > position:
                return batch.first_sequence + offset
    return 0


def corrections(trader: Trader) -> list[tuple[int, int, int]]:
    """Account, price and quantity of each TradeCorrected."""
    return [
        (one.account_id, one.price, one.quantity)
        for batch in trader.stream.batches(m.DECISIONS)
        for one in m.decode(m.DECISIONS, batch.payload)
        if isinstance(one, m.TradeCorrected)
    ]


def used(venue: Running) -> dict[str, str]:
    return {name: venue.json("credit", name)["accounts"][0]["used"] for name in ("C1", "C2")}
