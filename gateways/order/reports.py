"""The latest reports of one client, encoded, for when it comes back and asks what it missed.

    fresh (this wake) --seal--> [chunk][chunk]...[chunk] --forgotten--> only in the log
                                 sent at once, and again to a client that resumes

A chunk is what one wake brought: its reports were encoded by one call and are sent as they are.
"""

from collections import deque
from collections.abc import Iterable
from typing import cast

import msgspec

from gateways.events import Event
from gateways.order.protocol import ENCODER, FROM_GATEWAY, elements, frame


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """`count` encoded reports in log order, the last of them at `last_sequence`."""

    last_sequence: int
    count: int
    encoded: bytes

    def reports(self) -> list[Event]:
        """The reports, decoded."""
        return cast(list[Event], FROM_GATEWAY.decode(frame(self.count, [self.encoded])))


def seal(reports: list[Event]) -> Chunk:
    """Encode reports (at least one) that are in log order."""
    return Chunk(reports[-1].sequence, len(reports), elements(ENCODER.encode(reports)))


class RecentReports:
    """A bounded tail of one client's reports.

    It holds every report after the place `forgotten`, and maybe none before.
    """

    __slots__ = ("_chunks", "_held", "forgotten")

    def __init__(self) -> None:
        self._chunks: deque[Chunk] = deque()
        self._held = 0
        self.forgotten = 0

    def add(self, chunk: Chunk, reports_max: int) -> None:
        """Append a chunk, and forget the oldest ones beyond `reports_max` reports."""
        self._chunks.append(chunk)
        self._held += chunk.count
        while self._held > reports_max:
            oldest = self._chunks.popleft()
            self._held -= oldest.count
            self.forgotten = oldest.last_sequence

    def after(self, sequence: int) -> list[Chunk]:
        """All reports at places after `sequence`, which must not be before `forgotten`."""
        assert sequence >= self.forgotten, (sequence, self.forgotten)
        later = [chunk for chunk in self._chunks if chunk.last_sequence > sequence]
        if later:
            kept = [report for report in later[0].reports() if report.sequence > sequence]
            later[0] = seal(kept)
        return later

    def answers(self, numbers: Iterable[int]) -> dict[int, Event]:
        """The answers to those commands, as far as they are held."""
        wanted = frozenset(numbers)
        held = (report for chunk in self._chunks for report in chunk.reports())
        return {report.number: report for report in held if report.number in wanted}
