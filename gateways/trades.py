"""Mending a trade: found in the log, corrected or busted by a sequenced operation, reported to both sides.

log --folded--> trade at N: who, what, as it was mended last --CorrectTrade--> log --TradeCorrected--> both clients
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from engines.messages import DECISIONS, ENCODER, OPERATIONS, CorrectTrade, Side, TradeCorrected, decode
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
    for entry in entries:
        for first_sequence, channel, messages in runs(entry):
            names.apply(channel, messages)
            for event in orders.apply(first_sequence, entry.time_ns, channel, messages):
                if isinstance(event, e.Trade) and event.taker.sequence == sequence:
                    trade, terms = event, (event.taker.price, event.taker.quantity)
                elif isinstance(event, e.TradeCorrected) and event.trade == sequence:
                    terms = (event.price, event.quantity)
    if trade is None:
        raise ConfigError(f"there is no trade at sequence {sequence:,}: `sequencer trace` shows where an order's are")
    sides = {fill.side: fill.client_id for fill in (trade.maker, trade.taker)}
    buyer_id, seller_id = sides[Side.BUY], sides[Side.SELL]
    instrument = names.instruments[trade.taker.instrument_id]
    return Found(
        sequence, instrument, buyer_id, seller_id, names.client_name(buyer_id), names.client_name(seller_id), *terms
    )


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
    asked = CorrectTrade(
        sequence, before.instrument.instrument_id, before.buyer_id, before.seller_id, before.price, before.quantity,
        *terms, reason,
    )  # fmt: skip
    answered: set[int] = set()
    with Voice.of_operator(config) as voice:
        by = voice.say(OPERATIONS, ENCODER.encode([asked])).first_sequence

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
