"""Batches that go through a group while a benchmark does something else to it: a sender in a thread of its own.

with Traffic(config, window=64) as traffic:     `window` batches of 100 x 64 bytes are in flight all the time
    ...                                         seen, longest_pause_s
"""

import os
import threading
import time
from typing import Self

from benchmarks.ordering import COUNT, PAYLOAD, Sender
from sequencer.config import Config
from sequencer.envelope import BATCH_HEADER_BYTES
from sequencer.sockets import context

BATCH_BYTES = BATCH_HEADER_BYTES + len(PAYLOAD)


class Traffic:
    """From enter to exit; `seen` counts the batches that came back in the stream."""

    def __init__(self, config: Config, window: int) -> None:
        self.seen = 0
        self.longest_pause_s = 0.0
        """Between two of them; set it to 0 to begin anew."""
        self.window = window
        """How many batches are in flight; it may be changed at any time."""
        self._config = config
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def messages_per_s(self, seconds: float) -> float:
        """How many messages a second come back, from now on."""
        begun_s, seen = time.monotonic(), self.seen
        time.sleep(seconds)
        return self.rate_since(begun_s, seen)

    def rate_since(self, begun_s: float, seen: int) -> float:
        """How many messages a second came back, since a moment at which so many batches had been seen."""
        return (self.seen - seen) * COUNT / (time.monotonic() - begun_s)

    def write(self, log_bytes: float) -> None:
        """Wait until the log has grown by so many bytes."""
        goal = self.seen + log_bytes / BATCH_BYTES
        while self.seen < goal:
            assert self._thread.is_alive(), "the sender has ended"
            time.sleep(0.05)

    def _run(self) -> None:
        with context(self._config) as made:
            sender = Sender(self._config, f"gateway.traffic-{os.urandom(3).hex()}", made)
            last_s = time.monotonic()
            while not self._stop.is_set():
                sender.fill(self.window, PAYLOAD, COUNT)
                sender.turn()
                if sender.seen > self.seen:
                    now_s = time.monotonic()
                    self.longest_pause_s = max(self.longest_pause_s, now_s - last_s)
                    self.seen, last_s = sender.seen, now_s
