"""Accounts that only read have what credit has, also where operators had it skip what it could not take."""

import pytest

from engines.accounts import Accounts
from engines.matching import Matching
from tests.models.poisoned import PoisonedCredit, PoisonedMatching, World

MATCHING = {"whole": (Matching, Matching), "poisoned": (PoisonedMatching, Matching)}


@pytest.mark.parametrize("matching", MATCHING)
@pytest.mark.parametrize("seed", range(6))
def test_accounts_are_those_of_credit(seed: int, matching: str):
    """Begun again whenever it is overruled; every amount adds up at every entry."""
    world = World(seed, MATCHING[matching], PoisonedCredit)
    world.run(600)
    world.settle()
    entries = world.sequencer.log.entries
    accounts, begun = Accounts(), 1
    while accounts.next_index <= len(entries):
        accounts.take(entries[accounts.next_index - 1])
        if accounts.is_overruled:
            accounts, begun = accounts.again(), begun + 1
        for client_id in (1, 2, 3):
            for one in accounts.holdings(client_id):
                assert one.limit == one.free + one.reserved + one.used
    credit = next(one.replica.machine for one in world.processes if one.replica.machine.name == "credit")
    assert len(credit.clients()) > 1
    for client_id in credit.clients():
        told = [(one.currency, one.decimals, one.limit, one.free, one.reserved, one.used)
                for one in accounts.holdings(client_id)]  # fmt: skip
        assert told == credit.account(client_id)
        assert accounts.is_blocked(client_id) == credit.is_blocked(client_id)
    assert accounts.position == entries[-1].next_sequence - 1
    assert begun > 1


def test_it_takes_entries_in_order():
    """An entry that is left out is our own mistake."""
    world = World(3, (Matching, Matching), PoisonedCredit)
    world.run(20)
    with pytest.raises(AssertionError):
        Accounts().take(world.sequencer.log.entries[1])
