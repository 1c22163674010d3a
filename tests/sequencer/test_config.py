"""A configuration is checked once, and what is wrong is named."""

import re
from pathlib import Path

import pytest

from gateways.venue import create
from sequencer.config import TLS_DOORS, Config, KeyPair, endpoint_in
from sequencer.errors import ConfigError


@pytest.fixture
def text(tmp_path):
    create(tmp_path)
    return (tmp_path / "venue.toml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("[journal]", "[journal]\nsegment_size = 1", "segment_size"),
        ("segment_bytes = 67108864", "segment_bytes = 10", "journal.segment_bytes"),
        ("segment_bytes = 67108864", 'segment_bytes = "big"', "journal.segment_bytes"),
        ("reserve_bytes = 8388608", "reserve_bytes = 99999999", "journal.reserve_bytes"),
        ('cluster = "', 'cluster = "zz', "venue.cluster"),
        ('order = "tcp://', 'order = "http://', "endpoints.order"),
        ('name = "node-1"', 'name = "node-1"\ncolour = "red"', "colour"),
        ("[venue]", "[venue", "TOML"),
        ("[endpoints]", "[timing]\nelection_ms = 10\n[endpoints]", "timing.election_ms"),
        ('level = "info"', 'level = "loud"', r"logs\.level: expected debug, info, warning, error, got 'loud'"),
        ('level = "info"', "file_bytes = 7", r"logs\.file_bytes"),
        ('"gateway.*" = [1]', '"gateway.*" = [0]', r"channels.gateway"),
        ("[journal]", '[tls]\ncertificate = "c.pem"\n[journal]', "tls: expected both"),
        ("[journal]", '[tls.fix]\ncertificate = "c.pem"\n[journal]', r"private_key.*\$\.tls\.fix"),
        ("[journal]", '[tls]\ncertificate = ""\nprivate_key = "k.pem"\n[journal]', "tls: expected file names"),
        ("[journal]", '[tls.order]\ncertificate = "c.pem"\n[journal]', "order"),
    ],
)
def test_the_wrong_key_is_named(text, old, new, named):
    """An unknown key, a wrong type and an impossible value each give an error with the key's name."""
    with pytest.raises(ConfigError, match=named):
        Config.parse(text.replace(old, new, 1), Path("/data"))


HOSTS = {
    "127.0.0.1": True, "127.9.9.9": True, "[::1]": True, "localhost": True,
    "0.0.0.0": False, "[::]": False, "*": False, "": False, "10.0.0.7": False, "venue.example": False,
    "localhost.example": False, "127.0.0.1.example": False, "[fe80::1]": False, "127.1": False,
}  # fmt: skip
"""Host of a door -> whether only this machine reaches it."""


@pytest.mark.parametrize("door", TLS_DOORS)
@pytest.mark.parametrize("host", HOSTS)
def test_without_a_certificate_a_door_stays_on_this_machine(text, door, host):
    """Another host than a loopback one needs a certificate of that door, or one for all."""
    there = re.sub(rf'(?m)^{door} = "tcp://127.0.0.1', f'{door} = "tcp://{host}', text)
    pair = 'certificate = "tls/c.pem"\nprivate_key = "/k.pem"\n'
    other = next(each for each in TLS_DOORS if each != door)
    if HOSTS[host]:
        assert Config.parse(there, Path("/data")).tls == {}
    for unprotected in () if HOSTS[host] else (there, there + f"[tls.{other}]\n{pair}"):
        with pytest.raises(ConfigError, match=rf"endpoints\.{door}: expected a loopback host .* got tcp://.*\[tls\]"):
            Config.parse(unprotected, Path("/data"))

    expected = KeyPair("/data/tls/c.pem", "/k.pem")
    assert Config.parse(there + f"[tls.{door}]\n{pair}", Path("/data")).tls == {door: expected}
    assert Config.parse(there + f"[tls]\n{pair}", Path("/data")).tls == dict.fromkeys(TLS_DOORS, expected)


def test_two_things_at_one_endpoint_are_refused(text):
    """Every endpoint must be its own."""
    with pytest.raises(ConfigError, match="is also"):
        Config.parse(text.replace("node-1.pub", "node-1.in"), Path("/data"))


def test_a_directory_without_a_venue_says_what_to_do(tmp_path):
    """The error names the missing file and the command that makes it."""
    with pytest.raises(ConfigError, match="sequencer up"):
        Config.load(tmp_path)


def test_the_number_of_nodes_cannot_change_on_the_way(tmp_path):
    """A venue made with one node is not silently run with three."""
    create(tmp_path, 1)
    with pytest.raises(ConfigError, match="--nodes asks for 3"):
        create(tmp_path, 3)


def test_a_long_directory_gets_short_socket_names(tmp_path):
    """An ipc path that does not fit into a socket address is replaced, the same way every time."""
    base = tmp_path / ("d" * 120)
    endpoint = endpoint_in(base, "ipc://run/node-1.in")

    assert len(endpoint) < 100
    assert endpoint == endpoint_in(base, "ipc://run/node-1.in")


def test_senders_are_bound_to_their_channels(tmp_path):
    """A gateway cannot speak as credit."""
    config = create(tmp_path)

    assert [config.permitted(name) for name in ("gateway.a", "credit.0", "matching.0", "stranger")] == [
        frozenset({1}),
        frozenset({2}),
        frozenset({3}),
        frozenset(),
    ]
