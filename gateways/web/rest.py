"""What is asked once: instruments, a book, the latest trades. Pure: a path and its query give a status and JSON.

What is wrong with a question raises RefusedError, which is answered in JSON as well: {"error": what was expected}.
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
from gateways.web.keys import TOKEN_S, Key
from gateways.web.refusals import RefusedError

DEPTH: Final = 100
DEPTH_MAX: Final = 5000
CANDLES: Final = 100
SIDES: Final = {1: "buy", 2: "sell"}

Answer = tuple[int, bytes]
"""Status and body."""


def instruments(books: Books) -> Answer:
    """All instruments, by id."""
    known = sorted(books.directory.instruments.values(), key=lambda one: one.instrument_id)
    rows = [instrument_row(one, halted=one.instrument_id in books.halted) for one in known]
    return 200, msgspec.json.encode({"instruments": rows})


def book(books: Books, symbol: str, query: Mapping[str, str]) -> Answer:
    """The best `depth` levels of each side; `sequence` is the place in the log up to which it holds."""
    instrument = _instrument(books, symbol)
    depth = number_in(query, "depth", DEPTH, DEPTH_MAX)
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
    instrument = _instrument(books, symbol)
    count = number_in(query, "count", TRADES_KEPT, TRADES_KEPT)
    since = number_in(query, "since", 0, (1 << 63) - 1)
    told = books.books[instrument.instrument_id].trades_snapshot(0, TRADES_KEPT).trades
    rows = [
        {"trade_id": one.sequence, "side": SIDES[one.aggressor_side], "price": _raw(instrument.price_text(one.price)),
         "qty": _raw(instrument.quantity_text(one.quantity)), "timestamp": iso_text(one.time_ns)}
        for one in told if one.sequence > since
    ]  # fmt: skip
    return 200, msgspec.json.encode({"symbol": symbol, "trades": rows[len(rows) - min(count, len(rows)) :]})


def candles(books: Books, hub: Hub, symbol: str, query: Mapping[str, str]) -> Answer:
    """The latest `count` candles of `interval` minutes, the oldest first."""
    instrument = _instrument(books, symbol)
    interval = number_in(query, "interval", INTERVALS[0], INTERVALS[-1])
    count = number_in(query, "count", CANDLES, KEPT_MINUTES)
    if interval not in INTERVALS:
        raise RefusedError(f"interval: expected {', '.join(map(str, INTERVALS))}, got {interval}")
    found = hub.candles(instrument.instrument_id).latest(interval, count)
    rows = [msgspec.Raw(candle_text(instrument, one, interval).encode()) for one in found]
    return 200, msgspec.json.encode({"symbol": symbol, "interval": interval, "candles": rows})


def token(text: str, key: Key) -> Answer:
    """What a WebSocket is to show, and what may be done with it."""
    return 200, msgspec.json.encode({"token": text, "expires": TOKEN_S, "client": key.client, "may": key.may})


def fields_of(body: bytes) -> dict[str, Any]:
    """The fields of a JSON object; numbers stay as they are written. Raises RefusedError."""
    try:
        return dict(msgspec.json.decode(body or b"{}", type=dict[str, msgspec.Raw]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(f"expected a JSON object: {error}") from None


def options_of(query: Mapping[str, str], *names: str) -> dict[str, Any]:
    """These fields of a query, and no others. Raises RefusedError."""
    unknown = sorted(set(query) - set(names))
    if unknown:
        raise RefusedError(f"{unknown[0][:40]}: expected {', '.join(names)}")
    found: dict[str, Any] = {name: query[name] for name in names if name in query}
    if "number" in found:
        found["number"] = number_in(query, "number", 0, (1 << 63) - 1)
    return found


def _instrument(books: Books, symbol: str) -> Instrument:
    try:
        return books.directory.instrument(symbol)
    except UnknownNameError as error:
        raise RefusedError(f"symbol: {error}", 404) from None


def number_in(query: Mapping[str, str], name: str, default: int, highest: int) -> int:
    """A number in a query. Raises RefusedError."""
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= highest):
        raise RefusedError(f"{name}: expected a number from 0 to {highest}, got {text[:40]!r}")
    return int(text)


def _raw(number: str) -> msgspec.Raw:
    return msgspec.Raw(number.encode())


def refusal(refused: RefusedError) -> Answer:
    """Why a request was not obeyed."""
    body: dict[str, Any] = {"error": str(refused)}
    return refused.status, msgspec.json.encode(body)
