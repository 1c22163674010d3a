"""What a journal's bytes mean after a crash. Pure: bytes in, a verdict out; nothing is mended here.

A group is started only after the sync of the one before it returned. So whatever has a later valid
group behind it was durable once, and only the last group can have been in flight:

    before a later group, or a later segment      invalid                           corrupt: raise
    last group        something was written behind its end                          suspect: keep
    last group        more blank sectors than it announces, or a blank first one    torn: cut
    last group        every sector written, yet it is wrong                         suspect: keep
    nothing but zeros                                                               clean

A torn group was never acknowledged, because its sync never returned. A suspect one may have been:
sectors that were all written and do not fit are rot, or a lie of the disk. A valid *header* is
evidence enough for what lies before it, even when its own group is torn. What stands behind the end of a group
was written after its sync: then it is not the last, whatever became of the one behind it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import zip_longest
from pathlib import Path
from typing import Final, NoReturn

from sequencer.errors import CorruptJournalError, JournalError
from sequencer.journal.extent import Extent
from sequencer.journal.format import (
    BLANK_SECTOR,
    GROUP_MAGIC,
    REPAIR,
    SECTOR_BYTES,
    GroupHeader,
    SegmentHeader,
    count_blank_sectors,
    decode_group_header,
    holds_entries,
    segment_name,
)

_ZEROS: Final = bytes(1 << 20)


class Ending(Enum):
    """How the last segment ends."""

    CLEAN = "clean"
    TORN = "torn"
    SUSPECT = "suspect"


@dataclass(frozen=True, slots=True)
class Tail:
    """What lies behind the last valid group: bytes from `offset` to `dirty_end`, then zeros only.

    `indexes` is the first and the last index of a suspect group, where its header still tells and nothing follows.
    """

    ending: Ending
    offset: int
    dirty_end: int
    indexes: tuple[int, int] | None = None

    @property
    def dirty_bytes(self) -> int:
        """How much is there that is no valid group."""
        return self.dirty_end - self.offset


@dataclass(frozen=True, slots=True)
class Recovery:
    """Every segment's valid groups, and how the last one ends."""

    extents: list[Extent]
    tail: Tail


def recover(
    headers: Sequence[SegmentHeader],
    load: Callable[[SegmentHeader], bytes],
    extents: list[Extent] | None = None,
    *,
    first_number: int = 1,
) -> Recovery:
    """Judge a journal. `headers` are all its segments', in order; `load` gives one's whole file.

    Segments before `first_number` are taken by their headers, unread. Raises CorruptJournalError, which names
    the segment, the offset and the entries; `extents` then holds what comes before the damage.
    """
    assert headers, "a journal has at least one segment"
    assert first_number <= headers[-1].number, f"{first_number} is behind {headers[-1].name}"
    extents = [] if extents is None else extents
    for header, following in zip_longest(headers, headers[1:]):
        extent = Extent(header)
        if header.number < first_number:
            extents.append(extent)
            continue
        data = load(header)
        stop = following.previous_end if following else header.segment_bytes
        _check_length(data, header, stop)
        extents.append(extent)
        for group in valid_groups(data, extent, stop):
            extent.note(group)
        if following:
            _check_sealed(data, extent, following)
        else:
            tail = judge_tail(data, extent)
    return Recovery(extents, tail)


def check_sealed(header: SegmentHeader, following: SegmentHeader, data: bytes) -> Extent:
    """A segment that another one follows has to be whole. Raises CorruptJournalError, which names the place."""
    extent = Extent(header)
    _check_length(data, header, following.previous_end)
    for group in valid_groups(data, extent, following.previous_end):
        extent.note(group)
    _check_sealed(data, extent, following)
    extent.seal(following.previous_end)
    return extent


def check_headers(
    headers: Sequence[SegmentHeader], names: Sequence[str], cluster: bytes | None, *, first_number: int = 1
) -> None:
    """Segments have to be numbered from `first_number` without gaps and belong to one cluster.

    Raises CorruptJournalError for a missing or misplaced one, JournalError for another cluster's.
    """
    expected = cluster or headers[0].cluster if headers else b""
    for place, (header, name) in enumerate(zip(headers, names, strict=True), start=first_number):
        if name != segment_name(place):
            raise CorruptJournalError(f"{segment_name(place)} is missing before {name}; {REPAIR}")
        if header.number != place:
            raise CorruptJournalError(f"{name} offset 0: its header is that of {header.name}; {REPAIR}")
        check_cluster(header, name, expected)


def check_none_gone(headers: Sequence[SegmentHeader], expected: int, directory: Path) -> None:
    """So many segments were made. Raises CorruptJournalError for the last that is not there."""
    if len(headers) < expected:
        raise CorruptJournalError(f"{segment_name(expected)} is gone from {directory}, which had made it; {REPAIR}")


def check_cluster(header: SegmentHeader, name: str, cluster: bytes) -> None:
    """A segment has to be this cluster's: another's is not touched, damaged or not. Raises JournalError."""
    if header.cluster != cluster:
        raise JournalError(
            f"{name} belongs to cluster {header.cluster.hex()}, expected {cluster.hex()}: "
            "this is another cluster's directory"
        )


def valid_groups(data: bytes, extent: Extent, stop: int) -> Iterator[GroupHeader]:
    """The groups that follow what the extent knows, up to the first that is not whole.

    The caller notes each one before it takes the next.
    """
    view = memoryview(data)
    while extent.end < stop:
        group = decode_group_header(view, extent.end, extent.seed, extent.end)
        if group is None or not extent.expects(group) or not holds_payload(view, group, extent.seed):
            return
        yield group


def holds_payload(view: memoryview, group: GroupHeader, seed: int) -> bool:
    """Whether the entries behind a valid header are the ones that it was written with.

    `view` begins where the segment begins.
    """
    return holds_entries(view[group.payload_offset : group.payload_offset + group.payload_bytes], group, seed)


def judge_tail(data: bytes, extent: Extent) -> Tail:
    """What to make of the bytes behind the valid groups of the last segment.

    Raises CorruptJournalError where a later group proves that they were durable.
    """
    offset = extent.end
    dirty_end = dirty_end_of(data, offset)
    group = decode_group_header(data, offset, extent.seed, offset)
    later = _find_group(data, extent.seed, offset + SECTOR_BYTES, dirty_end)
    if later or (group and not extent.expects(group)):
        _raise_corrupt(extent, group, later.first_index if later else None)
    if dirty_end == offset:
        return Tail(Ending.CLEAN, offset, dirty_end)
    if data[offset : offset + SECTOR_BYTES] == BLANK_SECTOR:
        return Tail(Ending.TORN, offset, dirty_end)
    if group is None or dirty_end > group.end:
        return Tail(Ending.SUSPECT, offset, dirty_end)
    if count_blank_sectors(data, offset, group.end) > group.sparse_sectors:
        return Tail(Ending.TORN, offset, dirty_end)
    return Tail(Ending.SUSPECT, offset, dirty_end, (group.first_index, group.last_index))


def _check_length(data: bytes, header: SegmentHeader, stop: int) -> None:
    if len(data) < stop:
        raise CorruptJournalError(
            f"{header.name} offset {len(data)}: the file ends here, {stop} bytes are expected; {REPAIR}"
        )


def _check_sealed(data: bytes, extent: Extent, following: SegmentHeader) -> None:
    """A segment's groups have to reach exactly to where the next segment says that they do."""
    if extent.end != following.previous_end or extent.next_group != following.first_group:
        group = decode_group_header(data, extent.end, extent.seed, extent.end)
        later = _find_group(data, extent.seed, extent.end + SECTOR_BYTES, following.previous_end)
        _raise_corrupt(extent, group, later.first_index if later else following.first_index)
    if following.first_index > extent.next_index:
        _raise_corrupt(extent, None, following.first_index)


def _raise_corrupt(extent: Extent, group: GroupHeader | None, next_index: int | None) -> NoReturn:
    if group and extent.expects(group):
        entries = f"entries {group.first_index} to {group.last_index} are"
    elif next_index and next_index > extent.next_index:
        entries = f"entries {extent.next_index} to {next_index - 1} are"
    else:
        entries = f"what begins with entry {extent.next_index} is"
    raise CorruptJournalError(
        f"{extent.header.name} offset {extent.end}: {entries} damaged, though valid groups follow; {REPAIR}"
    )


def dirty_end_of(data: bytes, start: int) -> int:
    """The end of the last sector from `start` on that is not blank; `start` where all are."""
    stop = len(data)
    while stop - start >= len(_ZEROS) and data[stop - len(_ZEROS) : stop] == _ZEROS:
        stop -= len(_ZEROS)
    while stop > start and data[stop - SECTOR_BYTES : stop] == BLANK_SECTOR:
        stop -= SECTOR_BYTES
    return stop


def _find_group(data: bytes, seed: int, start: int, stop: int) -> GroupHeader | None:
    """The first valid group header in whole sectors from `start` on."""
    at = data.find(GROUP_MAGIC, start, stop)
    while at >= 0:
        if at % SECTOR_BYTES == 0 and (group := decode_group_header(data, at, seed, at)):
            return group
        at = data.find(GROUP_MAGIC, at + 1, stop)
    return None
