"""The ledger: what every client may spend, has promised and has spent, in exact integers.

    limit = free + reserved + used        for each account and currency, after every call

               reserve                use                 settle
        free ----------> reserved ----------> used ----------------> free
          ^                  |      (the rest) |
          +------ release ---+<----------------+

Rules
- A reservation is keyed by the sequence number of its command, and holds that command's worst case
  until matching has said what became of it. `reserved` is the sum over the live reservations.
- The worst case of a buy is its price x quantity. That of a sell is the band's upper price x quantity,
  or its own price where that is higher or where there is no band. A replace does not say which way its
  order trades, so it reserves what a sell would, which is never too little.
- Only `limit`, `reserved` and `used` are kept; `free` is what remains. It goes below zero where a limit
  is set below what is reserved and used, and where a sell trades above what it reserved: that is, without
  a band, or where the band moved up after it was authorized. New orders are refused until it is positive.
- Each currency is counted in its smallest unit so far: 2 decimals at first, more once an instrument or an
  amount needs them, and then everything in that currency is multiplied. Nothing is ever rounded.
- Sequence numbers that the ledger does not know are ignored: they belong to orders that were refused, or
  to another shard's clients. So is what no matching engine can mean (a trade of nothing, a negative tick).
- A known instrument keeps its value for ever; only its band moves.
"""

from typing import Final

import msgspec

from engines.credit.money import Money, added, normalised
from engines.messages import INT_MAX, NewOrder, Reason, ReplaceOrder, Side

NAME_CHARS_MAX: Final = 64
DECIMALS_MAX: Final = 18
DECIMALS_FIRST: Final = 2

_BUY: Final = int(Side.BUY)
_SELL: Final = int(Side.SELL)
_DEL, _C1_LAST, _SEPARATORS = "\x7f", "\x9f", "\u2028\u2029"


class Instrument(msgspec.Struct, gc=False, eq=False):
    """What a trade of one tick x one lot is worth, in the smallest unit of the currency."""

    instrument_id: int
    currency: str
    value: int
    band_high: int


class Holding(msgspec.Struct, gc=False, eq=False):
    """One account's credit in one currency, in the smallest unit of the currency."""

    account_id: int
    limit: int = 0
    reserved: int = 0
    used: int = 0


class Account(msgspec.Struct, gc=False, eq=False):
    """One client: its holdings by currency."""

    name: str
    blocked: bool
    holdings: dict[str, Holding]


class Reservation(msgspec.Struct, gc=False, eq=False):
    """What one command could still cost: `price` ticks for each of `lots` lots."""

    holding: Holding
    instrument: Instrument
    side: int
    price: int
    lots: int


class State(msgspec.Struct, array_like=True):
    """A whole ledger as sorted lists: equal ledgers are equal States.

    Amounts may exceed 64 bits and are decimal strings. What is reserved follows from the reservations.
    """

    names: list[str]
    blocked: list[int]
    currencies: list[tuple[str, int]]
    instruments: list[tuple[int, str, str, int]]
    holdings: list[tuple[int, str, str, str]]
    reservations: list[tuple[int, int, int, int, int, int]]


class Ledger:
    """Accounts, instruments and reservations of one credit shard."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._accounts: dict[int, Account] = {}
        self._decimals: dict[str, int] = {}
        self._instruments: dict[int, Instrument] = {}
        self._reservations: dict[int, Reservation] = {}

    # --- clients ------------------------------------------------------------------------------

    def register(self, name: str) -> int | Reason:
        """The id of a name: the next small integer, or the one it has already. Else INVALID_TERMS."""
        if not is_name(name):
            return Reason.INVALID_TERMS
        account_id = self._ids.setdefault(name, len(self._ids) + 1)
        if account_id not in self._accounts:
            self._accounts[account_id] = Account(name, False, {})
        return account_id

    def block(self, account_id: int, *, blocked: bool) -> Reason | None:
        """Turn the kill switch on or off, as often as one likes. Returns UNKNOWN_CLIENT or None."""
        account = self._accounts.get(account_id)
        if account is None:
            return Reason.UNKNOWN_CLIENT
        account.blocked = blocked
        return None

    # --- instruments and currencies -------------------------------------------------------------

    def set_instrument(self, instrument_id: int, currency: str, value: Money, band_high: int) -> None:
        """Learn what one tick x one lot is worth, or move the band of a known instrument."""
        known = self._instruments.get(instrument_id)
        if known is not None:
            known.band_high = band_high
            return
        minor = value.scaled(self._refine(currency, value.decimals))
        self._instruments[instrument_id] = Instrument(instrument_id, currency, minor, band_high)

    def _refine(self, currency: str, decimals: int) -> int:
        """Count the currency in units of at most 10^-decimals. Returns the decimals that it has then."""
        known = self._decimals.setdefault(currency, DECIMALS_FIRST)
        if decimals <= known:
            return known
        self._decimals[currency] = decimals
        factor = 10 ** (decimals - known)
        for instrument in self._instruments.values():
            if instrument.currency == currency:
                instrument.value *= factor
        for account in self._accounts.values():
            holding = account.holdings.get(currency)
            if holding is not None:
                holding.limit *= factor
                holding.reserved *= factor
                holding.used *= factor
        return decimals

    # --- limits ---------------------------------------------------------------------------------

    def set_limit(self, account_id: int, currency: str, amount: int, decimals: int) -> Money | Reason:
        """Set a limit of 0 or more. Returns the limit as it is now, or why it was refused."""
        refused = self._check(account_id, currency, decimals)
        if refused is not None:
            return refused
        return self._put_limit(account_id, currency, normalised(amount, decimals))

    def adjust_limit(self, account_id: int, currency: str, amount: int, decimals: int) -> Money | Reason:
        """Raise or lower a limit, to 0 at least. Returns the limit as it is now, or why it was refused."""
        refused = self._check(account_id, currency, decimals)
        if refused is not None:
            return refused
        holding = self._accounts[account_id].holdings.get(currency)
        limit = Money(holding.limit, self._decimals[currency]) if holding else Money(0, 0)
        return self._put_limit(account_id, currency, added(limit, Money(amount, decimals)))

    def settle(self, account_id: int, currency: str, amount: int, decimals: int) -> Money | Reason:
        """Free a part of what is used. Returns the amount freed, or why it was refused."""
        refused = self._check(account_id, currency, decimals)
        if refused is not None:
            return refused
        holding = self._accounts[account_id].holdings.get(currency)
        freed = normalised(amount, decimals)
        if holding is None or not 0 < freed.amount <= INT_MAX:
            return Reason.INVALID_AMOUNT
        used = added(Money(holding.used, self._decimals[currency]), Money(-freed.amount, freed.decimals))
        if used.amount < 0:
            return Reason.INVALID_AMOUNT
        holding.used = used.scaled(self._refine(currency, used.decimals))
        return freed

    def _check(self, account_id: int, currency: str, decimals: int) -> Reason | None:
        if account_id not in self._accounts:
            return Reason.UNKNOWN_CLIENT
        if not is_name(currency):
            return Reason.INVALID_TERMS
        return None if 0 <= decimals <= DECIMALS_MAX else Reason.INVALID_AMOUNT

    def _put_limit(self, account_id: int, currency: str, limit: Money) -> Money | Reason:
        if not 0 <= limit.amount <= INT_MAX:
            return Reason.INVALID_AMOUNT
        holdings = self._accounts[account_id].holdings
        decimals = self._refine(currency, limit.decimals)
        holdings.setdefault(currency, Holding(account_id)).limit = limit.scaled(decimals)
        return limit

    # --- reservations -----------------------------------------------------------------------------

    def reserve(self, sequence: int, order: NewOrder | ReplaceOrder, side: int) -> Reason | None:
        """Reserve a command's worst case, if it is in order and covered. Returns why not, or None."""
        account = self._accounts.get(order.client_id)
        if account is None:
            return Reason.NO_CREDIT
        if account.blocked:
            return Reason.CLIENT_BLOCKED
        instrument = self._instruments.get(order.instrument_id)
        if instrument is None:
            return Reason.UNKNOWN_INSTRUMENT
        price, lots = order.price, order.quantity
        if price <= 0:
            return Reason.INVALID_PRICE
        if lots <= 0:
            return Reason.INVALID_QUANTITY
        if side == _SELL:
            price = max(price, instrument.band_high)
        elif side != _BUY:
            return Reason.INVALID_TERMS
        holding = account.holdings.get(instrument.currency)
        if holding is None:
            return Reason.CREDIT_EXCEEDED
        reserved = holding.reserved + price * lots * instrument.value
        if reserved > holding.limit - holding.used:
            return Reason.CREDIT_EXCEEDED
        holding.reserved = reserved
        self._reservations[sequence] = Reservation(holding, instrument, side, price, lots)
        return None

    def release(self, sequence: int) -> None:
        """Free what a command still reserves: its order is gone, or its replace has its outcome."""
        kept = self._reservations.pop(sequence, None)
        if kept is not None:
            kept.holding.reserved -= kept.price * kept.lots * kept.instrument.value

    def use(self, order_id: int, price: int, quantity: int) -> None:
        """Turn a trade's part of a reservation into used, at its price; what it cost less becomes free."""
        kept = self._reservations.get(order_id)
        if kept is None or price <= 0 or quantity <= 0:
            return
        holding, value = kept.holding, kept.instrument.value
        holding.used += price * quantity * value
        if quantity >= kept.lots:
            self.release(order_id)
            return
        holding.reserved -= kept.price * quantity * value
        kept.lots -= quantity

    def replace(self, order_id: int, price: int, leaves: int) -> None:
        """Reserve for an order what its new price and leaves quantity could cost, whatever is free."""
        kept = self._reservations.get(order_id)
        if kept is None:
            return
        self.release(order_id)
        if price <= 0 or leaves <= 0:
            return
        kept.price = max(price, kept.instrument.band_high) if kept.side == _SELL else price
        kept.lots = leaves
        kept.holding.reserved += kept.price * leaves * kept.instrument.value
        self._reservations[order_id] = kept

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
        account = self._accounts.get(account_id)
        rows = []
        for currency, held in sorted(account.holdings.items()) if account else []:
            free = held.limit - held.reserved - held.used
            rows.append((currency, self._decimals[currency], held.limit, free, held.reserved, held.used))
        return rows

    # --- the whole state ------------------------------------------------------------------------------

    def save(self) -> State:
        """Everything that the ledger knows, sorted."""
        return State(
            names=list(self._ids),
            blocked=[account_id for account_id, account in self._accounts.items() if account.blocked],
            currencies=sorted(self._decimals.items()),
            instruments=[
                (instrument_id, known.currency, str(known.value), known.band_high)
                for instrument_id, known in sorted(self._instruments.items())
            ],
            holdings=[
                (account_id, currency, str(held.limit), str(held.used))
                for account_id, account in self._accounts.items()
                for currency, held in sorted(account.holdings.items())
            ],
            reservations=[(key, *_terms(kept)) for key, kept in sorted(self._reservations.items())],
        )

    @classmethod
    def load(cls, state: State) -> "Ledger":
        """The ledger that was saved."""
        ledger = cls()
        for name in state.names:
            ledger.register(name)
        for account_id in state.blocked:
            ledger.block(account_id, blocked=True)
        ledger._decimals.update(state.currencies)
        for instrument_id, currency, value, band_high in state.instruments:
            ledger._instruments[instrument_id] = Instrument(instrument_id, currency, int(value), band_high)
        for account_id, currency, limit, used in state.holdings:
            held = Holding(account_id, limit=int(limit), used=int(used))
            ledger._accounts[account_id].holdings[currency] = held
        for sequence, account_id, instrument_id, side, price, lots in state.reservations:
            instrument = ledger._instruments[instrument_id]
            held = ledger._accounts[account_id].holdings[instrument.currency]
            held.reserved += price * lots * instrument.value
            ledger._reservations[sequence] = Reservation(held, instrument, side, price, lots)
        return ledger


def _terms(kept: Reservation) -> tuple[int, int, int, int, int]:
    return kept.holding.account_id, kept.instrument.instrument_id, kept.side, kept.price, kept.lots


def is_name(text: str) -> bool:
    """Whether a text can name a client or a currency: 1 to 64 characters, none of them a control character.

    The ranges are spelled out because `str.isprintable` follows the Unicode tables of the Python in use.
    """
    return 0 < len(text) <= NAME_CHARS_MAX and not any(
        char < " " or _DEL <= char <= _C1_LAST or char in _SEPARATORS for char in text
    )
