"""The credit machine is the naive ledger, whatever comes and however it is cut into runs."""

from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engines.credit import Credit
from engines.messages import (
    COMMANDS,
    RESULTS,
    AdjustCredit,
    BlockClient,
    CancelOrder,
    CreditDecisions,
    InstrumentSet,
    Message,
    NewOrder,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderRejected,
    OrderReplaced,
    Reason,
    RegisterClient,
    ReplaceOrder,
    ReplaceRejected,
    SetCredit,
    Settle,
    Tick,
    Trade,
    UnblockClient,
)
from tests.models.ledger import NaiveLedger

CLIENTS = st.integers(0, 4)
INSTRUMENTS = st.integers(0, 4)
CURRENCIES = st.sampled_from(("USD", "EUR"))
WILD = st.sampled_from((-(1 << 63), -1, 0, (1 << 63) - 1, 1 << 63, (1 << 64) - 1))


def mostly(usual: st.SearchStrategy[int]) -> st.SearchStrategy[int]:
    """Usual values, and one in a dozen that only the codec would let through."""
    return st.integers(0, 11).flatmap(lambda dice: usual if dice else WILD)


PRICES = mostly(st.integers(1, 30))
LOTS = mostly(st.integers(1, 20))
AMOUNTS = mostly(st.integers(-2000, 20_000))
DECIMALS = mostly(st.integers(0, 4))
NAMES = st.sampled_from(("C1", "C2", "C3", "C4", "", "a\nb", "Zoë"))
ORDERS = st.builds(NewOrder, CLIENTS, st.just(1), INSTRUMENTS, st.just("a"), st.integers(0, 3), PRICES, LOTS)
REPLACES = st.builds(ReplaceOrder, CLIENTS, st.just(1), INSTRUMENTS, st.just("a"), PRICES, LOTS)
MONEY = st.sampled_from((SetCredit, AdjustCredit, Settle)).flatmap(
    lambda kind: st.builds(kind, st.just(0), st.just(1), CLIENTS, CURRENCIES, AMOUNTS, DECIMALS)
)
BLOCKS = st.sampled_from((BlockClient, UnblockClient)).flatmap(
    lambda kind: st.builds(kind, st.just(0), st.just(1), CLIENTS)
)
OTHERS = st.one_of(
    st.builds(RegisterClient, st.just(0), st.just(1), NAMES),
    st.just(CancelOrder(1, 1, 1, "a")),
    st.just(Tick()),
)
RUNS = st.lists(st.one_of(ORDERS, ORDERS, ORDERS, REPLACES, MONEY, BLOCKS, OTHERS), min_size=1, max_size=8)
SETS = st.builds(
    InstrumentSet, st.just(0), INSTRUMENTS, st.just("S"), CURRENCIES, mostly(st.integers(1, 25)), DECIMALS,
    mostly(st.integers(1, 10)), DECIMALS, st.just(0), mostly(st.integers(0, 40)),
)  # fmt: skip


SHARDS = 3


def merged(parts: list[list[Message]]) -> list[Message]:
    """The answers of all shards as if they were one's: in the order of their commands, one decision behind them."""
    answers = [answer for part in parts for answer in part]
    decisions = [answer for answer in answers if isinstance(answer, CreditDecisions)]
    others = sorted((answer for answer in answers if answer not in decisions), key=lambda answer: answer.by)
    if not decisions:
        return others
    assert len({(one.first_sequence, one.count) for one in decisions}) == 1, decisions
    assert len({one.shard for one in decisions}) == len(decisions), decisions
    refused = sorted(refusal for one in decisions for refusal in one.refused)
    return [*others, CreditDecisions(decisions[0].first_sequence, decisions[0].count, refused)]


def restored(credit: Credit, blank: Credit) -> Credit:
    """The machine, restored from its snapshot."""
    blank.restore(credit.snapshot())
    assert blank.snapshot() == credit.snapshot()
    return blank


class CreditAgainstModel(RuleBasedStateMachine):
    """Runs and results in any order; `single` gets the same messages one by one, `shards` are three slices of it."""

    @initialize(limits=st.lists(st.integers(0, 5000), min_size=3, max_size=3))
    def open(self, limits: list[int]) -> None:
        self.credit, self.single, self.model = Credit(), Credit(), NaiveLedger()
        self.shards = [Credit(shard, SHARDS) for shard in range(SHARDS)]
        self.sequence = 1
        self.commands([RegisterClient(0, 1, f"C{client}") for client in (1, 2, 3)])
        self.commands([SetCredit(0, 1, client, "USD", limit, 1) for client, limit in enumerate(limits, start=1)])
        self.instruments(InstrumentSet(0, 1, "A", "USD", 1, 1, 1, 0, 0, 0))
        self.instruments(InstrumentSet(0, 2, "B", "USD", 1, 2, 1, 0, 1, 20))

    @rule(run=RUNS)
    def commands(self, run: list[Message]) -> None:
        first = self.sequence
        self.sequence += len(run)
        for offset, message in enumerate(run):
            self.single.apply(0, first + offset, COMMANDS, [message])

        expected = self.model.commands(first, run)
        assert self.credit.apply(0, first, COMMANDS, run) == expected
        assert merged([shard.apply(0, first, COMMANDS, run) for shard in self.shards]) == expected

    @rule(event=SETS)
    def instruments(self, event: InstrumentSet) -> None:
        self.results([event])

    @rule(which=st.integers(0, 50), other=st.integers(0, 50), price=PRICES, lots=LOTS)
    def trade(self, which: int, other: int, price: int, lots: int) -> None:
        self.results([Trade(1, price, lots, self.live(which), self.live(other))])

    @rule(which=st.integers(0, 50), by=st.integers(0, 50), price=PRICES, lots=LOTS)
    def replaced(self, which: int, by: int, price: int, lots: int) -> None:
        self.results([OrderReplaced(self.live(which), self.live(by), price, lots, lots, False)])

    @rule(which=st.integers(0, 50), by=st.integers(0, 50), kind=st.integers(0, 5))
    def gone(self, which: int, by: int, kind: int) -> None:
        order_id, command = self.live(which), self.live(by)
        events = (
            OrderCanceled(order_id, command, 1, Reason.SELF_TRADE),
            OrderCanceled(order_id, command, 1, Reason.REPLACED_BELOW_TRADED),
            OrderExpired(order_id, command, 1),
            OrderRejected(order_id, Reason.INVALID_TERMS),
            ReplaceRejected(command, Reason.UNKNOWN_ORDER),
            OrderAccepted(order_id),
        )
        self.results([events[kind]])

    @rule(finer=st.integers(3, 18))
    def refine(self, finer: int) -> None:
        self.commands([SetCredit(0, 1, 3, "USD", 50 * 10**finer + 1, finer)])

    @rule()
    def restart(self) -> None:
        self.credit = restored(self.credit, Credit())
        self.shards = [restored(shard, Credit(at, SHARDS)) for at, shard in enumerate(self.shards)]

    @invariant()
    def equals_the_model(self) -> None:
        for client in range(5):
            self.shows(self.credit, client)
            self.shows(self.shards[client % SHARDS], client)

    def shows(self, credit: Credit, client: int) -> None:
        rows = {row[0]: row[1:] for row in credit.account(client)}
        assert credit.is_blocked(client) == (client in self.model.blocked)
        for currency in ("USD", "EUR"):
            decimals, *amounts = rows.get(currency, (0, 0, 0, 0, 0))
            assert [Fraction(amount, 10**decimals) for amount in amounts] == [
                self.model.limit(client, currency),
                self.model.free(client, currency),
                self.model.reserved(client, currency),
                self.model.used(client, currency),
            ]

    @invariant()
    def cutting_runs_changes_nothing(self) -> None:
        assert self.credit.snapshot() == self.single.snapshot()

    @invariant()
    def credit_is_conserved(self) -> None:
        for client in range(5):
            for _, _, limit, free, reserved, used in self.credit.account(client):
                assert limit == free + reserved + used
                assert min(limit, reserved, used) >= 0

    def results(self, events: list[Message]) -> None:
        assert self.credit.apply(0, self.sequence, RESULTS, events) == []
        self.single.apply(0, self.sequence, RESULTS, events)
        assert not any(shard.apply(0, self.sequence, RESULTS, events) for shard in self.shards)
        self.model.results(events)
        self.sequence += len(events)

    def live(self, which: int) -> int:
        """The sequence number of a live reservation, or one that nobody reserves for."""
        ids = [one.sequence for one in self.model.live]
        return ids[which % len(ids)] if ids and which < 48 else which - 49


TestCreditAgainstModel = CreditAgainstModel.TestCase
TestCreditAgainstModel.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
