"""API keys: what is signed counts once, by whom it was signed, and nothing else does."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.web.keys import FILE_NAME, NONCES_MAX, TOKEN_S, TOKENS_MAX, WINDOW_US, Gate, Keys, sign
from gateways.web.refusals import RefusedError
from sequencer.errors import ConfigError

NOW_US = 1_796_000_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now_us = NOW_US

    def __call__(self) -> int:
        return self.now_us


def gate() -> tuple[Gate, Keys, Clock]:
    keys, clock = Keys(), Clock()
    made = Gate(keys, clock)
    clock.now_us += 1_000_000
    return made, keys, clock


def is_admitted(made: Gate, *request: object) -> bool:
    try:
        made.admit(*request)  # type: ignore[arg-type]
    except RefusedError:
        return False
    return True


def test_the_signature_is_the_documented_one():
    """HMAC-SHA512 over method, path and SHA-256 of nonce and body; the figure was made with openssl."""
    made = sign("a2V5", "POST/v1/token", "1796000000000000", b'{"a":1}')
    assert made == "+EJXke0Fvsjxgp85o9rGt12GWrbQ9WBZMHMlvrdCaXD2KzGnrhR+X8D+gAO9X4npIFyOo41tMQsQZ+Df3grHXg=="


@given(
    order=st.lists(st.integers(1, 40), max_size=60),
    offset=st.sampled_from([0, -WINDOW_US + 2_000_000, 20_000_000]),
)
def test_a_nonce_counts_once_in_whatever_order(order: list[int], offset: int):
    """Requests may overtake each other; the same one never counts again."""
    made, keys, clock = gate()
    clock.now_us += 60_000_000
    key = keys.issue("ANN", ["trade"])
    seen: set[int] = set()
    for one in order:
        nonce = clock.now_us + offset + one
        request = ("GET/v1/orders", b"", key.key, str(nonce), sign(key.secret, "GET/v1/orders", str(nonce), b""))
        assert is_admitted(made, *request) == (one not in seen)
        seen.add(one)


def test_nonces_are_bounded_and_what_is_forgotten_stays_refused():
    """Beyond so many the oldest are refused without being remembered."""
    made, keys, clock = gate()
    key = keys.issue("ANN", ["trade"])
    for nth in range(NONCES_MAX + 50):
        nonce = str(clock.now_us + nth)
        assert is_admitted(made, "GET/", b"", key.key, nonce, sign(key.secret, "GET/", nonce, b""))
    for nth in range(NONCES_MAX + 50):
        nonce = str(clock.now_us + nth)
        assert not is_admitted(made, "GET/", b"", key.key, nonce, sign(key.secret, "GET/", nonce, b""))


@given(part=st.integers(0, 4), at=st.integers(0, 200), flip=st.integers(1, 255))
def test_what_was_changed_on_the_way_is_refused(part: int, at: int, flip: int):
    """In the request, its body, the key, the nonce, the signature."""
    made, keys, clock = gate()
    key = keys.issue("ANN", ["trade"])
    keys.issue("BOB", ["trade"])
    nonce = str(clock.now_us)
    request: list = ["POST/v1/orders?x=1", b'{"symbol":"A"}', key.key, nonce]
    request.append(sign(key.secret, request[0], nonce, request[1]))
    whole = bytearray(request[part] if part == 1 else request[part].encode())
    whole[at % len(whole)] ^= flip
    request[part] = bytes(whole) if part == 1 else whole.decode("latin-1")
    assert not is_admitted(made, *request)


@pytest.mark.parametrize(
    "nonce", ["", "x", "-1", "1" * 40, str(NOW_US - WINDOW_US), str(NOW_US + 2 * WINDOW_US), "1.5"]
)
def test_a_nonce_is_the_time_of_day(nonce: str):
    """What was signed long ago, or for later, is refused; so is what is no number."""
    made, keys, _clock = gate()
    key = keys.issue("ANN", ["trade"])
    assert not is_admitted(made, "GET/", b"", key.key, nonce, sign(key.secret, "GET/", nonce, b""))


def test_what_was_signed_for_a_process_before_this_is_refused():
    """It may have been obeyed there."""
    made, keys, clock = gate()
    key = keys.issue("ANN", ["trade"])
    nonce = str(clock.now_us)
    request = ("GET/", b"", key.key, nonce, sign(key.secret, "GET/", nonce, b""))
    assert is_admitted(made, *request)
    assert not is_admitted(Gate(keys, clock), *request)


def test_a_token_is_good_for_a_while_and_as_long_as_its_key():
    """And so many of them at a time."""
    made, keys, clock = gate()
    key = keys.issue("ANN", ["trade"])
    first = made.token(key)
    assert made.holder(first) == key
    tokens = [made.token(key) for _ in range(TOKENS_MAX)]
    with pytest.raises(RefusedError, match="token: expected one from POST"):
        made.holder(first)
    clock.now_us += TOKEN_S * 1_000_000
    assert made.holder(tokens[0]) == key
    clock.now_us += 1
    with pytest.raises(RefusedError):
        made.holder(tokens[0])
    last = made.token(key)
    keys.revoke(key.key)
    made.replace(keys)
    with pytest.raises(RefusedError):
        made.holder(last)
    nonce = str(clock.now_us)
    assert not is_admitted(made, "GET/", b"", key.key, nonce, sign(key.secret, "GET/", nonce, b""))


def test_keys_survive_their_file(tmp_path: Path):
    """Whatever the client is called; and nobody else can read it."""
    keys = Keys()
    for client in ("ANN", 'a"b\\', "Zoë", "operator.x"):
        keys.issue(client, ["read", "trade"])
    keys.save(tmp_path)
    keys.save(tmp_path)
    assert Keys.load(tmp_path).all == keys.all
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    assert Keys.load(tmp_path / "nowhere").all == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[keys]]\nkey = 1", "Expected `str`"),
        ("keys = 3", "Expected `array`"),
        ("x", "web.toml"),
        (
            '[[keys]]\nkey="k"\nclient="ANN"\nmay=["fly"]\nsecret="eA=="',
            "may: expected read, trade, drop_copy, operate, got 'fly'",
        ),
        ('[[keys]]\nkey="k"\nclient="ANN"\nmay=["operate"]\nsecret="eA=="', "only operator and operator.NAME"),
        ('[[keys]]\nkey="k"\nclient="ANN"\nmay=[]\nsecret="eA=="', "secret: expected 64 bytes in base64"),
    ],
)
def test_what_is_wrong_with_the_file_is_said(tmp_path: Path, text: str, why: str):
    """And which file it is."""
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(ConfigError, match=FILE_NAME) as error:
        Keys.load(tmp_path)
    assert why in str(error.value)
