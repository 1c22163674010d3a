"""The session protocol, case by case as in the standard's test cases: what a counterparty says, and what it hears."""

from pathlib import Path

import pytest

from engines import messages as m
from gateways.fix.settings import Counterparty as Party
from gateways.fix.settings import Settings
from gateways.times import utc_text
from sequencer.errors import ConfigError
from tests.models.fix_stage import BEGIN_NS, Counterparty, Stage

INSTRUMENT = m.SetInstrument(0, 0, "I1", "USD", 1, 2, 1, 0)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    made = Stage(tmp_path)
    made.island.sequence([INSTRUMENT])
    made.crash()
    return made


@pytest.fixture
def ann(stage: Stage) -> Counterparty:
    party = Counterparty(stage, "ANN")
    party.log_on()
    assert party.is_logged_on
    return party


def last(party: Counterparty, kind: str) -> dict[int, str]:
    """The last message that it heard; it has to be of this type."""
    party._stage.settle()
    assert party.heard[-1].type == kind, party.heard[-1]
    return party.heard[-1].first


def is_connected(party: Counterparty) -> bool:
    party._stage.settle()
    return party._number in party._stage._connections


# --- logon ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "first"),
    [({"target": "OTHER"}, "A"), ({"sender": "\xe9"}, "A"), ({}, "0"), ({}, "D")],
)
def test_who_is_not_known_or_does_not_log_on_is_cut_off_without_a_word(stage: Stage, ids: dict[str, str], first: str):
    """A wrong comp id, or another first message than a Logon."""
    party = Counterparty(stage, "ANN")
    party._number = stage.connect(party)
    party.post(first, 1, (98, 0), (108, 30), **ids)
    assert not is_connected(party)
    assert party.heard == []


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ([(98, 0)], "Required tag missing: 108"),
        ([(98, 1), (108, 30)], "Value is incorrect for 98"),
        ([(98, 0), (108, 0)], "HeartBtInt: expected 1 to 300 s, got 0"),
        ([(98, 0), (108, "x")], "Incorrect data format for value of 108"),
    ],
)
def test_a_logon_that_cannot_be_agreed_to_is_answered_with_why(stage: Stage, fields: list, why: str):
    """By a Logout, and the connection ends."""
    party = Counterparty(stage, "ANN")
    party._number = stage.connect(party)
    party.post("A", 1, *fields)
    assert why in last(party, "5")[58]
    assert not is_connected(party)


def test_another_version_is_answered_with_a_logout(stage: Stage):
    """BeginString is the first thing that is looked at."""
    party = Counterparty(stage, "ANN")
    party._number = stage.connect(party)
    body = f"35=A\x0134=1\x0149=ANN\x0156=ISLAND\x0152={party._time}\x0198=0\x01108=30\x01".encode()
    head = b"8=FIX.4.2\x019=%d\x01" % len(body)
    stage.say(party._number, head + body + b"10=%03d\x01" % (sum(head + body) % 256))
    assert "expected FIX.4.4, got FIX.4.2" in last(party, "5")[58]


def test_a_second_connection_is_cut_off_unless_the_first_is_silent(stage: Stage, ann: Counterparty):
    """The first one goes on."""
    other = Counterparty(stage, "ANN")
    other.next_out = ann.next_out
    other.log_on()
    assert not other.is_logged_on
    assert is_connected(ann)
    stage.pass_time(40_000)
    other.log_on()
    assert other.is_logged_on
    assert not is_connected(ann)


def test_numbers_begin_anew_where_both_want_that(stage: Stage, ann: Counterparty):
    """ResetSeqNumFlag is answered with the same; reports of before do not come again."""
    ann.order("a")
    stage.settle()
    ann.hang_up()
    ann.log_on((141, "Y"))
    assert last(ann, "A")[141] == "Y"
    assert last(ann, "A")[34] == "1"
    ann.order("b")
    assert last(ann, "8")[11] == "b"


def test_a_session_that_is_not_reset_says_so(tmp_path: Path):
    """As its settings have it."""
    stage = Stage(tmp_path, Party("ANN", "ANN", reset=False))
    party = Counterparty(stage, "ANN")
    party.log_on((141, "Y"))
    assert "is not reset" in last(party, "5")[58]


def test_a_password_has_to_be_right(tmp_path: Path):
    """Where the settings name one."""
    stage = Stage(tmp_path, Party("ANN", "ANN", password="secret"))
    party = Counterparty(stage, "ANN")
    party.log_on((553, "ann"), (554, "wrong"))
    assert party.heard == []
    assert stage.gateway._doors == {}
    party.log_on((553, "ann"), (554, "secret"))
    assert party.is_logged_on


def test_the_next_expected_number_spares_a_request(stage: Stage, ann: Counterparty):
    """789 in a Logon: what was missed follows at once."""
    ann.order("a")
    ann.order("b")
    stage.turn("submitted", 0.0)
    ann.log_on((789, ann.next_in))
    stage.settle()
    assert [report.get(11) for report in ann.reports] == ["a", "b"]
    assert not [number for number, (kind, _) in ann.sent.items() if kind == "2"]


# --- numbers ----------------------------------------------------------------------------------


def test_a_number_too_low_ends_the_session(ann: Counterparty):
    """With a Logout that says which was expected."""
    ann.post("0", 1)
    assert last(ann, "5")[58] == "MsgSeqNum too low, expecting 2 but received 1"
    ann._stage.pass_time(3000)
    assert not is_connected(ann)


def test_a_repeat_of_what_was_taken_is_passed_over(stage: Stage, ann: Counterparty):
    """PossDupFlag, with OrigSendingTime; without that it is rejected, with one that is later the session ends."""
    ann.order("a")
    stage.settle()
    heard = len(ann.heard)
    ann.post("D", 2, (43, "Y"), (122, ann._time))
    stage.settle()
    assert len(ann.heard) == heard
    ann.post("D", 2, (43, "Y"))
    assert (last(ann, "3")[373], last(ann, "3")[371]) == ("1", "122")
    ann.post("D", 2, (43, "Y"), (122, utc_text(BEGIN_NS * 2)))
    assert "SendingTime" in last(ann, "5")[58]


def test_a_number_too_high_is_asked_for_once(stage: Stage, ann: Counterparty):
    """And what was missing is taken in its turn."""
    ann.sent[2] = ("D", [(11, "a"), (55, "I1"), (54, 1), (60, ann._time), (40, 2), (44, 1), (38, 1)])
    ann.next_out = 3
    ann.order("b")
    ann.order("c")
    stage.settle()
    assert [(one.get(7), one.get(16)) for one in ann.of("2")] == [("2", "0")]
    assert [report.get(11) for report in ann.reports] == ["a", "b", "c"]


def test_gaps_are_filled_and_numbers_reset(ann: Counterparty):
    """SequenceReset in both modes; backwards in neither."""
    ann.post("4", 2, (123, "Y"), (36, 7))
    ann.post("1", 7, (112, "x"))
    assert last(ann, "0")[112] == "x"
    ann.post("4", 8, (123, "Y"), (36, 8))
    assert (last(ann, "3")[371], last(ann, "3")[373]) == ("36", "5")
    ann.post("4", 1, (36, 20))
    ann.post("1", 20, (112, "y"))
    assert last(ann, "0")[112] == "y"
    ann.post("4", 1, (36, 5))
    assert (last(ann, "3")[371], last(ann, "3")[373]) == ("36", "5")


@pytest.mark.parametrize("number", ["", "x"])
def test_a_message_without_a_number_ends_the_session(ann: Counterparty, number: str):
    """There is nothing to go on with."""
    ann.post("0", number)  # type: ignore[arg-type]
    assert "MsgSeqNum" in last(ann, "5")[58]


# --- life -------------------------------------------------------------------------------------


def test_heartbeats_tests_and_the_end_of_patience(stage: Stage, ann: Counterparty):
    """A Heartbeat after 30 s, a TestRequest after 36 s of silence, a Logout after 72."""
    stage.pass_time(30_100)
    assert [one.type for one in ann.heard] == ["A", "0"]
    stage.pass_time(7000)
    assert last(ann, "1")[112]
    stage.pass_time(36_000)
    assert "was not answered" in last(ann, "5")[58]
    stage.pass_time(3000)
    assert not is_connected(ann)


def test_who_answers_a_test_request_stays(stage: Stage, ann: Counterparty):
    """Whatever it says."""
    for _ in range(5):
        stage.pass_time(37_000)
        ann.send("0")
    assert is_connected(ann)


def test_a_logout_is_answered(ann: Counterparty):
    """And the connection ends."""
    ann.send("5")
    last(ann, "5")
    assert not is_connected(ann)


@pytest.mark.parametrize(
    ("sending_time", "reason"), [(utc_text(BEGIN_NS - 10**12), "10"), (utc_text(BEGIN_NS * 2), "10")]
)
def test_a_clock_that_is_wrong_is_rejected(ann: Counterparty, sending_time: str, reason: str):
    """By more than 120 s: a Reject, and a Logout."""
    ann.post("0", 2, sending_time=sending_time)
    assert "SendingTime" in last(ann, "5")[58]
    assert ann.of("3")[-1].get(373) == reason


def test_another_comp_id_in_a_session_is_rejected(ann: Counterparty):
    """A Reject, and a Logout."""
    ann.post("0", 2, sender="BOB")
    assert "CompID" in last(ann, "5")[58]
    assert ann.of("3")[-1].get(373) == "9"


def test_garbled_messages_are_not_there(stage: Stage, ann: Counterparty):
    """Their number is not used up."""
    stage.say(ann._number, b"8=FIX.4.4\x019=5\x0135=0\x0110=000\x01")
    ann.send("1", (112, "x"))
    assert last(ann, "0")[112] == "x"


# --- rejects ----------------------------------------------------------------------------------

ORDER = {11: "a", 55: "I1", 54: "1", 60: utc_text(BEGIN_NS), 40: "2", 44: "1.5", 38: "2"}


@pytest.mark.parametrize(
    ("change", "tag", "reason"),
    [
        ({54: None}, "54", "1"),
        ({99: "1"}, "99", "3"),
        ({36: "1"}, "36", "2"),
        ({58: ""}, "58", "4"),
        ({54: "9"}, "54", "5"),
        ({38: "x"}, "38", "6"),
        ({60: "yesterday"}, "60", "6"),
        ({11: "\xe9"}, "11", "6"),
    ],
)
def test_what_is_no_order_is_rejected(ann: Counterparty, change: dict[int, str | None], tag: str, reason: str):
    """With the tag and the standard's reason; the next message is taken."""
    wrong = [(key, value) for key, value in (ORDER | change).items() if value is not None]
    number = ann.send("D", *wrong)
    told = last(ann, "3")
    assert (told[45], told[371], told[372], told[373]) == (str(number), tag, "D", reason)
    assert told[58]
    ann.send("D", *ORDER.items())
    assert last(ann, "8")[39] == "0"


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ([(453, 1)], "16"),
        ([(453, 1), (452, 3), (448, "x")], "15"),
        ([(453, 2), (448, "x"), (447, "D"), (452, 3)], "16"),
        ([(453, 1), (448, "x"), (452, 3), (447, "D")], "15"),
        ([(448, "x")], "15"),
        ([(58, "x"), (58, "y")], "13"),
        ([(50, "desk")], "14"),
    ],
)
def test_groups_and_order_of_fields(ann: Counterparty, extra: list, reason: str):
    """Counts, delimiters and the order within a member; nothing twice, and no field of the header in the body."""
    ann.send("D", *ORDER.items(), *extra)
    assert last(ann, "3")[373] == reason


def test_a_group_that_is_right_is_taken(ann: Counterparty):
    """Parties are not looked at, and harm nobody; nor do fields that users define."""
    parties = [(453, 2), (448, "x"), (447, "D"), (452, 3), (448, "y"), (452, 1), (9001, "mine")]
    ann.send("D", *ORDER.items(), *parties)
    assert last(ann, "8")[39] == "0"


def test_a_type_that_is_not_supported_is_a_business_reject(ann: Counterparty):
    """The session goes on."""
    number = ann.send("E", (66, "x"))
    told = last(ann, "j")
    assert (told[45], told[372], told[380]) == (str(number), "E", "3")


def test_strangers_are_bounded_and_do_not_stay(stage: Stage, ann: Counterparty):
    """The oldest go where there are too many, all of them after a while; who is logged on stays."""
    for _ in range(2000):
        stage.connect(Counterparty(stage, "nobody"))
    stage.turn()
    assert len(stage.gateway._connections) <= 513
    stage.pass_time(11_000)
    assert len(stage.gateway._connections) == 1
    assert is_connected(ann)


# --- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("comp_id = 1", "Expected `str`"),
        ("[[sessions]]\ncomp_id = 'A'", "client"),
        ("[[sessions]]\ncomp_id = ''\nclient = 'A'", "1 to 64 printable"),
        ("[[sessions]]\ncomp_id = 'A'\nclient = 'A'\n[[sessions]]\ncomp_id = 'A'\nclient = 'B'", "different comp ids"),
        ("[[sessions]]\ncomp_id = 'A'\nclient = 'A'\n[[sessions]]\ncomp_id = 'B'\nclient = 'A'", "client of its own"),
        ("[[sessions]]\ncomp_id = 'A'\nclient = 'A'\nheartbeat_min = 9\nheartbeat_max = 8", "heartbeat_min"),
        ("[[sessions", "fix.toml"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, text: str, why: str):
    """Each says what is expected."""
    (tmp_path / "fix.toml").write_text(text)
    with pytest.raises(ConfigError, match=why):
        Settings.load(tmp_path)


def test_without_settings_everybody_is_a_client(tmp_path: Path):
    """With them, only who is listed."""
    assert Settings.load(tmp_path).find("ANN").client == "ANN"
    (tmp_path / "fix.toml").write_text("[[sessions]]\ncomp_id = 'BANK'\nclient = 'ANN'")
    found = Settings.load(tmp_path)
    assert (found.find("BANK").client, found.find("ANN")) == ("ANN", None)
