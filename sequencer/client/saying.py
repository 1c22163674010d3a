"""Saying one thing as a sender and seeing it sequenced: how commands speak to the machines through the log.

    say --open, batch--> node            the stream --> where it stands
    open --open--> node                  the stream --> from where on all earlier processes are fenced

A command opens the sender's session, as any process does. So two commands at once do not mix: the later one fences
the earlier, which reads on until it knows that nothing of it was taken, and then says it again.
"""

import random
import time
from collections.abc import Callable, Iterator

from sequencer.client.submitter import Submitter
from sequencer.client.subscriber import Subscriber
from sequencer.config import Config
from sequencer.envelope import CONTROL, Batch, Entry
from sequencer.errors import FencedError, UnreachableError
from sequencer.group import committed_index
from sequencer.keys import operator_sender
from sequencer.sockets import Context, key_in_use

POLL_MS = 20
SAY_S = 10.0
PAUSE_S_MAX = 0.3


class Voice:
    """A sender's way to speak for as long as a command runs, and the stream from then on: a context manager."""

    def __init__(self, config: Config, sender: str, *, patience_s: float = SAY_S) -> None:
        self._config = config
        self._sender = sender
        self._patience_s = patience_s
        self._context = Context.of(config)
        self._subscriber: Subscriber | None = None
        self._submitter: Submitter | None = None
        self._opening: Batch | None = None
        self._seen: list[Entry] = []

    @classmethod
    def of_operator(cls, config: Config, *, patience_s: float = SAY_S) -> "Voice":
        """Who gives commands, in his own name, which the nodes compare with his key. Raises ConfigError."""
        return cls(config, operator_sender(key_in_use(config)), patience_s=patience_s)

    def __enter__(self) -> "Voice":
        return self

    def __exit__(self, *_error: object) -> None:
        self._context.destroy(linger=0)

    def say(self, channel: int, payload: bytes, count: int = 1) -> Batch:
        """Have a batch sequenced, once; return it as it stands in the log. Raises UnreachableError."""
        deadline_s = time.monotonic() + self._patience_s
        while True:
            submitter = self._submitter or self._open(deadline_s)
            if submitter is not None:
                submitter.submit(channel, payload, count)
                said = self._await(submitter, deadline_s)
                if said is not None:
                    return said
            self._give_way()

    def open(self) -> Batch:
        """Open the sender's next incarnation, and say nothing; return the opening. Raises UnreachableError.

        What others submit as this sender under an earlier incarnation, and is not in the log yet, never will be.
        """
        deadline_s = time.monotonic() + self._patience_s
        while self._open(deadline_s) is None:
            self._give_way()
        assert self._opening is not None, self._sender
        return self._opening

    def listen(self, until: Callable[[Entry], bool], patience_s: float) -> bool:
        """Give each entry behind what was said to `until`, until it is true; False when the time is over."""
        deadline_s = time.monotonic() + patience_s
        while time.monotonic() < deadline_s:
            for entry in self._entries():
                if until(entry):
                    return True
            self._turn()
        return False

    def _await(self, submitter: Submitter, deadline_s: float) -> Batch | None:
        """The batch that was submitted last, once it is in the log; None once it never will be."""
        while True:
            for entry in self._entries():
                for batch in entry.batches():
                    if batch.sender != self._sender:
                        continue
                    if batch.channel == CONTROL and batch.incarnation > submitter.incarnation:
                        return None
                    submitter.observe(batch)
                    if batch.digest == submitter.digest:
                        return batch
            try:
                self._turn(deadline_s)
            except FencedError:
                continue  # a newer session is in the log, and will be seen

    def _open(self, deadline_s: float) -> Submitter | None:
        """A session; None where another command has opened one at the same time."""
        stream = self._listening()
        submitter = self._submitter = Submitter(
            self._config.ingress, self._sender, context=self._context, leader=lambda: stream.leader_ingress
        )
        submitter.open()
        try:
            while not submitter.is_open:
                for entry in self._entries():
                    for batch in entry.batches():
                        submitter.observe(batch)
                        if batch.channel == CONTROL and batch.sender == self._sender:
                            self._opening = batch
                self._turn(deadline_s)
        except FencedError:
            return None
        return submitter

    def _give_way(self) -> None:
        """Leave the other command time to say what it has to."""
        if self._submitter is not None:
            self._submitter.close()
        self._submitter = None
        resume_s = time.monotonic() + random.uniform(0, PAUSE_S_MAX)
        while time.monotonic() < resume_s:
            self._turn()

    def _listening(self) -> Subscriber:
        """The stream from where it is now."""
        if self._subscriber is None:
            index = committed_index(self._config, self._patience_s)
            self._subscriber = Subscriber(
                self._config.sources, context=self._context, follow_leader=True, next_index=index + 1
            )
        return self._subscriber

    def _entries(self) -> Iterator[Entry]:
        while self._seen:
            yield self._seen.pop(0)

    @property
    def _is_full(self) -> bool:
        return self._submitter is not None and self._submitter.full

    def _turn(self, deadline_s: float | None = None) -> None:
        assert self._subscriber is not None
        self._seen += self._subscriber.wait(POLL_MS)
        if deadline_s is not None and time.monotonic() > deadline_s:
            why = "the disk of the node that leads is full;" if self._is_full else "is the venue well?"
            raise UnreachableError(
                f"nothing of {self._sender!r} was sequenced within {self._patience_s:.0f} s: {why} "
                "`sequencer health` tells"
            )
        if self._submitter is not None:
            self._submitter.flush()
            self._submitter.receive()
