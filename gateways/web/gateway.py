"""The web gateway without its sockets: what comes in on connections and over REST, what goes out.

    log --entries--> Books, Trading, Accounts --+--> text for connections
    connections, REST --requests----------------+--> answers to REST
                                                +--> batches to submit

Rules
- An entry is decoded once for all that read it, but the accounts.
- It is a function of the log and of what comes in: a process that has read the log is like the one before.
- Requests of REST have numbers below 0, connections have those above.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from engines.messages import COMMANDS, RESULTS, InstrumentHalted, InstrumentResumed, InstrumentSet
from gateways.events import MassCanceled
from gateways.flow import lines
from gateways.marketdata.books import Books
from gateways.news import News, What
from gateways.order.session import Limits
from gateways.orders import runs
from gateways.web import requests
from gateways.web.executions import listed, with_field
from gateways.web.hub import ONLINE, SILENT, Hub, reply
from gateways.web.keys import DROP_COPY, Gate, Key, Keys
from gateways.web.past import COUNT, COUNT_MAX, Asked, PastReports
from gateways.web.private import Private, credit_rows
from gateways.web.refusals import RefusedError
from gateways.web.rest import Answer, number_in
from gateways.web.timers import Timers
from gateways.web.trading import Call, Reply, Trading
from sequencer.admin import Status
from sequencer.envelope import Entry

SILENT_MS: Final = 3000
"""An election is over sooner."""
_NEWS: Final = (InstrumentSet, InstrumentHalted, InstrumentResumed)


@dataclass(slots=True)
class Duties:
    """What the shell owes after a wake, in this order; old entries are wanted from these indexes on (0: none)."""

    batches: list[tuple[int, bytes]] = field(default_factory=list)
    told: list[tuple[list[int], bytes]] = field(default_factory=list)
    answers: list[tuple[int, Answer]] = field(default_factory=list)
    closing: list[tuple[int, str]] = field(default_factory=list)
    """(connection, why)"""
    news: list[News] = field(default_factory=list)
    """For the log."""
    reports_from: int = 0
    past_from: int = 0
    accounts_from: int = 0


class WebGateway:
    """The gateway's decisions. Call the inputs in any order, then `duties` once a wake."""

    def __init__(
        self, keys: Keys, directory: Path, utc_ns: Callable[[], int], version: str, limits: Limits | None = None
    ) -> None:
        self.books = Books()
        self.trading = Trading(limits)
        self.timers = Timers(directory)
        self.gate = Gate(keys, lambda: utc_ns() // 1000)
        self.private = Private(self.gate, self.trading, self.timers, lambda: utc_ns() // 1_000_000)
        self.hub = Hub(self.books, version, self.private)
        self._utc_ns = utc_ns
        self._past = PastReports()
        self._pending: dict[int, None] = {}
        """Requests over REST that are not answered yet."""
        self._owed = Duties()
        self._next_index = 1
        self._now_ms = 0

    @property
    def is_live(self) -> bool:
        """Whether it serves."""
        return self.trading.orders.is_live

    def go_live(self) -> None:
        """Everything of the log that an earlier process of this name got in is seen: serve."""
        self.trading.orders.is_live = True
        self.trading.orders.copied = []
        self.private.copies.begin(self.trading.orders.position)

    # --- connections ------------------------------------------------------------------------------

    def connect(self, number: int) -> None:
        """A WebSocket was opened."""
        self._owed.told += [([number], text) for text in self.hub.connect(number)]

    def receive(self, number: int, text: str | bytes) -> None:
        """Take what a connection says. Whatever is in it, nothing is raised."""
        self._owed.told += [([number], told) for told in self.hub.receive(number, text)]

    def lost(self, number: int) -> None:
        """A connection is gone."""
        self.hub.lost(number)

    # --- REST: each is answered in `Duties.answers`, or raises RefusedError -----------------------

    def order(self, caller: int, client: str, method: str, params: bytes) -> None:
        """A request about orders."""
        request = requests.read(method, params)
        self._pending[caller] = None
        self.private.order(client, Call(caller, method), request)

    def open_orders(self, caller: int, client: str) -> None:
        """Live orders, the place in the log, the next command's number."""
        self._pending[caller] = None
        self.trading.inquire(client, Call(caller, "orders"))

    def executions(self, caller: int, key: Key, query: Any) -> None:
        """What happened behind a place of the log: to the client's orders, or to all, where the key is for that."""
        since = number_in(query, "since", 0, (1 << 63) - 1)
        count = number_in(query, "count", COUNT, COUNT_MAX)
        orders, is_for_all = self.trading.orders, DROP_COPY in key.may
        client_id = 0 if is_for_all else orders.names.client_ids.get(key.client, 0)
        rows = None
        if not is_for_all:
            rows = self.trading.recent(client_id, since) if client_id else []
        if rows is not None and len(rows) <= count:
            body = {"executions": listed(rows), "log_sequence": max(since, orders.position)}
            self._owed.answers.append((caller, (200, msgspec.json.encode(body))))
        elif self._past.ask(Asked(caller, client_id, since, orders.position, max(1, count))):
            self._pending[caller] = None
        else:
            raise RefusedError("busy: too many read the past: try again", 429)

    def credit(self, client: str) -> Answer:
        """What a client may spend, now."""
        if self.private.is_rebuilding:
            raise RefusedError("busy: credit is being read from the log: try again", 503)
        rows = credit_rows(self.private.holdings(client))
        body = {"client": client, "credit": rows, "log_sequence": self.private.accounts.position}
        return 200, msgspec.json.encode(body)

    def forget(self, caller: int) -> None:
        """Nobody waits for this answer any more."""
        self._pending.pop(caller, None)

    # --- the log ----------------------------------------------------------------------------------

    def stream(self, entries: Iterable[Entry]) -> None:
        """Take entries of the live stream, in order, each once."""
        for entry in entries:
            readable = list(runs(entry))
            self.trading.take(entry, readable)
            self.private.overview.take(entry, readable)
            for first_sequence, channel, messages in readable:
                if channel in (COMMANDS, RESULTS):
                    updates = self.books.apply(first_sequence, entry.time_ns, channel, messages)
                    self._owed.told += self.hub.publish(updates)
                if channel == RESULTS:
                    self._announce({one.instrument_id for one in messages if isinstance(one, _NEWS)})
            if not self.private.is_rebuilding:
                self.private.accounts.take(entry)
                if self.private.accounts.is_overruled:
                    self._begin_accounts_again()
            self._next_index = entry.index + 1

    def _announce(self, changed: set[int]) -> None:
        if changed:
            instruments = self.books.directory.instruments
            self._owed.told += self.hub.announce([instruments[one] for one in sorted(changed)])

    def old_reports(self, entries: Iterable[Entry]) -> None:
        """Take old entries, from `Duties.reports_from` on, in order."""
        self.trading.rebuild(entries)

    def old_past(self, entries: Iterable[Entry]) -> None:
        """Take old entries, from `Duties.past_from` on, in order."""
        for found in self._past.take(entries):
            body = {"executions": listed(found.rows), "log_sequence": found.up_to}
            self._answer(found.caller, (200, msgspec.json.encode(body)))

    def old_accounts(self, entries: Iterable[Entry]) -> None:
        """Take old entries, from `Duties.accounts_from` on, in order."""
        accounts = self.private.accounts
        for entry in entries:
            if entry.index < self._next_index:
                accounts.take(entry)
        if accounts.is_overruled:
            self._begin_accounts_again()
        elif accounts.next_index == self._next_index:
            self.private.is_rebuilding = False

    def _begin_accounts_again(self) -> None:
        self.private.accounts = self.private.accounts.again()
        self.private.is_rebuilding = True

    # --- operators --------------------------------------------------------------------------------

    def see(self, found: Status, problems: list[str]) -> None:
        """How all processes are, and what is wrong."""
        self._owed.told += self.private.see_venue(found, problems, self._utc_ns(), self._now_ms)

    def operate(self, caller: int, client: str, text: str) -> None:
        """A command of an operator, as a line of a flow."""
        try:
            line = lines.parse(text, 1)
        except lines.LineError as error:
            raise RefusedError(f"command: {error.message}") from None
        if isinstance(line, lines.OrderLine):
            raise RefusedError(f"command: expected one of an operator, got {line.kind}: see add_order")
        self._pending[caller] = None
        self.trading.command(client, Call(caller, "command"), line)

    # --- time and output --------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Tell the time (monotonic), at least every 100 ms."""
        self._now_ms = now_ms
        self.trading.tick(now_ms)
        self._owed.told += self.hub.turn(now_ms)
        if not self.is_live:
            return
        orders = self.trading.orders
        for client in self.timers.due(self._utc_ns() // 1_000_000):
            if client in orders.names.client_ids:
                orders.cancel_all(orders.names.client_ids[client])
            else:
                self.timers.done(client)

    def heartbeat(self, silent_ms: int = 0) -> None:
        """Tell all that read something that this gateway is there, and all whether it hears the venue."""
        self._owed.told += self.hub.turn_system(SILENT if silent_ms > SILENT_MS else ONLINE)
        self._owed.told.append(self.hub.heartbeat())

    def use(self, keys: Keys) -> None:
        """From now on these are the keys: what was opened with others is closed."""
        self.gate.replace(keys)
        self._owed.closing += [(number, "the key was revoked") for number in self.private.revoked()]

    def wrong_key(self, who: str, why: str) -> None:
        """Somebody asked for what is not his."""
        self._owed.news.append(News(What.WRONG_KEY, who, why))

    def duties(self) -> Duties:
        """What is to be done for everything that came in since the last call."""
        trading, owed = self.trading, self._owed
        trading.flush()
        for one in trading.replies:
            self._hand_out(one)
        owed.batches += trading.batches
        owed.news += trading.news
        owed.told += trading.told
        self._end_timers()
        owed.told += self.private.news()
        owed.reports_from, owed.past_from = trading.rebuild_from, self._past.next_index
        owed.accounts_from = self.private.accounts.next_index if self.private.is_rebuilding else 0
        trading.replies, trading.batches, trading.told, trading.news = [], [], [], []
        self._owed = Duties()
        return owed

    def _end_timers(self) -> None:
        """Those whose orders are canceled; the answer is nobody's, since no client has asked."""
        copied = self.trading.orders.copied if self.timers.are_firing else None
        for event in copied or ():
            if isinstance(event, MassCanceled) and not event.client_id:
                self.timers.done(self.trading.orders.names.client_name(event.account_id))

    def _hand_out(self, one: Reply) -> None:
        caller, told = one.call.caller, one.result
        if caller > 0:
            outcome: dict[str, Any] = {"success": not one.error}
            outcome |= {name: said for name, said in (("result", told), ("error", one.error)) if said}
            self._owed.told.append(([caller], reply(one.call.method, one.call.req_id, outcome)))
            return
        if one.error:
            said = with_field(bytes(told).decode(), "error", one.error) if told else _error(one.error)
            told = msgspec.Raw(said.encode())
        self._answer(caller, (one.status, bytes(told)))

    def _answer(self, caller: int, answer: Answer) -> None:
        if self._pending.pop(caller, self) is not self:
            self._owed.answers.append((caller, answer))


def _error(why: str) -> str:
    return msgspec.json.encode({"error": why}).decode()
