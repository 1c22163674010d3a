"""What is known of one segment: how far its groups go, and roughly where each index is.

Pure bookkeeping. Groups are noted in order, as they are found or written; of those that lie close
together only the first is remembered, so a long log costs little memory and a search ends with a
short walk over group headers.

It may be asked in one thread while groups are noted in another.
"""

from bisect import bisect_right
from typing import Final

from sequencer.journal.format import SECTOR_BYTES, GroupHeader, SegmentHeader

MARK_BYTES: Final = 64 << 10
"""How far apart remembered groups are."""


class Extent:
    """The known part of a segment: its last group that was noted reaches from `last_offset` to `end`."""

    def __init__(self, header: SegmentHeader) -> None:
        self.header = header
        self.seed = header.seed
        self.last_offset = SECTOR_BYTES
        self.end = SECTOR_BYTES
        self.next_index = header.first_index
        self.next_group = header.first_group
        self.commit_index = header.commit_index
        self._sealed_end: int | None = None
        self._mark_indexes: list[int] = []
        self._mark_offsets: list[int] = []

    @property
    def stop(self) -> int:
        """Where its groups end: where the next segment says so, or else as far as they are known."""
        return self.end if self._sealed_end is None else self._sealed_end

    def seal(self, end: int) -> None:
        """The next segment is there and says where this one ends."""
        self._sealed_end = end

    def expects(self, group: GroupHeader) -> bool:
        """Whether this can be the next group."""
        return (
            group.number == self.next_group
            and group.first_index == self.next_index
            and group.end <= self.header.segment_bytes
        )

    def note(self, group: GroupHeader) -> None:
        """Take the next group in."""
        assert group.offset == self.end, f"group {group} noted at the end {self.end} of {self.header.name}"
        offsets = self._mark_offsets
        if not offsets or group.offset - offsets[-1] >= MARK_BYTES:
            offsets.append(group.offset)
            self._mark_indexes.append(group.first_index)
        self.next_group = group.number + 1
        self.commit_index = max(self.commit_index, group.commit_index)
        self.last_offset, self.end = group.offset, group.end
        self.next_index = group.first_index + group.entry_count

    def offset_before(self, index: int) -> int:
        """Offset of a group from which a walk forward meets `index`."""
        place = bisect_right(self._mark_indexes, index) - 1
        return self._mark_offsets[place] if place >= 0 else SECTOR_BYTES
