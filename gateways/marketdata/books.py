"""All public books, folded from the stream.

    commands --NewOrder--> pending --+
    results  --OrderAccepted---------+--> entering --> Book --publish--> updates
               Trade, OrderCanceled, ...--------------> Book

Rules
- The books are a function of the log: the same runs give the same updates with the same numbers.
- An order is in the book when it rests. Between its OrderAccepted (or an OrderReplaced that lost its
  priority) and the end of its command's events it is *entering*: it trades as a taker, outside the book. So
  an order that fills on arrival, and any IOC, FOK or market order, is never shown.
- A run may end between two events of one command. An order that could still trade, or that may not rest,
  then stays out of the book until the next run: the book is never shown crossed.
- What a run changes is netted and told once, at its end; trades are all told.
- Pending commands are kept until their answer, orders while they live: nothing grows with the log.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from engines.messages import (
    COMMANDS,
    RESULTS,
    InstrumentHalted,
    InstrumentResumed,
    InstrumentSet,
    Message,
    NewOrder,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderRejected,
    OrderReplaced,
    OrderType,
    TimeInForce,
    Trade,
)
from gateways.marketdata.book import Book, Order
from gateways.marketdata.protocol import TradeDone, Update
from gateways.names import Directory, instrument_of

_LIMIT: Final = int(OrderType.LIMIT)
_MAY_REST: Final = frozenset((int(TimeInForce.GTC), int(TimeInForce.GTD)))


class Books:
    """The books of all instruments; `apply` turns runs of messages into updates."""

    def __init__(self) -> None:
        self.directory = Directory()
        self.books: dict[int, Book] = {}
        self.halted: set[int] = set()
        self._pending: dict[int, NewOrder] = {}
        self._orders: dict[int, Order] = {}
        self._changed: dict[int, Book] = {}
        self._entering: Order | None = None
        self._entering_by = 0
        self._sequence = 0
        self._time_ns = 0
        self._handlers: dict[type, Callable[[Any], None]] = {
            OrderAccepted: self._accepted,
            OrderRejected: self._rejected,
            OrderCanceled: self._canceled,
            OrderReplaced: self._replaced,
            OrderExpired: self._expired,
            Trade: self._trade,
            InstrumentSet: self._instrument_set,
            InstrumentHalted: self._instrument_halted,
            InstrumentResumed: self._instrument_resumed,
        }

    def book(self, symbol: str) -> Book:
        """The book of an instrument. Raises names.UnknownNameError."""
        return self.books[self.directory.instrument(symbol).instrument_id]

    def apply(self, first_sequence: int, time_ns: int, channel: int, messages: Sequence[Message]) -> list[Update]:
        """Take a run at positions first_sequence, first_sequence + 1, ...; return what readers are told."""
        if channel == COMMANDS:
            self._pending.update(
                {
                    sequence: message
                    for sequence, message in enumerate(messages, first_sequence)
                    if type(message) is NewOrder
                }
            )
        elif channel == RESULTS:
            return self._take_results(first_sequence, time_ns, messages)
        return []

    def _take_results(self, first_sequence: int, time_ns: int, messages: Sequence[Message]) -> list[Update]:
        self._time_ns = time_ns
        handlers = self._handlers
        for sequence, message in enumerate(messages, first_sequence):
            handle = handlers.get(type(message))
            if handle is not None:
                self._sequence = sequence
                handle(message)
        self._settle_unless_unfinished()
        if not self._changed:
            return []
        last = first_sequence + len(messages) - 1
        updates = [update for book in self._changed.values() for update in book.publish(last, time_ns)]
        self._changed.clear()
        return updates

    def _accepted(self, message: OrderAccepted) -> None:
        if self._entering is not None:
            self._settle(self._entering)
        order_id = message.order_id
        new = self._pending.pop(order_id)
        may_rest = new.time_in_force in _MAY_REST and new.order_type == _LIMIT
        self._entering_by = order_id
        self._entering = self._orders[order_id] = Order(
            order_id, new.instrument_id, new.side, new.price, new.quantity, may_rest
        )

    def _rejected(self, message: OrderRejected) -> None:
        self._pending.pop(message.order_id, None)

    def _trade(self, message: Trade) -> None:
        taker, maker = self._entering, self._orders[message.maker_order_id]
        assert taker is not None and taker.order_id == message.taker_order_id, f"{message} while {taker} enters"  # noqa: PT018
        book, quantity = self._touch(message.instrument_id), message.quantity
        book.trade(
            TradeDone(
                self._sequence, self._time_ns, message.price, quantity, taker.side, maker.order_id, taker.order_id
            )
        )
        if quantity < maker.leaves:
            book.resize(maker, maker.leaves - quantity)
        else:
            del self._orders[maker.order_id]
            book.leave(maker)
        taker.leaves -= quantity
        if not taker.leaves:
            self._entering = None
            del self._orders[taker.order_id]

    def _canceled(self, message: OrderCanceled) -> None:
        entering = self._entering
        if entering is not None:
            if message.order_id == entering.order_id:
                self._entering = None
                del self._orders[message.order_id]
                return
            if message.by != self._entering_by:
                self._settle(entering)
        order = self._orders.pop(message.order_id)
        self._touch(order.instrument_id).leave(order)

    def _expired(self, message: OrderExpired) -> None:
        if self._entering is not None:
            self._settle(self._entering)
        order = self._orders.pop(message.order_id)
        self._touch(order.instrument_id).leave(order)

    def _replaced(self, message: OrderReplaced) -> None:
        if self._entering is not None:
            self._settle(self._entering)
        order = self._orders[message.order_id]
        book = self._touch(order.instrument_id)
        if message.kept_priority:
            book.resize(order, message.leaves)
            return
        book.leave(order)
        order.price, order.leaves = message.price, message.leaves
        self._entering, self._entering_by = order, message.by

    def _instrument_set(self, message: InstrumentSet) -> None:
        self.directory.add_instrument(instrument_of(message))
        if message.instrument_id not in self.books:
            self.books[message.instrument_id] = Book(message.instrument_id)

    def _instrument_halted(self, message: InstrumentHalted) -> None:
        self.halted.add(message.instrument_id)

    def _instrument_resumed(self, message: InstrumentResumed) -> None:
        self.halted.discard(message.instrument_id)

    def _settle(self, order: Order) -> None:
        """The order has done what it came for; the rest of it rests."""
        self._entering = None
        self._touch(order.instrument_id).enter(order)

    def _settle_unless_unfinished(self) -> None:
        """At the end of a run: show the last order, unless more events of its command are to come."""
        order = self._entering
        if order is not None and order.may_rest and not self.books[order.instrument_id].would_trade(order):
            self._settle(order)

    def _touch(self, instrument_id: int) -> Book:
        book = self._changed[instrument_id] = self.books[instrument_id]
        return book
