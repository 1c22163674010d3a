"""Mending a trade: found in the log, corrected or busted by a sequenced operation, reported to both sides.

log --folded--> trade at N: who, what, as it was mended last --CorrectTrade--> log --TradeCorrected--> both clients
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from engines.messages import DECISIONS, ENCODER, OPERATIONS, CorrectTrade, Side, TradeCorrected, TradedOrder, decode
from gateways import events as e
from gateways.names import Directory, Instrument, TextError
from gateways.orders import Orders, runs
from sequencer.client import Voice
from sequencer.config import Config
from sequencer.envelope import Entry
from sequencer.errors import ConfigError, IslandError
from sequencer.log_tools import entries_of

ANSWER_S: Final = 10.0


class Found(msgspec.Struct, frozen=True):
    """A trade as it is now, in ticks and lots; the names of its sides."""

    trade: int
    instrument: Instrument
    buyer_id: int
    seller_id: int
    buyer: str
    seller: str
    price: int
    quantity: int
    bought: TradedOrder
    sold: TradedOrder

    def mended(self, price: int, quantity: int, reason: str) -> CorrectTrade:
        """The operation that makes it one of `quantity` lots at `price`."""
        return CorrectTrade(
            self.trade, self.instrument.instrument_id, self.buyer_id, self.seller_id, self.price, self.quantity, price,
            quantity, reason, self.bought, self.sold,
        )  # fmt: skip

    def as_row(self) -> dict[str, object]:
        """For people."""
        return {
            "trade": self.trade,
            "symbol": self.instrument.symbol,
            "buyer": self.buyer,
            "seller": self.seller,
            "price": self.instrument.price_text(self.price),
            "quantity": self.instrument.quantity_text(self.quantity),
        }


def trade_at(entries: Iterable[Entry], sequence: int) -> Found:
    """The trade at a sequence number, as it was mended last. Raises ConfigError where there is none."""
    orders, names = Orders(), Directory()
    trade: e.Trade | None = None
    terms = (0, 0)
    stand: dict[int, TradedOrder] = {}
    """Both of its orders, after all that has happened to them."""
    for entry in entries:
        for first_sequence, channel, messages in runs(entry):
            names.apply(channel, messages)
            for event in orders.apply(first_sequence, entry.time_ns, channel, messages):
                if isinstance(event, e.Trade) and event.taker.sequence == sequence:
                    trade, terms = event, (event.taker.price, event.taker.quantity)
                    stand = {fill.order_id: _as_it_stands(fill) for fill in (event.maker, event.taker)}
                elif isinstance(event, e.TradeCorrected) and event.trade == sequence:
                    terms = (event.price, event.quantity)
                for one in (event.maker, event.taker) if isinstance(event, e.Trade) else (event,):
                    if isinstance(one, e.OrderEvent | e.TradeCorrected) and one.order_id in stand:
                        stand[one.order_id] = _as_it_stands(one)
    if trade is None:
        raise ConfigError(f"there is no trade at sequence {sequence:,}: `sequencer trace` shows where an order's are")
    sides = {fill.side: fill for fill in (trade.maker, trade.taker)}
    buyer_id, seller_id = sides[Side.BUY].client_id, sides[Side.SELL].client_id
    bought, sold = stand[sides[Side.BUY].order_id], stand[sides[Side.SELL].order_id]
    instrument = names.instruments[trade.taker.instrument_id]
    return Found(
        sequence, instrument, buyer_id, seller_id, names.client_name(buyer_id), names.client_name(seller_id), *terms,
        bought, sold,
    )  # fmt: skip


def _as_it_stands(event: e.OrderEvent | e.TradeCorrected) -> TradedOrder:
    is_expired = isinstance(event, e.OrderExpired) or (isinstance(event, e.TradeCorrected) and event.is_expired)
    return TradedOrder(event.order_id, event.client_order_id, event.total, event.traded, event.notional, is_expired)


def correct(config: Config, sequence: int, price: str | None, quantity: str | None, reason: str) -> tuple[Found, Found]:
    """Have a trade mended; return what it was and what it is. Without a price and a quantity it is busted.

    Raises ConfigError for no trade, or text that is no price or quantity; IslandError where credit does not answer.
    """
    before = trade_at(entries_of(config), sequence)
    if not before.quantity:
        raise ConfigError(f"the trade at {sequence:,} is busted already")
    busts = price is None and quantity is None
    try:
        terms = (
            before.price if price is None else before.instrument.ticks(price),
            0 if busts else before.quantity if quantity is None else before.instrument.lots(quantity),
        )
    except TextError as error:
        raise ConfigError(str(error)) from None
    answered: set[int] = set()
    with Voice.of_operator(config) as voice:
        by = voice.say(OPERATIONS, ENCODER.encode([before.mended(*terms, reason)])).first_sequence

        def hear(entry: Entry) -> bool:
            for batch in entry.batches():
                if batch.channel == DECISIONS:
                    told = [one for one in decode(DECISIONS, batch.payload) if isinstance(one, TradeCorrected)]
                    answered.update(one.account_id for one in told if one.by == by)
            return {before.buyer_id, before.seller_id} <= answered

        if not voice.listen(hear, ANSWER_S):
            raise IslandError(
                f"asked at {by:,}, and credit has not answered for both sides within {ANSWER_S:.0f} s: it is down, or "
                "the trade was mended meanwhile; `sequencer trade show` tells"
            )
    return before, msgspec.structs.replace(before, price=terms[0], quantity=terms[1])
