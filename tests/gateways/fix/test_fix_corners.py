"""Corners of "each order once, each report once", and what a counterparty could do: each was a defect once."""

import os
from pathlib import Path

import pytest

from engines import messages as m
from gateways.fix.codec import MESSAGE_BYTES_MAX, Framer, encode
from gateways.fix.settings import Counterparty as Party
from gateways.fix.settings import Settings
from gateways.fix.store import Place, Store
from gateways.order import session as order_session
from tests.gateways.fix.test_fix_exactly_once import commands
from tests.models.fix_stage import Counterparty, Stage

INSTRUMENT = m.SetInstrument(0, 0, "I1", "USD", 1, 0, 1, 0)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return begun(tmp_path)


def begun(directory: Path, *parties: Party, instrument: m.SetInstrument = INSTRUMENT, **limits: int) -> Stage:
    made = Stage(directory / "store", *parties, **limits)
    made.island.sequence([instrument])
    made.crash()
    return made


def logged_on(stage: Stage, name: str = "ANN") -> Counterparty:
    party = Counterparty(stage, name)
    party.log_on()
    assert party.is_logged_on
    return party


def live(stage: Stage) -> list[str]:
    return [order.client_order_id for order in stage.gateway.orders._orders.live.values()]


# --- once -------------------------------------------------------------------------------------


def test_a_fill_is_told_once_though_old_reports_are_fetched_behind_it(stage: Stage):
    """Two answers of the order session begin at the same place: what they have in common is one report."""
    ann, bob = logged_on(stage), logged_on(stage, "BOB")
    ann.order("a")
    stage.settle()
    bob.order("b", side=2)
    stage.turn()
    stage.turn("stored")
    ann.log_on((789, ann.next_in))
    stage.settle()
    assert [(one.get(150), one.get(17)) for one in ann.reports] == [("0", "9"), ("F", "13")]


def test_what_was_rewound_is_forgotten(stage: Stage):
    """A counterparty may fill the gap over its old orders: a later crash does not ask for their numbers again."""
    ann = logged_on(stage)
    ann.order("o1")
    ann.order("o2")
    stage.turn("stored")
    ann.sent[2] = ann.sent[3] = ("0", [])
    ann.log_on()
    stage.settle()
    ann.order("o3", price=50)
    stage.settle()
    ann.order("o4", price=50)
    stage.turn("stored")
    ann.log_on()
    stage.settle()
    stage.pass_time(3000)
    assert [one.client_order_id for one in commands(stage)] == ["o3", "o4"]


def test_what_was_refused_is_not_asked_once_more(stage: Stage):
    """It comes again for the sake of an order before it; what it was told stays true."""
    ann = logged_on(stage)
    ann.order("good")
    ann.send("D", (11, "bad"), (55, "I2"), (54, 1), (60, ann._time), (40, 2), (44, 100), (38, 5))
    stage.turn("stored")
    stage.island.sequence([m.SetInstrument(0, 0, "I2", "USD", 1, 0, 1, 0)])
    stage.crash()
    ann.log_on()
    stage.settle()
    stage.pass_time(3000)
    assert sorted((one.get(11), one.get(39)) for one in ann.reports) == [("bad", "8"), ("good", "0")]


def test_a_refusal_that_waits_behind_old_reports_survives_the_connection(tmp_path: Path):
    """It has its number, and its text is kept."""
    stage = begun(tmp_path, recent_reports_per_client=1)
    ann = logged_on(stage)
    for number in range(10):
        ann.order(f"o{number}")
        stage.settle()
    ann.send("2", (7, 1), (16, 0))
    stage.turn()
    ann.order("off-grid", price="50.5")
    stage.turn()
    ann.hang_up()
    stage.settle()
    ann.log_on()
    stage.settle()
    stage.pass_time(40_000)
    assert [one.get(39) for one in ann.reports if one.get(11) == "off-grid"] == ["8"]


def test_reports_of_before_the_first_logon_do_not_come(stage: Stage):
    """Also where an earlier Logon was refused."""
    client = stage.island.sequence([m.RegisterClient(0, 0, "ANN")])
    stage.crash()
    client_id = stage.gateway.orders.names.client_id("ANN")
    stage.island.sequence([m.NewOrder(client_id, number, 1, f"n{number}", 1, 80, 1) for number in range(1, 6)])
    stage.crash()
    ann = Counterparty(stage, "ANN")
    ann._number = stage.connect(ann)
    ann.send("A", (98, 0), (108, 0))
    stage.settle()
    ann.log_on()
    stage.settle()
    assert client
    assert ann.is_logged_on
    assert ann.reports == []


def test_orders_are_entered_behind_those_of_another_door(stage: Stage):
    """A client that used a native gateway meanwhile: its numbers go on from there."""
    ann = logged_on(stage)
    ann.order("f1", price=90)
    stage.settle()
    client_id = stage.gateway.orders.names.client_id("ANN")
    others = [m.NewOrder(client_id, number, 1, f"n{number}", 1, 80, 1) for number in (2, 3, 4)]
    stage._unseen.extend(stage.island.sequence(others, sender="gateway.native"))
    stage.settle()
    for number in (2, 3, 4, 5):
        ann.order(f"f{number}", price=91)
        stage.settle()
    assert {"f1", "f2", "f3", "f4", "f5"} <= set(live(stage))


def test_after_the_loss_of_its_last_rows_no_repeat_is_entered(stage: Stage):
    """A crash of the host: the log has orders that the store does not know. They are not entered twice."""
    ann = logged_on(stage)
    ann.order("o1", price=50)
    stage.settle()
    path = stage.gateway._doors["ANN"].store._path
    size = os.path.getsize(path)
    ann.order("o2", price=50)
    ann.order("o3", price=50)
    stage.settle()
    ann.hang_up()
    stage.settle()
    os.truncate(path, size)
    stage.crash()
    ann.next_in = stage.gateway._door(Party("ANN", "ANN")).store.next_out
    ann.log_on()
    stage.settle()
    assert [one.client_order_id for one in commands(stage)] == ["o1", "o2", "o3"]
    ann.order("o4", price=50)
    stage.settle()
    assert live(stage) == ["o1", "o2", "o3", "o4"]


@pytest.mark.parametrize("stays", [True, False])
def test_who_was_not_let_in_may_try_again(stage: Stage, monkeypatch: pytest.MonkeyPatch, stays: bool):
    """The order session refuses its client for now: it is told so, where it still listens, and nothing is locked."""
    with monkeypatch.context() as patched:
        patched.setattr(order_session, "REGISTRATIONS_MAX", 0)
        ann = Counterparty(stage, "ANN")
        ann.log_on(is_patient=False)
        stage.gateway._advance()
        if not stays:
            ann.hang_up()
        stage.settle()
        stage.pass_time(1000)
    assert [one.get(58) for one in ann.heard] == ["too many registrations are in progress: try again"] * stays
    assert stage.gateway._doors == {}
    other = Counterparty(stage, "ANN")
    other.next_in = ann.next_in
    other.log_on()
    assert other.is_logged_on


def test_a_process_that_stood_still_cancels_and_lets_in_again(tmp_path: Path):
    """Longer than the order session's patience: the orders of who has gone are canceled, and it may come back."""
    party = Party("ANN", "ANN", cancel_on_disconnect=True)
    stage = begun(tmp_path, party)
    ann = Counterparty(stage, "ANN")
    ann.log_on()
    ann.order("a", price=90)
    stage.settle()
    stage.clock.now_ms += 31_000
    stage.gateway.tick(stage.clock.now_ms)
    stage.settle()
    assert live(stage) == ["a"]
    ann.hang_up()
    stage.gateway.orders.lost(stage.gateway._doors["ANN"].link)
    stage.pass_time(5000)
    assert live(stage) == []
    ann.log_on()
    assert ann.is_logged_on


# --- time -------------------------------------------------------------------------------------


def test_who_spoke_while_this_process_stood_still_is_not_silent(stage: Stage):
    """Its heartbeats are in the socket."""
    ann = logged_on(stage)
    stage.clock.now_ms += 73_000
    stage.gateway.tick(stage.clock.now_ms)
    ann.send("1", (112, "here"))
    stage.settle()
    assert "here" in [one.get(112) for one in ann.heard]
    assert ann.of("5") == []


def test_who_waits_for_room_is_not_silent(tmp_path: Path):
    """What it says counts when it comes, and not when it is taken."""
    stage = begun(tmp_path, in_flight_per_client=1)
    ann = Counterparty(stage, "ANN")
    ann._number = stage.connect(ann)
    ann.send("A", (98, 0), (108, 1))
    stage.settle()
    ann.order("a")
    stage.gateway.flush()
    batches = stage.gateway.duties().batches  # nothing is sequenced for a while
    for _ in range(60):
        ann.send("0")
        stage.clock.now_ms += 100
        stage.gateway.tick(stage.clock.now_ms)
        stage.gateway.flush()
        assert stage.gateway.duties().closing == []
    for count, payload in batches:
        stage._unseen.extend(stage.island.submit("gateway.fix", payload, count))
    stage.settle()
    assert [one.get(11) for one in ann.reports] == ["a"]


def test_there_are_signs_of_life_while_old_reports_are_fetched(tmp_path: Path):
    """A TestRequest is answered before them."""
    stage = begun(tmp_path, recent_reports_per_client=1)
    ann = logged_on(stage)
    for number in range(100):
        ann.order(f"o{number}")
        stage.settle()
    ann.send("2", (7, 2), (16, 0))
    ann.send("1", (112, "alive?"))
    stage.turn()
    assert ann.heard[-1].get(112) == "alive?"
    stage.settle()
    assert len(ann.reports) == 100


# --- what a counterparty could do -------------------------------------------------------------


def test_nobody_speaks_for_the_client_of_another(tmp_path: Path):
    """`open` lets in strangers, under names that are nobody's."""
    settings = Settings(open=True, sessions=[Party("BANK1", "ANN", password="secret")])
    assert settings.find("ANN") is None
    assert settings.find("EVE").client == "EVE"
    assert tmp_path.exists()


@pytest.mark.parametrize("number", ["\xb2", "9" * 5000, "9" * 19, "-1", ""])
def test_numbers_that_are_none(stage: Stage, number: str):
    """Digits of other scripts, and more of them than a number has."""
    ann, bob = logged_on(stage), logged_on(stage, "BOB")
    ann.post("A", number)  # type: ignore[arg-type]
    stage.say(ann._number, encode("A", f"34=3\x0195={number}\x0196=x\x01", []))
    bob.order("b")
    stage.settle()
    assert [one.get(11) for one in bob.reports] == ["b"]
    stranger = Counterparty(stage, "EVE")
    stranger._number = stage.connect(stranger)
    stranger.post("A", 1, (98, 0), (108, 30), (789, number))
    stage.settle()
    assert not stranger.is_logged_on


def test_each_byte_is_summed_once():
    """Heads that are nested, all with one trailer and a wrong sum, are one garbled message."""
    head, count = b"8=FIX.4.4\x019=%05d\x01", 3000
    size = count * (len(head) + 1)
    nested = b"".join(head % (size - (nth + 1) * (len(head) + 1)) for nth in range(count))
    assert len(nested) < MESSAGE_BYTES_MAX
    framer = Framer()
    assert list(framer.feed(nested + b"10=999\x01")) == []
    assert framer.garbled == 1


def test_who_does_not_log_on_leaves_nothing_behind(stage: Stage, tmp_path: Path):
    """No file, no door, no descriptor; who logged on and left leaves its file."""
    before = len(os.listdir("/proc/self/fd"))
    for number in range(50):
        stranger = Counterparty(stage, f"N{number}")
        stranger._number = stage.connect(stranger)
        stranger.send("0")
        stage.settle()
    for number in range(20):
        ann = logged_on(stage, f"L{number}")
        ann.send("5")
        stage.settle()
    stage.pass_time(1000)
    assert stage.gateway._doors == {}
    assert len(os.listdir("/proc/self/fd")) <= before
    assert len(list((tmp_path / "store").iterdir())) == 20


def test_a_mass_status_is_of_what_was_asked(stage: Stage):
    """Of one instrument, of one side, of both, or of all; and of an instrument only with its name."""
    ann = logged_on(stage)
    for number, side in enumerate((1, 2, 2)):
        ann.order(f"o{number}", side=side, price=99 + side)
    stage.settle()
    wanted = {
        ((585, 7),): ["o0", "o1", "o2"],
        ((585, 7), (54, 2)): ["o1", "o2"],
        ((585, 1), (55, "I1"), (54, 1)): ["o0"],
        ((585, 7), (55, "I9")): ["NONE"],
    }
    for fields, names in wanted.items():
        ann.reports.clear()
        ann.send("AF", (584, "x"), *fields)
        stage.settle()
        assert [one.get(11) for one in ann.reports] == names
        assert {one.get(911) for one in ann.reports} == {str(len(names)) if names != ["NONE"] else "0"}
    ann.reports.clear()
    ann.send("AF", (584, "x"), (585, 1))
    stage.settle()
    assert [one.type for one in ann.reports] == ["j"]


def test_answers_do_not_pile_up_in_one_wake(stage: Stage):
    """Questions whose answers are large are heard further when the first ones are on their way."""
    ann = logged_on(stage)
    for number in range(1000):
        ann.order(f"o{number}")
    stage.settle()
    ann.hear = lambda data: None  # type: ignore[method-assign]
    for _ in range(100):
        ann.send("AF", (584, "all"), (585, 7))
    stage.gateway.flush()
    said = sum(map(len, stage.gateway._connections[ann._number].session.out))
    assert 1 << 20 < said < 2 << 20
    stage.gateway.clog(ann._number, is_clogged=True)
    stage.turn()
    stage.turn()
    assert stage.gateway._connections[ann._number].session.out == []


def test_a_reset_empties_the_file(tmp_path: Path):
    """What was sent before is asked for no more; where the next report is stays known."""
    store = Store(tmp_path / "a.session")
    store.start(5)
    store.log_on(on=True)
    for number in range(1000):
        store.took(number + 1, number + 1)
        store.sends(10**18, Place(number + 10, 0))
    store.flush()
    store.reset()
    store.flush()
    assert (tmp_path / "a.session").stat().st_size < 300
    again = Store(tmp_path / "a.session")
    assert (again.next_in, again.next_out, again.place, again.was_on) == (1, 1, Place(1009, 0), True)
    assert (again.last_command, again.has_started) == (1000, True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.session"]


# --- money ------------------------------------------------------------------------------------


def test_sums_beyond_64_bits_are_told(tmp_path: Path):
    """A fine grid: what an order traded for does not fit into an integer of msgpack, and is told all the same."""
    stage = begun(tmp_path, instrument=m.SetInstrument(0, 0, "I1", "USD", 1, 8, 1, 8))
    ann, bob = logged_on(stage), logged_on(stage, "BOB")
    ann.order("a", price=50_000, quantity="0.2")
    stage.settle()
    bob.order("b", side=2, price=50_000, quantity="0.2")
    stage.settle()
    assert [(one.get(150), one.get(6)) for one in ann.reports] == [("0", "0"), ("F", "50000")]


# --- what is said of an order that lives ------------------------------------------------------


def test_a_replace_that_is_refused_says_how_the_order_stands(stage: Stage):
    """By this gateway or by an engine: the order is as it was."""
    ann, bob = logged_on(stage), logged_on(stage, "BOB")
    ann.order("a")
    stage.settle()
    bob.order("b", side=2, quantity=2)
    stage.settle()
    ann.send("G", (41, "a"), (11, "a2"), (55, "I1"), (54, 1), (60, ann._time), (40, 2), (44, "100.5"), (38, 5))
    stage.settle()
    assert [ann.heard[-1].get(tag) for tag in (35, 37, 39, 41, 434)] == ["9", "7", "1", "a", "2"]
    ann.send("G", (41, "a"), (11, "a3"), (55, "I1"), (54, 1), (60, ann._time), (40, 2), (59, 3), (44, 100), (38, 5))
    stage.settle()
    assert "changes price and quantity" in ann.heard[-1].get(58)


def test_the_gateway_says_goodbye(stage: Stage):
    """When it is stopped, with the reason."""
    ann = logged_on(stage)
    stage.gateway.stop()
    stage.turn()
    assert (ann.heard[-1].type, ann.heard[-1].get(58)) == ("5", "the gateway stops")
