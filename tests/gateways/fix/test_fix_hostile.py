"""Whatever a counterparty sends, the gateway goes on, and others are served."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from engines import messages as m
from gateways.fix.codec import SOH, encode
from gateways.fix.dictionary import HEADER, KINDS
from tests.models.fix_stage import Counterparty, Stage

TAGS = sorted(HEADER.union(*((*kind.required, *kind.optional, *kind.groups) for kind in KINDS.values())))
PLAIN = {55: "I1", 54: "1", 38: "5", 44: "1.00", 40: "2", 98: "0", 108: "30", 264: "1", 267: "1", 146: "1", 269: "0"}

values = st.one_of(
    st.sampled_from(
        ["", "0", "1", "2", "7", "Y", "N", "-1", "I1", "1.00", "99999999999999999999", "1e9", "٣", "\x00", "nan"]
    ),
    st.sampled_from(["20261118-11:06:41", "20261118-11:06:41.000", "9" * 400, "-0", ".5", "5.", "+1", " 1"]),
    st.text(max_size=8),
)
pairs = st.lists(st.tuples(st.one_of(st.sampled_from(TAGS), st.integers(0, 10**9)), values), max_size=12)
odd_messages = st.tuples(st.sampled_from([*KINDS, "8", "E", "zz", ""]), pairs, st.booleans(), st.integers(-2, 3))


def whole(kind: str, extra: list[tuple[int, str]]) -> list[tuple[int, object]]:
    """The required fields of a type, sound ones where there are, some of them replaced by others."""
    known = KINDS.get(kind)
    fields = (
        dict.fromkeys(known.required, "1") | {tag: PLAIN[tag] for tag in known.required if tag in PLAIN}
        if known
        else {}
    )
    return [*(fields | dict(extra)).items()]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(odd_messages, st.binary(max_size=80), st.sampled_from(["turn", "log on", "hang up"])), max_size=25
    )
)
def test_nothing_is_raised_and_others_are_served(said: list):
    """Odd types, tags, values and numbers, sound messages with one odd field, and plain bytes; logged on or not."""
    with tempfile.TemporaryDirectory() as scratch:
        stage = Stage(Path(scratch))
        stage.island.sequence([m.SetInstrument(0, 0, "I1", "USD", 1, 2, 1, 0)])
        stage.crash()
        odd, honest = Counterparty(stage, "ODD"), Counterparty(stage, "ANN")
        for party in (odd, honest):
            party.log_on()
        for nth, each in enumerate(said):
            say(stage, odd, each)
            honest.order(f"o{nth}", price=1)
        stage.settle()
        stage.pass_time(200)
        assert [report.get(11) for report in honest.reports] == [f"o{nth}" for nth in range(len(said))]


def say(stage: Stage, odd: Counterparty, each: object) -> None:
    if each == "turn":
        stage.turn()
    elif each == "hang up":
        odd.hang_up()
    elif each == "log on" or not odd._number:
        odd.log_on()
    elif isinstance(each, bytes):
        stage.say(odd._number, each)
    else:
        kind, extra, is_whole, ahead = each
        number = max(0, odd.next_out + ahead)
        odd.sent[number] = ("0", [])
        odd.next_out = max(odd.next_out, number + 1)
        header = f"34={number}{SOH}49=ODD{SOH}56=ISLAND{SOH}52={odd._time}{SOH}"
        stage.say(odd._number, encode(kind, header, whole(kind, extra) if is_whole else extra))
