"""What travels between an order client and the order gateway.

    client   --[Logon, Logoff, Heartbeat, AskOrders, command, ...]--> gateway
             <--[LoggedOn, LoggedOff, Expected, Busy, Reject,
                 Heartbeat, Listed, OrdersAre, report, ...]--

A ZeroMQ message has one frame: a msgpack array of messages, each an array that begins with its tag.
Commands are the messages of the log (engines.messages, tags 1 to 24); reports are gateways.events
(tags 41 to 74). The rest is here.

Rules
- A connection logs on one client or more; a client is logged on once: the newest logon wins.
- Each client numbers its commands 1, 2, 3, ... for ever. A number is taken once; a repeat of one that
  was taken gets its first answer again.
- Every command that is taken gets exactly one answer: the report whose `number` is the command's.
- A command that is not taken is refused by Expected, Busy or Reject, which name the number to go on
  with. It is said once: what follows on the connection is dropped until that command comes again.
  So the commands of one connection are taken in the order in which it sent them, over all its clients.
- Reports of a client come in log order. Those of one place in the log (both sides of a trade with
  oneself) come in one frame. `last_seen` of a Logon is the `sequence` of the last one that was seen:
  all later ones follow the LoggedOn.
- Each side sends something at least every HEARTBEAT_MS while the other is to believe it alive.
"""

from enum import IntEnum
from typing import Final

import msgspec

from engines.messages import Command
from gateways.events import Report
from gateways.names import Instrument

VERSION: Final = 2
OPERATOR: Final = "operator"
OPERATOR_PREFIX: Final = "operator."

"""The reserved client name that alone may send commands on instruments, accounts and other clients."""
HEARTBEAT_MS: Final = 1000
LATEST: Final = -1
"""As `last_seen`: no reports of the past, only what comes from now on."""
FRAME_BYTES_MAX: Final = 256 << 10
"""Of a client: 256 commands with the longest ids there are."""


class LogoffReason(IntEnum):
    """Why a client is no longer logged on here."""

    REQUESTED = 1
    TAKEN_OVER = 2
    SILENT = 3
    NOT_LOGGED_ON = 4
    REFUSED = 5


class Frame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Root of the session's own messages. Field order is the wire format: append only, with defaults."""


class Logon(Frame, frozen=True, tag=100):
    """Log a client on by name; an unknown name is registered first.

    With `cancel_on_disconnect` all its orders are canceled when it is logged on here no longer: it logged off, or its
    connection is gone or silent. A gateway that dies cancels nothing.
    """

    client: str
    last_seen: int = LATEST
    version: int = VERSION
    cancel_on_disconnect: bool = False


class Logoff(Frame, frozen=True, tag=101):
    """Send this client's reports here no longer."""

    client_id: int


class Heartbeat(Frame, frozen=True, tag=102):
    """I am alive."""


class AskOrders(Frame, frozen=True, tag=103):
    """Which orders of the client can still trade: all, or the one of this client order id. OrdersAre answers."""

    client_id: int
    request: int
    client_order_id: str = ""


class OrderState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How an order stands; what has traded of it did for `notional` ticks x lots (text: more than 63 bits).

    What has traded is `quantity` - `leaves` + `mended`: corrections of trades leave the book as it is.
    """

    order_id: int
    client_order_id: str
    instrument_id: int
    side: int
    price: int
    quantity: int
    leaves: int
    notional: int | str
    mended: int = 0


class LoggedOn(Frame, frozen=True, tag=110):
    """The client's commands are taken from `last_number` + 1 on.

    At most `max_in_flight` of them may be unanswered, and `max_in_flight_total` over all clients of the
    gateway. `position` is the place in the log up to which the gateway has seen everything. Over the key of the
    connection at most `max_per_s` commands a second are taken; 0: as many as come.
    """

    client_id: int
    client: str
    last_number: int
    position: int
    max_in_flight: int
    max_in_flight_total: int
    instruments: list[Instrument]
    max_per_s: int = 0


class LoggedOff(Frame, frozen=True, tag=111):
    """No client of that name and id is logged on on this connection (any longer); id 0: none at all is."""

    client_id: int
    client: str
    reason: int
    text: str


class Expected(Frame, frozen=True, tag=112):
    """A gap: go on with this number."""

    client_id: int
    next_number: int


class Busy(Frame, frozen=True, tag=113):
    """Too much: go on with this number, after `wait_ms`, or where that is 0 after answers, or a little.

    `text` says why, where it is not that too much is in flight.
    """

    client_id: int
    next_number: int
    wait_ms: int = 0
    text: str = ""


class Reject(Frame, frozen=True, tag=114):
    """A command (or, with client id 0, a frame) that can never be taken as it is; the text says why."""

    client_id: int
    next_number: int
    text: str


class Listed(Frame, frozen=True, tag=115):
    """An instrument is new or has changed its band."""

    instrument: Instrument


class OrdersAre(Frame, frozen=True, tag=116):
    """Orders as they stand at the place `position` of the log, the oldest first; more follow, unless it is the last."""

    client_id: int
    request: int
    position: int
    orders: list[OrderState]
    is_last: bool


FromClient = Logon | Logoff | Heartbeat | AskOrders | Command
FromGateway = LoggedOn | LoggedOff | Heartbeat | Expected | Busy | Reject | Listed | OrdersAre | Report

ENCODER: Final = msgspec.msgpack.Encoder()
FROM_CLIENT: Final = msgspec.msgpack.Decoder(list[FromClient])
"""Reads a client's frame; raises msgspec.DecodeError."""
FROM_GATEWAY: Final = msgspec.msgpack.Decoder(list[FromGateway])
"""Reads a gateway's frame; raises msgspec.DecodeError."""


def elements(array: bytes) -> bytes:
    """The elements of an encoded array, without its header: what `frame` puts together again."""
    first = array[0]
    if first & 0xF0 == 0x90:
        return array[1:]
    assert first in (0xDC, 0xDD), f"expected a msgpack array, got {array[:5]!r}"
    return array[3:] if first == 0xDC else array[5:]


def frame(count: int, parts: list[bytes]) -> bytes:
    """One array of `count` elements out of parts that were encoded before."""
    return b"".join((b"\xdd", count.to_bytes(4, "big"), *parts))


def is_operator(name: str) -> bool:
    """Whether this client may act on instruments, accounts and other clients."""
    return name == OPERATOR or name.startswith(OPERATOR_PREFIX)
