"""Laws of flow files: what is valid survives, what is not is named."""

import json
from typing import Literal, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.flow import lines
from gateways.flow.lines import LineError, NewOrder, encode, parse

ORDER = {
    "type": "NewOrder", "client": "C1", "client_order_id": "a1", "symbol": "BTC-USD", "side": "buy",
    "price": "78318.00", "quantity": "1.5",
}  # fmt: skip

_texts = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=64)
_decimals = st.decimals("0.00000001", 10**12, places=8).map(lambda value: f"{value:f}")
_by_rule = {
    lines.Name: _texts,
    lines.ClientOrderId: _texts,
    lines.Symbol: _texts,
    lines.Currency: _texts,
    lines.Positive: _decimals,
    lines.Amount: st.just("0") | _decimals,
    lines.Change: _decimals | _decimals.map(lambda text: "-" + text),
    lines.Time: st.integers(0, lines.INT_MAX),
    bool: st.booleans(),
}


def _values(rule):
    """Anything that the type of a line's field allows."""
    if rule in _by_rule:
        return _by_rule[rule]
    if get_origin(rule) is Literal:
        return st.sampled_from(get_args(rule))
    return st.one_of([st.none() if part is type(None) else _values(part) for part in get_args(rule)])


def _lines_of(line_type):
    return st.builds(line_type, **{name: _values(rule) for name, rule in lines._rules(line_type).items()})


any_line = st.sampled_from(sorted(lines.TYPES)).flatmap(lambda kind: _lines_of(lines.TYPES[kind]))


@given(any_line)
@settings(max_examples=400, deadline=None)
def test_reading_inverts_writing(line):
    """parse(encode(line)) is the line."""
    assert parse(encode(line), 1) == line


@given(any_line)
@settings(max_examples=200, deadline=None)
def test_both_readers_agree(line):
    """Reading field by field gives what the fast reader gives."""
    assert lines._parse_by_field(encode(line), 1) == line


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(["1", "-1", "gtd"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*ORDER, "expire_at", "post_only", "tick", "limit"]), _json))
@settings(max_examples=300, deadline=None)
def test_what_is_not_a_line_is_an_error_with_its_number(fields):
    """Any JSON object is a line that can be written again, or a LineError that can be printed."""
    try:
        outcome = encode(parse(json.dumps({**ORDER, **fields}), 12))
    except LineError as error:
        outcome = str(error)

    assert outcome.startswith(('{"type":"', "line 12: "))
    assert outcome.isprintable()


@given(st.text() | st.binary().map(lambda raw: raw.decode(errors="surrogateescape")))
@settings(max_examples=300, deadline=None)
def test_any_other_text_is_refused(text):
    """Text that is no command never escapes as another exception."""
    with pytest.raises(LineError):
        parse(text, 1)


def test_defaults_of_an_order():
    """An order says only what it must: limit, good till canceled, self-trades allowed."""
    order = parse(json.dumps(ORDER), 1)

    assert (order.order_type, order.time_in_force, order.self_trade, order.post_only, order.expire_at) == (
        "limit", "gtc", "allow", False, 0,
    )  # fmt: skip


def test_an_integer_is_a_decimal():
    """JSON integers are exact, so they are taken for decimals."""
    assert parse(json.dumps({**ORDER, "quantity": 15}), 1).quantity == "15"


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-05-02T03:00:00.123456789+02:00", 1_777_683_600_123_456_789),
        ("2026-05-02t01:00:00.1z", 1_777_683_600_100_000_000),
    ],
)
def test_dates_become_ns(text, time_ns):
    """An RFC 3339 date keeps every one of its nanoseconds."""
    assert parse(json.dumps({**ORDER, "expire_at": text}), 1).expire_at == time_ns


@pytest.mark.parametrize(
    ("line", "issuer"),
    [
        (ORDER, "C1"),
        ({"type": "CancelAll", "client": "C2", "symbol": "BTC-USD"}, "C2"),
        ({"type": "CancelAll", "account": "C2"}, None),
        ({"type": "SetCredit", "client": "C1", "currency": "USD", "limit": "0"}, None),
        ({"type": "BlockClient", "client": "C1"}, None),
        ({"type": "HaltInstrument", "symbol": "BTC-USD"}, None),
    ],
)
def test_issuer(line, issuer):
    """A client issues commands about its own orders; an operator issues the others."""
    assert parse(json.dumps(line), 1).issuer == issuer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantity": "-3"}, 'quantity: expected a positive decimal string such as "1.5", got "-3"'),
        ({"quantity": "0.000"}, 'quantity: expected a positive decimal string such as "1.5", got "0.000"'),
        ({"quantity": "1e5"}, 'quantity: expected a positive decimal string such as "1.5", got "1e5"'),
        ({"quantity": "1.5\n"}, 'quantity: expected a positive decimal string such as "1.5", got "1.5\\n"'),
        ({"quantity": "١"}, 'quantity: expected a positive decimal string such as "1.5", got "١"'),
        ({"quantity": None}, 'quantity: expected a positive decimal string such as "1.5", got null'),
        ({"quantity": True}, 'quantity: expected a positive decimal string such as "1.5", got true'),
        (
            {"price": 1.5},
            'price: expected a positive decimal string such as "1.5", got 1.5 '
            "(a JSON number with a fraction or an exponent is not exact: write it as a string)",
        ),
        ({"side": "BUY"}, 'side: expected "buy" or "sell", got "BUY"'),
        ({"post_only": "yes"}, 'post_only: expected true or false, got "yes"'),
        ({"client": ""}, 'client: expected a client\'s name of 1 to 64 characters, got ""'),
        ({"client": 5}, "client: expected a client's name of 1 to 64 characters, got 5"),
        (
            {"expire_at": "2026-13-02T03:00:00Z"},
            'expire_at: expected a date such as "2026-05-02T03:00:00Z" or integer ns, '
            'got "2026-13-02T03:00:00Z"',
        ),
        (
            {"qty": "1"},
            "qty: NewOrder has no such field, only client, client_order_id, symbol, side, price, quantity, "
            "order_type, time_in_force, expire_at, post_only, self_trade",
        ),
        (
            {"type": "Buy"},
            "type: expected one of NewOrder, ReplaceOrder, CancelOrder, CancelAll, SetInstrument, "
            "HaltInstrument, ResumeInstrument, SetCredit, AdjustCredit, Settle, BlockClient, UnblockClient, "
            "got \"Buy\"",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(change, message):
    """A bad line's error says which field, what was expected and what came."""
    with pytest.raises(LineError) as caught:
        parse(json.dumps({**ORDER, **change}), 7)

    assert str(caught.value) == f"line 7: {message}"


@pytest.mark.parametrize("name", sorted(set(ORDER) - {"type"}))
def test_a_missing_field_is_named(name):
    """Each field of an order that has no default is asked for by name."""
    with pytest.raises(LineError, match=f"^line 7: {name}: missing; expected "):
        parse(json.dumps({key: value for key, value in ORDER.items() if key != name}), 7)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"type"', "[" * 100_000, '{"type":' + "1" * 5000 + "}", "\ufeff{}"]
)
def test_what_is_not_json_is_refused(text):
    """Empty, truncated and hostile text is an error like any other."""
    with pytest.raises(LineError, match=r"^line 3: "):
        parse(text, 3)


def test_the_kind_is_the_type():
    """A line's kind is what its type says in the file."""
    assert parse(json.dumps(ORDER), 1).kind == NewOrder.__name__ == "NewOrder"
