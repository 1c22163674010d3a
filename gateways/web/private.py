"""What needs a key over WebSocket: order entry, `executions`, `credit`, `drop_copy`, `venue`.

    request with a token --> whose it is, and what it may --> Trading, Accounts, Copies --> replies and messages

Rules
- Each request has a token; on a connection where it was good once it stays so for as long as its key is one.
- A key that is revoked ends its connections.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from engines.accounts import Accounts, Holding
from gateways.names import decimal_text
from gateways.times import iso_text
from gateways.web import requests
from gateways.web.copies import Copies
from gateways.web.keys import DROP_COPY, OPERATE, READ, TRADE, Gate, Key
from gateways.web.overview import Overview
from gateways.web.refusals import RefusedError
from gateways.web.requests import CancelAllOrdersAfter
from gateways.web.timers import Timers
from gateways.web.trading import Call, Trading
from sequencer.admin import Status
from sequencer.errors import IslandError

CHANNELS: Final = ("executions", "credit", "drop_copy", "venue")
TOKENS_MAX: Final = 8
"""Of one connection."""
_RIGHTS: Final = {"executions": READ, "credit": READ, "drop_copy": DROP_COPY, "venue": OPERATE}

Replies = list[tuple[int, dict[str, Any]]]


class Params(msgspec.Struct, forbid_unknown_fields=True):
    """Of a subscription to a private channel; `since` is the `log_sequence` of the last row that was seen."""

    channel: str
    token: str = ""
    snapshot: bool = True
    since: int | None = None


class Private:
    """The private side of all connections."""

    def __init__(self, gate: Gate, trading: Trading, timers: Timers, utc_ms: Callable[[], int]) -> None:
        self.accounts = Accounts()
        self.is_rebuilding = False
        """The accounts are behind, for a while."""
        self.copies = Copies()
        self.overview = Overview()
        self.watching: dict[int, int] = {}
        """Connections that see the venue, and the number of their last message."""
        self.gate = gate
        self._trading = trading
        self._timers = timers
        self._utc_ms = utc_ms
        self._keys: dict[int, dict[str, Key]] = {}
        """Connection -> token -> key, as they were shown."""
        self._credit: dict[int, tuple[str, list[Holding], int]] = {}
        """Connection -> client, what was told last, the number of that message."""

    # --- connections ------------------------------------------------------------------------------

    def lost(self, number: int) -> None:
        """A connection is gone."""
        self._keys.pop(number, None)
        self._credit.pop(number, None)
        self.copies.subscribers.pop(number, None)
        self.watching.pop(number, None)
        self._trading.lost(number)

    def revoked(self) -> list[int]:
        """Connections that have shown a key which is none any more."""
        return [number for number, keys in self._keys.items() if not all(map(self.gate.is_valid, keys.values()))]

    def holder(self, number: int, token: str) -> Key:
        """Whose request this is. Raises RefusedError."""
        shown = self._keys.setdefault(number, {})
        key = shown.get(token)
        if key is None or not self.gate.is_valid(key):
            key = self.gate.holder(token)
            if len(shown) >= TOKENS_MAX:
                raise RefusedError(f"token: expected at most {TOKENS_MAX} on one connection", 429)
            shown[token] = key
        return key

    # --- requests ---------------------------------------------------------------------------------

    def act(self, number: int, method: str, req_id: int | None, params: msgspec.Raw) -> None:
        """Take a request about orders; Trading replies. Raises RefusedError."""
        request = requests.read(method, params)
        key = self.holder(number, request.token)
        key.demand(TRADE)
        self.order(key.client, Call(number, method, req_id), request)

    def order(self, client: str, call: Call, request: Any) -> None:
        """The same, of a client that is known. Raises RefusedError."""
        if isinstance(request, CancelAllOrdersAfter):
            self._set_timer(client, call, request.timeout)
        else:
            self._trading.ask(client, call, request)

    def _set_timer(self, client: str, call: Call, timeout_s: int) -> None:
        now_ms = self._utc_ms()
        due_ms = now_ms + 1000 * timeout_s if timeout_s else 0
        try:
            self._timers.set(client, due_ms)
        except IslandError as error:
            raise RefusedError(str(error), 503) from None
        times = {"current_time": iso_text(now_ms * 1_000_000)} | (
            {"trigger_time": iso_text(due_ms * 1_000_000)} if due_ms else {}
        )
        self._trading.reply(call, msgspec.Raw(msgspec.json.encode(times)))

    def subscribe(self, number: int, req_id: int | None, raw: msgspec.Raw) -> Iterator[bytes]:
        """Begin a private channel; what is told at once (Trading tells more). Raises RefusedError."""
        params, key = self._params(number, raw)
        if params.channel == "executions":
            self._trading.watch(key.client, Call(number, "subscribe", req_id), params.since, snapshot=params.snapshot)
            return
        if params.since is not None and params.channel != "drop_copy":
            raise RefusedError(f"since: {params.channel} has none, it is told as it is")
        if number in self._subscribed(params.channel):
            raise RefusedError("already subscribed", 409)
        if params.channel == "credit":
            held = self.holdings(key.client)
            self._credit[number] = (key.client, held, 0)
            told = self._credit_message("snapshot", 0, held)
        elif params.channel == "venue":
            self.watching[number] = 0
            told = _venue_message("snapshot", 0, self.overview.whole())
        else:
            told = self.copies.snapshot(params.since, self._trading.orders.position, self._trading.orders.names)
            self.copies.subscribers[number] = None
        yield _accepted("subscribe", req_id, params.channel)
        if params.snapshot or params.since is not None:
            yield told

    def unsubscribe(self, number: int, req_id: int | None, raw: msgspec.Raw) -> bytes:
        """End a private channel. Raises RefusedError."""
        params, key = self._params(number, raw)
        if params.channel == "executions":
            was = self._trading.unwatch(key.client, number)
        else:
            was = self._subscribed(params.channel).pop(number, self) is not self
        if not was:
            raise RefusedError("not subscribed", 409)
        return _accepted("unsubscribe", req_id, params.channel)

    def _subscribed(self, channel: str) -> dict[int, Any]:
        """By connection."""
        found: dict[str, dict[int, Any]] = {
            "credit": self._credit, "drop_copy": self.copies.subscribers, "venue": self.watching
        }  # fmt: skip
        return found[channel]

    def _params(self, number: int, raw: msgspec.Raw) -> tuple[Params, Key]:
        try:
            params = msgspec.json.decode(raw, type=Params)
        except msgspec.DecodeError as error:
            raise RefusedError(f"params: {error}") from None
        key = self.holder(number, params.token)
        key.demand(_RIGHTS[params.channel])
        return params, key

    # --- messages ---------------------------------------------------------------------------------

    def news(self) -> Iterator[tuple[list[int], bytes]]:
        """Who is told what, after everything that came in this wake."""
        if not self.is_rebuilding:
            for number, (client, before, count) in tuple(self._credit.items()):
                held = self.holdings(client)
                if held != before:
                    self._credit[number] = (client, held, count + 1)
                    yield [number], self._credit_message("update", count + 1, held)
        copied = self._trading.orders.copied
        if copied:
            text = self.copies.take(copied, self._trading.orders.names)
            copied.clear()
            if text is not None:
                yield list(self.copies.subscribers), text

    def see_venue(
        self, found: Status, problems: list[str], time_ns: int, now_ms: int
    ) -> Iterator[tuple[list[int], bytes]]:
        """Who is told what, after a look at all processes at this UTC and monotonic time."""
        self.overview.see(found, problems, time_ns, now_ms)
        latest = self.overview.latest() if self.watching else {}
        for number in self.watching:
            self.watching[number] += 1
            yield [number], _venue_message("update", self.watching[number], latest)

    def clients(self, find: str, count: int) -> dict[str, Any]:
        """Clients whose names hold a text, by name."""
        names = self._trading.orders.names
        found = sorted(name for name in names.client_ids if find.lower() in name.lower())
        rows = [
            {
                "client": name,
                "blocked": self.accounts.is_blocked(names.client_ids[name]),
                "credit": credit_rows(self.holdings(name)),
            }
            for name in found[:count]
        ]
        return {"clients": rows, "total": len(found)}

    def holdings(self, client: str) -> list[Holding]:
        """A client's credit."""
        client_id = self._trading.orders.names.client_ids.get(client)
        return self.accounts.holdings(client_id) if client_id else []

    def _credit_message(self, kind: str, number: int, held: Iterable[Holding]) -> bytes:
        head: dict[str, Any] = {"channel": "credit", "type": kind, "sequence": number}
        return msgspec.json.encode(head | {"data": credit_rows(held), "log_sequence": self.accounts.position})


def _venue_message(kind: str, number: int, data: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"channel": "venue", "type": kind, "sequence": number, "data": data})


def credit_rows(held: Iterable[Holding]) -> list[dict[str, Any]]:
    """Credit as JSON: numbers with all decimals of the currency."""
    return [
        {"currency": one.currency}
        | {
            name: msgspec.Raw(decimal_text(getattr(one, name), one.decimals).encode())
            for name in ("limit", "free", "reserved", "used")
        }
        for one in held
    ]


def _accepted(method: str, req_id: int | None, channel: str) -> bytes:
    head: dict[str, Any] = {"method": method, "success": True, "result": {"channel": channel}}
    return msgspec.json.encode(head if req_id is None else head | {"req_id": req_id})
