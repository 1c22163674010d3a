"""What is asked once: instruments, a book, the latest trades. Pure: a path and its query give a status and JSON.

Errors are JSON as well: {"error": what was expected, what came}.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateways.marketdata.books import Books
from gateways.marketdata.protocol import TRADES_KEPT
from gateways.names import Instrument, UnknownNameError
from gateways.times import iso_text
from gateways.web.candles import INTERVALS, KEPT_MINUTES
from gateways.web.channels import candle_text
from gateways.web.hub import Hub, instrument_row

DEPTH: Final = 100
DEPTH_MAX: Final = 5000
CANDLES: Final = 100
SIDES: Final = {1: "buy", 2: "sell"}

Answer = tuple[int, bytes]
"""Status and body."""


class _RefusedError(Exception):
    """A request that cannot be answered: status and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def instruments(books: Books) -> Answer:
    """All instruments, by id."""
    known = sorted(books.directory.instruments.values(), key=lambda one: one.instrument_id)
    rows = [instrument_row(one, halted=one.instrument_id in books.halted) for one in known]
    return 200, msgspec.json.encode({"instruments": rows})


def book(books: Books, symbol: str, query: Mapping[str, str]) -> Answer:
    """The best `depth` levels of each side; `sequence` is the place in the log up to which it holds."""
    try:
        instrument = _instrument(books, symbol)
        depth = _number(query, "depth", DEPTH, DEPTH_MAX)
    except _RefusedError as refused:
        return _error(refused)
    told = books.books[instrument.instrument_id].level_snapshot(0, depth)
    sides = [
        [{"price": _raw(instrument.price_text(one.price)), "qty": _raw(instrument.quantity_text(one.quantity)),
          "orders": one.orders} for one in side]
        for side in (told.buys, told.sells)
    ]  # fmt: skip
    body = {"symbol": symbol, "sequence": told.sequence, "timestamp": iso_text(told.time_ns)}
    return 200, msgspec.json.encode(body | {"bids": sides[0], "asks": sides[1]})


def trades(books: Books, symbol: str, query: Mapping[str, str]) -> Answer:
    """The latest trades, at most `count`, oldest first; `since` leaves out those up to a `trade_id`."""
    try:
        instrument = _instrument(books, symbol)
        count = _number(query, "count", TRADES_KEPT, TRADES_KEPT)
        since = _number(query, "since", 0, (1 << 63) - 1)
    except _RefusedError as refused:
        return _error(refused)
    told = books.books[instrument.instrument_id].trades_snapshot(0, TRADES_KEPT).trades
    rows = [
        {"trade_id": one.sequence, "side": SIDES[one.aggressor_side], "price": _raw(instrument.price_text(one.price)),
         "qty": _raw(instrument.quantity_text(one.quantity)), "timestamp": iso_text(one.time_ns)}
        for one in told if one.sequence > since
    ]  # fmt: skip
    return 200, msgspec.json.encode({"symbol": symbol, "trades": rows[len(rows) - min(count, len(rows)) :]})


def candles(books: Books, hub: Hub, symbol: str, query: Mapping[str, str]) -> Answer:
    """The latest `count` candles of `interval` minutes, the oldest first."""
    try:
        instrument = _instrument(books, symbol)
        interval = _number(query, "interval", INTERVALS[0], INTERVALS[-1])
        count = _number(query, "count", CANDLES, KEPT_MINUTES)
    except _RefusedError as refused:
        return _error(refused)
    if interval not in INTERVALS:
        return _error(_RefusedError(400, f"interval: expected {', '.join(map(str, INTERVALS))}, got {interval}"))
    found = hub.candles(instrument.instrument_id).latest(interval, count)
    rows = [msgspec.Raw(candle_text(instrument, one, interval).encode()) for one in found]
    return 200, msgspec.json.encode({"symbol": symbol, "interval": interval, "candles": rows})


def _instrument(books: Books, symbol: str) -> Instrument:
    try:
        return books.directory.instrument(symbol)
    except UnknownNameError as error:
        raise _RefusedError(404, f"symbol: {error}") from None


def _number(query: Mapping[str, str], name: str, default: int, highest: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= highest):
        raise _RefusedError(400, f"{name}: expected a number from 0 to {highest}, got {text[:40]!r}")
    return int(text)


def _raw(number: str) -> msgspec.Raw:
    return msgspec.Raw(number.encode())


def _error(refused: _RefusedError) -> Answer:
    body: dict[str, Any] = {"error": str(refused)}
    return refused.status, msgspec.json.encode(body)
