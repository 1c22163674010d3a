"""The hot path: ordinary orders and cancels, handled in one loop.

It does what `Instruments` and `Book` do for the same command, and no more than is common: a limit order that
is valid, good till canceled, not post-only and without a self-trade instruction; and a cancel. It yields
every other command, which is to be handled before it goes on.

By way of `Instruments` and `Book` an order that rests took 1,550 ns, here 570; a cancel 840, here 350.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from engines.matching.book import Book, Emit, Order, Taker
from engines.messages import (
    CLIENT_ORDER_ID_CHARS_MAX,
    INT_MAX,
    CancelOrder,
    CancelRejected,
    Message,
    NewOrder,
    OrderAccepted,
    OrderCanceled,
    Reason,
    Side,
)

# Plain integers: an IntEnum member costs an attribute look-up here and a slow path in the encoder.
_BUY: Final = int(Side.BUY)
_SELL: Final = int(Side.SELL)
_UNKNOWN_ORDER: Final = int(Reason.UNKNOWN_ORDER)
_REQUESTED: Final = int(Reason.REQUESTED)


def run_ordinary(
    books: Mapping[int, Book], time_ns: int, sequences: Sequence[int], commands: Sequence[Message],
    refused: Mapping[int, int], emit: Emit,
) -> Iterator[tuple[int, Message]]:  # fmt: skip
    """Handle what is ordinary; yield (sequence, command) of what is not, in its place."""
    for sequence, command in zip(sequences, commands, strict=True):
        if type(command) is CancelOrder:
            book = books.get(command.instrument_id)
            if book is not None and book.expires_at_ns > time_ns and command.client_id in book.live:
                order = book.live[command.client_id].pop(command.client_order_id, None)
                if order is None:
                    emit(CancelRejected(sequence, _UNKNOWN_ORDER))
                    continue
                emit(OrderCanceled(order.order_id, sequence, order.leaves, _REQUESTED))
                key = order.key
                side = book.bids if key > 0 else book.asks
                level = side.levels[key]
                del level[order.order_id]
                if not level:
                    side.drop(key)
                if order.expire_at_ns:
                    del book.expiries[order.expire_at_ns, order.order_id]
                continue
        elif type(command) is NewOrder and not (
            command.time_in_force or command.order_type or command.post_only or command.self_trade
        ):
            book = books.get(command.instrument_id)
            client_id, client_order_id = command.client_id, command.client_order_id
            price, quantity, side_of = command.price, command.quantity, command.side
            if (
                book is not None
                and book.expires_at_ns > time_ns
                and book.limits.price_min <= price <= book.limits.price_max
                and 0 < quantity <= INT_MAX
                and 0 < len(client_order_id) <= CLIENT_ORDER_ID_CHARS_MAX
                and _BUY <= side_of <= _SELL
                and client_id in book.live
                and client_order_id not in book.live[client_id]
                and not (refused and sequence in refused)
            ):
                emit(OrderAccepted(sequence))
                if side_of == _BUY:
                    key, side, opposite = price, book.bids, book.asks.keys
                else:
                    key, side, opposite = -price, book.asks, book.bids.keys
                leaves = quantity
                if opposite and opposite[-1] + key >= 0:
                    taker = Taker(sequence, sequence, client_id, 0, key, quantity)
                    book.take(taker, emit)
                    leaves = taker.leaves
                    if not leaves:
                        continue
                order = Order(sequence, client_id, client_order_id, key, quantity, leaves)
                book.live[client_id][client_order_id] = order
                if key in side.levels:
                    side.levels[key][sequence] = order
                else:
                    side.add(order)
                continue
        yield sequence, command
