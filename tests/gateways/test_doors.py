"""The gateways' doors on tcp: who logs on, who is logged on, and who hears, is who his key says."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from engines import messages as m
from gateways.marketdata.gateway import MarketDataGateway
from gateways.order.client import OrderConnection
from gateways.order.gateway import OrderGateway
from gateways.order.protocol import ENCODER, FROM_GATEWAY, LoggedOff, LoggedOn, Logon
from sequencer.envelope import Batch, Entry
from sequencer.errors import UnreachableError
from sequencer.keyring import revoke
from sequencer.logs import Log
from tests.models.house import House, attempt, drained, listen
from tests.models.island import Island
from tests.models.logfmt import Kept
from tests.models.running import until


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


ORDER = m.NewOrder(1, 1, 1, "a", m.Side.BUY, 100, 1)


class Told(Kept):
    """The lines of a log."""

    def refused(self, *words: str) -> bool:
        """Whether a refusal with these words was told."""
        return any("event=refused" in line and all(word in line for word in words) for line in self.lines)


class Tape:
    """A log in memory, as a gateway reads it and submits to it."""

    pending = False
    is_open = True

    def __init__(self, island: Island) -> None:
        self._island, self._read = island, 0

    @property
    def caught_up(self) -> bool:
        return self._read == len(self._island.log)

    def sockets(self) -> list[zmq.Socket[bytes]]:
        return []

    def receive(self) -> list[Entry]:
        entries = self._island.log[self._read :]
        self._read += len(entries)
        return entries

    def submit(self, channel: int, payload: bytes, count: int) -> int:
        return len(self._island.submit("gateway.test", payload, count))

    def flush(self) -> None: ...

    def observe(self, batch: Batch) -> bool:
        return False


class Gateway:
    """An order gateway on tcp over a log in memory, in one loop with its clients."""

    def __init__(self, house: House) -> None:
        self.house, self.island, self.told = house, Island(), Told()
        self.endpoint = house.endpoint()
        self.gateway = OrderGateway(
            self.endpoint,
            Tape(self.island),
            Tape(self.island),
            lambda _index: pytest.fail("nobody asks for old entries"),
            context=house.server,
            log=Log("order-1", "info", self.told),
        )
        self.session = self.gateway.session

    def say(self, name: str, message: Any, identity: bytes) -> "zmq.Socket[bytes]":
        return self.house.speak(name, self.endpoint, ENCODER.encode([message]), identity)

    def hear(self, socket: "zmq.Socket[bytes]", kind: type) -> Any:
        """Turn until this comes."""

        def heard() -> Any:
            self.gateway.turn()
            frame = attempt(lambda: socket.recv(zmq.NOBLOCK)) or b"\x90"
            return next((one for one in FROM_GATEWAY.decode(frame) if isinstance(one, kind)), None)

        return until(heard, kind.__name__)

    def log_on(self, name: str, identity: bytes, client: str = "") -> "zmq.Socket[bytes]":
        socket = self.say(name, Logon(client or name), identity)
        self.hear(socket, LoggedOn)
        return socket

    def turn_until(self, condition: Callable[[], Any], what: str) -> None:
        until(lambda: (self.gateway.turn(), condition())[1], what)


@pytest.fixture
def trading(house: House) -> Iterator[Gateway]:
    made = Gateway(house)
    yield made
    made.gateway.close()


def test_a_client_trades_as_himself_alone(trading: Gateway):
    """Another client's name is refused with a reason, and told."""
    stranger = trading.say("bob", Logon("ann"), b"b")

    assert "your key is not for ann" in trading.hear(stranger, LoggedOff).text
    trading.turn_until(lambda: trading.told.refused("door=access", "it logs on as ann", "key=bob"), "a refusal")


def test_a_client_who_is_not_let_in_is_told_so(trading: Gateway):
    """At once, and which file his key is in: not as if nobody were there."""
    trading.gateway.turn()
    with (
        OrderConnection(trading.endpoint, context=trading.house.holding("audit")) as connection,
        pytest.raises(UnreachableError, match=r"audit\.key is not let in by the order gateway"),
    ):
        connection.log_on(["ann"])


def test_who_takes_the_connection_of_a_client_is_not_that_client(trading: Gateway):
    """A routing identity is free once its owner has gone; whoever has it then has to log on himself."""
    trading.log_on("ann", b"x").close(linger=0)
    trading.log_on("bob", b"y").close(linger=0)  # behind this, the gateway's sockets know that the first is gone
    thief = trading.say("bob", ORDER, b"x")
    trading.turn_until(lambda: trading.told.refused("the connection of ann", "key=bob"), "a refusal")

    assert not trading.session.knows(b"x")
    assert not [b for entry in trading.island.log for b in entry.batches() if ORDER in m.decode(b.channel, b.payload)]
    thief.send(ENCODER.encode([Logon("bob")]))
    assert trading.hear(thief, LoggedOn).client == "bob"


def test_a_revoked_client_is_logged_off_though_he_is_silent(trading: Gateway, monkeypatch: pytest.MonkeyPatch):
    """Also when many came and went before him."""
    monkeypatch.setattr("gateways.order.gateway.WAKE_FRAMES", 1)
    for identity in (b"1", b"2"):
        trading.log_on("ann", identity)
        trading.session.lost(identity)
    trading.log_on("bob", b"3")
    revoke(trading.house.list, "bob")

    trading.turn_until(lambda: not trading.session.knows(b"3"), "he is logged off")


def test_a_revoked_client_hears_no_market_data(house: House):
    """The others hear on; they connect anew by themselves."""
    island = Island()
    island.sequence([m.SetInstrument(1, 1, "BTC-USD", "USD", 1, 2, 1, 3)])
    told = Told()
    log = Log("marketdata-1", "info", told)
    requests, updates = house.endpoint(), house.endpoint()
    gateway = MarketDataGateway(requests, updates, Tape(island), context=house.server, log=log)
    ann, bob = listen(house.holding("ann"), updates), listen(house.holding("bob"), updates)
    numbers = itertools.count()

    def turn() -> None:
        island.sequence([msgspec.structs.replace(ORDER, client_order_id=str(next(numbers)))])
        gateway.turn()

    until(lambda: (turn(), drained(bob))[1], "he hears")
    until(lambda: (turn(), drained(ann))[1], "she hears")
    revoke(house.list, "bob")
    until(lambda: (turn(), told.refused("feed", "key=bob"))[1], "he is not let in again")
    drained(bob)
    drained(ann)

    until(lambda: (turn(), drained(ann))[1], "she hears on")
    assert drained(bob) == 0
    gateway.close()
