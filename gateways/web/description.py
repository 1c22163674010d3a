"""The web gateway described for programs: OpenAPI for REST, AsyncAPI for the WebSocket.

    request structs --msgspec--> JSON Schema --+
    what is answered, by hand -----------------+--> /openapi.json, /asyncapi.json

The tests hold every answer of a real venue against it.
"""

from typing import Any, Final

import msgspec

from gateways.web import actions, requests
from gateways.web.candles import INTERVALS
from gateways.web.channels import DEPTHS
from gateways.web.executions import EXEC_TYPES, STATUSES
from gateways.web.hub import CHANNELS, CONFLATE_MS_MAX
from gateways.web.keys import RIGHTS
from gateways.web.private import CHANNELS as PRIVATE_CHANNELS

Schema = dict[str, Any]

OPENAPI: Final = "3.1.0"
ASYNCAPI: Final = "3.0.0"

_TEXT: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "number"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_SIDE: Final[Schema] = {"enum": ["buy", "sell"]}
_FLAG: Final[Schema] = {"type": "boolean"}
_ANYTHING: Final[Schema] = {"type": "object"}


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    """An object of these properties, and no others."""
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_EXECUTION: Final[Schema] = {
    **{"exec_id": _TEXT, "log_sequence": _COUNT, "timestamp": _TIME, "order_status": {"enum": list(STATUSES)}},
    **{"order_id": _TEXT, "cl_ord_id": _TEXT, "previous_cl_ord_id": _TEXT, "request_id": _TEXT, "symbol": _TEXT},
    **{"side": _SIDE, "limit_price": _NUMBER, "order_qty": _NUMBER, "leaves_qty": _NUMBER, "cum_qty": _NUMBER},
    **{"cum_cost": _NUMBER, "avg_price": _NUMBER, "last_qty": _NUMBER, "last_price": _NUMBER, "trade_id": _COUNT},
    **{"liquidity_ind": {"enum": ["m", "t"]}, "previous_qty": _NUMBER, "previous_price": _NUMBER, "count": _COUNT},
    **{"reason": _TEXT, "client": _TEXT},
}
_KIND: Final[Schema] = {"exec_type": {"enum": list(EXEC_TYPES)}}
_CREDIT: Final[Schema] = {"currency": _TEXT} | dict.fromkeys(("limit", "free", "reserved", "used"), _NUMBER)
_FOUND: Final[Schema] = {
    "sequence": _COUNT, "timestamp": _TIME, "cause": _COUNT, "sender": _TEXT, "type": _TEXT, "fields": _ANYTHING
}  # fmt: skip
_PROCESS: Final[Schema] = {"name": _TEXT, "position": _COUNT, "lag": {"type": "integer"}, "pid": _COUNT}
_PULSE: Final[Schema] = {
    **{"timestamp": _TIME, "messages": _COUNT, "commands": _COUNT, "trades": _COUNT},
    **{"p50_us": _or_null(_COUNT), "p99_us": _or_null(_COUNT)},
}
_CANDLE_FIELDS: Final[Schema] = dict.fromkeys(("open", "high", "low", "close", "volume", "vwap"), _NUMBER)

SCHEMAS: Final[dict[str, Schema]] = {
    "Error": _object({"error": _TEXT}, _KIND | _EXECUTION | {"number": _COUNT}),
    "Execution": _object(_KIND, _EXECUTION),
    "OrderAnswer": _object(_KIND | {"log_sequence": _COUNT, "number": _COUNT}, _EXECUTION),
    "Instrument": _object(
        {
            **{"symbol": _TEXT, "quote": _TEXT, "status": {"enum": ["online", "halted"]}, "price_increment": _NUMBER},
            **{"price_precision": _COUNT, "qty_increment": _NUMBER, "qty_precision": _COUNT},
            **{"price_low": _or_null(_NUMBER), "price_high": _or_null(_NUMBER)},
        }
    ),
    "Level": _object({"price": _NUMBER, "qty": _NUMBER}, {"orders": _COUNT}),
    "Trade": _object(
        {"trade_id": _COUNT, "side": _SIDE, "price": _NUMBER, "qty": _NUMBER, "timestamp": _TIME}, {"symbol": _TEXT}
    ),
    "Candle": _object(
        {"symbol": _TEXT, "interval": {"enum": list(INTERVALS)}, "interval_begin": _TIME, "trades": _COUNT}
        | _CANDLE_FIELDS
    ),
    "Holding": _object(_CREDIT),
    "Found": _object(_FOUND, {"channel": _COUNT, "after_us": {"type": "integer"}}),
    "Venue": _object(
        {
            **{"log_sequence": _COUNT, "timestamp": _TIME, "problems": _list(_TEXT)},
            "nodes": _list({"type": "object", "properties": _PROCESS, "required": list(_PROCESS)}),
            "replicas": _list({"type": "object", "properties": _PROCESS, "required": [*_PROCESS, "verdict"]}),
            "gateways": _list({"type": "object", "properties": _PROCESS, "required": list(_PROCESS)}),
            "news": _list(_object({"timestamp": _TIME, "what": _TEXT})),
            "pulse": _list(_object(_PULSE)),
        }
    ),
}

_QUERY: Final[dict[str, Schema]] = {
    "depth": _COUNT, "count": _COUNT, "since": _COUNT, "interval": {"enum": list(INTERVALS)}, "symbol": _TEXT,
    "number": _COUNT, "find": _TEXT,
}  # fmt: skip
_PLACE: Final[Schema] = {"log_sequence": _COUNT}
_BODIES: Final = [*requests.METHODS.values(), *actions.ACTIONS.values()]


class _Endpoint(msgspec.Struct, frozen=True):
    """One way to ask: with a key that has this right ("": for everybody; "any": with any key)."""

    summary: str
    answer: Schema
    right: str = ""
    query: tuple[str, ...] = ()
    body: Any = None


_ORDER: Final = _ref("OrderAnswer")
_PATHS: Final[dict[tuple[str, str], _Endpoint]] = {
    ("get", "/v1/instruments"): _Endpoint("All instruments", _object({"instruments": _list(_ref("Instrument"))})),
    ("get", "/v1/book/{symbol}"): _Endpoint(
        "The best levels of both sides",
        _object(
            {"symbol": _TEXT, "sequence": _COUNT, "timestamp": _TIME}
            | {"bids": _list(_ref("Level")), "asks": _list(_ref("Level"))}
        ),
        query=("depth",),
    ),
    ("get", "/v1/trades/{symbol}"): _Endpoint(
        "The latest trades", _object({"symbol": _TEXT, "trades": _list(_ref("Trade"))}), query=("count", "since")
    ),
    ("get", "/v1/candles/{symbol}"): _Endpoint(
        "The latest candles",
        _object({"symbol": _TEXT, "interval": _COUNT, "candles": _list(_ref("Candle"))}),
        query=("interval", "count"),
    ),
    ("post", "/v1/token"): _Endpoint(
        "What a WebSocket is to show",
        _object({"token": _TEXT, "expires": _COUNT, "client": _TEXT, "may": _list({"enum": list(RIGHTS)})}),
        "any",
    ),
    ("get", "/v1/credit"): _Endpoint(
        "What the client may spend", _object({"client": _TEXT, "credit": _list(_ref("Holding"))} | _PLACE), "read"
    ),
    ("get", "/v1/orders"): _Endpoint(
        "Live orders", _object({"orders": _list(_ref("Execution")), "next_number": _COUNT} | _PLACE), "read"
    ),
    ("get", "/v1/executions"): _Endpoint(
        "What happened behind a place of the log", _object({"executions": _list(_ref("Execution"))} | _PLACE), "read",
        ("since", "count"),
    ),
    ("post", "/v1/orders"): _Endpoint("Enter an order", _ORDER, "trade", body=requests.AddOrder),
    ("delete", "/v1/orders"): _Endpoint("Cancel all orders", _ORDER, "trade", ("symbol", "number")),
    ("patch", "/v1/orders/{cl_ord_id}"): _Endpoint("Amend an order", _ORDER, "trade", body=requests.AmendOrder),
    ("delete", "/v1/orders/{cl_ord_id}"): _Endpoint("Cancel an order", _ORDER, "trade", ("symbol", "number")),
    ("post", "/v1/cancel-after"): _Endpoint(
        "Cancel all orders in a while", _object({"current_time": _TIME}, {"trigger_time": _TIME}), "trade",
        body=requests.CancelAllOrdersAfter,
    ),
    ("get", "/v1/venue"): _Endpoint("How the venue is", _ref("Venue"), "operate"),
    ("get", "/v1/venue/clients"): _Endpoint(
        "Clients and their credit",
        _object(
            {"clients": _list(_object({"client": _TEXT, "blocked": _FLAG, "credit": _list(_ref("Holding"))}))}
            | {"total": _COUNT}
        ),
        "operate", ("find", "count"),
    ),
    ("get", "/v1/venue/log/{sequence}"): _Endpoint(
        "A message of the log",
        _object(
            {"message": _ref("Found"), "previous": _or_null(_COUNT), "next": _or_null(_COUNT), "is_whole": _FLAG}
            | {"causes": _list(_ref("Found")), "effects": _list(_ref("Found"))}
        ),
        "operate",
    ),
    ("get", "/v1/venue/poison"): _Endpoint(
        "Messages at which replicas are stopped", _object({"poison": _list(_ANYTHING)}), "operate"
    ),
    ("get", "/v1/venue/actions"): _Endpoint(
        "What operators did",
        _object(
            {
                "actions": _list(
                    _object({"timestamp": _TIME, "reason": _TEXT, "operator": _TEXT, "key": _TEXT, "action": _TEXT}
                            | _PLACE | {"fields": _ANYTHING})
                )
            }
        ),
        "operate",
    ),
} | {
    ("post", f"/v1/venue/{name}"): _Endpoint(
        (kind.__doc__ or name).partition("\n")[0].rstrip("."),
        {"type": "object", "properties": {"done": _TEXT}, "required": ["done"]}, "operate", body=kind,
    )
    for name, kind in actions.ACTIONS.items()
}  # fmt: skip


def openapi(version: str) -> bytes:
    """REST, as JSON."""
    _refs, bodies = msgspec.json.schema_components(_BODIES, ref_template="#/components/schemas/{name}")
    for body in bodies.values():
        body["properties"].pop("token", None)  # a request over REST is signed
    paths: dict[str, Any] = {}
    for (method, path), endpoint in _PATHS.items():
        paths.setdefault(path, {})[method] = _operation(method, path, endpoint)
    key_parts = {
        name: {"type": "apiKey", "in": "header", "name": name} for name in ("API-Key", "API-Nonce", "API-Sign")
    }
    document = {
        "openapi": OPENAPI,
        "info": {"title": "The island", "version": version, "description": "docs/web.md says how requests are signed."},
        "paths": paths,
        "components": {"schemas": SCHEMAS | bodies, "securitySchemes": key_parts},
    }
    return msgspec.json.encode(document)


def _operation(method: str, path: str, endpoint: _Endpoint) -> Schema:
    places = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    parameters = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in places]
    parameters += [{"name": name, "in": "query", "schema": _QUERY[name]} for name in endpoint.query]
    said: Schema = {
        "summary": endpoint.summary,
        "operationId": "-".join([method, *[part.strip("{}") for part in path.split("/") if part]]),
        "parameters": parameters,
        "responses": {"200": _content(endpoint.answer, "so it is"), "default": _content(_ref("Error"), "why not")},
    }
    if endpoint.body is not None:
        said["requestBody"] = _content(_ref(endpoint.body.__name__), "") | {"required": True}
        said["requestBody"].pop("description")
    if endpoint.right:
        said["security"] = [{"API-Key": [], "API-Nonce": [], "API-Sign": []}]
        said["description"] = f"With a key that may {endpoint.right}." if endpoint.right != "any" else "With any key."
    return said


def _content(schema: Schema, description: str) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


# --- the WebSocket -----------------------------------------------------------------------------


def _message(channel: str, data: Schema, more: Schema | None = None, optional: Schema | None = None) -> Schema:
    head = {"channel": {"const": channel}, "type": {"enum": ["snapshot", "update"]}, "data": data}
    return _object(head | (more or {}), optional)


_SEQUENCE: Final[Schema] = {"sequence": _COUNT}
_PROVEN: Final[Schema] = {"symbol": _TEXT, "checksum": _COUNT, "timestamp": _TIME} | _SEQUENCE
_QUEUED: Final[Schema] = _object(
    {"order_id": _TEXT, "limit_price": _NUMBER, "order_qty": _NUMBER}, {"event": {"enum": ["add", "modify", "delete"]}}
)
_LEVELS: Final = _list(_ref("Level"))
_TICKER: Final[Schema] = {name: _or_null(_NUMBER) for name in ("bid", "bid_qty", "ask", "ask_qty")}
_DAY: Final[Schema] = dict.fromkeys(("last", "high", "low", "change", "volume", "vwap"), _NUMBER)

MESSAGES: Final[dict[str, Schema]] = {
    "book": _message("book", _list(_object(_PROVEN | {"depth": _COUNT, "bids": _LEVELS, "asks": _LEVELS}))),
    "level3": _message("level3", _list(_object(_PROVEN | {"bids": _list(_QUEUED), "asks": _list(_QUEUED)}))),
    "trade": _message("trade", _list(_ref("Trade")), _SEQUENCE | {"symbol": _TEXT}),
    "ticker": _message("ticker", _list(_object({"symbol": _TEXT} | _TICKER, _DAY)), _SEQUENCE),
    "candles": _message("candles", _list(_ref("Candle")), _SEQUENCE | {"symbol": _TEXT, "interval": _COUNT}),
    "instrument": _message("instrument", _object({"pairs": _list(_ref("Instrument"))})),
    "status": _message("status", _list(_ANYTHING)),
    "heartbeat": _object({"channel": {"const": "heartbeat"}}),
    "executions": _message(
        "executions", _list(_ref("Execution")), _SEQUENCE,
        {"since": _list(_ref("Execution")), "next_number": _COUNT} | _PLACE,
    ),
    "credit": _message("credit", _list(_ref("Holding")), _SEQUENCE | _PLACE),
    "drop_copy": _message("drop_copy", _list(_ref("Execution")), _SEQUENCE, _PLACE),
    "venue": _message("venue", _ref("Venue"), _SEQUENCE),
    "reply": _object(
        {"method": _TEXT}, {"success": _FLAG, "result": _ANYTHING, "error": _TEXT, "req_id": {"type": "integer"}}
    ),
}  # fmt: skip


def _subscription(channels: tuple[str, ...], more: Schema) -> Schema:
    return _object({"channel": {"enum": list(channels)}}, {"snapshot": _FLAG} | more)


def _asked(method: Schema, params: Schema | None) -> Schema:
    return _object({"method": method} | ({} if params is None else {"params": params}), {"req_id": {"type": "integer"}})


def _requests() -> dict[str, Schema]:
    """What a client says, by name."""
    _refs, bodies = msgspec.json.schema_components(requests.METHODS.values(), ref_template="{name}")
    public = {
        "symbol": _list(_TEXT), "depth": {"enum": list(DEPTHS)}, "interval": {"enum": list(INTERVALS)},
        "conflate_ms": {"type": "integer", "minimum": 0, "maximum": CONFLATE_MS_MAX},
    }  # fmt: skip
    turn: Schema = {"enum": ["subscribe", "unsubscribe"]}
    private = _subscription(PRIVATE_CHANNELS, {"token": _TEXT, "since": _COUNT})
    made = {
        "ping": _asked({"const": "ping"}, None),
        "subscribe": _asked(turn, _subscription(CHANNELS, public)),
        "subscribe_private": _asked(turn, private),
    }
    for method, kind in requests.METHODS.items():
        made[method] = _asked({"const": method}, bodies[kind.__name__])
    return made


def asyncapi(version: str) -> bytes:
    """The WebSocket, as JSON."""
    told = {name: {"payload": payload} for name, payload in MESSAGES.items()}
    asked = {f"ask_{name}": {"payload": payload} for name, payload in _requests().items()}
    document = {
        "asyncapi": ASYNCAPI,
        "info": {"title": "The island", "version": version, "description": "docs/web.md says what each channel tells."},
        "channels": {"v2": {"address": "/v2", "messages": told | asked}},
        "operations": {
            "tell": _operation_of("send", told),
            "ask": _operation_of("receive", asked),
        },
        "components": {"schemas": SCHEMAS},
    }
    return msgspec.json.encode(document)


def _operation_of(action: str, messages: dict[str, Any]) -> Schema:
    named = [{"$ref": f"#/channels/v2/messages/{name}"} for name in messages]
    return {"action": action, "channel": {"$ref": "#/channels/v2"}, "messages": named}
