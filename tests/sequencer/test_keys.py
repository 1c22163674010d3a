"""Who may do what, as the list of keys alone says it."""

from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Final

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sequencer.envelope import encode_batch
from sequencer.errors import ConfigError
from sequencer.keys import (
    LOCAL,
    OPERATOR,
    USUAL,
    Z85,
    Z85_CHARACTERS,
    Door,
    Key,
    Keys,
    Role,
    key_of_operator,
    operator_sender,
    standard,
)
from sequencer.limits import LIMIT_MAX, Limits

ENTERS: Final[dict[Role, str]] = {
    #             peer stream ingress replayer access feed
    Role.NODE:    " x    x      x       x        -      -",
    Role.REPLICA: " -    x      x       x        -      -",
    Role.GATEWAY: " -    x      x       x        -      x",
    Role.CLIENT:  " -    -      -       -        x      x",
    Role.READER:  " -    x      x       x        -      x",
    Role.ADMIN:   " -    x      x       x        x      x",
}  # fmt: skip
"""Which doors a role opens: nodes alone speak to nodes, and clients see nothing of what is inside."""

names = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters="/*?["), min_size=1, max_size=12
)  # fmt: skip
patterns = st.lists(st.text(st.characters(exclude_categories=("C", "Z")), max_size=12), max_size=3).map(tuple)
publics = st.text(st.sampled_from(Z85), min_size=Z85_CHARACTERS, max_size=Z85_CHARACTERS)
some = st.none() | st.integers(1, LIMIT_MAX)
limits = st.builds(Limits, some, some, some, some)
keys = st.builds(
    Key,
    name=names, role=st.sampled_from(Role), public=publics, senders=patterns, processes=patterns, clients=patterns,
    serves=patterns, operates=st.booleans(), limits=limits,
    revoked=st.sampled_from(("", "2026-11-30T03:00:00+00:00")),
)  # fmt: skip


def public(number: int) -> str:
    """A public key of its own."""
    return f"{number:0{Z85_CHARACTERS}}"


def key(name: str, role: Role = Role.READER, number: int = 1, **rights: object) -> Key:
    return standard(name, role, public(number), **rights)  # type: ignore[arg-type]


@given(st.lists(keys, min_size=1, max_size=6, unique_by=lambda one: (one.public, one.name)))
def test_a_list_is_read_as_it_was_written(listed: list[Key]):
    """Every list that can be is the same after text and parse: names, patterns and dates of any script."""
    listed = list({one.public: one for one in {one.name: one for one in listed}.values()}.values())

    assert list(Keys.parse(Keys(listed).text()).listed) == listed


def test_a_revoked_key_is_nobodys():
    """It opens nothing and serves nothing any more; whose it was is known for the log."""
    listed = Keys([key("order-1", Role.GATEWAY, serves=["order"])])
    revoked = listed.without("order-1", datetime(2026, 11, 30, tzinfo=UTC))

    assert (revoked.of(public(1)), revoked.named("order-1"), revoked.serving("order")) == (None, None, None)
    assert revoked.whose(public(1)) == "order-1"
    assert revoked.listed[0].revoked == "2026-11-30T00:00:00+00:00"


def test_a_name_has_one_key_that_counts():
    """It gets another one only when the first is revoked, and then the new one is its own."""
    listed = Keys([key("a")])
    with pytest.raises(ConfigError, match="keys revoke a"):
        listed.with_key(key("a", number=2))
    renewed = listed.without("a").with_key(key("a", number=2))

    assert (renewed.of(public(1)), renewed.named("a")) == (None, key("a", number=2))
    with pytest.raises(ConfigError, match="b has no key"):
        renewed.without("b")


@pytest.mark.parametrize("door", Door)
@pytest.mark.parametrize("role", Role)
def test_a_role_opens_the_doors_of_the_table(role: Role, door: Door):
    """And no others."""
    expected = ENTERS[role].split()[list(Door).index(door)] == "x"

    assert key("a", role).enters(door) == expected


STANDARD: Final = {
    "node": (key("node-1", Role.NODE), "", "node-1 node-1-replayer", ""),
    "replica": (key("m-1", Role.REPLICA, of=["matching"]), "matching.0 matching.0of2", "m-1 m-1-child", ""),
    "gateway": (key("order-1", Role.GATEWAY), "gateway.order-1", "order-1", ""),
    "client": (key("ANN", Role.CLIENT), "", "", "ANN"),
    "client of two": (key("desk", Role.CLIENT, of=["ANN", "BOB"]), "", "", "ANN BOB"),
    "reader": (key("audit", Role.READER), "", "audit audit-2", ""),
}  # fmt: skip
"""A usual key -> the senders, processes and clients of WORDS that it is."""
WORDS: Final = sorted(
    {word for _key, *named in STANDARD.values() for words in named for word in words.split()}
    | {"", "gateway.order-10", "gateway.order-1.x", "xmatching.0", "matching", "m-11", "node-11", "ANNE", "ann"}
    | {"operator", "sequencer", "credit.0"}
)


@pytest.mark.parametrize("case", STANDARD)
def test_a_usual_key_is_for_its_own_names(case: str):
    """It submits, reports and trades under these, and under no name that only looks like them."""
    one, *expected = STANDARD[case]
    may = (one.sends, one.is_process, one.acts_as)

    assert [[word for word in WORDS if asked(word)] for asked in may] == [sorted(words.split()) for words in expected]


def test_operators_may_all_but_be_a_node():
    """An admin, and whoever comes through a socket of this host's user, acts as any sender, process and client."""
    for one in (key("kim", Role.ADMIN), LOCAL):
        assert all(one.sends(word) for word in WORDS if word != OPERATOR)
        assert all(one.is_process(word) and one.acts_as(word) for word in WORDS)
        assert one.operates
        assert not one.enters(Door.PEER)


OPERATORS: Final = {
    "kim": "operator.kim",
    "a-name-of-15-ch": "operator.a-name-of-15-ch",
    "a-name-of-16-chr": "operator.?8e5a536d74a8bc",
    "jürgen": "operator.?19b720a911fced",
    "": "operator",
}
"""A key's name -> its sender."""


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_speaks_in_his_own_name_alone(name: str):
    """No key that operates submits as another's operator, nor as the one who needs no key."""
    one = key(name, Role.ADMIN) if name else LOCAL

    assert operator_sender(name) == OPERATORS[name]
    assert [sender for sender in OPERATORS.values() if one.sends(sender)] == [OPERATORS[name]]


@given(names.map(operator_sender))
def test_an_operators_sender_can_be_one(sender: str):
    """Whatever his key is called: a batch takes it, and the key's part of it can be read off."""
    made = encode_batch(sender, 4, 1, b"", count=1)

    assert made.sender == sender
    assert sender == f"{OPERATOR}.{key_of_operator(sender)}"


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
def test_no_other_role_speaks_as_an_operator(role: Role):
    """Not even a key whose patterns are everybody's, nor one for a machine that is called so."""
    wide = key("kim", role, of=[OPERATOR])
    wide = msgspec.structs.replace(wide, senders=(*wide.senders, "*"))

    assert not any(wide.sends(sender) for sender in OPERATORS.values())


def test_a_gateway_that_operates_speaks_as_itself():
    """What its users ask for stands in the log under its own name."""
    web = key("web-1", Role.GATEWAY, operates=True)

    assert [one for one in ("operator", "operator.kim", "operator.web-1") if web.sends(one)] == ["operator.web-1"]


@given(keys, st.text(max_size=8))
def test_what_a_role_has_no_door_for_no_pattern_gives(one: Key, name: str):
    """Senders of a client, and clients of a replica, are for nothing; only `operates` speaks for all."""
    assume(not name.startswith(OPERATOR))
    is_named = any(fnmatchcase(name, pattern) for pattern in one.senders)

    assert one.sends(name) == (one.operates or (one.role in (Role.REPLICA, Role.GATEWAY) and is_named))
    assert not one.acts_as(name) or one.role in (Role.CLIENT, Role.ADMIN)


def test_what_has_changed_is_told():
    """A key that is gone, revoked, or for something else now; not one that stayed, and not a new one."""
    before = Keys([key("gone", number=1), key("revoked", number=2), key("moved", number=3), key("stays", number=4)])
    moved = key("moved", Role.CLIENT, number=3)
    after = Keys([before.listed[1], moved, before.listed[3], key("new", number=5)]).without("revoked")

    assert after.changed_since(before) == {public(1), public(2), public(3)}


GOOD: Final = f'[[keys]]\nname = "a"\nrole = "reader"\npublic = "{public(1)}"\n'
WRONG: Final = {
    "nothing": ("", r"expected \[\[keys\]\], got none"),
    "no TOML": ("[[keys", "not valid TOML"),
    "no role": (GOOD.replace('role = "reader"\n', ""), "role"),
    "a role that is none": (GOOD.replace("reader", "root"), "root"),
    "a word that is none": (GOOD + "colour = 1\n", "colour"),
    "a table that is none": (GOOD + "[other]\n", "other"),
    "a date that is no text": (GOOD + "revoked = 2026-11-30\n", "revoked"),
    "patterns that are none": (GOOD + 'senders = "gateway.*"\n', "senders"),
    "a short key": (GOOD.replace(public(1), "0" * 39), "40 characters of Z85"),
    "a key that is no Z85": (GOOD.replace(public(1), "~" * 40), "40 characters of Z85"),
    "no name": (GOOD.replace('"a"', '""'), "expected a name"),
    "a name that is a path": (GOOD.replace('"a"', '"../a"'), "expected a name"),
    "a name that is a pattern": (GOOD.replace('"a"', '"*"'), "expected a name"),
    "a name that is not to be printed": (GOOD.replace('"a"', r'"a\u001b"'), "expected a name"),
    "a pattern that is not to be printed": (GOOD + 'senders = ["\\u007f"]\n', "can be printed"),
    "a limit that is none": (GOOD + "limits = { colour = 1 }\n", "colour"),
    "a limit that is text": (GOOD + 'limits = { connections = "two" }\n', "connections"),
    "a limit of nothing": (
        GOOD + "limits = { requests_per_s = 0 }\n",
        r"a\.limits\.requests_per_s: expected 1 to \d+, got 0: leave it out for what is usual for the role of a reader",
    ),
    "one key for two": (GOOD + GOOD.replace('"a"', '"b"'), "a has the same"),
    "two keys for one": (GOOD + GOOD.replace(public(1), public(2)), "a: expected one key that counts"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_list_that_is_wrong_is_refused_in_one_line(case: str):
    """The line names the file, and says what was expected."""
    text, named = WRONG[case]
    with pytest.raises(ConfigError, match=named) as refused:
        Keys.parse(text, "/v/keys.toml")

    assert str(refused.value).startswith("/v/keys.toml")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a/b", "..", "*", "a[b]", "a\n"])
def test_no_key_is_listed_that_could_not_be_read_again(name: str):
    """What `with_key` takes, `parse` does."""
    try:
        listed = Keys().with_key(key(name))
    except ConfigError:
        return
    assert Keys.parse(listed.text()).listed == listed.listed


def test_a_key_may_ask_for_what_is_usual_for_its_role_or_what_its_limits_say():
    """One that is left out is that of the role, and none is missing."""
    narrow = key("a", Role.CLIENT, limits=Limits(requests_per_s=7))
    usual = USUAL[Role.CLIENT]

    assert key("a", Role.CLIENT).bounds == usual
    assert narrow.bounds == Limits(7, usual.bytes_per_s, usual.message_bytes, usual.connections)
    assert all(not USUAL[role].problem and str(USUAL[role]).count(",") >= 3 for role in Role)


def test_a_change_of_limits_is_told():
    """So that who is connected can be told of them."""
    before = Keys([key("a")])

    assert before.changed_since(before) == frozenset()
    assert Keys([key("a", limits=Limits(connections=1))]).changed_since(before) == {public(1)}
