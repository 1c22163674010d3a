"""A naive ledger: fractions for money, a list of live orders, and everything recomputed each time it is asked.

It answers the same messages as the credit machine and shares nothing with it but the messages. Money is a
`Fraction` of a currency unit; what is reserved is the sum over the list.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

from engines.messages import (
    INT_MAX,
    AdjustCredit,
    BlockClient,
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
    Side,
    Trade,
    UnblockClient,
)


@dataclass(frozen=True)
class Terms:
    """An instrument: what one tick x one lot is worth, and its upper band."""

    currency: str
    value: Fraction
    band_high: int


@dataclass(frozen=True)
class Live:
    """A command that may still cost something: at most `price` for each of `lots`."""

    sequence: int
    account_id: int
    instrument_id: int
    side: int
    price: int
    lots: int


class NaiveLedger:
    """What each account may spend, by the rules of engines/credit in the most obvious way."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.blocked: set[int] = set()
        self.instruments: dict[int, Terms] = {}
        self.limits: dict[tuple[int, str], Fraction] = {}
        self.spent: dict[tuple[int, str], Fraction] = {}
        self.live: list[Live] = []

    def limit(self, account_id: int, currency: str) -> Fraction:
        """The limit, 0 where none was set."""
        return self.limits.get((account_id, currency), Fraction(0))

    def used(self, account_id: int, currency: str) -> Fraction:
        """What traded and is not settled."""
        return self.spent.get((account_id, currency), Fraction(0))

    def reserved(self, account_id: int, currency: str) -> Fraction:
        """What the live commands could still cost."""
        total = Fraction(0)
        for one in self.live:
            terms = self.instruments[one.instrument_id]
            if one.account_id == account_id and terms.currency == currency:
                total += one.price * one.lots * terms.value
        return total

    def free(self, account_id: int, currency: str) -> Fraction:
        """What new orders may cost."""
        held = self.reserved(account_id, currency) + self.used(account_id, currency)
        return self.limit(account_id, currency) - held

    # --- commands ---------------------------------------------------------------------------------

    def commands(self, first_sequence: int, messages: list[Message]) -> list[Message]:
        """The answers to a run of commands."""
        answers: list[Message] = []
        refused: list[tuple[int, int]] = []
        for offset, message in enumerate(messages):
            by = first_sequence + offset
            if isinstance(message, NewOrder | ReplaceOrder):
                reason = self._order(by, message)
                refused += [(offset, int(reason))] if reason is not None else []
            else:
                answers += self._account_command(by, message)
        if any(isinstance(message, NewOrder | ReplaceOrder) for message in messages):
            answers.append(CreditDecisions(first_sequence, len(messages), refused))
        return answers

    def _order(self, by: int, order: NewOrder | ReplaceOrder) -> Reason | None:
        side = order.side if isinstance(order, NewOrder) else int(Side.SELL)
        if not 1 <= order.client_id <= len(self.names):
            return Reason.NO_CREDIT
        if order.client_id in self.blocked:
            return Reason.CLIENT_BLOCKED
        if order.instrument_id not in self.instruments:
            return Reason.UNKNOWN_INSTRUMENT
        if order.price < 1:
            return Reason.INVALID_PRICE
        if order.quantity < 1:
            return Reason.INVALID_QUANTITY
        if side not in (Side.BUY, Side.SELL):
            return Reason.INVALID_TERMS
        terms = self.instruments[order.instrument_id]
        price = self._worst_price(side, order.price, terms)
        if price * order.quantity * terms.value > self.free(order.client_id, terms.currency):
            return Reason.CREDIT_EXCEEDED
        self.live.append(Live(by, order.client_id, order.instrument_id, side, price, order.quantity))
        return None

    @staticmethod
    def _worst_price(side: int, price: int, terms: Terms) -> int:
        return price if side == Side.BUY else max(price, terms.band_high)

    def _account_command(self, by: int, message: Message) -> list[Message]:
        match message:
            case RegisterClient():
                return [self._register(by, message.name)]
            case SetCredit() | AdjustCredit() | Settle():
                return [self._money(by, message)]
            case BlockClient() | UnblockClient():
                return [self._block(by, message)]
        return []

    def _register(self, by: int, name: str) -> Message:
        if not 1 <= len(name) <= 64 or any(ord(char) < 32 or 127 <= ord(char) < 160 for char in name):
            return CreditRejected(by, Reason.INVALID_TERMS)
        if name not in self.names:
            self.names.append(name)
        return ClientRegistered(by, self.names.index(name) + 1, name)

    def _block(self, by: int, message: BlockClient | UnblockClient) -> Message:
        if not 1 <= message.account_id <= len(self.names):
            return CreditRejected(by, Reason.UNKNOWN_CLIENT)
        if isinstance(message, BlockClient):
            self.blocked.add(message.account_id)
            return ClientBlocked(by, message.account_id)
        self.blocked.discard(message.account_id)
        return ClientUnblocked(by, message.account_id)

    def _money(self, by: int, message: SetCredit | AdjustCredit | Settle) -> Message:
        key = (message.account_id, message.currency)
        if not 1 <= message.account_id <= len(self.names):
            return CreditRejected(by, Reason.UNKNOWN_CLIENT)
        if not 1 <= len(message.currency) <= 64 or "\n" in message.currency:
            return CreditRejected(by, Reason.INVALID_TERMS)
        if not 0 <= message.decimals <= 18:
            return CreditRejected(by, Reason.INVALID_AMOUNT)
        amount = Fraction(message.amount, 10**message.decimals)
        if isinstance(message, Settle):
            if not (0 < amount <= self.used(*key) and fits(amount)):
                return CreditRejected(by, Reason.INVALID_AMOUNT)
            self.spent[key] = self.used(*key) - amount
            return CreditSettled(by, *key, *on_the_wire(amount))
        limit = amount + (self.limit(*key) if isinstance(message, AdjustCredit) else 0)
        if limit < 0 or not fits(limit):
            return CreditRejected(by, Reason.INVALID_AMOUNT)
        self.limits[key] = limit
        return CreditSet(by, *key, *on_the_wire(limit))

    # --- results ----------------------------------------------------------------------------------

    def results(self, messages: list[Message]) -> None:
        """Take note of what matching did."""
        for message in messages:
            match message:
                case InstrumentSet():
                    self._instrument(message)
                case Trade():
                    self._fill(message.maker_order_id, message.price, message.quantity)
                    self._fill(message.taker_order_id, message.price, message.quantity)
                case OrderCanceled():
                    self._drop(message.order_id)
                    if message.reason == Reason.REPLACED_BELOW_TRADED:
                        self._drop(message.by)
                case OrderExpired() | OrderRejected():
                    self._drop(message.order_id)
                case ReplaceRejected():
                    self._drop(message.by)
                case OrderReplaced():
                    self._drop(message.by)
                    self._move(message)

    def _instrument(self, event: InstrumentSet) -> None:
        decimals = (event.tick_decimals, event.lot_decimals)
        if event.tick < 1 or event.lot < 1 or min(decimals) < 0 or max(decimals) > 18:
            return
        known = self.instruments.get(event.instrument_id)
        if known is None:
            value = Fraction(event.tick * event.lot, 10 ** sum(decimals))
            known = Terms(event.currency, value, event.band_high)
        self.instruments[event.instrument_id] = replace(known, band_high=event.band_high)

    def _drop(self, sequence: int) -> None:
        self.live = [one for one in self.live if one.sequence != sequence]

    def _fill(self, order_id: int, price: int, quantity: int) -> None:
        for one in self.live:
            if one.sequence == order_id and price > 0 and quantity > 0:
                terms = self.instruments[one.instrument_id]
                key = (one.account_id, terms.currency)
                self.spent[key] = self.used(*key) + price * quantity * terms.value
                self._drop(order_id)
                if one.lots > quantity:
                    self.live.append(replace(one, lots=one.lots - quantity))

    def _move(self, event: OrderReplaced) -> None:
        for one in self.live:
            if one.sequence == event.order_id:
                self._drop(event.order_id)
                if event.price > 0 and event.leaves > 0:
                    price = self._worst_price(one.side, event.price, self.instruments[one.instrument_id])
                    self.live.append(replace(one, price=price, lots=event.leaves))


def on_the_wire(money: Fraction) -> tuple[int, int]:
    """(amount, decimals) with as few decimals as possible."""
    decimals = 0
    while (money * 10**decimals).denominator > 1:
        decimals += 1
    return int(money * 10**decimals), decimals


def fits(money: Fraction) -> bool:
    """Whether the amount that goes on the wire is below 2^63."""
    return on_the_wire(money)[0] <= INT_MAX
