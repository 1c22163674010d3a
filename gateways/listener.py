"""Where strangers come in: one TCP endpoint, and TLS before all that is said, where the venue has a certificate.

    TCP --> Listener --Handshakes, with a certificate--> a gateway's own protocol

Rules
- With a certificate nothing is said in plain text. Which endpoints need one tells `sequencer/config.py`.
- The certificate's files are looked at every second. A new one counts for new connections; of one that cannot be used
  the log tells, and the one of before stays. An expired one is told, and shown nevertheless.
- A connection is an open file, of which a process usually may have 1,024: who listens takes what the system allows, up
  to FILES_MAX. Where that is used up nothing can be opened any more, so what a gateway serves has to stay below.
"""

import asyncio
import resource
from collections.abc import Callable
from datetime import datetime
from typing import Final

from gateways.tls import Certificate, Handshakes
from sequencer.config import Config, listening_host
from sequencer.errors import ConfigError, IslandError
from sequencer.logs import Log

BACKLOG: Final = 512
LOOK_S: Final = 1.0
FILES_MAX: Final = 8192
"""10,000 connections at once took 5,070 of a web gateway, with those that were just being accepted or cut off."""


class Listener:
    """One of `[endpoints]`, by its name there."""

    def __init__(self, config: Config, door: str, log: Log) -> None:
        """Listens only once it is opened. Raises ConfigError for an endpoint or a certificate that is none."""
        self.endpoint = config.endpoint(door)
        if not self.endpoint.startswith("tcp://"):
            raise ConfigError(f"endpoints.{door}: expected tcp://HOST:PORT, got {self.endpoint}")
        self._door = door
        self._log = log
        self._certificate = Certificate(config.tls[door]) if door in config.tls else None
        self._server: asyncio.Server | None = None

    async def open(self, make: Callable[[], asyncio.Protocol]) -> None:
        """Listen; `make` makes what serves a connection. Raises IslandError."""
        _allow_files()
        host, _, port = self.endpoint.removeprefix("tcp://").rpartition(":")
        factory = make if self._certificate is None else Handshakes(self._certificate, make, self._failed)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                factory, listening_host(host) or None, int(port), backlog=BACKLOG
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "expected tcp://HOST:PORT"
            raise IslandError(f"cannot listen on {self.endpoint} (endpoints.{self._door}): {why}") from None

    async def watch(self) -> None:
        """Look at the certificate, for ever."""
        while self._certificate is not None:
            self._look(self._certificate)
            await asyncio.sleep(LOOK_S)

    def close(self) -> None:
        """Take no more connections."""
        if self._server is not None:
            self._server.close()

    @property
    def warning(self) -> str:
        """What an operator should know of it, if anything."""
        if self._certificate is None or not self._certificate.is_expired:
            return ""
        return f"the certificate of {self._door} expired at {_text(self._certificate.expires)}: renew it"

    def _look(self, certificate: Certificate) -> None:
        try:
            if certificate.renew():
                self._log.info("certificate renewed", serial=certificate.serial, expires=_text(certificate.expires))
        except ConfigError as error:
            self._log.error("certificate not renewed: the one of before stays", why=str(error))
        if self._log.is_news("certificate", self.warning, "") and self.warning:
            self._log.warning("certificate expired", why=self.warning)

    def _failed(self, address: str, why: str) -> None:
        self._log.seldom("warning", "handshake failed", at_once=10, address=address, why=why)


def _allow_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
