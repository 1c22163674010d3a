"""The FIX gateway without its sockets: connections, sessions, and the order session behind them.

    bytes --Framer--> messages --fix.Session--> in turn --translate--> commands --+
                                                                                  +--> order.Session --> log
    bytes <--fix.Session-- reports <--translate-- events <------------------------+         ^--entries--+

Rules
- Each FIX session is one client of the order session, which numbers and bounds its commands and gives it its reports in
  log order, old ones too. Nothing of that is done again here.
- A message is taken when there is room for the command that it becomes. Until then it and all behind it wait, and
  the connection is not read any further: nobody is told "busy", and nothing is lost.
- A report is sent once, under the next number, with its place in the log in the store. Who logs on again gets those
  behind the last place; who asks for old numbers gets the same reports, from the log.
- A client is on one connection. A second one is cut off, unless the first has gone silent.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from engines import messages as m
from gateways import events as e
from gateways.fix import tags as t
from gateways.fix import translate
from gateways.fix.codec import Framer, FramingError, Message
from gateways.fix.market import Market
from gateways.fix.session import Session, State, Terms
from gateways.fix.settings import Counterparty, Settings
from gateways.fix.store import NOWHERE, Place, Store
from gateways.fix.tags import Type
from gateways.fix.translate import Asked, RefusedError
from gateways.marketdata.feeds import Feed
from gateways.order import protocol as p
from gateways.order.session import Limits
from gateways.order.session import Session as OrderSession
from sequencer.envelope import Entry

WAITING_MAX: Final = 256
"""Messages of one connection that wait for room; it is read no further until most have found it."""
STRANGERS_MAX: Final = 512
"""Connections that have not logged on; beyond, the oldest is cut off."""
STRANGER_MS: Final = 10_000
WATCH_MS: Final = 100
UNSUPPORTED_TYPE: Final = 3
_REFUSALS: Final = (p.LoggedOff, p.Expected, p.Busy, p.Reject)


@dataclass(frozen=True, slots=True)
class Duties:
    """What the shell owes after a wake, in this order; the stores are written before."""

    batches: list[tuple[int, bytes]]
    frames: list[tuple[int, bytes]]
    """(connection, bytes)"""
    closing: list[int]
    rebuild_from: int


class Connection:
    """One connection: what of its bytes waits, and whose it is."""

    __slots__ = ("door", "framer", "number", "session", "since_ms", "waiting")

    def __init__(self, number: int, now_ms: int) -> None:
        self.number = number
        self.since_ms = now_ms
        self.framer = Framer()
        self.waiting: deque[Message] = deque()
        self.session: Session | None = None
        self.door: Door | None = None


class Door:
    """One FIX session, whether or not it is connected."""

    def __init__(self, party: Counterparty, store: Store) -> None:
        self.party = party
        self.store = store
        self.market = Market()
        self.link = b"fix:" + party.comp_id.encode()
        self.session: Session | None = None
        self.client_id = 0
        """0: not logged on at the order session."""
        self.last_number = 0
        self.is_fetching = False
        """Old reports were asked for, and the answer did not come yet."""
        self.is_leaving = False
        """The connection is gone, and the client not logged off yet."""
        self.cancel_number = 0
        """Of the command that cancels all its orders then."""
        self._seen = NOWHERE

    def place_of(self, event: e.Event) -> Place:
        """Where an event is: they come in order."""
        nth = self._seen.nth + 1 if event.sequence == self._seen.sequence else 0
        self._seen = Place(event.sequence, nth)
        return self._seen

    def start_over(self) -> None:
        """Events come from an earlier place on now."""
        self._seen = NOWHERE


class FixGateway:
    """The gateway's decisions. Call the inputs in any order, then `flush`, then `duties`, once a wake."""

    def __init__(
        self, settings: Settings, directory: Path, utc_ns: Callable[[], int], limits: Limits | None = None
    ) -> None:
        self.orders = OrderSession(limits)
        self._settings = settings
        self._directory = directory
        self._utc_ns = utc_ns
        self._now_ms = self._watched_ms = self._beaten_ms = 0
        self._doors: dict[str, Door] = {}
        self._links: dict[bytes, Door] = {}
        self._connections: dict[int, Connection] = {}
        self._closing: list[int] = []
        self._last_words: list[tuple[int, bytes]] = []
        self._batches: list[tuple[int, bytes]] = []
        self._rebuild_from = 0
        self._calls: dict[str, Callable[[Door, Session, Message], None]] = {
            Type.ORDER_STATUS_REQUEST: self._order_status,
            Type.ORDER_MASS_STATUS_REQUEST: self._mass_status,
            Type.SECURITY_LIST_REQUEST: self._security_list,
            Type.MARKET_DATA_REQUEST: self._market_data,
        }

    @property
    def sessions(self) -> int:
        """How many are logged on."""
        return sum(door.session is not None for door in self._doors.values())

    def go_live(self) -> None:
        """Everything of the log that an earlier process of this name got in is seen: serve."""
        self.orders.is_live = True
        for path in sorted(self._directory.glob("*.session")):
            party = self._settings.find(unquote(path.stem))
            if party is not None:
                door = self._door(party)
                if door.store.was_on and party.cancel_on_disconnect:
                    self._call(door, p.Logon(party.client, p.LATEST))

    # --- connections ------------------------------------------------------------------------------

    def opened(self, number: int) -> None:
        """A connection was made."""
        strangers = [one for one in self._connections.values() if one.session is None]
        if len(strangers) >= STRANGERS_MAX:
            self._close(strangers[0])
        self._connections[number] = Connection(number, self._now_ms)

    def receive(self, number: int, data: bytes) -> None:
        """Bytes came. Whatever they are, nothing is raised."""
        connection = self._connections.get(number)
        if connection is None:
            return
        try:
            connection.waiting.extend(connection.framer.feed(data))
        except FramingError as error:
            if connection.session is not None:
                connection.session.log_out(str(error))
            self._close(connection)
            return
        self._advance(connection)

    def is_full(self, number: int) -> bool:
        """Whether to read no more of a connection for now."""
        connection = self._connections.get(number)
        return connection is not None and len(connection.waiting) >= WAITING_MAX

    def lost(self, number: int) -> None:
        """A connection is gone."""
        connection = self._connections.get(number)
        if connection is not None:
            if connection.session is not None:
                connection.session.lost()
            self._close(connection)

    def _advance(self, connection: Connection) -> None:
        """Take what waits, as long as there is room for it."""
        while connection.waiting and self._has_room(connection):
            message = connection.waiting.popleft()
            if connection.session is None and not self._introduce(connection, message):
                return
            door, session = connection.door, connection.session
            assert door is not None, connection.number
            assert session is not None, connection.number
            session.tick(self._now_ms)
            was = session.state
            for each in session.receive(message):
                self._act(door, session, each)
            if was is State.CONNECTED and session.state is State.LOGGING_ON:
                self._log_on(door, message)
            self._fetch(door)
            if session.state is State.ENDED:
                self._close(connection)

    def _has_room(self, connection: Connection) -> bool:
        door = connection.door
        if door is None or door.session is None:
            return True
        if door.session.state is State.LOGGING_ON:
            return False
        return not door.client_id or self.orders.room(door.client_id) > 0

    def _introduce(self, connection: Connection, message: Message) -> bool:
        """Whose connection is it? Who is not known is cut off without a word."""
        party = self._settings.find(message.get(t.SENDER_COMP_ID))
        if not self.orders.is_live or party is None or message.get(t.TARGET_COMP_ID) != self._settings.comp_id:
            self._close(connection)
            return False
        door = self._door(party)
        if door.is_leaving or (door.session is not None and not self._cut_off_silent(door)):
            self._close(connection)
            return False
        terms = Terms(
            self._settings.comp_id, party.comp_id, party.heartbeat_min, party.heartbeat_max, may_reset=party.reset
        )
        connection.session = door.session = Session(terms, door.store, self._utc_ns)
        door.market = Market()
        connection.session.begin(self._now_ms)
        connection.door = door
        return True

    def _cut_off_silent(self, door: Door) -> bool:
        """Make room for a new connection, where nothing is heard of the old one; or it stays."""
        for connection in tuple(self._connections.values()):
            if connection.door is door and connection.session is door.session:
                if connection.session is not None and not connection.session.is_silent:
                    return False
                self._close(connection)
        return not door.is_leaving

    def _door(self, party: Counterparty) -> Door:
        door = self._doors.get(party.comp_id)
        if door is None:
            path = self._directory / f"{quote(party.comp_id, safe='')}.session"
            door = self._doors[party.comp_id] = Door(party, Store(path))
            self._links[door.link] = door
        return door

    def _close(self, connection: Connection) -> None:
        """Let go of a connection, and of its client."""
        if self._connections.pop(connection.number, None) is None:
            return
        self._closing.append(connection.number)
        door = connection.door
        if door is None or door.session is not connection.session:
            return
        if connection.session is not None and connection.session.out:
            self._last_words.append((connection.number, b"".join(connection.session.out)))
            connection.session.out.clear()
        door.session = None
        if door.client_id:
            door.is_leaving = True
            self._leave(door)

    # --- the order session ------------------------------------------------------------------------

    def _call(self, door: Door, *messages: p.Frame | m.Message) -> None:
        self.orders.receive(door.link, p.ENCODER.encode(messages))

    def _log_on(self, door: Door, logon: Message) -> None:
        """Find the client; the Logon is answered when that is done."""
        assert door.session is not None, door.party
        if door.party.password and logon.get(t.PASSWORD) != door.party.password:
            door.session.log_out("Username or Password is wrong")
            return
        door.start_over()
        self._call(door, p.Logon(door.party.client, self._last_seen(door)))

    def _last_seen(self, door: Door) -> int:
        """What came before needs not come again; nothing at all, where a session begins."""
        if door.store.is_new:
            return p.LATEST
        return min(max(0, door.store.place.sequence - 1), self.orders.position)

    def _leave(self, door: Door) -> None:
        """Log off: where all orders are to be canceled then, when they are."""
        if not door.party.cancel_on_disconnect:
            self._log_off(door)
        elif not door.cancel_number and self.orders.room(door.client_id) > 0:
            door.last_number += 1
            door.cancel_number = door.last_number
            self._call(door, m.CancelAll(door.client_id, door.last_number, door.client_id, 0))

    def _log_off(self, door: Door) -> None:
        self._call(door, p.Logoff(door.client_id))
        door.client_id = door.cancel_number = 0
        door.is_fetching = door.is_leaving = False
        door.store.log_on(on=False)

    def _fetch(self, door: Door) -> None:
        """Ask for the reports that are to be sent again."""
        session = door.session
        if session is not None and session.awaits != NOWHERE and door.client_id and not door.is_fetching:
            door.is_fetching = True
            door.start_over()
            self._call(door, p.Logon(door.party.client, max(0, session.awaits.sequence - 1)))

    def _hear(self, door: Door, message: object) -> None:
        """What the order session says to a client."""
        if isinstance(message, e.Event):
            self._report(door, message)
        elif isinstance(message, p.LoggedOn):
            self._logged_on(door, message)
        elif isinstance(message, p.LoggedOff) and message.reason == p.LogoffReason.REQUESTED:
            return
        elif isinstance(message, _REFUSALS) and door.session is not None:
            door.session.log_out(getattr(message, "text", "") or f"the venue says {type(message).__name__}")

    def _logged_on(self, door: Door, told: p.LoggedOn) -> None:
        session = door.session
        if door.is_fetching:
            door.is_fetching = False
            return
        door.client_id, door.last_number = told.client_id, told.last_number
        if session is None:  # an earlier process ended while this one was logged on
            door.is_leaving = True
            self._leave(door)
            return
        if door.store.is_new:
            door.store.start(told.position)
        door.store.rewind(told.last_number)
        door.store.log_on(on=True)
        session.accept()
        self._fetch(door)

    def _report(self, door: Door, event: e.Event) -> None:
        place = door.place_of(event)
        session = door.session
        if door.cancel_number and event.number == door.cancel_number:
            self._log_off(door)
        if session is None or session.state is not State.ACTIVE:
            return
        awaited = session.awaits
        while awaited is not NOWHERE and awaited < place:
            session.pass_over()
            awaited = session.awaits
        is_awaited = awaited == place
        if not is_awaited and place <= door.store.place:
            return
        made = translate.report(event, place.nth, self.orders.names)
        if is_awaited:
            session.send_again(*made) if made is not None else session.pass_over()
        elif made is not None:
            session.send(*made, place)

    # --- application messages ---------------------------------------------------------------------

    def _act(self, door: Door, session: Session, message: Message) -> None:
        kind, number = message.type, int(message.get(t.MSG_SEQ_NUM))
        if kind in translate.ORDER_TYPES:
            self._order(door, session, message, number)
            return
        session.took(number)
        call = self._calls.get(kind)
        if call is not None:
            call(door, session, message)
        elif kind != Type.BUSINESS_MESSAGE_REJECT:
            answer = translate.business_reject(message, UNSUPPORTED_TYPE, f"Unsupported Message Type: {kind}")
            session.send(*answer, keep=True)

    def _order(self, door: Door, session: Session, message: Message, number: int) -> None:
        if message.get(t.POSS_RESEND) == "Y" and message.type == Type.NEW_ORDER_SINGLE:
            session.took(number)  # it may have been an order before: say how that stands, and enter nothing
            self._order_status(door, session, message)
            return
        try:
            command = translate.command(message, door.client_id, door.last_number + 1, self.orders.names)
        except RefusedError as refused:
            session.took(number)
            session.send(*refused.answer, keep=True)
            return
        door.last_number += 1
        session.took(number, door.last_number)
        self._call(door, command)

    def _order_status(self, door: Door, session: Session, message: Message) -> None:
        wanted = message.get(t.CL_ORD_ID)
        request_id = message.get(t.ORD_STATUS_REQ_ID)
        asked = self._asked(message, ((t.ORD_STATUS_REQ_ID, request_id),) if request_id else ())
        for order in self.orders.live_orders(door.client_id):
            if order.client_order_id == wanted:
                session.send(*translate.status(order, asked, self.orders.names), keep=True)
                return
        text = "no live order has this ClOrdID: what became of it, its reports have said"
        session.send(*translate.no_status(message, asked, text), keep=True)

    def _mass_status(self, door: Door, session: Session, message: Message) -> None:
        found = self.orders.live_orders(door.client_id)
        request: tuple[tuple[int, object], ...] = ((t.MASS_STATUS_REQ_ID, message.get(t.MASS_STATUS_REQ_ID)),)
        if not found:
            asked = self._asked(message, (*request, (t.TOT_NUM_REPORTS, 0), (t.LAST_RPT_REQUESTED, "Y")))
            session.send(*translate.no_status(message, asked, "there are no live orders"), keep=True)
        for nth, order in enumerate(found, 1):
            last = "Y" if nth == len(found) else "N"
            asked = self._asked(
                message, (*request, (t.TOT_NUM_REPORTS, len(found)), (t.LAST_RPT_REQUESTED, last)), f"-{nth}"
            )
            session.send(*translate.status(order, asked, self.orders.names), keep=True)

    def _asked(self, message: Message, fields: tuple[tuple[int, object], ...], suffix: str = "") -> Asked:
        return Asked(fields, translate.unlogged_id(message) + suffix, self._utc_ns())

    def _security_list(self, _door: Door, session: Session, message: Message) -> None:
        answer = translate.security_list(message, self.orders.names, translate.unlogged_id(message))
        session.send(*answer, keep=True)

    # --- market data ------------------------------------------------------------------------------

    @property
    def followed(self) -> set[str]:
        """The symbols that somebody subscribes to."""
        return {symbol for door in self._doors.values() if door.session for symbol in door.market.symbols}

    def tell_market(self, feeds: Iterable[Feed]) -> None:
        """These instruments are whole, and have changed or are waited for."""
        for feed in feeds:
            trades = feed.fresh_trades()
            instrument = self.orders.names.instrument(feed.symbol)
            for door in self._doors.values():
                if door.session is not None and door.session.state is State.ACTIVE:
                    for report in door.market.tell(feed, trades, instrument):
                        door.session.send(*report)

    def waits_for(self, symbol: str) -> bool:
        """Whether somebody was told nothing of an instrument yet."""
        return any(door.market.waits_for(symbol) for door in self._doors.values())

    def _market_data(self, door: Door, session: Session, message: Message) -> None:
        reject = door.market.request(message, self.orders.names)
        if reject is not None:
            session.send(*reject, keep=True)

    # --- the log, time and output -----------------------------------------------------------------

    def stream(self, entries: Iterable[Entry]) -> None:
        """Take entries of the live stream, in order, each once."""
        self.orders.stream(entries)

    def rebuild(self, entries: Iterable[Entry]) -> None:
        """Take old entries, from `Duties.rebuild_from` on, in order."""
        self.orders.rebuild(entries)

    def tick(self, now_ms: int) -> None:
        """Tell the time (monotonic), at least every 100 ms."""
        self._now_ms = now_ms
        self.orders.tick(now_ms)
        if now_ms - self._watched_ms < WATCH_MS:
            return
        self._watched_ms = now_ms
        for connection in tuple(self._connections.values()):
            if connection.session is None:
                if now_ms - connection.since_ms > STRANGER_MS:
                    self._close(connection)
                continue
            connection.session.tick(now_ms)
            if connection.session.state is State.ENDED:
                self._close(connection)
        if now_ms - self._beaten_ms >= p.HEARTBEAT_MS:
            self._beaten_ms = now_ms
            for door in self._doors.values():
                if door.client_id:
                    self._call(door, p.Heartbeat())
                if door.is_leaving:
                    self._leave(door)

    def flush(self) -> None:
        """Hand on what the order session says; then write all stores: nothing is done before. Raises IslandError."""
        for connection in tuple(self._connections.values()):
            if connection.waiting:
                self._advance(connection)
        while True:
            owed = self.orders.duties()
            self._batches += owed.batches
            self._rebuild_from = owed.rebuild_from
            for link, data in owed.frames:
                door = self._links[link]
                for message in p.FROM_GATEWAY.decode(data):
                    self._hear(door, message)
            if not owed.frames:
                break
        for door in self._doors.values():
            door.store.flush()

    def duties(self) -> Duties:
        """What is to be done for everything that came in since the last call."""
        frames = []
        for connection in tuple(self._connections.values()):
            session = connection.session
            if session is not None and session.out:
                frames.append((connection.number, b"".join(session.out)))
                session.out.clear()
            if session is not None and session.state is State.ENDED:
                self._close(connection)
        frames += self._last_words
        closing, self._closing, self._last_words = self._closing, [], []
        batches, self._batches = self._batches, []
        return Duties(batches, frames, closing, self._rebuild_from)

    def close(self) -> None:
        """Let go of the stores."""
        for door in self._doors.values():
            door.store.close()
