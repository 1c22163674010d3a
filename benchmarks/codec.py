"""The codecs: ns a message to encode and decode payloads, us a batch to seal, verify and put into an entry."""

import argparse
import time
from collections.abc import Callable

from benchmarks.report import print_rows
from engines.messages import COMMANDS, DECODERS, ENCODER, RESULTS, Message, NewOrder, OrderAccepted, Trade
from sequencer import envelope

MESSAGES = 256
BATCHES = 64
REPEATS = 200


def best_of(work: Callable[[], object]) -> float:
    """Seconds a call, the best of five rounds: what is left when nobody disturbs."""
    rounds = []
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(REPEATS):
            work()
        rounds.append((time.perf_counter() - begin) / REPEATS)
    return min(rounds)


def payloads() -> dict[str, tuple[int, list[Message]]]:
    """A payload of each kind that the hot paths carry."""
    return {
        "NewOrder": (
            COMMANDS,
            [NewOrder(k % 100, k, k % 16, f"{1967391 + k:016d}", 1, 7831800 + k, 10**8 + k) for k in range(MESSAGES)],
        ),
        "OrderAccepted": (RESULTS, [OrderAccepted(10**6 + k) for k in range(MESSAGES)]),
        "Trade": (RESULTS, [Trade(3, 7831800, 10**8, 10**6 + k, 10**6 + k + 1) for k in range(MESSAGES)]),
    }


def messages_row(channel: int, messages: list[Message]) -> dict[str, float]:
    """Figures of one kind of message."""
    data = ENCODER.encode(messages)
    return {
        "encode_ns": best_of(lambda: ENCODER.encode(messages)) / MESSAGES * 1e9,
        "decode_ns": best_of(lambda: DECODERS[channel].decode(data)) / MESSAGES * 1e9,
        "bytes": len(data) / MESSAGES,
    }


def envelope_row(payload: bytes) -> dict[str, float]:
    """Figures of one batch, in an entry of BATCHES."""
    batches = [envelope.encode_batch("gateway.b", COMMANDS, k, payload, count=100) for k in range(BATCHES)]
    frame = b"".join(batch.data for batch in batches)

    def entry() -> envelope.Entry:
        return envelope.encode_entry(
            batches, cluster=bytes(16), term=1, index=1, first_sequence=1, time_ns=1, previous=envelope.NO_DIGEST
        )

    data = entry().data
    return {
        "seal_us": best_of(lambda: envelope.encode_batch("gateway.b", COMMANDS, 1, payload, count=100)) * 1e6,
        "split_us": best_of(lambda: envelope.split_batches(frame)) / BATCHES * 1e6,
        "verify_us": best_of(lambda: envelope.verify(batches[0])) * 1e6,
        "encode_entry_us": best_of(entry) / BATCHES * 1e6,
        "decode_entry_us": best_of(lambda: envelope.decode_entry(data).batches()) / BATCHES * 1e6,
    }


def main() -> None:
    """Print a row a kind of message, and one a size of batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = {
        f"{MESSAGES} x {name}": [messages_row(channel, messages) for _ in range(options.runs)]
        for name, (channel, messages) in payloads().items()
    }
    for size in (640, 6400):
        rows[f"batch of {size} bytes"] = [envelope_row(bytes(range(64)) * (size // 64)) for _ in range(options.runs)]
    print_rows("codec", rows, as_json=options.json)


if __name__ == "__main__":
    main()
