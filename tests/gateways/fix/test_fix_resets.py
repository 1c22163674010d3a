"""Numbers that begin anew within an established session: a Logon with ResetSeqNumFlag is answered with the same."""

from pathlib import Path

import pytest

from engines import messages as m
from gateways.fix.settings import Counterparty as Party
from tests.gateways.fix.test_fix_exactly_once import commands
from tests.models.fix_stage import Counterparty, Stage, Strict

INSTRUMENT = m.SetInstrument(0, 0, "I1", "USD", 1, 0, 1, 0)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return begun(tmp_path)


def begun(directory: Path, *parties: Party, **limits: int) -> Stage:
    made = Stage(directory / "store", *parties, **limits)
    made.island.sequence([INSTRUMENT])
    made.crash()
    return made


@pytest.fixture
def ann(stage: Stage) -> Strict:
    party = Strict(stage, "ANN")
    party.log_on()
    return party


def test_both_sides_go_on_from_one(stage: Stage, ann: Strict):
    """The connection stays, with the heartbeats that are asked for now; what comes next has the number 2."""
    ann.order("a")
    stage.settle()
    ann.reset((789, 1))
    stage.settle()
    answer = ann.of("A")[-1]
    assert [answer.get(tag) for tag in (34, 141, 108, 789)] == ["1", "Y", "30", "2"]
    ann.order("b")
    stage.settle()
    assert [(one.get(11), one.get(34)) for one in ann.reports] == [("a", "2"), ("b", "2")]
    assert ann.problems == []


def test_an_order_on_its_way_is_in_the_log_before_numbers_begin_anew(stage: Stage, ann: Strict):
    """So nothing has to be asked for again that has no number any more."""
    ann.order("a")
    ann.reset()
    stage.gateway.flush()
    batches = stage.gateway.duties().batches  # nothing is sequenced for a while
    stage.pass_time(1000)
    assert len(ann.of("A")) == 1
    for count, payload in batches:
        stage._unseen.extend(stage.island.submit("gateway.fix", payload, count))
    stage.settle()
    assert (len(ann.of("A")), ann.is_resetting) == (2, False)
    assert [one.get(11) for one in ann.reports] == ["a"]


@pytest.mark.parametrize("crash", ["at once", "stored", "submitted"])
@pytest.mark.parametrize("turns", range(4))
def test_a_crash_around_a_reset_enters_nothing_twice(stage: Stage, ann: Strict, crash: str, turns: int):
    """Whoever had its answer before the crash goes on with its numbers; whoever had not asks once more."""
    ann.order("a")
    ann.reset()
    for _ in range(turns):
        stage.turn()
    was_answered = not ann.is_resetting
    stage.turn(crash)
    ann.log_on(*(() if was_answered else [(141, "Y")]))
    stage.settle()
    ann.order("b")
    stage.settle()
    entered = [one.client_order_id for one in commands(stage)]
    assert entered[-1] == "b"
    assert entered.count("a") <= 1
    assert not was_answered or [one.get(11) for one in ann.reports] == entered == ["a", "b"]
    assert ann.problems == []


def test_old_reports_that_are_asked_for_come_before(tmp_path: Path):
    """A ResendRequest is served under the numbers that it is about."""
    stage = begun(tmp_path, recent_reports_per_client=1)
    ann = Strict(stage, "ANN")
    ann.log_on()
    for nth in range(20):
        ann.order(f"o{nth}")
        stage.settle()
    ann.send("2", (7, 2), (16, 0))
    ann.reset()
    stage.pass_time(5000)
    again = [one.get(11) for one in ann.heard if one.get(43) == "Y" and one.type == "8"]
    assert again == [f"o{nth}" for nth in range(20)]
    assert (ann.heard[-1].type, ann.is_resetting) == ("A", False)


def test_reports_that_come_meanwhile_have_new_numbers(stage: Stage, ann: Strict):
    """Once, and none is left out."""
    ann.order("a")
    stage.settle()
    bob = Counterparty(stage, "BOB")
    bob.log_on()
    bob.order("b", side=2, quantity=2)
    ann.reset()
    stage.settle()
    assert [one.get(150) for one in ann.reports] == ["0", "F"]
    assert ann.problems == []


@pytest.mark.parametrize(
    ("number", "fields", "why"),
    [
        (5, [(98, 0), (108, 30), (141, "Y")], "has to have the MsgSeqNum 1"),
        (1, [(98, 0), (108, 900), (141, "Y")], "expected 1 to 300 s, got 900"),
        (1, [(98, 0), (141, "Y")], "Required tag missing: 108"),
        (1, [(98, 0), (108, 30), (141, "Y"), (789, 7)], "NextExpectedMsgSeqNum"),
        (1, [(98, 0), (108, 30), (141, "N")], "MsgSeqNum too low"),
    ],
)
def test_a_reset_that_cannot_be_agreed_to_ends_the_session(
    stage: Stage, ann: Strict, number: int, fields: list, why: str
):
    """With why."""
    ann.post("A", number, *fields)
    stage.settle()
    assert ann.heard[-1].type == "5"
    assert why in ann.heard[-1].get(58)


def test_a_session_that_is_not_reset_is_not_reset_later_either(tmp_path: Path):
    """As its settings have it."""
    stage = begun(tmp_path, Party("ANN", "ANN", reset=False))
    ann = Strict(stage, "ANN")
    ann.log_on()
    ann.reset()
    stage.settle()
    assert "is not reset" in ann.heard[-1].get(58)


def test_a_repeat_of_a_logon_resets_nothing(stage: Stage, ann: Strict):
    """It was taken before."""
    heard = len(ann.heard)
    ann.post("A", 1, (43, "Y"), (122, ann._time), (98, 0), (108, 30), (141, "Y"))
    stage.settle()
    assert len(ann.heard) == heard
