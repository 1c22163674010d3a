"""The rules of matching, one example each: what follows from the last of a few commands.

The instrument is set at sequence number 1; the commands follow at 2, 3, 4, ... and every one is decided.
"""

import pytest

from engines.matching import Matching
from engines.messages import (
    COMMANDS,
    DECISIONS,
    BlockClient,
    CancelAll,
    CancelOrder,
    CancelRejected,
    CreditDecisions,
    HaltInstrument,
    InstrumentHalted,
    InstrumentRejected,
    InstrumentResumed,
    InstrumentSet,
    MassCanceled,
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
    ResumeInstrument,
    SelfTrade,
    SetInstrument,
    Side,
    Tick,
    TimeInForce,
    Trade,
)

GTC, IOC, FOK, GTD = TimeInForce
ALLOW, NEWEST, OLDEST, BOTH = SelfTrade
MARKET = OrderType.MARKET
SET = SetInstrument(0, 1, "A", "USD", 1, 2, 1, 8, 10, 200)
U64_MAX = (1 << 64) - 1


def order(side, name, price, quantity, **terms):
    client, instrument = terms.pop("client", 1), terms.pop("instrument", 1)
    return NewOrder(client, 1, instrument, name, side, price, quantity, **terms)


def buy(name, price, quantity, **terms):
    return order(Side.BUY, name, price, quantity, **terms)


def sell(name, price, quantity, **terms):
    return order(Side.SELL, name, price, quantity, **terms)


def cancel(name, client=1, instrument=1):
    return CancelOrder(client, 1, instrument, name)


def replace(name, price, quantity, new_name="", client=1, instrument=1):
    return ReplaceOrder(client, 1, instrument, name, price, quantity, new_name)


def last(*commands, refused=0):
    """The events of the last command. A command may be (time in ns, command); credit may refuse the last."""
    machine, events = Matching(), []
    for sequence, given in enumerate((SET, *commands), 1):
        time_ns, command = given if isinstance(given, tuple) else (0, given)
        refusals = [(0, refused)] if refused and sequence == len(commands) + 1 else []
        events = machine.apply(time_ns, sequence, COMMANDS, [command])
        events += machine.apply(time_ns, 0, DECISIONS, [CreditDecisions(sequence, 1, refusals)])
    return events


NEW_ORDERS = {
    "one that meets nobody rests": ([buy("a", 100, 5)], [OrderAccepted(2)]),
    "an order trades at the maker's price": (
        [sell("a", 100, 5), buy("b", 105, 5)],
        [OrderAccepted(3), Trade(1, 100, 5, 2, 3)],
    ),
    "the best price trades first": (
        [sell("a", 101, 5), sell("b", 100, 5), buy("c", 105, 7)],
        [OrderAccepted(4), Trade(1, 100, 5, 3, 4), Trade(1, 101, 2, 2, 4)],
    ),
    "at one price the oldest trades first": (
        [buy("a", 100, 5), buy("b", 100, 5), sell("c", 100, 7)],
        [OrderAccepted(4), Trade(1, 100, 5, 2, 4), Trade(1, 100, 2, 3, 4)],
    ),
    "what a partial trade leaves keeps its place": (
        [buy("a", 100, 5), buy("b", 100, 5), sell("c", 100, 2), sell("d", 100, 4)],
        [OrderAccepted(5), Trade(1, 100, 3, 2, 5), Trade(1, 100, 1, 3, 5)],
    ),
    "prices that do not meet do not trade": ([buy("a", 99, 5), sell("b", 100, 5)], [OrderAccepted(3)]),
    "an IOC never rests": (
        [sell("a", 100, 2), buy("b", 100, 5, time_in_force=IOC)],
        [OrderAccepted(3), Trade(1, 100, 2, 2, 3), OrderCanceled(3, 3, 3, Reason.IMMEDIATE_OR_CANCEL)],
    ),
    "an FOK that cannot fill does not trade": (
        [sell("a", 100, 2), buy("b", 100, 3, time_in_force=FOK)],
        [OrderAccepted(3), OrderCanceled(3, 3, 3, Reason.FILL_OR_KILL)],
    ),
    "an FOK that can fill does": (
        [sell("a", 100, 2), sell("b", 101, 2), buy("c", 101, 3, time_in_force=FOK)],
        [OrderAccepted(4), Trade(1, 100, 2, 2, 4), Trade(1, 101, 1, 3, 4)],
    ),
    "a market order trades up to its protection and does not rest": (
        [sell("a", 100, 2), sell("b", 103, 2), buy("c", 102, 5, order_type=MARKET)],
        [OrderAccepted(4), Trade(1, 100, 2, 2, 4), OrderCanceled(4, 4, 3, Reason.MARKET_REMAINDER)],
    ),
    "a market FOK is killed as an FOK": (
        [buy("c", 102, 5, order_type=MARKET, time_in_force=FOK)],
        [OrderAccepted(2), OrderCanceled(2, 2, 5, Reason.FILL_OR_KILL)],
    ),
    "a market IOC's rest is a market remainder": (
        [buy("c", 102, 5, order_type=MARKET, time_in_force=IOC)],
        [OrderAccepted(2), OrderCanceled(2, 2, 5, Reason.MARKET_REMAINDER)],
    ),
    "post-only rests": ([sell("a", 101, 5), buy("b", 100, 5, post_only=True)], [OrderAccepted(3)]),
    "post-only never trades": (
        [sell("a", 100, 5), buy("b", 100, 5, post_only=True)],
        [OrderRejected(3, Reason.POST_ONLY_WOULD_TRADE)],
    ),
    "a live name is taken": (
        [buy("a", 100, 5), sell("a", 110, 5)],
        [OrderRejected(3, Reason.DUPLICATE_CLIENT_ORDER_ID)],
    ),
    "another client's name is free": ([buy("a", 100, 5), buy("a", 100, 5, client=2)], [OrderAccepted(3)]),
    "a name that traded away is free": (
        [buy("a", 9 + 1, 5), sell("b", 10, 5), buy("a", 10, 5)],
        [OrderAccepted(4)],
    ),
    "a canceled name is free": ([buy("a", 100, 5), cancel("a"), buy("a", 100, 5)], [OrderAccepted(4)]),
    "GTD rests until its time": (
        [(4, buy("a", 100, 5, time_in_force=GTD, expire_at_ns=5))],
        [OrderAccepted(2)],
    ),
    "GTD of the past or present is too late": (
        [(5, buy("a", 100, 5, time_in_force=GTD, expire_at_ns=5))],
        [OrderRejected(2, Reason.ALREADY_EXPIRED)],
    ),
    "an expiry without GTD means nothing": ([(9, buy("a", 100, 5, expire_at_ns=5))], [OrderAccepted(2)]),
}

REJECTED = {
    "unknown instrument": (buy("a", 100, 5, instrument=2), Reason.UNKNOWN_INSTRUMENT),
    "negative instrument": (buy("a", 100, 5, instrument=-1), Reason.UNKNOWN_INSTRUMENT),
    "no name": (buy("", 100, 5), Reason.INVALID_TERMS),
    "too long a name": (buy("x" * 65, 100, 5), Reason.INVALID_TERMS),
    "no side": (order(0, "a", 100, 5), Reason.INVALID_TERMS),
    "unknown side": (order(3, "a", 100, 5), Reason.INVALID_TERMS),
    "unknown type": (buy("a", 100, 5, order_type=2), Reason.INVALID_TERMS),
    "negative type": (buy("a", 100, 5, order_type=-1), Reason.INVALID_TERMS),
    "unknown time in force": (buy("a", 100, 5, time_in_force=4), Reason.INVALID_TERMS),
    "unknown self-trade instruction": (buy("a", 100, 5, self_trade=4), Reason.INVALID_TERMS),
    "post-only IOC": (buy("a", 100, 5, time_in_force=IOC, post_only=True), Reason.INVALID_TERMS),
    "post-only FOK": (buy("a", 100, 5, time_in_force=FOK, post_only=True), Reason.INVALID_TERMS),
    "post-only market": (buy("a", 100, 5, order_type=MARKET, post_only=True), Reason.INVALID_TERMS),
    "GTD without a time": (buy("a", 100, 5, time_in_force=GTD), Reason.INVALID_TERMS),
    "no quantity": (buy("a", 100, 0), Reason.INVALID_QUANTITY),
    "negative quantity": (buy("a", 100, -5), Reason.INVALID_QUANTITY),
    "quantity beyond INT_MAX": (buy("a", 100, U64_MAX), Reason.INVALID_QUANTITY),
    "no price": (buy("a", 0, 5), Reason.INVALID_PRICE),
    "negative price": (sell("a", -100, 5), Reason.INVALID_PRICE),
    "price beyond INT_MAX": (sell("a", U64_MAX, 5), Reason.INVALID_PRICE),
    "below the band": (sell("a", 9, 5), Reason.PRICE_OUTSIDE_BAND),
    "above the band": (buy("a", 201, 5), Reason.PRICE_OUTSIDE_BAND),
}

SELF_TRADES = {
    "allowed by default": (
        [sell("a", 100, 5), buy("b", 100, 5)],
        [OrderAccepted(3), Trade(1, 100, 5, 2, 3)],
    ),
    "cancel newest": (
        [sell("x", 99, 1, client=2), sell("a", 100, 5), buy("b", 100, 5, self_trade=NEWEST)],
        [OrderAccepted(4), Trade(1, 99, 1, 2, 4), OrderCanceled(4, 4, 4, Reason.SELF_TRADE)],
    ),
    "cancel oldest": (
        [sell("a", 100, 5), sell("x", 100, 1, client=2), buy("b", 100, 5, self_trade=OLDEST)],
        [OrderAccepted(4), OrderCanceled(2, 4, 5, Reason.SELF_TRADE), Trade(1, 100, 1, 3, 4)],
    ),
    "cancel both": (
        [sell("a", 100, 5), sell("x", 100, 1, client=2), buy("b", 100, 5, self_trade=BOTH)],
        [
            OrderAccepted(4),
            OrderCanceled(2, 4, 5, Reason.SELF_TRADE),
            OrderCanceled(4, 4, 5, Reason.SELF_TRADE),
        ],
    ),
    "the resting order's instruction does not matter": (
        [sell("a", 100, 5, self_trade=BOTH), buy("b", 100, 5)],
        [OrderAccepted(3), Trade(1, 100, 5, 2, 3)],
    ),
    "an own order behind the last trade is not met": (
        [sell("x", 100, 5, client=2), sell("a", 100, 5), buy("b", 100, 5, self_trade=OLDEST)],
        [OrderAccepted(4), Trade(1, 100, 5, 2, 4)],
    ),
    "an FOK does not count own orders": (
        [
            sell("a", 100, 5),
            sell("x", 100, 4, client=2),
            buy("b", 100, 5, time_in_force=FOK, self_trade=OLDEST),
        ],
        [OrderAccepted(4), OrderCanceled(4, 4, 5, Reason.FILL_OR_KILL)],
    ),
    "an FOK that fills beside own orders cancels them": (
        [
            sell("a", 100, 5),
            sell("x", 100, 5, client=2),
            buy("b", 100, 5, time_in_force=FOK, self_trade=OLDEST),
        ],
        [OrderAccepted(4), OrderCanceled(2, 4, 5, Reason.SELF_TRADE), Trade(1, 100, 5, 3, 4)],
    ),
    "an FOK counts nothing behind an own order that would cancel it": (
        [
            sell("a", 100, 5),
            sell("x", 100, 5, client=2),
            buy("b", 100, 5, time_in_force=FOK, self_trade=BOTH),
        ],
        [OrderAccepted(4), OrderCanceled(4, 4, 5, Reason.FILL_OR_KILL)],
    ),
    "a replace follows its order's instruction": (
        [sell("a", 100, 5), buy("b", 90, 5, self_trade=BOTH), replace("b", 100, 6)],
        [
            OrderReplaced(3, 4, 100, 6, 6, False),
            OrderCanceled(2, 4, 5, Reason.SELF_TRADE),
            OrderCanceled(3, 4, 6, Reason.SELF_TRADE),
        ],
    ),
}

CANCELS = {
    "a cancel takes what is left": (
        [buy("a", 100, 5), sell("b", 100, 2), cancel("a")],
        [OrderCanceled(2, 4, 3, Reason.REQUESTED)],
    ),
    "nothing to cancel": ([cancel("a")], [CancelRejected(2, Reason.UNKNOWN_ORDER)]),
    "what traded away cannot be canceled": (
        [buy("a", 100, 5), sell("b", 100, 5), cancel("a")],
        [CancelRejected(4, Reason.UNKNOWN_ORDER)],
    ),
    "another client's order cannot": ([buy("a", 100, 5), cancel("a", 2)], [CancelRejected(3, Reason.UNKNOWN_ORDER)]),
    "no such instrument": ([cancel("a", 1, 7)], [CancelRejected(2, Reason.UNKNOWN_INSTRUMENT)]),
    "a cancel works while halted": (
        [buy("a", 100, 5), HaltInstrument(0, 1, 1), cancel("a")],
        [OrderCanceled(2, 4, 5, Reason.REQUESTED)],
    ),
    "cancel all of everybody everywhere, by instrument and age": (
        [
            SetInstrument(0, 1, "B", "USD", 1, 2, 1, 8), buy("a", 100, 5, instrument=2), buy("b", 100, 4),
            buy("c", 101, 3, client=2), CancelAll(0, 1),
        ],
        [
            OrderCanceled(4, 6, 4, Reason.MASS_CANCEL), OrderCanceled(5, 6, 3, Reason.MASS_CANCEL),
            OrderCanceled(3, 6, 5, Reason.MASS_CANCEL), MassCanceled(6, 3),
        ],
    ),
    "cancel all of one client": (
        [buy("a", 100, 5), buy("b", 100, 5, client=2), CancelAll(0, 1, 2, 0)],
        [OrderCanceled(3, 4, 5, Reason.MASS_CANCEL), MassCanceled(4, 1)],
    ),
    "cancel all goes by age across clients, whatever place in the queue a replace took": (
        [buy("a", 100, 5), buy("b", 100, 5, client=2), buy("c", 100, 5), replace("a", 100, 6, "z"), CancelAll(0, 1)],
        [
            OrderCanceled(2, 6, 6, Reason.MASS_CANCEL), OrderCanceled(3, 6, 5, Reason.MASS_CANCEL),
            OrderCanceled(4, 6, 5, Reason.MASS_CANCEL), MassCanceled(6, 3),
        ],
    ),
    "cancel all in one instrument": (
        [buy("a", 100, 5), SetInstrument(0, 1, "B", "USD", 1, 2, 1, 8), buy("b", 100, 5, instrument=2),
         CancelAll(0, 1, 0, 2)],
        [OrderCanceled(4, 5, 5, Reason.MASS_CANCEL), MassCanceled(5, 1)],
    ),
    "cancel all in an unknown instrument": ([buy("a", 100, 5), CancelAll(0, 1, 0, 9)], [MassCanceled(3, 0)]),
    "the kill switch cancels and answers nothing itself": (
        [buy("a", 100, 5), buy("b", 100, 5, client=2), BlockClient(0, 1, 2)],
        [OrderCanceled(3, 4, 5, Reason.CLIENT_BLOCKED)],
    ),
    "commands of credit are none of ours": ([RegisterClient(0, 1, "C1")], []),
}  # fmt: skip

REPLACES = {
    "a lower total at the same price keeps the place": (
        [buy("a", 100, 5), buy("b", 100, 5), replace("a", 100, 3), sell("c", 100, 4)],
        [OrderAccepted(5), Trade(1, 100, 3, 2, 5), Trade(1, 100, 1, 3, 5)],
    ),
    "a higher total loses it": (
        [buy("a", 100, 5), buy("b", 100, 5), replace("a", 100, 6), sell("c", 100, 5)],
        [OrderAccepted(5), Trade(1, 100, 5, 3, 5)],
    ),
    "another price loses it": (
        [buy("a", 100, 5), buy("b", 101, 5), replace("a", 101, 5), sell("c", 101, 5)],
        [OrderAccepted(5), Trade(1, 101, 5, 3, 5)],
    ),
    "the total counts what has traded": (
        [buy("a", 100, 5), sell("b", 100, 2), replace("a", 100, 4)],
        [OrderReplaced(2, 4, 100, 4, 2, True)],
    ),
    "a total that has traded cancels the rest": (
        [buy("a", 100, 5), sell("b", 100, 2), replace("a", 100, 2)],
        [OrderCanceled(2, 4, 3, Reason.REPLACED_BELOW_TRADED)],
    ),
    "a replace that crosses trades at the makers' prices": (
        [sell("a", 101, 2), sell("b", 102, 2), buy("c", 100, 5), replace("c", 105, 5)],
        [OrderReplaced(4, 5, 105, 5, 5, False), Trade(1, 101, 2, 2, 4), Trade(1, 102, 2, 3, 4)],
    ),
    "a new name takes the old one's place": (
        [buy("a", 100, 5), replace("a", 100, 5, "b"), cancel("b")],
        [OrderCanceled(2, 4, 5, Reason.REQUESTED)],
    ),
    "the old name is free then": (
        [buy("a", 100, 5), replace("a", 100, 5, "b"), buy("a", 100, 5)],
        [OrderAccepted(4)],
    ),
    "a new name may not be live": (
        [buy("a", 100, 5), buy("b", 100, 5), replace("a", 101, 5, "b")],
        [ReplaceRejected(4, Reason.DUPLICATE_CLIENT_ORDER_ID)],
    ),
    "an order's own name is no duplicate": (
        [buy("a", 100, 5), replace("a", 100, 5, "a")],
        [OrderReplaced(2, 3, 100, 5, 5, True)],
    ),
    "nothing to replace": ([replace("a", 100, 5)], [ReplaceRejected(2, Reason.UNKNOWN_ORDER)]),
    "no such instrument": ([replace("a", 100, 5, "", 1, 2)], [ReplaceRejected(2, Reason.UNKNOWN_INSTRUMENT)]),
    "too long a new name": (
        [buy("a", 100, 5), replace("a", 100, 5, "x" * 65)],
        [ReplaceRejected(3, Reason.INVALID_TERMS)],
    ),
    "no quantity": ([buy("a", 100, 5), replace("a", 100, 0)], [ReplaceRejected(3, Reason.INVALID_QUANTITY)]),
    "no price": ([buy("a", 100, 5), replace("a", 0, 5)], [ReplaceRejected(3, Reason.INVALID_PRICE)]),
    "out of the band": (
        [buy("a", 100, 5), replace("a", 201, 5)],
        [ReplaceRejected(3, Reason.PRICE_OUTSIDE_BAND)],
    ),
    "halted": (
        [buy("a", 100, 5), HaltInstrument(0, 1, 1), replace("a", 100, 4)],
        [ReplaceRejected(4, Reason.INSTRUMENT_HALTED)],
    ),
    "post-only never trades": (
        [sell("a", 101, 5), buy("b", 100, 5, post_only=True), replace("b", 101, 5)],
        [ReplaceRejected(4, Reason.POST_ONLY_WOULD_TRADE)],
    ),
    "a rejected replace changes nothing": (
        [buy("a", 100, 5), replace("a", 201, 9), sell("b", 100, 9)],
        [OrderAccepted(4), Trade(1, 100, 5, 2, 4)],
    ),
    "a replaced order expires at its old time": (
        [buy("a", 100, 5, time_in_force=GTD, expire_at_ns=5), replace("a", 101, 6), (5, Tick())],
        [OrderExpired(2, 4, 6)],
    ),
}

EXPIRIES = {
    "before any command of its instrument": (
        [buy("a", 100, 5, time_in_force=GTD, expire_at_ns=5), (5, sell("b", 100, 5))],
        [OrderExpired(2, 3, 5), OrderAccepted(3)],
    ),
    "even one that is rejected": (
        [buy("a", 100, 5, time_in_force=GTD, expire_at_ns=5), (9, cancel("a"))],
        [OrderExpired(2, 3, 5), CancelRejected(3, Reason.UNKNOWN_ORDER)],
    ),
    "not before its time": ([buy("a", 100, 5, time_in_force=GTD, expire_at_ns=5), (4, Tick())], []),
    "by time, then by age": (
        [
            buy("a", 100, 1, time_in_force=GTD, expire_at_ns=7), buy("b", 101, 2, time_in_force=GTD, expire_at_ns=5),
            buy("c", 102, 3, time_in_force=GTD, expire_at_ns=5), (8, Tick()),
        ],
        [OrderExpired(3, 5, 2), OrderExpired(4, 5, 3), OrderExpired(2, 5, 1)],
    ),
    "a command of another instrument expires nothing": (
        [buy("a", 100, 5, time_in_force=GTD, expire_at_ns=5), (9, cancel("a", 1, 2))],
        [CancelRejected(3, Reason.UNKNOWN_INSTRUMENT)],
    ),
    "what was canceled does not expire": (
        [buy("a", 100, 5, time_in_force=GTD, expire_at_ns=5), cancel("a"), (9, Tick())],
        [],
    ),
    "what traded away does not expire": (
        [buy("a", 100, 5, time_in_force=GTD, expire_at_ns=5), sell("b", 100, 5), (9, Tick())],
        [],
    ),
}  # fmt: skip

OTHER_B = SetInstrument(0, 1, "B", "EUR", 5, 0, 7, 3)
INSTRUMENTS = {
    "ids count from 1": ([OTHER_B], [InstrumentSet(2, 2, "B", "EUR", 5, 0, 7, 3, 0, 0)]),
    "the same terms move the band": (
        [SetInstrument(0, 1, "A", "USD", 1, 2, 1, 8, 50, 60)],
        [InstrumentSet(2, 1, "A", "USD", 1, 2, 1, 8, 50, 60)],
    ),
    "what rests outside a new band stays": (
        [buy("a", 100, 5), SetInstrument(0, 1, "A", "USD", 1, 2, 1, 8, 50, 60), cancel("a")],
        [OrderCanceled(2, 4, 5, Reason.REQUESTED)],
    ),
    "a new band holds for new orders": (
        [SetInstrument(0, 1, "A", "USD", 1, 2, 1, 8, 50, 60), buy("a", 61, 5)],
        [OrderRejected(3, Reason.PRICE_OUTSIDE_BAND)],
    ),
    "other terms are refused": (
        [SetInstrument(0, 1, "A", "EUR", 1, 2, 1, 8)],
        [InstrumentRejected(2, Reason.INSTRUMENT_DIFFERS)],
    ),
    "a halt is told": ([HaltInstrument(0, 1, 1)], [InstrumentHalted(2, 1)]),
    "a halt refuses orders": (
        [HaltInstrument(0, 1, 1), buy("a", 100, 5)],
        [OrderRejected(3, Reason.INSTRUMENT_HALTED)],
    ),
    "a resume is told": ([HaltInstrument(0, 1, 1), ResumeInstrument(0, 1, 1)], [InstrumentResumed(3, 1)]),
    "a resume takes orders again": (
        [HaltInstrument(0, 1, 1), ResumeInstrument(0, 1, 1), buy("a", 100, 5)],
        [OrderAccepted(4)],
    ),
    "an unknown one cannot halt": (
        [HaltInstrument(0, 1, 2)],
        [InstrumentRejected(2, Reason.UNKNOWN_INSTRUMENT)],
    ),
    "nor resume": ([ResumeInstrument(0, 1, 0)], [InstrumentRejected(2, Reason.UNKNOWN_INSTRUMENT)]),
}

INVALID_INSTRUMENTS = {
    "no symbol": {"symbol": ""},
    "no currency": {"currency": ""},
    "no tick": {"tick": 0},
    "negative lot": {"lot": -1},
    "too many decimals": {"tick_decimals": 19},
    "negative decimals": {"lot_decimals": -1},
    "band in the wrong order": {"band_low": 9, "band_high": 8},
    "negative band": {"band_high": -1},
}

LAWS = {
    f"{group}: {law}": case
    for group, cases in {
        "new order": NEW_ORDERS, "self-trade": SELF_TRADES, "cancel": CANCELS, "replace": REPLACES,
        "expiry": EXPIRIES, "instrument": INSTRUMENTS,
    }.items()
    for law, case in cases.items()
}  # fmt: skip


@pytest.mark.parametrize("law", LAWS)
def test_law(law):
    """What the law's last command leads to, event by event."""
    commands, events = LAWS[law]

    assert last(*commands) == events


@pytest.mark.parametrize("case", REJECTED)
def test_an_invalid_order_is_rejected(case):
    """An order that is not valid is answered with the reason and nothing else."""
    command, reason = REJECTED[case]

    assert last(command) == [OrderRejected(2, reason)]


@pytest.mark.parametrize("case", INVALID_INSTRUMENTS)
def test_an_invalid_instrument_is_rejected(case):
    """Terms that no instrument can have are refused, also of a known symbol."""
    terms = {"symbol": "A", "currency": "USD", "tick": 1, "tick_decimals": 2, "lot": 1, "lot_decimals": 8}
    command = SetInstrument(0, 1, **{**terms, **INVALID_INSTRUMENTS[case]})

    assert last(command) == [InstrumentRejected(2, Reason.INVALID_INSTRUMENT)]


def test_a_refused_order_is_rejected():
    """What credit refuses never lives, and has credit's reason, whatever else is wrong with it."""
    assert last(buy("", 0, 0), refused=Reason.NO_CREDIT) == [OrderRejected(2, Reason.NO_CREDIT)]


def test_a_refused_replace_changes_nothing():
    """What credit refuses leaves the order as it was."""
    assert last(buy("a", 100, 5), replace("a", 101, 5), refused=Reason.CREDIT_EXCEEDED) == [
        ReplaceRejected(3, Reason.CREDIT_EXCEEDED)
    ]
