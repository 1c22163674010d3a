"""What ids stand for: clients and instruments by id and by name, folded from the stream.

    DECISIONS --ClientRegistered--> clients
    RESULTS   --InstrumentSet-----> instruments        "78318.00" <--> 7831800 ticks

Rules
- Names and ids never change their meaning; of an instrument, only the price band moves.
- Text becomes ticks and lots by integer arithmetic alone, exactly or not at all: a value off the grid is
  an error and is never rounded.
- Output has the fixed number of decimals of the tick or the lot: tick 0.01 gives "78318.00".
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from engines.messages import DECISIONS, INT_MAX, RESULTS, ClientRegistered, InstrumentSet, Message

DECIMAL_CHARS_MAX: Final = 64
NAME_CHARS_MAX: Final = 64
AVERAGE_DECIMALS: Final = 4
"""An average price is said with so many more decimals than the tick has."""
_POWERS: Final[tuple[int, ...]] = tuple(10**exponent for exponent in range(DECIMAL_CHARS_MAX + 1))


class TextError(ValueError):
    """Text that does not name what it should; the message says what was expected and what came."""


class NotDecimalError(TextError):
    """Not a decimal number, such as "1.5"."""


class NotPositiveError(TextError):
    """Zero or less, where a price or quantity was expected."""


class NotMultipleError(TextError):
    """Between two ticks or two lots."""


class TooLargeError(TextError):
    """More than a 63-bit number of ticks, lots or minor units."""


class UnknownNameError(TextError):
    """No client or instrument of this name or id is in the stream (yet)."""


class Instrument(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The terms of one instrument: a tick is `tick` x 10^-tick_decimals of the currency, a lot likewise.

    The band is the lowest and the highest price of an order in ticks; 0 means none.
    """

    instrument_id: int
    symbol: str
    currency: str
    tick: int
    tick_decimals: int
    lot: int
    lot_decimals: int
    band_low: int = 0
    band_high: int = 0

    def ticks(self, text: str) -> int:
        """A price in ticks, 1 or more. Raises TextError where the text is not exactly that."""
        return self._steps(text, "tick", self.tick, self.tick_decimals)

    def lots(self, text: str) -> int:
        """A quantity in lots, 1 or more. Raises TextError where the text is not exactly that."""
        return self._steps(text, "lot", self.lot, self.lot_decimals)

    def price_text(self, ticks: int) -> str:
        """A price as decimal text, with the decimals of the tick."""
        return decimal_text(ticks * self.tick, self.tick_decimals)

    def quantity_text(self, lots: int) -> str:
        """A quantity as decimal text, with the decimals of the lot."""
        return decimal_text(lots * self.lot, self.lot_decimals)

    def _steps(self, text: str, grid: str, step: int, decimals: int) -> int:
        digits, places = _digits(text)
        if digits <= 0:
            raise NotPositiveError(f"expected a positive number, got {text!r}")
        if places <= decimals:
            steps, rest = divmod(digits * _POWERS[decimals - places], step)
        else:
            steps, rest = divmod(digits, step * _POWERS[places - decimals])
        if rest:
            size = decimal_text(step, decimals)
            raise NotMultipleError(f"expected a multiple of the {grid} {size} of {self.symbol}, got {text!r}")
        if steps > INT_MAX:
            raise TooLargeError(f"expected at most {INT_MAX} {grid}s of {self.symbol}, got {text!r}")
        return steps


class Directory:
    """Clients and instruments, as far as the stream has told of them."""

    def __init__(self, instruments: Iterable[Instrument] = ()) -> None:
        self.client_ids: dict[str, int] = {}
        self.client_names: dict[int, str] = {}
        self.instruments: dict[int, Instrument] = {}
        self._by_symbol: dict[str, Instrument] = {}
        for instrument in instruments:
            self.add_instrument(instrument)

    def apply(self, channel: int, messages: Sequence[Message]) -> None:
        """Learn what a run tells; the cost for a run that tells nothing is a look at its types."""
        if channel == RESULTS and InstrumentSet in map(type, messages):
            for message in messages:
                if isinstance(message, InstrumentSet):
                    self.add_instrument(instrument_of(message))
        elif channel == DECISIONS:
            for message in messages:
                if isinstance(message, ClientRegistered):
                    self.add_client(message.registered_id, message.name)

    def add_client(self, client_id: int, name: str) -> None:
        """From now on the id and the name mean each other."""
        self.client_ids[name] = client_id
        self.client_names[client_id] = name

    def add_instrument(self, instrument: Instrument) -> None:
        """From now on these are the instrument's terms."""
        self.instruments[instrument.instrument_id] = instrument
        self._by_symbol[instrument.symbol] = instrument

    def instrument(self, symbol: str) -> Instrument:
        """The instrument of that symbol. Raises UnknownNameError."""
        try:
            return self._by_symbol[symbol]
        except KeyError:
            known = ", ".join(sorted(self._by_symbol)[:8]) or "none yet"
            raise UnknownNameError(f"expected a known symbol ({known}), got {symbol!r}") from None

    def knows(self, symbol: str) -> bool:
        """Whether there is an instrument of that symbol."""
        return symbol in self._by_symbol

    def client_id(self, name: str) -> int:
        """The id of that client. Raises UnknownNameError."""
        try:
            return self.client_ids[name]
        except KeyError:
            raise UnknownNameError(f"expected the name of a registered client, got {name!r}") from None

    def client_name(self, client_id: int) -> str:
        """The name of that client; "#7" where the stream has not told it, "" for 0."""
        return self.client_names.get(client_id) or (f"#{client_id}" if client_id else "")

    def symbol(self, instrument_id: int) -> str:
        """The symbol of that instrument; "#7" where the stream has not told it, "" for 0."""
        instrument = self.instruments.get(instrument_id)
        return instrument.symbol if instrument else (f"#{instrument_id}" if instrument_id else "")


def instrument_of(message: InstrumentSet) -> Instrument:
    """The terms that an InstrumentSet tells."""
    return Instrument(
        message.instrument_id, message.symbol, message.currency, message.tick, message.tick_decimals,
        message.lot, message.lot_decimals, message.band_low, message.band_high,
    )  # fmt: skip


def is_client_name(name: str) -> bool:
    """Whether credit would register that name: 1 to 64 printable characters."""
    return 0 < len(name) <= NAME_CHARS_MAX and name.isprintable()


def decimal_parts(text: str) -> tuple[int, int]:
    """Decimal text as (amount, decimals), without trailing zeros: "-1.50" is (-15, 1).

    Raises NotDecimalError or TooLargeError.
    """
    amount, decimals = _digits(text)
    while decimals and amount % 10 == 0:
        amount //= 10
        decimals -= 1
    if abs(amount) > INT_MAX:
        raise TooLargeError(f"expected at most {INT_MAX} minor units, got {text!r}")
    return amount, decimals


def decimal_text(amount: int, decimals: int) -> str:
    """`amount` x 10^-decimals, with exactly that many decimals: (150, 2) is "1.50"."""
    if decimals <= 0:
        return str(amount * 10**-decimals)
    if amount < 0:
        return "-" + decimal_text(-amount, decimals)
    digits = str(amount)
    if len(digits) <= decimals:
        digits = digits.zfill(decimals + 1)
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


def average_text(instrument: Instrument, notional: int, traded: int) -> str:
    """An average price as decimal text: exact, where it has few decimals; else rounded to the nearest."""
    if not traded:
        return "0"
    scaled = notional * instrument.tick * 10**AVERAGE_DECIMALS
    text = decimal_text((2 * scaled + traded) // (2 * traded), instrument.tick_decimals + AVERAGE_DECIMALS)
    return text.rstrip("0").rstrip(".")


def _digits(text: str) -> tuple[int, int]:
    """All digits of a decimal number as one signed integer, and how many of them are decimals."""
    whole, point, fraction = text.removeprefix("-").partition(".")
    digits = whole + fraction
    if not (whole and digits.isdigit() and digits.isascii() and bool(point) == bool(fraction)):
        raise NotDecimalError(f'expected a decimal number such as "1.5", got {text!r}')
    if len(digits) > DECIMAL_CHARS_MAX:
        raise TooLargeError(f"expected at most {DECIMAL_CHARS_MAX} digits, got {len(digits)}")
    return (-int(digits) if text[0] == "-" else int(digits)), len(fraction)
