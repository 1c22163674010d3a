"""A door with a certificate: TLS or nothing, strangers that are few and short, certificates that change under it."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from gateways import listener, tls
from gateways.listener import Listener
from gateways.tls import HANDSHAKES_MAX
from gateways.web import strangers
from gateways.web.strangers import Doorway
from sequencer.config import Config
from sequencer.logs import Log
from tests.models.logfmt import Kept, parsed
from tests.models.running import PATIENCE_S, make
from tests.models.tls import certify, secured, trusting

FLOOD = 1000
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LOGON = b"8=FIX.4.4\x019=70\x0135=A\x0149=ANN\x0156=ISLAND\x01554=sesame\x01"


class Echo(asyncio.Protocol):
    """What a door serves here."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Stage:
    """One door of a venue with a certificate, and its log."""

    def __init__(self, directory: Path) -> None:
        self.config: Config = secured(make(directory / "v", doors=("web-1",)))
        self.kept = Kept()
        self.listener = Listener(self.config, "web", Log("web-1", "info", self.kept))
        self.port = int(self.listener.endpoint.rpartition(":")[2])

    @asynccontextmanager
    async def serving(self, protocol: Callable[[], asyncio.Protocol] = Echo) -> AsyncIterator[None]:
        await self.listener.open(protocol)
        watching = asyncio.create_task(self.listener.watch())
        yield
        watching.cancel()
        self.listener.close()

    async def connect(self, context: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context)

    async def trusted(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await self.connect(trusting(self.config))

    def told(self, event: str) -> list[str]:
        """Why this happened, each time that the log has it."""
        return [line["why"] for line in map(parsed, self.kept.lines) if line["event"] == event]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(listener, "LOOK_S", 0.01)
    return Stage(tmp_path)


def run(play: Awaitable[None]) -> None:
    """With a deadline for all of it."""
    asyncio.run(asyncio.wait_for(play, PATIENCE_S))


async def eventually(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def echoes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"hello")
    return await reader.readexactly(5) == b"hello"


async def heard(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the connection ends."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


def connected(port: int, context: ssl.SSLContext) -> None:
    """A client that is not asyncio's, which says nothing of why it hangs up."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as raw:
        context.wrap_socket(raw, server_hostname="127.0.0.1").close()


def serial(writer: asyncio.StreamWriter) -> str:
    return writer.get_extra_info("peercert")["serialNumber"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda one: one.name)
def test_clients_of_this_decade_are_served(stage: Stage, version: ssl.TLSVersion):
    """Over TLS 1.2 and 1.3, also with what comes in one piece with the end of the handshake."""

    async def play() -> None:
        context = trusting(stage.config)
        context.minimum_version = context.maximum_version = version
        async with stage.serving():
            reader, writer = await stage.connect(context)
            assert await echoes(reader, writer)
            assert writer.get_extra_info("ssl_object").version().replace(".", "_") == version.name
            writer.close()

    run(play())
    assert stage.told("handshake failed") == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_older_tls_is_refused(stage: Stage):
    """1.1 and before are broken."""

    async def play() -> None:
        context = trusting(stage.config)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        async with stage.serving():
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await stage.connect(context)
            await eventually(lambda: stage.told("handshake failed"))

    run(play())
    assert stage.told("handshake failed") == ["UNSUPPORTED_PROTOCOL"]


@pytest.mark.parametrize("said", [GET, LOGON, b"\n" * 100], ids=("http", "fix", "noise"))
def test_plain_text_is_refused_and_told(stage: Stage, said: bytes):
    """It gets no answer that it could take for one; the log says why, and nothing of what it said."""

    async def play() -> None:
        async with stage.serving():
            reader, writer = await stage.connect(None)
            writer.write(said)
            assert b"hello" not in await heard(reader)
            await eventually(lambda: stage.told("handshake failed"))

    run(play())
    assert stage.told("handshake failed") == ["expected TLS, got plain text"]
    assert "sesame" not in "".join(stage.kept.lines)


def test_a_client_without_trust_is_told(stage: Stage):
    """It ends the handshake itself; the log tells whose that was."""

    async def play() -> None:
        async with stage.serving():
            with pytest.raises(ssl.SSLCertVerificationError):
                await asyncio.to_thread(connected, stage.port, ssl.create_default_context())
            await eventually(lambda: stage.told("handshake failed"))

    run(play())
    [line] = map(parsed, stage.kept.lines)
    assert line["why"] == "it does not trust this certificate"
    assert line["address"].startswith("127.0.0.1:")


class Eloquent(Echo):
    """It says more than a connection holds, and hears when that is too much."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def connection_made(self, transport: asyncio.Transport) -> None:
        transport.set_write_buffer_limits(high=1 << 16)
        for _ in range(256):
            transport.write(b"x" * (1 << 16))
        self.waiting_bytes = transport.get_write_buffer_size()

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")


def test_what_a_client_does_not_read_is_felt(stage: Stage):
    """As in plain text: the protocol hears of it, how much waits is known, and all of it comes once it is read."""
    served = Eloquent()

    async def play() -> None:
        async with stage.serving(lambda: served):
            reader, _writer = await stage.trusted()
            await eventually(lambda: served.heard == ["pause"])
            assert served.waiting_bytes > 8 << 20
            assert len(await reader.readexactly(16 << 20)) == 16 << 20
            await eventually(lambda: served.heard == ["pause", "resume"])

    run(play())


def test_half_open_handshakes_are_few_and_do_not_stay(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """A flood of them, silent or half-said, keeps nobody out; each ends in time, however many there are."""
    monkeypatch.setattr(tls, "HANDSHAKE_S", 5)
    doors: list[tls.Handshakes] = []

    def handshakes(*arguments: object) -> tls.Handshakes:
        doors.append(tls.Handshakes(*arguments))
        return doors[-1]

    monkeypatch.setattr(listener, "Handshakes", handshakes)

    async def play() -> None:
        async with stage.serving():
            flood = [await stage.connect(None) for _ in range(FLOOD)]
            for _reader, writer in flood[::2]:
                writer.write(b"\x16\x03\x01\x02\x00\x01")
            assert await echoes(*await stage.trusted())
            assert len(doors[0].unfinished) <= HANDSHAKES_MAX
            assert [await heard(reader) for reader, _writer in flood] == [b""] * FLOOD
            assert doors[0].unfinished == {}
            assert await echoes(*await stage.trusted())

    run(play())
    assert stage.told("handshake failed")[0] == f"more than {HANDSHAKES_MAX} handshakes are not done"


def test_who_says_nothing_after_the_handshake_is_still_a_stranger(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """Those who ask for something are served; the doorway of the web cuts off the others."""
    monkeypatch.setattr(strangers, "STRANGER_S", 1.0)

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.scheme} {request.remote}")

    async def play() -> None:
        app = web.Application()
        app.add_routes([web.get("/", hello)])
        runner = web.AppRunner(app)
        await runner.setup()
        door = Doorway(runner.server)
        async with stage.serving(door):
            silent, _writer = await stage.trusted()
            await eventually(lambda: len(door.strangers) == 1)
            async with (
                ClientSession() as session,
                session.get(f"https://127.0.0.1:{stage.port}/", ssl=trusting(stage.config)) as answer,
            ):
                assert await answer.text() == "https 127.0.0.1"
            assert await heard(silent) == b""
            assert door.strangers == {}
            await runner.cleanup()

    run(play())


def test_a_certificate_is_renewed_while_it_is_shown(stage: Stage):
    """New connections see the new one, old ones live on; one that cannot be used is told, and changes nothing."""

    async def shown() -> str:
        _reader, writer = await stage.connect(trusting(stage.config))
        writer.close()
        return serial(writer)

    async def play() -> None:
        async with stage.serving():
            old = await stage.trusted()
            files = certify(stage.config.data_dir)
            await eventually(lambda: "certificate renewed" in stage.kept.events)
            fresh = await shown()
            assert fresh != serial(old[1])
            assert await echoes(*old)
            before = Path(files.private_key).read_bytes()
            Path(files.private_key).write_text("broken")
            await eventually(lambda: stage.told("certificate not renewed: the one of before stays"))
            assert await shown() == fresh
            Path(files.private_key).write_bytes(before)
            await eventually(lambda: stage.kept.events.count("certificate renewed") >= 2)
            assert await shown() == fresh

    run(play())


def test_an_expired_certificate_is_a_warning(stage: Stage):
    """In the log, once, and for operators, until there is a good one; it is shown nevertheless."""

    async def play() -> None:
        async with stage.serving():
            certify(stage.config.data_dir, begins=datetime.now(UTC) - timedelta(days=2))
            await eventually(lambda: stage.listener.warning)
            with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
                await stage.trusted()
            assert stage.listener.warning.startswith("the certificate of web expired at 20")
            certify(stage.config.data_dir)
            await eventually(lambda: not stage.listener.warning)
            assert await echoes(*await stage.trusted())

    run(play())
    assert stage.kept.events.count("certificate expired") == 1
