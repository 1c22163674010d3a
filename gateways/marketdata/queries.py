"""Requests of market data readers and their answers: pure, from the read model alone."""

import msgspec

from gateways.marketdata.books import Books
from gateways.marketdata.protocol import (
    REQUEST_BYTES_MAX,
    REQUEST_DECODER,
    BookRequest,
    Instruments,
    InstrumentsRequest,
    Refused,
    Reply,
    Request,
)
from gateways.names import UnknownNameError


def answer(books: Books, frame: bytes) -> Reply:
    """The reply to one frame. What cannot be read or answered is Refused with the reason."""
    if len(frame) > REQUEST_BYTES_MAX:
        return Refused(0, f"expected a request of at most {REQUEST_BYTES_MAX} bytes, got {len(frame)}")
    try:
        request = REQUEST_DECODER.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Refused(0, f"expected a request for a book, trades or instruments: {error}")
    try:
        return _answer(books, request)
    except UnknownNameError as error:
        return Refused(request.request, str(error))


def _answer(books: Books, request: Request) -> Reply:
    if isinstance(request, InstrumentsRequest):
        known = sorted(books.directory.instruments.items())
        return Instruments(request.request, [instrument for _, instrument in known], sorted(books.halted))
    book = books.book(request.symbol)
    if not isinstance(request, BookRequest):
        return book.trades_snapshot(request.request, request.count)
    if request.level == 3:
        return book.order_snapshot(request.request)
    if request.level == 2 and request.depth >= 0:
        return book.level_snapshot(request.request, request.depth)
    return Refused(
        request.request, f"expected level 2 or 3 and a depth from 0, got {request.level} and {request.depth}"
    )
