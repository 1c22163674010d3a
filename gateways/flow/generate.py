"""A made-up order flow of the same form as the recorded one, from a seed.

    seed --> mid prices that walk at random --> new orders around them, cancels, replaces --> JSON lines

Rules
- The lines are a function of the arguments alone: no clock, no hash, no set; the same in any process.
- Every line is valid. That does not mean that a venue obeys it: some orders cannot be filled, some
  post-only orders would trade, some dates are past, some cancels come too late.
- The generator does not match orders. It remembers a bounded number of ids that may still be live.
"""

from collections.abc import Iterator
from random import Random
from typing import Final, TypedDict

from gateways.flow.bitstamp import client, opening, symbol
from gateways.flow.lines import (
    CancelAll,
    CancelOrder,
    Line,
    NewOrder,
    OrderTypeWord,
    ReplaceOrder,
    SelfTradeWord,
    SideWord,
    TimeInForceWord,
    encode,
)

MID_TICKS: Final = 7_800_000
STEP_TICKS: Final = 200
SPREAD_TICKS: Final = 500
DEPTH_TICKS: Final = 20_000
CROSSING: Final = 0.06
CROSSING_AT_ONCE: Final = 0.7
LOTS_MAX: Final = 300_000_000
LIVE_MAX: Final = 400
"""For each instrument; from there on every other command is a cancel."""

YEAR_2000_NS: Final = 946_684_800_000_000_000
YEAR_2100_NS: Final = 4_102_444_800_000_000_000


class Terms(TypedDict, total=False):
    """What an order says beyond its price and quantity."""

    order_type: OrderTypeWord
    time_in_force: TimeInForceWord
    expire_at: int
    post_only: bool
    self_trade: SelfTradeWord


_TERMS: Final[tuple[tuple[int, Terms], ...]] = (
    (820, {}),
    (50, {"time_in_force": "ioc"}),
    (20, {"time_in_force": "fok"}),
    (30, {"order_type": "market", "time_in_force": "ioc"}),
    (40, {"post_only": True}),
    (30, {"time_in_force": "gtd", "expire_at": YEAR_2100_NS}),
    (2, {"time_in_force": "gtd", "expire_at": YEAR_2000_NS}),
    (3, {"self_trade": "cancel_newest"}),
    (3, {"self_trade": "cancel_oldest"}),
    (2, {"self_trade": "cancel_both"}),
)
_WEIGHTS: Final = [weight for weight, _ in _TERMS]
_CHOICES: Final = [terms for _, terms in _TERMS]


def lines(seed: int, count: int, instruments: int = 1, clients: int = 2) -> Iterator[str]:
    """The instruments, credit for the clients, and then `count` commands, as JSON lines."""
    yield from map(encode, opening(instruments, clients))
    random = Random(seed)
    markets = [_Market(random, symbol(ordinal), clients) for ordinal in range(instruments)]
    for ordinal in range(1, count + 1):
        yield encode(random.choice(markets).command(ordinal))


class _Market:
    """One instrument's flow: where its price is and which orders may be live."""

    def __init__(self, random: Random, symbol: str, clients: int) -> None:
        self._random = random
        self._symbol = symbol
        self._clients = clients
        self._mid_ticks = MID_TICKS
        self._live: list[tuple[str, str, str]] = []

    def command(self, ordinal: int) -> Line:
        """The next command; `ordinal` makes its order's id unique."""
        self._mid_ticks = max(DEPTH_TICKS * 2, self._mid_ticks + self._random.randint(-STEP_TICKS, STEP_TICKS))
        dice = self._random.random()
        if dice < 0.0005:
            owner = client(self._random.randrange(self._clients))
            return CancelAll(client=owner, account=owner, symbol=self._symbol)
        if self._live and (dice < 0.45 or len(self._live) >= LIVE_MAX):
            return self._cancel()
        if self._live and dice < 0.50:
            return self._replace()
        return self._new(ordinal)

    def _cancel(self) -> CancelOrder:
        place = self._random.randrange(len(self._live))
        self._live[place], self._live[-1] = self._live[-1], self._live[place]
        owner, order_id, _ = self._live.pop()
        return CancelOrder(client=owner, client_order_id=order_id, symbol=self._symbol)

    def _replace(self) -> ReplaceOrder:
        owner, order_id, side = self._random.choice(self._live)
        price, quantity = self._price(side, CROSSING), self._quantity()
        return ReplaceOrder(client=owner, client_order_id=order_id, symbol=self._symbol, price=price, quantity=quantity)

    def _new(self, ordinal: int) -> NewOrder:
        owner, side = client(self._random.randrange(self._clients)), self._side()
        (terms,) = self._random.choices(_CHOICES, _WEIGHTS)
        at_once = terms.get("time_in_force") in {"ioc", "fok"}
        price = self._price(side, CROSSING_AT_ONCE if at_once else CROSSING)
        quantity, order_id = self._quantity(), f"g{ordinal}"
        self._live.append((owner, order_id, side))
        return NewOrder(owner, order_id, self._symbol, side, price, quantity, **terms)

    def _side(self) -> SideWord:
        return "buy" if self._random.random() < 0.5 else "sell"

    def _price(self, side: str, crossing: float) -> str:
        """Most orders rest, the more the nearer to the mid price; a few cross the spread."""
        away = SPREAD_TICKS + int(self._random.random() ** 3 * DEPTH_TICKS)
        if self._random.random() < crossing:
            away = -2 * SPREAD_TICKS
        ticks = self._mid_ticks - away if side == "buy" else self._mid_ticks + away
        return f"{ticks // 100}.{ticks % 100:02}"

    def _quantity(self) -> str:
        lots = 1 + int(self._random.random() ** 4 * LOTS_MAX)
        return f"{lots // 100_000_000}.{lots % 100_000_000:08}"
