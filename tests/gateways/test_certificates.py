"""Certificates: made for their owner alone, never over others, and refused in words where they cannot be used."""

import os
import re
import shutil
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from gateways import certificates
from gateways.tls import Certificate
from sequencer.config import KeyPair
from sequencer.errors import ConfigError
from tests.models.running import complaint, sequencer
from tests.models.tls import certify


@pytest.fixture
def files(tmp_path: Path) -> KeyPair:
    return certify(tmp_path)


def test_a_certificate_is_made_for_its_owner_alone(files: KeyPair):
    """Whatever the umask: nobody else reads the key, or looks into the directory; nothing else is left there."""
    modes = {path: stat.S_IMODE(os.stat(path).st_mode) for path in (Path(files.private_key).parent, files.private_key)}

    assert list(modes.values()) == [0o700, 0o600]
    assert len(os.listdir(Path(files.certificate).parent)) == 2


def test_a_certificate_is_good_from_now_on_and_for_so_long(files: KeyPair):
    """A day, here."""
    left = Certificate(files).expires - datetime.now(UTC)

    assert timedelta(hours=23) < left < timedelta(days=1)
    assert not Certificate(files).is_expired


def test_the_command_never_overwrites_unless_it_is_told_to(tmp_path: Path):
    """The second one is refused, and the files are as they were; with --force there is another."""
    words = ("certificate", "--host", "venue.example", "--data", str(tmp_path))
    made = sequencer(*words)
    before = (tmp_path / "tls/private_key.pem").read_bytes()
    refused = complaint(sequencer(*words), 2)
    kept = (tmp_path / "tls/private_key.pem").read_bytes()

    assert made.returncode == 0
    assert '[tls]\ncertificate = "tls/certificate.pem"\nprivate_key = "tls/private_key.pem"' in made.stdout
    assert ("--force replaces it" in refused, kept == before) == (True, True)
    assert sequencer(*words, "--force").returncode == 0
    assert (tmp_path / "tls/private_key.pem").read_bytes() != before


@pytest.mark.parametrize(
    ("hosts", "days", "said"),
    [
        (["a b"], 1, "--host: expected a name or an address .* 'a b'"),
        ([""], 1, "--host: expected a name"),
        (["bücher.example"], 1, "--host: expected a name"),
        (["localhost"], 0, "--days: expected 1 to 3650, got 0"),
        (["localhost"], 10**9, "--days: expected 1 to 3650"),
    ],
)
def test_what_cannot_be_certified_is_refused(tmp_path: Path, hosts: list[str], days: int, said: str):
    """In words; and nothing is written."""
    with pytest.raises(ConfigError, match=said):
        certificates.make(KeyPair(str(tmp_path / "c.pem"), str(tmp_path / "k.pem")), hosts, days)
    assert list(tmp_path.iterdir()) == []


def readable_by_others(files: KeyPair) -> None:
    os.chmod(files.private_key, 0o640)


def without_key(files: KeyPair) -> None:
    os.remove(files.private_key)


def without_certificate(files: KeyPair) -> None:
    os.remove(files.certificate)


def of_another(files: KeyPair) -> None:
    other = certify(Path(files.certificate).parent / "other")
    shutil.copy(other.certificate, files.certificate)


def no_certificate(files: KeyPair) -> None:
    Path(files.certificate).write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def no_key(files: KeyPair) -> None:
    Path(files.private_key).write_text("no key")


def with_passphrase(files: KeyPair) -> None:
    path = Path(files.private_key)
    key = load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))


DAMAGE = {
    readable_by_others: r"private_key: expected a file of mode 0600, got .*private_key\.pem of 0640: `chmod 600`",
    without_key: r"private_key: .*private_key\.pem cannot be read: No such file",
    without_certificate: r"certificate: .*certificate\.pem cannot be read: No such file",
    of_another: r"private_key\.pem is not the private key of .*certificate\.pem",
    no_certificate: r"expected a certificate in PEM, got .*certificate\.pem",
    no_key: r"expected a PEM certificate and its private key, got .*private_key\.pem",
    with_passphrase: r"expected a key without a passphrase, got .*private_key\.pem",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda one: one.__name__)
def test_a_certificate_that_cannot_be_used_is_refused(files: KeyPair, damage):
    """At the start, in words; and later once for each change, while the one of before goes on to be shown."""
    before = Certificate(files)
    context, serial = before.context, before.serial
    damage(files)

    for load in (lambda: Certificate(files), before.renew):
        with pytest.raises(ConfigError, match=DAMAGE[damage]) as refused:
            load()
        assert not re.search(r"\n|BEGIN", str(refused.value))
    assert (before.renew(), before.context, before.serial) == (False, context, serial)
    certify(Path(files.certificate).parents[1])
    assert (before.renew(), before.serial != serial) == (True, True)


def test_an_expired_certificate_is_known_as_such(tmp_path: Path):
    """It is not refused: what its clients say of it is their affair."""
    assert Certificate(certify(tmp_path, begins=datetime.now(UTC) - timedelta(days=2))).is_expired
