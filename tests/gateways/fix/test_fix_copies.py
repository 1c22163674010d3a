"""Drop copies: a session without a client hears what all are told, and enters nothing."""

from pathlib import Path

import pytest

from engines import messages as m
from gateways.fix.settings import Counterparty as Party
from gateways.fix.settings import Settings
from gateways.trades import trade_at
from sequencer.errors import ConfigError
from tests.models.fix_stage import Counterparty, Stage, Strict

INSTRUMENT = m.SetInstrument(0, 0, "I1", "USD", 1, 0, 1, 0)


class Venue:
    """Ann and Bob trade; there are two who may have copies."""

    def __init__(self, directory: Path, **limits: int) -> None:
        names = [Party("ANN", "ANN"), Party("BOB", "BOB")]
        copies = [Party("AUDIT", drop_copy=True), Party("RISK", drop_copy=True)]
        self.stage = Stage(directory, *names, *copies, **limits)
        self.stage.island.sequence([INSTRUMENT])
        self.stage.crash()
        self.ann, self.bob = self.log_on("ANN"), self.log_on("BOB")

    def log_on(self, name: str) -> Strict:
        party = Strict(self.stage, name)
        party.log_on()
        assert party.is_logged_on
        return party

    def trade(self, number: int, quantity: int = 1) -> None:
        """Ann's order rests, and Bob's takes it."""
        self.ann.order(f"a{number}", quantity=quantity)
        self.stage.settle()
        self.bob.order(f"b{number}", side=2, quantity=quantity)
        self.stage.settle()


def told(party: Counterparty) -> list[tuple[str, str, str]]:
    """Account, ClOrdID and ExecType of each copy."""
    assert {(one.type, one.get(797)) for one in party.reports} <= {("8", "Y")}
    return [(one.get(1), one.get(11), one.get(150)) for one in party.reports]


def of_trade(number: int) -> list[tuple[str, str, str]]:
    a, b = f"a{number}", f"b{number}"
    return [("ANN", a, "0"), ("BOB", b, "0"), ("ANN", a, "F"), ("BOB", b, "F")]


def test_each_execution_of_all_clients_is_copied(tmp_path: Path):
    """In the order of the log, to each who may, as its client is told it; rejected cancels are not."""
    venue = Venue(tmp_path)
    audit, risk = venue.log_on("AUDIT"), venue.log_on("RISK")
    venue.trade(1)
    venue.ann.send("F", (41, "x"), (11, "c"), (55, "I1"), (54, 1), (60, venue.ann._time))
    venue.stage.settle()
    assert told(audit) == told(risk) == of_trade(1)
    mine = {(one.get(17), one.get(150)): one.fields[5:] for one in venue.ann.reports if one.type == "8"}
    copied = [one for one in audit.reports if one.get(1) == "ANN"]
    assert {(one.get(17), one.get(150)): one.fields[6:-1] for one in copied} == mine


def test_a_mended_trade_is_copied_for_both_sides(tmp_path: Path):
    """With the orders that it was of."""
    venue = Venue(tmp_path)
    audit = venue.log_on("AUDIT")
    venue.trade(1, quantity=5)
    log = venue.stage.island.log
    mended = trade_at(log, int(audit.reports[-1].get(17))).mended(100, 0, "a test")
    venue.stage._unseen.extend(venue.stage.island.mend(mended))
    venue.stage.settle()
    assert told(audit)[4:] == [("ANN", "a1", "H"), ("BOB", "b1", "H")]


def test_a_client_that_trades_with_itself_is_told_apart(tmp_path: Path):
    """As in its own session."""
    venue = Venue(tmp_path)
    audit = venue.log_on("AUDIT")
    venue.ann.order("a")
    venue.stage.settle()
    venue.ann.order("b", side=2)
    venue.stage.settle()
    assert [one.get(17) for one in audit.reports] == [one.get(17) for one in venue.ann.reports]
    assert len({one.get(17) for one in audit.reports}) == 4


@pytest.mark.parametrize("recent", [1, 2048])
@pytest.mark.parametrize("crash", ["", "at once", "stored", "submitted"])
def test_what_was_missed_comes_once_it_is_back(tmp_path: Path, crash: str, recent: int):
    """From memory, or from the log; whatever has died meanwhile."""
    venue = Venue(tmp_path, recent_reports_per_client=recent)
    audit = venue.log_on("AUDIT")
    venue.trade(1)
    audit.hang_up()
    venue.stage.settle()
    venue.trade(2)
    venue.stage.turn(crash)
    audit.log_on()
    venue.stage.settle()
    venue.stage.pass_time(40_000)
    for party in (venue.ann, venue.bob):
        if not party.is_logged_on:
            party.log_on()
    venue.trade(3)
    assert told(audit) == of_trade(1) + of_trade(2) + of_trade(3)
    assert audit.problems == []


def test_copies_are_sent_again_as_they_were(tmp_path: Path):
    """By another process, from the log."""
    venue = Venue(tmp_path)
    audit = venue.log_on("AUDIT")
    venue.trade(1)
    venue.stage.crash()
    audit.log_on()
    audit.send("2", (7, 2), (16, 5))
    venue.stage.settle()
    again = [one for one in audit.heard if one.get(43) == "Y" and one.type == "8"]
    first = audit.reports[:4]
    assert [one.fields[7:] for one in again] == [one.fields[5:] for one in first]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("D", [(11, "a"), (55, "I1"), (54, 1), (40, 2), (44, 1), (38, 1)]),
        ("F", [(41, "a"), (11, "b"), (55, "I1"), (54, 1)]),
        ("G", [(41, "a"), (11, "b"), (55, "I1"), (54, 1), (40, 2), (44, 1), (38, 1)]),
        ("q", [(11, "b"), (530, 7)]),
        ("H", [(11, "a"), (55, "I1"), (54, 1)]),
        ("AF", [(584, "a"), (585, 7)]),
    ],
)
def test_a_copy_has_no_orders(tmp_path: Path, kind: str, fields: list):
    """Nothing is entered, and nothing is asked about: "not authorized"; books may be."""
    venue = Venue(tmp_path)
    audit = venue.log_on("AUDIT")
    log = len(venue.stage.island.log)
    audit.send(kind, *fields, *([(60, audit._time)] if kind in "DFGq" else []))
    audit.send("x", (320, "l"), (559, 4))
    venue.stage.settle()
    assert [(one.type, one.get(372), one.get(380)) for one in audit.reports] == [("j", kind, "6"), ("y", "", "")]
    assert len(venue.stage.island.log) == log


@pytest.mark.parametrize("more", ["client = 'ANN'", "cancel_on_disconnect = true"])
def test_a_copy_is_nobody(tmp_path: Path, more: str):
    """It speaks for no client."""
    (tmp_path / "fix.toml").write_text(f"[[sessions]]\ncomp_id = 'AUDIT'\ndrop_copy = true\n{more}")
    with pytest.raises(ConfigError, match="a drop_copy has no client"):
        Settings.load(tmp_path)
    (tmp_path / "fix.toml").write_text("[[sessions]]\ncomp_id = 'AUDIT'\ndrop_copy = true\n")
    assert Settings.load(tmp_path).find("AUDIT") is not None
