"""Outputs that the log takes only once several replicas have made the same: `[output_quorum]`.

    copies of a batch, each from another voter --vote--> held --enough have the same digest--> next of its chain

Rules:
- A voter is a process, by name: what it says again does not count twice.
- Batches are let go in the order of their numbers, each on the chain that was accepted before it.
- Where voters differ, the digest that gathers enough of them wins; until then the chain stands, and all is told.
- What is held is bounded. What finds no place is said again by its sender, as after any silence.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from sequencer.envelope import Batch
from sequencer.protocol import Undecided
from sequencer.sessions import Position

SENDERS_MAX: Final = 256
HELD_NUMBERS_MAX: Final = 1024
HELD_BYTES_MAX: Final = 4 << 20


class _Held(msgspec.Struct):
    """One version of a batch, and who made it."""

    batch: Batch
    voters: set[str]


class _Chain(msgspec.Struct):
    """What is held of one incarnation of a sender, number -> digest -> version; and since when its next one waits."""

    incarnation: int
    since_ms: int
    held: dict[int, dict[bytes, _Held]] = {}
    size: int = 0


class Agreements:
    """What is held at the node that leads. `needed` tells how many voters a sender's batches take."""

    def __init__(self, needed: Callable[[str], int]) -> None:
        self._needed = needed
        self._chains: dict[str, _Chain] = {}

    def vote(self, voter: str, batch: Batch, at: Position, now_ms: int) -> list[Batch]:
        """Count a batch of verified digest and the incarnation of `at`, behind it; return those that follow now."""
        chain = self._chain(batch.sender, at, now_ms)
        if chain is None:
            return []
        versions = chain.held.setdefault(batch.number, {})
        version = versions.get(batch.digest)
        if version is None:
            if chain.size + len(batch.data) > HELD_BYTES_MAX or batch.number > at.number + HELD_NUMBERS_MAX:
                if not versions:
                    del chain.held[batch.number]
                return []
            chain.size += len(batch.data)
            version = versions[batch.digest] = _Held(batch, set())
        version.voters.add(voter)
        return self._decided(batch.sender, chain, at, now_ms)

    def holds(self, batch: Batch) -> bool:
        """Whether these very bytes are held: their digest need not be computed again."""
        chain = self._chains.get(batch.sender)
        version = chain.held.get(batch.number, {}).get(batch.digest) if chain is not None else None
        return version is not None and version.batch.data == batch.data

    def undecided(self, position: Callable[[str], Position], now_ms: int) -> dict[str, Undecided]:
        """By sender, what waits for more votes. `position` is a sender's last in the log."""
        told = {}
        for sender, chain in sorted(self._chains.items()):
            number = position(sender).number + 1
            if number in chain.held:
                votes = {key.hex()[:16]: sorted(one.voters) for key, one in sorted(chain.held[number].items())}
                told[sender] = Undecided(number, now_ms - chain.since_ms, self._needed(sender), votes)
        return told

    def clear(self) -> None:
        """Forget all: another node leads, and hears it from its senders."""
        self._chains.clear()

    def _chain(self, sender: str, at: Position, now_ms: int) -> _Chain | None:
        chain = self._chains.get(sender)
        if chain is None or chain.incarnation != at.incarnation:
            if chain is None and len(self._chains) >= SENDERS_MAX:
                return None
            chain = self._chains[sender] = _Chain(at.incarnation, now_ms)
        for number in [number for number in chain.held if number <= at.number]:
            self._drop(chain, number)
        if not chain.held:
            chain.since_ms = now_ms
        return chain

    def _decided(self, sender: str, chain: _Chain, at: Position, now_ms: int) -> list[Batch]:
        decided: list[Batch] = []
        number, digest, needed = at.number, at.digest, self._needed(sender)
        while found := self._agreed(chain, number + 1, digest, needed):
            decided.append(found)
            number, digest = found.number, found.digest
            self._drop(chain, number)
            chain.since_ms = now_ms
        return decided

    @staticmethod
    def _agreed(chain: _Chain, number: int, previous: bytes, needed: int) -> Batch | None:
        for version in chain.held.get(number, {}).values():
            if len(version.voters) >= needed and version.batch.previous == previous:
                return version.batch
        return None

    @staticmethod
    def _drop(chain: _Chain, number: int) -> None:
        for version in chain.held.pop(number).values():
            chain.size -= len(version.batch.data)
