"""The web gateway of a venue of real processes, read by an independent WebSocket client and over HTTP."""

import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from gateways.flow import generate
from gateways.venue import web_url
from tests.models.running import Running, make, until
from tests.models.web_reader import WebReader

SYMBOL = "BTC-USD"


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    config = make(tmp_path_factory.mktemp("web") / "v", doors=("web-1",))
    with Running(config).start() as started:
        started.send(list(generate.lines(seed=3, count=300, instruments=1, clients=4)))
        yield started


def address(venue: Running) -> str:
    return venue.config.endpoint("web").removeprefix("tcp://")


@contextmanager
def opened(venue: Running) -> Iterator[ClientConnection]:
    """A connection, once the gateway listens."""
    until(lambda: venue.row("web-1").get("state") == "live" and _listens(venue), "the web gateway listens")
    with connect(f"{web_url(venue.config).replace('http', 'ws', 1)}/v2", max_size=None) as made:
        yield made


def _listens(venue: Running) -> bool:
    host, port = address(venue).split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


class Following(threading.Thread):
    """A reader in a thread, of the book at some depth, of every order, and of the trades."""

    def __init__(self, venue: Running, depth: int) -> None:
        super().__init__(daemon=True)
        self.reader = WebReader()
        self._resources = ExitStack()
        self.socket = self._resources.enter_context(opened(venue))
        self.closed = ""
        for params in ({"channel": "book", "depth": depth}, {"channel": "level3"}, {"channel": "trade"}):
            request = {"method": "subscribe", "params": {"symbol": [SYMBOL], **params}}
            self.socket.send(json.dumps(request))
        self.start()

    def run(self) -> None:
        try:
            for text in self.socket:
                self.reader.take(text)
        except ConnectionClosed as end:
            self.closed = str(end)

    def end(self) -> None:
        """Close the connection."""
        self._resources.close()

    def levels(self) -> list[list[tuple[str, str]]]:
        """Bids and asks, best first, as text."""
        bids, asks = (sorted(self.reader.levels[side].items()) for side in ("bids", "asks"))
        return [[pair for _price, pair in bids[::-1]], [pair for _price, pair in asks]]


def asked(venue: Running, path: str) -> tuple[int, Any]:
    """Status and JSON."""
    try:
        with urllib.request.urlopen(f"{web_url(venue.config)}{path}", timeout=20) as answer:
            return answer.status, json.loads(answer.read(), parse_float=str, parse_int=str)
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read())


def shown(venue: Running, depth: int) -> list[list[tuple[str, str]]]:
    """The same of the market data gateway."""
    book = venue.json("book", SYMBOL, "--depth", str(depth))
    return [[(level["price"], level["quantity"]) for level in book[side]] for side in ("buys", "sells")]


def test_readers_have_the_book_while_a_flow_runs(venue: Running):
    """Every checksum is right, no number is missing, and in the end it is the book of the market data gateway."""
    readers = [Following(venue, depth) for depth in (10, 1000)]
    venue.send(list(generate.lines(seed=4, count=3000, instruments=1, clients=4)))
    for reader, depth in zip(readers, (10, 1000), strict=True):
        until(lambda reader=reader, depth=depth: reader.levels() == shown(venue, depth), "the reader has the book")
        assert reader.reader.problems == []
        assert len(reader.reader.trades) > 50
        reader.end()
    assert readers[0].reader.trades == readers[1].reader.trades


def test_a_reader_that_comes_back_goes_on(venue: Running):
    """The gateway dies: the connection ends, another gets a snapshot of a new process, and all is as it was."""
    before = Following(venue, 1000)
    until(lambda: before.levels() == shown(venue, 1000), "the reader has the book")
    venue.kill("web-1")
    before.join(20)
    assert not before.is_alive()
    after = Following(venue, 1000)
    until(lambda: after.levels() == before.levels(), "the reader has the book again")
    assert after.reader.problems == []
    after.end()


def test_what_is_asked_once(venue: Running):
    """Instruments, a book, trades; what is wrong with a question is said."""
    status, found = asked(venue, "/v1/instruments")
    assert status == 200
    (pair,) = found["instruments"]
    assert (pair["symbol"], pair["price_increment"], pair["qty_increment"]) == (SYMBOL, "0.01", "0.00000001")
    _status, book = asked(venue, f"/v1/book/{SYMBOL}?depth=7")
    bids, asks = ([(one["price"], one["qty"]) for one in book[side]] for side in ("bids", "asks"))
    assert [bids, asks] == shown(venue, 7)
    _status, told = asked(venue, f"/v1/trades/{SYMBOL}?count=5")
    assert len(told["trades"]) == 5
    newest = told["trades"][-1]["trade_id"]
    assert asked(venue, f"/v1/trades/{SYMBOL}?since={newest}")[1]["trades"] == []

    _status, drawn = asked(venue, f"/v1/candles/{SYMBOL}?interval=1440&count=3")
    assert drawn["candles"][-1]["close"] == told["trades"][-1]["price"]

    assert asked(venue, "/v1/book/NOPE") == (404, {"error": "symbol: expected a known symbol (BTC-USD), got 'NOPE'"})
    assert asked(venue, f"/v1/book/{SYMBOL}?depth=-1")[0] == 400
    assert asked(venue, f"/v1/trades/{SYMBOL}?count=x")[1]["error"].startswith("count: expected a number from 0 to")


def test_hostile_connections_harm_nobody(venue: Running):
    """Oversized and binary messages end their own connection; what is no JSON is answered; another reader goes on."""
    honest = Following(venue, 10)
    for message, is_end in (("x" * (1 << 20), True), (b"\x00", True), ("[" * 9999, False)):
        with opened(venue) as odd:
            odd.send(message)
            if is_end:
                with pytest.raises(ConnectionClosed):
                    [odd.recv(timeout=20) for _ in range(3)]
            else:
                replies = [json.loads(odd.recv(timeout=20)) for _ in range(2)]
                assert replies[1]["success"] is False
    venue.send(list(generate.lines(seed=5, count=200, instruments=1, clients=4)))
    until(lambda: honest.levels() == shown(venue, 10), "the reader has the book")
    assert honest.reader.problems == []
    honest.end()
