"""A venue whose doors have a certificate: FIX and WebSocket trade with each other in TLS, and in nothing else."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from gateways.order.client import OrderClient
from gateways.up import _doors
from gateways.web.keys import Key
from tests.models.logfmt import parsed
from tests.models.quickfix.client import FixClient
from tests.models.running import PATIENCE_S, Running, last_words, make, until
from tests.models.tls import certify, secured, trusting
from tests.models.web_trader import RemoteTrader

SYMBOL = "BTC-USD"
PROCESSES = {"web": "web-1", "fix": "fix-1"}
PLAIN = {"web": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "fix": b"8=FIX.4.4\x019=5\x0135=A\x01554=sesame\x01"}


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    config = secured(make(tmp_path_factory.mktemp("tls") / "v", doors=("fix-1", "web-1")))
    with Running(config).start() as started:
        with OrderClient(config.endpoint("order"), client="operator") as operator:
            operator.set_instrument(symbol=SYMBOL, currency="USD", tick="0.01", lot="0.1")
            for name in ("FIXED", "WEBBED"):
                operator.set_credit(name, "USD", "1000000")
        until(lambda: all(_count(started, door, "listening") for door in PROCESSES), "both doors listen")
        yield started


def port(venue: Running, door: str) -> int:
    return int(venue.config.endpoint(door).rpartition(":")[2])


def connect(venue: Running, door: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port(venue, door)), PATIENCE_S)


def secure(venue: Running, door: str, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    """A connection with its handshake done."""
    chosen = context or trusting(venue.config, door)
    return chosen.wrap_socket(connect(venue, door), server_hostname="127.0.0.1")


def serial(venue: Running, door: str) -> str:
    """Of the certificate that is shown who comes now."""
    with secure(venue, door) as connection:
        return connection.getpeercert()["serialNumber"]


def told(venue: Running, door: str) -> list[dict[str, str]]:
    """The log of a door's process."""
    path = venue.data_dir / "logs" / f"{PROCESSES[door]}.log"
    return list(map(parsed, path.read_text().splitlines()))


def _count(venue: Running, door: str, event: str) -> int:
    return sum(line["event"] == event for line in told(venue, door))


def await_why(venue: Running, door: str, why: str) -> None:
    """Wait until the log says of a handshake why it failed: one line, or one that tells of several."""
    until(lambda: any(line.get("why") == why for line in told(venue, door)), f"{door} tells: {why}")


def fixed(venue: Running, directory: Path, authorities: str) -> FixClient:
    return FixClient(port(venue, "fix"), "FIXED", directory=directory, authorities=Path(authorities))


def test_fix_and_websocket_trade_with_each_other(venue: Running, tmp_path: Path):
    """QuickFIX sells, a WebSocket client buys, both are told of it; then the certificate is renewed under them.

    Who was connected is so still, and trades on; who comes sees the new one.
    """
    authorities = tmp_path / "authorities.pem"
    authorities.write_bytes(Path(venue.config.tls["fix"].certificate).read_bytes())
    web = RemoteTrader(venue, "WEBBED")
    web.await_key()
    with fixed(venue, tmp_path / "fix", str(authorities)) as fix:
        fix.await_logon()
        trade(fix, web, "first")
        before = [serial(venue, door) for door in PROCESSES]
        certify(venue.data_dir)
        for door in PROCESSES:
            until(lambda door=door: _count(venue, door, "certificate renewed"), "the new one is read")
        after = [serial(venue, door) for door in PROCESSES]
        trade(fix, web, "second")
        assert set(before).isdisjoint(after)
        assert (fix.errors, web.problems) == ([], [])
        assert fix.await_(lambda: _count(venue, "fix", "logged on"), "its logon is told") == 1
    web.close()


def trade(fix: FixClient, web: RemoteTrader, name: str) -> None:
    """One each, with each other."""
    fix.order(name, "2", SYMBOL, "1", "100.00")
    fix.await_(lambda: any(one.get(150) == "0" for one in fix.reports(name)), "acceptance")
    web.turn()
    web.order("add_order", symbol=SYMBOL, side="buy", order_qty="1", limit_price="100.00", cl_ord_id=name)
    web.settle()
    fix.await_(lambda: [Decimal(one[32]) for one in fix.reports(name) if one.get(150) == "F"] == [1], "the fill")
    until(lambda: web.turn() or _filled(web, name), "the fill of the other side")


def _filled(web: RemoteTrader, name: str) -> bool:
    return any(row["cl_ord_id"] == name and "last_qty" in row for row in web.executions)


@pytest.mark.parametrize("door", PROCESSES)
def test_plain_text_is_refused_and_told(venue: Running, door: str):
    """No answer in plain text, and no password in the log."""
    with connect(venue, door) as plain:
        plain.sendall(PLAIN[door])
        said = until(lambda: _all(plain), "the door hangs up")
    await_why(venue, door, "expected TLS, got plain text")

    assert b"HTTP" not in said
    assert b"FIX" not in said
    assert "sesame" not in str(told(venue, door))


def _all(plain: socket.socket) -> bytes:
    """What comes until the connection ends, and a mark."""
    found = b""
    try:
        while piece := plain.recv(1 << 16):
            found += piece
    except ConnectionError:
        pass
    return found + b"."


@pytest.mark.parametrize("door", PROCESSES)
def test_a_client_without_trust_does_not_come_in(venue: Running, door: str):
    """It sees a certificate of nobody that it knows."""
    with pytest.raises(ssl.SSLCertVerificationError):
        secure(venue, door, ssl.create_default_context())
    await_why(venue, door, "it does not trust this certificate")


def test_quickfix_does_not_trust_another_certificate(venue: Running, tmp_path: Path):
    """It is never logged on."""
    other = certify(tmp_path / "other")
    logons, refusals = _count(venue, "fix", "logged on"), _count(venue, "fix", "handshake failed")
    with fixed(venue, tmp_path / "fix", other.certificate):
        until(lambda: _count(venue, "fix", "handshake failed") > refusals, "QuickFIX refuses, and the door tells")
    assert _count(venue, "fix", "logged on") == logons


def test_an_expired_certificate_is_a_warning_of_a_venue_that_is_well(venue: Running):
    """`health` says which and since when, exits with 0, and says no more of it once there is another."""
    certify(venue.data_dir, begins=datetime.now(UTC) - timedelta(days=2))
    health = until(lambda: len((found := venue.json("health"))["warnings"]) == 2 and found, "health warns of both")
    assert health["healthy"]
    assert all(line.partition(" expired at ")[2].startswith("20") for line in health["warnings"])
    certify(venue.data_dir)
    until(lambda: venue.json("health")["warnings"] == [], "health does not warn any more")


def test_up_says_where_the_console_is(venue: Running):
    """https, where it is."""
    assert f"console at https://127.0.0.1:{port(venue, 'web')}/" in _doors(venue.config)


def test_a_browser_trades_over_https(venue: Running):
    """The console signs in, is told the book, and sells; its connection is of the page's own kind."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    from tests.models.console import CHROMIUM, Session, launched

    if CHROMIUM is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    key = Key(**venue.json("api-key", "issue", "WEBBED"))
    with launched() as browser:
        window = Session(browser, venue)
        streams: list[str] = []
        window.page.on("websocket", lambda one: streams.append(one.url))
        window.sign_in(key)
        window.open(f"market/{SYMBOL}")
        window.order("Sell", "1", "101.00")
        assert {one.partition(":")[0] for one in streams} == {"wss"}
        assert window.problems == []
        window.close()


@pytest.mark.parametrize("door", PROCESSES)
def test_a_door_does_not_start_with_a_key_that_others_can_read(door: str, tmp_path: Path):
    """Its log's last line says which file, and what to do; nothing listens."""
    venue = Running(secured(make(tmp_path / "v", doors=(PROCESSES[door],))))
    Path(venue.config.tls[door].private_key).chmod(0o644)
    done: subprocess.CompletedProcess[str] = venue.run("gateway", door, "--name", PROCESSES[door])

    assert "expected a file of mode 0600, got " in last_words(done, 2)
    with pytest.raises(ConnectionRefusedError):
        connect(venue, door)
