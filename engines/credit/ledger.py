"""The ledger: what every client may spend, has promised and has spent, in exact integers.

    limit = free + reserved + used        for each account and currency, after every call

               reserve                use                 settle
        free ----------> reserved ----------> used ----------------> free
          ^                  |      (at the trade's price)
          +---- release -----+

Rules
- A reservation is keyed by the sequence number of its command, and holds that command's worst case
  until matching has said what became of it. `reserved` is the sum over the live reservations.
- The worst case of a buy is its price x quantity. That of a sell is the band's upper price x quantity,
  or its own price where that is higher or where there is no band. A replace does not say which way its
  order trades, so it reserves what a sell would, which is never too little.
- `free` may go below zero: where a limit is set below what is reserved and used, and where a sell trades
  above what it reserved, that is, without a band or where the band moved up after it was authorized. New
  orders are refused until it is enough again.
- Each currency is counted in its smallest unit so far: 2 decimals at first, more once an instrument or an
  amount needs them, and then everything in that currency is multiplied. Nothing is ever rounded.
- Sequence numbers that the ledger does not know are ignored: they belong to orders that were refused, or
  to another shard's clients. So is what no matching engine can mean (a trade of nothing, a negative price).
- A known instrument keeps its value for ever; only its band moves.
"""

from typing import Final

import msgspec

from engines.credit.money import Money, added, normalised
from engines.messages import INT_MAX, NewOrder, Reason, ReplaceOrder, Side

NAME_CHARS_MAX: Final = 64
DECIMALS_MAX: Final = 18
DECIMALS_FIRST: Final = 2

BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
_DEL, _C1_LAST, _SEPARATORS = "\x7f", "\x9f", "\u2028\u2029"


class Account(msgspec.Struct, gc=False, eq=False):
    """One client."""

    account_id: int
    name: str
    blocked: bool = False


class Holding(msgspec.Struct, gc=False, eq=False):
    """One account's credit in one currency, in the currency's smallest unit; the rest is reserved."""

    account: Account
    limit: int = 0
    free: int = 0
    used: int = 0


class Currency(msgspec.Struct, gc=False, eq=False):
    """The smallest unit, 10^-decimals, and who holds credit in it, by account id."""

    decimals: int
    holdings: dict[int, Holding]


class Instrument(msgspec.Struct, gc=False, eq=False):
    """`value` is that of one tick x one lot, in the smallest unit of the currency."""

    instrument_id: int
    currency_name: str
    holdings: dict[int, Holding]
    value: int
    band_high: int


class Reservation(msgspec.Struct, gc=False, eq=False):
    """What one command could still cost, for the `lots` lots that have not traded.

    The cost is kept beside the lots because most reservations are released whole, by a cancel.
    """

    holding: Holding
    instrument: Instrument
    side: int
    lots: int
    cost: int


class State(msgspec.Struct, array_like=True):
    """A whole ledger as sorted lists: equal ledgers are equal States.

    Amounts may exceed 64 bits and are decimal strings. What is free follows from the reservations.
    """

    names: list[str]
    blocked: list[int]
    currencies: list[tuple[str, int]]
    instruments: list[tuple[int, str, str, int]]
    holdings: list[tuple[int, str, str, str]]
    reservations: list[tuple[int, int, int, int, int, str]]
    corrected: list[tuple[int, int, int]] = []


class Ledger:
    """Accounts, instruments and reservations of one credit shard.

    `instruments` by id and `reservations` by sequence number are open to the machine, whose loop over a run
    reserves in place.
    """

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._accounts: dict[int, Account] = {}
        self._currencies: dict[str, Currency] = {}
        self.instruments: dict[int, Instrument] = {}
        self.reservations: dict[int, Reservation] = {}
        self._corrected: dict[int, tuple[int, int]] = {}
        """Trade -> price and quantity, as it was mended last."""

    # --- clients ------------------------------------------------------------------------------

    def register(self, name: str) -> int | Reason:
        """The id of a name: the next small integer, or the one it has already. Else INVALID_TERMS."""
        if not is_name(name):
            return Reason.INVALID_TERMS
        account_id = self._ids.setdefault(name, len(self._ids) + 1)
        self._accounts.setdefault(account_id, Account(account_id, name))
        return account_id

    def block(self, account_id: int, *, blocked: bool) -> Reason | None:
        """Turn the kill switch on or off, as often as one likes. Returns UNKNOWN_CLIENT or None."""
        account = self._accounts.get(account_id)
        if account is None:
            return Reason.UNKNOWN_CLIENT
        account.blocked = blocked
        return None

    # --- instruments and currencies -------------------------------------------------------------

    def set_instrument(self, instrument_id: int, currency_name: str, value: Money, band_high: int) -> None:
        """Learn what one tick x one lot is worth, or move the band of a known instrument."""
        known = self.instruments.get(instrument_id)
        if known is not None:
            known.band_high = band_high
            return
        currency = self._refined(currency_name, value.decimals)
        minor = value.scaled(currency.decimals)
        self.instruments[instrument_id] = Instrument(instrument_id, currency_name, currency.holdings, minor, band_high)

    def _refined(self, name: str, decimals: int) -> Currency:
        """The currency, counted in units of at most 10^-decimals from now on."""
        currency = self._currencies.setdefault(name, Currency(DECIMALS_FIRST, {}))
        factor = 10 ** max(0, decimals - currency.decimals)
        if factor > 1:
            currency.decimals = decimals
            for instrument in self.instruments.values():
                if instrument.currency_name == name:
                    instrument.value *= factor
            for holding in currency.holdings.values():
                holding.limit *= factor
                holding.free *= factor
                holding.used *= factor
            for kept in self.reservations.values():
                if kept.instrument.currency_name == name:
                    kept.cost *= factor
        return currency

    # --- limits ---------------------------------------------------------------------------------

    def set_limit(self, account_id: int, currency_name: str, amount: int, decimals: int) -> Money | Reason:
        """Set a limit of 0 or more. Returns the limit as it is now, or why it was refused."""
        refused = self._check(account_id, currency_name, decimals)
        if refused is not None:
            return refused
        return self._put_limit(account_id, currency_name, normalised(amount, decimals))

    def adjust_limit(self, account_id: int, currency_name: str, amount: int, decimals: int) -> Money | Reason:
        """Raise or lower a limit, to 0 at least. Returns the limit as it is now, or why it was refused."""
        refused = self._check(account_id, currency_name, decimals)
        if refused is not None:
            return refused
        currency = self._currencies.get(currency_name)
        holding = currency.holdings.get(account_id) if currency else None
        limit = Money(holding.limit, currency.decimals) if currency and holding else Money(0, 0)
        return self._put_limit(account_id, currency_name, added(limit, Money(amount, decimals)))

    def settle(self, account_id: int, currency_name: str, amount: int, decimals: int) -> Money | Reason:
        """Free a part of what is used. Returns the amount freed, or why it was refused."""
        refused = self._check(account_id, currency_name, decimals)
        if refused is not None:
            return refused
        currency = self._currencies.get(currency_name)
        holding = currency.holdings.get(account_id) if currency else None
        freed = normalised(amount, decimals)
        if currency is None or holding is None or not 0 < freed.amount <= INT_MAX:
            return Reason.INVALID_AMOUNT
        left = added(Money(holding.used, currency.decimals), Money(-freed.amount, freed.decimals))
        if left.amount < 0:
            return Reason.INVALID_AMOUNT
        minor = freed.scaled(self._refined(currency_name, freed.decimals).decimals)
        holding.used -= minor
        holding.free += minor
        return freed

    def _check(self, account_id: int, currency_name: str, decimals: int) -> Reason | None:
        if account_id not in self._accounts:
            return Reason.UNKNOWN_CLIENT
        if not is_name(currency_name):
            return Reason.INVALID_TERMS
        return None if 0 <= decimals <= DECIMALS_MAX else Reason.INVALID_AMOUNT

    def _put_limit(self, account_id: int, currency_name: str, limit: Money) -> Money | Reason:
        if not 0 <= limit.amount <= INT_MAX:
            return Reason.INVALID_AMOUNT
        currency = self._refined(currency_name, limit.decimals)
        holding = currency.holdings.setdefault(account_id, Holding(self._accounts[account_id]))
        minor = limit.scaled(currency.decimals)
        holding.free += minor - holding.limit
        holding.limit = minor
        return limit

    # --- reservations -----------------------------------------------------------------------------

    def refusal(self, order: NewOrder | ReplaceOrder, side: int) -> Reason:
        """The first thing that is wrong with a command that cannot be authorized."""
        account = self._accounts.get(order.client_id)
        if account is None:
            return Reason.NO_CREDIT
        if account.blocked:
            return Reason.CLIENT_BLOCKED
        if order.instrument_id not in self.instruments:
            return Reason.UNKNOWN_INSTRUMENT
        if order.price <= 0:
            return Reason.INVALID_PRICE
        if order.quantity <= 0:
            return Reason.INVALID_QUANTITY
        return Reason.CREDIT_EXCEEDED if side in {BUY, SELL} else Reason.INVALID_TERMS

    def release(self, sequence: int) -> None:
        """Free what a command still reserves: its order is gone, or its replace has its outcome."""
        kept = self.reservations.pop(sequence, None)
        if kept is not None:
            kept.holding.free += kept.cost

    def use(self, order_id: int, price: int, quantity: int) -> None:
        """Turn a trade's part of a reservation into used, at its price; what it cost less becomes free."""
        kept = self.reservations.get(order_id)
        if kept is None or price <= 0 or quantity <= 0:
            return
        holding = kept.holding
        cost = price * quantity * kept.instrument.value
        holding.used += cost
        holding.free -= cost
        if quantity >= kept.lots:
            self.release(order_id)
            return
        freed = kept.cost // kept.lots * quantity
        holding.free += freed
        kept.cost -= freed
        kept.lots -= quantity

    def replace(self, order_id: int, price: int, leaves: int) -> None:
        """Reserve for an order what its new price and leaves quantity could cost, whatever is free."""
        kept = self.reservations.get(order_id)
        if kept is None:
            return
        if price <= 0 or leaves <= 0:
            self.release(order_id)
            return
        instrument = kept.instrument
        if kept.side == SELL and instrument.band_high > price:
            price = instrument.band_high
        cost = price * (leaves * instrument.value)
        kept.holding.free += kept.cost - cost
        kept.lots, kept.cost = leaves, cost

    def correct(self, trade: int, terms: tuple[int, int], previous: tuple[int, int]) -> bool:
        """Note that a trade has this price and quantity now; false where it did not have the previous ones."""
        if self._corrected.get(trade, previous) != previous:
            return False
        self._corrected[trade] = terms
        return True

    def charge(self, account_id: int, instrument_id: int, more: int) -> None:
        """Use so much more, in ticks x lots, or less where it is negative: what was settled already stays free."""
        instrument = self.instruments[instrument_id]
        holding = instrument.holdings.setdefault(account_id, Holding(self._accounts[account_id]))
        used = max(0, holding.used + more * instrument.value)
        holding.free -= used - holding.used
        holding.used = used

    # --- reading ------------------------------------------------------------------------------------

    def clients(self) -> dict[int, str]:
        """Every client's name by its id, in order of the ids."""
        return {account_id: account.name for account_id, account in self._accounts.items()}

    def is_blocked(self, account_id: int) -> bool:
        """Whether the kill switch is on; an unknown client is not blocked."""
        account = self._accounts.get(account_id)
        return account is not None and account.blocked

    def account(self, account_id: int) -> list[tuple[str, int, int, int, int, int]]:
        """(currency, decimals, limit, free, reserved, used) of each currency, by name; none if unknown."""
        rows = []
        for name, currency in sorted(self._currencies.items()):
            held = currency.holdings.get(account_id)
            if held is not None:
                reserved = held.limit - held.free - held.used
                rows.append((name, currency.decimals, held.limit, held.free, reserved, held.used))
        return rows

    # --- the whole state ------------------------------------------------------------------------------

    def save(self) -> State:
        """Everything that the ledger knows, sorted."""
        currencies = sorted(self._currencies.items())
        return State(
            names=list(self._ids),
            blocked=[account.account_id for account in self._accounts.values() if account.blocked],
            currencies=[(name, currency.decimals) for name, currency in currencies],
            instruments=[
                (key, known.currency_name, str(known.value), known.band_high)
                for key, known in sorted(self.instruments.items())
            ],
            holdings=[
                (account_id, name, str(held.limit), str(held.used))
                for name, currency in currencies
                for account_id, held in sorted(currency.holdings.items())
            ],
            reservations=[(key, *_terms(kept)) for key, kept in sorted(self.reservations.items())],
            corrected=[(trade, *terms) for trade, terms in sorted(self._corrected.items())],
        )

    @classmethod
    def load(cls, state: State) -> "Ledger":
        """The ledger that was saved."""
        ledger = cls()
        for name in state.names:
            ledger.register(name)
        for account_id in state.blocked:
            ledger.block(account_id, blocked=True)
        for name, decimals in state.currencies:
            ledger._currencies[name] = Currency(decimals, {})
        for account_id, name, limit, used in state.holdings:
            held = Holding(ledger._accounts[account_id], int(limit), int(limit) - int(used), int(used))
            ledger._currencies[name].holdings[account_id] = held
        for key, name, value, band_high in state.instruments:
            holdings = ledger._currencies[name].holdings
            ledger.instruments[key] = Instrument(key, name, holdings, int(value), band_high)
        for key, account_id, instrument_id, side, lots, cost in state.reservations:
            instrument = ledger.instruments[instrument_id]
            held = instrument.holdings[account_id]
            held.free -= int(cost)
            ledger.reservations[key] = Reservation(held, instrument, side, lots, int(cost))
        ledger._corrected = {trade: (price, quantity) for trade, price, quantity in state.corrected}
        return ledger


def _terms(kept: Reservation) -> tuple[int, int, int, int, str]:
    return kept.holding.account.account_id, kept.instrument.instrument_id, kept.side, kept.lots, str(kept.cost)


def is_name(text: str) -> bool:
    """Whether a text can name a client or a currency: 1 to 64 characters, none of them a control character.

    The ranges are spelled out because `str.isprintable` follows the Unicode tables of the Python in use.
    """
    return 0 < len(text) <= NAME_CHARS_MAX and not any(
        char < " " or _DEL <= char <= _C1_LAST or char in _SEPARATORS for char in text
    )
