"""Which segment holds which entry, and how to read it back.

    segments   1: entries 1..9      2: 10..17          3: 14..20
    live       1: 1..9              2: 10..13          3: 14..20

A later segment overrides the earlier ones from its first index on: that is how a tail is dropped
without touching its bytes. The live segments are a stack: a new one removes those that it
overrides wholly and shortens the one below it.
"""

from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sequencer import envelope
from sequencer.errors import CorruptJournalError
from sequencer.journal.archive import StoredSegment, open_segment
from sequencer.journal.disk import Disk
from sequencer.journal.extent import Extent
from sequencer.journal.format import (
    GROUP_HEADER_BYTES,
    REPAIR,
    GroupHeader,
    decode_group_header,
    holds_entries,
)

_AHEAD_BYTES: Final = 64 << 10
_AHEAD_BYTES_MAX: Final = 1 << 20


class Window:
    """Reads small ranges of a segment by larger ones, going forward."""

    def __init__(self, segment: StoredSegment, ahead_bytes: int = _AHEAD_BYTES) -> None:
        self._segment = segment
        self._ahead_bytes = ahead_bytes
        self._start = 0
        self._view = memoryview(b"")

    def at(self, offset: int, size_bytes: int) -> memoryview:
        """So many bytes from an offset; fewer where the file ends."""
        begin = offset - self._start
        if begin < 0 or begin + size_bytes > len(self._view):
            self._view = memoryview(self._segment.pread(max(size_bytes, self._ahead_bytes), offset))
            self._start = offset
            begin = 0
        return self._view[begin : begin + size_bytes]

    def group_header(self, offset: int, seed: int) -> GroupHeader | None:
        """The valid group header at an offset, if there is one."""
        return decode_group_header(self.at(offset, GROUP_HEADER_BYTES), 0, seed, offset)

    def payload(self, group: GroupHeader, seed: int) -> memoryview | None:
        """A group's entries back to back, or None where they are not what was written."""
        payload = self.at(group.payload_offset, group.payload_bytes)
        return payload if holds_entries(payload, group, seed) else None


class Catalog:
    """The segments of one directory, in the order in which they were added.

    `read` and `learn` may run in one thread while `add` is called in another.
    """

    def __init__(self, disk: Disk, directory: Path) -> None:
        self._disk = disk
        self._directory = directory
        self._live: list[Extent] = []

    @property
    def tail(self) -> Extent | None:
        """The last segment: the one that takes groups."""
        return self._live[-1] if self._live else None

    @property
    def first_index(self) -> int:
        """Index of the first entry that the log holds, or will hold."""
        return self._live[0].header.first_index if self._live else 1

    def add(self, extent: Extent) -> None:
        """Take the next segment in."""
        header = extent.header
        if self._live:
            self._live[-1].seal(header.previous_end)
        kept = [other for other in self._live if other.header.first_index < header.first_index]
        self._live = [*kept, extent]

    def learn(self, extent: Extent) -> None:
        """Take over what is known of a segment that is sealed, in place of what was known before.

        Another thread may add a segment meanwhile: then this goes into a list that is not used any more, and is lost.
        """
        live = self._live
        for place, other in enumerate(live):
            if other.header == extent.header:
                live[place] = extent

    def read(self, first_index: int, last_index: int, bytes_max: int) -> list[bytes]:
        """Encoded entries from first_index to last_index, as many as fit into bytes_max, but at least one.

        Raises CorruptJournalError where an entry no longer reads back, OSError where the disk fails.
        """
        found: list[bytes] = []
        for data in self._entries(first_index, last_index, bytes_max):
            bytes_max -= len(data)
            if bytes_max < 0 and found:
                break
            found.append(data)
        return found

    def _entries(self, first_index: int, last_index: int, ahead_bytes: int) -> Iterator[bytes]:
        live = self._live
        place = bisect_right(live, first_index, key=lambda extent: extent.header.first_index) - 1
        if place < 0:
            return
        ahead_bytes = min(max(ahead_bytes, _AHEAD_BYTES), _AHEAD_BYTES_MAX)
        for extent, above in zip(live[place:], [*live[place + 1 :], None], strict=True):
            limit = min(last_index, above.header.first_index - 1) if above else last_index
            if first_index > limit:
                return
            segment = open_segment(self._disk, self._directory, extent.header.number)
            try:
                yield from _segment_entries(Window(segment, ahead_bytes), extent, first_index, limit)
            finally:
                segment.close()
            first_index = limit + 1


def _segment_entries(window: Window, extent: Extent, first_index: int, last_index: int) -> Iterator[bytes]:
    """The entries of one segment that lie in a range."""
    offset = extent.offset_before(first_index)
    while offset < extent.stop:
        group = window.group_header(offset, extent.seed)
        is_new = offset == extent.end
        if group is None or (is_new and not extent.expects(group)):
            raise CorruptJournalError(f"{extent.header.name} offset {offset}: no group where there was one; {REPAIR}")
        if is_new:
            extent.note(group)
        offset = group.end
        if group.last_index < first_index:
            continue
        payload = window.payload(group, extent.seed)
        if payload is None:
            raise CorruptJournalError(
                f"{extent.header.name} offset {group.offset}: "
                f"entries {group.first_index} to {group.last_index} are damaged; {REPAIR}"
            )
        yield from _cut(payload, group.first_index, first_index, last_index)
        if group.last_index >= last_index:
            return


def _cut(payload: memoryview, index: int, first_index: int, last_index: int) -> Iterator[bytes]:
    """The entries of one group that lie in a range; `index` is that of its first."""
    start = 0
    while start < len(payload) and index <= last_index:
        end = start + envelope.entry_bytes(payload[start : start + envelope.ENTRY_HEADER_BYTES])
        if index >= first_index:
            yield bytes(payload[start:end])
        start = end
        index += 1
