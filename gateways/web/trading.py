"""Order entry of the web gateway: clients, what they ask, what is answered, what they are told of their orders.

    request --requests--> commands, numbered --+                        +--> replies, by caller
                                               +--> order.Session <--> log
    watchers <--rows-- events of the client <--+                        +--> batches to submit

Rules
- Each client is one client of an order session in this process: that numbers and bounds its commands, and gives it
  its events in log order. Nothing of that is done again here.
- A command is answered when the venue has answered it: by the event whose number is the command's. A caller that
  names a number that was taken gets the first answer again, and no second order follows.
- Whoever watches a client's executions gets each of its events once, in messages that are numbered without a gap.
- A client is logged on while somebody calls or watches in its name.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from engines import messages as m
from gateways import events as e
from gateways.flow.lines import AnyLine
from gateways.flow.translate import accounts, translate
from gateways.names import TextError
from gateways.news import News
from gateways.order import protocol as p
from gateways.order.session import Limits
from gateways.order.session import Session as OrderSession
from gateways.web import executions, requests
from gateways.web.refusals import RefusedError
from gateways.web.requests import Asker
from sequencer.envelope import Entry

WAITING_MAX: Final = 256
"""Requests of a client that wait for its logon."""
IDLE_MS: Final = 10_000
_REFUSED: Final[dict[type, str]] = {
    e.OrderRejected: "rejected",
    e.CancelRejected: "cancel_rejected",
    e.ReplaceRejected: "amend_rejected",
    e.CreditRejected: "refused",
    e.InstrumentRejected: "refused",
    e.BatchRejected: "refused",
}
_JSON: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Call:
    """Who is to be answered; `method` and `req_id` are for that alone."""

    caller: int
    method: str
    req_id: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a command, or of a request that none followed from. Without an `error` it is done."""

    call: Call
    result: msgspec.Raw
    """A JSON object; empty, where nothing is to be said."""
    error: str = ""
    status: int = 200


@dataclass(eq=False, slots=True)
class _Desk:
    """One client, while somebody acts for it."""

    client: str
    link: bytes
    client_id: int = 0
    """0: not logged on yet."""
    ready: deque[tuple[Call, Callable[["_Desk"], None]]] = field(default_factory=deque)
    """What is to be done once it is, and who is to be answered."""
    waiting: dict[int, list[Call]] = field(default_factory=dict)
    """Command number -> who is to be told its answer."""
    watchers: dict[int, None] = field(default_factory=dict)
    sequence: int = 0
    """Of the last message to watchers."""
    seen: int = 0
    """The place in the log of the last event."""
    fresh: list[executions.Row] = field(default_factory=list)
    used_ms: int = 0

    @property
    def is_idle(self) -> bool:
        return not (self.ready or self.waiting or self.watchers)


class Trading:
    """All clients. Call the inputs in any order; then `flush`, and take `batches`, `replies`, `told`, once a wake."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.orders = OrderSession(limits)
        self.batches: list[tuple[int, bytes]] = []
        """(message count, payload of the COMMANDS channel), to be submitted."""
        self.replies: list[Reply] = []
        self.told: list[tuple[list[int], bytes]] = []
        """(watchers, text)"""
        self.news: list[News] = []
        """For the log."""
        self.rebuild_from = 0
        """Index of the next old entry that the order session wants, or 0."""
        self._desks: dict[str, _Desk] = {}
        self._links: dict[bytes, _Desk] = {}
        self._speaking: dict[_Desk, None] = {}
        self._now_ms = self._watched_ms = 0

    # --- requests ---------------------------------------------------------------------------------

    def ask(self, client: str, call: Call, request: Any) -> None:
        """Take a request of a client; its reply comes when the venue has answered."""
        self._when_on(client, call, lambda desk: self._obey(desk, call, request))

    def command(self, client: str, call: Call, line: AnyLine) -> None:
        """Take an operator's command, as a flow has it. An account that is not known is registered first."""
        unknown = [account for account in accounts(line) if account not in self.orders.names.client_ids]
        if unknown:
            self._when_on(unknown[0], call, lambda _desk: self.command(client, call, line))
        else:
            self._when_on(client, call, lambda desk: self._carry_out(desk, call, line))

    def inquire(self, client: str, call: Call) -> None:
        """Tell a client's live orders."""
        self._when_on(client, call, lambda desk: self.reply(call, self._open_orders(desk)))

    def watch(self, client: str, call: Call, since: int | None, *, snapshot: bool = True) -> None:
        """Tell the caller of everything that happens to the client's orders, from now on, or from behind `since` on."""
        self._when_on(client, call, lambda desk: self._watch(desk, call, since, snapshot))

    def unwatch(self, client: str, watcher: int) -> bool:
        """Tell it no longer; whether it was told."""
        desk = self._desks.get(client)
        return desk is not None and desk.watchers.pop(watcher, self) is not self

    def lost(self, caller: int) -> None:
        """Nobody is there any more to be answered: what was asked for happens all the same."""
        for desk in self._desks.values():
            desk.watchers.pop(caller, None)

    def _when_on(self, client: str, call: Call, act: Callable[[_Desk], None]) -> None:
        desk = self._desks.get(client)
        if desk is None:
            link = b"web:" + client.encode()
            desk = self._desks[client] = self._links[link] = _Desk(client, link)
            self.orders.local.add(link)
            self._say(desk, p.Logon(client))
        desk.used_ms = self._now_ms
        if desk.client_id:
            self._try(call, act, desk)
        elif len(desk.ready) >= WAITING_MAX:
            self._refuse(call, RefusedError(f"busy: {WAITING_MAX} requests of this client wait: try again", 429))
        else:
            desk.ready.append((call, act))

    def _try(self, call: Call, act: Callable[[_Desk], None], desk: _Desk) -> None:
        try:
            act(desk)
        except RefusedError as refused:
            self._refuse(call, refused)

    def _obey(self, desk: _Desk, call: Call, request: Any) -> None:
        next_number = self.orders.next_number(desk.client_id)
        count, first = requests.count(request), request.number or next_number
        if first > next_number:
            raise RefusedError(f"number: expected {next_number} (or one before, for its answer), got {first}", 409)
        taken = min(next_number - first, count)  # of these only the numbers count: they get their first answers
        commands: list[m.Message] = [m.CancelOrder(desk.client_id, first + nth, 0, "-") for nth in range(taken)]
        if taken < count:
            asker = Asker(desk.client_id, self.orders)
            commands += requests.commands(requests.behind(request, taken), asker, next_number)
        self._submit(desk, call, commands, first)

    def _carry_out(self, desk: _Desk, call: Call, line: AnyLine) -> None:
        number = self.orders.next_number(desk.client_id)
        try:
            command: Any = translate(line, self.orders.names)
        except TextError as error:
            raise RefusedError(str(error)) from None
        command.client_id, command.number = desk.client_id, number
        self._submit(desk, call, [command], number)

    def _submit(self, desk: _Desk, call: Call, commands: list[m.Message], first: int) -> None:
        if self.orders.room(desk.client_id) < len(commands):
            raise RefusedError("busy: too many commands wait for their answers; wait for some, and try again", 429)
        for number in range(first, first + len(commands)):
            desk.waiting.setdefault(number, []).append(call)
        self._say(desk, *commands)

    def _watch(self, desk: _Desk, call: Call, since: int | None, snapshot: bool) -> None:
        if call.caller in desk.watchers:
            raise RefusedError("already subscribed", 409)
        missed = [] if since is None else self._missed(desk, since)
        self._tell(desk)  # what others are still to be told has the numbers before this
        desk.watchers[call.caller] = None
        self.reply(call, msgspec.Raw(b'{"channel":"executions"}'))
        if snapshot or missed:
            text = self._message(desk, "snapshot", self._live(desk) if snapshot else [], since=missed)
            self.told.append(([call.caller], text))

    def _missed(self, desk: _Desk, since: int) -> list[executions.Row]:
        """What happened behind a place; what is later than what this desk has heard comes as news."""
        held = self.recent(desk.client_id, since, desk.seen)
        if held is None or since > self.orders.position:
            raise RefusedError(
                f"since: {since} is not held in memory; GET /v1/executions?since={since} reads it from the log", 409
            )
        return held

    def recent(self, client_id: int, since: int, until: int = m.INT_MAX) -> list[executions.Row] | None:
        """What happened to a client behind a place of the log, up to another; None where memory does not have all."""
        held = self.orders.recent_reports(client_id, since)
        if held is None:
            return None
        pairs = numbered(one for one in held if one.sequence <= until)
        return [row for event, nth in pairs if (row := executions.row(event, nth, self.orders.names)) is not None]

    def _open_orders(self, desk: _Desk) -> msgspec.Raw:
        return msgspec.Raw(_JSON.encode({"orders": executions.listed(self._live(desk)), **self._place(desk)}))

    def _live(self, desk: _Desk) -> list[executions.Row]:
        names = self.orders.names
        return [executions.order_row(order, names) for order in self.orders.live_orders(desk.client_id)]

    def _place(self, desk: _Desk) -> dict[str, int]:
        """Where this is in the log, and the number of the client's next command."""
        return {"log_sequence": self.orders.position, "next_number": self.orders.next_number(desk.client_id)}

    # --- answers ----------------------------------------------------------------------------------

    def _say(self, desk: _Desk, *messages: p.Frame | m.Message) -> None:
        self.orders.hear(desk.link, messages)

    def _hear(self, desk: _Desk, message: object) -> None:
        """What the order session says to a client."""
        if isinstance(message, e.Event):
            self._happened(desk, message)
        elif isinstance(message, p.LoggedOn):
            desk.client_id, desk.seen = message.client_id, message.position
            while desk.ready:
                self._try(*desk.ready.popleft(), desk)
        elif isinstance(message, p.Expected | p.Busy | p.Reject):
            why = (
                getattr(message, "text", "") or "the client's commands come through another gateway as well: try again"
            )
            for number in sorted(one for one in desk.waiting if one >= message.next_number):
                for call in desk.waiting.pop(number):
                    self._refuse(call, RefusedError(why, 409))
        elif isinstance(message, p.LoggedOff) and message.reason != p.LogoffReason.REQUESTED:
            self._logged_off(desk, message.text)

    def _happened(self, desk: _Desk, event: e.Event) -> None:
        calls = desk.waiting.pop(event.number, ()) if event.number else ()
        is_second = event.sequence == desk.seen and type(event) is e.Fill and not event.is_maker
        is_news = event.sequence > desk.seen or is_second  # or else an answer that was asked for again
        desk.seen = max(desk.seen, event.sequence)
        is_told = is_news and desk.watchers
        row = executions.row(event, int(is_second), self.orders.names) if calls or is_told else None
        if row is not None and is_told:
            desk.fresh.append(row)
            self._speaking[desk] = None
        for call in calls:
            self._answer(call, event, row)

    def _answer(self, call: Call, event: e.Event, row: executions.Row | None) -> None:
        if row is None:
            place = {"number": event.number, "log_sequence": event.sequence}
            row = _JSON.encode(dict(e.fields(event, self.orders.names)) | place).decode()
        else:
            row = executions.with_field(row, "number", event.number)
        error = _REFUSED.get(type(event), "")
        if error:
            error = e.reason_word(getattr(event, "reason", 0)) or error
        self.reply(call, msgspec.Raw(row.encode()), error, 422 if error else 200)

    def _logged_off(self, desk: _Desk, why: str) -> None:
        """What was asked for may have happened: whoever asked finds out by its number, or by its orders."""
        for call in [call for calls in desk.waiting.values() for call in calls]:
            self._refuse(call, RefusedError(f"unknown: {why}; ask how the order stands", 503))
        for call, _act in desk.ready:
            self._refuse(call, RefusedError(f"not logged on: {why}", 503))
        self._forget(desk)

    def reply(self, call: Call, result: msgspec.Raw, error: str = "", status: int = 200) -> None:
        """Have a caller told."""
        self.replies.append(Reply(call, result, error, status))

    def _refuse(self, call: Call, refused: RefusedError) -> None:
        self.reply(call, msgspec.Raw(b""), str(refused), refused.status)

    # --- the log, time and output -----------------------------------------------------------------

    def take(self, entry: Entry, readable: Iterable[tuple[int, int, list[m.Message]]]) -> None:
        """Take an entry of the live stream, in order, each once, with its runs."""
        self.orders.take(entry, readable)

    def rebuild(self, entries: Iterable[Entry]) -> None:
        """Take old entries, from `rebuild_from` on, in order."""
        self.orders.rebuild(entries)

    def tick(self, now_ms: int) -> None:
        """Tell the time (monotonic), at least every 100 ms."""
        self._now_ms = now_ms
        self.orders.tick(now_ms)
        if now_ms - self._watched_ms >= IDLE_MS // 4:
            self._watched_ms = now_ms
            for desk in tuple(self._desks.values()):
                if desk.is_idle and desk.client_id and now_ms - desk.used_ms > IDLE_MS:
                    self._say(desk, p.Logoff(desk.client_id))
                    self._forget(desk)

    def _forget(self, desk: _Desk) -> None:
        del self._desks[desk.client], self._links[desk.link]
        self._speaking.pop(desk, None)
        self.orders.local.discard(desk.link)
        self.orders.lost(desk.link)

    def flush(self) -> None:
        """Hand on what the order session says."""
        while True:
            owed = self.orders.duties()
            self.batches += owed.batches
            self.news += owed.news
            self.rebuild_from = owed.rebuild_from
            for link, data in owed.frames:
                for message in p.FROM_GATEWAY.decode(data):
                    desk = self._links.get(link)
                    if desk is not None:
                        self._hear(desk, message)
            if not owed.frames:
                break
        for desk in tuple(self._speaking):
            self._tell(desk)

    def _tell(self, desk: _Desk) -> None:
        self._speaking.pop(desk, None)
        rows, desk.fresh = desk.fresh, []
        if rows and desk.watchers:
            desk.sequence += 1
            self.told.append((list(desk.watchers), self._message(desk, "update", rows)))

    def _message(self, desk: _Desk, kind: str, rows: list[executions.Row], **more: list[executions.Row]) -> bytes:
        head: dict[str, Any] = {"channel": "executions", "type": kind, "sequence": desk.sequence}
        head["data"] = executions.listed(rows)
        if kind == "snapshot":
            head |= {name: executions.listed(extra) for name, extra in more.items()} | self._place(desk)
        return _JSON.encode(head)


def numbered(events: Iterable[e.Event]) -> Iterable[tuple[e.Event, int]]:
    """Events of one client in log order, each with its place among those of one place in the log."""
    before = 0
    for event in events:
        yield event, int(event.sequence == before)
        before = event.sequence
