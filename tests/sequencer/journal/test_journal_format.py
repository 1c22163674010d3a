"""The layouts: what is written is read back, and nothing else passes for it."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sequencer.errors import CorruptJournalError, JournalError
from sequencer.journal import format as layout
from tests.models.entries import CLUSTER

SEGMENT = layout.SegmentHeader(CLUSTER, b"saltsalt", 7, 8192, 40, 12, 4096, 38)
GROUP = layout.GroupHeader(12, 1024, 40, 39, 3, 500, 0xABCD, 1)
ENTRY_BEGIN = b"ISE1" + b"\xaa" * 140

pieces = st.lists(
    st.one_of(st.integers(0, 1600).map(bytes), st.binary(max_size=40), st.sampled_from([b"\x01", b"\x80", b"\x03"])),
    max_size=6,
).map(b"".join)


def sectors_of(parts: list[bytes]) -> list[bytes]:
    """The sectors of a group with these entries, its header taken for full."""
    raw = b"\xff" * layout.GROUP_HEADER_BYTES + b"".join(parts)
    raw = raw.ljust(layout.round_to_sectors(len(raw)), b"\0")
    return [raw[at : at + layout.SECTOR_BYTES] for at in range(0, len(raw), layout.SECTOR_BYTES)]


def test_segment_header_reads_back():
    """A segment header is what was written."""
    assert layout.decode_segment_header(layout.encode_segment_header(SEGMENT), SEGMENT.name) == SEGMENT


def test_group_header_reads_back():
    """A group header is what was written."""
    raw = layout.encode_group_header(GROUP, SEGMENT.seed)

    assert layout.decode_group_header(raw, 0, SEGMENT.seed, GROUP.offset) == GROUP


def test_group_header_counts_only_in_its_place():
    """A group header at another offset, or in another segment, is none."""
    raw = layout.encode_group_header(GROUP, SEGMENT.seed)

    assert layout.decode_group_header(raw, 0, SEGMENT.seed, GROUP.offset + 512) is None
    assert layout.decode_group_header(raw, 0, SEGMENT.seed ^ 1, GROUP.offset) is None


def test_newer_format_is_refused_by_name():
    """A journal of a later version is refused, with its format and file named; it is not called corrupt."""
    sector = bytearray(layout.encode_segment_header(SEGMENT))
    sector[4] = layout.FORMAT_VERSION + 1
    sector[8:12] = zlib.crc32(sector[12:], zlib.crc32(sector[4:8])).to_bytes(4, "little")

    with pytest.raises(JournalError, match=r"00000007\.seg has journal format 3") as caught:
        layout.decode_segment_header(bytes(sector), SEGMENT.name)
    assert not isinstance(caught.value, CorruptJournalError)


@settings(max_examples=300)
@given(st.lists(pieces, min_size=1, max_size=4))
def test_sparse_sectors_are_counted_exactly(payloads: list[bytes]):
    """The number that a group announces is how many of its sectors hold at most one set bit."""
    parts = [ENTRY_BEGIN + payload for payload in payloads]

    sparse = sum(int.from_bytes(sector, "little").bit_count() <= 1 for sector in sectors_of(parts))
    assert layout.count_sparse_sectors(parts) == sparse
