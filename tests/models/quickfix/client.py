"""A FIX 4.4 client for integration tests of a gateway: it sends, records what it receives, and waits.

A client made again with the same directory goes on with the same sequence numbers. What QuickFIX asks of its user is
told, and seen to, in engine.py.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Self, TypeVar

import quickfix

from tests.models.quickfix.engine import Engine

T = TypeVar("T")
Field = tuple[int, object]
REPEAT_S = 0.05  # a condition may depend on more than the session's events


def group(count: int, *entries: Sequence[Field]) -> Field:
    """Returns a repeating group as a field for `send`: group(267, [(269, "0")], [(269, "1")])."""
    return count, entries


def _text(value: object) -> str:
    """Writes a value as FIX does; None stands for the present time."""
    if value is None:
        return datetime.now(UTC).strftime("%Y%m%d-%H:%M:%S.%f")[:-3]
    if isinstance(value, bool):
        return "NY"[value]
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _message(fields: Iterable[Field]) -> quickfix.Message:
    """Makes a message of header and body fields; the engine adds the rest of the header."""
    message = quickfix.Message()
    for tag, value in fields:
        if isinstance(value, tuple):
            for entry in value:
                element = quickfix.Group(tag, entry[0][0])
                for inner, text in entry:
                    element.setField(inner, _text(text))
                message.addGroup(element)
        elif quickfix.Message.isHeaderField(tag):
            message.getHeader().setField(tag, _text(value))
        else:
            message.setField(tag, _text(value))
    return message


class Received:
    """A received message, its fields in the engine's order: header, body by tag (groups after their count), trailer."""

    def __init__(self, raw: str) -> None:
        split = (field.partition("=") for field in raw.split("\x01") if field)
        self.pairs: list[tuple[int, str]] = [(int(tag), value) for tag, _, value in split]
        self.fields: dict[int, str] = dict(reversed(self.pairs))  # the first value of a tag wins
        self.type: str = self.fields[35]
        self.poss_dup: bool = self.fields.get(43) == "Y"

    def __getitem__(self, tag: int) -> str:
        return self.fields[tag]

    def get(self, tag: int, default: str | None = None) -> str | None:
        """Returns the first value of a tag, or the default."""
        return self.fields.get(tag, default)

    def __repr__(self) -> str:
        return "|".join(f"{tag}={value}" for tag, value in self.pairs)


class FixClient:
    """One FIX session to 127.0.0.1:port. Entering it starts to connect, leaving it logs out.

    With `authorities`, a PEM file, it speaks TLS, and trusts what that vouches for.
    """

    def __init__(
        self,
        port: int,
        sender: str,
        target: str = "ISLAND",
        *,
        directory: Path,
        heartbeat_s: int = 30,
        reset: bool = False,
        authorities: Path | None = None,
    ) -> None:
        self.received: list[Received] = []
        settings = {"port": port, "heartbeat_s": heartbeat_s, "reset": _text(reset)}
        self._engine = Engine(self._deliver, sender, target, directory=directory, authorities=authorities, **settings)
        self.errors = self._engine.errors

    def __enter__(self) -> Self:
        self._engine.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _deliver(self, raw: str) -> None:
        self.received.append(Received(raw))

    @property
    def is_logged_on(self) -> bool:
        """Whether both sides have sent a Logon on the present connection."""
        return self._engine.is_logged_on()

    @property
    def next_sender(self) -> int:
        """The sequence number of the next message sent."""
        return int(self._engine.call("getExpectedSenderNum"))

    @next_sender.setter
    def next_sender(self, number: int) -> None:
        self._engine.call("setNextSenderMsgSeqNum", number)

    @property
    def next_target(self) -> int:
        """The sequence number expected of the next message received."""
        return int(self._engine.call("getExpectedTargetNum"))

    @next_target.setter
    def next_target(self, number: int) -> None:
        self._engine.call("setNextTargetMsgSeqNum", number)

    def await_(self, condition: Callable[[], T], what: str, timeout_s: float = 20) -> T:
        """Returns the condition's first true value; it is evaluated upon each event of the session."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                events = self._engine.event_log.read_text().splitlines()[-5:]
                last = f"last received: {self.received[-5:]}; errors: {self.errors}; last events: {events}"
                raise TimeoutError(f"no {what} in {timeout_s} s; {last}")
            with self._engine.changed:
                self._engine.changed.wait(REPEAT_S)
        return value

    def await_logon(self, timeout_s: float = 20) -> None:
        """Waits until the session is logged on."""
        self.await_(lambda: self.is_logged_on, "logon", timeout_s)

    def reports(self, cl_ord_id: str | None = None) -> list[Received]:
        """Returns the ExecutionReports received, those of one order or all."""
        return [each for each in list(self.received) if each.type == "8" and cl_ord_id in (None, each.get(11))]

    def send(self, fields: Sequence[Field]) -> int:
        """Sends a message, its first field (35, type), and returns its sequence number.

        A value of None is replaced by the present time, for TransactTime(60). While logged off, the message is only
        stored: the other side finds the gap at the next logon, and asks for it.
        """
        if fields[0][0] != 35:
            raise ValueError("the first field is MsgType(35)")
        return self._engine.send(_message(fields))

    def _send_order(self, kind: str, fields: Sequence[Field], extra: dict[str, object]) -> int:
        named = [(getattr(quickfix, name)().getTag(), value) for name, value in extra.items()]
        return self.send([(35, kind), *fields, (60, None), *named])

    def order(self, cl_ord_id: str, side: str, symbol: str, quantity: object, price: object, **extra: object) -> int:
        """Sends a NewOrderSingle, a market order where the price is None; `extra` by FIX name: TimeInForce="3"."""
        terms = [(11, cl_ord_id), (54, side), (55, symbol), (38, quantity)]
        return self._send_order("D", terms + _priced(price), extra)

    def cancel(self, cl_ord_id: str, orig: str, side: str, symbol: str, **extra: object) -> int:
        """Sends an OrderCancelRequest."""
        return self._send_order("F", [(11, cl_ord_id), (41, orig), (54, side), (55, symbol)], extra)

    def replace(
        self, cl_ord_id: str, orig: str, side: str, symbol: str, quantity: object, price: object, **extra: object
    ) -> int:
        """Sends an OrderCancelReplaceRequest."""
        terms = [(11, cl_ord_id), (41, orig), (54, side), (55, symbol), (38, quantity)]
        return self._send_order("G", terms + _priced(price), extra)

    def logout(self, timeout_s: float = 20) -> None:
        """Logs out, and stays disconnected until `logon`."""
        self._engine.logout()
        self.await_(lambda: self._engine.idle, "logout", timeout_s)

    def logon(self) -> None:
        """Connects again, after `logout` or `kill_connection`."""
        self._engine.resume()

    def kill_connection(self, *, reconnect: bool = True) -> None:
        """Breaks the TCP connection without a logout; the client connects again a second later, or upon `logon`."""
        self._engine.drop(reconnect=reconnect)

    def stop(self) -> None:
        """Logs out, where logged on, and ends the engine; may be called again."""
        try:
            if self.is_logged_on:
                self.logout()
        finally:
            self._engine.stop()


def _priced(price: object) -> list[Field]:
    return [(40, "1")] if price is None else [(40, "2"), (44, price)]
