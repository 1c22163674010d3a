"""The venue's language: every message that is ever in the log, and nothing else.

A message is an array-like tagged struct; a payload is a msgpack array of messages, encoded and
decoded a whole batch per call. All values are integers: prices in ticks, quantities in lots, times
in ns since the epoch; money is an integer with a number of decimals beside it.

    channel    written by  messages
    COMMANDS   gateways    what clients and operators ask for
    DECISIONS  credit      which orders of a run of commands are refused; what happened to accounts
    RESULTS    matching    what happened to orders and instruments
    OPERATIONS operators   what replicas are to do; RefuseUndecided is for matching, CorrectTrade for credit
    STATES     replicas    the digest of a shard's state at a marker

Every command begins with the client that issues it and that client's command number (1, 2, 3, ...).
`order_id` is the sequence number of an order's NewOrder; `by` is the sequence number of the command
that an event answers or follows from.
"""

from enum import IntEnum
from typing import Final

import msgspec

COMMANDS: Final = 1
DECISIONS: Final = 2
RESULTS: Final = 3
OPERATIONS: Final = 4
STATES: Final = 5

CLIENT_ORDER_ID_CHARS_MAX: Final = 64
INT_MAX: Final = (1 << 63) - 1


class Side(IntEnum):
    """Which way an order trades."""

    BUY = 1
    SELL = 2


class OrderType(IntEnum):
    """LIMIT trades at its price or better. MARKET does too (its price is its protection), but never rests."""

    LIMIT = 0
    MARKET = 1


class TimeInForce(IntEnum):
    """How long an order lives: until canceled, not at all, all at once or not at all, until a date."""

    GTC = 0
    IOC = 1
    FOK = 2
    GTD = 3


class SelfTrade(IntEnum):
    """What an incoming order does when it meets an order of its own client."""

    ALLOW = 0
    CANCEL_NEWEST = 1
    CANCEL_OLDEST = 2
    CANCEL_BOTH = 3


class Reason(IntEnum):
    """Why something was refused or canceled. The lower-case name is what users see."""

    REQUESTED = 1
    IMMEDIATE_OR_CANCEL = 2
    FILL_OR_KILL = 3
    MARKET_REMAINDER = 4
    SELF_TRADE = 5
    MASS_CANCEL = 6
    CLIENT_BLOCKED = 7
    REPLACED_BELOW_TRADED = 8
    DUPLICATE_CLIENT_ORDER_ID = 20
    UNKNOWN_ORDER = 21
    UNKNOWN_INSTRUMENT = 22
    INSTRUMENT_HALTED = 23
    POST_ONLY_WOULD_TRADE = 24
    PRICE_OUTSIDE_BAND = 25
    INVALID_PRICE = 26
    INVALID_QUANTITY = 27
    INVALID_TERMS = 28
    ALREADY_EXPIRED = 29
    NO_CREDIT = 40
    CREDIT_EXCEEDED = 41
    UNKNOWN_CLIENT = 42
    INVALID_AMOUNT = 43
    UNDECIDED = 44
    INSTRUMENT_DIFFERS = 60
    INVALID_INSTRUMENT = 61
    UNDECODABLE = 80
    FALSE_COUNT = 81
    SKIPPED = 82


class Message(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    """Root of all messages. Field order is the wire format: append only, with defaults.

    More elements than fields make a payload unreadable: a reader that skipped them would depend on its
    version, and on how deep it may nest.
    """


# --- commands ---------------------------------------------------------------------------------


class NewOrder(Message, tag=1):
    """Enter an order; its sequence number becomes its order id."""

    client_id: int
    number: int
    instrument_id: int
    client_order_id: str
    side: int
    price: int
    quantity: int
    order_type: int = 0
    time_in_force: int = 0
    expire_at_ns: int = 0
    post_only: bool = False
    self_trade: int = 0


class ReplaceOrder(Message, tag=2):
    """Give a live order a new price and a new *total* quantity (what has traded counts)."""

    client_id: int
    number: int
    instrument_id: int
    client_order_id: str
    price: int
    quantity: int
    new_client_order_id: str = ""


class CancelOrder(Message, tag=3):
    """Cancel what is left of a live order. `request_id` is the client's own, for the answer."""

    client_id: int
    number: int
    instrument_id: int
    client_order_id: str
    request_id: str = ""


class CancelAll(Message, tag=4):
    """Cancel all live orders of `account_id` (0: of everybody) in `instrument_id` (0: in all); as above."""

    client_id: int
    number: int
    account_id: int = 0
    instrument_id: int = 0
    request_id: str = ""


class RegisterClient(Message, tag=10):
    """Give a client name its id: the next small integer. A known name keeps the one it has."""

    client_id: int
    number: int
    name: str


class SetInstrument(Message, tag=11):
    """Define an instrument, or move the price band of a known one (its other terms never change).

    The tick is `tick` x 10^-tick_decimals of the currency, the lot likewise. The band is the lowest
    and the highest price of an order, in ticks; 0 means none.
    """

    client_id: int
    number: int
    symbol: str
    currency: str
    tick: int
    tick_decimals: int
    lot: int
    lot_decimals: int
    band_low: int = 0
    band_high: int = 0


class HaltInstrument(Message, tag=12):
    """Refuse new orders and replaces in an instrument; cancels still work."""

    client_id: int
    number: int
    instrument_id: int


class ResumeInstrument(Message, tag=13):
    """End a halt."""

    client_id: int
    number: int
    instrument_id: int


class SetCredit(Message, tag=20):
    """Set the limit of an account's currency to `amount` x 10^-decimals."""

    client_id: int
    number: int
    account_id: int
    currency: str
    amount: int
    decimals: int


class AdjustCredit(Message, tag=21):
    """Add a positive or negative amount to a limit."""

    client_id: int
    number: int
    account_id: int
    currency: str
    amount: int
    decimals: int


class Settle(Message, tag=22):
    """Free an amount of used credit, because its trades were paid for."""

    client_id: int
    number: int
    account_id: int
    currency: str
    amount: int
    decimals: int


class BlockClient(Message, tag=23):
    """Kill switch: cancel all orders of a client and refuse its new ones."""

    client_id: int
    number: int
    account_id: int


class UnblockClient(Message, tag=24):
    """End a block."""

    client_id: int
    number: int
    account_id: int


class Tick(Message, tag=30):
    """Time passed: its entry's time expires orders where no other command comes along."""


# --- decisions (credit) -----------------------------------------------------------------------


class CreditDecisions(Message, tag=40):
    """Credit has decided every order and replace among the `count` messages from `first_sequence` on.

    `refused` lists (offset from first_sequence, Reason), ascending; all others are authorized. Where credit has several
    shards, it is about the clients of `shard` of `shards`, and says so of all of theirs that come before as well.
    """

    first_sequence: int
    count: int
    refused: list[tuple[int, int]] = []
    shard: int = 0
    shards: int = 1


class ClientRegistered(Message, tag=41):
    """`registered_id` is the id of `name`, from now on and for ever."""

    by: int
    registered_id: int
    name: str


class CreditSet(Message, tag=42):
    """A limit is now `amount` x 10^-decimals (after SetCredit or AdjustCredit)."""

    by: int
    account_id: int
    currency: str
    amount: int
    decimals: int


class CreditSettled(Message, tag=43):
    """So much used credit was freed."""

    by: int
    account_id: int
    currency: str
    amount: int
    decimals: int


class ClientBlocked(Message, tag=44):
    """The kill switch is on."""

    by: int
    account_id: int


class ClientUnblocked(Message, tag=45):
    """The kill switch is off."""

    by: int
    account_id: int


class CreditRejected(Message, tag=46):
    """An account command was refused and changed nothing."""

    by: int
    reason: int


class TradeCorrected(Message, tag=47):
    """For this side of the trade at sequence number `trade` it was one of `quantity` at `price`; 0 lots: it is busted.

    The books stay as they are. `previous_price` and `previous_quantity` are what it was before.
    """

    by: int
    trade: int
    account_id: int
    instrument_id: int
    side: int
    price: int
    quantity: int
    previous_price: int
    previous_quantity: int


# --- results (matching) -----------------------------------------------------------------------


class OrderAccepted(Message, tag=60):
    """The order is live; its trades, if any, follow."""

    order_id: int


class OrderRejected(Message, tag=61):
    """The order never lived."""

    order_id: int
    reason: int


class OrderCanceled(Message, tag=62):
    """`quantity` lots were left and are gone; `by` is the command that did it."""

    order_id: int
    by: int
    quantity: int
    reason: int


class OrderReplaced(Message, tag=63):
    """The order now has this price, total and leaves quantity; it kept its place in the queue or not."""

    order_id: int
    by: int
    price: int
    quantity: int
    leaves: int
    kept_priority: bool


class OrderExpired(Message, tag=64):
    """`quantity` lots were left when the order's time came; `by` is the command or tick in hand."""

    order_id: int
    by: int
    quantity: int


class CancelRejected(Message, tag=65):
    """Nothing to cancel."""

    by: int
    reason: int


class ReplaceRejected(Message, tag=66):
    """The order, if it lives, is as it was."""

    by: int
    reason: int


class Trade(Message, tag=67):
    """Two orders traded at the maker's price; the taker is the aggressor."""

    instrument_id: int
    price: int
    quantity: int
    maker_order_id: int
    taker_order_id: int


class MassCanceled(Message, tag=68):
    """A CancelAll has been carried out everywhere; it canceled `count` orders.

    Where it is for several shards, each says it of itself: it is `shard` of `shards`.
    """

    by: int
    count: int
    shard: int = 0
    shards: int = 1


class InstrumentSet(Message, tag=70):
    """The instrument's terms from now on; its id is a small integer, the same for ever."""

    by: int
    instrument_id: int
    symbol: str
    currency: str
    tick: int
    tick_decimals: int
    lot: int
    lot_decimals: int
    band_low: int
    band_high: int


class InstrumentHalted(Message, tag=71):
    """New orders are refused from here."""

    by: int
    instrument_id: int


class InstrumentResumed(Message, tag=72):
    """New orders are taken again."""

    by: int
    instrument_id: int


class InstrumentRejected(Message, tag=73):
    """A SetInstrument, HaltInstrument or ResumeInstrument was refused and changed nothing."""

    by: int
    reason: int


class BatchRejected(Message, tag=74):
    """A batch of commands could not be read (Reason says why); all of it has no effect."""

    first_sequence: int
    count: int
    reason: int


class ShardClosed(Message, tag=76):
    """The last output of a shard, of whatever machine: the Reshard at `by` has ended its time."""

    by: int


# --- operations (operators) -------------------------------------------------------------------


class TakeSnapshot(Message, tag=90):
    """A marker: the replicas of `machine` (empty: of all) tell the digest of their state behind this entry.

    With `keep` they bring the state itself to the nodes as well.
    """

    machine: str = ""
    keep: bool = True


class ScheduleSnapshots(Message, tag=91):
    """From here on the end of an entry is a marker when so many messages, or so much sequenced time, have passed.

    It counts from the last marker of the shard; 0 means never.
    """

    every_messages: int
    every_ns: int


class DetachReplica(Message, tag=92):
    """The replica of this name ends itself, if it runs."""

    name: str


class SkipMessage(Message, tag=93):
    """The replicas of `shard` answer the message at `sequence` with a refusal, now and whenever the log is replayed.

    It is decided where the shard's incarnation `incarnation` is opened: void unless the shard's last output in the log
    is number `outputs` there. `reason` is for people.
    """

    shard: str
    sequence: int
    incarnation: int
    outputs: int
    reason: str = ""


class Reshard(Message, tag=94):
    """From behind this entry on `machine` has so many shards; see engines/sharding.py."""

    machine: str
    shards: int


class RefuseUndecided(Message, tag=95):
    """Every order that shard `shard` of `shards` of credit has not decided before this counts as refused.

    For when that shard stays down. What it decides of these later is void.
    """

    shard: int = 0
    shards: int = 1
    reason: str = ""


class Activate(Message, tag=96):
    """From behind this entry on `machine` follows the rules of `version`, in all its replicas; see engines/machine.py.

    Void unless that is a later one than is in force. The first is 1.
    """

    machine: str
    version: int


class TradedOrder(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    """One side of a trade: its order as it stood when somebody looked, with all trades as they had been mended.

    `traded` of `quantity` lots, for `notional` ticks x lots (text: more than 63 bits).
    """

    order_id: int
    client_order_id: str
    quantity: int
    traded: int
    notional: int | str
    is_expired: bool = False


class CorrectTrade(Message, tag=97):
    """Mend the trade at sequence number `trade`: it was one of `quantity` lots at `price`; 0 lots bust it.

    Credit moves what was used, and says so to both sides; the books stay as they are. Void where credit knows that it
    was mended, and its price and quantity are not `previous_price` and `previous_quantity` any more. For gateways,
    which keep no order that has ended, `bought` and `sold` say whose trade it was.
    """

    trade: int
    instrument_id: int
    buyer_id: int
    seller_id: int
    previous_price: int
    previous_quantity: int
    price: int
    quantity: int
    reason: str = ""
    bought: TradedOrder | None = None
    sold: TradedOrder | None = None


class OperatorAction(Message, tag=98):
    """An operator asked for something, and why: for who reads the log later. It changes nothing.

    What was asked follows in the log, where it is sequenced at all. `details` is JSON.
    """

    operator: str
    action: str
    details: str
    reason: str


# --- states (replicas) ------------------------------------------------------------------------


class StateDigest(Message, tag=100):
    """SHA-256 of the shard's snapshot at its next marker: the state behind `position`, with so many outputs made.

    Empty where that is not the shard's state any more: nothing is vouched for.
    """

    position: int
    outputs: int
    digest: bytes


Command = (
    NewOrder | ReplaceOrder | CancelOrder | CancelAll | RegisterClient | SetInstrument | HaltInstrument
    | ResumeInstrument | SetCredit | AdjustCredit | Settle | BlockClient | UnblockClient | Tick
)  # fmt: skip
Decision = (
    CreditDecisions
    | ClientRegistered
    | CreditSet
    | CreditSettled
    | ClientBlocked
    | ClientUnblocked
    | CreditRejected
    | TradeCorrected
    | ShardClosed
)
Result = (
    OrderAccepted | OrderRejected | OrderCanceled | OrderReplaced | OrderExpired | CancelRejected | ReplaceRejected
    | Trade | MassCanceled | InstrumentSet | InstrumentHalted | InstrumentResumed | InstrumentRejected | BatchRejected
    | ShardClosed
)  # fmt: skip
Operation = (
    TakeSnapshot | ScheduleSnapshots | DetachReplica | SkipMessage | Reshard | RefuseUndecided | Activate | CorrectTrade
    | OperatorAction
)  # fmt: skip

DECODERS: Final[dict[int, "msgspec.msgpack.Decoder[list[Message]]"]] = {
    COMMANDS: msgspec.msgpack.Decoder(list[Command]),
    DECISIONS: msgspec.msgpack.Decoder(list[Decision]),
    RESULTS: msgspec.msgpack.Decoder(list[Result]),
    OPERATIONS: msgspec.msgpack.Decoder(list[Operation]),
    STATES: msgspec.msgpack.Decoder(list[StateDigest]),
}
"""For each channel, what reads a whole payload; raises msgspec.DecodeError."""

ENCODER: Final = msgspec.msgpack.Encoder()
"""`encode(list of messages)` is a payload."""


def decode(channel: int, payload: bytes | memoryview) -> list[Message]:
    """All messages of a payload. Raises msgspec.DecodeError, or KeyError for a channel that is not ours."""
    return DECODERS[channel].decode(payload)


def describe(channel: int, payload: bytes | memoryview) -> list[tuple[str, dict[str, object]]]:
    """Type and fields of each message, for people; empty for what is not ours or cannot be read."""
    try:
        messages = decode(channel, payload)
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError):
        return []
    return [shown(message) for message in messages]


def shown(message: Message) -> tuple[str, dict[str, object]]:
    """Type and fields of a message; digests as people write them."""
    fields = msgspec.structs.asdict(message)
    plain = {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
    return type(message).__name__, plain
