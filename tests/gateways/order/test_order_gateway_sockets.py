"""The order gateway and its client over real sockets, with a venue in memory behind them."""

import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path

import msgspec
import pytest
import zmq

from engines import messages as m
from gateways import events as e
from gateways.flow.send import Flow, write_events
from gateways.order.client import LoggedOffError, OrderClient, OrderConnection, RefusedError
from gateways.order.gateway import OrderGateway
from gateways.order.session import Limits
from sequencer.client import Context
from sequencer.envelope import Batch, Entry
from sequencer.errors import UnreachableError
from tests.models.island import Island
from tests.models.running import PATIENCE_S

TERMS = {"symbol": "BTC-USD", "currency": "USD", "tick": "0.01", "lot": "0.00000001"}
ORDER = {"symbol": "BTC-USD", "price": "100.00", "quantity": "1"}


class MemoryStream:
    """Subscriber, Submitter and Replay in one, over an Island."""

    is_open = True

    def __init__(self, island: Island, first_index: int = 1) -> None:
        self._island = island
        self._next = first_index - 1

    @property
    def pending(self) -> bool:
        return self._next < len(self._island.log)

    @property
    def done(self) -> bool:
        return not self.pending

    def sockets(self) -> list[zmq.Socket[bytes]]:
        return []

    def receive(self) -> list[Entry]:
        return self.step(64)

    def step(self, entries_max: int) -> list[Entry]:
        found = self._island.log[self._next : self._next + entries_max]
        self._next += len(found)
        return found

    def submit(self, channel: int, payload: bytes, count: int) -> int:
        assert channel == m.COMMANDS
        return len(self._island.submit("gateway.test", payload, count))

    def flush(self) -> None: ...
    def close(self) -> None: ...
    def observe(self, batch: Batch) -> bool:
        return False


class Sending(MemoryStream):
    """The submitting side: it has nothing to receive."""

    def receive(self) -> None: ...  # type: ignore[override]


class Running:
    """A gateway in a thread, which can be stopped and started over the same log."""

    def __init__(self, directory: Path, limits: Limits) -> None:
        self.endpoint = f"ipc://{directory}/order"
        self.context = Context()
        self.island = Island()
        self._limits = limits
        self.start()

    def start(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        island = self.island
        gateway = OrderGateway(
            self.endpoint,
            MemoryStream(island),
            Sending(island),
            lambda first_index: MemoryStream(island, first_index),
            context=self.context,
            limits=self._limits,
        )
        while not self._stop.is_set():
            gateway.turn()
        gateway.close()


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running: list[Running] = []

    def begin(**limits: int) -> Running:
        running.append(Running(tmp_path, Limits(**limits)))
        return running[-1]

    yield begin
    for gateway in running:
        gateway.stop()
        gateway.context.destroy(linger=0)


def client(gateway: Running, name: str = "C1", last_seen: int = 0) -> OrderClient:
    return OrderClient(gateway.endpoint, name, last_seen, context=gateway.context)


def test_orders_are_told_and_canceled_when_their_client_leaves(start: Start):
    """A client asks how its orders stand; one that said so at its logon leaves none behind."""
    gateway = start()
    with client(gateway, "operator") as operator:
        operator.set_instrument(**TERMS)
    with OrderClient(gateway.endpoint, "C1", cancel_on_disconnect=True, context=gateway.context) as leaving:
        leaving.new_order(side="sell", client_order_id="a", **ORDER)
        leaving.new_order(side="sell", client_order_id="b", **ORDER)
        assert [order.client_order_id for order in leaving.orders()] == ["a", "b"]
        assert [order.leaves for order in leaving.orders("b")] == [100_000_000]
    with client(gateway) as back:
        ended = islice((report for report in back.reports(PATIENCE_S) if report.reason), 2)
        assert [back.describe(report)["client_order_id"] for report in ended] == ["a", "b"]
        assert back.orders() == []


def test_blocking_calls_return_their_answers(start: Start):
    """Each call gives the report that answers it, and other reports come by iteration."""
    gateway = start()
    with client(gateway, "operator") as operator, client(gateway) as one, client(gateway, "C2") as two:
        answers = [
            operator.set_instrument(**TERMS),
            operator.set_credit("C1", "USD", "1000.50"),
            operator.halt("BTC-USD"),
        ]
        list(one.reports(0.1)), list(two.reports(0.1))
        answers += [
            one.new_order(side="sell", client_order_id="a", **ORDER),
            two.new_order(side="buy", client_order_id="b", **ORDER),
            two.cancel(symbol="BTC-USD", client_order_id="b"),
        ]
        fills = [one.describe(next(one.reports(5.0))), two.describe(next(two.reports(5.0)))]

    assert [type(answer).__name__ for answer in answers] == [
        "InstrumentSet", "CreditSet", "InstrumentHalted", "OrderAccepted", "OrderAccepted", "CancelRejected",
    ]  # fmt: skip
    assert [(fill["type"], fill["client"], fill["price"], fill["quantity"]) for fill in fills] == [
        ("Fill", "C1", "100.00", "1.00000000"),
        ("Fill", "C2", "100.00", "1.00000000"),
    ]


def test_a_client_outlives_its_gateway(start: Start):
    """After a restart the client logs on again by itself, and goes on with its next number."""
    gateway = start()
    with client(gateway, "operator") as operator:
        operator.set_instrument(**TERMS)
    with client(gateway) as one:
        first = one.new_order(side="buy", client_order_id="a", **ORDER)
        gateway.stop()
        number = one.send(m.CancelOrder(0, 0, 1, "a"))
        one.flush()
        gateway.start()
        answer = one.wait(number)

    assert (first.number, answer.number, type(answer)) == (1, 2, e.OrderCanceled)


def test_a_new_client_object_resumes_where_the_last_one_was(start: Start):
    """What came since last_seen comes first, also when memory has forgotten it."""
    gateway = start(recent_reports_per_client=2)
    with client(gateway, "operator") as operator:
        operator.set_instrument(**TERMS)
    with client(gateway) as one:
        seen = [one.new_order(side="buy", client_order_id=f"o{n}", **ORDER) for n in range(9)]
    with client(gateway, last_seen=seen[2].sequence) as one:
        resumed = list(one.reports(1.0))

    assert resumed == seen[3:]


def test_the_older_of_two_connections_is_told(start: Start):
    """A client that is logged on elsewhere gets an error that says so."""
    gateway = start()
    with client(gateway) as old, client(gateway), pytest.raises(LoggedOffError, match="newer logon"):
        list(old.reports(5.0))


def test_pipelined_commands_pass_narrow_bounds_in_order(start: Start):
    """However small the gateway's bounds, commands of many clients enter the log in the order of sending."""
    gateway = start(in_flight_per_client=3, in_flight_total=8, batch_messages=4)
    names = [f"C{n}" for n in range(5)]
    with OrderConnection(gateway.endpoint, context=gateway.context) as connection:
        connection.log_on(names)
        sent = []
        for n in range(200):
            name = names[n * n % 5]
            number = connection.send(name, m.CancelOrder(0, 0, 1, f"x{n}"))
            sent.append((connection.session.accounts[name].client_id, number))
        answered = []
        deadline = time.monotonic() + 20
        while len(answered) < len(sent) and time.monotonic() < deadline:
            answered += connection.receive(0.05)

    in_log_order = sorted(answered, key=lambda report: report.sequence)
    assert [(report.client_id, report.number) for report in in_log_order] == sent


def test_busy_is_overcome(start: Start):
    """Two connections that fill a tiny gateway both get all their answers."""
    gateway = start(in_flight_total=2)
    with client(gateway, "C1") as one, client(gateway, "C2") as two:
        numbers = [(c, c.send(m.CancelOrder(0, 0, 1, "x"))) for _ in range(30) for c in (one, two)]
        answers = [c.wait(number).number for c, number in numbers]

    assert answers == [number for _, number in numbers]


def test_a_command_that_cannot_be_is_refused_at_once(start: Start):
    """The client checks before it numbers, so a refused command leaves no hole."""
    gateway = start()
    with client(gateway) as one:
        with pytest.raises(RefusedError, match="only the client 'operator'"):
            one.call(m.BlockClient(0, 0, 1))
        assert one.call(m.CancelOrder(0, 0, 1, "x")).number == 1


def test_no_gateway_is_a_clear_error(tmp_path: Path):
    """Nobody there: UnreachableError, naming the endpoint."""
    with pytest.raises(UnreachableError, match="no order gateway logged us on at ipc://"):
        OrderClient(f"ipc://{tmp_path}/nobody", timeout_s=0.2)


FLOW = """\
{"type":"SetInstrument","symbol":"BTC-USD","tick":"0.01","lot":"0.00000001","currency":"USD"}
{"type":"SetCredit","client":"C1","currency":"USD","limit":"1000000"}
{"type":"NewOrder","client":"C1","client_order_id":"a1","symbol":"BTC-USD","side":"buy","price":"78318.00","quantity":"1.5"}
{"type":"NewOrder","client":"C1","client_order_id":"a2","symbol":"BTC-USD","side":"buy","price":"78318.005","quantity":"1.5"}
{"type":"NewOrder","client":"C2","client_order_id":"b1","symbol":"ETH-USD","side":"buy","price":"1","quantity":"1"}
not a line

{"type":"ReplaceOrder","client":"C1","client_order_id":"a1","symbol":"BTC-USD","price":"78319.00","quantity":"1.6"}
{"type":"NewOrder","client":"C2","client_order_id":"b2","symbol":"BTC-USD","side":"sell","price":"78319.00","quantity":"0.6"}
{"type":"CancelOrder","client":"C1","client_order_id":"a1","symbol":"BTC-USD"}
{"type":"CancelOrder","client":"C1","client_order_id":"a1","symbol":"BTC-USD"}
"""


@pytest.mark.parametrize("rate_per_s", [None, 200.0])
def test_a_flow_gets_every_answer_and_tells_of_bad_lines(start: Start, rate_per_s: float | None):
    """Valid lines are answered, invalid ones named with what is wrong; the events are the flow's, in log order."""
    gateway = start()
    gateway.island.sequence([m.RegisterClient(0, 0, "earlier")])
    with OrderConnection(gateway.endpoint, context=gateway.context) as connection:
        summary = Flow(connection, rate_per_s=rate_per_s).run(FLOW.splitlines(), settle=True)
    out = BytesIO()
    written = write_events(gateway.island.log, summary, out)
    lines = [msgspec.json.decode(line) for line in out.getvalue().splitlines()]

    assert (summary.submitted, summary.answered, summary.unanswered, summary.invalid) == (7, 7, 0, 3)
    assert [error.number for error in summary.errors] == [4, 5, 6]
    assert "a multiple of the tick 0.01 of BTC-USD" in str(summary.errors[0])
    assert summary.latency.count == 7
    assert written == len(lines)
    assert [line["type"] for line in lines if line["type"] != "ClientRegistered"] == [
        "InstrumentSet", "CreditSet", "OrderAccepted", "OrderReplaced", "OrderAccepted", "Trade", "OrderCanceled",
        "CancelRejected",
    ]  # fmt: skip
    assert "earlier" not in out.getvalue().decode()


def test_a_flow_goes_on_over_a_gateway_restart_in_order(start: Start):
    """Commands of many clients enter the log once and in the order of the lines, whatever happens to the gateway."""
    gateway = start(in_flight_total=64)
    lines = [
        f'{{"type":"CancelOrder","client":"C{n * 7 % 11}","client_order_id":"{n}","symbol":"BTC-USD"}}'
        for n in range(600)
    ]

    def restart_on_the_way() -> Iterator[str]:
        yield FLOW.splitlines()[0]
        for n, line in enumerate(lines):
            if n in (200, 400):
                gateway.stop()
                gateway.start()
            yield line

    with OrderConnection(gateway.endpoint, context=gateway.context) as connection:
        summary = Flow(connection).run(restart_on_the_way())
    batches = [b for entry in gateway.island.log for b in entry.batches() if b.channel == m.COMMANDS]
    commands = [c for batch in batches for c in m.decode(m.COMMANDS, batch.payload)]

    assert summary.unanswered == 0
    assert [int(c.client_order_id) for c in commands if isinstance(c, m.CancelOrder)] == list(range(600))
