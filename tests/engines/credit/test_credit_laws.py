"""The rules of the credit machine, one example each."""

import pytest

from engines.credit import Credit
from engines.messages import (
    COMMANDS,
    DECISIONS,
    ENCODER,
    RESULTS,
    AdjustCredit,
    BatchRejected,
    BlockClient,
    CancelOrder,
    ClientBlocked,
    ClientRegistered,
    ClientUnblocked,
    CreditDecisions,
    CreditRejected,
    CreditSet,
    CreditSettled,
    InstrumentSet,
    Message,
    NewOrder,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderRejected,
    OrderReplaced,
    OrderType,
    Reason,
    RegisterClient,
    ReplaceOrder,
    ReplaceRejected,
    SetCredit,
    Settle,
    Side,
    Trade,
    UnblockClient,
    decode,
)

ORDER = 100
REPLACE = 200
PLAIN, BANDED = 1, 2
PLAIN_SET = InstrumentSet(0, PLAIN, "P", "USD", 1, 2, 1, 0, 0, 0)
BANDED_SET = InstrumentSet(0, BANDED, "B", "USD", 1, 2, 1, 0, 50, 150)


def venue(limit: int = 10_000) -> Credit:
    """Client 1 with a limit in cents, a plain and a banded instrument: a tick x a lot is a cent."""
    credit = Credit()
    command(credit, 1, RegisterClient(0, 1, "C1"))
    command(credit, 2, SetCredit(0, 2, 1, "USD", limit, 2))
    result(credit, PLAIN_SET, BANDED_SET)
    return credit


def command(credit: Credit, first_sequence: int, *messages: Message) -> list[Message]:
    return credit.apply(0, first_sequence, COMMANDS, list(messages))


def result(credit: Credit, *messages: Message) -> list[Message]:
    return credit.apply(0, 1000, RESULTS, list(messages))


def buy(price: int, quantity: int, instrument: int = PLAIN, client: int = 1) -> NewOrder:
    return NewOrder(client, 1, instrument, "a", Side.BUY, price, quantity)


def sell(price: int, quantity: int, instrument: int = PLAIN) -> NewOrder:
    return NewOrder(1, 1, instrument, "a", Side.SELL, price, quantity)


def change(price: int, quantity: int, instrument: int = PLAIN) -> ReplaceOrder:
    return ReplaceOrder(1, 1, instrument, "a", price, quantity)


def cents(credit: Credit) -> tuple[int, int, int]:
    """(free, reserved, used) of client 1."""
    ((_, _, _, free, reserved, used),) = credit.account(1)
    return free, reserved, used


@pytest.mark.parametrize(
    ("order", "reserved"),
    [
        (buy(100, 3), 300),
        (buy(100, 3, BANDED), 300),
        (sell(100, 3), 300),
        (sell(100, 3, BANDED), 450),
        (sell(170, 3, BANDED), 510),
        (change(100, 3), 300),
        (change(100, 3, BANDED), 450),
        (NewOrder(1, 1, PLAIN, "a", Side.BUY, 100, 3, OrderType.MARKET), 300),
        (NewOrder(1, 1, BANDED, "a", Side.SELL, 60, 3, OrderType.MARKET), 450),
    ],
)
def test_the_worst_case_is_reserved(order: Message, reserved: int):
    """A buy could cost its price; a sell and a replace the band's upper price, or their own where it is higher."""
    credit = venue()

    command(credit, ORDER, order)

    assert cents(credit) == (10_000 - reserved, reserved, 0)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (buy(0, 0, instrument=9, client=7), Reason.NO_CREDIT),
        (buy(0, 0, instrument=9), Reason.UNKNOWN_INSTRUMENT),
        (buy(0, 0), Reason.INVALID_PRICE),
        (buy(-5, -5), Reason.INVALID_PRICE),
        (buy(1, 0), Reason.INVALID_QUANTITY),
        (NewOrder(1, 1, PLAIN, "a", 3, 10**9, 1), Reason.INVALID_TERMS),
        (NewOrder(1, 1, PLAIN, "a", 0, 1, 1), Reason.INVALID_TERMS),
        (buy(10_001, 1), Reason.CREDIT_EXCEEDED),
        (sell(51, 67, BANDED), Reason.CREDIT_EXCEEDED),
        (change(51, 67, BANDED), Reason.CREDIT_EXCEEDED),
        (change(0, 5), Reason.INVALID_PRICE),
    ],
)
def test_the_first_thing_wrong_is_the_reason(order: Message, reason: Reason):
    """An order is refused for the first check that fails, and then reserves nothing."""
    credit = venue()

    decisions = command(credit, ORDER, order)

    assert decisions == [CreditDecisions(ORDER, 1, [(0, reason)])]
    assert cents(credit) == (10_000, 0, 0)


def test_a_client_without_credit_in_the_currency_is_refused():
    """Credit in one currency buys nothing in another."""
    credit = venue()
    result(credit, InstrumentSet(0, 3, "E", "EUR", 1, 2, 1, 0, 0, 0))

    assert command(credit, ORDER, buy(1, 1, 3)) == [CreditDecisions(ORDER, 1, [(0, Reason.CREDIT_EXCEEDED)])]


def test_the_last_cent_can_be_spent():
    """An order that costs exactly what is free is authorized."""
    credit = venue(limit=300)

    assert command(credit, ORDER, buy(100, 3)) == [CreditDecisions(ORDER, 1, [])]
    assert cents(credit) == (0, 300, 0)


def test_one_answer_covers_a_run_and_comes_last():
    """A run with an order gets one CreditDecisions over all of it, behind its other answers in their order."""
    credit = venue(limit=300)

    run = (buy(100, 2), RegisterClient(0, 1, "C2"), buy(100, 2), CancelOrder(1, 1, 1, "a"), BlockClient(0, 2, 2))
    answers = command(credit, ORDER, *run)

    assert answers == [
        ClientRegistered(ORDER + 1, 2, "C2"),
        ClientBlocked(ORDER + 4, 2),
        CreditDecisions(ORDER, 5, [(2, Reason.CREDIT_EXCEEDED)]),
    ]


def test_a_run_without_orders_gets_no_decisions():
    """Nobody waits for credit where nothing is to be decided."""
    assert command(venue(), ORDER, CancelOrder(1, 1, PLAIN, "a")) == []


@pytest.mark.parametrize(
    "outcome",
    [
        OrderCanceled(ORDER, 300, 3, Reason.REQUESTED),
        OrderExpired(ORDER, 300, 3),
        OrderRejected(ORDER, Reason.POST_ONLY_WOULD_TRADE),
    ],
)
def test_an_order_that_is_gone_reserves_nothing(outcome: Message):
    """However an order ends, all that it still reserved is free again, once."""
    credit = venue()
    command(credit, ORDER, buy(100, 3))

    result(credit, outcome, outcome)

    assert cents(credit) == (10_000, 0, 0)


def test_a_trade_uses_its_price_and_frees_the_difference():
    """A trade below the limit uses what it cost; the rest of its lots' reservation is free, other lots stay."""
    credit = venue()
    command(credit, ORDER, buy(100, 3))

    result(credit, OrderAccepted(ORDER), Trade(PLAIN, 90, 2, 77, ORDER))

    assert cents(credit) == (10_000 - 180 - 100, 100, 180)


def test_both_sides_of_a_trade_use_credit():
    """Maker and taker each use the trade's value, also where they are one client."""
    credit = venue()
    command(credit, ORDER, buy(100, 3), sell(100, 3))

    result(credit, Trade(PLAIN, 100, 3, ORDER, ORDER + 1))

    assert cents(credit) == (10_000 - 600, 0, 600)


def test_a_sell_without_a_band_may_overdraw():
    """A sell that trades far above its limit uses more than it reserved; free goes below zero."""
    credit = venue(limit=300)
    command(credit, ORDER, sell(100, 3))

    result(credit, Trade(PLAIN, 200, 3, 77, ORDER))

    assert cents(credit) == (-300, 0, 600)


@pytest.mark.parametrize(
    ("order", "event", "reserved"),
    [
        (buy(100, 3), OrderReplaced(ORDER, REPLACE, 110, 4, 4, False), 440),
        (buy(100, 3), OrderReplaced(ORDER, REPLACE, 100, 3, 1, True), 100),
        (buy(100, 3, BANDED), OrderReplaced(ORDER, REPLACE, 110, 4, 4, False), 440),
        (sell(100, 3, BANDED), OrderReplaced(ORDER, REPLACE, 110, 4, 4, False), 600),
        (buy(100, 3), ReplaceRejected(REPLACE, Reason.INVALID_PRICE), 300),
        (buy(100, 3), OrderCanceled(ORDER, REPLACE, 1, Reason.REPLACED_BELOW_TRADED), 0),
    ],
)
def test_a_replace_reserves_until_its_outcome_is_known(order: NewOrder, event: Message, reserved: int):
    """Whatever becomes of a replace, afterwards its order alone reserves, by its own side."""
    credit = venue()
    command(credit, ORDER, order)
    command(credit, REPLACE, change(110, 4, order.instrument_id))

    result(credit, event)

    assert cents(credit) == (10_000 - reserved, reserved, 0)


def test_canceling_a_maker_leaves_its_taker_alone():
    """Self-trade prevention cancels by a live order, which keeps its reservation."""
    credit = venue()
    command(credit, ORDER, sell(100, 3), buy(100, 5))

    result(credit, OrderCanceled(ORDER, ORDER + 1, 3, Reason.SELF_TRADE))

    assert cents(credit) == (9_500, 500, 0)


def test_a_band_moves_for_later_orders():
    """A new band changes what later sells reserve, not what earlier ones did."""
    credit = venue()
    command(credit, ORDER, sell(100, 1, BANDED))

    result(credit, InstrumentSet(0, BANDED, "B", "USD", 1, 2, 1, 0, 50, 500))
    command(credit, ORDER + 1, sell(100, 1, BANDED))

    assert cents(credit) == (10_000 - 650, 650, 0)


def test_results_never_have_an_answer():
    """The loop of channels ends at credit: no result makes it emit anything."""
    credit = venue()
    command(credit, ORDER, buy(100, 3))

    assert result(credit, PLAIN_SET, OrderAccepted(ORDER), Trade(PLAIN, 1, 1, 5, ORDER), BatchRejected(1, 2, 80)) == []


def test_unreadable_batches_are_for_matching_to_answer():
    """credit.reject changes nothing and says nothing."""
    credit = venue()
    before = credit.snapshot()

    assert credit.reject(0, ORDER, COMMANDS, 5, Reason.UNDECODABLE) == []
    assert credit.snapshot() == before


def test_other_channels_are_ignored():
    """Its own decisions come by in the stream and change nothing."""
    credit = venue()

    assert credit.apply(0, ORDER, DECISIONS, [CreditSet(1, 1, "USD", 5, 0)]) == []
    assert cents(credit) == (10_000, 0, 0)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("C1", ClientRegistered(ORDER, 1, "C1")),
        ("C2", ClientRegistered(ORDER, 2, "C2")),
        ("Zoë", ClientRegistered(ORDER, 2, "Zoë")),
        ("x" * 64, ClientRegistered(ORDER, 2, "x" * 64)),
        ("x" * 65, CreditRejected(ORDER, Reason.INVALID_TERMS)),
        ("", CreditRejected(ORDER, Reason.INVALID_TERMS)),
        ("a\nb", CreditRejected(ORDER, Reason.INVALID_TERMS)),
        ("a\x85b", CreditRejected(ORDER, Reason.INVALID_TERMS)),
    ],
)
def test_a_name_gets_one_id_for_ever(name: str, answer: Message):
    """Ids are 1, 2, 3, ... in the order of first registration; a name is 1 to 64 printable characters."""
    assert command(venue(), ORDER, RegisterClient(0, 1, name)) == [answer]


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (SetCredit(0, 1, 1, "USD", 5, 0), CreditSet(ORDER, 1, "USD", 5, 0)),
        (SetCredit(0, 1, 1, "USD", 0, 3), CreditSet(ORDER, 1, "USD", 0, 0)),
        (SetCredit(0, 1, 1, "USD", 1_234_500, 4), CreditSet(ORDER, 1, "USD", 12_345, 2)),
        (SetCredit(0, 1, 1, "EUR", 7, 18), CreditSet(ORDER, 1, "EUR", 7, 18)),
        (AdjustCredit(0, 1, 1, "USD", 5, 1), CreditSet(ORDER, 1, "USD", 1005, 1)),
        (AdjustCredit(0, 1, 1, "USD", -100, 0), CreditSet(ORDER, 1, "USD", 0, 0)),
        (AdjustCredit(0, 1, 1, "EUR", 7, 0), CreditSet(ORDER, 1, "EUR", 7, 0)),
        (AdjustCredit(0, 1, 1, "USD", -10_001, 2), CreditRejected(ORDER, Reason.INVALID_AMOUNT)),
        (SetCredit(0, 1, 1, "USD", -1, 0), CreditRejected(ORDER, Reason.INVALID_AMOUNT)),
        (SetCredit(0, 1, 1, "USD", 1, 19), CreditRejected(ORDER, Reason.INVALID_AMOUNT)),
        (SetCredit(0, 1, 1, "USD", 1, -1), CreditRejected(ORDER, Reason.INVALID_AMOUNT)),
        (SetCredit(0, 1, 1, "USD", 1 << 63, 0), CreditRejected(ORDER, Reason.INVALID_AMOUNT)),
        (AdjustCredit(0, 1, 1, "USD", 1, 18), CreditRejected(ORDER, Reason.INVALID_AMOUNT)),
        (SetCredit(0, 1, 1, "", 1, 0), CreditRejected(ORDER, Reason.INVALID_TERMS)),
        (SetCredit(0, 1, 2, "USD", 1, 0), CreditRejected(ORDER, Reason.UNKNOWN_CLIENT)),
        (AdjustCredit(0, 1, 0, "USD", 1, 0), CreditRejected(ORDER, Reason.UNKNOWN_CLIENT)),
        (Settle(0, 1, 2, "USD", 1, 0), CreditRejected(ORDER, Reason.UNKNOWN_CLIENT)),
        (BlockClient(0, 1, 2), CreditRejected(ORDER, Reason.UNKNOWN_CLIENT)),
        (UnblockClient(0, 1, -1), CreditRejected(ORDER, Reason.UNKNOWN_CLIENT)),
    ],
)
def test_account_commands_answer_with_the_new_limit(asked: Message, answer: Message):
    """A limit is answered in full and normalised; one that is negative, or too long for 63 bits, is refused."""
    assert command(venue(), ORDER, asked) == [answer]


@pytest.mark.parametrize(
    ("amount", "decimals", "answer", "used"),
    [
        (1, 0, CreditSettled(REPLACE, 1, "USD", 1, 0), 200),
        (30, 1, CreditSettled(REPLACE, 1, "USD", 3, 0), 0),
        (301, 2, CreditRejected(REPLACE, Reason.INVALID_AMOUNT), 300),
        (0, 0, CreditRejected(REPLACE, Reason.INVALID_AMOUNT), 300),
        (-1, 2, CreditRejected(REPLACE, Reason.INVALID_AMOUNT), 300),
    ],
)
def test_settling_frees_what_is_used(amount: int, decimals: int, answer: Message, used: int):
    """Between nothing and all of what is used can be settled."""
    credit = venue()
    command(credit, ORDER, buy(100, 3))
    result(credit, Trade(PLAIN, 100, 3, 77, ORDER))

    assert command(credit, REPLACE, Settle(0, 1, 1, "USD", amount, decimals)) == [answer]
    assert cents(credit) == (10_000 - used, 0, used)


def test_a_block_refuses_orders_until_it_ends():
    """The kill switch refuses from its position on, as often as it is thrown."""
    credit = venue()

    run = (buy(1, 1), BlockClient(0, 1, 1), BlockClient(0, 2, 1), buy(1, 1), UnblockClient(0, 3, 1), buy(1, 1))
    answers = command(credit, ORDER, *run)

    assert answers == [
        ClientBlocked(ORDER + 1, 1),
        ClientBlocked(ORDER + 2, 1),
        ClientUnblocked(ORDER + 4, 1),
        CreditDecisions(ORDER, 6, [(3, Reason.CLIENT_BLOCKED)]),
    ]
    assert not credit.is_blocked(1)


def test_a_finer_instrument_refines_its_currency():
    """Amounts are multiplied when a finer instrument comes, and none of them is rounded."""
    credit = venue()
    command(credit, ORDER, buy(100, 3))
    result(credit, Trade(PLAIN, 90, 1, 77, ORDER), InstrumentSet(0, 3, "F", "USD", 25, 4, 1, 8, 0, 0))

    command(credit, REPLACE, buy(3, 1, 3))

    cent = 10**10
    assert credit.account(1) == [("USD", 12, 10_000 * cent, (10_000 - 290) * cent - 75, 200 * cent + 75, 90 * cent)]


def test_a_refined_reservation_is_released_in_full():
    """What was reserved in coarser units is freed, used and replaced in the finer ones."""
    credit = venue()
    command(credit, ORDER, buy(100, 3), buy(100, 3), buy(100, 3))
    command(credit, REPLACE, SetCredit(0, 1, 1, "USD", 100_001, 3))

    result(credit, OrderExpired(ORDER, 300, 3), Trade(PLAIN, 90, 2, 77, ORDER + 1))
    result(credit, OrderReplaced(ORDER + 2, 300, 50, 1, 1, True))

    assert cents(credit) == (100_001 - 1500 - 1800, 1500, 1800)


def test_a_restored_machine_goes_on():
    """A machine restored from a snapshot has the same accounts, blocks and reservations, and the same snapshot."""
    credit, other = venue(), Credit()
    command(credit, ORDER, buy(100, 3), BlockClient(0, 1, 1))

    other.restore(credit.snapshot())

    assert other.snapshot() == credit.snapshot()
    assert cents(other) == (9_700, 300, 0)
    assert command(other, REPLACE, buy(1, 1)) == [CreditDecisions(REPLACE, 1, [(0, Reason.CLIENT_BLOCKED)])]
    assert result(other, OrderExpired(ORDER, 300, 3)) == []
    assert cents(other) == (10_000, 0, 0)


def test_tools_read_names_and_accounts():
    """The read API: names by id, one row for each currency in order, nothing for a stranger."""
    credit = venue()
    command(credit, ORDER, SetCredit(0, 1, 1, "EUR", 5, 0))

    assert credit.clients() == {1: "C1"}
    assert credit.account(1) == [("EUR", 2, 500, 500, 0, 0), ("USD", 2, 10_000, 10_000, 0, 0)]
    assert credit.account(2) == []


def test_answers_survive_the_codec():
    """What is emitted reads back as what was emitted."""
    credit = venue()
    answers = command(credit, ORDER, SetCredit(0, 1, 1, "USD", (1 << 63) - 1, 18), buy(0, 1), BlockClient(0, 1, 9))

    assert decode(DECISIONS, ENCODER.encode(answers)) == answers
