"""Judges histories of real groups, from files alone. It shares no code with the sequencer: its own reader of the
documented layout, its own idea of what must hold.

    submitted.jsonl   {"sender", "number", "digest", "began_ns", "seen_ns", "seen_index"}    by senders
    leaders.jsonl     {"term", "leader"}: who said that it leads                             by who asked the nodes
    OBSERVER.log      encoded entries, back to back, as one subscriber got them              by observers

    check(directory) --> list of what was broken; empty where everything held

What must hold:
- All observers have the same bytes at the same index, each from 1 on without a gap or a repeat, up to at least
  what any sender has seen.
- Entries link by digest, belong to one group, and hold what their headers say. Sequence numbers begin with 1 and
  have no gap; times and terms never go back. A term has one leader.
- Each sender's batches are there once, in order, linked, and no other than it has submitted.
- What was seen in the stream stays; what was seen before another submission began comes before it.
"""

import hashlib
import itertools
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

_ENTRY = struct.Struct("<4sIII16sQQQQII32s32sQ")
_BATCH = struct.Struct("<4s32s24sIHHIIIQQ32s")
_SEQUENCER = "sequencer"


class Batch(NamedTuple):
    """A batch in the log."""

    sender: str
    incarnation: int
    channel: int
    number: int
    count: int
    previous: bytes
    digest: bytes


class Entry(NamedTuple):
    """An entry in the log. `bytes_digest` stands for all its bytes, `digest` is the one that the next entry names."""

    index: int
    term: int
    cluster: bytes
    first_sequence: int
    time_ns: int
    message_count: int
    previous: bytes
    digest: bytes
    batches: list[Batch]
    bytes_digest: bytes


def read_log(file: BinaryIO) -> Iterator[Entry]:
    """Encoded entries, back to back. Raises ValueError where they are not whole."""
    while header := file.read(_ENTRY.size):
        at = file.tell() - len(header)
        if len(header) < _ENTRY.size:
            raise ValueError(f"what stands at byte {at} is no whole entry")
        (
            magic, header_crc, payload_crc, length, cluster, term, index, first, time_ns, messages, batches, previous,
            batches_digest, _flags,
        ) = _ENTRY.unpack(header)  # fmt: skip
        payload = file.read(length)
        if magic != b"ISE1" or zlib.crc32(header[8:]) != header_crc or zlib.crc32(payload) != payload_crc:
            raise ValueError(f"what stands at byte {at} is no whole entry")
        found = list(_read_batches(payload))
        if (len(found), sum(batch.count for batch in found), len(payload)) != (batches, messages, length):
            raise ValueError(f"entry {index} holds {len(found)} batches, other than it announces")
        if hashlib.sha256(b"".join(batch.digest for batch in found)).digest() != batches_digest:
            raise ValueError(f"entry {index} holds other batches than its digest says")
        digest, all_bytes = hashlib.sha256(header).digest(), hashlib.sha256(header + payload).digest()
        yield Entry(index, term, cluster, first, time_ns, messages, previous, digest, found, all_bytes)


def _read_batches(payload: bytes) -> Iterator[Batch]:
    at = 0
    while at < len(payload):
        magic, digest, sender, incarnation, channel, _z, count, length, _zz, number, _cause, previous = (
            _BATCH.unpack_from(payload, at)
        )
        end = at + _BATCH.size + length
        if magic != b"ISB1" or hashlib.sha256(payload[at + 36 : end]).digest() != digest:
            raise ValueError(f"batch {number} is not what its digest says")
        yield Batch(sender.rstrip(b"\0").decode(), incarnation, channel, number, count, previous, digest)
        at = end


def check(directory: Path) -> list[str]:
    """Everything that was broken, in words."""
    logs: dict[str, list[Entry]] = {}
    broken: list[str] = []
    for path in sorted(directory.glob("*.log")):
        try:
            with path.open("rb") as file:
                logs[path.stem] = list(read_log(file))
        except ValueError as error:
            broken.append(f"{path.stem}: {error}")
    submitted = _rows(directory / "submitted.jsonl")
    longest = max(logs.values(), key=len, default=[])
    seen_index = max((row["seen_index"] for row in submitted), default=0)
    for name, log in logs.items():
        broken += _compare(name, log, longest, seen_index)
    broken += _check_log(longest)
    broken += _check_leaders(_rows(directory / "leaders.jsonl"))
    return [*broken, *_check_senders(longest), *_check_submissions(longest, submitted)]


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _compare(name: str, log: list[Entry], longest: list[Entry], seen_index: int) -> Iterator[str]:
    for place, entry in enumerate(log):
        if entry.index != place + 1:
            yield f"{name} has entry {entry.index} where {place + 1} is due"
            return
        if entry.bytes_digest != longest[place].bytes_digest:
            yield f"{name} has another entry {entry.index} than others"
            return
    if len(log) < seen_index:
        yield f"{name} ends with entry {len(log)}, and entry {seen_index} was seen by a sender"


def _check_log(log: list[Entry]) -> Iterator[str]:
    if log and (log[0].first_sequence, log[0].previous) != (1, bytes(32)):
        yield "the first entry does not begin a log"
    for before, entry in itertools.pairwise(log):
        if entry.previous != before.digest:
            yield f"entry {entry.index} does not link to the one before"
        if entry.first_sequence != before.first_sequence + before.message_count:
            yield f"entry {entry.index} leaves a gap of sequence numbers"
        if entry.time_ns < before.time_ns or entry.term < before.term:
            yield f"entry {entry.index} goes back in time or term"
        if entry.cluster != before.cluster:
            yield f"entry {entry.index} belongs to another group"


def _check_leaders(rows: list[dict[str, Any]]) -> Iterator[str]:
    leaders: dict[int, str] = {}
    for row in rows:
        known = leaders.setdefault(row["term"], row["leader"])
        if known != row["leader"]:
            yield f"{known} and {row['leader']} both led in term {row['term']}"


def _check_senders(log: list[Entry]) -> Iterator[str]:
    at: dict[str, tuple[int, int, bytes]] = {}
    for entry in log:
        for batch in entry.batches:
            incarnation, number, digest = at.get(batch.sender, (0, 0, bytes(32)))
            place = f"batch {batch.number} of {batch.sender} in entry {entry.index}"
            if batch.sender == _SEQUENCER:
                continue
            if batch.channel == 0:
                if batch.incarnation != incarnation + 1:
                    yield f"{place} opens incarnation {batch.incarnation} after {incarnation}"
                at[batch.sender] = (batch.incarnation, number, digest)
                continue
            if (batch.incarnation, batch.number, batch.previous) != (incarnation, number + 1, digest):
                yield f"{place} does not follow number {number} of incarnation {incarnation}"
            at[batch.sender] = (incarnation, batch.number, batch.digest)


def _check_submissions(log: list[Entry], submitted: list[dict[str, Any]]) -> Iterator[str]:
    where = {(b.sender, b.number, b.digest.hex()): entry.index for entry in log for b in entry.batches if b.channel}
    seen = sorted((row["seen_ns"], row["seen_index"]) for row in submitted if row["seen_ns"])
    place, highest = 0, 0
    for row in sorted(submitted, key=lambda row: row["began_ns"]):
        while place < len(seen) and seen[place][0] < row["began_ns"]:
            highest = max(highest, seen[place][1])
            place += 1
        index = where.get((row["sender"], row["number"], row["digest"]), 0)
        name = f"batch {row['number']} of {row['sender']}"
        if row["seen_ns"] and index != row["seen_index"]:
            yield f"{name} was seen in entry {row['seen_index']} and is in {index or 'none'}"
        elif index and index <= highest:
            yield f"{name} is in entry {index}, and was submitted after entry {highest} had been seen"
    known = {(row["sender"], row["number"], row["digest"]) for row in submitted}
    senders = {row["sender"] for row in submitted}
    for key, index in where.items():
        if key[0] in senders and key not in known:
            yield f"batch {key[1]} of {key[0]} in entry {index} was submitted by nobody"
