"""Reading history through replayers: ranges of committed entries, independent of the live stream."""

import time
from collections.abc import Iterator, Sequence

import zmq

from sequencer.config import Source
from sequencer.envelope import Entry, split_entries
from sequencer.errors import UnreachableError
from sequencer.protocol import ENCODER, FETCHED, Fetch
from sequencer.sockets import connect, tune

FETCH_BYTES = 1 << 20
ANSWER_MS = 1000
"""How long a replayer may take before the next one is asked."""

PAUSE_MS = 20
"""After an answer without entries: the replayer is a little behind the stream."""


class Fetcher:
    """Asks one replayer at a time for ranges, and the next one when it does not answer."""

    def __init__(
        self, sources: Sequence[Source], context: "zmq.Context[zmq.Socket[bytes]]", fetch_bytes: int = FETCH_BYTES
    ) -> None:
        self._sources = tuple(sources)
        self._fetch_bytes = fetch_bytes
        self._context = context
        self._current = 0
        self._asked: int | None = None
        self._asked_ms = 0
        self._pause_until_ms = 0
        self.socket = self._connect()

    def ask(self, first_index: int) -> None:
        """Ask for entries from `first_index` on, unless an answer is outstanding or it is too early."""
        if self._asked is not None or _now_ms() < self._pause_until_ms:
            return
        self._asked, self._asked_ms = first_index, _now_ms()
        try:
            self.socket.send(ENCODER.encode(Fetch(first_index, self._fetch_bytes)), zmq.NOBLOCK)
        except zmq.Again:
            return  # nobody is connected: `receive` tries the next replayer in time

    def receive(self) -> tuple[list[Entry], int] | None:
        """The entries asked for and the replayer's high-water mark, or None while there is no answer."""
        while self._asked is not None:
            try:
                head, data = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                self._watch()
                return None
            fetched = FETCHED.decode(head)
            if fetched.first_index == self._asked:
                self._asked = None
                self._pause_until_ms = 0 if data else _now_ms() + PAUSE_MS
                return split_entries(data), fetched.high_water
        return None

    def follow(self, source: int) -> None:
        """Ask this source from now on."""
        if source != self._current:
            self._switch(source)

    def close(self) -> None:
        """Close the socket."""
        self.socket.close(linger=0)

    def _watch(self) -> None:
        if self._asked is not None and _now_ms() - self._asked_ms > ANSWER_MS:
            first_index, self._asked = self._asked, None
            self._switch((self._current + 1) % len(self._sources))
            self.ask(first_index)

    def _switch(self, source: int) -> None:
        endpoint = self._sources[self._current].replayer
        self._current = source
        if len(self._sources) > 1:
            self.socket.disconnect(endpoint)
            connect(self.socket, self._sources[source].replayer)

    def _connect(self) -> "zmq.Socket[bytes]":
        socket = tune(self._context.socket(zmq.DEALER))
        connect(socket, self._sources[self._current].replayer)
        return socket


class Replay:
    """All committed entries from `first_index` to `last_index` (None: to the high-water mark found).

    Iterate over it (blocking; raises UnreachableError after `patience_s` without an answer), or call
    `step` from an event loop until `done`.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        first_index: int = 1,
        last_index: int | None = None,
        *,
        context: "zmq.Context[zmq.Socket[bytes]]",
        patience_s: float = 10.0,
        fetch_bytes: int = FETCH_BYTES,
    ) -> None:
        self.next_index = first_index
        self.last_index = last_index
        self._patience_s = patience_s
        self._fetcher = Fetcher(sources, context, fetch_bytes)
        self._ready: list[Entry] = []
        self.done = last_index is not None and first_index > last_index

    @property
    def socket(self) -> "zmq.Socket[bytes]":
        """To be woken when an answer comes."""
        return self._fetcher.socket

    def __iter__(self) -> Iterator[Entry]:
        deadline = time.monotonic() + self._patience_s
        while not self.done:
            entries = self.step()
            yield from entries
            if entries:
                deadline = time.monotonic() + self._patience_s
            elif not self.done:
                self._fetcher.socket.poll(100)
                if time.monotonic() > deadline:
                    raise UnreachableError(
                        f"no replayer answered within {self._patience_s:.0f} s: is the venue running?"
                    )

    def step(self, entries_max: int = 1 << 30) -> list[Entry]:
        """Up to `entries_max` entries that have arrived; never blocks."""
        if not self._ready and not self.done:
            self._receive()
        taken, self._ready = self._ready[:entries_max], self._ready[entries_max:]
        if taken:
            self.next_index = taken[-1].index + 1
        self.done = self.last_index is not None and self.next_index > self.last_index
        return taken

    def close(self) -> None:
        """Close the socket."""
        self._fetcher.close()

    def _receive(self) -> None:
        self._fetcher.ask(self.next_index)
        answer = self._fetcher.receive()
        if answer is None:
            return
        entries, high_water = answer
        if self.last_index is None and high_water >= 0:
            self.last_index = high_water
        if self.last_index is not None and entries:
            self._ready = [entry for entry in entries if entry.index <= self.last_index]
            if entries[-1].index < self.last_index:
                self._fetcher.ask(entries[-1].index + 1)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
