"""The chain rule: every batch is in the log once, or its sender learns that it is not.

    incarnation is the current one, number == last + 1, previous == last digest   ACCEPTED
    number <= last, with the digest that was accepted                             DUPLICATE
    number <= last, with another digest; or the right number on another chain     CONFLICT
    number > last + 1, or an incarnation that nobody opened                       GAP
    an incarnation that a newer one has replaced                                  FENCED

Rules:
- The table is a function of the log: `append` follows every entry that goes into it, `truncate` every
  one that is dropped again, `commit` every one that can no longer be. There is no other input.
- A batch is judged by the table with the uncommitted tail; what is told to anyone is committed.
- A session is opened by a batch on the control channel with the next incarnation. It keeps the numbers.
"""

from collections import deque
from collections.abc import Sequence
from enum import Enum

import msgspec

from sequencer.envelope import CONTROL, NO_DIGEST, Batch

DIGESTS_REMEMBERED = 4096
"""How far back, per sender, a repeated number is compared with what was accepted under it."""


class Verdict(Enum):
    """What the chain rule says of a batch."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    GAP = "gap"
    FENCED = "fenced"


class Position(msgspec.Struct, frozen=True, gc=False):
    """How far a sender has come: its incarnation, the last accepted number and its digest."""

    incarnation: int = 0
    number: int = 0
    digest: bytes = NO_DIGEST


_START = Position()


class SenderState(msgspec.Struct, array_like=True, frozen=True):
    """What the committed table holds of one sender; `digests` are those of its latest numbers, one after the other."""

    sender: str
    incarnation: int
    number: int
    digest: bytes
    digests: bytes


class _Step(msgspec.Struct, frozen=True, gc=False):
    """What an entry changed for one sender, kept until it is committed or undone."""

    index: int
    sender: str
    before: Position
    after: Position


class Sessions:
    """The table of senders, with and without the uncommitted tail of the log."""

    def __init__(self) -> None:
        self._accepted: dict[str, Position] = {}
        self._committed: dict[str, Position] = {}
        self._tail: deque[_Step] = deque()
        self._recent: dict[str, dict[int, bytes]] = {}

    @classmethod
    def resumed(cls, states: Sequence[SenderState]) -> "Sessions":
        """The table that `committed_state` told."""
        table = cls()
        for at in states:
            position = Position(at.incarnation, at.number, at.digest)
            table._accepted[at.sender] = table._committed[at.sender] = position
            size = len(NO_DIGEST)
            digests = [at.digests[start : start + size] for start in range(0, len(at.digests), size)]
            if digests:
                table._recent[at.sender] = dict(enumerate(digests, at.number - len(digests) + 1))
        return table

    def committed_state(self) -> list[SenderState]:
        """Everything committed that later verdicts depend on, by sender."""
        return [self._state_of(sender, at) for sender, at in self.positions().items()]

    def _state_of(self, sender: str, at: Position) -> SenderState:
        digests = list(self._recent.get(sender, {}).values())  # by number: each was added behind the last
        committed = len(digests) - (self._accepted[sender].number - at.number)
        return SenderState(sender, at.incarnation, at.number, at.digest, b"".join(digests[:committed]))

    def position(self, sender: str) -> Position:
        """The sender's last *committed* position."""
        return self._committed.get(sender, _START)

    def positions(self) -> dict[str, Position]:
        """All senders' committed positions, by name."""
        return dict(sorted(self._committed.items()))

    def reached(self, sender: str) -> Position:
        """The sender's last position, with the uncommitted tail."""
        return self._accepted.get(sender, _START)

    def judge(self, batch: Batch, pending: dict[str, Position]) -> Verdict:
        """Apply the chain rule to a batch behind the log and `pending`; accepted ones move `pending` on.

        `pending` holds the positions of batches that were accepted but are in no entry yet.
        """
        at = pending.get(batch.sender) or self._accepted.get(batch.sender, _START)
        verdict = self._opening(batch, at) if batch.channel == CONTROL else self._following(batch, at)
        if verdict is Verdict.ACCEPTED:
            pending[batch.sender] = _after(batch, at)
        return verdict

    def append(self, index: int, batches: Sequence[Batch]) -> None:
        """Follow an entry that was appended to the log: one step for each sender in it."""
        after: dict[str, Position] = {}
        last: dict[str, Batch] = {}
        for batch in batches:
            if batch.channel == CONTROL:
                at = last.pop(batch.sender, None)
                reached = after.get(batch.sender) or self._accepted.get(batch.sender, _START)
                after[batch.sender] = _after(batch, _after(at, reached) if at else reached)
            else:
                last[batch.sender] = batch
                self._remember(batch)
        for sender, batch in last.items():
            after[sender] = _after(batch, after.get(sender) or self._accepted.get(sender, _START))
        for sender, position in after.items():
            self._tail.append(_Step(index, sender, self._accepted.get(sender, _START), position))
            self._accepted[sender] = position

    def commit(self, index: int) -> None:
        """Make everything up to `index` final."""
        tail = self._tail
        while tail and tail[0].index <= index:
            step = tail.popleft()
            self._committed[step.sender] = step.after
            self._forget(step)

    def truncate(self, index: int) -> None:
        """Undo everything behind `index`, newest first."""
        while self._tail and self._tail[-1].index > index:
            step = self._tail.pop()
            self._accepted[step.sender] = step.before
            for number in range(step.before.number + 1, step.after.number + 1):
                self._recent[step.sender].pop(number, None)

    def _opening(self, batch: Batch, at: Position) -> Verdict:
        if batch.incarnation == at.incarnation + 1:
            return Verdict.ACCEPTED
        return Verdict.GAP if batch.incarnation > at.incarnation else Verdict.FENCED

    def _following(self, batch: Batch, at: Position) -> Verdict:
        if batch.incarnation != at.incarnation:
            return Verdict.GAP if batch.incarnation > at.incarnation else Verdict.FENCED
        if batch.number > at.number + 1:
            return Verdict.GAP
        if batch.number == at.number + 1:
            return Verdict.ACCEPTED if batch.previous == at.digest else Verdict.CONFLICT
        return self._repeated(batch, at)

    def _repeated(self, batch: Batch, at: Position) -> Verdict:
        """A number at or below the last; one too old to be remembered passes for a duplicate. No batch has number 0."""
        if batch.number == 0:
            return Verdict.CONFLICT
        known = at.digest if batch.number == at.number else self._recent.get(batch.sender, {}).get(batch.number)
        return Verdict.DUPLICATE if known is None or known == batch.digest else Verdict.CONFLICT

    def _remember(self, batch: Batch) -> None:
        self._recent.setdefault(batch.sender, {})[batch.number] = batch.digest

    def _forget(self, step: _Step) -> None:
        """Only what is committed pushes digests out: a tail that is dropped leaves what was remembered before it."""
        recent = self._recent.get(step.sender, {})
        for number in range(step.before.number + 1, step.after.number + 1):
            recent.pop(number - DIGESTS_REMEMBERED, None)


def _after(batch: Batch, at: Position) -> Position:
    if batch.channel == CONTROL:
        return Position(batch.incarnation, at.number, at.digest)
    return Position(at.incarnation, batch.number, batch.digest)
