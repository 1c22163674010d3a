"""Talking to an order gateway from Python.

    with OrderClient("ipc://data/order", client="C1") as client:
        answer = client.cancel(symbol="BTC-USD", client_order_id="a1")
        for report in client.reports(timeout_s=1):
            print(client.describe(report))

Rules
- Every call that sends a command returns its answer, a report (gateways.events); refused by the venue is
  an answer too (`OrderRejected`), not an exception.
- Exceptions say that there is no answer: LoggedOffError, RefusedError (never sent), UnreachableError
  (outcome unknown: `wait` for it, the command is not lost and never done twice).
- A gateway that restarts or falls silent is connected to again; what it has not taken is sent again.
- One object belongs to one thread. Nothing happens in the background: call `reports` now and then.
"""

import contextlib
import time
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Final, Self

import zmq

from engines import messages as m
from gateways import events as e
from gateways.names import Instrument, decimal_parts
from gateways.order.client_session import ClientSession, LoggedOffError, OrderEntryError, RefusedError
from gateways.order.protocol import HEARTBEAT_MS, LATEST, OPERATOR, OrderState, is_operator
from sequencer.client import connect, needs_keys, not_let_in, readable, refusals_of, tune
from sequencer.errors import UnreachableError

__all__ = ["LoggedOffError", "OrderClient", "OrderConnection", "OrderEntryError", "RefusedError"]

DEAD_MS: Final = 3 * HEARTBEAT_MS
"""A gateway that says nothing for so long, heartbeats included, is connected to anew."""
POLL_MS: Final = 50
HWM: Final = 10_000
GOODBYE_MS: Final = 200


class OrderConnection:
    """One socket with any number of clients on it; their commands are taken in the order of `send`."""

    def __init__(self, endpoint: str, *, context: "zmq.Context[zmq.Socket[bytes]] | None" = None) -> None:
        self.session = ClientSession()
        self._endpoint = endpoint
        self._context = context or zmq.Context.instance()
        self._refusals: zmq.Socket[bytes] | None = None
        self._socket = self._connect()
        self._heard_ms = self._turned_ms = _now_ms()
        self._early: list[e.Event] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def log_on(
        self,
        names: Iterable[str],
        *,
        last_seen: int = LATEST,
        timeout_s: float = 10.0,
        cancel_on_disconnect: bool = False,
    ) -> None:
        """Log clients on, and wait until they are. Raises UnreachableError or LoggedOffError."""
        for name in names:
            if name not in self.session.accounts:
                self.session.add(name, last_seen, cancel_on_disconnect=cancel_on_disconnect)
        deadline = time.monotonic() + timeout_s
        while not self.session.is_ready:
            if self._refusals is not None and readable(self._refusals):
                raise not_let_in(self._socket, f"the order gateway at {self._endpoint}")
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"no order gateway logged us on at {self._endpoint} within {timeout_s:g} s: is the venue "
                    "running and healthy?"
                )
            self._early = self._turn(POLL_MS)

    def send(self, name: str, command: Any) -> int:
        """Number a client's command and queue it; `flush` or `receive` sends it. Raises RefusedError.

        The command's `client_id` and `number` are set here. Returns the number.
        """
        return self.session.submit(name, command)

    def flush(self) -> None:
        """Send what is queued, as far as the gateway's bounds allow."""
        for frame in self.session.outgoing(_now_ms()):
            try:
                self._socket.send(frame, zmq.NOBLOCK)
            except zmq.Again:
                self._reconnect()  # what was in the frame counts as sent: only a new logon mends it
                return

    def receive(self, timeout_s: float = 0.0) -> list[e.Event]:
        """Reports of all clients; waits for the first at most `timeout_s`. Also sends what is due."""
        deadline = time.monotonic() + timeout_s
        if _now_ms() - self._turned_ms > DEAD_MS // 2:
            self._heard_ms = _now_ms()  # we were away: what the gateway said meanwhile is yet to be read
        while True:
            left_ms = max(int((deadline - time.monotonic()) * 1000), 0)
            reports = self._turn(min(left_ms, POLL_MS))
            if reports or not left_ms:
                return reports

    def orders(self, name: str, client_order_id: str = "", timeout_s: float = 10.0) -> list[OrderState]:
        """A client's orders that can still trade, the oldest first. Raises UnreachableError."""
        request, deadline = self.session.ask_orders(name, client_order_id), time.monotonic() + timeout_s
        while (found := self.session.orders_are(request)) is None:
            if time.monotonic() > deadline:
                raise UnreachableError(f"the order gateway at {self._endpoint} does not answer: is the venue healthy?")
            self._early = self._turn(POLL_MS)
        return found

    def close(self) -> None:
        """Close the socket. The clients' orders live on, unless they are to be canceled then."""
        goodbye = self.session.goodbye()
        if goodbye:
            with contextlib.suppress(zmq.Again):
                self._socket.send(goodbye, zmq.NOBLOCK)
        self._close(linger_ms=GOODBYE_MS if goodbye else 0)

    def _turn(self, timeout_ms: int) -> list[e.Event]:
        reports, self._early = self._early, []
        self.flush()
        if not reports and timeout_ms:
            self._socket.poll(timeout_ms)
        self._turned_ms = now_ms = _now_ms()
        while True:
            try:
                data = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            self._heard_ms = now_ms
            reports += self.session.receive(data, now_ms)
        if now_ms - self._heard_ms > DEAD_MS:
            self._reconnect()
        self.flush()
        return reports

    def _reconnect(self) -> None:
        self._close()
        self._socket = self._connect()
        self._heard_ms = _now_ms()
        self.session.connected()

    def _connect(self) -> "zmq.Socket[bytes]":
        socket = tune(self._context.socket(zmq.DEALER), hwm=HWM)
        self._refusals = refusals_of(socket) if needs_keys(self._endpoint) else None
        connect(socket, self._endpoint)
        return socket

    def _close(self, linger_ms: int = 0) -> None:
        self._socket.close(linger=linger_ms)
        if self._refusals is not None:
            self._refusals.close(linger=0)


class OrderClient:
    """One client with blocking calls; see the module for what they return and raise.

    With `last_seen` (the `sequence` of the last report that was seen, 0: none) it resumes: `reports`
    begins with all later ones.
    """

    def __init__(
        self,
        endpoint: str,
        client: str = "C1",
        last_seen: int = 0,
        *,
        timeout_s: float = 10.0,
        cancel_on_disconnect: bool = False,
        context: "zmq.Context[zmq.Socket[bytes]] | None" = None,
    ) -> None:
        self.name = client
        self.timeout_s = timeout_s
        self._connection = OrderConnection(endpoint, context=context)
        self._reports: deque[e.Event] = deque()
        self._awaited: dict[int, e.Event | None] = {}
        try:
            self._connection.log_on(
                [client], last_seen=last_seen, timeout_s=timeout_s, cancel_on_disconnect=cancel_on_disconnect
            )
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def client_id(self) -> int:
        """This client's id."""
        return self._connection.session.accounts[self.name].client_id

    @property
    def last_seen(self) -> int:
        """What to give the next OrderClient of this name, once `reports` has been read to its end."""
        return self._connection.session.accounts[self.name].last_seen

    def instrument(self, symbol: str) -> Instrument:
        """The terms of an instrument. Raises UnknownNameError (a ValueError)."""
        return self._connection.session.names.instrument(symbol)

    def describe(self, report: e.Event) -> e.Fields:
        """A report with names and decimal text."""
        return e.fields(report, self._connection.session.names)

    def orders(self, client_order_id: str = "") -> list[OrderState]:
        """The orders that can still trade, the oldest first: all, or the one of this id. Raises UnreachableError."""
        return self._connection.orders(self.name, client_order_id, self.timeout_s)

    def close(self) -> None:
        """Leave. The client's orders live on, unless they are to be canceled then."""
        self._connection.close()

    # --- pipelined ------------------------------------------------------------------------------

    def send(self, command: Any) -> int:
        """Queue a command (client_id and number are set here) and return its number; `flush` sends it."""
        return self._connection.send(self.name, command)

    def flush(self) -> None:
        """Send what is queued."""
        self._connection.flush()

    def reports(self, timeout_s: float = 0.0) -> Iterator[e.Event]:
        """All reports but the answers that calls returned, until none has come for `timeout_s`."""
        while True:
            if not self._reports:
                self._sort(self._connection.receive(timeout_s))
            if not self._reports:
                return
            yield self._reports.popleft()

    def wait(self, number: int, timeout_s: float | None = None) -> e.Event:
        """The answer to a command that was sent and not yet answered. Raises UnreachableError."""
        self._awaited.setdefault(number, None)
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + limit_s
        while (answer := self._awaited[number]) is None:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise UnreachableError(
                    f"no answer to command {number} of {self.name} within {limit_s:g} s: its outcome is not "
                    f"known; wait({number}) goes on waiting"
                )
            self._sort(self._connection.receive(left_s))
        del self._awaited[number]
        return answer

    def call(self, command: Any) -> e.Event:
        """Send a command and wait for its answer."""
        number = self.send(command)
        self._awaited[number] = None
        return self.wait(number)

    def _sort(self, reports: Iterable[e.Event]) -> None:
        for report in reports:
            if report.number in self._awaited:
                self._awaited[report.number] = report
            else:
                self._reports.append(report)

    # --- orders -----------------------------------------------------------------------------------

    def new_order(
        self,
        *,
        symbol: str,
        side: str,
        price: str,
        quantity: str,
        client_order_id: str,
        order_type: str = "limit",
        time_in_force: str = "gtc",
        expire_at_ns: int = 0,
        post_only: bool = False,
        self_trade: str = "allow",
    ) -> e.Event:
        """Enter an order: OrderAccepted or OrderRejected. Raises ValueError for text that cannot be."""
        instrument = self.instrument(symbol)
        return self.call(
            m.NewOrder(
                0, 0, instrument.instrument_id, client_order_id, m.Side[side.upper()],
                instrument.ticks(price), instrument.lots(quantity), m.OrderType[order_type.upper()],
                m.TimeInForce[time_in_force.upper()], expire_at_ns, post_only,
                m.SelfTrade[self_trade.upper()],
            )
        )  # fmt: skip

    def replace(
        self, *, symbol: str, client_order_id: str, price: str, quantity: str, new_client_order_id: str = ""
    ) -> e.Event:
        """Give an order a price and a total: OrderReplaced, ReplaceRejected, or OrderCanceled."""
        i = self.instrument(symbol)
        ticks, lots = i.ticks(price), i.lots(quantity)
        return self.call(m.ReplaceOrder(0, 0, i.instrument_id, client_order_id, ticks, lots, new_client_order_id))

    def cancel(self, *, symbol: str, client_order_id: str) -> e.Event:
        """Cancel an order: OrderCanceled or CancelRejected."""
        return self.call(m.CancelOrder(0, 0, self.instrument(symbol).instrument_id, client_order_id))

    def cancel_all(self, *, symbol: str = "", client: str | None = None) -> e.Event:
        """Cancel all own orders (or, as operator, a client's; "": everybody's): MassCanceled."""
        instrument_id = self.instrument(symbol).instrument_id if symbol else 0
        account_id = self.client_id if client is None else self._account(client) if client else 0
        return self.call(m.CancelAll(0, 0, account_id, instrument_id))

    # --- as the client "operator" -----------------------------------------------------------------

    def set_instrument(
        self, *, symbol: str, currency: str, tick: str, lot: str, price_low: str = "", price_high: str = ""
    ) -> e.Event:
        """Define an instrument or move its band: InstrumentSet or InstrumentRejected."""
        terms = Instrument(0, symbol, currency, *decimal_parts(tick), *decimal_parts(lot))
        low = terms.ticks(price_low) if price_low else 0
        high = terms.ticks(price_high) if price_high else 0
        return self.call(m.SetInstrument(0, 0, symbol, currency, *decimal_parts(tick), *decimal_parts(lot), low, high))

    def halt(self, symbol: str) -> e.Event:
        """Refuse new orders in an instrument: InstrumentHalted."""
        return self.call(m.HaltInstrument(0, 0, self.instrument(symbol).instrument_id))

    def resume(self, symbol: str) -> e.Event:
        """End a halt: InstrumentResumed."""
        return self.call(m.ResumeInstrument(0, 0, self.instrument(symbol).instrument_id))

    def register(self, client: str) -> e.Event:
        """Learn a client's id; an unknown name gets one: ClientRegistered or CreditRejected."""
        return self.call(m.RegisterClient(0, 0, client))

    def set_credit(self, client: str, currency: str, limit: str) -> e.Event:
        """Set a client's limit: CreditSet or CreditRejected."""
        return self.call(m.SetCredit(0, 0, self._account(client), currency, *decimal_parts(limit)))

    def adjust_credit(self, client: str, currency: str, amount: str) -> e.Event:
        """Add to a client's limit: CreditSet or CreditRejected."""
        return self.call(m.AdjustCredit(0, 0, self._account(client), currency, *decimal_parts(amount)))

    def settle(self, client: str, currency: str, amount: str) -> e.Event:
        """Free used credit: CreditSettled or CreditRejected."""
        return self.call(m.Settle(0, 0, self._account(client), currency, *decimal_parts(amount)))

    def block(self, client: str) -> e.Event:
        """The kill switch: ClientBlocked or CreditRejected."""
        return self.call(m.BlockClient(0, 0, self._account(client)))

    def unblock(self, client: str) -> e.Event:
        """End a block: ClientUnblocked or CreditRejected."""
        return self.call(m.UnblockClient(0, 0, self._account(client)))

    def _account(self, client: str) -> int:
        """The id of a client by name; it is registered if need be, which only the operator may do."""
        names = self._connection.session.names
        if client not in names.client_ids:
            if not is_operator(self.name):
                raise RefusedError(f"only the client {OPERATOR!r} may act on other clients, this is {self.name!r}")
            self.register(client)
        return names.client_id(client)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
