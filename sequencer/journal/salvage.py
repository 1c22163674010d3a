"""What can be kept of a journal in which something durable no longer reads back, and what may be lost.

    segments     1: whole      2: groups | damage | groups      3: ...        4: ...
    kept         1: whole      2: groups |                      aside         aside
    may be lost                            ^------ up to the highest index that any later group shows

Nothing is written over: the log goes on in a new segment behind what is kept, and later segments are set
aside. What is kept is a first part of what this node wrote, in the order in which it did. Whether the node
had acknowledged more is told by the group headers behind the damage; where even they are gone, or the last file
was cut, nothing tells. Pure but for loading.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sequencer.errors import CorruptJournalError
from sequencer.journal.extent import Extent
from sequencer.journal.format import (
    GROUP_MAGIC,
    SECTOR_BYTES,
    GroupHeader,
    SegmentHeader,
    decode_group_header,
)
from sequencer.journal.recovery import dirty_end_of, valid_groups
from sequencer.journal.suspicion import UNKNOWN_INDEX

LoadHeader = Callable[[int], SegmentHeader]
Load = Callable[[SegmentHeader], bytes]


@dataclass(frozen=True, slots=True)
class Salvage:
    """Extents of the segments that are kept, numbers of those to be set aside, and what may have been acknowledged."""

    extents: list[Extent]
    aside: list[int]
    suspect_index: int


def salvage(numbers: Sequence[int], load_header: LoadHeader, load: Load) -> Salvage:
    """Judge the segments of these numbers, in order.

    Raises what the loading of a header raises but for damage: JournalError for another version's, and OSError.
    """
    headers = {number: _header(number, load_header) for number in numbers}
    extents = list(_whole(headers, load))
    aside = [number for number in numbers if number > len(extents)]
    return Salvage(extents, aside, _highest_index(headers, load))


def _header(number: int, load_header: LoadHeader) -> SegmentHeader | None:
    try:
        header = load_header(number)
    except CorruptJournalError:
        return None
    return header if header.number == number else None


def _whole(headers: dict[int, SegmentHeader | None], load: Load) -> Iterator[Extent]:
    """The segments up to the first that is missing or damaged; of that one, the groups before the damage."""
    before: Extent | None = None
    for number in range(1, len(headers) + 1):
        header = headers.get(number)
        if header is None or (before is not None and not _follows(header, before)):
            return
        following = headers.get(number + 1)
        stop = following.previous_end if following else header.segment_bytes
        before = Extent(header)
        for group in valid_groups(load(header), before, stop):
            before.note(group)
        yield before


def _follows(header: SegmentHeader, before: Extent) -> bool:
    reached = (header.previous_end, header.first_group) == (before.end, before.next_group)
    return reached and header.first_index <= before.next_index


def _highest_index(headers: dict[int, SegmentHeader | None], load: Load) -> int:
    last = headers[max(headers)] if headers else None
    if last is None:
        return UNKNOWN_INDEX  # what the node did last cannot be told
    found = [0]
    for header in headers.values():
        if header is not None:
            found.append(header.first_index - 1)
            found += [group.last_index for group in _all_groups(load(header), header.seed)]
    return UNKNOWN_INDEX if _ends_in_doubt(load(last), last) else max(found)


def _ends_in_doubt(data: bytes, header: SegmentHeader) -> bool:
    """Whether there may have been another group behind the last one whose header reads.

    There may where anything but zeros follows it; and where the file was cut, wherever that was.
    """
    end = max((group.end for group in _all_groups(data, header.seed)), default=SECTOR_BYTES)
    return len(data) < header.segment_bytes or dirty_end_of(data, end) > end


def _all_groups(data: bytes, seed: int) -> Iterator[GroupHeader]:
    """Every valid group header in a segment, wherever it is."""
    at = data.find(GROUP_MAGIC)
    while at >= 0:
        if at % SECTOR_BYTES == 0 and (group := decode_group_header(data, at, seed, at)):
            yield group
        at = data.find(GROUP_MAGIC, at + 1)
