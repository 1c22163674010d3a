"""What operators ask over HTTP, and the pages of the console.

GET  /v1/venue, /v1/venue/clients, /v1/venue/log/SEQUENCE, /v1/venue/poison, /v1/venue/actions
POST /v1/venue/NAME: an action, see `actions`         all of these with a key that may operate
GET  /, /console/FILE                                 for everybody
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from gateways.web import actions, rest
from gateways.web.gateway import WebGateway
from gateways.web.keys import OPERATE, Key
from gateways.web.refusals import RefusedError
from gateways.web.routes import Routes
from sequencer.config import Config

CLIENTS: Final = 100
CLIENTS_MAX: Final = 1000
PAGES: Final = Path(__file__).parent / "console"
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class OperatorRoutes:
    """Beside the routes for everybody: `routes` finds out who asks, and waits for the venue."""

    def __init__(self, config: Config, gateway: WebGateway, routes: Routes) -> None:
        self._config = config
        self._gateway = gateway
        self._routes = routes
        self._acting = asyncio.Lock()

    def table(self) -> list[web.RouteDef]:
        """All of them."""
        keyed = self._routes.keyed
        return [
            web.get("/v1/venue", keyed(OPERATE, self._venue)),
            web.get("/v1/venue/clients", keyed(OPERATE, self._clients)),
            web.get("/v1/venue/log/{sequence}", keyed(OPERATE, self._log)),
            web.get("/v1/venue/poison", keyed(OPERATE, self._poison)),
            web.get("/v1/venue/actions", keyed(OPERATE, self._actions)),
            web.post("/v1/venue/{action}", keyed(OPERATE, self._act)),
            web.get("/", _page),
            web.get("/console/{file}", _page),
        ]

    async def _venue(self, _request: web.Request, _key: Key, _body: bytes) -> rest.Answer:
        self._gateway.see(*await _apart(lambda: actions.status(self._config)))
        return 200, msgspec.json.encode(self._gateway.private.overview.whole())

    async def _clients(self, request: web.Request, _key: Key, _body: bytes) -> rest.Answer:
        count = rest.number_in(request.query, "count", CLIENTS, CLIENTS_MAX)
        return 200, msgspec.json.encode(self._gateway.private.clients(request.query.get("find", ""), count))

    async def _log(self, request: web.Request, _key: Key, _body: bytes) -> rest.Answer:
        sequence = rest.number_in(request.match_info, "sequence", 0, (1 << 63) - 1)
        return 200, await _apart(lambda: actions.message(self._config, sequence))

    async def _poison(self, _request: web.Request, _key: Key, _body: bytes) -> rest.Answer:
        return 200, await _apart(lambda: actions.poison(self._config))

    async def _actions(self, _request: web.Request, _key: Key, _body: bytes) -> rest.Answer:
        return 200, self._gateway.private.overview.actions()

    async def _act(self, request: web.Request, key: Key, body: bytes) -> rest.Answer:
        """One at a time: it is read, written to the log, and done."""
        name = request.match_info["action"]
        action = actions.read(name, body)
        if self._acting.locked():
            raise RefusedError("another action is being done: try again when it is", 409)
        async with self._acting:
            await _apart(lambda: actions.note(self._config, key.client, name, action))
            if isinstance(action, actions.Command):
                return await self._command(key, bytes(action.command).decode())
            return 200, msgspec.json.encode(await _apart(lambda: actions.act(self._config, action)))

    async def _command(self, key: Key, text: str) -> rest.Answer:
        status, body = await self._routes.ask(lambda caller: self._gateway.operate(caller, key.client, text))
        found = msgspec.json.decode(body)
        done = {} if "error" in found else {"done": f"{_what(found)} at {found['log_sequence']:,}"}
        return status, msgspec.json.encode(done | found)


def _what(found: dict[str, Any]) -> str:
    """What became of a command: its event, or how many orders are canceled."""
    return found["type"] if "type" in found else f"{found['count']:,} orders canceled"


async def _apart(act: Callable[[], Any]) -> Any:
    """Do what waits in a thread of its own; it goes on where the one who asked has hung up."""
    return await asyncio.shield(asyncio.to_thread(act))


async def _page(request: web.Request) -> web.StreamResponse:
    path = PAGES / request.match_info.get("file", "index.html")
    if path.suffix not in _TYPES or path.parent != PAGES or not path.is_file():
        return web.Response(status=404, text="there is no such page: the console is at /")
    return web.Response(body=path.read_bytes(), content_type=_TYPES[path.suffix], charset="utf-8", headers=_HEADERS)
