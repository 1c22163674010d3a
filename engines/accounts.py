"""What every client may spend, has promised and has spent: by credit's own rules, for those who only read.

    log --runs--> Credit, which says nothing --> Holding of an account, as it is at this place of the log

Rules
- It is the machine itself, of all clients: nothing of its rules is written a second time.
- What operators had credit skip behind its place makes it wrong: it is to be begun `again`, from the first entry.
"""

from collections.abc import Mapping

import msgspec

from engines.credit import Credit
from engines.messages import OPERATIONS
from engines.past import NOTHING_SKIPPED, advance
from engines.runs import operations_in, runs
from engines.sharding import Shard, Sharding
from engines.skips import Decided, Skips, without
from engines.versions import activate, asked_in
from sequencer.envelope import Entry


class Holding(msgspec.Struct, frozen=True):
    """One account's credit in one currency, in units of 10^-decimals: limit = free + reserved + used."""

    currency: str
    decimals: int
    limit: int
    free: int
    reserved: int
    used: int


class Accounts:
    """All accounts, behind entry `next_index` - 1."""

    def __init__(self, skipped: Mapping[int, Decided] = NOTHING_SKIPPED) -> None:
        """`skipped` are the skips that are known to be in the log."""
        self.next_index = 1
        self.position = 0
        """The last sequence number that is in it."""
        self.is_overruled = False
        """A message that it has taken was skipped later."""
        self._skipped = skipped
        self._credit = Credit()
        self._skips = Skips(Sharding(Shard(Credit.name), silent=True))

    def take(self, entry: Entry) -> None:
        """Take the next entry."""
        assert entry.index == self.next_index, (entry.index, self.next_index)
        batches = entry.batches()
        self._skips.read(entry)
        if len(self._skips.in_force) > len(self._skipped):
            self.is_overruled = True
        taken = runs(batches, Credit.reads)
        for run in without(taken, self._skipped) if self._skipped else taken:
            advance(self._credit, entry.time_ns, run)
        for batch in batches:
            if batch.channel == OPERATIONS:
                activate(self._credit, asked_in(operations_in(batch), Credit.name))
        self.next_index = entry.index + 1
        self.position = entry.next_sequence - 1

    def again(self) -> "Accounts":
        """One to be begun from the first entry, that knows all skips so far."""
        return Accounts(dict(self._skips.in_force))

    def holdings(self, client_id: int) -> list[Holding]:
        """What a client has, by currency; nothing, where it has no credit."""
        return [Holding(*row) for row in self._credit.account(client_id)]

    def is_blocked(self, client_id: int) -> bool:
        """Whether the client's kill switch is on."""
        return self._credit.is_blocked(client_id)
