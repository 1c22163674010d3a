"""Reports of trades that are corrected or busted later: whose order it was, and how it stands with that."""

from pathlib import Path

import msgspec
import pytest

from engines import messages as m
from gateways import orders as fold
from gateways.fix.codec import Message
from gateways.trades import trade_at
from tests.models.fix_stage import Counterparty, Stage

INSTRUMENT = m.SetInstrument(0, 0, "I1", "USD", 1, 0, 1, 0)
STANDS = (37, 11, 39, 38, 151, 14, 6)
"""OrderID, ClOrdID, OrdStatus, OrderQty, LeavesQty, CumQty, AvgPx."""


class Venue:
    """Ann buys, Bob sells; an operator mends their trades."""

    def __init__(self, directory: Path) -> None:
        self.stage = Stage(directory)
        self.stage.island.sequence([INSTRUMENT])
        self.stage.crash()
        self.ann, self.bob = Counterparty(self.stage, "ANN"), Counterparty(self.stage, "BOB")
        for party in (self.ann, self.bob):
            party.log_on()

    def trade(self, bought: tuple[str, int], sold: tuple[str, int], price: int = 100) -> int:
        """The trade of two orders, (name, quantity) each; its place in the log."""
        self.ann.order(bought[0], side=1, price=price, quantity=bought[1])
        self.stage.settle()
        self.bob.order(sold[0], side=2, price=price, quantity=sold[1])
        self.stage.settle()
        return int(self.ann.reports[-1].get(17))

    def mend(self, trade: int, price: int, quantity: int, *, log: int = 0) -> None:
        """As an operator does who has read the log up to an entry (0: all)."""
        found = trade_at(self.stage.island.log[: log or None], trade)
        self.stage._unseen.extend(self.stage.island.mend(found.mended(price, quantity, "a test")))
        self.stage.settle()


@pytest.fixture
def venue(tmp_path: Path) -> Venue:
    return Venue(tmp_path)


def last(party: Counterparty) -> Message:
    assert party.heard[-1].type == "8"
    return party.heard[-1]


def stands(party: Counterparty) -> list[str]:
    return [last(party).get(tag) for tag in STANDS]


def test_a_correction_says_which_order_it_was_and_how_it_stands(venue: Venue):
    """The one that rests keeps what is open; the other had ended with what it has traded."""
    trade = venue.trade(("a", 9), ("b", 4))
    venue.mend(trade, 90, 3)
    ann, bob = last(venue.ann), last(venue.bob)
    assert [ann.get(tag) for tag in (150, 19, 32, 31, 54)] == ["G", str(trade), "3", "90", "1"]
    order = {one.get(11): one.get(37) for one in (*venue.ann.reports, *venue.bob.reports)}
    assert stands(venue.ann) == [order["a"], "a", "1", "9", "5", "3", "90"]
    assert stands(venue.bob) == [order["b"], "b", "4", "4", "0", "3", "90"]
    assert bob.get(17) != ann.get(17)


def test_a_bust_takes_the_trade_away(venue: Venue):
    """The order that rests is new again, and the book is as it was."""
    trade = venue.trade(("a", 9), ("b", 4))
    venue.mend(trade, 100, 0)
    assert last(venue.ann).get(150) == "H"
    assert stands(venue.ann)[2:] == ["0", "9", "5", "0", "0"]
    assert stands(venue.bob)[2:] == ["4", "4", "0", "0", "0"]


def test_later_reports_count_what_was_mended(venue: Venue):
    """Fills, the answer to a question, and the end."""
    trade = venue.trade(("a", 9), ("b", 4))
    venue.mend(trade, 90, 4)
    venue.bob.order("c", side=2, price=100, quantity=4)
    venue.stage.settle()
    assert stands(venue.ann)[2:] == ["1", "9", "1", "8", "95"]
    venue.ann.send("H", (11, "a"), (55, "I1"), (54, 1))
    venue.stage.settle()
    assert stands(venue.ann)[2:] == ["1", "9", "1", "8", "95"]
    venue.mend(trade, 90, 0)
    venue.ann.send("F", (41, "a"), (11, "d"), (55, "I1"), (54, 1), (60, venue.ann._time))
    venue.stage.settle()
    assert stands(venue.ann)[2:] == ["4", "9", "0", "4", "100"]


def test_what_traded_since_the_operator_looked_counts(venue: Venue):
    """Also where the order has ended with it."""
    trade = venue.trade(("a", 9), ("b", 4))
    log = len(venue.stage.island.log)
    venue.bob.order("c", side=2, price=100, quantity=5)
    venue.stage.settle()
    venue.mend(trade, 100, 2, log=log)
    assert stands(venue.ann)[2:] == ["4", "9", "0", "7", "100"]


def test_an_order_of_long_ago_is_as_the_operator_found_it(venue: Venue, monkeypatch: pytest.MonkeyPatch):
    """The gateway has forgotten it; one that has expired is not canceled."""
    monkeypatch.setattr(fold, "ENDED_KEPT", 1)
    venue.stage.crash()
    for party in (venue.ann, venue.bob):
        party.log_on()
    trade = venue.trade(("a", 4), ("b", 4))
    venue.trade(("x", 1), ("y", 1))
    venue.mend(trade, 90, 4)
    assert stands(venue.ann)[1:] == ["a", "2", "4", "0", "4", "90"]
    venue.mend(trade, 80, 2)
    assert stands(venue.bob)[1:] == ["b", "4", "4", "0", "2", "80"]


def test_an_order_that_expired_stays_expired(venue: Venue):
    """OrdStatus C, with the trade or without it."""
    trade = venue.trade(("a", 9), ("b", 4))
    order_id = int(venue.ann.reports[-1].get(37))
    expired = m.ENCODER.encode([m.OrderExpired(order_id, order_id, 5)])
    start = len(venue.stage.island.log)
    venue.stage.island.append("matching", m.RESULTS, expired, 1)
    venue.stage._unseen.extend(venue.stage.island.log[start:])
    venue.mend(trade, 100, 0)
    assert stands(venue.ann)[2:] == ["C", "9", "0", "0", "0"]


def test_a_correction_without_its_orders_says_what_it_knows(venue: Venue):
    """Those of before say nothing of them."""
    trade = venue.trade(("a", 9), ("b", 4))
    asked = msgspec.structs.replace(
        trade_at(venue.stage.island.log, trade).mended(90, 4, "a test"), bought=None, sold=None
    )
    venue.stage._unseen.extend(venue.stage.island.mend(asked))
    venue.stage.settle()
    assert [last(venue.ann).get(tag) for tag in (37, 11, 19, 150, 32, 31)] == ["NONE", "", str(trade), "G", "4", "90"]


def test_a_correction_is_sent_again_as_it_was(venue: Venue):
    """From the log, by another process."""
    venue.mend(venue.trade(("a", 9), ("b", 4)), 90, 3)
    told = stands(venue.ann)
    venue.stage.crash()
    venue.ann.next_in -= 1
    venue.ann.log_on()
    venue.stage.settle()
    again = [one for one in venue.ann.heard if one.get(43) == "Y" and one.get(150) == "G"]
    assert [[one.get(tag) for tag in STANDS] for one in again] == [told]


def test_a_market_order_has_no_price(venue: Venue):
    """What protects it is not told as one: when it is taken, refused, or what is left of it is canceled."""
    for name in ("a", "a", "b"):
        venue.ann.send("D", (11, name), (55, "I1"), (54, 1), (60, venue.ann._time), (40, 1), (44, 100), (38, 5))
        venue.stage.settle()
    start = len(venue.stage.island.log)
    order_id = int(venue.ann.reports[-1].get(37))
    end = m.ENCODER.encode([m.OrderCanceled(order_id, order_id, 5, m.Reason.MARKET_REMAINDER)])
    venue.stage.island.append("matching", m.RESULTS, end, 1)
    venue.stage._unseen.extend(venue.stage.island.log[start:])
    venue.ann.send("H", (11, "a"), (55, "I1"), (54, 1))
    venue.ann.order("limit", price=99)
    venue.stage.settle()
    told = {(one.get(11), one.get(150)): (one.get(40), one.get(44)) for one in venue.ann.reports}
    market = {("a", "0"), ("a", "8"), ("b", "0"), ("b", "4"), ("a", "I")}
    assert told == {**dict.fromkeys(market, ("1", "")), ("limit", "0"): ("2", "99")}
