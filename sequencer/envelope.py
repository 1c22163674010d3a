"""The only codec of batches and entries: what is journaled, multicast and submitted.

    entry  = header | batch | batch | ...
    batch  = header | payload                 (the payload is opaque here)

All integers are little-endian.

Batch header, 128 bytes:

    offset size field
         0    4  magic        b"ISB1": format and version
         4   32  digest       SHA-256 over everything after this field, payload included
        36   24  sender       ASCII, zero-padded
        60    4  incarnation  of the sender; a restart opens the next one
        64    2  channel      what kind of messages these are
        66    2  reserved     zero
        68    4  count        messages in the payload
        72    4  length       bytes of payload
        76    4  reserved     zero
        80    8  number       1, 2, 3, ... within the sender's session
        88    8  cause        first sequence number of the input that these are outputs of, or 0
        96   32  previous     digest of the sender's batch before this one, or zeros

The digest covers `previous`, so the batches of a sender are a hash chain. A node checks it once,
when a batch comes in; behind that, the entry's checksum protects the bytes.

Entry header, 144 bytes:

    offset size field
         0    4  magic           b"ISE1"
         4    4  header_crc      CRC-32 of the header after this field
         8    4  payload_crc     CRC-32 of all batches
        12    4  length          bytes of all batches
        16   16  cluster         id of the group that ordered it
        32    8  term
        40    8  index           1, 2, 3, ... without gaps
        48    8  first_sequence  of its first message (of the next one, when it holds none)
        56    8  time_ns         sequenced time, ns since the epoch, never decreasing
        64    4  message_count
        68    4  batch_count
        72   32  previous        digest of the entry before this one, or zeros
       104   32  batches_digest  SHA-256 over the digests of its batches
       136    8  flags           bit 0: it changes the members of the group (see `members`)

An entry's own digest is the SHA-256 of its header: it covers, through `previous` and
`batches_digest`, everything that came before, at a cost per batch and not per byte.

A heartbeat is what an idle publisher sends, 64 bytes:

    offset size field
         0    4  magic           b"ISH1"
         4    4  crc             CRC-32 of what follows
         8   16  cluster
        24    8  term
        32    8  index           of the last committed entry (the high-water mark)
        40    8  next_sequence   number that the next message will get
        48    8  contact_ms      age of the last contact with a quorum
        56    8  flags           bit 0: stale, do not follow this node; bit 1: it leads
"""

import hashlib
import struct
import sys
import zlib
from collections.abc import Iterator, Sequence

import msgspec

from sequencer.errors import EnvelopeError

BATCH_MAGIC = b"ISB1"
ENTRY_MAGIC = b"ISE1"
HEARTBEAT_MAGIC = b"ISH1"
BATCH_HEADER_BYTES = 128
ENTRY_HEADER_BYTES = 144
SENDER_BYTES_MAX = 24
PAYLOAD_BYTES_MAX = 1 << 20
ENTRY_BYTES_MAX = 8 << 20
NO_DIGEST = bytes(32)
CONTROL = 0
"""The one channel that the sequencer itself reads; all others are the application's."""

_BATCH = struct.Struct("<4s32s24sIHHIIIQQ32s")
_BATCH_BODY = struct.Struct("<24sIHHIIIQQ32s")
_ENTRY = struct.Struct("<4sIII16sQQQQII32s32sQ")
_ENTRY_BODY = struct.Struct("<II16sQQQQII32s32sQ")
_HEARTBEAT = struct.Struct("<4sI16sQQQQQ")
_PAYLOAD_CRC = struct.Struct("<I")
_HASHED_FROM = 36
_FLAGS_AT = 136
_CHANGES_MEMBERS = 1
_STALE = 1
_LEADS = 2

assert _BATCH.size == BATCH_HEADER_BYTES
assert _ENTRY.size == ENTRY_HEADER_BYTES

_sender_names: dict[bytes, str] = {}


class Batch(msgspec.Struct, gc=False, eq=False):
    """Messages that one sender submitted together: the unit of exactly-once.

    `data` is the whole encoded batch: its own bytes, or a view of the frame that it came in.
    `first_sequence` is 0 until the batch is part of an entry.
    """

    sender: str
    incarnation: int
    channel: int
    count: int
    number: int
    cause: int
    previous: bytes
    digest: bytes
    data: bytes | memoryview
    first_sequence: int = 0

    @property
    def payload(self) -> memoryview:
        """The opaque bytes behind the header."""
        return memoryview(self.data)[BATCH_HEADER_BYTES:]


class Entry(msgspec.Struct, gc=False, eq=False):
    """One position of the log: what was ordered together. `data` is the whole encoded entry."""

    cluster: bytes
    term: int
    index: int
    first_sequence: int
    time_ns: int
    message_count: int
    batch_count: int
    previous: bytes
    data: bytes

    @property
    def next_sequence(self) -> int:
        """Sequence number of the first message after this entry."""
        return self.first_sequence + self.message_count

    @property
    def digest(self) -> bytes:
        """The digest that the next entry names as `previous`."""
        return entry_digest(self.data)

    @property
    def changes_members(self) -> bool:
        """Whether it tells who belongs to the group from here on."""
        return bool(self.data[_FLAGS_AT] & _CHANGES_MEMBERS)

    def batches(self) -> list[Batch]:
        """The batches, in order, each with its first sequence number."""
        found = split_batches(memoryview(self.data)[ENTRY_HEADER_BYTES:])
        sequence = self.first_sequence
        for batch in found:
            batch.first_sequence = sequence
            sequence += batch.count
        if len(found) != self.batch_count or sequence != self.next_sequence:
            raise EnvelopeError(
                f"entry {self.index} announces {self.batch_count} batches and {self.message_count} messages, "
                f"but holds {len(found)} and {sequence - self.first_sequence}"
            )
        return found


class Heartbeat(msgspec.Struct, frozen=True, gc=False):
    """What a node says of itself: how far the log goes, whether to believe it still, and whether it leads."""

    cluster: bytes
    term: int
    index: int
    next_sequence: int
    contact_ms: int
    stale: bool
    leads: bool = False


def pad_sender(sender: str) -> bytes:
    """The 24 bytes under which a sender's name travels. Raises EnvelopeError for an unusable name."""
    raw = sender.encode("ascii", "replace")
    if not 0 < len(raw) <= SENDER_BYTES_MAX or not sender.isascii() or not sender.isprintable():
        raise EnvelopeError(f"a sender name is 1 to {SENDER_BYTES_MAX} printable ASCII characters, got {sender!r}")
    return raw.ljust(SENDER_BYTES_MAX, b"\0")


def encode_batch(
    sender: str,
    channel: int,
    number: int,
    payload: bytes,
    *,
    count: int,
    previous: bytes = NO_DIGEST,
    incarnation: int = 0,
    cause: int = 0,
) -> Batch:
    """Seal a payload of `count` messages as the sender's batch `number`, chained to `previous`."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise EnvelopeError(f"a payload is at most {PAYLOAD_BYTES_MAX} bytes, got {len(payload)}: send smaller batches")
    body = _BATCH_BODY.pack(
        pad_sender(sender), incarnation, channel, 0, count, len(payload), 0, number, cause, previous
    )
    hashed = body + payload
    digest = hashlib.sha256(hashed).digest()
    data = b"".join((BATCH_MAGIC, digest, hashed))
    return Batch(sender, incarnation, channel, count, number, cause, previous, digest, data)


def split_batches(data: bytes | memoryview, most: int = sys.maxsize) -> list[Batch]:
    """Cut concatenated batches apart. Raises EnvelopeError where the bytes are not whole batches, or too many.

    Digests are not checked here: see `verify`.
    """
    view = memoryview(data)
    batches: list[Batch] = []
    offset, end = 0, len(view)
    while offset < end:
        if len(batches) >= most:
            raise EnvelopeError(f"at most {most} batches are expected, and {end - offset} bytes follow")
        if end - offset < BATCH_HEADER_BYTES:
            raise EnvelopeError(f"a batch header is {BATCH_HEADER_BYTES} bytes, got {end - offset}")
        magic, digest, raw, incarnation, channel, zero, count, length, zeros, number, cause, previous = (
            _BATCH.unpack_from(view, offset)
        )
        if magic != BATCH_MAGIC or zero or zeros:
            raise EnvelopeError(f"a batch begins with {BATCH_MAGIC!r}, got {magic!r}")
        stop = offset + BATCH_HEADER_BYTES + length
        if length > PAYLOAD_BYTES_MAX or stop > end:
            raise EnvelopeError(f"batch {number} announces {length} bytes of payload, {end - offset} bytes are left")
        sender = _sender_names.get(raw) or _sender_name(raw)
        batches.append(Batch(sender, incarnation, channel, count, number, cause, previous, digest, view[offset:stop]))
        offset = stop
    return batches


def verify(batch: Batch) -> bool:
    """Whether the batch's digest is that of its contents."""
    return hashlib.sha256(memoryview(batch.data)[_HASHED_FROM:]).digest() == batch.digest


def encode_entry(
    batches: Sequence[Batch],
    *,
    cluster: bytes,
    term: int,
    index: int,
    first_sequence: int,
    time_ns: int,
    previous: bytes,
    changes_members: bool = False,
) -> Entry:
    """Seal batches as the entry at `index`."""
    parts = [batch.data for batch in batches]
    crc = length = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
        length += len(part)
    digests = hashlib.sha256(b"".join([batch.digest for batch in batches])).digest()
    count = sum([batch.count for batch in batches])
    body = _ENTRY_BODY.pack(
        crc, length, cluster, term, index, first_sequence, time_ns, count, len(batches),
        previous, digests, _CHANGES_MEMBERS if changes_members else 0,
    )  # fmt: skip
    data = b"".join((ENTRY_MAGIC, zlib.crc32(body).to_bytes(4, "little"), body, *parts))
    return Entry(cluster, term, index, first_sequence, time_ns, count, len(batches), previous, data)


def entry_digest(data: bytes | memoryview) -> bytes:
    """The digest of an encoded entry."""
    return hashlib.sha256(memoryview(data)[:ENTRY_HEADER_BYTES]).digest()


def entry_bytes(header: bytes | memoryview) -> int:
    """The size of the entry that begins with this header. Raises EnvelopeError where there is none."""
    if len(header) < ENTRY_HEADER_BYTES or bytes(header[:4]) != ENTRY_MAGIC:
        raise EnvelopeError(f"an entry begins with {ENTRY_MAGIC!r}, got {bytes(header[:4])!r}")
    return ENTRY_HEADER_BYTES + int.from_bytes(header[12:16], "little")


def decode_entry(data: bytes) -> Entry:
    """Check and read one whole entry. Raises EnvelopeError, naming what does not fit."""
    size = entry_bytes(data)
    (
        _magic, header_crc, payload_crc, _length, cluster, term, index, first, time_ns, count, batches, previous,
        _digests, _flags,
    ) = _ENTRY.unpack_from(data)  # fmt: skip
    view = memoryview(data)
    if len(data) != size:
        raise EnvelopeError(f"entry {index} announces {size} bytes, got {len(data)}")
    if zlib.crc32(view[8:ENTRY_HEADER_BYTES]) != header_crc:
        raise EnvelopeError(f"the header of entry {index} does not match its checksum")
    if zlib.crc32(view[ENTRY_HEADER_BYTES:]) != payload_crc:
        raise EnvelopeError(f"the batches of entry {index} do not match their checksum")
    return Entry(cluster, term, index, first, time_ns, count, batches, previous, data)


def entry_headers(data: memoryview) -> Iterator[memoryview]:
    """The headers of concatenated entries; each matches the batches behind it. Raises EnvelopeError."""
    start = 0
    while start < len(data):
        header = data[start : start + ENTRY_HEADER_BYTES]
        stop = start + entry_bytes(header)
        if (
            stop > len(data)
            or zlib.crc32(data[start + ENTRY_HEADER_BYTES : stop]) != _PAYLOAD_CRC.unpack_from(header, 8)[0]
        ):
            raise EnvelopeError("the batches of an entry do not match their checksum")
        yield header
        start = stop


def split_entries(data: bytes) -> list[Entry]:
    """Cut concatenated entries apart, checking each. Raises EnvelopeError."""
    view = memoryview(data)
    entries = []
    offset = 0
    while offset < len(view):
        size = entry_bytes(view[offset : offset + ENTRY_HEADER_BYTES])
        entries.append(decode_entry(bytes(view[offset : offset + size])))
        offset += size
    return entries


def encode_heartbeat(beat: Heartbeat) -> bytes:
    """The 64 bytes of a heartbeat."""
    flags = (_STALE if beat.stale else 0) | (_LEADS if beat.leads else 0)
    body = struct.pack("<16sQQQQQ", beat.cluster, beat.term, beat.index, beat.next_sequence, beat.contact_ms, flags)
    return HEARTBEAT_MAGIC + zlib.crc32(body).to_bytes(4, "little") + body


def decode_heartbeat(data: bytes) -> Heartbeat:
    """Read a heartbeat. Raises EnvelopeError."""
    if len(data) != _HEARTBEAT.size or data[:4] != HEARTBEAT_MAGIC:
        raise EnvelopeError(f"a heartbeat is {_HEARTBEAT.size} bytes from {HEARTBEAT_MAGIC!r}, got {data[:4]!r}")
    _magic, crc, cluster, term, index, sequence, contact_ms, flags = _HEARTBEAT.unpack(data)
    if zlib.crc32(memoryview(data)[8:]) != crc:
        raise EnvelopeError("a heartbeat does not match its checksum")
    return Heartbeat(cluster, term, index, sequence, contact_ms, bool(flags & _STALE), bool(flags & _LEADS))


def _sender_name(raw: bytes) -> str:
    """Decode a padded name once; names are few, so the cache stays small (and is dropped when not)."""
    try:
        name = raw.rstrip(b"\0").decode("ascii")
    except UnicodeDecodeError:
        name = ""
    if not name or not name.isprintable():
        raise EnvelopeError(f"a sender name is printable ASCII, got {raw!r}")
    if len(_sender_names) > 4096:
        _sender_names.clear()
    _sender_names[raw] = name
    return name
