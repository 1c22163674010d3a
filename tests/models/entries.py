"""Chains of real entries, to be journaled and sent."""

from collections.abc import Sequence

from sequencer import envelope
from sequencer.envelope import Entry

CLUSTER = b"cluster-of-tests"


def entry_after(previous: Entry | None, payload: bytes, *, term: int = 1, cluster: bytes = CLUSTER) -> Entry:
    """The entry that follows, with one batch of one message."""
    index = previous.index + 1 if previous else 1
    batch = envelope.encode_batch("tests", 1, index, payload, count=1)
    return envelope.encode_entry(
        [batch],
        cluster=cluster,
        term=term,
        index=index,
        first_sequence=previous.next_sequence if previous else 1,
        time_ns=index,
        previous=previous.digest if previous else envelope.NO_DIGEST,
    )


def chain(payloads: Sequence[bytes], *, after: Entry | None = None, term: int = 1) -> list[Entry]:
    """Entries that follow each other, one for each payload."""
    entries = []
    for payload in payloads:
        after = entry_after(after, payload, term=term)
        entries.append(after)
    return entries


def dense(size_bytes: int, salt: int = 0) -> bytes:
    """So many bytes, none of them zero, other ones for another salt."""
    return bytes((salt * 31 + at * 7 + at // 255) % 255 + 1 for at in range(size_bytes))
