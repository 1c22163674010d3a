"""Trading over WebSocket and REST in a venue of real processes, whatever dies."""

import json
import socket
import urllib.request
from collections.abc import Iterator

import pytest

from gateways.flow import generate
from tests.models.running import Running, make, until
from tests.models.web_description import Description
from tests.models.web_trader import RemoteTrader

SYMBOL = "BTC-USD"
ORDER = {"symbol": SYMBOL, "side": "buy", "order_qty": "1", "limit_price": "100.00"}
ROUNDS = 12


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    config = make(tmp_path_factory.mktemp("web") / "v", doors=("web-1",))
    with Running(config).start() as started:
        started.send(list(generate.lines(seed=3, count=10, instruments=1, clients=2)))
        yield started


@pytest.fixture(scope="module")
def operator(venue: Running) -> RemoteTrader:
    made = RemoteTrader(venue, "operator.kim")
    made.await_key()
    made.description = Description(made.url)
    return made


def command(operator: RemoteTrader, reason: str, **line: str) -> dict:
    status, body = operator.ask("POST", "/v1/venue/command", {"command": line, "reason": reason})
    assert status == 200, body
    return body


def trader(venue: Running, operator: RemoteTrader, name: str) -> RemoteTrader:
    """One who may trade, and has something to trade with."""
    made = RemoteTrader(venue, name)
    made.description = operator.description
    command(operator, "to trade", type="SetCredit", client=name, currency="USD", limit="1000000000")
    made.await_key()
    return made


def test_traders_lose_and_double_nothing_whatever_dies(venue: Running, operator: RemoteTrader):
    """Gateway, engines and node in turn under kill -9: each command once, each execution once, on both sides."""
    command(operator, "a market of one's own", type="SetInstrument", symbol="KILL", tick="1", lot="1", currency="USD")
    traders = [trader(venue, operator, name) for name in ("ANN", "BOB")]
    victims = ["web-1", "matching-1", "credit-1", "node-1", "web-1", "matching-2"]
    for nth in range(ROUNDS):
        for one, side in zip(traders, ("buy", "sell"), strict=True):
            one.turn()
            one.order("add_order", symbol="KILL", side=side, order_qty=nth + 1, limit_price=100, cl_ord_id=f"k{nth}")
        if nth % 2:
            until(lambda: victims[nth // 2] in venue.pids, f"{victims[nth // 2]} runs")  # noqa: B023
            venue.kill(victims[nth // 2])
    for one in traders:
        one.settle()
    venue.await_well()
    for one in traders:
        one.ask_again()
        one.settle()
        assert one.problems == []
        assert all(reply["success"] for reply in one.outcomes.values())
        assert sorted(one.outcomes) == list(range(1, ROUNDS + 1))
    until(lambda: [each.turn() for each in traders] and all(map(_is_filled, traders)), "both see all of their fills")
    for one in traders:
        _status, page = one.ask("GET", "/v1/executions?since=0")
        assert page["executions"] == one.executions
        _status, left = one.ask("GET", "/v1/orders")
        assert (left["orders"], left["next_number"]) == ([], ROUNDS + 1)
        one.close()


def _is_filled(one: RemoteTrader) -> bool:
    return sum(row.get("last_qty", 0) for row in one.executions) == sum(range(ROUNDS + 1))


def test_an_order_over_rest(venue: Running, operator: RemoteTrader):
    """Entered, amended, seen in the book, canceled; and what the venue refuses says why."""
    ann = trader(venue, operator, "REST")
    status, placed = ann.ask("POST", "/v1/orders", {**ORDER, "cl_ord_id": "r1"})
    assert (status, placed["exec_type"]) == (200, "new")
    assert ann.ask("POST", "/v1/orders", {**ORDER, "cl_ord_id": "r1"})[0] == 422
    status, amended = ann.ask("PATCH", "/v1/orders/r1", {"limit_price": 101})
    assert (status, amended["limit_price"], amended["order_id"]) == (200, 101, placed["order_id"])
    _status, credit = ann.ask("GET", "/v1/credit")
    assert credit["credit"][0]["reserved"] > 0
    _status, live = ann.ask("GET", "/v1/orders")
    assert [row["cl_ord_id"] for row in live["orders"]] == ["r1"]
    status, gone = ann.ask("DELETE", "/v1/orders/r1")
    assert (status, gone["exec_type"]) == (200, "canceled")
    status, why = ann.ask("DELETE", f"/v1/orders/r1?symbol={SYMBOL}")
    assert (status, why["error"]) == (422, "unknown_order")
    status, why = ann.ask("POST", "/v1/orders", {**ORDER, "order_qty": "1000000000"})
    assert (status, why["error"]) == (422, "credit_exceeded")
    status, why = ann.ask("POST", "/v1/orders", {**ORDER, "limit_price": "100.001"})
    assert (status, why["error"].startswith("limit_price: expected a multiple of the tick 0.01")) == (400, True)
    assert ann.ask("DELETE", "/v1/orders")[1]["count"] == 0


def test_strangers_get_nothing(venue: Running, operator: RemoteTrader):
    """No key, a wrong secret, a replay, another's path, a client at the operators' door, a revoked key."""
    ann = trader(venue, operator, "STRANGE")
    paths = [("GET", "/v1/orders"), ("POST", "/v1/orders"), ("DELETE", "/v1/orders"), ("GET", "/v1/venue"),
             ("POST", "/v1/venue/snapshot"), ("POST", "/v1/token"), ("GET", "/v1/credit")]  # fmt: skip
    for method, path in paths:
        assert ann.ask(method, path, headers={})[0] == 401
        used = ann.headers(method, path)
        assert ann.ask(method, path, headers={**used, "API-Sign": used["API-Sign"][::-1]})[0] == 401
        assert ann.ask(method, f"{path}?x=1", headers=used)[0] == 401
    once = ann.headers("GET", "/v1/orders")
    assert [ann.ask("GET", "/v1/orders", headers=once)[0] for _ in range(2)] == [200, 401]
    for method, path in (("GET", "/v1/venue"), ("GET", "/v1/venue/clients"), ("POST", "/v1/venue/snapshot")):
        assert ann.ask(method, path, {} if method == "POST" else None)[0] == 403
    ann.turn()
    assert ann.is_connected
    venue.run("api-key", "revoke", ann.key["key"])

    def is_cut_off() -> bool:
        ann.turn()
        return not ann.is_connected

    until(is_cut_off, "a connection of a revoked key is closed")
    assert ann.ask("GET", "/v1/orders")[0] == 401


HALVES = (
    b"GET /v2 HTTP/1.1\r\nHost: x\r\n",
    b"POST /v1/orders HTTP/1.1\r\nContent-Le",
    b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
    b"\x00" * 99,
)


def test_floods_of_bad_requests_disturb_nobody(venue: Running, operator: RemoteTrader):
    """Bad JSON, oversized and half-sent requests, many silent connections: an honest client trades on."""
    ann = trader(venue, operator, "HONEST")
    host, port = ann.address.split(":")
    silent = [socket.create_connection((host, int(port)), timeout=10) for _ in range(700)]
    for nth, one in enumerate(silent):
        one.sendall(HALVES[nth % len(HALVES)])
    for body in (b"[" * 10_000, b"\xff\xfe", b'{"symbol":' + b'"x"' * 100, b"x" * (64 << 10)):
        request = urllib.request.Request(f"{ann.url}/v1/orders", body, ann.headers("POST", "/v1/orders", body))
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=20)
        assert refused.value.code in (400, 413)
    status, placed = ann.ask("POST", "/v1/orders", ORDER)
    assert (status, placed["exec_type"]) == (200, "new")
    assert ann.ask("DELETE", f"/v1/orders/{placed['cl_ord_id']}")[0] == 200
    for one in silent:
        one.close()
    assert "Traceback" not in (venue.data_dir / "logs" / "web-1.log").read_text()


def test_operators_act_and_it_stands_in_the_log(venue: Running, operator: RemoteTrader):
    """Halt, resume, block: done by the venue; who and why is in the log, and what was refused as well."""
    command(operator, "news", type="HaltInstrument", symbol=SYMBOL)
    ann = trader(venue, operator, "HALTED")
    assert ann.ask("POST", "/v1/orders", ORDER)[1]["error"] == "instrument_halted"
    command(operator, "over", type="ResumeInstrument", symbol=SYMBOL)
    command(operator, "ticket 7", type="BlockClient", client="HALTED")
    assert ann.ask("POST", "/v1/orders", ORDER)[1]["error"] == "client_blocked"
    status, why = operator.ask("POST", "/v1/venue/transfer-leader", {"node": "nobody", "reason": "a try"})
    assert (status, "there is no node 'nobody'" in why["error"]) == (400, True)
    assert operator.ask("POST", "/v1/venue/snapshot", {"machine": "credit"})[0] == 400
    status, done = operator.ask("POST", "/v1/venue/snapshot", {"machine": "credit", "reason": "before the update"})
    assert (status, "credit.0 as of" in done["done"]) == (200, True)
    _status, told = operator.ask("GET", "/v1/venue/actions")
    asked = [(row["operator"], row["action"], row["reason"]) for row in told["actions"] if row["operator"]]
    assert asked[:2] == [
        ("operator.kim", "snapshot", "before the update"), ("operator.kim", "transfer-leader", "a try"),
    ]  # fmt: skip
    dumped = [json.loads(line) for line in venue.run("log", "dump", "--messages").stdout.splitlines()]
    written = [(row["action"], row["reason"]) for row in dumped if row.get("type") == "OperatorAction"]
    assert written[::-1] == [(action, reason) for _who, action, reason in asked]
    _status, shown = operator.ask("GET", "/v1/venue")
    assert [row["name"] for row in shown["nodes"]] == ["node-1"]
    assert all(row["agrees"] for row in shown["replicas"])
    _status, found = operator.ask("GET", "/v1/venue/clients?find=halted")
    assert [(row["client"], row["blocked"]) for row in found["clients"]] == [("HALTED", True)]


def test_a_message_is_looked_at_from_both_ends(venue: Running, operator: RemoteTrader):
    """From the order to its cancel, and from the cancel's event back to what caused it."""
    ann = trader(venue, operator, "LOOKED")
    placed = ann.ask("POST", "/v1/orders", ORDER)[1]
    gone = ann.ask("DELETE", f"/v1/orders/{placed['cl_ord_id']}")[1]
    order = operator.ask("GET", f"/v1/venue/log/{placed['order_id']}")[1]
    assert order["message"]["type"] == "NewOrder"
    kinds = [row["type"] for row in order["effects"]]
    assert kinds == ["CreditDecisions", "OrderAccepted", "CancelOrder", "OrderCanceled"]
    event = operator.ask("GET", f"/v1/venue/log/{gone['log_sequence']}")[1]
    assert event["message"]["type"] == "OrderCanceled"
    assert [row["sequence"] for row in event["causes"]] == [order["effects"][2]["sequence"], int(placed["order_id"])]
    assert operator.ask("GET", "/v1/venue/log/999999999")[0] == 404


SAMPLES = {"symbol": SYMBOL, "cl_ord_id": "none", "sequence": "5"}


def test_the_description_is_true(venue: Running, operator: RemoteTrader):
    """Every way to ask that it names is there, and answers as it says; every channel tells what it says."""
    audit = RemoteTrader(venue, "AUDIT", "read", "trade", "drop_copy")
    audit.await_key()
    ann = trader(venue, operator, "TRUE")
    told = audit.description = operator.description
    assert told is not None
    for path, methods in told.openapi["paths"].items():
        for method in methods:
            asked = path.format(**SAMPLES)
            body = {} if method in ("post", "patch") else None
            status, answer = (operator if "/venue" in path else ann).ask(method.upper(), asked, body)
            assert status in (200, 400, 422), (method, path, answer)
    for one in (ann, audit, operator):
        one.turn()
    for channel, more in SUBSCRIPTIONS.items():
        request = {"channel": channel, **more}
        told.check_request("subscribe", {"method": "subscribe", "params": request})
        ann.say("subscribe", **request)
    ann.say("subscribe", channel="credit")
    audit.say("subscribe", channel="drop_copy")
    operator.say("subscribe", channel="venue")
    ann.order("add_order", **ORDER)
    ann.order("add_order", **ORDER | {"side": "sell"})
    wanted = {
        "reply",
        "status",
        "executions",
        "credit",
        "drop_copy",
        "venue",
        "instrument",
        "heartbeat",
        *SUBSCRIPTIONS,
    }

    def is_all_told() -> bool:
        for one in (ann, audit, operator):
            one.turn()
        return wanted <= told.checked.keys()

    until(is_all_told, f"messages of {wanted}")
    for one in (ann, audit, operator):
        one.close()


SUBSCRIPTIONS = {
    "book": {"symbol": [SYMBOL], "depth": 25, "conflate_ms": 50},
    "level3": {"symbol": [SYMBOL]},
    "trade": {"symbol": [SYMBOL]},
    "ticker": {"symbol": [SYMBOL]},
    "candles": {"symbol": [SYMBOL], "interval": 5},
    "instrument": {},
}
