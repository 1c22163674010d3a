"""What the opening of a journal found, for its node and for people."""

from dataclasses import dataclass

from sequencer import envelope
from sequencer.journal.recovery import Ending, Recovery


@dataclass(frozen=True, slots=True)
class Recovered:
    """What `open` found.

    `last_digest` is the last entry's (zeros where there is none). `torn_bytes` were cut: they were
    never acknowledged. `suspect_indexes` are the first and the last entry of a group that was whole but
    wrong, where known. `notes` say in words what was done.
    """

    last_index: int = 0
    last_term: int = 0
    last_digest: bytes = envelope.NO_DIGEST
    torn_bytes: int = 0
    suspect: bool = False
    suspect_indexes: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()


def describe(recovery: Recovery, *, is_tail_kept: bool) -> Recovered:
    """What is to be told about the tail that recovery found."""
    tail, extent = recovery.tail, recovery.extents[-1]
    place = f"{extent.header.name} offset {tail.offset}"
    if tail.ending is Ending.TORN and is_tail_kept:
        return Recovered(notes=(f"{place}: {tail.dirty_bytes} bytes that are no group are kept, beside the damage",))
    if tail.ending is Ending.TORN:
        note = f"{place}: {tail.dirty_bytes} bytes of a group that was never acknowledged were cut"
        return Recovered(torn_bytes=tail.dirty_bytes, notes=(note,))
    if tail.ending is Ending.SUSPECT:
        first_index, last_index = tail.indexes or (extent.next_index, "?")
        note = f"{place}: entries {first_index} to {last_index} were written whole but are wrong; they are kept"
        return Recovered(suspect_indexes=tail.indexes, notes=(note,))
    return Recovered()
