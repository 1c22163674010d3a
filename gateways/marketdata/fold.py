"""The books of a whole log, for tools that work where no gateway runs."""

from collections.abc import Iterable

from gateways.marketdata.books import Books
from gateways.orders import runs
from sequencer.envelope import Entry


def fold_book(entries: Iterable[Entry]) -> Books:
    """The books after these entries, which begin with the first of a log."""
    books = Books()
    for entry in entries:
        for first_sequence, channel, messages in runs(entry):
            books.apply(first_sequence, entry.time_ns, channel, messages)
    return books
