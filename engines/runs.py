"""What a machine gets of an entry: runs, which are consecutive messages of one channel.

    entry = batch | batch | batch    -->    run (channel 1) | run (channel 2) | ...

A batch that cannot be read, or whose count is false, is void as a whole, and a run of its own.
"""

from collections.abc import Iterator

import msgspec

from engines.messages import DECODERS, OPERATIONS, Message, Reason
from sequencer.envelope import Batch


class Run(msgspec.Struct, gc=False):
    """Consecutive messages of one channel in one entry.

    `reason` is set where they cannot be read; `skipped` where operators had them refused (see `skips`).
    """

    first_sequence: int
    channel: int
    messages: list[Message]
    count: int
    reason: int = 0
    skipped: bool = False

    def part(self, first: int, end: int) -> "Run":
        """The messages from sequence number `first` up to, not including, `end`."""
        offset = first - self.first_sequence
        return Run(first, self.channel, self.messages[offset : offset + end - first], end - first)


def runs(batches: list[Batch], channels: tuple[int, ...]) -> Iterator[Run]:
    """What a machine that reads `channels` gets of an entry's batches."""
    run: Run | None = None
    for batch in batches:
        if batch.channel not in channels:
            run_over, run = run, None
            if run_over is not None:
                yield run_over
            continue
        read = _read(batch)
        if run is not None and not run.reason and not read.reason and run.channel == read.channel:
            run.messages += read.messages
            run.count += read.count
            continue
        if run is not None:
            yield run
        run = read
    if run is not None:
        yield run


def operations_in(batch: Batch) -> list[Message]:
    """What operators ask for in a batch of their channel; one that cannot be read is void, for every replica."""
    try:
        return DECODERS[OPERATIONS].decode(batch.payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


def _read(batch: Batch) -> Run:
    """Decode a batch; one that cannot be read, or whose count is false, is void as a whole."""
    try:
        messages = DECODERS[batch.channel].decode(batch.payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Run(batch.first_sequence, batch.channel, [], batch.count, Reason.UNDECODABLE)
    if len(messages) != batch.count:
        return Run(batch.first_sequence, batch.channel, [], batch.count, Reason.FALSE_COUNT)
    return Run(batch.first_sequence, batch.channel, messages, batch.count)
