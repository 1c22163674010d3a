"""Ctrl-C stops everything cleanly, and the next start goes on from where it was."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from gateways import events as e
from gateways.flow import generate
from gateways.order.client import OrderClient
from tests.models.running import Running, make

ORDER = {"symbol": "BTC-USD", "side": "buy", "price": "1.00", "quantity": "0.5"}


@dataclass(frozen=True)
class Stopped:
    """A venue after Ctrl-C, and what was known of it before."""

    venue: Running
    resting: e.Event
    position: int
    shown: dict[str, Any]
    code: int
    left: dict[str, int]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stopped]:
    with Running(make(tmp_path_factory.mktemp("again") / "v")).start() as venue:
        venue.send(generate.lines(seed=7, count=1000, instruments=2, clients=4))
        with OrderClient(venue.config.endpoint("order"), "C1") as one:
            resting = one.new_order(client_order_id="resting", **ORDER)
        venue.agreement()
        shown, position = pictures(venue), venue.position
        code = venue.stop()
        yield Stopped(venue, resting, position, shown, code, venue.pids)


def pictures(venue: Running) -> dict[str, Any]:
    """What the commands show of a book and an account, but for how far the log had come."""
    book, credit = venue.json("book", "BTC-USD", "--depth", "1000"), venue.json("credit", "C1")
    return {"buys": book["buys"], "sells": book["sells"], "accounts": credit["accounts"]}


def test_ctrl_c_leaves_nothing_behind(stopped: Stopped):
    """`up` ends with 0, and no process of the venue is left."""
    assert (stopped.code, stopped.left) == (0, {})


def test_books_and_accounts_can_be_had_from_the_files_alone(stopped: Stopped):
    """`book` and `credit` show the same of a venue that runs and of one that was stopped."""
    assert stopped.shown["buys"]
    assert pictures(stopped.venue) == stopped.shown


def test_the_next_start_goes_on(stopped: Stopped):
    """Nothing is lost, orders that rested can be canceled, and the client's and the log's numbers continue."""
    stopped.venue.start()
    with OrderClient(stopped.venue.config.endpoint("order"), "C1") as one:
        canceled = one.cancel(symbol="BTC-USD", client_order_id="resting")

    assert (type(canceled), canceled.order_id) == (e.OrderCanceled, stopped.resting.order_id)
    assert canceled.number == stopped.resting.number + 1
    assert canceled.sequence > stopped.position
