r"""TLS at a door: the certificate as it is on the disk, and connections until their handshake is done.

    TCP --> Handshake --done--> the door's own protocol, which knows nothing of TLS
                     \-> cut off: no TLS, no trust, too slow, or the oldest of too many

Rules
- TLS 1.2 at least; whoever can speaks 1.3. A client shows no certificate: it proves itself in its protocol.
- Handshakes are as few and as short as strangers that have not asked for anything: see gateways/web/strangers.py.
- A private key that others than its owner may read is no secret, and is not used.
- Of a handshake that fails is told whose and why, and nothing of what was sent: it may be a password.
"""

import asyncio
import os
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NoReturn

from sequencer.config import KeyPair
from sequencer.errors import ConfigError

HANDSHAKES_MAX: Final = 512
HANDSHAKE_S: Final = 10
SHUTDOWN_S: Final = 2
"""For the other side to say goodbye, too."""
BUFFER_BYTES: Final = 32 << 10
_NOT_TLS: Final = "expected TLS, got plain text"
_REASONS: Final = {
    "HTTP_REQUEST": _NOT_TLS,
    "WRONG_VERSION_NUMBER": _NOT_TLS,
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust this certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not trust this certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not trust this certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "this certificate has expired",
}
"""What OpenSSL's reasons mean here; its own words stand for the rest."""
_Stamp = tuple[int, int, int]


class Certificate:
    """A pair of files, as a context for new connections. Raises ConfigError where it cannot be used."""

    def __init__(self, files: KeyPair) -> None:
        self.context: ssl.SSLContext
        self.serial: str
        self.expires: datetime
        self._files = files
        self._stamps = self._on_disk()
        self._load()

    def renew(self) -> bool:
        """Take what is on the disk, if it is new. Raises ConfigError, once for each change; all is as before then."""
        stamps = self._on_disk()
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        self._load()
        return True

    @property
    def is_expired(self) -> bool:
        """Whether clients refuse it by now."""
        return datetime.now(UTC) >= self.expires

    def _on_disk(self) -> list[_Stamp]:
        return [_stamp(path) for path in (self._files.certificate, self._files.private_key)]

    def _load(self) -> None:
        from gateways.certificates import described  # noqa: PLC0415 - 100 ms, only where there is TLS

        _check_secret(self._files.private_key)
        serial, expires = described(self._files.certificate)
        self.context = _context(self._files)
        self.serial, self.expires = serial, expires


def _stamp(path: str) -> _Stamp:
    """Another one for another file, and for one whose rights have changed."""
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (found.st_ctime_ns, found.st_ino, found.st_size)


def _check_secret(path: str) -> None:
    try:
        mode = os.stat(path).st_mode & 0o777
    except OSError as error:
        raise ConfigError(f"tls.private_key: {path} cannot be read: {error.strerror}") from None
    if mode & 0o077:
        raise ConfigError(f"tls.private_key: expected a file of mode 0600, got {path} of {mode:04o}: `chmod 600` it")


def _context(files: KeyPair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION

    def refuse() -> NoReturn:
        raise ConfigError(f"tls.private_key: expected a key without a passphrase, got {files.private_key} with one")

    try:
        context.load_cert_chain(files.certificate, files.private_key, password=refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            why = f"{files.private_key} is not the private key of {files.certificate}"
        else:
            why = f"expected a PEM certificate and its private key, got {files.certificate} and {files.private_key}"
        raise ConfigError(f"tls: {why} ({error.reason or error.strerror})") from None
    except OSError as error:
        raise ConfigError(
            f"tls: {files.certificate} and {files.private_key} cannot be read: {error.strerror}"
        ) from None
    return context


class Handshakes:
    """All connections of a door; `make` makes what serves one, and `failed` hears whose handshake failed, and why."""

    def __init__(
        self, certificate: Certificate, make: Callable[[], asyncio.Protocol], failed: Callable[[str, str], None]
    ) -> None:
        self.unfinished: dict[Handshake, None] = {}
        self.failed = failed
        self._certificate = certificate
        self._make = make

    def __call__(self) -> "Handshake":
        """What asyncio asks for a new connection."""
        return Handshake(self, self._make(), self._certificate.context)


class Handshake(SSLProtocol):
    """One connection: asyncio's own, which tells its door when it begins and ends to be a stranger.

    Of the class that `create_server(ssl=...)` uses: that counts no handshakes and tells of none that fails.
    """

    max_size = BUFFER_BYTES
    """Of the buffer of each connection. asyncio's 256 KB make it 309 KB in memory; so it is 81."""

    def __init__(self, door: Handshakes, served: asyncio.Protocol, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        super().__init__(
            loop, served, context, done, server_side=True, ssl_handshake_timeout=HANDSHAKE_S,
            ssl_shutdown_timeout=SHUTDOWN_S,
        )  # fmt: skip
        done.add_done_callback(self._end)
        self._door = door
        self._raw: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake; where there are too many, the oldest makes room."""
        unfinished = self._door.unfinished
        if len(unfinished) >= HANDSHAKES_MAX:
            next(iter(unfinished)).cut_off(f"more than {HANDSHAKES_MAX} handshakes are not done")
        unfinished[self] = None
        self._raw = transport
        super().connection_made(transport)

    def cut_off(self, why: str) -> None:
        """Hear it no longer."""
        self._fail(why)
        assert isinstance(self._raw, asyncio.Transport), self._raw
        self._raw.abort()

    def _end(self, done: "asyncio.Future[None]") -> None:
        error = done.exception()
        if error is not None:
            self._fail(_why(error))
        self._door.unfinished.pop(self, None)

    def _fail(self, why: str) -> None:
        if self in self._door.unfinished:
            del self._door.unfinished[self]
            assert self._raw is not None, "it is connected"
            peer = self._raw.get_extra_info("peername") or ()
            self._door.failed(":".join(map(str, peer[:2])), why)


def _why(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        reason = error.reason or "the handshake broke off"
        return _REASONS.get(reason, reason)
    if isinstance(error, ConnectionAbortedError):
        return f"no handshake within {HANDSHAKE_S} s"
    return "it hung up"
