"""A reader that does not read: it is cut off with a reason, and keeps little in memory until then."""

import asyncio

import pytest
from aiohttp import ClientSession, WSCloseCode, WSMsgType, web

from gateways.web import strangers
from gateways.web.server import UNSENT_BYTES_MAX, _Reader
from gateways.web.strangers import HEAD_BYTES_MAX, STRANGERS_MAX, Doorway


class Stalled:
    """A WebSocket whose other side takes nothing, until `goes_on` is set."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()
        self.sent: list[str] = []
        self.closed: tuple[int, bytes] | None = None

    async def send_frame(self, text: bytes, kind: WSMsgType) -> None:
        assert kind is WSMsgType.TEXT
        await self.goes_on.wait()
        self.sent.append(text.decode())

    async def close(self, *, code: int, message: bytes) -> None:
        self.closed = (code, message)


def test_a_slow_reader_is_cut_off_with_a_reason():
    """What would wait beyond the bound is not kept."""

    async def play() -> tuple[Stalled, _Reader]:
        socket = Stalled()
        reader = _Reader(socket)
        sending = asyncio.create_task(reader.send())
        for _ in range(2 * UNSENT_BYTES_MAX >> 16):
            reader.say(b"x" * (1 << 16))
            await asyncio.sleep(0)
        socket.goes_on.set()
        await asyncio.wait_for(sending, 10)
        return socket, reader

    socket, reader = asyncio.run(play())
    assert socket.closed == (WSCloseCode.TRY_AGAIN_LATER, b"this reader is slow: more than 4 MiB wait for it")
    assert len(reader._unsent) * (1 << 16) <= UNSENT_BYTES_MAX + (1 << 16)


def test_a_reader_that_keeps_up_gets_everything_in_order():
    """However much it is, one message after the other."""

    async def play() -> Stalled:
        socket = Stalled()
        socket.goes_on.set()
        reader = _Reader(socket)
        sending = asyncio.create_task(reader.send())
        for number in range(1000):
            reader.say(b"%d" % number + b"x" * 50_000)
            if number % 50 == 49:
                while len(socket.sent) <= number:
                    await asyncio.sleep(0)
        sending.cancel()
        return socket

    socket = asyncio.run(play())
    assert [text.partition("x")[0] for text in socket.sent] == [str(number) for number in range(1000)]
    assert socket.closed is None


async def serving(doors: list[Doorway]) -> tuple[web.AppRunner, asyncio.Server, int]:
    """A server behind a doorway, which says hello."""

    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.add_routes([web.get("/", hello)])
    runner = web.AppRunner(app)
    await runner.setup()
    assert runner.server is not None
    doors.append(Doorway(runner.server))
    server = await asyncio.get_running_loop().create_server(doors[0], "127.0.0.1", 0)
    return runner, server, server.sockets[0].getsockname()[1]


async def is_cut_off(reader: asyncio.StreamReader) -> bool:
    """Whether nothing comes any more, once that is known."""
    try:
        return await asyncio.wait_for(reader.read(1), 20) == b""
    except ConnectionError:
        return True


def test_strangers_are_few_and_do_not_stay(monkeypatch: pytest.MonkeyPatch):
    """Beyond so many the oldest is cut off; so is who is slow, or says too much; who asks for something is served."""
    monkeypatch.setattr(strangers, "STRANGER_S", 2.0)

    async def play() -> None:
        doors: list[Doorway] = []
        runner, server, port = await serving(doors)
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(STRANGERS_MAX + 50)]
        for _reader, writer in opened:
            writer.write(b"GET / HTTP/1.1\r\nHost: x")
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as answer:
            assert await answer.text() == "hello"
        assert len(doors[0].strangers) <= STRANGERS_MAX
        late, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n")
        await writer.drain()
        writer.write(b"Host: x\r\n\r\n")
        assert (await asyncio.wait_for(late.readline(), 20)).startswith(b"HTTP/1.1 200")
        wordy, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"x" * (HEAD_BYTES_MAX + 1))
        assert await is_cut_off(wordy)
        assert all([await is_cut_off(reader) for reader, _writer in opened])
        assert doors[0].strangers == {}
        server.close()
        await runner.cleanup()

    asyncio.run(play())


def test_served_connections_are_bounded(monkeypatch: pytest.MonkeyPatch):
    """Who has been silent for longest goes for the next; where all stay, one too many is told so."""
    monkeypatch.setattr(strangers, "CONNECTIONS_MAX", 2)

    async def play() -> None:
        doors: list[Doorway] = []
        runner, server, port = await serving(doors)
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]

        async def ask(nth: int) -> bytes:
            reader, writer = opened[nth]
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            await reader.read(64)
            return answer.split()[1]

        assert [await ask(nth) for nth in (0, 1, 0, 2)] == [b"200"] * 4
        assert await is_cut_off(opened[1][0])
        assert await ask(0) == b"200"
        for guest in tuple(doors[0].guests):
            doors[0].stays(guest)
        assert await ask(3) == b"503"
        opened[0][1].close()
        while doors[0].served == 2:
            await asyncio.sleep(0)
        assert await ask(4) == b"200"
        server.close()
        await runner.cleanup()

    asyncio.run(play())
