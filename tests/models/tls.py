"""Certificates of test venues: each vouches for itself, so that its file is what its clients trust."""

import ssl
from datetime import datetime
from pathlib import Path

from gateways import certificates
from gateways.layout import CERTIFICATE, PRIVATE_KEY
from sequencer.config import FILE_NAME, Config, KeyPair

HOSTS = ("localhost", "127.0.0.1")
SECTION = f"""
[tls]
certificate = "{CERTIFICATE}"
private_key = "{PRIVATE_KEY}"
"""


def pair(directory: Path) -> KeyPair:
    """Where a venue's certificate is."""
    return KeyPair(str(directory / CERTIFICATE), str(directory / PRIVATE_KEY))


def certify(directory: Path, begins: datetime | None = None) -> KeyPair:
    """A certificate for a day, in place of the one that is there."""
    files = pair(directory)
    certificates.make(files, HOSTS, 1, begins=begins, force=True)
    return files


def secured(config: Config) -> Config:
    """The same venue, whose doors have a certificate."""
    certify(config.data_dir)
    path = config.data_dir / FILE_NAME
    path.write_text(path.read_text() + SECTION)
    return Config.load(config.data_dir)


def trusting(config: Config, door: str = "web") -> ssl.SSLContext | None:
    """What a client trusts; None where the door is plain."""
    files = config.tls.get(door)
    return None if files is None else ssl.create_default_context(cafile=files.certificate)
