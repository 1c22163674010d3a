"""What makes an order or an instrument valid, whatever rests in the book.

Rules
- The first that fails is the reason: INSTRUMENT_HALTED, INVALID_TERMS, INVALID_QUANTITY, INVALID_PRICE,
  PRICE_OUTSIDE_BAND, ALREADY_EXPIRED. (The book goes on with DUPLICATE_CLIENT_ORDER_ID, then
  POST_ONLY_WOULD_TRADE.)
- Prices and quantities are 1 to INT_MAX. A client order id is 1 to CLIENT_ORDER_ID_CHARS_MAX characters.
- Post-only is for limit orders that may rest: GTC and GTD.
- GTD names a time after the entry's own; with any other time in force `expire_at_ns` means nothing.
- An instrument has a symbol, a currency, a tick and a lot above zero with 0 to 18 decimals, and a band
  whose ends are not negative and in order where both are set.
"""

from typing import Final

from engines.messages import (
    CLIENT_ORDER_ID_CHARS_MAX,
    INT_MAX,
    NewOrder,
    OrderType,
    Reason,
    SelfTrade,
    SetInstrument,
    Side,
    TimeInForce,
)

DECIMALS_MAX: Final = 18

# Plain integers: to look up and compare enumeration members took 1 us of an order's 3.
_GTC: Final = int(TimeInForce.GTC)
_GTD: Final = int(TimeInForce.GTD)
_LIMIT: Final = int(OrderType.LIMIT)
_MARKET: Final = int(OrderType.MARKET)
_ALLOW: Final = int(SelfTrade.ALLOW)
_CANCEL_BOTH: Final = int(SelfTrade.CANCEL_BOTH)
_BUY: Final = int(Side.BUY)
_SELL: Final = int(Side.SELL)


class Limits:
    """What an instrument allows at the moment: the band (ticks) and whether it trades at all.

    A price is allowed from `price_min` to `price_max`, and none is while it is halted: one comparison.
    """

    __slots__ = ("band_high", "band_low", "halted", "price_max", "price_min")

    def __init__(self) -> None:
        self.halted = False
        self.set_band(0, 0)

    def set_band(self, low: int, high: int) -> None:
        """Allow prices from `low` to `high`, in ticks; 0 means no bound on that side."""
        self.band_low, self.band_high = low, high
        self.set_halted(self.halted)

    def set_halted(self, halted: bool) -> None:
        """Allow no order, or those in the band again."""
        self.halted = halted
        self.price_min = self.band_low or 1
        self.price_max = 0 if halted else min(self.band_high or INT_MAX, INT_MAX)

    def refusal(self, price: int, quantity: int) -> int:
        """Why this price (ticks) and quantity (lots) are not taken, or 0."""
        if not 0 < quantity <= INT_MAX:
            return Reason.INVALID_QUANTITY
        if self.price_min <= price <= self.price_max:
            return 0
        return Reason.PRICE_OUTSIDE_BAND if 0 < price <= INT_MAX else Reason.INVALID_PRICE


def order_refusal(order: NewOrder, limits: Limits, time_ns: int) -> int:
    """Why an order that arrives at `time_ns` is not taken (a Reason), or 0."""
    if limits.halted:
        return Reason.INSTRUMENT_HALTED
    if not _has_valid_terms(order):
        return Reason.INVALID_TERMS
    reason = limits.refusal(order.price, order.quantity)
    if not reason and order.time_in_force == _GTD and order.expire_at_ns <= time_ns:
        return Reason.ALREADY_EXPIRED
    return reason


def is_valid_client_order_id(client_order_id: str) -> bool:
    """Whether a client may call an order so."""
    return 0 < len(client_order_id) <= CLIENT_ORDER_ID_CHARS_MAX


def is_valid_instrument(terms: SetInstrument) -> bool:
    """Whether an instrument can have these terms."""
    low, high = terms.band_low, terms.band_high
    return (
        bool(terms.symbol and terms.currency)
        and terms.tick > 0
        and terms.lot > 0
        and 0 <= terms.tick_decimals <= DECIMALS_MAX
        and 0 <= terms.lot_decimals <= DECIMALS_MAX
        and low >= 0
        and (high == 0 or 0 <= low <= high)
    )


def _has_valid_terms(order: NewOrder) -> bool:
    time_in_force, order_type = order.time_in_force, order.order_type
    if order.post_only and (order_type != _LIMIT or time_in_force not in (_GTC, _GTD)):
        return False
    return (
        _BUY <= order.side <= _SELL
        and 0 < len(order.client_order_id) <= CLIENT_ORDER_ID_CHARS_MAX
        and _LIMIT <= order_type <= _MARKET
        and _GTC <= time_in_force <= _GTD
        and _ALLOW <= order.self_trade <= _CANCEL_BOTH
        and (time_in_force != _GTD or order.expire_at_ns > 0)
    )
