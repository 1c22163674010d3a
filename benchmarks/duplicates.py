"""What the second replica's copy of an output costs the node that leads, against the first one.

    batches of 64 outputs --first copy--> judged, verified, ordered      --second copy--> judged: a duplicate

In one process without sockets: cutting the frame apart, the chain rule, the digest of what is accepted. What the copy
costs beside that is receiving it. Both are measured on the same batches in turn.
"""

import argparse
import time

from benchmarks.report import print_rows
from engines.messages import ENCODER, RESULTS, OrderAccepted
from sequencer.clock import SequencedClock
from sequencer.config import LimitsConfig
from sequencer.envelope import NO_DIGEST, encode_batch
from sequencer.members import Member, Members
from sequencer.ordering import Orderer
from sequencer.raft import Log, Persisted, Raft
from sequencer.sessions import Sessions

OUTPUTS = 64
FRAMES = 2000


def orderer() -> Orderer:
    """A node that is alone and leads."""
    raft = Raft("a", b"a" * 16, cluster=bytes(16), log=Log(Members.founding([Member("a", b"a" * 16)])))
    made = Orderer(raft, Sessions(), SequencedClock(0, 0, 0), lambda _sender: frozenset({RESULTS}), LimitsConfig())
    made.step(0)
    _settle(made)
    return made


def _settle(made: Orderer) -> None:
    while made.owed.entries or made.owed.committed:
        entries = made.owed.entries
        made.owed.entries, made.owed.committed = [], []
        if entries:
            made.step(0, Persisted(entries[-1].index))


def one_run() -> dict[str, float]:
    """Microseconds of CPU a batch, for the first copy and for the second."""
    made, previous, frames = orderer(), NO_DIGEST, []
    for number in range(1, FRAMES + 1):
        payload = ENCODER.encode([OrderAccepted(number * OUTPUTS + place) for place in range(OUTPUTS)])
        batch = encode_batch("matching.0", RESULTS, number, payload, count=OUTPUTS, previous=previous)
        previous = batch.digest
        frames.append(bytes(batch.data))
    first_ns = second_ns = 0
    for frame in frames:
        begin_ns = time.process_time_ns()
        assert made.take(frame, lambda _channel: True, "") is None
        made.propose(0, 1000, 0)
        first_ns += time.process_time_ns() - begin_ns
        _settle(made)
        begin_ns = time.process_time_ns()
        assert made.take(frame, lambda _channel: True, "") is not None
        second_ns += time.process_time_ns() - begin_ns
    return {"first_us": first_ns / FRAMES / 1000, "second_us": second_ns / FRAMES / 1000}


def main() -> None:
    """Run several times; print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    print_rows("duplicates", {"an output batch of 64": [one_run() for _ in range(options.runs)]}, as_json=options.json)


if __name__ == "__main__":
    main()
