"""The books of a whole log, for tools that work where no gateway runs."""

from collections.abc import Iterable

from gateways.marketdata.books import Books
from gateways.marketdata.views import Depth, depth_of
from gateways.names import UnknownNameError
from gateways.orders import runs
from sequencer.envelope import Entry
from sequencer.errors import ConfigError


def fold_book(entries: Iterable[Entry], at: int = 0) -> Books:
    """The books after these entries, which begin with the first of a log; with `at`, up to that sequence number."""
    books = Books()
    for entry in entries:
        if at and entry.first_sequence > at:
            break
        for first_sequence, channel, messages in runs(entry):
            known = messages[: at + 1 - first_sequence] if at and at >= first_sequence else messages
            if not at or at >= first_sequence:
                books.apply(first_sequence, entry.time_ns, channel, known)
    return books


def depth_in_log(entries: Iterable[Entry], symbol: str, depth: int, at: int = 0) -> Depth:
    """The best `depth` levels of a book after these entries, or (`at`) up to a sequence number.

    Raises ConfigError for a symbol that nobody set.
    """
    books = fold_book(entries, at)
    try:
        instrument = books.directory.instrument(symbol)
    except UnknownNameError as error:
        raise ConfigError(str(error)) from None
    return depth_of(instrument, books.book(symbol).level_snapshot(depth=depth))
