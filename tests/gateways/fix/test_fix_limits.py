"""What bounds a counterparty: who it says it is, how many sessions there are, how fast it speaks."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import messages as m
from gateways.fix.pace import Pace
from gateways.fix.settings import Counterparty as Party
from gateways.fix.settings import Settings
from sequencer.errors import ConfigError
from tests.models.fix_stage import Counterparty, Stage

INSTRUMENT = m.SetInstrument(0, 0, "I1", "USD", 1, 0, 1, 0)


def begun(directory: Path, *parties: Party, **settings: int) -> Stage:
    made = Stage(directory / "store", *parties, settings=settings)
    made.island.sequence([INSTRUMENT])
    made.crash()
    return made


@pytest.mark.parametrize(
    ("fields", "is_let_in"),
    [
        ([(553, "ann"), (554, "secret")], True),
        ([(553, "bob"), (554, "secret")], False),
        ([(554, "secret")], False),
        ([(553, "ann"), (554, "Secret")], False),
        ([(553, "ann")], False),
    ],
)
def test_username_and_password_have_to_be_right(tmp_path: Path, fields: list, *, is_let_in: bool):
    """Where the settings name them: who has others is cut off without a word."""
    stage = begun(tmp_path, Party("ANN", "ANN", username="ann", password="secret"))
    ann = Counterparty(stage, "ANN")
    ann.log_on(*fields)
    assert ann.is_logged_on == is_let_in
    assert is_let_in or ann.heard == []


def test_there_are_so_many_sessions_and_no_more(tmp_path: Path):
    """One that leaves makes room."""
    stage = begun(tmp_path, sessions_max=2)
    parties = [Counterparty(stage, name) for name in ("ANN", "BOB", "EVE")]
    for party in parties:
        party.log_on()
    assert [one.is_logged_on for one in parties] == [True, True, False]
    parties[0].send("5")
    stage.settle()
    eve = Counterparty(stage, "EVE")
    eve.log_on()
    assert eve.is_logged_on


def test_what_comes_too_fast_waits(tmp_path: Path):
    """As many as in a second at once, then so many a second, in order; signs of life are no messages of that kind."""
    stage = begun(tmp_path, messages_per_s=10)
    ann = Counterparty(stage, "ANN")
    ann.log_on()
    for nth in range(25):
        ann.order(f"o{nth}")
    counts = []
    for _ in range(3):
        stage.settle()
        counts.append(len(ann.reports))
        stage.pass_time(1000)
    assert counts == [10, 20, 25]
    assert [one.get(11) for one in ann.reports] == [f"o{nth}" for nth in range(25)]
    for nth in range(30):
        ann.send("1", (112, nth))
    stage.settle()
    assert ann.heard[-1].get(112) == "29"


def test_a_session_may_have_its_own_pace(tmp_path: Path):
    """Others do not wait for it."""
    stage = begun(tmp_path, Party("ANN", "ANN", messages_per_s=1), Party("BOB", "BOB", messages_per_s=0))
    ann, bob = Counterparty(stage, "ANN"), Counterparty(stage, "BOB")
    for party in (ann, bob):
        party.log_on()
        for nth in range(20):
            party.order(f"{party.name}{nth}")
    stage.settle()
    assert (len(ann.reports), len(bob.reports)) == (1, 20)


@given(st.integers(1, 1000), st.lists(st.integers(0, 3000), max_size=50))
def test_a_pace_is_kept(per_s: int, waits_ms: list[int]):
    """In no time more than its second at once and what that time gives."""
    pace, now_ms, taken = Pace(per_s), 5000, 0
    for wait_ms in waits_ms:
        now_ms += wait_ms
        while pace.has_room(now_ms):
            pace.took()
            taken += 1
        assert taken <= per_s + (now_ms - 5000) * per_s / 1000
    assert not waits_ms or taken >= per_s


@pytest.mark.parametrize(
    "text",
    ["sessions_max = 0", "messages_per_s = -1", "[[sessions]]\ncomp_id='A'\nclient='A'\nmessages_per_s = -1"],
)
def test_bounds_that_cannot_be(tmp_path: Path, text: str):
    """Each says what is expected."""
    (tmp_path / "fix.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"sessions_max|messages_per_s"):
        Settings.load(tmp_path)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ([(585, 3), (55, "I1")], ("j", "0", "s")),
        ([(585, 1)], ("j", "5", "s")),
        ([(585, 9)], ("3", "", "")),
    ],
)
def test_a_mass_status_that_is_not_known_is_rejected(tmp_path: Path, fields: list, told: tuple[str, str, str]):
    """Of a kind that others have, or that needs a Symbol: by a business reject; of one that nobody has: by a reject."""
    stage = begun(tmp_path)
    ann = Counterparty(stage, "ANN")
    ann.log_on()
    ann.send("AF", (584, "s"), *fields)
    stage.settle()
    assert tuple(ann.heard[-1].get(tag) for tag in (35, 380, 379)) == told
