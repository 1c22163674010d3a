"""The image of a replica's snapshot: what was told is what is read, and nothing else passes for it."""

import msgspec
import pytest

from engines import snapshot as images
from engines.sharding import ShardingState
from engines.skips import Proposal, SkipState
from engines.snapshot import MarkerState, Snapshot
from sequencer.errors import SnapshotError

TAKEN = Snapshot(
    version=images.VERSION,
    cluster=bytes(16),
    shard="matching.0",
    index=7,
    entry_digest=bytes(32),
    position=70,
    time_ns=1,
    outputs=3,
    outputs_digest=b"o" * 32,
    markers=MarkerState(2, 70, 1, 1000, 2000),
    rules=2,
    skips=SkipState([("matching.0", 1, 3)], [Proposal("matching.0", 60, 2, 3)]),
    sharding=ShardingState(4, 50, ["matching.0", "matching.1"]),
    state=b"the state of a machine " * 20,
)


def test_what_is_encoded_is_read():
    """Through compression and back."""
    image = images.encode(TAKEN)

    assert images.decode(images.decompress(images.compress(image))) == TAKEN


def test_no_flipped_bit_passes():
    """Every flipped bit of a body is noticed: it does not decompress, or gives another digest."""
    image = images.encode(TAKEN)
    body, digest = images.compress(image), images.digest_of(image)
    passed = []
    for bit in range(len(body) * 8):
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = images.decompress(bytes(damaged))
        except SnapshotError:
            continue
        if images.digest_of(found) != digest or found == image:
            continue
        passed.append(bit)

    assert passed == []


def test_no_truncation_passes():
    """A body that was cut anywhere is refused."""
    body = images.compress(images.encode(TAKEN))
    for size in range(len(body)):
        with pytest.raises(SnapshotError):
            images.decompress(body[:size])


def test_a_newer_version_is_named():
    """A snapshot of a later program is refused by its version, whatever else it holds."""
    image = msgspec.msgpack.encode([images.VERSION + 1, {"new": "form"}])
    with pytest.raises(SnapshotError, match=f"version {images.VERSION + 1}"):
        images.decode(image)


@pytest.mark.parametrize("image", [b"", b"\xc1", b"\x90", b"\x91\xa1x", msgspec.msgpack.encode([images.VERSION, 1])])
def test_what_is_no_image_is_refused(image: bytes):
    """Bytes of something else."""
    with pytest.raises(SnapshotError):
        images.decode(image)
