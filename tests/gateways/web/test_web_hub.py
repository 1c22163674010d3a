"""The web feed without sockets: a reader has the book, proves it by its checksum, and is told what is wrong."""

import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import messages as m
from gateways.marketdata.books import Books
from gateways.web.channels import DEPTHS
from gateways.web.checksums import checksum
from gateways.web.gateway import SILENT_MS, WebGateway
from gateways.web.hub import SUBSCRIPTIONS_MAX, SYMBOLS_MAX, Hub
from gateways.web.keys import Keys
from tests.gateways.marketdata.test_marketdata_books import _commands, _cut, _market
from tests.models.public_book import INSTRUMENT_SET, SYMBOL
from tests.models.web_reader import WebReader


def books() -> Books:
    made = Books()
    made.apply(1000, 1, m.RESULTS, [INSTRUMENT_SET])
    return made


def subscribe(channel: str, **params: object) -> str:
    return json.dumps(
        {"method": "subscribe", "params": {"channel": channel, "symbol": [SYMBOL], **params}, "req_id": 7}
    )


def test_the_checksum_is_over_digits():
    """Asks first; without points and leading zeros."""
    asks = [("45285.2", "0.00100000"), ("45286.4", "1.54571953"), ("45286.6", "1.54571109")]
    bids = [("45283.5", "0.10000000"), ("45283.4", "1.54582015")]
    text = "452852100000" + "452864154571953" + "452866154571109" + "45283510000000" + "452834154582015"
    assert checksum(asks, bids) == zlib.crc32(text.encode())


@given(_commands, st.lists(st.integers(1, 4), max_size=30), st.integers(0, 10))
def test_readers_have_the_book(commands: list, cuts: list[int], join: int):
    """Levels at two depths, orders in queues, trades; from the beginning or from the middle on, proved each time."""
    model, orders, results = _market(commands)
    read_model = books()
    hub, readers = Hub(read_model, "1"), [WebReader() for _ in range(4)]
    for sequence, order in orders.items():
        read_model.apply(sequence, 1, m.COMMANDS, [order])

    def log_on(numbers: range) -> None:
        for number in numbers:
            hub.connect(number)
            for text in (subscribe("book", depth=10 if number % 2 else 1000), subscribe("level3"), subscribe("trade")):
                for reply in hub.receive(number, text):
                    readers[number].take(reply)

    log_on(range(2))
    for nth, run in enumerate(_cut(results, cuts)):
        if nth == join:
            log_on(range(2, 4))
        for numbers, text in hub.publish(read_model.apply(2000 + 100 * nth, 1, m.RESULTS, run)):
            for number in numbers:
                readers[number].take(text)
    whole = read_model.book(SYMBOL).level_snapshot()
    for reader in readers[: 4 if hub.connections == 4 else 2]:
        assert reader.problems == []
        assert [len(reader.levels[side]) for side in ("bids", "asks")] == [len(whole.buys), len(whole.sells)]
        assert sum(len(side) for side in reader.orders.values()) == len(model.book)
    assert readers[0].trades == [trade.sequence for trade in read_model.book(SYMBOL).tape]


@given(_commands, st.lists(st.integers(1, 4), max_size=30), st.lists(st.integers(1, 400), min_size=1, max_size=9))
def test_a_conflated_book_is_the_book_of_now_and_then(commands: list, cuts: list[int], pauses: list[int]):
    """Its messages are so far apart, each proves the book as it is then, and the last change is told as well."""
    _model, orders, results = _market(commands)
    read_model = books()
    hub, reader, told_ms = Hub(read_model, "1"), WebReader(), [-1000]
    for sequence, order in orders.items():
        read_model.apply(sequence, 1, m.COMMANDS, [order])
    hub.connect(1)
    for reply in hub.receive(1, subscribe("book", depth=1000, conflate_ms=100)):
        reader.take(reply)
    now_ms = 0
    for nth, run in enumerate([*_cut(results, cuts), []]):
        now_ms += pauses[nth % len(pauses)] if run else 1000
        assert list(hub.publish(read_model.apply(2000 + 100 * nth, 1, m.RESULTS, run))) == []
        for _numbers, text in hub.turn(now_ms):
            assert now_ms - told_ms[-1] >= 100
            told_ms.append(now_ms)
            reader.take(text)
    whole = read_model.book(SYMBOL).level_snapshot()
    assert reader.problems == []
    assert [len(reader.levels[side]) for side in ("bids", "asks")] == [len(whole.buys), len(whole.sells)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expected a JSON object"),
        ("[]", "expected a JSON object"),
        ("[" * 10_000, "expected a JSON object"),
        ("x" * 20_000, "at most 16384 bytes"),
        ('{"method": 1}', "expected a JSON object"),
        (
            '{"method": "dance", "req_id": 7}',
            "method: expected ping, subscribe, unsubscribe, add_order, ",
        ),
        ('{"method": "subscribe", "req_id": 7}', "params: expected an object"),
        (
            subscribe("weather"),
            "channel: expected book, level3, trade, ticker, candles, instrument, ",
        ),
        (subscribe("book", symbol=[]), "symbol: expected 1 to 100 symbols, got 0"),
        (subscribe("book", symbol=["x"] * (SYMBOLS_MAX + 1)), "symbol: expected 1 to 100 symbols, got 101"),
        (subscribe("book", symbol=["NOPE"]), "symbol: expected a known symbol (BTC-USD), got 'NOPE'"),
        (subscribe("candles", interval=2), "interval: expected 1, 5, 15, 30, 60, 240, 1440, got 2"),
        (subscribe("book", conflate_ms=-1), "conflate_ms: expected 0 to 10000, of a book; got -1"),
        (subscribe("trade", conflate_ms=1), "conflate_ms: expected 0 to 10000, of a book; got 1"),
        (subscribe("book", depth=11), "depth: expected 10, 25, 100, 500, 1000, got 11"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(text: str, why: str):
    """With its req_id, where it can be read; and the connection goes on."""
    hub = Hub(books(), "1")
    hub.connect(1)
    (reply,) = map(json.loads, hub.receive(1, text))
    assert reply["success"] is False
    assert why in reply["error"]
    assert reply.get("req_id") == (7 if '"req_id": 7' in text else None)
    assert json.loads(hub.receive(1, '{"method": "ping", "req_id": 8}')[0]) == {"method": "pong", "req_id": 8}


def test_subscriptions_come_and_go():
    """Once each; after the end of one, or of its connection, nothing is made for it any more."""
    hub = Hub(books(), "1")
    status = json.loads(hub.connect(1)[0])
    assert (status["channel"], status["data"][0]["system"]) == ("status", "online")
    ack, snapshot = map(json.loads, hub.receive(1, subscribe("book")))
    assert ack == {"method": "subscribe", "success": True, "req_id": 7,
                   "result": {"channel": "book", "symbol": SYMBOL, "depth": 10}}  # fmt: skip
    assert snapshot["type"] == "snapshot"
    assert len(hub.receive(1, subscribe("book", depth=25, snapshot=False))) == 1
    assert json.loads(hub.receive(1, subscribe("book"))[0])["error"] == "already subscribed"
    left = subscribe("book").replace('"subscribe"', '"unsubscribe"')
    assert json.loads(hub.receive(1, left)[0])["success"] is True
    assert json.loads(hub.receive(1, left)[0])["error"] == "not subscribed"
    assert list(hub._channels) == [("book", SYMBOL, 25, 0)]
    hub.lost(1)
    assert (hub._channels, hub._subscribers, hub.connections) == ({}, {}, 0)


def test_subscriptions_are_bounded():
    """For each connection."""
    read_model = books()
    for number in range(2, SUBSCRIPTIONS_MAX + 3):
        terms = m.InstrumentSet(number, number, f"S{number}", "USD", 1, 2, 1, 8, 0, 0)
        read_model.apply(number, 1, m.RESULTS, [terms])
    hub = Hub(read_model, "1")
    hub.connect(1)
    replies = [
        json.loads(hub.receive(1, subscribe("trade", symbol=[f"S{n}"]))[0]) for n in range(2, SUBSCRIPTIONS_MAX + 3)
    ]
    assert [reply["success"] for reply in replies] == [True] * SUBSCRIPTIONS_MAX + [False]


def test_instruments_are_told():
    """All of them, and each that is new or changes."""
    read_model = books()
    hub = Hub(read_model, "1")
    hub.connect(1)
    _ack, snapshot = map(json.loads, hub.receive(1, '{"method":"subscribe","params":{"channel":"instrument"}}'))
    (pair,) = snapshot["data"]["pairs"]
    assert (pair["symbol"], pair["price_precision"], pair["status"]) == (SYMBOL, 2, "online")
    read_model.apply(3000, 1, m.RESULTS, [m.InstrumentHalted(1, 1)])
    ((numbers, text),) = hub.announce(read_model.directory.instruments.values())
    assert (numbers, json.loads(text)["data"]["pairs"][0]["status"]) == ([1], "halted")


def test_the_ticker_and_candles_follow_the_trades():
    """The best of the book, the last trade; the candle that is open, and none of before."""
    read_model = books()
    hub = Hub(read_model, "1")
    hub.connect(1)
    ticker = json.loads(hub.receive(1, subscribe("ticker"))[1])["data"][0]
    assert ticker == {"symbol": SYMBOL, "bid": None, "bid_qty": None, "ask": None, "ask_qty": None}
    hub.receive(1, subscribe("candles", interval=5))
    told: dict[str, list[dict]] = {"ticker": [], "candles": []}
    for nth, (price, side, at) in enumerate([(101, 2, 0), (101, 1, 0), (99, 1, 1), (99, 2, 6)], 2):
        read_model.apply(nth, at, m.COMMANDS, [m.NewOrder(1, nth, 1, f"o{nth}", side, price, 5)])
        events: list[m.Message] = [m.OrderAccepted(nth)]
        if nth in (3, 5):
            events.append(m.Trade(1, price, 5, nth - 1, nth))
        for _numbers, text in hub.publish(read_model.apply(100 + nth, at * 60_000_000_000, m.RESULTS, events)):
            message = json.loads(text)
            told[message["channel"]] += message["data"]
    assert [(one["bid"], one["ask"], one.get("last")) for one in told["ticker"]] == [
        (None, 1.01, None), (None, None, None), (None, None, 1.01),
        (0.99, None, 1.01), (None, None, 1.01), (None, None, 0.99),
    ]  # fmt: skip
    assert [(one["interval_begin"][11:16], one["open"], one["close"], one["trades"]) for one in told["candles"]] == [
        ("00:00", 1.01, 1.01, 1), ("00:05", 0.99, 0.99, 1),
    ]  # fmt: skip


def test_a_symbol_is_written_as_json_has_it():
    """Whatever an operator called it."""
    read_model = books()
    read_model.apply(3000, 1, m.RESULTS, [m.InstrumentSet(2, 2, 'a"b\\', "USD", 1, 2, 1, 8, 0, 0)])
    hub = Hub(read_model, "1")
    hub.connect(1)
    for channel in ("book", "level3", "trade", "ticker", "candles"):
        ack, snapshot = map(json.loads, hub.receive(1, subscribe(channel, symbol=['a"b\\'])))
        assert ack["result"]["symbol"] == 'a"b\\'
        assert snapshot["data"] == [] or snapshot["data"][0]["symbol"] == 'a"b\\'


def test_depths_are_those_that_are_told():
    """10 to 1000."""
    assert (min(DEPTHS), max(DEPTHS)) == (10, 1000)


def test_a_gateway_that_hears_nothing_says_so(tmp_path: Path):
    """Once to each connection, to those that come meanwhile too, and again when it hears the venue."""
    gateway = WebGateway(Keys(), tmp_path, lambda: 0, "1")

    def told(silent_ms: int) -> list[tuple[list[int], str]]:
        gateway.heartbeat(silent_ms)
        texts = [(numbers, json.loads(text)) for numbers, text in gateway.duties().told]
        return [(numbers, one["data"][0]["system"]) for numbers, one in texts if one["channel"] == "status"]

    gateway.connect(1)
    assert told(SILENT_MS) == [([1], "online")]
    assert told(SILENT_MS + 1) == [([1], "silent")]
    gateway.connect(2)
    assert told(SILENT_MS + 1) == [([2], "silent")]
    assert told(0) == [([1], "online"), ([2], "online")]
