"""The order gateway without sockets: numbers, bounds, takeover, resume, rebuild, garbage."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines import messages as m
from gateways import events as e
from gateways.order import protocol as p
from gateways.order.session import Limits, Session
from sequencer.limits import Limits as Bounds
from sequencer.limits import Meter
from tests.models.island import Island

A, B = b"connection a", b"connection b"


class Gateway:
    """A session and the log behind it."""

    def __init__(self, island: Island | None = None, **limits: int) -> None:
        self.island = island or Island()
        self.session = Session(Limits(**limits))
        self.session.stream(self.island.log)
        self.session.duties()
        self.stalled = False

    def send(self, connection: bytes, *messages: Any) -> dict[bytes, list[Any]]:
        """What every connection gets for a frame and all that follows from it."""
        self.session.receive(connection, p.ENCODER.encode(messages))
        return self.settle()

    def settle(self) -> dict[bytes, list[Any]]:
        """Do duties until there are none."""
        got: dict[bytes, list[Any]] = {}
        while True:
            duties = self.session.duties()
            for connection, frame in duties.frames:
                got.setdefault(connection, []).extend(p.FROM_GATEWAY.decode(frame))
            if duties.rebuild_from:
                self.session.rebuild(self.island.log[duties.rebuild_from - 1 :][:3])
            if self.stalled or not (duties.batches or duties.frames or duties.rebuild_from):
                return got
            for count, payload in duties.batches:
                self.session.stream(self.island.submit("gateway.test", payload, count))

    def log_on(self, connection: bytes, name: str = "C1", last_seen: int = p.LATEST) -> p.LoggedOn:
        return next(x for x in self.send(connection, p.Logon(name, last_seen))[connection] if type(x) is p.LoggedOn)

    def log(self) -> list[m.Message]:
        """All commands in the log but the gateway's own."""
        batches = [batch for entry in self.island.log for batch in entry.batches() if batch.channel == m.COMMANDS]
        found = [command for batch in batches for command in m.decode(m.COMMANDS, batch.payload)]
        return [command for command in found if type(command) is not m.RegisterClient]


def new(number: int, order: str = "", client_id: int = 1, side: int = 1, price: int = 100) -> m.NewOrder:
    return m.NewOrder(client_id, number, 1, order or f"o{number}", side, price, 5)


def test_a_tick_is_not_a_client_s_to_send():
    """Time is the gateway's own business."""
    gateway = Gateway()
    gateway.log_on(A)

    assert "Tick is not a command" in gateway.send(A, m.Tick())[A][0].text


def reports(messages: list[Any]) -> list[e.Event]:
    return [message for message in messages if isinstance(message, e.Event)]


def test_an_unknown_client_is_registered_and_logged_on():
    """A logon of a new name is answered when its registration is in the log."""
    gateway = Gateway()

    first, second = gateway.log_on(A, "C1"), gateway.log_on(B, "C2")

    assert (first.client_id, second.client_id, first.last_number) == (1, 2, 0)
    assert second.position > first.position


def test_a_command_is_answered_once_to_its_own_client():
    """Reports go to the client that they are for, with the command's number, and to nobody else."""
    gateway = Gateway()
    gateway.log_on(A, "C1"), gateway.log_on(B, "C2")

    gateway.send(A, new(1, side=2))
    got = gateway.send(B, new(1, client_id=2))

    assert [(type(r), r.client_id, r.number) for r in got[B]] == [(e.OrderAccepted, 2, 1), (e.Fill, 2, 0)]
    assert [(type(r), r.client_id, r.is_maker) for r in got[A]] == [(e.Fill, 1, True)]


def test_a_repeat_gets_the_first_outcome_and_no_second_order():
    """A number that was taken is answered again, even with another command in it."""
    gateway = Gateway()
    gateway.log_on(A)
    first = gateway.send(A, new(1))[A]

    again = gateway.send(A, new(1, "other"))[A]

    assert again == first
    assert gateway.log() == [new(1)]


def test_a_repeat_of_an_unanswered_command_waits_for_its_answer():
    """While the answer is on its way, a repeat brings nothing; the answer comes once."""
    gateway = Gateway()
    gateway.log_on(A)
    gateway.session.receive(A, p.ENCODER.encode([new(1)]))
    gateway.session.receive(A, p.ENCODER.encode([new(1)]))

    assert [r.number for r in gateway.settle()[A]] == [1]


def test_a_gap_is_told_once_and_nothing_behind_it_is_taken():
    """Expected names the next number; until it comes, the connection's commands are dropped."""
    gateway = Gateway()
    gateway.log_on(A)

    got = gateway.send(A, new(2), new(3))[A]
    quiet = gateway.send(A, new(4))
    gateway.send(A, new(1), new(2))

    assert (got, quiet) == ([p.Expected(1, 1)], {})
    assert gateway.log() == [new(1), new(2)]


def test_what_is_refused_for_one_client_holds_the_whole_connection():
    """Commands of a connection are taken in the order in which it sent them, over all its clients."""
    gateway = Gateway(in_flight_per_client=1)
    gateway.log_on(A, "C1"), gateway.log_on(A, "C2")

    got = gateway.send(A, new(1), new(2), new(1, client_id=2))[A]
    gateway.send(A, new(2))
    gateway.send(A, new(1, client_id=2))

    assert p.Busy(1, 2) in got
    assert [(c.client_id, c.number) for c in gateway.log()] == [(1, 1), (1, 2), (2, 1)]


def test_busy_bounds_what_is_in_flight_over_all_clients():
    """With the total taken up, another client is told Busy, and is served after an answer."""
    gateway = Gateway(in_flight_total=2)
    gateway.log_on(A, "C1"), gateway.log_on(B, "C2")
    gateway.stalled = True
    gateway.send(A, new(1), new(2))
    assert gateway.session.in_flight == 2

    got = gateway.send(B, new(1, client_id=2))[B]

    assert got == [p.Busy(2, 1)]


def test_the_newest_logon_takes_a_client_over():
    """The older connection is logged off with the reason and can send nothing any more."""
    gateway = Gateway()
    gateway.log_on(A)
    got = gateway.send(B, p.Logon("C1"))

    off = got[A][0]
    assert (type(off), off.client_id, off.reason) == (p.LoggedOff, 1, p.LogoffReason.TAKEN_OVER)
    assert gateway.send(A, new(1))[A][0].reason == p.LogoffReason.NOT_LOGGED_ON
    assert [r.number for r in gateway.send(B, new(1))[B]] == [1]


def test_answers_go_to_the_connection_that_took_over():
    """A command in flight at a takeover is answered to the new connection."""
    gateway = Gateway()
    gateway.log_on(A)
    gateway.session.receive(A, p.ENCODER.encode([new(1)]))
    gateway.session.receive(B, p.ENCODER.encode([p.Logon("C1")]))

    assert [r.number for r in reports(gateway.settle()[B])] == [1]


def traded(gateway: Gateway, orders: int) -> list[e.Event]:
    """All reports of C1 after many orders, some of which trade with itself."""
    gateway.log_on(A)
    seen: list[e.Event] = []
    for number in range(1, orders + 1):
        seen += reports(gateway.send(A, new(number, side=1 + number % 2))[A])
    return seen


@pytest.mark.parametrize("kept", [2, 5, 1000])
@pytest.mark.parametrize("restarted", [False, True])
def test_resume_brings_all_that_was_missed_once_and_in_order(kept: int, restarted: bool):
    """Whatever a client saw last, memory or log, same gateway or a new one: it gets exactly the rest."""
    gateway = Gateway(recent_reports_per_client=kept)
    seen = traded(gateway, 12)
    if restarted:
        gateway = Gateway(gateway.island, recent_reports_per_client=kept)
    places = sorted({0} | {report.sequence for report in seen})

    for last_seen in places:
        got = reports(gateway.send(B, p.Logon("C1", last_seen))[B])
        assert got == [report for report in seen if report.sequence > last_seen], last_seen


def test_new_reports_wait_behind_old_ones_that_are_rebuilt():
    """Live traffic goes on during a rebuild, and its reports come after the old ones."""
    gateway = Gateway(recent_reports_per_client=2)
    seen = traded(gateway, 8)
    gateway.log_on(A, "C2")
    session = gateway.session
    session.receive(B, p.ENCODER.encode([p.Logon("C1", 0)]))
    session.duties()
    session.receive(B, p.ENCODER.encode([new(9)]))

    got = reports(gateway.settle()[B])

    assert got[: len(seen)] == seen
    assert [(r.sequence > seen[-1].sequence, r.number) for r in got[len(seen) :] if r.number] == [(True, 9)]


def test_an_answer_that_memory_forgot_is_rebuilt_for_a_repeat():
    """A repeat of an old number gets its first outcome from the log."""
    gateway = Gateway(recent_reports_per_client=2)
    seen = traded(gateway, 9)

    got = gateway.send(A, new(2), new(1))[A]

    assert got == [report for report in seen if report.number in (1, 2)]


def test_a_restarted_gateway_knows_every_last_number():
    """State is a function of the log: the next process goes on where the log ends."""
    gateway = Gateway()
    traded(gateway, 3)

    logged = Gateway(gateway.island).log_on(B)

    assert (logged.client_id, logged.last_number) == (1, 3)


def test_only_the_operator_may_send_what_concerns_others():
    """Commands on accounts, instruments and others' orders are refused for everybody else."""
    gateway = Gateway()
    gateway.log_on(A, "C1"), gateway.log_on(B, p.OPERATOR)

    refused = [gateway.send(A, command)[A][0] for command in (m.BlockClient(1, 1, 2), m.CancelAll(1, 1, 0, 0))]
    got = gateway.send(B, m.BlockClient(2, 1, 1), m.SetInstrument(2, 2, "X", "USD", 1, 2, 1, 8))[B]

    assert [(type(r), r.next_number) for r in refused] == [(p.Reject, 1), (p.Reject, 1)]
    assert [type(r) for r in reports(got)] == [e.ClientBlocked, e.InstrumentSet]


def test_everybody_hears_of_a_new_instrument():
    """A connection learns instruments that are set after its logon."""
    gateway = Gateway()
    gateway.log_on(A, "C1"), gateway.log_on(B, p.OPERATOR)

    got = gateway.send(B, m.SetInstrument(2, 1, "X", "USD", 1, 2, 1, 8))

    assert [type(x) for x in got[A]] == [p.Listed]
    assert [i.symbol for i in gateway.log_on(A, "C3").instruments] == ["X"]


HUGE = (1 << 63) + 5


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (m.NewOrder(1, 1, 1, "a", 3, 100, 5), "side: expected one of [1, 2], got 3"),
        (m.NewOrder(1, 1, 1, "a", 1, 100, 5, 7), "order_type: expected one of"),
        (m.NewOrder(1, 1, 1, "a", 1, 100, 5, 0, -1), "time_in_force: expected"),
        (m.NewOrder(1, 1, 1, "a", 1, 100, 5, 0, 0, 0, False, 9), "self_trade: expected"),
        (m.NewOrder(1, 1, 1, "a", 1, HUGE, 5), "price: expected an integer of at most 63 bits"),
        (m.NewOrder(1, 1, 1, "", 1, 100, 5), "client_order_id: expected 1 to 64 characters, got 0"),
        (m.ReplaceOrder(1, 1, 1, "a", 1, HUGE), "quantity: expected"),
        (m.ReplaceOrder(1, 1, 1, "a", 1, 5, "x" * 65), "new_client_order_id: expected"),
        (m.CancelOrder(1, 1, HUGE, "a"), "instrument_id: expected"),
    ],
)
def test_what_can_never_mean_anything_is_refused_before_the_log(command: m.Message, says: str):
    """A bad enum or an integer beyond 63 bits is rejected with the reason; the number stays free."""
    gateway = Gateway()
    gateway.log_on(A)

    (reject,) = gateway.send(A, command)[A]

    assert (reject.client_id, reject.next_number) == (1, 1)
    assert says in reject.text
    assert [r.number for r in gateway.send(A, new(1))[A]] == [1]


garbage = st.one_of(
    st.binary(max_size=40),
    st.recursive(
        st.integers(-(2**63), 2**64 - 1) | st.text(max_size=4) | st.booleans() | st.none() | st.binary(max_size=4),
        lambda inner: st.lists(inner, max_size=6),
        max_leaves=12,
    ).map(msgspec.msgpack.encode),
    st.lists(
        st.lists(st.sampled_from([1, 2, 3, 4, 10, 20, 30, 100, 101, 102]) | st.text(max_size=2), max_size=9)
    ).map(msgspec.msgpack.encode),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(garbage, max_size=4))
def test_no_frame_breaks_the_gateway(frames: list[bytes]):
    """Whatever comes, nothing is raised and the connection still works."""
    gateway = Gateway()
    gateway.log_on(A)
    for frame in frames:
        gateway.session.receive(A, frame)
        gateway.settle()
    last = gateway.log_on(A).last_number

    assert [r.number for r in reports(gateway.send(A, new(last + 1))[A])] == [last + 1]


def test_a_frame_that_cannot_be_read_is_rejected_whole():
    """The sender is told why, and nothing of the frame is taken."""
    gateway = Gateway()
    gateway.log_on(A)

    (reject,) = gateway.send(A, new(1), ["what", "is", "this"])[A]

    assert (type(reject), reject.client_id) == (p.Reject, 0)
    assert gateway.log() == []


def test_a_silent_connection_is_logged_off_and_a_quiet_one_hears_heartbeats():
    """Heartbeats go out when nothing else does; who says nothing for long is forgotten."""
    gateway = Gateway(silence_ms=5000)
    gateway.log_on(A)
    gateway.session.tick(1000)
    alive = gateway.settle()[A]
    gateway.session.tick(5000)
    off = gateway.settle()[A]

    assert alive == [p.Heartbeat()]
    assert (off[0].reason, gateway.session.connections) == (p.LogoffReason.SILENT, 0)


def test_ticks_are_submitted_once_a_second_and_do_not_pile_up():
    """A Tick is due every tick_ms, but not while the log does not move."""
    gateway = Gateway()
    gateway.log_on(A)
    gateway.session.is_live = True
    submitted = []
    for now_ms in (1000, 1500, 2000, 3000):
        gateway.session.tick(now_ms)
        submitted.append(len(gateway.session.duties().batches))

    assert submitted == [1, 0, 0, 0]


def test_a_logon_beyond_the_end_of_the_log_is_refused():
    """A last_seen that this log does not have belongs to another venue."""
    gateway = Gateway()
    gateway.log_on(A)

    (off,) = gateway.send(B, p.Logon("C1", 10_000))[B]

    assert off.reason == p.LogoffReason.REFUSED
    assert "last_seen: this log ends at" in off.text


def test_one_wake_is_one_batch_cut_at_its_bound():
    """All commands that were drained go into one batch, in order, unless they are too many."""
    gateway = Gateway(batch_messages=4)
    gateway.log_on(A)
    gateway.session.receive(A, p.ENCODER.encode([new(1), new(2), new(3)]))
    gateway.session.receive(A, p.ENCODER.encode([new(4), new(5), new(6)]))

    assert [count for count, _ in gateway.session.duties().batches] == [4, 2]


def asked(gateway: Gateway, connection: bytes, client_id: int, name: str = "") -> list[p.OrderState]:
    """How its orders stand, of all answers together."""
    told = gateway.send(connection, p.AskOrders(client_id, 7, name))[connection]
    assert [one.is_last for one in told] == [False] * (len(told) - 1) + [True]
    assert {(one.request, one.position) for one in told} == {(7, gateway.session.position)}
    return [state for one in told for state in one.orders]


def test_a_client_is_told_how_its_orders_stand():
    """The live ones, the oldest first, or one by its id; those of nobody else, and in parts where there are many."""
    gateway = Gateway()
    for connection, name in ((A, "C1"), (B, "C2")):
        gateway.log_on(connection, name)
    gateway.send(A, new(1, "a"), new(2, "b"), m.CancelOrder(1, 3, 1, "a"))
    gateway.send(B, new(1, "x", client_id=2))

    (state,) = asked(gateway, A, 1)
    assert (state.client_order_id, state.side, state.price, state.quantity) == ("b", 1, 100, 5)
    assert (state.leaves, state.notional) == (5, 0)
    assert asked(gateway, A, 1, "a") == asked(gateway, A, 1, "x") == []
    gateway.send(A, *(new(number, side=1, price=50) for number in range(4, 1504)))
    assert [one.client_order_id for one in asked(gateway, A, 1)][-1] == "o1503"
    assert gateway.send(A, p.AskOrders(2, 7))[A][0].reason == p.LogoffReason.NOT_LOGGED_ON


@pytest.mark.parametrize("how", ["logoff", "lost", "silent"])
def test_orders_of_one_who_leaves_are_canceled_if_it_wants_that(how: str):
    """Through the log, without using up a number of its own; another client's orders stay."""
    gateway = Gateway()
    for connection, name, cancels in ((A, "C1", True), (B, "C2", False)):
        gateway.send(connection, p.Logon(name, p.LATEST, cancel_on_disconnect=cancels))
    gateway.send(A, new(1, "a"))
    gateway.send(B, new(1, "b", client_id=2))
    if how == "logoff":
        gateway.send(A, p.Logoff(1))
    elif how == "lost":
        gateway.session.lost(A)
    else:
        gateway.session.tick(60_000)
        gateway.session.receive(B, p.ENCODER.encode([p.Heartbeat()]))
    gateway.settle()

    again = gateway.log_on(A)
    assert again.last_number == 1
    assert asked(gateway, A, 1) == []
    assert [one.account_id for one in gateway.log() if isinstance(one, m.CancelAll)] == [1]
    gateway.log_on(B, "C2")
    assert [one.client_order_id for one in asked(gateway, B, 2)] == ["b"]


def test_who_is_taken_over_keeps_its_orders():
    """It is still there, on another connection."""
    gateway = Gateway()
    gateway.send(A, p.Logon("C1", p.LATEST, cancel_on_disconnect=True))
    gateway.send(A, new(1, "a"))
    gateway.log_on(B)
    assert [one.client_order_id for one in asked(gateway, B, 1)] == ["a"]


def test_what_the_stream_has_not_brought_yet_is_not_rebuilt():
    """A history may know more of the log than the live stream has told: a client gets each report once."""
    gateway = Gateway(recent_reports_per_client=1)
    gateway.log_on(A)
    gateway.send(A, *(new(number) for number in range(1, 5)))
    ahead = gateway.island.sequence([new(5)])
    gateway.session.receive(A, p.ENCODER.encode([p.Logon("C1", 0)]))
    got: list[Any] = []
    for _ in range(20):
        duties = gateway.session.duties()
        got += [message for _link, frame in duties.frames for message in p.FROM_GATEWAY.decode(frame)]
        if duties.rebuild_from:
            gateway.session.rebuild(gateway.island.log[duties.rebuild_from - 1 :])
    gateway.session.stream(ahead)
    got += [message for _link, frame in gateway.session.duties().frames for message in p.FROM_GATEWAY.decode(frame)]
    assert [report.client_order_id for report in reports(got)] == ["o1", "o2", "o3", "o4", "o5"]


# --- rates ----------------------------------------------------------------------------------------


def metered(requests_per_s: int = 1000) -> Meter:
    """Of a key that has just come; a burst is a quarter of a second's, and no fewer than BURST_REQUESTS_MIN."""
    return Meter(Bounds(requests_per_s, 1 << 30, 1 << 20, 10), 0.0)


def test_what_is_over_a_rate_is_refused_once_and_names_the_rate_and_the_number():
    """A burst of a frame is taken; of the rest one Busy tells, and all behind it is dropped until that comes again."""
    gateway, meter = Gateway(), metered()
    gateway.log_on(A)
    frame = p.ENCODER.encode([new(number) for number in range(1, 301)])

    assert not gateway.session.receive(A, frame, meter)
    assert not gateway.session.receive(A, p.ENCODER.encode([new(301)]), meter)
    got = gateway.settle()[A]

    assert [one for one in got if isinstance(one, p.Busy)] == [p.Busy(1, 251, meter.wait_ms, meter.over_rate)]
    assert gateway.log() == [new(number) for number in range(1, 251)]
    assert "1,000 requests/s" in meter.over_rate


def test_who_waits_as_told_goes_on_where_he_was():
    """After `wait_ms` the number that was refused is taken, and nothing was lost or taken twice."""
    gateway, meter = Gateway(), metered()
    gateway.log_on(A)
    gateway.session.receive(A, p.ENCODER.encode([new(number) for number in range(1, 301)]), meter)
    gateway.settle()
    meter.requests.fill(meter.wait_ms / 1000)

    assert gateway.session.receive(A, p.ENCODER.encode([new(number) for number in range(251, 301)]), meter)
    assert [one.number for one in reports(gateway.settle()[A])] == list(range(251, 301))


def test_a_logon_tells_the_rate():
    """That of the connection's key; none, where it has none."""
    gateway, meter = Gateway(), metered()
    gateway.session.receive(A, p.ENCODER.encode([p.Logon("C1")]), meter)
    [first] = [one for one in gateway.settle()[A] if isinstance(one, p.LoggedOn)]

    assert (first.max_per_s, gateway.log_on(B, "C2").max_per_s) == (1000, 0)


def test_logons_and_questions_over_a_rate_are_refused_with_the_reason():
    """They are answered, too."""
    gateway, meter = Gateway(), metered()
    gateway.log_on(A)
    meter.charge(1000)
    gateway.session.receive(A, p.ENCODER.encode([p.Logon("C2"), p.AskOrders(1, 1), p.Heartbeat()]), meter)

    assert gateway.settle()[A] == [
        p.LoggedOff(0, "C2", p.LogoffReason.REFUSED, meter.over_rate),
        p.Reject(0, 0, meter.over_rate),
    ]


def test_a_logon_costs_what_it_has_sent_again():
    """Who asks for the past again and again is over its rate."""
    gateway, meter = Gateway(), metered()
    gateway.log_on(A)
    gateway.send(A, *(new(number) for number in range(1, 301)))
    again = [gateway.session.receive(A, p.ENCODER.encode([p.Logon("C1", 0)]), meter) for _ in range(2)]

    assert again == [True, False]
