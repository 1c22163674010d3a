"""The only reader and writer of flow files: JSON Lines, one command a line, decimals as strings.

    text --parse--> Line --encode--> text                parse(encode(line)) == line

Rules
- A line is valid or it raises LineError, which names the field, what was expected and what came.
- Unknown fields, wrong types and unknown words are errors: a typo never changes an order silently.
- Decimals are text, kept as text: ticks and lots need the instrument, which a line does not know.
  A JSON integer is taken for a decimal; a JSON number with a fraction or an exponent is refused,
  because readers disagree about which number it is.
- Which terms go together (post-only with IOC, a date in the past, ...) is for the venue to judge, which
  answers with an OrderRejected; a line says only what was asked.

A field's type below holds the pattern and the sentence about it, once: msgspec checks by the pattern at
the speed of C; only a line that it refuses is read again, field by field, to accept the rarer spellings
(integers as decimals, RFC 3339 dates) or to say what is wrong.
"""

import json
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from engines.messages import CLIENT_ORDER_ID_CHARS_MAX, INT_MAX
from gateways.names import DECIMAL_CHARS_MAX, NAME_CHARS_MAX
from gateways.times import rfc3339_ns
from sequencer.errors import IslandError

SHOWN_CHARS_MAX: Final = 60
_INEXACT: Final = "a JSON number with a fraction or an exponent is not exact: write it as a string"
_UNFIT: Final = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
_DIGITS: Final = rf"(?=.{{1,{DECIMAL_CHARS_MAX}}}\Z)[0-9]+(\.[0-9]+)?\Z"
_NONZERO: Final = r"(?=[0.]*[1-9])"


def _text(chars_max: int, what: str) -> Meta:
    pattern = rf"\A[^{_UNFIT}]{{1,{chars_max}}}\Z"
    return Meta(pattern=pattern, description=f"{what} of 1 to {chars_max} characters")


def _decimal(sign: str, what: str) -> Meta:
    return Meta(pattern=rf"\A{sign}{_DIGITS}", description=what)


Name = Annotated[str, _text(NAME_CHARS_MAX, "a client's name")]
ClientOrderId = Annotated[str, _text(CLIENT_ORDER_ID_CHARS_MAX, "an order id")]
Symbol = Annotated[str, _text(NAME_CHARS_MAX, "an instrument's symbol")]
Currency = Annotated[str, _text(NAME_CHARS_MAX, "a currency")]
Positive = Annotated[str, _decimal(_NONZERO, 'a positive decimal string such as "1.5"')]
Amount = Annotated[str, _decimal("", 'a decimal string, zero or more, such as "1000.50"')]
Change = Annotated[str, _decimal("-?" + _NONZERO, 'a decimal string such as "-250.5"')]
Time = Annotated[int, Meta(ge=0, le=INT_MAX, description='a date such as "2026-05-02T03:00:00Z" or integer ns')]
SideWord = Literal["buy", "sell"]
OrderTypeWord = Literal["limit", "market"]
TimeInForceWord = Literal["gtc", "ioc", "fok", "gtd"]
SelfTradeWord = Literal["allow", "cancel_newest", "cancel_oldest", "cancel_both"]
DECIMALS: Final = (Positive, Amount, Change)


class LineError(IslandError):
    """A line of a flow file that is not a command; nothing of it was submitted."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(f"line {number}: {message}")
        self.number = number
        self.message = message


class Line(msgspec.Struct, tag=True, forbid_unknown_fields=True, omit_defaults=True, frozen=True, gc=False):
    """One valid line. Decimals are text, words are as written in the file, times are ns since the epoch."""

    @property
    def kind(self) -> str:
        """What the line's `type` says: the name of its class."""
        return type(self).__name__

    @property
    def issuer(self) -> str | None:
        """The client that issues the command; None where an operator does."""
        return None


class OrderLine(Line, frozen=True):
    """What a client asks of one of its orders."""

    client: Name
    client_order_id: ClientOrderId
    symbol: Symbol

    @property
    def issuer(self) -> str | None:
        """The order's client."""
        return self.client


class NewOrder(OrderLine, frozen=True):
    """Enter an order. A market order's price is its protection price."""

    side: SideWord
    price: Positive
    quantity: Positive
    order_type: OrderTypeWord = "limit"
    time_in_force: TimeInForceWord = "gtc"
    expire_at: Time = 0
    post_only: bool = False
    self_trade: SelfTradeWord = "allow"


class ReplaceOrder(OrderLine, frozen=True):
    """Give a live order a new price and a new total quantity, and a new id if one is given."""

    price: Positive
    quantity: Positive
    new_client_order_id: ClientOrderId | None = None


class CancelOrder(OrderLine, frozen=True):
    """Cancel what is left of a live order."""


class CancelAll(Line, frozen=True):
    """`client` (or an operator) cancels the orders of `account` (or of all) in `symbol` (or everywhere)."""

    client: Name | None = None
    account: Name | None = None
    symbol: Symbol | None = None

    @property
    def issuer(self) -> str | None:
        """The client that asks, None for an operator."""
        return self.client


class SetInstrument(Line, frozen=True):
    """Define an instrument, or move the price band of a known one."""

    symbol: Symbol
    tick: Positive
    lot: Positive
    currency: Currency
    price_low: Positive | None = None
    price_high: Positive | None = None


class HaltInstrument(Line, frozen=True):
    """Refuse new orders and replaces in an instrument."""

    symbol: Symbol


class ResumeInstrument(Line, frozen=True):
    """End a halt."""

    symbol: Symbol


class SetCredit(Line, frozen=True):
    """An operator sets a client's limit in a currency."""

    client: Name
    currency: Currency
    limit: Amount


class AdjustCredit(Line, frozen=True):
    """An operator adds a positive or negative amount to a client's limit."""

    client: Name
    currency: Currency
    amount: Change


class Settle(Line, frozen=True):
    """An operator frees an amount of a client's used credit."""

    client: Name
    currency: Currency
    amount: Positive


class BlockClient(Line, frozen=True):
    """An operator cancels all orders of a client and refuses its new ones."""

    client: Name


class UnblockClient(Line, frozen=True):
    """An operator ends a block."""

    client: Name


AnyLine = (
    NewOrder | ReplaceOrder | CancelOrder | CancelAll | SetInstrument | HaltInstrument | ResumeInstrument
    | SetCredit | AdjustCredit | Settle | BlockClient | UnblockClient
)  # fmt: skip
TYPES: Final[dict[str, type[Line]]] = {line.__name__: line for line in get_args(AnyLine)}
_DECODER: Final["msgspec.json.Decoder[AnyLine]"] = msgspec.json.Decoder(AnyLine)
_ENCODER: Final = msgspec.json.Encoder()


def parse(text: str, number: int) -> AnyLine:
    """Read the text of line `number` (from 1). Raises LineError."""
    try:
        return _DECODER.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _parse_by_field(text, number)


def encode(line: Line) -> str:
    """The text of a line, without a line break; what is at its default is left out."""
    return _ENCODER.encode(line).decode()


class _Fraction(str):
    """The text of a JSON number that is not an integer."""

    __slots__ = ()


def _parse_by_field(text: str, number: int) -> AnyLine:
    """Read a line that is spelled in a rarer way, or say what is wrong with it."""
    found = _read_object(text, number)
    kind = found.pop("type", None)
    if not isinstance(kind, str) or kind not in TYPES:
        raise LineError(number, f"type: expected one of {', '.join(TYPES)}, got {_shown(kind)}")
    rules, required = _RULES[kind], _required(TYPES[kind])
    for name in found:
        if name not in rules:
            raise LineError(number, f"{_clip(name)}: {kind} has no such field, only {', '.join(rules)}")
    for name, rule in rules.items():
        if name in found:
            found[name] = _check(number, name, rule, found[name])
        elif name in required:
            hint = " (a market order's is its protection price)" if name == "price" else ""
            raise LineError(number, f"{name}: missing; expected {_description(rule)}{hint}")
    line: AnyLine = msgspec.convert({"type": kind, **found}, AnyLine)
    return line


def _required(line: type[Line]) -> tuple[str, ...]:
    """The fields that have no default; they come first."""
    return line.__struct_fields__[: len(line.__struct_fields__) - len(line.__struct_defaults__)]


def _read_object(text: str, number: int) -> dict[str, Any]:
    try:
        found: Any = json.loads(text, parse_float=_Fraction, parse_constant=_Fraction)
    except (ValueError, RecursionError) as error:
        raise LineError(number, f"expected a JSON object, got {_clip(text.strip()) or 'nothing'} ({error})") from None
    if not isinstance(found, dict):
        raise LineError(number, f'expected a JSON object {{"type":...}}, got {_shown(found)}')
    return found


def _check(number: int, name: str, rule: Any, value: Any) -> Any:
    """The value as a line holds it. Raises LineError."""
    given, plain = value, _without_none(rule)
    if plain in DECIMALS and type(value) is int:
        value = str(value)
    elif plain is Time and type(value) is str:
        value = rfc3339_ns(value)
    elif type(value) is _Fraction:
        raise LineError(number, f"{name}: expected {_description(rule)}, got {_clip(value)} ({_INEXACT})")
    try:
        return msgspec.convert(value, rule)
    except msgspec.ValidationError:
        raise LineError(number, f"{name}: expected {_description(rule)}, got {_shown(given)}") from None


def _rules(line: type[Line]) -> dict[str, Any]:
    """What each field of a line has to be."""
    hints = get_type_hints(line, include_extras=True)
    return {name: hints[name] for name in line.__struct_fields__}


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in {Union, UnionType}:
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    return hint


def _description(rule: Any) -> str:
    plain = _without_none(rule)
    if plain is bool:
        return "true or false"
    if get_origin(plain) is Literal:
        return " or ".join(f'"{word}"' for word in get_args(plain))
    return str(plain.__metadata__[0].description)


def _shown(value: Any) -> str:
    """A value as JSON, on one short line."""
    return _clip(json.dumps(value, ensure_ascii=False))


def _clip(text: str) -> str:
    """The beginning of a text, such that any terminal can show it."""
    clipped = text if len(text) <= SHOWN_CHARS_MAX else text[:SHOWN_CHARS_MAX] + "..."
    return "".join([char if char.isprintable() else repr(char)[1:-1] for char in clipped])


_RULES: Final = {kind: _rules(line) for kind, line in TYPES.items()}
