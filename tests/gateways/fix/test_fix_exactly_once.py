"""Whatever breaks, each order is in the log once, and each counterparty gets every report once, in order."""

import itertools
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines import messages as m
from gateways.events import told as told_of
from gateways.fix.settings import Counterparty as Party
from gateways.fix.translate import report
from gateways.names import Directory
from gateways.orders import Orders, runs
from tests.models.fix_stage import Counterparty, Stage, Strict

INSTRUMENT = m.SetInstrument(0, 0, "I1", "USD", 1, 0, 1, 0)

who = st.integers(0, 1)
anybody = st.integers(0, 2)
steps = st.one_of(
    st.tuples(st.just("order"), who, st.integers(1, 2), st.integers(98, 102), st.integers(1, 9)),
    st.tuples(st.just("refused"), who),
    st.tuples(st.just("cancel"), who, st.integers(1, 12)),
    st.tuples(st.just("hang up"), anybody, st.booleans(), st.booleans()),
    st.tuples(st.just("reset"), anybody),
    st.tuples(st.just("turn")),
    st.tuples(st.just("pass"), st.sampled_from([100, 1000, 40_000])),
    st.tuples(st.just("crash"), st.sampled_from(["at once", "stored", "submitted"]), st.floats(0, 1)),
    st.tuples(st.just("ask again"), anybody, st.integers(1, 9), st.sampled_from([0, 0, 5, 12])),
)


def everything(stage: Stage) -> list[tuple[str, str]]:
    """Client and ExecID of all executions, as the log has them."""
    orders, names, found = Orders(), Directory(), []
    for entry in stage.island.log:
        for first_sequence, channel, messages in runs(entry):
            names.apply(channel, messages)
            for event in orders.apply(first_sequence, entry.time_ns, channel, messages):
                for one, nth in told_of(event):
                    kind, fields = report(one, nth, names) or ("", [])
                    if kind == "8":
                        found.append((names.client_name(one.client_id), str(dict(fields)[17])))
    return found


def expected(stage: Stage, client_id: int) -> list[str]:
    """The ExecIDs of all reports of a client, as the log has them."""
    orders, names, found = Orders(), Directory(), []
    for entry in stage.island.log:
        for first_sequence, channel, messages in runs(entry):
            names.apply(channel, messages)
            for event in orders.apply(first_sequence, entry.time_ns, channel, messages):
                for one in (event.maker, event.taker) if hasattr(event, "maker") else (event,):
                    if one.client_id == client_id:
                        found.append(one)
    made = []
    for _, same in itertools.groupby(found, key=lambda one: one.sequence):
        made += [report(one, nth, names) for nth, one in enumerate(same)]
    return [str(dict(fields).get(17) or dict(fields).get(11)) for _kind, fields in filter(None, made)]


def told(party: Counterparty) -> list[str]:
    return [one.get(17) or one.get(11) for one in party.reports]


def is_part(some: list[str], of: list[str]) -> bool:
    """Whether all are there, in that order, each once."""
    rest = iter(of)
    return all(one in rest for one in some)


def commands(stage: Stage) -> list[m.Message]:
    found = [messages for entry in stage.island.log for _at, channel, messages in runs(entry) if channel == m.COMMANDS]
    return [one for messages in found for one in messages if isinstance(one, m.NewOrder | m.CancelOrder)]


class Play:
    """Two counterparties on a stage, one that gets copies, and what they did."""

    def __init__(self, directory: Path, in_flight: int, recent: int) -> None:
        known = [Party("ANN", "ANN"), Party("BOB", "BOB"), Party("AUDIT", drop_copy=True)]
        self.stage = Stage(directory, *known, in_flight_per_client=in_flight, recent_reports_per_client=recent)
        self.stage.island.sequence([INSTRUMENT])
        self.stage.crash()
        self.parties = [Strict(self.stage, name) for name in ("ANN", "BOB", "AUDIT")]
        self.asked: list[tuple[str, str]] = []
        self.refused: list[str] = []
        self.resigned: set[str] = set()
        """They asked for new numbers a second time: what came in between they have given up."""
        self._how: dict[str, tuple[bool, bool]] = {}
        for party in self.parties:
            party.log_on()

    def do(self, step: tuple) -> None:
        kind, *rest = step
        party = self.parties[rest[0]] if kind not in ("turn", "pass", "crash") else None
        if party is not None and not party.is_logged_on:
            self._come_back(party)
            return
        if party is not None and (party.is_resetting or (kind == "reset" and not self._is_quiet(party))):
            self.stage.turn()
            return
        name = f"{party.name}{len(self.asked) + len(self.refused)}" if party is not None else ""
        if kind == "order":
            self.asked.append((party.name, name))
            party.order(name, *rest[1:])
        elif kind == "refused":
            self.refused.append(name)
            party.order(name, price="100.5")
        elif kind == "cancel":
            self.asked.append((party.name, name))
            party.send("F", (41, f"{party.name}{rest[1]}"), (11, name), (55, "I1"), (54, 1), (60, party._time))
        elif kind == "hang up":
            self._how[party.name] = (rest[1], rest[2])
            party.hang_up()
        elif kind == "reset":
            party.reset()
        elif kind == "ask again":
            party.send("2", (7, rest[1]), (16, rest[2]))
        elif kind == "crash":
            self.stage.turn(*rest)
        elif kind == "pass":
            self.stage.pass_time(rest[0])
        else:
            self.stage.turn()

    def _is_quiet(self, party: Counterparty) -> bool:
        """Whether it has heard of all that it asked for: only then may it forget its numbers."""
        mine = {name for name in (*self.refused, *(name for _, name in self.asked)) if name.startswith(party.name)}
        return mine <= {one.get(11) for one in party.reports}

    def _come_back(self, party: Counterparty) -> None:
        """With or without the number that it expects (789); and more may come behind its Logon at once."""
        expects, is_patient = self._how.get(party.name, (False, True))
        if party._number:  # an attempt without an answer
            self.stage.lose(party._number)
            party.disconnected()
        self.stage.turn()
        extra = [(789, party.next_in)] if expects else []
        if party.is_resetting:
            extra = [(141, "Y")]
            self.resigned.add(party.name)
        party.log_on(*extra, is_patient=is_patient)

    def end(self) -> None:
        """All come back and get what they missed."""
        for _ in range(4):
            for party in self.parties:
                if not party.is_logged_on:
                    self.stage.pass_time(2000)
                    self._how.clear()
                    self._come_back(party)
            self.stage.settle()
            self.stage.pass_time(40_000)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=40), st.sampled_from([1, 3, 50]), st.sampled_from([1, 4, 2048]))
def test_each_order_once_and_each_report_once(play: list[tuple], in_flight: int, recent: int):
    """With crashes of the gateway at any moment, broken connections, refused orders, and numbers asked for again.

    Numbers begin anew within sessions; and somebody gets a copy of all.
    """
    with tempfile.TemporaryDirectory() as scratch:
        on = Play(Path(scratch), in_flight, recent)
        for step in play:
            on.do(step)
        on.end()
        entered = [getattr(one, "request_id", "") or one.client_order_id for one in commands(on.stage)]
        assert sorted(entered) == sorted(name for _party, name in on.asked)
        audit = on.parties.pop()
        copies = [(one.get(1), one.get(17)) for one in audit.reports]
        assert is_part(copies, everything(on.stage))
        assert audit.name in on.resigned or copies == everything(on.stage)
        assert audit.problems == []
        assert {one.get(797) for one in audit.reports} <= {"Y"}
        for client_id, party in enumerate(on.parties, 1):
            mine = [name for owner, name in on.asked if owner == party.name]
            assert [name for name in entered if name.startswith(party.name)] == mine
            heard = [one for one in told(party) if not one.startswith("R")]
            assert is_part(heard, expected(on.stage, client_id))
            assert party.name in on.resigned or heard == expected(on.stage, client_id)
            refused = [one.get(11) for one in party.reports if one.get(17).startswith("R")]
            assert sorted(refused) == sorted(name for name in on.refused if name.startswith(party.name))
            assert party.problems == []


@pytest.mark.parametrize("crash", ["at once", "stored", "submitted"])
def test_orders_of_one_who_left_are_canceled_once(tmp_path: Path, crash: str):
    """Also when the gateway dies while it is logged on: then by the next process; and the reports wait."""
    stage = Stage(tmp_path, Party("ANN", "ANN", cancel_on_disconnect=True), Party("BOB", "BOB"))
    stage.island.sequence([INSTRUMENT])
    stage.crash()
    ann, bob = Counterparty(stage, "ANN"), Counterparty(stage, "BOB")
    for party in (ann, bob):
        party.log_on()
        party.order(f"{party.name}1", price=90)
    stage.settle()
    ann.hang_up()
    stage.turn(crash)
    stage.settle()
    stage.pass_time(2000)
    assert [order.client_order_id for order in stage.gateway.orders._orders.live.values()] == ["BOB1"]
    ann.log_on()
    stage.pass_time(31_000)
    assert [one.get(150) for one in ann.reports] == ["0", "4"]
