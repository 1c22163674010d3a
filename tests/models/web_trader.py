"""A trader of the web gateway over real sockets: REST and WebSocket, with a key of its own."""

import base64
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from gateways.venue import web_url
from tests.models.running import PATIENCE_S, Running, until
from tests.models.tls import trusting
from tests.models.web_description import Description
from tests.models.web_stage import Trader


class RemoteTrader(Trader):
    """The same trader, whose connection may break at any moment. Call `turn` again and again."""

    def __init__(self, venue: Running, name: str, *may: str) -> None:
        self.address = venue.config.endpoint("web").removeprefix("tcp://")
        self.url = web_url(venue.config)
        self._stream_url = f"{self.url.replace('http', 'ws', 1)}/v2"
        self._tls = trusting(venue.config)
        rights = [word for right in may for word in ("--may", right)]
        self.key = venue.json("api-key", "issue", name, *rights)
        self.description: Description | None = None
        """What everything that is heard is held against."""
        self._nonce_us = 0
        self._socket: ClientConnection | None = None
        self._resources = ExitStack()
        self.begin(name)

    def headers(self, method: str, path: str, body: bytes = b"", nonce: str = "") -> dict[str, str]:
        """What proves whose request it is."""
        self._nonce_us = max(self._nonce_us + 1, time.time_ns() // 1000)
        nonce = nonce or str(self._nonce_us)
        told = f"{method}{path}".encode() + hashlib.sha256(nonce.encode() + body).digest()
        signature = hmac.new(base64.b64decode(self.key["secret"]), told, hashlib.sha512).digest()
        return {"API-Key": self.key["key"], "API-Nonce": nonce, "API-Sign": base64.b64encode(signature).decode()}

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Over REST: status and JSON. Raises OSError where nobody answers."""
        data = b"" if body is None else json.dumps(body).encode()
        signed = headers if headers is not None else self.headers(method, path, data)
        request = urllib.request.Request(
            f"{self.url}{path}", data or None, {**signed, "Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S, context=self._tls) as answer:
                status, told = answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            status, told = refused.code, json.loads(refused.read())
        if self.description is not None:
            self.description.check_answer(method, path, status, told)
        return status, told

    def hear(self, message: dict) -> None:
        """One message."""
        if self.description is not None:
            self.description.check_message(message)
        super().hear(message)

    def await_key(self) -> None:
        """Wait until the gateway has read the key."""
        until(self._is_known, f"the key of {self.name} is known")

    def _is_known(self) -> bool:
        try:
            return self.ask("POST", "/v1/token")[0] == 200
        except OSError:
            return False

    def turn(self) -> None:
        """Be connected, hear what has come, and after a while say again what has no answer."""
        try:
            if self._socket is None:
                self._come_back()
                return
            while True:
                self.hear(json.loads(self._socket.recv(timeout=0.01)))
        except TimeoutError:
            return
        except (OSError, ConnectionClosed, InvalidHandshake):
            self._socket = None
            self.disconnected()

    def _come_back(self) -> None:
        status, body = self.ask("POST", "/v1/token")
        if status != 200:
            return
        self._token = body["token"]
        self._resources.close()
        self._socket = self._resources.enter_context(
            connect(self._stream_url, ssl=self._tls, max_size=None, open_timeout=2, close_timeout=1)
        )
        self._number = 1
        self.go_on("executions")

    def say(self, method: str, req_id: int | None = None, **params: object) -> None:
        message = {"method": method, "params": {"token": self._token, **params}}
        assert self._socket is not None, "connected"
        self._socket.send(json.dumps(message if req_id is None else {**message, "req_id": req_id}))

    def order(self, method: str, **params: object) -> int:
        """A command; where the connection breaks meanwhile it is said again later."""
        try:
            return super().order(method, **params)
        except (OSError, ConnectionClosed):
            self._socket = None
            self.disconnected()
            return self._next_command - 1

    def settle(self) -> None:
        """Until everything that was asked has its answer, and all of that was told."""

        def is_settled() -> bool:
            self.turn()
            return self.is_connected and not self._asked

        until(is_settled, f"all commands of {self.name} are answered")

    def close(self) -> None:
        self._resources.close()
