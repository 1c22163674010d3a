"""The FIX gateway without its sockets: connections, sessions, and the order session behind them.

    bytes --Framer--> messages --fix.Session--> in turn --Requests--> commands --+
                                                                                 Dialogue --> order.Session --> log
    bytes <--fix.Session-- reports <--translate-- events <-----------------------+               ^--entries--+

Rules
- A message is taken when there is room for the command that it becomes, and when its session may send one. Until then
  it and all behind it wait, and the connection is not read any further: nobody is told "busy", and nothing is lost.
- Numbers begin anew within a session when all that was taken is in the log, and nothing is being sent again: what the
  store forgets then is needed no more.
- A client is on one connection. A second one is cut off, unless the first has gone silent.
"""

import hmac
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from gateways.fix import tags as t
from gateways.fix.codec import FramingError, Message
from gateways.fix.dialogue import Dialogue
from gateways.fix.door import Connection, Door
from gateways.fix.market import Market
from gateways.fix.requests import Requests
from gateways.fix.session import Session, State, Terms
from gateways.fix.settings import Counterparty, Settings
from gateways.fix.store import NOWHERE, Store
from gateways.fix.tags import SESSION_TYPES, Type
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
        copies = [party.comp_id for party in settings.sessions if party.drop_copy]
        self.orders = OrderSession(limits, copies)
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
        self._dialogue = Dialogue(self.orders, self._logged_on, self._forget)
        self._requests = Requests(self.orders, self._dialogue.submit, utc_ns)

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
                    self._dialogue.cancel_for(door)
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
        message = connection.waiting.popleft()
        if connection.door is not None and message.type not in SESSION_TYPES:
            connection.door.pace.took()
        try:
            self._obey(connection, message)
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
            self._dialogue.log_on(door)
        self._dialogue.fetch(door)
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
        kind = connection.waiting[0].type
        if kind == Type.LOGON:
            return self._is_at_rest(door, door.session)
        if kind not in SESSION_TYPES and not door.pace.has_room(self._now_ms):
            return False
        return door.client_id <= 0 or self.orders.room(door.client_id) > 0

    def _is_at_rest(self, door: Door, session: Session) -> bool:
        """Whether numbers may begin anew: nothing is on its way to the log, and nothing is being sent again."""
        return session.awaits == NOWHERE and (door.client_id <= 0 or self.orders.is_sequenced(door.client_id))

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
        if party.username and not _is_same(message.get(t.USERNAME), party.username):
            return "its username is wrong"
        if party.password and not _is_same(message.get(t.PASSWORD), party.password):
            return "its password is wrong"
        if self.sessions >= self._settings.sessions_max:
            return f"{self._settings.sessions_max} sessions are logged on already, and no more may be: sessions_max"
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
            door = self._doors[party.comp_id] = Door(party, Store(path), self._settings.pace_of(party))
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
            if connection.session.out:
                self._last_words.append((connection.number, connection.session.take_out()))
        door.session = None
        if door.client_id:
            self._dialogue.leave(door)
        elif not door.asked:
            self._forget(door)

    def _forget(self, door: Door) -> None:
        """Who is not here takes no memory: its file is read again when it comes back."""
        door.store.close()
        del self._doors[door.party.comp_id], self._links[door.link]
        self.orders.local.discard(door.link)

    def _logged_on(self, door: Door) -> None:
        number = next((one.number for one in self._connections.values() if one.session is door.session), 0)
        self._news.append(News(What.LOGGED_ON, door.party.comp_id, connection=number))

    def _tell_end(self, door: Door, session: Session, number: int) -> None:
        what, why = (What.LOGGED_OFF if door.client_id else What.REFUSED), session.why or "its connection is gone"
        if door.party.password:
            why = why.replace(door.party.password, "***")  # a reject may quote what was sent
        self._news.append(News(what, door.party.comp_id, why, number))

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
                    self._dialogue.leave(door)
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
                        self._dialogue.hear(door, message)
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
                frames.append((connection.number, session.take_out()))
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


def _is_same(said: str, expected: str) -> bool:
    """In a time that tells nothing of where they differ."""
    return hmac.compare_digest(said.encode(), expected.encode())
