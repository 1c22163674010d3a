"""The drop copy: every execution of every client, in the order of the log, for those who keep a second set of books.

what happens --> rows with their client, numbered without a gap --> all subscribers
                 the latest KEPT of them ------------------------> who comes back, and says what it has seen
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from gateways import events as e
from gateways.names import Directory
from gateways.web.executions import Row, listed, row
from gateways.web.past import with_client
from gateways.web.refusals import RefusedError

KEPT: Final = 10_000


class Copies:
    """The feed, and who reads it."""

    def __init__(self) -> None:
        self.subscribers: dict[int, None] = {}
        self._number = 0
        self._kept: deque[e.Event | e.Trade] = deque()
        self._forgotten = 0
        """All events behind this place are kept."""

    def begin(self, position: int) -> None:
        """From here on everything is told."""
        self._forgotten = position

    def take(self, happened: Iterable[e.Event | e.Trade], names: Directory) -> bytes | None:
        """What all subscribers are told, if anything. Rows are made only where somebody reads them."""
        fresh = list(happened)
        self._kept.extend(fresh)
        while len(self._kept) > KEPT:
            self._forgotten = e.sequence_of(self._kept.popleft())
        rows = _rows(fresh, names) if self.subscribers else []
        if not rows:
            return None
        self._number += 1
        return self._message("update", rows)

    def snapshot(self, since: int | None, position: int, names: Directory) -> bytes:
        """What a new subscriber is told: the rows behind a place. Raises RefusedError where some are not kept."""
        if since is not None and not self._forgotten <= since <= position:
            raise RefusedError(
                f"since: expected {self._forgotten} to {position}, got {since}; GET /v1/executions?since={since} "
                "reads older ones from the log",
                409,
            )
        missed = _rows((one for one in self._kept if e.sequence_of(one) > since), names) if since is not None else []
        return self._message("snapshot", missed, log_sequence=position)

    def _message(self, kind: str, rows: list[Row], **more: int) -> bytes:
        head: dict[str, Any] = {
            "channel": "drop_copy",
            "type": kind,
            "sequence": self._number,
            "data": listed(rows),
            **more,
        }
        return msgspec.json.encode(head)


def _rows(events: Iterable[e.Event | e.Trade], names: Directory) -> list[Row]:
    reports = [pair for event in events for pair in e.told(event)]
    made = [(row(report, nth, names), report) for report, nth in reports]
    return [with_client(one, report, names) for one, report in made if one is not None]
