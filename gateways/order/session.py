"""The order gateway without its sockets: who is logged on, what is taken, who is told what.

    frames of clients --receive--> checks, numbers, bounds --> commands --+
                                                                          +--> duties(): batches to submit
    time --------------tick------> heartbeats, Tick ----------------------+        and frames to send
                                                                          |
    entries of the log --stream--> Orders --reports--> one queue a client +
    old entries --------rebuild--> reports that memory no longer has -----+

Rules
- Its state is a function of the log: a new process that has read it knows every client's last number,
  and what was taken and not logged is not there (its client sends it again).
- A command is taken if it is its client's next number on the connection where that client is logged on,
  if it is well-formed, and if there is room. See `protocol` for what is said otherwise.
- Refused is said once; then a connection is deaf to commands until the refused one comes again, so what
  is taken from a connection is in the order of what it sent.
- What is over the rate of a connection's key is not taken: commands are refused by Busy, which says so, and how long.
- Reports reach a client in log order and once, except that a client that asks for a repeat gets it.
- What is drained in one wake is one batch, cut at `batch_messages`; nothing waits for a timer.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from engines import messages as m
from gateways import events as e
from gateways.names import Directory, is_client_name
from gateways.news import News, What
from gateways.order import checks
from gateways.order.copies import Copies, CopyAll
from gateways.order.links import Client, Link
from gateways.order.outgoing import Outgoing
from gateways.order.past import Past
from gateways.order.protocol import (
    FROM_CLIENT,
    HEARTBEAT_MS,
    LATEST,
    VERSION,
    AskOrders,
    Busy,
    Expected,
    Frame,
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
)  # fmt: skip
from gateways.orders import LiveOrder, Orders, runs, wide
from sequencer.envelope import Entry
from sequencer.limits import Meter

REGISTRATIONS_MAX: Final = 1024
STATES_A_FRAME: Final = 1000
_OFF_TEXTS: Final = {
    LogoffReason.REQUESTED: "logged off as requested",
    LogoffReason.TAKEN_OVER: "a newer logon of this client took over",
    LogoffReason.SILENT: "nothing was heard from this connection: log on again",
    LogoffReason.NOT_LOGGED_ON: "not logged on on this connection: log on first",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a gateway takes and keeps."""

    in_flight_per_client: int = 2048
    in_flight_total: int = 16384
    recent_reports_per_client: int = 2048
    batch_messages: int = 512
    silence_ms: int = 30_000
    tick_ms: int = 1000


@dataclass(frozen=True, slots=True)
class Duties:
    """What the shell owes after a wake: submit the batches, send the frames, feed the rebuild."""

    batches: list[tuple[int, bytes]]
    """(message count, payload of the COMMANDS channel)"""
    frames: list[tuple[bytes, bytes]]
    """(connection, frame)"""
    rebuild_from: int
    """Index of the next old entry that `rebuild` wants, or 0."""
    news: list[News]
    """For the log."""


class Session:
    """The gateway's decisions. Call the inputs in any order, then `duties` once a wake."""

    def __init__(self, limits: Limits | None = None, copies: Iterable[str] = ()) -> None:
        """`copies` are the names of those in this process who may read what all clients are told."""
        self.limits = limits or Limits()
        self.names = Directory()
        self.position = 0
        """The place in the log up to which everything has been seen."""
        self.in_flight = 0
        self.is_live = False
        """Set by the shell when its session is open: from then on `tick` submits Ticks."""
        self.local: set[bytes] = set()
        """Connections inside this process: they are never silent."""
        self.copied: list[e.Event | e.Trade] | None = None
        """All that happens, whoever it is for, where somebody collects it here."""
        self._orders = Orders()
        self._clients: dict[int, Client] = {}
        self._copies = Copies(copies)
        self._links: dict[bytes, Link] = {}
        self.may_trade_as: Callable[[bytes, str], bool] = lambda _connection, _client: True
        """Whether a connection may log a client on."""
        self._logons: dict[str, list[tuple[Link, Logon]]] = {}
        self._taken: list[m.Message] = []
        self._fresh: list[Client] = []
        self._news: list[News] = []
        self._outgoing = Outgoing(self.limits.recent_reports_per_client)
        self._past = Past(self._outgoing)
        self._now_ms = self._watched_ms = self._ticked_ms = 0
        self._ticked_at = -1
        self._handlers: dict[type, Callable[[Link, Any], None]] = {
            Logon: self._logon, Logoff: self._logoff, Heartbeat: self._heartbeat, AskOrders: self._ask_orders,
            m.Tick: self._foreign, CopyAll: self._copy_all,
        }  # fmt: skip

    @property
    def connections(self) -> int:
        """How many connections have somebody logged on, or did."""
        return len(self._links)

    def knows(self, connection: bytes) -> bool:
        """Whether it is one of them."""
        return connection in self._links

    def room(self, client_id: int) -> int:
        """How many more commands of a client that is logged on are taken now."""
        limits, client = self.limits, self._clients[client_id]
        return min(limits.in_flight_per_client - client.unanswered, limits.in_flight_total - self.in_flight)

    def is_sequenced(self, client_id: int) -> bool:
        """Whether all that was taken of a client is in the log."""
        client = self._clients[client_id]
        return client.sequenced >= client.last_number

    def next_number(self, client_id: int) -> int:
        """The number that a client's next command has to have, also where another gateway has taken some."""
        return self._clients[client_id].last_number + 1

    def live_order(self, client_id: int, client_order_id: str) -> LiveOrder | None:
        """A client's order of this id, if it can still trade."""
        return self._orders.find(client_id, client_order_id)

    def live_order_at(self, client_id: int, order_id: int) -> LiveOrder | None:
        """A client's order of this order id, if it can still trade."""
        return self._orders.live_of[client_id].get(order_id) if client_id in self._orders.live_of else None

    def recent_reports(self, client_id: int, after: int) -> list[e.Event] | None:
        """A client's reports behind a place of the log, up to `position`; None where memory does not have all."""
        client = self._client(client_id)
        self._outgoing.seal(client)
        if after < client.recent.forgotten:
            return None
        return [report for chunk in client.recent.after(after) for report in chunk.reports()]

    def is_pending(self, client_id: int, client_order_id: str) -> bool:
        """Whether an order of this id is in the log, and has no answer yet."""
        return any(
            isinstance(one, m.NewOrder) and (one.client_id, one.client_order_id) == (client_id, client_order_id)
            for one in self._orders.pending.values()
        )

    def live_orders(self, client_id: int) -> list[LiveOrder]:
        """A client's orders that can still trade, the oldest first."""
        return list(self._orders.live_of[client_id].values()) if client_id in self._orders.live_of else []

    # --- from clients -------------------------------------------------------------------------

    def receive(self, connection: bytes, data: bytes, meter: Meter | None = None) -> bool:
        """Take one frame of a client, within what its key may ask for; whether that was enough.

        Whatever is in it, nothing is raised.
        """
        try:
            messages = FROM_CLIENT.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if meter is not None and not meter.read(1):
                return False
            self._outgoing.say(
                self._heard(connection), Reject(0, 0, f"expected session messages and commands: {error}")
            )
            self._news.append(News(What.MALFORMED))
            return True
        granted = len(messages) if meter is None else meter.read(len(messages))
        if granted == len(messages):
            self.hear(connection, messages, meter)
            return True
        assert meter is not None, granted
        self.hear(connection, messages[:granted], meter)
        self._put_off(connection, messages[granted:], meter)
        return False

    def _put_off(self, connection: bytes, messages: list[Any], meter: Meter) -> None:
        """Say of what is over a rate that it is not taken; of commands once, until the first of them comes again."""
        link = self._heard(connection)
        for message in messages:
            if isinstance(message, Logon):
                self._outgoing.say(link, LoggedOff(0, message.client, LogoffReason.REFUSED, meter.over_rate))
            elif type(message) in self._handlers:
                if not isinstance(message, Heartbeat):
                    self._outgoing.say(link, Reject(0, 0, meter.over_rate))
            else:
                client, number = link.clients.get(message.client_id), message.number
                if client is not None and link.awaits in (None, (client.client_id, number)):
                    self._refuse(link, client, Busy(client.client_id, number, meter.wait_ms, meter.over_rate))
                    return

    def _heard(self, connection: bytes) -> Link:
        """The connection that says something."""
        link = self._links.get(connection) or Link(connection, self._now_ms)
        link.heard_ms = self._now_ms
        return link

    def hear(self, connection: bytes, messages: Iterable[Any], meter: Meter | None = None) -> None:
        """The same, of a client in this process, which needs no frame."""
        link, handlers = self._heard(connection), self._handlers
        link.meter = meter
        strangers = set()
        for message in messages:
            handler = handlers.get(type(message))
            if handler is not None:
                handler(link, message)
            elif not self._take(link, message):
                strangers.add(message.client_id)
        for client_id in sorted(strangers):
            self._say_off(link, client_id, LogoffReason.NOT_LOGGED_ON)
        self._past.answer(link, self.position, self._unanswered)

    def _take(self, link: Link, command: Any) -> bool:
        """Take a command, or say why not; False when its client is not logged on here."""
        client_id, number = command.client_id, command.number
        client = link.clients.get(client_id)
        if client is None:
            return False
        if 0 < number <= client.last_number:
            self._past.repeat(client, number)
            return True
        if link.awaits is not None:
            if link.awaits != (client_id, number):
                return True
            link.awaits = None
        limits = self.limits
        if number != client.last_number + 1:
            self._refuse(link, client, Expected(client_id, client.last_number + 1))
        elif client.unanswered >= limits.in_flight_per_client or self.in_flight >= limits.in_flight_total:
            self._refuse(link, client, Busy(client_id, number))
        elif problem := checks.problem(command, is_operator=client.is_operator):
            self._refuse(link, client, Reject(client_id, number, problem))
        else:
            client.last_number = number
            client.unanswered += 1
            self.in_flight += 1
            self._taken.append(command)
        return True

    def _refuse(self, link: Link, client: Client, refusal: Frame) -> None:
        link.awaits = (client.client_id, client.last_number + 1)
        self._outgoing.say(link, refusal)

    def _logon(self, link: Link, logon: Logon) -> None:
        problem = self._logon_problem(link, logon)
        if problem:
            self._outgoing.say(link, LoggedOff(0, logon.client, LogoffReason.REFUSED, problem))
            self._news.append(News(What.REFUSED, logon.client, problem))
            return
        self._links[link.connection] = link
        if logon.client in self.names.client_ids:
            self._log_on(link, logon)
            return
        if logon.client not in self._logons:
            self._taken.append(m.RegisterClient(0, 0, logon.client))
        others = [waiting for waiting in self._logons.get(logon.client, ()) if waiting[0] is not link]
        self._logons[logon.client] = [*others, (link, logon)]

    def _logon_problem(self, link: Link, logon: Logon) -> str:
        if logon.version != VERSION:
            return f"version: this gateway speaks {VERSION}, got {logon.version}"
        if not is_client_name(logon.client):
            return f"client: expected 1 to 64 printable characters, got {logon.client[:80]!r}"
        if not self.may_trade_as(link.connection, logon.client):
            return f"client: your key is not for {logon.client}: an operator issues keys, `sequencer keys issue`"
        if not LATEST <= logon.last_seen <= self.position:
            return (
                f"last_seen: this log ends at {self.position}, got {logon.last_seen}: "
                "it belongs to another venue, or this gateway is behind"
            )
        if len(self._logons) >= REGISTRATIONS_MAX:
            return "too many registrations are in progress: try again"
        return ""

    def _log_on(self, link: Link, logon: Logon) -> None:
        client = self._client(self.names.client_id(logon.client))
        if client.link is not None and client.link is not link:
            self._say_off(client.link, client.client_id, LogoffReason.TAKEN_OVER)
            client.link.drop(client)
            self._news.append(News(What.LOGGED_OFF, logon.client, _OFF_TEXTS[LogoffReason.TAKEN_OVER]))
        client.is_operator = is_operator(logon.client)
        client.cancels = logon.cancel_on_disconnect
        self._let_in(link, client, logon.client, logon.last_seen)

    def _copy_all(self, link: Link, asked: CopyAll) -> None:
        self._links[link.connection] = link
        self._let_in(link, self._copies.find(asked.name), asked.name, asked.last_seen)

    def _let_in(self, link: Link, client: Client, name: str, last_seen: int) -> None:
        self._outgoing.seal(client)
        link.drop(client)
        link.clients[client.client_id] = client
        client.link = link
        self._outgoing.say(link, self._logged_on(link, client, name))
        self._news.append(News(What.LOGGED_ON, name))
        if last_seen != LATEST:
            self._past.resume(client, link, last_seen)

    def _logged_on(self, link: Link, client: Client, name: str) -> LoggedOn:
        limits = self.limits
        instruments = list(self.names.instruments.values())
        return LoggedOn(
            client.client_id, name, client.last_number, self.position, limits.in_flight_per_client,
            limits.in_flight_total, instruments, (link.meter.limits.requests_per_s or 0) if link.meter else 0,
        )  # fmt: skip

    def _logoff(self, link: Link, logoff: Logoff) -> None:
        client = link.clients.get(logoff.client_id)
        if client is not None:
            self._leave(link, client, What.LOGGED_OFF, _OFF_TEXTS[LogoffReason.REQUESTED])
        reason = LogoffReason.REQUESTED if client is not None else LogoffReason.NOT_LOGGED_ON
        self._say_off(link, logoff.client_id, reason)

    def _ask_orders(self, link: Link, asked: AskOrders) -> None:
        if asked.client_id not in link.clients:
            self._say_off(link, asked.client_id, LogoffReason.NOT_LOGGED_ON)
            return
        found = [
            _state_of(one)
            for one in self.live_orders(asked.client_id)
            if asked.client_order_id in ("", one.client_order_id)
        ]
        link.charge(len(found))
        for start in range(0, max(1, len(found)), STATES_A_FRAME):
            part, is_last = found[start : start + STATES_A_FRAME], start + STATES_A_FRAME >= len(found)
            self._outgoing.say(link, OrdersAre(asked.client_id, asked.request, self.position, part, is_last))

    def _heartbeat(self, link: Link, _heartbeat: Heartbeat) -> None:
        if link.connection not in self._links:
            self._say_off(link, 0, LogoffReason.NOT_LOGGED_ON)

    def _foreign(self, link: Link, message: m.Message) -> None:
        self._outgoing.say(link, Reject(0, 0, f"{type(message).__name__} is not a command that a client can send"))

    def lost(self, connection: bytes, why: str = "its connection is gone", *, is_slow: bool = False) -> None:
        """Forget a connection that cannot be reached or does not keep up; its clients can log on again."""
        link = self._links.pop(connection, None)
        if link is not None:
            for client in tuple(link.clients.values()):
                self._leave(link, client, What.SLOW if is_slow else What.LOGGED_OFF, why)

    def _leave(self, link: Link, client: Client, what: What, why: str) -> None:
        """Log a client off; the gateway itself cancels its orders, where it wants that: no number of its is used."""
        self._news.append(News(what, self.names.client_name(client.client_id), why))
        link.drop(client)
        if client.cancels:
            self.cancel_all(client.client_id)

    def cancel_all(self, client_id: int) -> None:
        """Cancel all orders of a client, whoever is logged on: the gateway itself asks for it."""
        self._taken.append(m.CancelAll(0, 0, client_id, 0))

    # --- from the log -------------------------------------------------------------------------

    def stream(self, entries: Iterable[Entry]) -> None:
        """Take entries of the live stream, in order, each once."""
        for entry in entries:
            self.take(entry, runs(entry))

    def take(self, entry: Entry, readable: Iterable[tuple[int, int, list[m.Message]]]) -> None:
        """The same, of one entry whose runs were read already."""
        for first_sequence, channel, messages in readable:
            self.names.apply(channel, messages)
            if channel == m.COMMANDS:
                self._note(messages)
            happened = self._orders.apply(first_sequence, entry.time_ns, channel, messages)
            if self.copied is not None:
                self.copied += happened
            self._route(happened)
            if self._copies.readers:
                self._fresh += self._copies.take(happened)
        self.position = entry.next_sequence - 1

    def _note(self, commands: Iterable[Any]) -> None:
        """Learn the numbers that are in the log, also those that another process took."""
        clients = self._clients
        for command in commands:
            if type(command) is m.Tick:
                continue
            client = clients.get(command.client_id) or self._client(command.client_id)
            client.sequenced = number = command.number
            if number > client.last_number:
                client.last_number = number
                client.unanswered += 1
                self.in_flight += 1

    def _route(self, happened: Iterable[e.Event | e.Trade]) -> None:
        clients = self._clients
        for event in happened:
            if isinstance(event, e.Trade):
                self._tell(event.maker)
                self._tell(event.taker)
            elif event.client_id:
                client = clients[event.client_id]
                if not client.fresh:
                    self._fresh.append(client)
                client.fresh.append(event)
                if event.number:
                    client.unanswered -= 1
                    self.in_flight -= 1
                if type(event) is e.InstrumentSet:
                    self._announce(event)
            elif type(event) is e.ClientRegistered:
                self._registered(event.name)

    def _tell(self, fill: e.Fill) -> None:
        client = self._clients[fill.client_id]
        if not client.fresh:
            self._fresh.append(client)
        client.fresh.append(fill)

    def _registered(self, name: str) -> None:
        for link, logon in self._logons.pop(name, ()):
            if self._links.get(link.connection) is link:
                self._log_on(link, logon)

    def _announce(self, event: e.InstrumentSet) -> None:
        news = Listed(self.names.instruments[event.instrument_id])
        for link in self._links.values():
            self._outgoing.say(link, news)

    # --- old reports --------------------------------------------------------------------------

    def rebuild(self, entries: Iterable[Entry]) -> None:
        """Take old entries, from `Duties.rebuild_from` on, in order."""
        self._past.take(entries, self.position, lambda one: self._copies.readers.get(one) or self._clients[one])

    def _unanswered(self, client: Client) -> set[int]:
        """The numbers of this client that will yet be answered."""
        unlogged = range(client.sequenced + 1, client.last_number + 1)
        pending = self._orders.pending.values()
        unanswered = {command.number for command in pending if command.client_id == client.client_id}
        return unanswered.union(unlogged)

    # --- time and output ----------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Tell the time (monotonic), at least every 100 ms."""
        self._now_ms = now_ms
        # Only when the log has moved since the last Tick: they do not pile up while it stands still.
        moved = self.position > self._ticked_at
        if self.is_live and moved and now_ms - self._ticked_ms >= self.limits.tick_ms:
            self._ticked_ms, self._ticked_at = now_ms, self.position
            self._taken.append(m.Tick())
        if now_ms - self._watched_ms >= HEARTBEAT_MS // 4:
            self._watched_ms = now_ms
            for link in tuple(self._links.values()):
                self._watch(link)

    def _watch(self, link: Link) -> None:
        if self._now_ms - link.heard_ms >= self.limits.silence_ms and link.connection not in self.local:
            self._say_off(link, 0, LogoffReason.SILENT)
            self.lost(link.connection, "nothing was heard from its connection")
        elif self._now_ms - link.sent_ms >= HEARTBEAT_MS:
            self._outgoing.say(link, Heartbeat())

    def duties(self) -> Duties:
        """What is to be done for everything that came in since the last call."""
        fresh, self._fresh = self._fresh, []
        for client in fresh:
            self._outgoing.seal(client)
        news, self._news = self._news, []
        return Duties(self._cut_batches(), self._outgoing.frames(self._now_ms), self._past.begin(), news)

    def _cut_batches(self) -> list[tuple[int, bytes]]:
        taken, self._taken = self._taken, []
        size = self.limits.batch_messages
        cuts = (taken[start : start + size] for start in range(0, len(taken), size))
        return [(len(cut), m.ENCODER.encode(cut)) for cut in cuts]

    def _say_off(self, link: Link, client_id: int, reason: LogoffReason) -> None:
        name = self.names.client_name(client_id)
        self._outgoing.say(link, LoggedOff(client_id, name, reason, _OFF_TEXTS[reason]))

    def _client(self, client_id: int) -> Client:
        client = self._clients.get(client_id)
        if client is None:
            client = self._clients[client_id] = Client(client_id)
        return client


def _state_of(order: LiveOrder) -> OrderState:
    return OrderState(
        order.order_id, order.client_order_id, order.instrument_id, order.side, order.price, order.quantity,
        order.leaves, wide(order.notional), order.mended,
    )  # fmt: skip
