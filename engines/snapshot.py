"""A replica's snapshot: everything that its outputs after a marker depend on, as bytes.

    state at the end of an entry --encode--> image --SHA-256--> the digest that the log vouches for
                                               +--compress--> body, as nodes keep it

Equal states of two replicas give equal images, whoever made them and how: so one digest vouches for all of it.
"""

import hashlib
from typing import Final

import msgspec
import zstandard

from engines.sharding import ShardingState
from engines.skips import SkipState
from sequencer.errors import SnapshotError

VERSION: Final = 2
IMAGE_BYTES_MAX: Final = 4 << 30
_LEVEL: Final = 3


class MarkerState(msgspec.Struct, array_like=True, frozen=True):
    """Where the shard's last marker was, and when the next one is due; see `markers`."""

    number: int
    position: int
    time_ns: int
    every_messages: int
    every_ns: int


class Snapshot(msgspec.Struct, array_like=True, frozen=True):
    """The state of a shard behind entry `index`, whose digest is `entry_digest` and last sequence number `position`.

    `rules` is the version of the machine that is in force. `outputs` were made up to there, `outputs_digest` is the
    digest of the last. `state` is the machine's own.
    """

    version: int
    cluster: bytes
    shard: str
    index: int
    entry_digest: bytes
    position: int
    time_ns: int
    outputs: int
    outputs_digest: bytes
    markers: MarkerState
    rules: int
    skips: SkipState
    sharding: ShardingState
    state: bytes


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Snapshot)
_VERSION = msgspec.msgpack.Decoder(list[msgspec.Raw])


def encode(snapshot: Snapshot) -> bytes:
    """The image of a snapshot."""
    return _ENCODER.encode(snapshot)


def decode(image: bytes) -> Snapshot:
    """What `encode` was given. Raises SnapshotError, also for the image of a newer version."""
    try:
        version = msgspec.msgpack.decode(_VERSION.decode(image)[0], type=int)
    except (msgspec.MsgspecError, IndexError):
        raise SnapshotError("expected the image of a snapshot, an array that begins with its version") from None
    if version != VERSION:
        raise SnapshotError(f"it is of version {version}, and this program reads version {VERSION} only")
    try:
        return _DECODER.decode(image)
    except msgspec.MsgspecError as error:
        raise SnapshotError(f"its image cannot be read: {error}") from None


def digest_of(image: bytes) -> bytes:
    """The digest under which a log vouches for a snapshot."""
    return hashlib.sha256(image).digest()


def compress(image: bytes) -> bytes:
    """An image as nodes keep it; the same image gives the same bytes."""
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(image)


def decompress(body: bytes) -> bytes:
    """The image in what a node kept. Raises SnapshotError."""
    try:
        size_bytes = zstandard.frame_content_size(body)
        if not 0 < size_bytes <= IMAGE_BYTES_MAX:
            raise SnapshotError(f"its image has {size_bytes:,} bytes; expected 1 to {IMAGE_BYTES_MAX:,}")
        return zstandard.ZstdDecompressor().decompress(body)
    except zstandard.ZstdError as error:
        raise SnapshotError(f"its body cannot be decompressed: {error}") from None
