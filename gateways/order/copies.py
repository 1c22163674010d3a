"""All executions of all clients, for readers in this process: each is a client of the order session that nobody is.

    what happens --told--> reports of every client, in log order --> a queue for each reader, as for a client

Rules
- A reader's id is below 0, so no command of the log is its.
- What it missed comes from memory, or again from the log, as for any client: see `reports` and `rebuild`.
"""

from collections.abc import Iterable, Iterator

import msgspec

from gateways import events as e
from gateways.order.links import Client


class CopyAll(msgspec.Struct, frozen=True):
    """A reader logs on by its name; as in a Logon, what came up to `last_seen` needs not come again."""

    name: str
    last_seen: int


class Copies:
    """The readers there can be."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = {-nth: name for nth, name in enumerate(names, 1)}
        self.readers = {reader_id: Client(reader_id) for reader_id in self.names}
        self._ids = {name: reader_id for reader_id, name in self.names.items()}

    def find(self, name: str) -> Client:
        """The reader of that name."""
        return self.readers[self._ids[name]]

    def take(self, happened: Iterable[e.Event | e.Trade]) -> Iterator[Client]:
        """Give all readers what has happened; those that had nothing before."""
        reports = list(e.executions(happened))
        for reader in self.readers.values() if reports else ():
            if not reader.fresh:
                yield reader
            reader.fresh += reports
