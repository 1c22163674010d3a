"""A client of the web gateway in a page: sign a request, get a token, trade over WebSocket.

    python -m examples.web_client http://HOST:PORT KEY SECRET [SYMBOL]
    python -m examples.web_client https://HOST:PORT KEY SECRET [SYMBOL] --ca data/tls/certificate.pem

It reads its credit over REST, follows its own executions, and bids one lot far below the best price; then it cancels.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import ssl
import sys
import time
from typing import Any

import aiohttp


class WebClient:
    """One key at one gateway, by its URL without a path."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str, secret: str) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._key = key
        self._secret = base64.b64decode(secret)
        self._nonce_us = 0

    def signed(self, method: str, path: str, body: bytes = b"") -> dict[str, str]:
        """The headers that prove whose request it is; no nonce comes twice."""
        self._nonce_us = max(self._nonce_us + 1, time.time_ns() // 1000)
        nonce = str(self._nonce_us)
        told = f"{method}{path}".encode() + hashlib.sha256(nonce.encode() + body).digest()
        signature = base64.b64encode(hmac.new(self._secret, told, hashlib.sha512).digest()).decode()
        return {"API-Key": self._key, "API-Nonce": nonce, "API-Sign": signature}

    async def ask(self, method: str, path: str, body: bytes = b"") -> Any:
        """Over REST. Raises RuntimeError with what the venue says against it."""
        url, headers = f"{self._url}{path}", self.signed(method, path, body)
        async with self._session.request(method, url, data=body, headers=headers) as answer:
            found = json.loads(await answer.text(), parse_float=str)  # a price is text: a float is not exact
        if "error" in found:
            raise RuntimeError(f"{method} {path}: {found['error']}")
        return found

    async def stream(self) -> tuple[aiohttp.ClientWebSocketResponse, str]:
        """A WebSocket, and the token that goes with each request on it."""
        token = (await self.ask("POST", "/v1/token"))["token"]
        return await self._session.ws_connect(f"{self._url.replace('http', 'ws', 1)}/v2"), token


async def main(url: str, key: str, secret: str, symbol: str, ca: str | None) -> None:
    """Trade a little. Over https it trusts what the file `ca` vouches for; without one, what this machine trusts."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=ca))
    async with aiohttp.ClientSession(connector=connector) as session:
        client = WebClient(session, url, key, secret)
        print(await client.ask("GET", "/v1/credit"))
        known = {one["symbol"]: one for one in (await client.ask("GET", "/v1/instruments"))["instruments"]}
        if symbol not in known:
            sys.exit(f"expected one of the instruments {', '.join(known) or '(there are none yet)'}, got {symbol}")
        terms = known[symbol]
        socket, token = await client.stream()
        await socket.send_json({"method": "subscribe", "params": {"channel": "executions", "token": token}})
        order = {
            "symbol": symbol,
            "side": "buy",
            "order_qty": terms["qty_increment"],
            "limit_price": terms["price_increment"],
        }
        await socket.send_json({"method": "add_order", "params": {"token": token, **order}, "req_id": 1})
        async for message in socket:
            told = json.loads(message.data, parse_float=str)
            if told.get("channel") == "executions" or "method" in told:
                print(told)
            if told.get("req_id") == 1 and told["success"]:
                cancel = {"token": token, "order_id": [told["result"]["order_id"]]}
                await socket.send_json({"method": "cancel_order", "params": cancel, "req_id": 2})
            elif told.get("req_id"):
                break


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Trade a little at a web gateway.")
    for name in ("url", "key", "secret"):
        parser.add_argument(name)
    parser.add_argument("symbol", nargs="?", default="BTC-USD")
    parser.add_argument("--ca", help="PEM file of what vouches for the gateway's certificate.")
    asyncio.run(main(**vars(parser.parse_args())))
