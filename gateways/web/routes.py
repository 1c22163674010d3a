"""REST as aiohttp routes: who asks is found out, the gateway answers, now or when the venue has.

GET  /openapi.json, /asyncapi.json                                                    for everybody
GET  /v1/instruments, /v1/book/SYMBOL, /v1/trades/SYMBOL, /v1/candles/SYMBOL          for everybody
POST /v1/token                                                                        with a key (see `keys`)
GET  /v1/orders, /v1/executions, /v1/credit                                           that may read
POST /v1/orders   PATCH, DELETE /v1/orders/ID   DELETE /v1/orders   POST /v1/cancel-after    that may trade
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import web

from gateways.web import rest
from gateways.web.description import asyncapi, openapi
from gateways.web.gateway import WebGateway
from gateways.web.hub import REQUEST_BYTES_MAX
from gateways.web.keys import READ, TRADE, Key
from gateways.web.refusals import RefusedError

VERSION: Final = "0.1.0"
ANSWER_S: Final = 30.0
BODY_S: Final = 10.0
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Routes:
    """What is asked over HTTP. `wake` has the gateway's duties done soon, `known` is told of who has shown a key."""

    def __init__(self, gateway: WebGateway, wake: Callable[[], None], known: Callable[[web.Request], None]) -> None:
        self._gateway = gateway
        self._wake = wake
        self._known = known
        self._count = 0
        self._asked: dict[int, asyncio.Future[rest.Answer]] = {}
        self._openapi, self._asyncapi = openapi(VERSION), asyncapi(VERSION)

    def table(self) -> list[web.RouteDef]:
        """All of them."""
        return [
            web.get("/openapi.json", self._now(lambda _request: (200, self._openapi))),
            web.get("/asyncapi.json", self._now(lambda _request: (200, self._asyncapi))),
            web.get("/v1/instruments", self._now(self._instruments)),
            web.get("/v1/book/{symbol}", self._now(self._book)),
            web.get("/v1/trades/{symbol}", self._now(self._trades)),
            web.get("/v1/candles/{symbol}", self._now(self._candles)),
            web.post("/v1/token", self.keyed("", self._token)),
            web.get("/v1/credit", self.keyed(READ, self._credit)),
            web.get("/v1/orders", self.keyed(READ, self._orders)),
            web.get("/v1/executions", self.keyed(READ, self._executions)),
            web.post("/v1/orders", self.keyed(TRADE, self._add)),
            web.patch("/v1/orders/{cl_ord_id}", self.keyed(TRADE, self._amend)),
            web.delete("/v1/orders/{cl_ord_id}", self.keyed(TRADE, self._cancel)),
            web.delete("/v1/orders", self.keyed(TRADE, self._cancel_all)),
            web.post("/v1/cancel-after", self.keyed(TRADE, self._cancel_after)),
        ]

    def answered(self, caller: int, answer: rest.Answer) -> None:
        """The gateway has answered."""
        future = self._asked.pop(caller, None)
        if future is not None and not future.done():
            future.set_result(answer)

    # --- who asks ---------------------------------------------------------------------------------

    def _now(self, answer: Callable[[web.Request], rest.Answer]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return response(answer(request))
            except RefusedError as refused:
                return response(rest.refusal(refused))

        return handle

    def keyed(self, right: str, act: Callable[[web.Request, Key, bytes], Awaitable[rest.Answer]]) -> Handler:
        """What is asked with a key that has this right ("": any)."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                body = await _body_of(request)
                key = self._key(request, body)
                self._known(request)
                if right:
                    key.demand(right)
                return response(await act(request, key, body))
            except RefusedError as refused:
                if refused.status in (401, 403):
                    self._gateway.wrong_key(request.headers.get("API-Key", "")[:32], f"{request.path[:80]}: {refused}")
                return response(rest.refusal(refused))

        return handle

    def _key(self, request: web.Request, body: bytes) -> Key:
        headers = request.headers
        name, nonce, signature = (headers.get(field, "") for field in ("API-Key", "API-Nonce", "API-Sign"))
        return self._gateway.gate.admit(f"{request.method}{request.raw_path}", body, name, nonce, signature)

    async def ask(self, ask: Callable[[int], None]) -> rest.Answer:
        """Ask the gateway something that it answers later."""
        self._count -= 1
        caller = self._count
        future = self._asked[caller] = asyncio.get_running_loop().create_future()
        try:
            ask(caller)
            self._wake()
            return await asyncio.wait_for(future, ANSWER_S)
        except TimeoutError:
            raise RefusedError(
                f"unknown: the venue has not answered within {ANSWER_S:.0f} s; ask how the order stands", 504
            ) from None
        finally:
            self._asked.pop(caller, None)
            self._gateway.forget(caller)

    # --- for everybody ----------------------------------------------------------------------------

    def _instruments(self, _request: web.Request) -> rest.Answer:
        return rest.instruments(self._gateway.books)

    def _book(self, request: web.Request) -> rest.Answer:
        return rest.book(self._gateway.books, request.match_info["symbol"], request.query)

    def _trades(self, request: web.Request) -> rest.Answer:
        return rest.trades(self._gateway.books, request.match_info["symbol"], request.query)

    def _candles(self, request: web.Request) -> rest.Answer:
        return rest.candles(self._gateway.books, self._gateway.hub, request.match_info["symbol"], request.query)

    # --- with a key -------------------------------------------------------------------------------

    async def _token(self, _request: web.Request, key: Key, _body: bytes) -> rest.Answer:
        return rest.token(self._gateway.gate.token(key), key)

    async def _credit(self, _request: web.Request, key: Key, _body: bytes) -> rest.Answer:
        return self._gateway.credit(key.client)

    async def _orders(self, _request: web.Request, key: Key, _body: bytes) -> rest.Answer:
        return await self.ask(lambda caller: self._gateway.open_orders(caller, key.client))

    async def _executions(self, request: web.Request, key: Key, _body: bytes) -> rest.Answer:
        return await self.ask(lambda caller: self._gateway.executions(caller, key, request.query))

    async def _add(self, _request: web.Request, key: Key, body: bytes) -> rest.Answer:
        return await self._order(key, "add_order", body)

    async def _amend(self, request: web.Request, key: Key, body: bytes) -> rest.Answer:
        fields = rest.fields_of(body) | {"cl_ord_id": request.match_info["cl_ord_id"]}
        return await self._order(key, "amend_order", msgspec.json.encode(fields))

    async def _cancel(self, request: web.Request, key: Key, _body: bytes) -> rest.Answer:
        fields = rest.options_of(request.query, "symbol", "number")
        fields["cl_ord_id"] = [request.match_info["cl_ord_id"]]
        return await self._order(key, "cancel_order", msgspec.json.encode(fields))

    async def _cancel_all(self, request: web.Request, key: Key, _body: bytes) -> rest.Answer:
        fields = rest.options_of(request.query, "symbol", "number")
        return await self._order(key, "cancel_all", msgspec.json.encode(fields))

    async def _cancel_after(self, _request: web.Request, key: Key, body: bytes) -> rest.Answer:
        return await self._order(key, "cancel_all_orders_after", body)

    async def _order(self, key: Key, method: str, params: bytes) -> rest.Answer:
        return await self.ask(lambda caller: self._gateway.order(caller, key.client, method, params))


async def _body_of(request: web.Request) -> bytes:
    try:
        return await asyncio.wait_for(request.read(), BODY_S)
    except web.HTTPRequestEntityTooLarge:
        raise RefusedError(f"expected a request of at most {REQUEST_BYTES_MAX} bytes", 413) from None
    except TimeoutError:
        raise RefusedError(f"expected the whole request within {BODY_S:.0f} s", 408) from None
    except ConnectionError:
        raise RefusedError("the connection ended before the request did") from None


@web.middleware
async def as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What aiohttp itself has against a request is said in JSON as well."""
    try:
        return await handler(request)
    except ConnectionError:
        return response(rest.refusal(RefusedError("the connection ended before it was answered")))
    except web.HTTPException as refused:
        if refused.status < 400:
            raise
        what = f"{request.method} {request.path[:80]}"
        return response(rest.refusal(RefusedError(f"{what}: {refused.reason}", refused.status)))


def response(answer: rest.Answer) -> web.Response:
    """As aiohttp has it."""
    status, body = answer
    return web.Response(body=body, status=status, content_type="application/json")
