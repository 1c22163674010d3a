"""The real Bitstamp flow, read by independent clients: `websockets`, and a page in Chromium. Each proves each message.

The first lines of it by default; all of it with ISLAND_FLOW_LINES=314173 (`make acceptance`).
"""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from gateways.flow import bitstamp
from gateways.venue import web_url
from tests.models.running import PATIENCE_S, Running, make, until
from tests.models.web_reader import WebReader

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.models.console import CHROMIUM, Session, launched, sent_book

LINES = int(os.environ.get("ISLAND_FLOW_LINES", "7500"))
RATE = int(os.environ.get("ISLAND_FLOW_RATE", "1000"))
"""Lines a second: what the venue, Chromium and all readers keep up with on two processors."""
MADE = 3
"""Lines that make the instrument and its clients' credit."""
BOOK = MADE + 6512
"""Lines that make the book of the beginning: where a part is read, who subscribes gets it as a snapshot."""
BEFORE = BOOK if LINES < 100_000 else MADE
FLOWS = Path(__file__).parents[2] / "flows"
PAGE_READER = Path(__file__).parents[1] / "models" / "page_reader.js"
SYMBOL = bitstamp.symbol(0)
SUBSCRIPTIONS = {
    "book 10": {"channel": "book", "depth": 10},
    "book 1000": {"channel": "book", "depth": 1000},
    "level3": {"channel": "level3"},
}

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """The flow in one book; it is not ours to ship, so it is fetched once."""
    try:
        path = bitstamp.fetch(FLOWS)
    except bitstamp.FlowUnavailableError as error:
        pytest.skip(f"the real flow cannot be had: {error}")
    return list(islice(bitstamp.lines(path, instruments=1, clients=2), LINES))


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Running]:
    with Running(make(tmp_path / "v", doors=("web-1",))).start() as started:
        yield started


class Client(threading.Thread):
    """A client of `websockets` with one subscription."""

    def __init__(self, venue: Running, params: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.reader = WebReader()
        self.channel = params["channel"]
        self._resources = ExitStack()
        self._socket = self._resources.enter_context(connect(web_socket(venue), max_size=None, ping_interval=None))
        self._socket.send(json.dumps({"method": "subscribe", "params": {**params, "symbol": [SYMBOL]}}))
        self.start()

    def run(self) -> None:
        try:
            for text in self._socket:
                self.reader.take(text)
        except ConnectionClosed as end:
            self.reader.problems.append(f"closed: {end}")

    @property
    def told(self) -> dict[str, Any]:
        """What came of it, as a reader in a page tells it."""
        channel, reader = self.channel, self.reader
        return {"checked": reader.checked[channel], "number": reader.numbers.get(channel), "problems": reader.problems}

    def levels(self) -> dict[str, list[list[str]]]:
        """Price and quantity of each level or order, best first."""
        if self.channel == "level3":
            return {side: [list(pair) for _order, *pair in orders] for side, orders in self.reader.orders.items()}
        return {
            side: [list(levels[price]) for price in sorted(levels, reverse=side == "bids")]
            for side, levels in self.reader.levels.items()
        }

    def end(self) -> None:
        self._resources.close()


Told = dict[str, dict[str, Any]]
"""By subscription: how many messages were checked, the last number, what was wrong."""


def numbers(told: Told) -> dict[str, int | None]:
    return {name: one["number"] for name, one in told.items()}


def test_every_client_proves_the_whole_book(lines: list[str], venue: Running):
    """No number is missing, no checksum is wrong, in either; both have the same, and it is the venue's book."""
    venue.send(lines[:BEFORE])
    with launched() as browser, ExitStack() as ending:
        window = Session(browser, venue)
        window.open(f"market/{SYMBOL}")
        asked = {"url": web_socket(venue), "symbol": SYMBOL, "subscriptions": SUBSCRIPTIONS}
        window.page.evaluate(PAGE_READER.read_text(), asked)
        clients = {name: Client(venue, params) for name, params in SUBSCRIPTIONS.items()}
        for client in clients.values():
            ending.callback(client.end)

        def in_page() -> Told:
            return window.page.evaluate("islandReaders.told()")

        def at_clients() -> Told:
            return {name: client.told for name, client in clients.items()}

        begun = dict.fromkeys(SUBSCRIPTIONS, 0)
        until(lambda: numbers(in_page()) == numbers(at_clients()) == begun, "all have their snapshots")
        with venue.sending(lines[BEFORE:], "--rate", str(RATE)) as flow:
            assert flow(2 * len(lines) / RATE + PATIENCE_S)["answered"] == len(lines) - BEFORE

        def is_read() -> bool:
            told, heard = in_page(), at_clients()
            is_wrong = any(one["problems"] for one in (*told.values(), *heard.values()))
            return is_wrong or (numbers(told) == numbers(heard) and clients["book 1000"].levels() == sent_levels(venue))

        until(is_read, "all have heard the same, and have the venue's book")
        told = in_page()
        print(json.dumps(told))
        right = {
            name: {"checked": number + 1, "number": number, "problems": []} for name, number in numbers(told).items()
        }
        assert at_clients() == right
        of_books = {name: {"console_checked": one["checked"] if "book" in name else 0} for name, one in right.items()}
        assert told == {name: one | of_books[name] for name, one in right.items()}
        for name, client in clients.items():
            assert window.page.evaluate("(name) => islandReaders.levels(name)", name) == client.levels()
        assert window.problems == []
        assert window.page.locator(".complaint").first.inner_text() == ""


def web_socket(venue: Running) -> str:
    return f"{web_url(venue.config).replace('http', 'ws', 1)}/v2"


def sent_levels(venue: Running) -> dict[str, list[list[str]]]:
    """The best 1,000 of each side as the market data gateway has them."""
    return dict(
        zip(("bids", "asks"), ([[*level] for level in side] for side in sent_book(venue, SYMBOL, 1000)), strict=True)
    )
