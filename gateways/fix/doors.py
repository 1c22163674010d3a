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

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from engines import messages as m
from gateways import events as e
from gateways.fix import tags as t
from gateways.fix import translate
from gateways.fix.codec import FramingError, Message
from gateways.fix.door import Connection, Door
from gateways.fix.market import Market
from gateways.fix.requests import Requests
from gateways.fix.session import Session, State, Terms
from gateways.fix.settings import Counterparty, Settings
from gateways.fix.store import NOWHERE, Store
from gateways.fix.tags import Type
from gateways.marketdata.feeds import Feed
from gateways.news import News, What
from gateways.order import protocol as p
from gateways.order.session import Limits
from gateways.order.session import Session as OrderSession
from sequencer.envelope import Entry
from sequencer.errors import IslandError

OUT_BYTES_MAX: Final = 1 << 20
"""A counterparty that has so much to be told in one wake is heard further in the next."""
WAITING_MAX: Final = 256
"""Messages of one connection that wait for room; it is read no further until most have found it."""
STRANGERS_MAX: Final = 512
"""Connections that have not logged on; beyond, the oldest is cut off."""
STRANGER_MS: Final = 10_000
WATCH_MS: Final = 100
RETRY_MS: Final = 1000
_REFUSALS: Final = (p.LoggedOff, p.Expected, p.Busy, p.Reject)


@dataclass(frozen=True, slots=True)
class Duties:
    """What the shell owes after a wake, in this order; the stores are written before."""

    batches: list[tuple[int, bytes]]
    frames: list[tuple[int, bytes]]
    """(connection, bytes)"""
    closing: list[int]
    rebuild_from: int
    news: list[News]
    """For the log."""


class FixGateway:
    """The gateway's decisions. Call the inputs in any order, then `flush`, then `duties`, once a wake."""

    def __init__(
        self, settings: Settings, directory: Path, utc_ns: Callable[[], int], limits: Limits | None = None
    ) -> None:
        self.orders = OrderSession(limits)
        self._settings = settings
        self._directory = directory
        self._utc_ns = utc_ns
        self._now_ms = self._watched_ms = self._retried_ms = 0
        self._doors: dict[str, Door] = {}
        self._links: dict[bytes, Door] = {}
        self._connections: dict[int, Connection] = {}
        self._closing: list[int] = []
        self._last_words: list[tuple[int, bytes]] = []
        self._batches: list[tuple[int, bytes]] = []
        self._news: list[News] = []
        self._rebuild_from = 0
        self._requests = Requests(self.orders, self._call, utc_ns)

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
                    self._ask(door, p.LATEST)
                else:
                    self._forget(door)

    # --- connections ------------------------------------------------------------------------------

    def opened(self, number: int) -> None:
        """A connection was made."""
        strangers = [one for one in self._connections.values() if one.session is None]
        if len(strangers) >= STRANGERS_MAX:
            self._cut_off(strangers[0], What.STRANGER, f"more than {STRANGERS_MAX} connections have not logged on")
        self._connections[number] = Connection(number, self._now_ms)

    def receive(self, number: int, data: bytes) -> None:
        """Bytes came. Whatever they are, nothing is raised."""
        connection = self._connections.get(number)
        if connection is None:
            return
        if connection.session is not None:
            connection.session.tick(self._now_ms)
            connection.session.heard()
        try:
            connection.waiting.extend(connection.framer.feed(data))
        except FramingError as error:
            if connection.session is not None:
                connection.session.log_out(str(error))
            self._cut_off(connection, What.MALFORMED, "no FIX message")
            return

    def clog(self, number: int, *, is_clogged: bool) -> None:
        """A connection takes no more bytes for now, or it does again."""
        connection = self._connections.get(number)
        if connection is not None:
            connection.is_clogged = is_clogged

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

    def _advance(self) -> None:
        """Take what waits: one message of each connection in turn, as long as there is room for it."""
        waiting = [one for one in self._connections.values() if one.waiting]
        while waiting:
            waiting = [one for one in waiting if self._take(one)]

    def _take(self, connection: Connection) -> bool:
        """Take a message, if there is room; whether to come again. What goes wrong ends this connection alone."""
        if not connection.waiting or not self._has_room(connection):
            return False
        try:
            self._obey(connection, connection.waiting.popleft())
        except IslandError:
            raise
        except Exception as error:  # noqa: BLE001 - a defect of ours, which nobody else should suffer from
            self._cut_off(connection, What.DEFECT, f"{type(error).__name__}: {error}", traceback.format_exc())
        return connection.number in self._connections

    def _obey(self, connection: Connection, message: Message) -> None:
        if connection.session is None and not self._introduce(connection, message):
            return
        door, session = connection.door, connection.session
        assert door is not None, connection.number
        assert session is not None, connection.number
        session.tick(self._now_ms)
        was = session.state
        for each in session.receive(message):
            self._requests.act(door, session, each)
        if was is State.CONNECTED and session.state is State.LOGGING_ON:
            self._log_on(door)
        self._fetch(door)
        if session.state is State.ENDED:
            self._close(connection)

    def _has_room(self, connection: Connection) -> bool:
        door = connection.door
        if door is None or door.session is None:
            return True
        if door.session.state is State.LOGGING_ON or connection.is_clogged:
            return False
        if sum(map(len, door.session.out)) > OUT_BYTES_MAX:
            return False
        return not door.client_id or self.orders.room(door.client_id) > 0

    def _introduce(self, connection: Connection, message: Message) -> bool:
        """Whose connection is it? Who is not known or does not log on is cut off without a word; so is a second one."""
        party = self._settings.find(message.get(t.SENDER_COMP_ID))
        problem = self._introduction_problem(party, message)
        if party is None or problem:
            self._news.append(News(What.REFUSED, message.get(t.SENDER_COMP_ID), problem, connection.number))
            self._close(connection)
            return False
        door = self._door(party)  # anew, where another connection was cut off
        terms = Terms(
            self._settings.comp_id, party.comp_id, party.heartbeat_min, party.heartbeat_max, may_reset=party.reset
        )
        connection.session = door.session = Session(terms, door.store, self._utc_ns)
        door.market = Market()
        connection.session.begin(self._now_ms)
        connection.door = door
        return True

    def _introduction_problem(self, party: Counterparty | None, message: Message) -> str:
        """Why not, for our eyes: the other side is not told."""
        if not self.orders.is_live:
            return "the gateway is only starting"
        if party is None:
            return "nobody of this comp id may log on"
        if message.get(t.TARGET_COMP_ID) != self._settings.comp_id:
            return "its TargetCompID is not ours"
        if message.type != Type.LOGON:
            return "its first message is no Logon"
        if party.password and message.get(t.PASSWORD) != party.password:
            return "its password is wrong"
        known = self._doors.get(party.comp_id)
        if known is not None and (known.is_leaving or known.asked or not self._cut_off_silent(known)):
            return "it is on another connection"
        return ""

    def _cut_off(self, connection: Connection, what: What, why: str, trace: str = "") -> None:
        """Let go of a connection for what it did, or what we did wrong."""
        who = connection.door.party.comp_id if connection.door is not None else ""
        self._news.append(News(what, who, why, connection.number, trace))
        self._close(connection)

    def _cut_off_silent(self, door: Door) -> bool:
        """Make room for a new connection, where there is none or nothing is heard of it; whether there is room."""
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
            self.orders.local.add(door.link)
        return door

    def _close(self, connection: Connection) -> None:
        """Let go of a connection, and of its client."""
        if self._connections.pop(connection.number, None) is None:
            return
        self._closing.append(connection.number)
        door = connection.door
        if door is None or door.session is not connection.session:
            return
        if connection.session is not None:
            self._tell_end(door, connection.session, connection.number)
        if connection.session is not None and connection.session.out:
            self._last_words.append((connection.number, b"".join(connection.session.out)))
            connection.session.out.clear()
        door.session = None
        if door.client_id:
            door.is_leaving = True
            self._leave(door)
        elif not door.asked:
            self._forget(door)

    def _tell_end(self, door: Door, session: Session, number: int) -> None:
        what, why = (What.LOGGED_OFF if door.client_id else What.REFUSED), session.why or "its connection is gone"
        if door.party.password:
            why = why.replace(door.party.password, "***")  # a reject may quote what was sent
        self._news.append(News(what, door.party.comp_id, why, number))

    # --- the order session ------------------------------------------------------------------------

    def _call(self, door: Door, *messages: p.Frame | m.Message) -> None:
        self.orders.hear(door.link, messages)

    def _log_on(self, door: Door) -> None:
        """Find the client; the Logon is answered when that is done."""
        self._ask(door, self._last_seen(door))

    def _ask(self, door: Door, last_seen: int) -> None:
        """Log on at the order session, or once more: all reports behind a place follow its answer."""
        door.asked += 1
        self._call(door, p.Logon(door.party.client, last_seen))

    def _last_seen(self, door: Door) -> int:
        """What came before needs not come again; nothing at all, where a session begins."""
        if not door.store.has_started:
            return p.LATEST
        return min(max(0, door.store.place.sequence - 1), self.orders.position)

    def _leave(self, door: Door) -> None:
        """Log off: where all orders are to be canceled then, when they are."""
        if not door.party.cancel_on_disconnect:
            self._log_off(door)
        elif door.cancel_number:
            self._call(door, p.Heartbeat())  # where it is not logged on any longer, it hears that
        elif self.orders.room(door.client_id) > 0:
            door.cancel_number = self.orders.next_number(door.client_id)
            self._call(door, m.CancelAll(door.client_id, door.cancel_number, door.client_id, 0))

    def _log_off(self, door: Door) -> None:
        door.store.knows(door.cancel_number)
        self._call(door, p.Logoff(door.client_id))
        door.client_id = door.cancel_number = 0
        door.is_leaving = False
        door.store.log_on(on=False)
        self._forget(door)

    def _forget(self, door: Door) -> None:
        """Who is not here takes no memory: its file is read again when it comes back."""
        door.store.close()
        del self._doors[door.party.comp_id], self._links[door.link]
        self.orders.local.discard(door.link)

    def _fetch(self, door: Door) -> None:
        """Ask for the reports that are to be sent again."""
        session = door.session
        if session is None or session.state is not State.ACTIVE or session.awaits == NOWHERE:
            door.fetched = NOWHERE
        elif door.fetched == NOWHERE or session.awaits < door.fetched:
            door.fetched = session.awaits
            self._ask(door, max(0, session.awaits.sequence - 1))

    def _hear(self, door: Door, message: object) -> None:
        """What the order session says to a client."""
        if isinstance(message, e.Event):
            self._report(door, message)
        elif isinstance(message, p.LoggedOn):
            self._logged_on(door, message)
        elif isinstance(message, p.LoggedOff) and message.reason == p.LogoffReason.REQUESTED:
            return
        elif isinstance(message, p.LoggedOff) and door.is_leaving:
            door.asked = door.cancel_number = 0  # it was not taken: log on once more, for that alone
            self._ask(door, p.LATEST)
        elif isinstance(message, p.LoggedOff) and door.session is None:
            self._forget(door)  # whose connection is gone as well
        elif isinstance(message, _REFUSALS) and door.session is not None:
            door.asked = 0  # no answer comes any more
            door.session.log_out(getattr(message, "text", "") or f"the venue says {type(message).__name__}")

    def _logged_on(self, door: Door, told: p.LoggedOn) -> None:
        session = door.session
        door.start_over()
        door.asked -= 1
        if door.asked:
            return
        door.client_id = told.client_id
        if session is not None and session.state is not State.LOGGING_ON:
            self._fetch(door)
            return
        if session is None:  # its connection is gone, or an earlier process ended while it was logged on
            door.is_leaving = True
            self._leave(door)
            return
        if not door.store.has_started:
            door.store.start(told.position)
        else:
            door.has_doubts = told.last_number > door.store.last_command
        door.store.rewind(told.last_number)
        door.store.log_on(on=True)
        session.accept()
        if session.state is State.ACTIVE:
            self._news.append(News(What.LOGGED_ON, door.party.comp_id, connection=self._number_of(session)))
        self._fetch(door)

    def _number_of(self, session: Session) -> int:
        """Of the connection that a session is on."""
        return next((one.number for one in self._connections.values() if one.session is session), 0)

    def _report(self, door: Door, event: e.Event) -> None:
        place = door.place_of(event)
        session = door.session
        if door.cancel_number and event.number == door.cancel_number:
            self._log_off(door)
        if session is None or session.state is not State.ACTIVE or door.asked:
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
            if session.awaits == NOWHERE:
                door.fetched = NOWHERE
        elif made is not None:
            session.send(*made, place)

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
        if now_ms - self._retried_ms >= RETRY_MS:
            self._retried_ms = now_ms
            for door in tuple(self._doors.values()):
                if door.is_leaving:
                    self._leave(door)
        self.orders.tick(now_ms)
        if now_ms - self._watched_ms < WATCH_MS:
            return
        self._watched_ms = now_ms
        for connection in tuple(self._connections.values()):
            if connection.session is None:
                if now_ms - connection.since_ms > STRANGER_MS:
                    self._cut_off(connection, What.STRANGER, f"no Logon within {STRANGER_MS // 1000} s")
                continue
            connection.session.tick(now_ms)
            if connection.session.state is State.ENDED:
                self._close(connection)

    def stop(self) -> None:
        """Say goodbye to all that are logged on: `flush` and `duties` are to be called once more."""
        for connection in tuple(self._connections.values()):
            if connection.session is not None:
                connection.session.log_out("the gateway stops")

    def flush(self) -> None:
        """Hand on what the order session says; then write all stores: nothing is done before. Raises IslandError."""
        self._advance()
        while True:
            owed = self.orders.duties()
            self._batches += owed.batches
            self._rebuild_from = owed.rebuild_from
            for link, data in owed.frames:
                for message in p.FROM_GATEWAY.decode(data):
                    door = self._links.get(link)
                    if door is not None:
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
        news, self._news = self._news, []
        return Duties(batches, frames, closing, self._rebuild_from, news)

    def close(self) -> None:
        """Let go of the stores."""
        for door in self._doors.values():
            door.store.close()
