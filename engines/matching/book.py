"""One instrument's book: who rests where, who trades with whom.

    bids   keys [ 98,   99,  100]       the best is last on both sides
    asks   keys [-104, -102, -101]      key = price of a buy, minus the price of a sell

           levels { key: { order id: order, ... oldest first } }

A buy at key b and a sell at key s trade where b + s >= 0: both sides run through the same code.

Rules
- Price, then time. A trade is at the maker's price. The book is never crossed between two commands.
- An order's events: OrderAccepted, its trades and the cancels of its own client's orders that it met, in
  the order in which it met them, then one OrderCanceled of a rest that does not stay.
- A market order is a limit order that never rests; its price is its protection. Its rest is canceled as
  MARKET_REMAINDER (FOK: FILL_OR_KILL), that of an IOC as IMMEDIATE_OR_CANCEL.
- An FOK trades in full or not at all. What counts is what it could trade with under its own self-trade
  instruction: nothing behind an own order where that would cancel it, never an own order.
- Post-only is rejected when its price reaches the best opposite order, whoever owns that.
- The incoming order's instruction says what happens when it meets an order of its own client. A replace
  that trades follows the instruction of the order that it replaces.
- A live client order id is unique for its client. One that is gone may be used again.
- A replace is judged in this order: UNKNOWN_ORDER, INSTRUMENT_HALTED, INVALID_TERMS (its new id), then as a
  new order (see terms), DUPLICATE_CLIENT_ORDER_ID, what has traded, POST_ONLY_WOULD_TRADE. At the same price
  a total that is not higher keeps the place in the queue; all else goes to the back of it, after it has
  traded what it can.
- Whoever calls with a command expires first what is due at its time (`expires_at_ns`, `expire`).
"""

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from sortedcontainers import SortedDict

from engines.matching.terms import Limits, is_valid_client_order_id, order_refusal
from engines.messages import (
    CancelOrder,
    CancelRejected,
    Message,
    NewOrder,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderRejected,
    OrderReplaced,
    OrderType,
    Reason,
    ReplaceOrder,
    ReplaceRejected,
    SelfTrade,
    Side,
    TimeInForce,
    Trade,
)

Emit = Callable[[Message], None]

NEVER_NS: Final = 1 << 64

# Plain integers: to look up and compare enumeration members took 1 us of an order's 3.
_BUY: Final = int(Side.BUY)
_GTD: Final = int(TimeInForce.GTD)
_FOK: Final = int(TimeInForce.FOK)
_IOC: Final = int(TimeInForce.IOC)
_MARKET: Final = int(OrderType.MARKET)
_CANCEL_OLDEST: Final = int(SelfTrade.CANCEL_OLDEST)
_CANCEL_NEWEST: Final = int(SelfTrade.CANCEL_NEWEST)
_REQUESTED: Final = int(Reason.REQUESTED)
_SELF_TRADE: Final = int(Reason.SELF_TRADE)
_FILL_OR_KILL: Final = int(Reason.FILL_OR_KILL)
_MARKET_REMAINDER: Final = int(Reason.MARKET_REMAINDER)
_IMMEDIATE_OR_CANCEL: Final = int(Reason.IMMEDIATE_OR_CANCEL)
_UNKNOWN_ORDER: Final = int(Reason.UNKNOWN_ORDER)

_DICT_BYTES_MAX: Final = 4096


class Order(msgspec.Struct, array_like=True, gc=False, eq=False):
    """A resting order. `key` is its signed price, `quantity` its total; `expire_at_ns` is 0 unless it is GTD."""

    order_id: int
    client_id: int
    client_order_id: str
    key: int
    quantity: int
    leaves: int
    self_trade: int = 0
    expire_at_ns: int = 0
    post_only: bool = False

    @property
    def side(self) -> Side:
        """Which way it trades."""
        return Side.BUY if self.key > 0 else Side.SELL

    @property
    def price(self) -> int:
        """Its limit, in ticks."""
        return abs(self.key)


class Taker(msgspec.Struct, gc=False, eq=False):
    """An incoming order while it trades; `by` is the command that made it come."""

    order_id: int
    by: int
    client_id: int
    self_trade: int
    key: int
    leaves: int


Level = dict[int, Order]


class BookSide:
    """The resting orders of one side, best price last, oldest order first."""

    __slots__ = ("keys", "levels")

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.levels: dict[int, Level] = {}

    def __iter__(self) -> Iterator[Order]:
        """Every order in priority: the next to trade first."""
        for key in reversed(self.keys):
            yield from self.levels[key].values()

    def add(self, order: Order) -> None:
        """Put an order at the back of its price's queue."""
        key = order.key
        level = self.levels.get(key)
        if level is None:
            insort(self.keys, key)
            self.levels[key] = {order.order_id: order}
        else:
            level[order.order_id] = order

    def remove(self, order: Order) -> None:
        """Take an order out, and its level with it when it was the last one there."""
        key = order.key
        level = self.levels[key]
        if len(level) > 1:
            del level[order.order_id]
        else:
            self.drop(key)

    def drop(self, key: int) -> None:
        """Forget a level."""
        keys = self.keys
        if keys[-1] == key:
            keys.pop()
        else:
            del keys[bisect_left(keys, key)]
        del self.levels[key]

    def best(self) -> Level:
        """The queue to trade with first; there must be one.

        A dict finds its first item by walking over what was deleted before it, so a long queue that is
        eaten from its front would cost its square. An OrderedDict does not, but costs 110 ns more to make
        and drop: a level becomes one when it has grown (deleted items count) and a taker comes to it.
        """
        key = self.keys[-1]
        level = self.levels[key]
        if type(level) is dict and level.__sizeof__() > _DICT_BYTES_MAX:
            level = self.levels[key] = OrderedDict(level)
        return level


class Book:
    """All live orders of one instrument. Every method tells what happened through `emit`, in order."""

    __slots__ = ("asks", "bids", "expires_at_ns", "expiries", "instrument_id", "limits", "live")

    def __init__(self, instrument_id: int) -> None:
        self.instrument_id = instrument_id
        self.limits = Limits()
        self.bids = BookSide()
        self.asks = BookSide()
        self.live: dict[int, dict[str, Order]] = {}
        """client id -> client order id -> order"""
        self.expiries: SortedDict[tuple[int, int], Order] = SortedDict()
        """(expire_at_ns, order id) -> order"""
        self.expires_at_ns = NEVER_NS
        """Nothing is due before this; never later than the first expiry, sometimes earlier."""

    def enter(self, command: NewOrder, order_id: int, time_ns: int, emit: Emit) -> None:
        """Accept or reject a new order, trade it, let it rest."""
        reason = order_refusal(command, self.limits, time_ns) or self._order_refusal(command)
        if reason:
            emit(OrderRejected(order_id, int(reason)))
            return
        emit(OrderAccepted(order_id))
        leaves = self._trade(command, order_id, emit)
        if leaves:
            expire_at_ns = command.expire_at_ns if command.time_in_force == _GTD else 0
            self.rest(
                Order(
                    order_id, command.client_id, command.client_order_id, _key(command), command.quantity, leaves,
                    command.self_trade, expire_at_ns, command.post_only,
                )
            )  # fmt: skip

    def cancel(self, command: CancelOrder, by: int, emit: Emit) -> None:
        """Cancel an order on its client's request."""
        order = self.live.get(command.client_id, {}).get(command.client_order_id)
        if order is None:
            emit(CancelRejected(by, _UNKNOWN_ORDER))
        else:
            self._cancel(order, by, _REQUESTED, emit)

    def replace(self, command: ReplaceOrder, by: int, emit: Emit) -> None:
        """Change an order's price, total and perhaps name, or say why not."""
        order = self.live.get(command.client_id, {}).get(command.client_order_id)
        if order is None:
            emit(ReplaceRejected(by, _UNKNOWN_ORDER))
            return
        leaves = command.quantity - (order.quantity - order.leaves)
        reason = self._replace_refusal(order, command, leaves)
        if reason:
            emit(ReplaceRejected(by, int(reason)))
        elif leaves <= 0:
            self._cancel(order, by, Reason.REPLACED_BELOW_TRADED, emit)
        else:
            self._amend(order, command, leaves, by, emit)

    def cancel_all(self, client_id: int | None, by: int, reason: int, emit: Emit) -> int:
        """Cancel all orders of a client (None: of everybody), the oldest first, and return how many."""
        if client_id is None:
            found = [order for mine in self.live.values() for order in mine.values()]
        else:
            found = list(self.live.get(client_id, {}).values())
        found.sort(key=_order_id)
        for order in found:
            self._cancel(order, by, reason, emit)
        return len(found)

    def expire(self, time_ns: int, by: int, emit: Emit) -> None:
        """Expire what is due at `time_ns`, by expiry and then by age; `by` is the command in hand."""
        expiries = self.expiries
        while expiries and expiries.peekitem(0)[0][0] <= time_ns:
            order = expiries.peekitem(0)[1]
            self._remove(order)
            emit(OrderExpired(order.order_id, by, order.leaves))
        self.expires_at_ns = expiries.peekitem(0)[0][0] if expiries else NEVER_NS

    def rest(self, order: Order) -> None:
        """Let an order rest behind all that rest at its price already."""
        self.live.setdefault(order.client_id, {})[order.client_order_id] = order
        (self.bids if order.key > 0 else self.asks).add(order)
        if order.expire_at_ns:
            self.expiries[order.expire_at_ns, order.order_id] = order
            self.expires_at_ns = min(self.expires_at_ns, order.expire_at_ns)

    def take(self, taker: Taker, emit: Emit) -> bool:
        """Trade with the other side up to the taker's key; return whether an own order stopped it."""
        order_id, leaves = taker.order_id, taker.leaves
        client_id, self_trade = taker.client_id, taker.self_trade
        side = self.asks if taker.key > 0 else self.bids
        keys, worst, instrument_id = side.keys, -taker.key, self.instrument_id
        while leaves and keys and keys[-1] >= worst:
            level, price = side.best(), abs(keys[-1])
            while leaves and level:
                maker = next(iter(level.values()))
                if self_trade and maker.client_id == client_id:
                    if self_trade != _CANCEL_NEWEST:
                        self._cancel_met(maker, level, taker.by, emit)
                    if self_trade == _CANCEL_OLDEST:
                        continue
                    if not level:
                        side.drop(keys[-1])
                    taker.leaves = leaves
                    return True
                if leaves < maker.leaves:
                    emit(Trade(instrument_id, price, leaves, maker.order_id, order_id))
                    maker.leaves -= leaves
                    leaves = 0
                    break
                emit(Trade(instrument_id, price, maker.leaves, maker.order_id, order_id))
                leaves -= maker.leaves
                del level[maker.order_id]
                del self.live[maker.client_id][maker.client_order_id]
                if maker.expire_at_ns:
                    del self.expiries[maker.expire_at_ns, maker.order_id]
            if not level:
                side.drop(keys[-1])
        taker.leaves = leaves
        return False

    def _order_refusal(self, command: NewOrder) -> int:
        if command.client_order_id in self.live.get(command.client_id, {}):
            return Reason.DUPLICATE_CLIENT_ORDER_ID
        if command.post_only and self._crosses(_key(command)):
            return Reason.POST_ONLY_WOULD_TRADE
        return 0

    def _trade(self, command: NewOrder, order_id: int, emit: Emit) -> int:
        """Trade an accepted order with what is there; return the quantity that is to rest."""
        reason = _remainder_reason(command)
        taker = Taker(order_id, order_id, command.client_id, command.self_trade, _key(command), command.quantity)
        if (command.time_in_force != _FOK or self._can_fill(taker)) and self.take(taker, emit):
            reason = _SELF_TRADE
        if taker.leaves and reason:
            emit(OrderCanceled(order_id, order_id, taker.leaves, int(reason)))
            return 0
        return taker.leaves

    def _cancel_met(self, maker: Order, level: Level, by: int, emit: Emit) -> None:
        """Cancel a resting order that an order of its own client met; an empty level is left to the caller."""
        del level[maker.order_id]
        self._unlist(maker)
        emit(OrderCanceled(maker.order_id, by, maker.leaves, _SELF_TRADE))

    def _can_fill(self, taker: Taker) -> bool:
        """Whether a taker would trade all that it wants under its self-trade instruction."""
        wanted = taker.leaves
        for maker in self.asks if taker.key > 0 else self.bids:
            if maker.key + taker.key < 0:
                return False
            if not taker.self_trade or maker.client_id != taker.client_id:
                wanted -= maker.leaves
            elif taker.self_trade != _CANCEL_OLDEST:
                return False
            if wanted <= 0:
                return True
        return False

    def _replace_refusal(self, order: Order, command: ReplaceOrder, leaves: int) -> int:
        name, new_name = command.client_order_id, command.new_client_order_id
        if self.limits.halted:
            return Reason.INSTRUMENT_HALTED
        if new_name and not is_valid_client_order_id(new_name):
            return Reason.INVALID_TERMS
        reason = self.limits.refusal(command.price, command.quantity)
        if reason:
            return reason
        if new_name and new_name != name and new_name in self.live[command.client_id]:
            return Reason.DUPLICATE_CLIENT_ORDER_ID
        if order.post_only and leaves > 0 and self._crosses(_signed(order, command.price)):
            return Reason.POST_ONLY_WOULD_TRADE
        return 0

    def _amend(self, order: Order, command: ReplaceOrder, leaves: int, by: int, emit: Emit) -> None:
        """Carry out a replace that leaves something."""
        key, order_id = _signed(order, command.price), order.order_id
        kept = key == order.key and command.quantity <= order.quantity
        if command.new_client_order_id:
            mine = self.live[order.client_id]
            del mine[order.client_order_id]
            order.client_order_id = command.new_client_order_id
            mine[order.client_order_id] = order
        emit(OrderReplaced(order_id, by, command.price, command.quantity, leaves, kept))
        order.quantity, order.leaves = command.quantity, leaves
        if kept:
            return
        side = self.bids if key > 0 else self.asks
        side.remove(order)
        order.key = key
        if self._crosses(key):
            taker = Taker(order_id, by, order.client_id, order.self_trade, key, leaves)
            stopped = self.take(taker, emit)
            order.leaves = taker.leaves
            if stopped:
                emit(OrderCanceled(order_id, by, order.leaves, _SELF_TRADE))
            if stopped or not order.leaves:
                self._unlist(order)
                return
        side.add(order)

    def _cancel(self, order: Order, by: int, reason: int, emit: Emit) -> None:
        self._remove(order)
        emit(OrderCanceled(order.order_id, by, order.leaves, int(reason)))

    def _remove(self, order: Order) -> None:
        """Take a resting order out of everything."""
        (self.bids if order.key > 0 else self.asks).remove(order)
        self._unlist(order)

    def _unlist(self, order: Order) -> None:
        """Forget an order's name and its expiry."""
        del self.live[order.client_id][order.client_order_id]
        if order.expire_at_ns:
            del self.expiries[order.expire_at_ns, order.order_id]

    def _crosses(self, key: int) -> bool:
        keys = self.asks.keys if key > 0 else self.bids.keys
        return bool(keys) and keys[-1] + key >= 0


def _remainder_reason(command: NewOrder) -> int:
    """Why what is left of an order does not rest, or 0 when it does."""
    if command.time_in_force == _FOK:
        return _FILL_OR_KILL
    if command.order_type == _MARKET:
        return _MARKET_REMAINDER
    return _IMMEDIATE_OR_CANCEL if command.time_in_force == _IOC else 0


def _key(command: NewOrder) -> int:
    return command.price if command.side == _BUY else -command.price


def _signed(order: Order, price: int) -> int:
    return price if order.key > 0 else -price


def _order_id(order: Order) -> int:
    return order.order_id
