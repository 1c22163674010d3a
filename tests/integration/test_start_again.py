"""Ctrl-C stops everything cleanly, and the next start goes on from where it was."""

import json
from collections.abc import Iterator

import pytest

from gateways.flow import generate
from gateways.order.client import OrderClient
from sequencer.log_tools import entries_of
from tests.models.running import Event, Running, by_instrument, make, read_events, until

LINES = list(generate.lines(seed=7, count=1000, instruments=2, clients=4))
ORDER = {"symbol": "BTC-USD", "side": "buy", "price": "1.00", "quantity": "0.5"}


@pytest.fixture
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(make(tmp_path_factory.mktemp("again") / "v")).start() as started:
        yield started


def pictures(venue: Running) -> dict[str, object]:
    """What the commands show of books and accounts."""
    shown = {symbol: venue.json("book", symbol, "--depth", "1000") for symbol in ("BTC-USD", "BTC-USD-2")}
    credit = {client: venue.json("credit", client) for client in ("C1", "C2", "C3", "C4")}
    for account in credit.values():
        del account["position"]
    for book in shown.values():
        book.pop("position", None)
    return {**shown, **credit}


def test_a_venue_goes_on_where_it_was_stopped(venue: Running):
    """No process is left, nothing is lost, resting orders can be canceled and numbers continue."""
    door = venue.config.endpoint("order")
    venue.send(LINES)
    with OrderClient(door, "C1") as one:
        last = one.new_order(client_order_id="resting", **ORDER)
    position = venue.position
    code = venue.stop()
    left = venue.pids

    venue.start()
    with OrderClient(door, "C1") as one:
        canceled = one.cancel(symbol="BTC-USD", client_order_id="resting")

    assert (code, left) == (0, {})
    assert venue.position > position
    assert (type(canceled).__name__, canceled.order_id) == ("OrderCanceled", last.order_id)
    assert (canceled.number, canceled.sequence > position) == (last.number + 1, True)


def test_books_and_accounts_can_be_had_from_the_files_alone(venue: Running):
    """`book` and `credit` show the same of a venue that runs and of one that was stopped."""
    venue.send(LINES)
    venue.agreement()
    running = pictures(venue)
    venue.stop()

    assert pictures(venue) == running
