"""Certificates for development: one that vouches for itself, and what a door's certificate says.

Clients trust it by its own file. What strangers are to trust comes from an authority that they know.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sequencer.config import KeyPair
from sequencer.errors import ConfigError

NAME: Final = "sequencer development"
SKEW: Final = timedelta(minutes=5)
"""By which clients' clocks may be behind."""
DAYS_MAX: Final = 3650


def make(
    files: KeyPair, hosts: Sequence[str], days: int, *, begins: datetime | None = None, force: bool = False
) -> datetime:
    """Write a self-signed certificate of these names and addresses, and its key, for its owner alone; its last moment.

    It begins now, or when `begins` says. Raises ConfigError: for hosts that are none, and for files that are there
    already, unless `force` replaces them.
    """
    if not 1 <= days <= DAYS_MAX:
        raise ConfigError(f"--days: expected 1 to {DAYS_MAX}, got {days}")
    names = [_name(host) for host in hosts]
    paths = Path(files.private_key), Path(files.certificate)
    for path in paths:
        if path.exists() and not force:
            raise ConfigError(f"{path} is there already: --force replaces it")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _signed(key, names, begins or datetime.now(UTC), days)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for path, text, mode in zip(paths, (secret, certificate.public_bytes(Encoding.PEM)), (0o600, 0o644), strict=True):
        _write(path, text, mode)
    return certificate.not_valid_after_utc


def described(path: str) -> tuple[str, datetime]:
    """Serial number, in hexadecimal digits, and last moment of a PEM file's first certificate. Raises ConfigError."""
    try:
        found = x509.load_pem_x509_certificate(Path(path).read_bytes())
    except OSError as error:
        raise ConfigError(f"tls.certificate: {path} cannot be read: {error.strerror}") from None
    except (ValueError, x509.InvalidVersion) as error:
        raise ConfigError(f"tls.certificate: expected a certificate in PEM, got {path}: {error}") from None
    return f"{found.serial_number:x}", found.not_valid_after_utc


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        pass
    if not host or not host.isascii() or any(not (char.isalnum() or char in "-.*") for char in host):
        raise ConfigError(f"--host: expected a name or an address such as localhost or 127.0.0.1, got {host!r}")
    return x509.DNSName(host)


def _signed(
    key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName], begins: datetime, days: int
) -> x509.Certificate:
    """RFC 5280: a server's certificate that is its own issuer."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    public = key.public_key()
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins - SKEW)
        .not_valid_after(begins + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, SHA256())
    )


def _write(path: Path, text: bytes, mode: int) -> None:
    """All at once, and never for a moment readable to more than it ends as."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(fd, "wb") as file:
            file.write(text)
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}; choose another --data directory") from None
