"""Whatever breaks, each command is in the log once and is answered, and each client gets each execution once."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines import messages as m
from gateways import events as e
from gateways.events import told
from gateways.names import Directory, Instrument
from gateways.orders import Orders, runs
from gateways.web import requests
from tests.models.web_stage import Stage, Trader

SYMBOL = "I1"
INSTRUMENT = m.SetInstrument(0, 0, SYMBOL, "USD", 1, 0, 1, 0)
INSTRUMENT_TERMS = Instrument(1, SYMBOL, "USD", 1, 0, 1, 0)
ORDER = {"symbol": SYMBOL, "side": "buy", "order_qty": 5, "limit_price": 100}

who = st.integers(0, 1)
steps = st.one_of(
    st.tuples(st.just("order"), who, st.sampled_from(["buy", "sell"]), st.integers(98, 102), st.integers(1, 9)),
    st.tuples(st.just("order"), who, st.sampled_from(["buy", "sell"]), st.integers(98, 102), st.integers(1, 9)),
    st.tuples(st.just("refused"), who),
    st.tuples(st.just("cancel"), who, st.integers(1, 9)),
    st.tuples(st.just("amend"), who, st.integers(1, 9), st.integers(98, 102)),
    st.tuples(st.just("hang up"), who),
    st.tuples(st.just("again"), who),
    st.tuples(st.just("turn")),
    st.tuples(st.just("pass"), st.sampled_from([100, 1000, 20_000])),
    st.tuples(st.just("crash"), st.sampled_from(["at once", "submitted"])),
)


def stage(directory: Path, **limits: int) -> Stage:
    made = Stage(directory, **limits)
    made.island.sequence([INSTRUMENT])
    made.crash()
    return made


def reports(log: Stage, name: str) -> list[tuple[e.Event, int]]:
    """All that the log has for a client, by a fold of the test's own."""
    orders, names, found = Orders(), Directory(), []
    for entry in log.island.log:
        for first_sequence, channel, messages in runs(entry):
            names.apply(channel, messages)
            for event in orders.apply(first_sequence, entry.time_ns, channel, messages):
                found += told(event)
    wanted = (e.OrderEvent, e.MassCanceled, e.TradeCorrected)
    client_id = names.client_ids.get(name, -1)
    return [one for one in found if one[0].client_id == client_id and isinstance(one[0], wanted)]


def ids(found: list[tuple[e.Event, int]]) -> list[str]:
    return [f"{event.sequence}-{nth}" if nth else str(event.sequence) for event, nth in found]


def entered(log: Stage) -> list[tuple[int, int]]:
    """(client, number) of each command in the log that has a number."""
    found = []
    for entry in log.island.log:
        for _first, channel, messages in runs(entry):
            if channel == m.COMMANDS:
                found += [(one.client_id, one.number) for one in messages if getattr(one, "number", 0)]
    return found


class Play:
    """Two traders on a stage."""

    def __init__(self, directory: Path, in_flight: int, recent: int) -> None:
        self.stage = stage(directory, in_flight_per_client=in_flight, recent_reports_per_client=recent)
        self.traders = [Trader(self.stage, name) for name in ("ANN", "BOB")]
        self.asked = {trader.name: 0 for trader in self.traders}

    def do(self, step: tuple) -> None:
        kind, *rest = step
        trader = None if kind in ("turn", "pass", "crash") else self.traders[rest[0]]
        if trader is not None and not trader.is_connected:
            trader.connect()
            return
        if kind == "order":
            side, price, quantity = rest[1:]
            self._count(
                trader.order(
                    "add_order",
                    **ORDER
                    | {
                        "side": side,
                        "limit_price": price,
                        "order_qty": quantity,
                        "cl_ord_id": f"o{self.asked[trader.name] + 1}",
                    },
                ),
                trader,
            )
        elif kind == "refused":
            trader.say("add_order", req_id=0, **ORDER | {"limit_price": "100.5"})
        elif kind == "cancel":
            self._count(trader.order("cancel_order", cl_ord_id=[f"o{rest[1]}"], symbol=SYMBOL), trader)
        elif kind == "amend":
            self._count(
                trader.order("amend_order", cl_ord_id=f"o{rest[1]}", symbol=SYMBOL, limit_price=rest[2], order_qty=7),
                trader,
            )
        elif kind == "hang up":
            trader.hang_up()
        elif kind == "again":
            trader.ask_again()
        elif kind == "pass":
            self.stage.pass_time(rest[0])
        else:
            self.stage.turn(*rest)

    def _count(self, _number: int, trader: Trader) -> None:
        self.asked[trader.name] += 1

    def end(self) -> None:
        """All come back, and say again what has no answer, until everything has one."""
        for _ in range(60):
            for trader in self.traders:
                if not trader.is_connected:
                    trader.connect()
                else:
                    trader.ask_again()
            self.stage.settle()
            if not any(trader._asked for trader in self.traders):
                return
        raise AssertionError([trader._asked for trader in self.traders])


@settings(max_examples=120, deadline=None)
@given(plays=st.lists(steps, max_size=40), in_flight=st.sampled_from([1, 3, 100]), recent=st.sampled_from([2000, 2000]))
def test_each_command_once_and_each_execution_once(plays: list, in_flight: int, recent: int):
    """Over connections that break and processes that die, with room for one command or for many."""
    with tempfile.TemporaryDirectory() as directory:
        play = Play(Path(directory), in_flight, recent)
        for step in plays:
            play.do(step)
        play.end()
        numbers = entered(play.stage)
        assert len(set(numbers)) == len(numbers)
        assert len(numbers) == sum(play.asked.values())
        for trader in play.traders:
            assert trader.problems == []
            assert set(trader.outcomes) == set(range(1, play.asked[trader.name] + 1))
            seen = [row["exec_id"] for row in trader.executions]
            assert seen == ids(reports(play.stage, trader.name))


def test_the_answer_is_the_venues(tmp_path: Path):
    """With the order's id, its place in the log, and the number; a refusal says why."""
    log = stage(tmp_path)
    ann = Trader(log, "ANN")
    ann.connect()
    for terms in (ORDER, ORDER | {"cl_ord_id": "web-1"}):
        ann.order("add_order", **terms)
    log.settle()
    ann.order("cancel_order", cl_ord_id=["web-1"])
    log.settle()
    first, twice = ann.outcomes[1], ann.outcomes[2]
    assert (first["success"], first["result"]["exec_type"], first["result"]["cl_ord_id"]) == (True, "new", "web-1")
    assert 0 < int(first["result"]["order_id"]) < first["result"]["log_sequence"]
    assert (twice["success"], twice["error"]) == (False, "duplicate_client_order_id")
    assert ann.outcomes[3]["result"]["exec_type"] == "canceled"
    assert [row["exec_type"] for row in ann.executions] == ["new", "rejected", "canceled"]


def test_a_trade_is_told_to_both_sides(tmp_path: Path):
    """As the maker's and the taker's, with sums and averages; in a trade with oneself both, under ids of their own."""
    log = stage(tmp_path)
    ann, bob = Trader(log, "ANN"), Trader(log, "BOB")
    for trader in (ann, bob):
        trader.connect()
    ann.order("add_order", **ORDER)
    ann.order("add_order", **ORDER | {"limit_price": 99})
    log.settle()
    bob.order("add_order", **ORDER | {"side": "sell", "limit_price": "99", "order_qty": "7"})
    log.settle()
    fills = [row for row in bob.executions if row["exec_type"] == "trade"]
    assert [(row["last_qty"], row["last_price"], row["cum_qty"], row["avg_price"]) for row in fills] == [
        (5, 100, 5, 100), (2, 99, 7, 99.7143),
    ]  # fmt: skip
    assert [(row["order_status"], row["liquidity_ind"], row["cum_cost"]) for row in fills] == [
        ("partially_filled", "t", 500), ("filled", "t", 698),
    ]  # fmt: skip
    assert [row["liquidity_ind"] for row in ann.executions if row["exec_type"] == "trade"] == ["m", "m"]
    ann.order("add_order", **ORDER | {"side": "sell", "limit_price": 99, "order_qty": 1})
    log.settle()
    own = [row for row in ann.executions if row["exec_type"] == "trade"][2:]
    assert [row["exec_id"] for row in own] == [str(own[0]["log_sequence"]), f"{own[0]['log_sequence']}-1"]
    assert ann.problems == bob.problems == []


def test_a_repeat_gets_the_first_answer(tmp_path: Path):
    """Also of a process that has never seen the request, and of a request that says something else by now."""
    log = stage(tmp_path)
    ann = Trader(log, "ANN")
    ann.connect()
    number = ann.order("add_order", **ORDER)
    log.settle()
    first = ann.outcomes[number]["result"]
    log.crash()
    ann.connect()
    ann.say("add_order", req_id=number, number=number, **ORDER | {"order_qty": 77})
    ann.say("add_order", number=number + 7, **ORDER)
    log.settle()
    repeated = [one for one in ann.heard if one.get("req_id") == number][-1]
    assert repeated["result"] == first
    assert "number: expected 2" in ann.refusals[-1]
    assert len(entered(log)) == 1


def test_what_happens_while_one_comes_back_is_told_once(tmp_path: Path):
    """A fill in the same wake as the subscription is news, and not what was missed as well."""
    log = stage(tmp_path)
    ann = Trader(log, "ANN")
    ann.connect()
    ann.order("add_order", **ORDER)
    log.settle()
    log.submit(m.RegisterClient(0, 0, "BOB"))
    log.settle()
    log.crash()
    ann.connect()
    log.submit(m.NewOrder(2, 1, 1, "b", int(m.Side.SELL), 100, 5))
    log.settle()
    assert [row["exec_type"] for row in ann.executions] == ["new", "trade"]
    assert ann.problems == []


def test_all_connections_of_a_client_are_told_the_same(tmp_path: Path):
    """With the same numbers; and what is asked over REST is told to them as well."""
    log = stage(tmp_path)
    ann, twin = Trader(log, "ANN"), Trader(log, "ANN")
    ann.connect()
    log.settle()
    status, body = log.rest(lambda caller: log.gateway.order(caller, "ANN", "add_order", json.dumps(ORDER).encode()))
    twin.connect()
    log.settle()
    log.rest(lambda caller: log.gateway.order(caller, "ANN", "cancel_all", b""))
    assert (status, body["exec_type"], body["number"]) == (200, "new", 1)
    assert [row["exec_type"] for row in ann.executions] == ["new", "canceled", "mass_canceled"]
    assert twin.executions == ann.executions
    assert ann.heard[-1]["sequence"] == twin.heard[-1]["sequence"] == 2
    assert [row["order_id"] for row in twin.orders] == [body["order_id"]]
    text = json.dumps(ORDER | {"cl_ord_id": "x"}).encode()
    assert log.rest(lambda caller: log.gateway.order(caller, "ANN", "add_order", text))[0] == 200
    status, why = log.rest(lambda caller: log.gateway.order(caller, "ANN", "add_order", text))
    assert (status, why["error"], why["cl_ord_id"]) == (422, "duplicate_client_order_id", "x")
    log.rest(lambda caller: log.gateway.order(caller, "ANN", "cancel_all", b""))
    _status, left = log.rest(lambda caller: log.gateway.open_orders(caller, "ANN"))
    assert (left["orders"], left["next_number"]) == ([], 6)


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_executions_are_read_again_from_the_log(tmp_path: Path, count: int):
    """Page by page they are what was told; with a key for all clients, those of all."""
    log = stage(tmp_path)
    ann, bob = Trader(log, "ANN"), Trader(log, "BOB")
    audit = Trader(log, "AUDIT", ("read", "drop_copy"))
    for trader in (ann, bob):
        trader.connect()
    audit.connect("drop_copy")
    for nth in range(6):
        ann.order("add_order", **ORDER | {"order_qty": nth + 1})
        bob.order("add_order", **ORDER | {"order_qty": 3, "side": "sell"})
    log.settle()
    for trader in (ann, audit):
        since, rows = 0, []
        while True:
            query = {"since": str(since), "count": str(count)}
            _status, page = log.rest(lambda caller: log.gateway.executions(caller, trader.key, query))  # noqa: B023
            if not page["executions"] and page["log_sequence"] == log.gateway.trading.orders.position:
                break
            rows += page["executions"]
            since = page["log_sequence"]
        assert rows == trader.executions
        assert trader.problems == []
    assert len(audit.executions) == len(ann.executions) + len(bob.executions)


def test_a_drop_copy_goes_on_from_what_was_seen(tmp_path: Path):
    """On a new connection nothing is missing and nothing comes twice."""
    log = stage(tmp_path)
    ann, audit = Trader(log, "ANN"), Trader(log, "AUDIT", ("drop_copy",))
    ann.connect()
    audit.connect("drop_copy")
    ann.order("add_order", **ORDER)
    log.settle()
    audit.hang_up()
    ann.order("add_order", **ORDER)
    log.settle()
    audit.connect("drop_copy")
    ann.order("add_order", **ORDER)
    log.settle()
    assert audit.problems == []
    assert audit.executions == [{"client": "ANN", **row} for row in ann.executions]


def test_a_timer_cancels_unless_it_is_renewed(tmp_path: Path):
    """At its time, once, also where the gateway was away then; 0 ends it."""
    log = stage(tmp_path)
    ann = Trader(log, "ANN")
    ann.connect()
    ann.order("add_order", **ORDER)
    ann.say("cancel_all_orders_after", timeout=5, req_id=0)
    log.pass_time(4000)
    ann.say("cancel_all_orders_after", timeout=5, req_id=0)
    log.pass_time(4000)
    assert [row["exec_type"] for row in ann.executions] == ["new"]
    log.pass_time(2000)
    assert [row["exec_type"] for row in ann.executions] == ["new", "canceled"]
    log.pass_time(20_000)
    ann.order("add_order", **ORDER)
    log.settle()
    ann.say("cancel_all_orders_after", timeout=5, req_id=0)
    ann.say("cancel_all_orders_after", timeout=0, req_id=0)
    log.pass_time(9000)
    ann.say("cancel_all_orders_after", timeout=5, req_id=0)
    log.settle()
    log.crash()
    log.now_ms += 9000
    log.turn()
    log.settle()
    happened = [type(event).__name__ for event, _nth in reports(log, "ANN")]
    assert happened == ["OrderAccepted", "OrderCanceled"] * 2


def test_credit_is_told_when_it_changes(tmp_path: Path):
    """As it is at a place of the log, by credit's own rules; a new limit, and what a trade uses."""
    log = stage(tmp_path)
    ann = Trader(log, "ANN")
    ann.connect("executions", "credit")
    log.settle()
    log.submit(m.SetCredit(0, 0, 1, "USD", 1000, 0))
    log.settle()
    ann.order("add_order", **ORDER)
    log.settle()
    told_rows = [(one["limit"], one["free"], one["reserved"], one["used"]) for one in ann.credit]
    assert told_rows == [(1000, 500, 500, 0)]
    assert log.gateway.credit("ANN")[0] == 200
    assert ann.problems == []


CALLS = {
    "add_order": ORDER,
    "amend_order": {"cl_ord_id": "x", "symbol": SYMBOL, "order_qty": 1, "limit_price": 1},
    "cancel_order": {"cl_ord_id": ["x"], "symbol": SYMBOL},
    "cancel_all": {},
    "cancel_all_orders_after": {"timeout": 1},
    "subscribe": {"channel": "executions"},
}


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("may", [(), ("read",), ("trade",), ("drop_copy",)])
def test_a_key_may_what_it_says_and_nothing_else(tmp_path: Path, method: str, may: tuple[str, ...]):
    """Reading and trading apart; without a token, or with somebody's that was revoked, nothing at all."""
    log = stage(tmp_path)
    ann = Trader(log, "ANN", may)
    ann.connect("none")
    allowed = ("read" if method == "subscribe" else "trade") in may
    ann.heard.clear()
    ann.say(method, req_id=5, **CALLS[method])
    log.settle()
    errors = [one.get("error", "") for one in ann.heard if one.get("req_id") == 5]
    assert any("this key may" in error for error in errors) != allowed
    log.keys.revoke(ann.key.key)
    log.gateway.use(log.keys)
    log.settle()
    assert (ann.is_connected, ann.closed) == (False, "the key was revoked")
    for token in ("", "x", ann._token):
        stranger = log.connect(ann)
        ann.heard.clear()
        log.say(stranger, {"method": method, "params": {**CALLS[method], "token": token}})
        log.settle()
        assert ann.heard[-1]["error"].startswith("token: expected one from POST /v1/token")
    is_command = method not in ("subscribe", "cancel_all_orders_after")
    assert [number for _client, number in entered(log)] == ([1] if allowed and is_command else [])


@pytest.mark.parametrize(
    ("method", "params", "why"),
    [
        ("add_order", ORDER | {"symbol": "NOPE"}, "symbol: expected a known symbol (I1), got 'NOPE'"),
        (
            "add_order",
            ORDER | {"limit_price": "1.5"},
            "limit_price: expected a multiple of the tick 1 of I1, got '1.5'",
        ),
        ("add_order", ORDER | {"order_qty": "1e3"}, "order_qty: expected a decimal number"),
        ("add_order", ORDER | {"order_qty": -1}, "order_qty: expected a positive number, got '-1'"),
        ("add_order", ORDER | {"side": "up"}, "add_order: Invalid enum value 'up'"),
        ("add_order", ORDER | {"typo": 1}, "add_order: Object contains unknown field `typo`"),
        ("add_order", {"symbol": SYMBOL}, "add_order: Object missing required field"),
        ("add_order", ORDER | {"time_in_force": "gtd"}, "expire_time: expected with time_in_force gtd"),
        ("add_order", ORDER | {"expire_time": "2026-12-01T09:30:00Z"}, "expire_time: expected with time_in_force gtd"),
        ("add_order", ORDER | {"time_in_force": "gtd", "expire_time": "soon"}, "expire_time: expected a time such as"),
        ("add_order", {**ORDER, "order_type": "market", "limit_price": None}, "limit_price"),
        ("add_order", {k: v for k, v in ORDER.items() if k != "limit_price"}, "limit_price: a limit order needs one"),
        ("amend_order", {"cl_ord_id": "x"}, "cl_ord_id: no live order 'x' is known"),
        ("amend_order", {}, "expected either cl_ord_id or order_id"),
        ("amend_order", {"order_id": "7", "cl_ord_id": "x"}, "expected either cl_ord_id or order_id"),
        ("amend_order", {"order_id": "x"}, "order_id: there is no live order 'x'"),
        ("cancel_order", {}, "cl_ord_id, order_id: expected 1 to 50 orders, got 0"),
        ("cancel_order", {"cl_ord_id": ["x"]}, "cl_ord_id: no live order 'x' is known"),
        ("cancel_order", {"cl_ord_id": ["x"] * 51}, "cancel_order: Expected `array` of length <= 50"),
        ("cancel_all", {"symbol": "NOPE"}, "symbol: expected a known symbol"),
        ("cancel_all_orders_after", {"timeout": -1}, "cancel_all_orders_after: Expected `int` >= 0"),
        ("subscribe", {"channel": "executions", "since": 10**6}, "since: 1000000 is not held in memory"),
        ("subscribe", {"channel": "credit", "since": 1}, "since: credit has none"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(tmp_path: Path, method: str, params: dict, why: str):
    """And nothing of it is in the log."""
    log = stage(tmp_path)
    ann = Trader(log, "ANN")
    ann.connect("executions")
    log.settle()
    ann.hang_up()
    ann.connect("none")
    ann.heard.clear()
    ann.say(method, req_id=9, **params)
    log.settle()
    (reply,) = [one for one in ann.heard if one.get("req_id") == 9]
    assert not reply["success"]
    assert why in reply["error"]
    assert entered(log) == []


def test_cancels_of_which_some_were_taken_go_on(tmp_path: Path):
    """Said again under their number, those that were taken get their answers, and the others are taken."""
    log = stage(tmp_path)
    ann = Trader(log, "ANN")
    ann.connect()
    for name in "abc":
        ann.order("add_order", **ORDER, cl_ord_id=name)
    log.settle()
    ann.order("cancel_order", cl_ord_id=["a"])
    log.settle()
    ann.say("cancel_order", req_id=4, number=4, cl_ord_id=["a", "b"], order_id=[ann.outcomes[3]["result"]["order_id"]])
    log.settle()
    replies = [one["result"]["cl_ord_id"] for one in ann.heard if one.get("req_id") == 4]
    assert replies == ["a", "a", "b", "c"]
    assert len(entered(log)) == 6


@pytest.mark.parametrize("text", ["7", "7.0", '"7"', "70e-1", "0.7E+1", "7e0", "7" + 40 * "0" + "e-40"])
def test_numbers_are_exact_however_they_are_written(text: str):
    """As JSON numbers, with an exponent too, and as strings."""
    asked = requests.read("add_order", b'{"symbol":"I1","side":"buy","order_qty":%b,"limit_price":1}' % text.encode())
    assert INSTRUMENT_TERMS.lots(requests._decimal(asked.order_qty)) == 7
