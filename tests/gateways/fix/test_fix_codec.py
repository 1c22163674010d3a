"""Bytes and messages: whole ones are found wherever they are cut, what is garbled is passed over, nothing raises."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateways.fix.codec import MESSAGE_BYTES_MAX, SOH, Framer, FramingError, encode, parse
from gateways.times import NO_TIME, utc_ns, utc_text

HEADER = f"34=1{SOH}49=A{SOH}56=B{SOH}52=20261127-10:00:00.000{SOH}"
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20)
fields = st.lists(
    st.tuples(st.integers(1, 9999).filter(lambda tag: tag not in (90, 93, 95, 212, 348, 350, 352, 354)), values)
)


def test_the_layout_is_the_standard_s():
    """BodyLength counts what is between itself and CheckSum, which is the sum of all before it, modulo 256."""
    data = encode("0", f"34=7{SOH}", [(112, "x")])
    body = b"35=0\x0134=7\x01112=x\x01"
    head = b"8=FIX.4.4\x019=%d\x01" % len(body)
    assert data == head + body + b"10=%03d\x01" % (sum(head + body) % 256)


@given(st.lists(fields, max_size=4), st.lists(st.integers(1, 40), max_size=20))
def test_messages_survive_any_cut(bodies: list[list[tuple[int, str]]], cuts: list[int]):
    """Each message is found once, whole, in order, however the bytes arrive."""
    data = b"".join(encode("D", HEADER, body) for body in bodies)
    framer, found, at = Framer(), [], 0
    for cut in [*cuts, len(data)]:
        found += framer.feed(data[at : at + cut])
        at += cut
    assert [message.fields[5:] for message in found] == bodies
    assert all((message.begin, message.type) == ("FIX.4.4", "D") for message in found)
    assert framer.garbled == 0


@given(st.binary(max_size=200), fields)
@example(b"8=FIX.4.4\x019=5\x01", [])
@example(b"8=FIX.4.4\x019=99999", [])
def test_what_is_garbled_is_passed_over(rubbish: bytes, body: list[tuple[int, str]]):
    """A message behind anything is found, unless that says that it is longer; then it waits for its end."""
    framer = Framer()
    good = encode("D", HEADER, body)
    try:
        found = list(framer.feed(rubbish + good + good * 400))
    except FramingError:
        return
    assert parse(good) in found


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: data.replace(b"10=", b"10=9", 1)[:-2] + b"\x01",
        lambda data: data.replace(b"\x019=", b"\x019=1", 1),
        lambda data: data.replace(b"49=A", b"49=Z", 1),
        lambda data: data.replace(b"\x019=", b"\x01x=", 1),
    ],
)
def test_a_wrong_length_or_sum_is_garbled(harm):
    """It counts as nothing, and the next message is heard."""
    good = encode("0", HEADER, [])
    framer = Framer()
    assert list(framer.feed(harm(good) + good * 3))[-1] == parse(good)
    assert framer.garbled == 1


def test_a_message_that_is_too_long_ends_the_connection():
    """Its length is enough for that: nothing is kept of it."""
    with pytest.raises(FramingError, match="at most 65,536"):
        list(Framer().feed(b"8=FIX.4.4\x019=%d\x01" % (MESSAGE_BYTES_MAX + 1)))


def test_a_data_field_may_hold_what_ends_fields():
    """The field before says how long it is."""
    message = parse(encode("A", f"{HEADER}95=7{SOH}96=a{SOH}1=b{SOH}c{SOH}98=0{SOH}", []))
    assert message.fields[5:] == [(95, "7"), (96, f"a{SOH}1=b{SOH}c"), (98, "0")]


@pytest.mark.parametrize("text", ["abc", "=1", "0=1", "-1=2", "1 =2", "99999999=1"])
def test_what_is_no_field_has_the_tag_0(text: str):
    """The session rejects it as such."""
    assert parse(encode("0", HEADER + text + SOH, [])).fields[5] == (0, text)


@given(st.integers(0, 4 * 10**18))
def test_times_are_read_as_they_are_written(time_ns: int):
    """In milliseconds."""
    assert utc_ns(utc_text(time_ns)) == time_ns // 1_000_000 * 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20261127",
        "20261127-10:00",
        "20261331-10:00:00",
        "20261127-24:00:00",
        "20261127-10:00:00.",
        "20261127 10:00:00",
    ],
)
def test_what_is_no_time(text: str):
    """And with nanoseconds it is one."""
    assert utc_ns(text) == NO_TIME
    assert utc_ns("19700101-00:00:01.000000007") == 1_000_000_007
