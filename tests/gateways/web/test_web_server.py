"""A reader that does not read: it is cut off with a reason, and keeps little in memory until then."""

import asyncio

from aiohttp import WSCloseCode

from gateways.web.server import UNSENT_BYTES_MAX, _Reader


class Stalled:
    """A WebSocket whose other side takes nothing, until `goes_on` is set."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()
        self.sent: list[str] = []
        self.closed: tuple[int, bytes] | None = None

    async def send_str(self, text: str) -> None:
        await self.goes_on.wait()
        self.sent.append(text)

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
