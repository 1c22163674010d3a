"""The digests of a shard's states: a chain of its own in the log, so that one replica can vouch for a snapshot.

    own digest of marker k ----+--> sealed as batch k of SHARD.state --> log --> compared, by every replica
    all outputs up to it seen -+

Rules:
- Batch k tells the digest at marker k. It is a function of the log, like an output: the first copy is sequenced, the
  others confirm it, and whoever made another one has diverged. Where it stands in the log is not: a digest takes time.
- A marker whose state is not the shard's any more is void: batch k then vouches for nothing, and whatever the log
  holds in its place is not compared. That is so where a skip has overruled it (see `skips`), and where an
  incarnation was opened before all outputs made up to the marker were in the log: these are sealed anew.
- It is submitted only when every output made up to the marker has been seen in the log. So whoever begins with a
  snapshot that the log vouches for owes nothing of what came before it.
"""

from typing import Any, Final

import msgspec

from engines.messages import ENCODER, STATES, StateDigest
from sequencer.envelope import NO_DIGEST, Batch, encode_batch
from sequencer.errors import DivergedError

REMEMBERED: Final = 16


class _Seen(msgspec.Struct, frozen=True):
    digest: bytes
    index: int
    position: int


class StateChain:
    """The chain of one shard, as one replica knows it: its own digests, and those in the log."""

    def __init__(self, shard: str, number: int = 0, digest: bytes = NO_DIGEST) -> None:
        self.sender = f"{shard}.state"
        self._batch_digests = {number: digest}
        self._untold: dict[int, StateDigest] = {}
        self._own: dict[int, Batch] = {}
        self._told: dict[int, StateDigest] = {}
        self._seen: dict[int, _Seen] = {}
        self._outputs: dict[int, tuple[int, int]] = {}
        """Of the own markers: position, outputs made."""
        self._void: set[int] = set()
        self._last_seen = number
        self._offered = number

    @property
    def seen(self) -> int:
        """The last number in the log."""
        return self._last_seen

    def digests(self) -> dict[int, str]:
        """The own digests at the latest markers, in hexadecimal, by position."""
        known = [*self._told.values(), *self._untold.values()]
        return {told.position: told.digest.hex() for told in known if told.digest}

    def mark(self, number: int, position: int, outputs: int, *, void: bool = False) -> None:
        """This replica is at a marker, and has made so many outputs."""
        self._outputs[number] = (position, outputs)
        if void:
            self._make_void(number)

    def tell(self, number: int, told: StateDigest) -> None:
        """This replica's state at a marker. Raises DivergedError where the log says otherwise."""
        if number not in self._void:
            self._untold[number] = told
            self._seal()

    def reopen(self, outputs: int) -> None:
        """An incarnation was opened when so many outputs were in the log: what is made of others is void."""
        for number, (_position, made) in self._outputs.items():
            if number > self._last_seen and made > outputs:
                self._make_void(number)

    def see(self, batch: Batch, index: int) -> None:
        """A batch of this chain in the log. Raises DivergedError where this replica's differs."""
        self._seen[batch.number] = _Seen(batch.digest, index, batch.first_sequence)
        own = self._own.get(batch.number)
        self._batch_digests[batch.number] = batch.digest
        self._last_seen = max(self._last_seen, batch.number)
        self._compare(batch.number)
        if own is not None and own.digest != batch.digest:
            self._unseal(batch.number + 1)
        self._seal()
        for known in (self._batch_digests, self._untold, self._own, self._told, self._seen, self._outputs):
            _trim(known, self._last_seen - REMEMBERED)
        self._void = {number for number in self._void if number in self._outputs}

    def vouched_index(self, number: int) -> int:
        """The entry in which the log vouches for a marker, 0 while it does not."""
        seen = self._seen.get(number)
        return seen.index if seen and number not in self._void else 0

    def due(self, outputs_confirmed: int) -> list[Batch]:
        """What is to be submitted now, each batch once, in order."""
        due = []
        while (number := max(self._offered, self._last_seen) + 1) in self._own:
            if self._told[number].outputs > outputs_confirmed:
                break
            due.append(self._own[number])
            self._offered = number
        return due

    def _make_void(self, number: int) -> None:
        """Have this marker vouch for nothing, and seal it and what comes behind it anew."""
        self._void.add(number)
        self._unseal(number)
        self._untold[number] = StateDigest(*self._outputs[number], b"")
        self._seal()

    def _unseal(self, first: int) -> None:
        """What was sealed from this number on stood on another digest."""
        for number in [number for number in self._own if number >= first]:
            del self._own[number], self._batch_digests[number]
            self._untold[number] = self._told.pop(number)
        self._offered = min(self._offered, first - 1)

    def _seal(self) -> None:
        for number in sorted(self._untold):
            previous = self._batch_digests.get(number - 1)
            if previous is None:
                continue  # what came before is not known yet
            told = self._told[number] = self._untold.pop(number)
            payload = ENCODER.encode([told])
            batch = encode_batch(self.sender, STATES, number, payload, count=1, previous=previous)
            self._own[number] = batch
            self._batch_digests.setdefault(number, batch.digest)
            self._compare(number)

    def _compare(self, number: int) -> None:
        own, seen = self._own.get(number), self._seen.get(number)
        if own is not None and seen is not None and own.digest != seen.digest and number not in self._void:
            told = self._told[number]
            raise DivergedError(
                f"the state behind {told.position} has digest {told.digest.hex()[:16]} in this replica, and another "
                f"one in the log, at sequence {seen.position}"
            )


def _trim(known: dict[int, Any], number: int) -> None:
    """Forget what is older than `number`, but never the latest."""
    for old in [old for old in known if old < number and old != max(known)]:
        del known[old]
