"""A place up to which a journal was read and found whole before, so that a start need not read all of it again.

    segments   1: | 2: | 3: | 4:   mark: segment 4, entry 8,120 with this digest
                              read to the last byte from here on
    segments 1 to 3 by their headers; their groups are checked when they are read, and when they are scrubbed

The digest tells that this is the log that the mark is of: an entry's digest covers all before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sequencer.envelope import decode_entry
from sequencer.errors import CorruptJournalError, EnvelopeError
from sequencer.journal.catalog import Catalog
from sequencer.journal.disk import Disk
from sequencer.journal.extent import Extent
from sequencer.journal.format import SegmentHeader


@dataclass(frozen=True, slots=True)
class Mark:
    """Entry `index` is committed and has this digest, and no entry behind it lies before segment `segment`."""

    segment: int
    index: int
    digest: bytes


def is_held(mark: Mark, disk: Disk, directory: Path, headers: Sequence[SegmentHeader]) -> bool:
    """Whether a journal of these segments is the one that the mark was made in. Raises OSError."""
    if mark.segment > len(headers) or headers[mark.segment - 1].first_index > mark.index + 1:
        return False
    catalog = Catalog(disk, directory)
    for header in headers:
        catalog.add(Extent(header))
    if catalog.tail is not None:
        catalog.tail.seal(headers[-1].segment_bytes)  # how far it goes is not known yet
    try:
        return [decode_entry(data).digest for data in catalog.read(mark.index, mark.index, 0)] == [mark.digest]
    except (CorruptJournalError, EnvelopeError):
        return False
