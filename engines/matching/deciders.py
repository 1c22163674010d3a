"""What credit has decided so far: by one shard about everybody, or by several, each about its own clients.

    CreditDecisions (shard j of n, up to 80)  -->  everything of clients c, c mod n == j, before 80 is decided

Rules
- A credit shard decides in the order of the log. So a decision of one of several says how far that shard has come.
- With one shard, a decision covers its own positions and no others, and is not remembered.
- Where the number of credit shards changes, all that was asked before has been decided by the old ones: they close
  before the new ones speak.
"""

from collections.abc import Sequence
from typing import Final

from engines.matching.skipped import client_of, needs_decision
from engines.messages import CreditDecisions, Message

SHARDS_MAX: Final = 1024


class Deciders:
    """How far each of several credit shards has come: the position behind the last that it decided."""

    def __init__(self, ends: Sequence[int] = (0,)) -> None:
        self.ends = list(ends)

    def hear(self, decision: CreditDecisions) -> bool:
        """Take note of a decision; false for one that no credit shard can mean."""
        shard, shards = decision.shard, decision.shards
        if not 0 <= shard < shards <= SHARDS_MAX or decision.count < 0:
            return False
        if shards != len(self.ends):
            self.ends = [0] * shards
        if shards > 1:
            self.ends[shard] = max(self.ends[shard], decision.first_sequence + decision.count)
        return True

    @property
    def shards(self) -> int:
        """How many there are, as far as is known."""
        return len(self.ends)

    @property
    def are_several(self) -> bool:
        """Whether credit has more than one shard."""
        return len(self.ends) > 1

    def stop(self, sequences: Sequence[int], commands: Sequence[Message]) -> int:
        """The offset of the first order or replace that its client's shard has not come to, or the length."""
        ends = self.ends
        shards = len(ends)
        for offset, command in enumerate(commands):
            if needs_decision(command) and sequences[offset] >= ends[client_of(command) % shards]:
                return offset
        return len(commands)

    def has_decided(self, sequence: int, client_id: int) -> bool:
        """Whether the command of a client has been decided, where credit has several shards."""
        return sequence < self.ends[client_id % len(self.ends)]
