"""A trade that is mended has used what it would have used, had it been like that; and nothing else changes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.credit import Credit
from engines.messages import (
    COMMANDS,
    OPERATIONS,
    RESULTS,
    CorrectTrade,
    InstrumentSet,
    NewOrder,
    RegisterClient,
    SetCredit,
    Settle,
    Trade,
    TradeCorrected,
)

BUYER, SELLER, TRADE = 1, 2, 20
WILD = st.sampled_from([-(1 << 63), -1, 0, 1, (1 << 63) - 1, 1 << 63])


def traded(price: int = 10, quantity: int = 7, shard: int = 0, shards: int = 1) -> Credit:
    """Two clients whose orders, 10 and 11, have traded wholly."""
    machine = Credit(shard, shards)
    opening = [RegisterClient(0, 1, "C1"), RegisterClient(0, 2, "C2")]
    opening += [SetCredit(0, 3, account, "USD", 1000, 0) for account in (BUYER, SELLER)]
    machine.apply(0, 1, COMMANDS, opening)
    machine.apply(0, 5, RESULTS, [InstrumentSet(9, 1, "S", "USD", 1, 0, 1, 0, 0, 0)])
    orders = [NewOrder(BUYER, 4, 1, "b", 1, price, quantity), NewOrder(SELLER, 5, 1, "s", 2, price, quantity)]
    machine.apply(0, 10, COMMANDS, orders)
    machine.apply(0, TRADE, RESULTS, [Trade(1, price, quantity, 11, 10)])
    return machine


def mended(machine: Credit, price: int, quantity: int, previous: tuple[int, int] = (10, 7), at: int = 30):
    return machine.apply(0, at, OPERATIONS, [CorrectTrade(TRADE, 1, BUYER, SELLER, *previous, price, quantity)])


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=4), st.booleans())
def test_it_has_used_what_it_is_now(terms: list[tuple[int, int]], restarts: bool):
    """Mended once or often, for both sides, restored from a snapshot or not."""
    machine, previous = traded(), (10, 7)
    for at, (price, quantity) in enumerate(terms, 30):
        assert mended(machine, price, quantity, previous, at) == [
            TradeCorrected(at, TRADE, account, 1, side, price, quantity, *previous)
            for side, account in ((1, BUYER), (2, SELLER))
        ]
        previous = (price, quantity)
        if restarts:
            state = machine.snapshot()
            machine = Credit()
            machine.restore(state)
            assert machine.snapshot() == state
    used = previous[0] * previous[1] * 100

    for account in (BUYER, SELLER):
        assert machine.account(account) == [("USD", 2, 100_000, 100_000 - used, 0, used)]


def test_a_second_word_about_the_same_is_void():
    """Two operators at once: the first one's correction stands."""
    machine = traded()
    mended(machine, 9, 7)
    before = machine.snapshot()

    assert mended(machine, 0, 0) == []
    assert machine.snapshot() == before


def test_what_was_settled_stays_free():
    """A busted trade that was paid for gives nothing back a second time."""
    machine = traded()
    machine.apply(0, 25, COMMANDS, [Settle(0, 9, BUYER, "USD", 70, 0)])
    mended(machine, 10, 0)

    assert machine.account(BUYER) == machine.account(SELLER) == [("USD", 2, 100_000, 100_000, 0, 0)]


def test_each_shard_mends_its_own_side():
    """The answers of all are those of one."""
    parts = [mended(traded(shard=shard, shards=3), 8, 7) for shard in range(3)]

    assert parts[0] == []
    assert sorted(parts[1] + parts[2], key=lambda event: event.side) == mended(traded(), 8, 7)


@pytest.mark.parametrize("field", ["instrument_id", "buyer_id", "seller_id", "price", "quantity", "previous_price"])
@given(value=WILD)
def test_what_no_operator_can_mean_is_void_or_exact(field: str, value: int):
    """No value of any field makes it raise; the sum holds."""
    asked = CorrectTrade(TRADE, 1, BUYER, SELLER, 10, 7, 9, 7)
    setattr(asked, field, value)
    machine = traded()
    machine.apply(0, 30, OPERATIONS, [asked])

    for account in (BUYER, SELLER):
        for _currency, _decimals, limit, free, reserved, used in machine.account(account):
            assert (limit, reserved) == (100_000, 0)
            assert limit == free + used
            assert used >= 0
