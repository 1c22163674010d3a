"""Market data in FIX: subscriptions of one session, and what they are told.

    MarketDataRequest --> snapshot (W) --> changes (X), or whole books again (W)

Rules
- What is told is the difference between what was told last and the book as it is now: a reader that is told less often
  gets the same book, with fewer steps.
- Bids and offers are levels: one entry for each price, the best `depth` of them. Trades are all told, from the
  subscription on.
- None of it is sent again: a ResendRequest finds gaps in its place.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from engines.messages import Side
from gateways.fix import tags as t
from gateways.fix.codec import Message
from gateways.fix.tags import Type
from gateways.fix.translate import Fields, Report
from gateways.marketdata.feeds import Feed
from gateways.marketdata.protocol import TradeDone
from gateways.names import Directory, Instrument
from gateways.times import utc_text

SUBSCRIPTIONS_MAX: Final = 64
SYMBOLS_MAX: Final = 256
SNAPSHOT, SUBSCRIBE, UNSUBSCRIBE = "0", "1", "2"
BID, OFFER, TRADE = "0", "1", "2"
NEW, CHANGE, DELETE = "0", "1", "2"
_UNKNOWN_SYMBOL, _DUPLICATE, _TOO_MANY, _UPDATE_TYPE = "0", "1", "3", "6"
_SIDES: Final = {BID: int(Side.BUY), OFFER: int(Side.SELL)}

Levels = dict[int, tuple[int, int]]


class Subscription(msgspec.Struct):
    """One MDReqID: what it asks for, and what it was told: symbol -> entry type -> levels."""

    request_id: str
    symbols: list[str]
    depth: int
    kinds: frozenset[str]
    goes_on: bool
    is_incremental: bool
    told: dict[str, dict[str, Levels]] = {}


class Market:
    """The subscriptions of one session."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, Subscription] = {}

    @property
    def symbols(self) -> set[str]:
        """What has to be followed."""
        return {symbol for one in self._subscriptions.values() for symbol in one.symbols}

    def request(self, message: Message, names: Directory) -> Report | None:
        """Take a MarketDataRequest; a reject, if it is one. Snapshots follow when the books are there."""
        request_id, action = message.get(t.MD_REQ_ID), message.get(t.SUBSCRIPTION_REQUEST_TYPE)
        if action == UNSUBSCRIBE:
            self._subscriptions.pop(request_id, None)
            return None
        symbols = [value for tag, value in message.fields if tag == t.SYMBOL]
        kinds = frozenset(value for tag, value in message.fields if tag == t.MD_ENTRY_TYPE)
        unknown = [symbol for symbol in symbols if not names.knows(symbol)]
        if unknown:
            return _reject(request_id, _UNKNOWN_SYMBOL, f"Symbol: {unknown[0]!r} is not known")
        if request_id in self._subscriptions:
            return _reject(request_id, _DUPLICATE, f"MDReqID: {request_id!r} is in use")
        if len(self._subscriptions) >= SUBSCRIPTIONS_MAX or len(symbols) > SYMBOLS_MAX:
            text = f"at most {SUBSCRIPTIONS_MAX} subscriptions of {SYMBOLS_MAX} symbols"
            return _reject(request_id, _TOO_MANY, text)
        if action == SUBSCRIBE and not message.get(t.MD_UPDATE_TYPE):
            return _reject(request_id, _UPDATE_TYPE, "MDUpdateType: a subscription needs one, 0 or 1")
        depth = int(message.get(t.MARKET_DEPTH))
        is_incremental = message.get(t.MD_UPDATE_TYPE) == "1"
        self._subscriptions[request_id] = Subscription(
            request_id, symbols, max(0, depth), kinds, action == SUBSCRIBE, is_incremental
        )
        return None

    def tell(self, feed: Feed, trades: list[TradeDone], instrument: Instrument) -> list[Report]:
        """What the subscriptions are told of an instrument that has changed, or that one of them waits for."""
        reports = []
        for one in list(self._subscriptions.values()):
            if feed.symbol not in one.symbols:
                continue
            now = {kind: _best(feed, kind, one.depth) for kind in (BID, OFFER) if kind in one.kinds}
            before = one.told.get(feed.symbol)
            fresh = trades if TRADE in one.kinds and before is not None else []
            made = _changes(one, feed.symbol, now, fresh, instrument)
            if made is not None:
                reports.append(made)
            one.told[feed.symbol] = now
            if not one.goes_on and len(one.told) == len(one.symbols):
                del self._subscriptions[one.request_id]
        return reports

    def waits_for(self, symbol: str) -> bool:
        """Whether a subscription was told nothing of an instrument yet."""
        return any(symbol in one.symbols and symbol not in one.told for one in self._subscriptions.values())


def _best(feed: Feed, kind: str, depth: int) -> Levels:
    view = feed.levels.view
    side = view.buys if kind == BID else view.sells
    prices = sorted(side, reverse=kind == BID)
    return {price: side[price] for price in (prices[:depth] if depth else prices)}


def _changes(
    one: Subscription, symbol: str, now: dict[str, Levels], trades: list[TradeDone], instrument: Instrument
) -> Report | None:
    """The message that takes a reader from what it was told to what is now; None where that is the same."""
    before = one.told.get(symbol)
    if before == now and not trades:
        return None
    tape = [_trade(trade, instrument) for trade in trades]
    if before is None or not one.is_incremental:
        entries = [
            [(t.MD_ENTRY_TYPE, kind), *_level(price, level, instrument)]
            for kind, levels in now.items()
            for price, level in levels.items()
        ]
        head: Fields = [(t.MD_REQ_ID, one.request_id), (t.SYMBOL, symbol)]
        return Type.MARKET_DATA_SNAPSHOT, [*head, *_group([*entries, *tape])]
    entries = [
        [(t.MD_UPDATE_ACTION, action), (t.MD_ENTRY_TYPE, kind), (t.SYMBOL, symbol), *_level(price, level, instrument)]
        for kind, levels in now.items()
        for action, price, level in _steps(before[kind], levels)
    ]
    tape = [[(t.MD_UPDATE_ACTION, NEW), entry[0], (t.SYMBOL, symbol), *entry[1:]] for entry in tape]
    return Type.MARKET_DATA_INCREMENTAL, [(t.MD_REQ_ID, one.request_id), *_group([*entries, *tape])]


def _steps(before: Levels, now: Levels) -> Iterable[tuple[str, int, tuple[int, int]]]:
    for price, level in before.items():
        if price not in now:
            yield DELETE, price, level
    for price, level in now.items():
        if price not in before:
            yield NEW, price, level
        elif level != before[price]:
            yield CHANGE, price, level


def _level(price: int, level: tuple[int, int], instrument: Instrument) -> Fields:
    quantity, orders = level
    return [
        (t.MD_ENTRY_PX, instrument.price_text(price)), (t.MD_ENTRY_SIZE, instrument.quantity_text(quantity)),
        (t.NUMBER_OF_ORDERS, orders),
    ]  # fmt: skip


def _trade(trade: TradeDone, instrument: Instrument) -> Fields:
    return [
        (t.MD_ENTRY_TYPE, TRADE), (t.MD_ENTRY_PX, instrument.price_text(trade.price)),
        (t.MD_ENTRY_SIZE, instrument.quantity_text(trade.quantity)), (t.MD_ENTRY_TIME, utc_text(trade.time_ns)[9:]),
    ]  # fmt: skip


def _group(entries: list[Fields]) -> Fields:
    return [(t.NO_MD_ENTRIES, len(entries)), *(field for entry in entries for field in entry)]


def _reject(request_id: str, reason: str, text: str) -> Report:
    return Type.MARKET_DATA_REJECT, [(t.MD_REQ_ID, request_id), (t.MD_REQ_REJ_REASON, reason), (t.TEXT, text)]
