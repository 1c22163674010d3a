"""The client's end of a connection, without the socket: numbers, what is unanswered, what to say again.

    submit --> queue --outgoing--> sent --(its answer)--> done
                 ^                  |
                 +--(refused, or not known after a reconnect)--+

Rules
- A command keeps its number and its place for ever: after a refusal or a reconnect, what was not taken
  is sent again in the order in which it was submitted, over all clients of the connection.
- Nothing is sent while a logon is unanswered, nor more than the gateway's bounds allow, nor faster than our key may.
- A report is returned once, however often it comes.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

from engines.messages import Message
from gateways.events import ClientRegistered, Event, Fill
from gateways.names import Directory
from gateways.order import checks
from gateways.order.protocol import (
    ENCODER,
    FROM_GATEWAY,
    HEARTBEAT_MS,
    LATEST,
    AskOrders,
    Busy,
    Expected,
    Heartbeat,
    Listed,
    LoggedOff,
    LoggedOn,
    Logoff,
    LogoffReason,
    Logon,
    OrdersAre,
    OrderState,
    Reject,
    is_operator,
)
from sequencer.errors import IslandError
from sequencer.limits import Bucket

FRAME_COMMANDS: Final = 256
BUSY_PAUSE_MS: Final = 5
PACE: Final = 0.9
"""Of the rate of our key: the rest is for what are no commands, and for clocks that differ."""
PACE_S: Final = 0.1
"""How much of a second's commands are sent at once."""
PROBE_MS: Final = 250
"""Who waits for something asks after so long, by a heartbeat, whether the gateway still knows the connection."""
_LOG_ON_AGAIN: Final = frozenset((LogoffReason.SILENT, LogoffReason.NOT_LOGGED_ON))


class OrderEntryError(IslandError):
    """The gateway and this client cannot go on together."""


class LoggedOffError(OrderEntryError):
    """The gateway has logged a client off, or did not log it on."""


class RefusedError(OrderEntryError):
    """A command that can never be taken; it has no number and no effect."""


class Account:
    """One client of the connection."""

    __slots__ = (
        "at_maker", "cancels", "client_id", "in_flight", "is_on", "last_number", "last_seen", "name", "next_number",
    )  # fmt: skip

    def __init__(self, name: str, last_seen: int, *, cancels: bool) -> None:
        self.name = name
        self.cancels = cancels
        self.last_seen = last_seen
        self.client_id = 0
        self.last_number = 0
        self.next_number = 0
        self.in_flight = 0
        self.is_on = False
        self.at_maker = False
        """The last report was a maker's fill: the taker's of the same trade has the same place."""

    def is_news(self, report: Event) -> bool:
        """Whether the report is later than all before; remembers it if so."""
        sequence = report.sequence
        if sequence < self.last_seen:
            return False
        is_fill = type(report) is Fill
        if sequence == self.last_seen:
            second = self.at_maker and isinstance(report, Fill) and not report.is_maker
            self.at_maker = self.at_maker and not second
            return second
        self.last_seen = sequence
        self.at_maker = is_fill and cast(Fill, report).is_maker
        return True


class ClientSession:
    """All clients of one connection. Call `outgoing` after every other call, and at least every 100 ms."""

    def __init__(self) -> None:
        self.names = Directory()
        self.accounts: dict[str, Account] = {}
        self.position = 0
        """The gateway's place in the log at the latest logon."""
        self.max_in_flight = 0
        self.window = 0
        self._by_id: dict[int, Account] = {}
        self._queue: deque[Any] = deque()
        self._sent: dict[tuple[int, int], Any] = {}
        self._control: list[Any] = []
        self._asked = 0
        self._states: dict[int, list[OrderState] | None] = {}
        """Of questions about orders: what has come so far; None before anything has."""
        self._answered: dict[int, list[OrderState]] = {}
        self._logging_on = 0
        self._renewed: set[int] = set()
        self._paused_until_ms = self._put_off_until_ms = self._spoke_ms = 0
        """Until an answer comes or then; until then in any case."""
        self._pace: Bucket | None = None
        """What may be sent now; None: as much as there is."""
        self._handlers: dict[type, Callable[[Any, int], None]] = {
            LoggedOn: self._logged_on,
            LoggedOff: self._logged_off,
            Expected: self._expected,
            Busy: self._busy,
            Reject: self._rejected,
            Listed: self._listed,
            OrdersAre: self._orders_are,
            Heartbeat: _heard,
        }

    @property
    def is_ready(self) -> bool:
        """Whether all clients are logged on."""
        return not self._logging_on

    @property
    def unanswered(self) -> int:
        """Commands that were submitted and have no answer yet."""
        return len(self._queue) + len(self._sent)

    @property
    def unsent(self) -> int:
        """Commands that wait for room on the way."""
        return len(self._queue)

    def add(self, name: str, last_seen: int = LATEST, *, cancel_on_disconnect: bool = False) -> None:
        """Log on one more client; `last_seen` is the sequence of the last report that was seen."""
        self.accounts[name] = account = Account(name, last_seen, cancels=cancel_on_disconnect)
        self._log_on(account)

    def connected(self) -> None:
        """The connection is a new one: log everybody on again."""
        self._control.clear()
        self._logging_on = 0
        for account in self.accounts.values():
            self._log_on(account)

    def submit(self, name: str, command: Any) -> int:
        """Number the command of a client that has been logged on, and queue it. Raises RefusedError."""
        account = self.accounts[name]
        assert account.client_id, f"{name} was never logged on"
        command.client_id = account.client_id
        problem = checks.problem(command, is_operator=is_operator(name))
        if problem:
            raise RefusedError(f"{type(command).__name__} of {name}: {problem}")
        command.number = number = account.next_number
        account.next_number = number + 1
        self._queue.append(command)
        return number

    def goodbye(self) -> bytes:
        """The last frame: those log off whose orders are to be canceled then; nothing, where there are none."""
        leaving = [Logoff(one.client_id) for one in self.accounts.values() if one.cancels and one.is_on]
        return ENCODER.encode(leaving) if leaving else b""

    def ask_orders(self, name: str, client_order_id: str) -> int:
        """Ask how a client's orders stand; the number of the question, for `orders_are`."""
        self._asked += 1
        self._states[self._asked] = None
        self._control.append(AskOrders(self.accounts[name].client_id, self._asked, client_order_id))
        return self._asked

    def orders_are(self, request: int) -> list[OrderState] | None:
        """The whole answer to a question, once; None while it is not there."""
        return self._answered.pop(request, None)

    def receive(self, data: bytes, now_ms: int) -> list[Event]:
        """Take one frame of the gateway; return the reports in it that are news.

        Raises LoggedOffError, or RefusedError where the gateway cannot take what was sent.
        """
        news: list[Event] = []
        handlers = self._handlers
        for message in FROM_GATEWAY.decode(data):
            handler = handlers.get(type(message))
            if handler is not None:
                handler(message, now_ms)
            elif self._take(cast(Event, message)):
                news.append(cast(Event, message))
        return news

    def outgoing(self, now_ms: int) -> list[bytes]:
        """The frames to be sent now."""
        frames = []
        if self._control:
            frames.append(ENCODER.encode(self._control))
            self._control = []
        if self._queue and not self._logging_on and now_ms >= max(self._paused_until_ms, self._put_off_until_ms):
            frames += self._command_frames(now_ms)
        waits = self._sent or self._logging_on
        if not frames and now_ms - self._spoke_ms >= (PROBE_MS if waits else HEARTBEAT_MS):
            frames.append(ENCODER.encode([Heartbeat()]))
        if frames:
            self._spoke_ms = now_ms
        return frames

    def _command_frames(self, now_ms: int) -> list[bytes]:
        commands: list[Any] = []
        queue, sent, by_id, pace = self._queue, self._sent, self._by_id, self._pace
        room = self.window - len(sent)
        if pace is not None:
            pace.fill(now_ms / 1000)
            room = min(room, int(pace.room))
        while queue and len(commands) < room:
            command = queue[0]
            account = by_id[command.client_id]
            if account.in_flight >= self.max_in_flight:
                break
            account.in_flight += 1
            sent[command.client_id, command.number] = command
            commands.append(queue.popleft())
        if pace is not None:
            pace.charge(len(commands))
        starts = range(0, len(commands), FRAME_COMMANDS)
        return [ENCODER.encode(commands[start : start + FRAME_COMMANDS]) for start in starts]

    def _take(self, report: Event) -> bool:
        account = self._by_id.get(report.client_id)
        if account is None:
            return False
        is_answer = False
        if report.number and self._sent.pop((report.client_id, report.number), None) is not None:
            account.in_flight -= 1
            self._paused_until_ms = 0
            is_answer = True
        if type(report) is ClientRegistered:
            self.names.add_client(report.account_id, report.name)
        return account.is_news(report) or is_answer

    def _log_on(self, account: Account) -> None:
        account.is_on = False
        self._logging_on += 1
        self._control.append(Logon(account.name, account.last_seen, cancel_on_disconnect=account.cancels))

    def _logged_on(self, logged: LoggedOn, now_ms: int) -> None:
        account = self.accounts.get(logged.client)
        if account is None or account.is_on:
            return
        account.is_on, account.client_id, account.last_number = True, logged.client_id, logged.last_number
        self._renewed.add(logged.client_id)
        account.next_number = max(account.next_number, logged.last_number + 1)
        if account.last_seen == LATEST:
            account.last_seen = logged.position
        self._by_id[logged.client_id] = account
        self.position, self.max_in_flight = logged.position, logged.max_in_flight
        self.window = max(logged.max_in_flight_total // 2, 1)
        self._keep_pace(logged.max_per_s, now_ms)
        self.names.add_client(logged.client_id, logged.client)
        for instrument in logged.instruments:
            self.names.add_instrument(instrument)
        self._logging_on -= 1
        if not self._logging_on:
            self._go_back([key for key in self._sent if self._is_lost(key)])
            self._renewed.clear()

    def _keep_pace(self, max_per_s: int, now_ms: int) -> None:
        per_s = max_per_s * PACE
        if not max_per_s:
            self._pace = None
        elif self._pace is None or self._pace.per_s != per_s:
            self._pace = Bucket(per_s, max(1.0, per_s * PACE_S), now_ms / 1000)

    def _is_lost(self, key: tuple[int, int]) -> bool:
        """Whether a sent command was not taken, as the logons that have just been answered tell."""
        client_id, number = key
        return client_id in self._renewed and number > self._by_id[client_id].last_number

    def _go_back(self, keys: list[tuple[int, int]]) -> None:
        """Put sent commands back in front of the queue, in the order in which they were sent."""
        for key in reversed(keys):
            self._queue.appendleft(self._sent.pop(key))
            self._by_id[key[0]].in_flight -= 1

    def _logged_off(self, logged: LoggedOff, _now_ms: int) -> None:
        if logged.reason not in _LOG_ON_AGAIN:
            raise LoggedOffError(f"the gateway logged off {logged.client!r}: {logged.text}")
        if not self._logging_on or not logged.client_id:
            # With id 0 it answers a heartbeat that came after our Logons: they were lost with a connection.
            self.connected()

    def _expected(self, refusal: Expected | Busy, _now_ms: int) -> None:
        sent = list(self._sent)
        key = (refusal.client_id, refusal.next_number)
        if key in self._sent:
            self._go_back(sent[sent.index(key) :])

    def _busy(self, refusal: Busy, now_ms: int) -> None:
        if refusal.wait_ms:
            self._put_off_until_ms = now_ms + refusal.wait_ms
        else:
            self._paused_until_ms = now_ms + BUSY_PAUSE_MS
        self._expected(refusal, now_ms)

    def _rejected(self, rejected: Reject, _now_ms: int) -> None:
        command: Message | None = self._sent.get((rejected.client_id, rejected.next_number))
        what = "a frame" if command is None else type(command).__name__
        raise RefusedError(f"the gateway refused {what}: {rejected.text}")

    def _orders_are(self, told: OrdersAre, _now_ms: int) -> None:
        if told.request not in self._states:
            return  # of a question that was given up
        states = [*(self._states[told.request] or []), *told.orders]
        self._states[told.request] = states
        if told.is_last:
            self._answered[told.request] = states
            del self._states[told.request]

    def _listed(self, listed: Listed, _now_ms: int) -> None:
        self.names.add_instrument(listed.instrument)


def _heard(_message: Heartbeat, _now_ms: int) -> None:
    """That it came is all that it says."""
