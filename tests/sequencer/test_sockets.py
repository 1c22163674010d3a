"""Doors on tcp, over real sockets: who may not come in is not heard, and who may is not taken for another."""

import os
import re
import socket as plain
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from sequencer import doorman, gate, newcomers
from sequencer.client import Subscriber
from sequencer.config import Source
from sequencer.doorman import Doorman, Refusal
from sequencer.envelope import Entry, Heartbeat
from sequencer.errors import ConfigError, IslandError
from sequencer.gate import Gate
from sequencer.key_watch import KeyWatch
from sequencer.keyring import read_pair, secret_path
from sequencer.keys import Door
from sequencer.limits import BURST_REQUESTS_MIN, PATIENCE_S, Limits
from sequencer.logs import NoLog
from sequencer.protocol import ENCODER, HEARTBEATS_OF, STORE_QUESTIONS, Fetched
from sequencer.publisher import Publisher
from sequencer.sockets import Context, bind, connect, set_heartbeats, tune
from tests.models.entries import CLUSTER, chain
from tests.models.house import House, attempt, drained, heard, listen
from tests.models.running import until
from tests.models.still import Still


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.close()


# --- who is let in ----------------------------------------------------------------------------


def without_a_key(house: House, socket: "zmq.Socket[bytes]") -> None:
    """NULL: as every socket is."""


def with_a_password(house: House, socket: "zmq.Socket[bytes]") -> None:
    socket.setsockopt(zmq.PLAIN_USERNAME, b"admin")
    socket.setsockopt(zmq.PLAIN_PASSWORD, b"admin")


def with_key(public: bytes, secret: bytes, server: bytes) -> Callable[[House, "zmq.Socket[bytes]"], None]:
    def dress(_house: House, socket: "zmq.Socket[bytes]") -> None:
        socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
        socket.setsockopt(zmq.CURVE_SERVERKEY, server)

    return dress


def with_an_unknown_key(house: House, socket: "zmq.Socket[bytes]") -> None:
    with_key(*zmq.curve_keypair(), house.server.keyring.public)(house, socket)


def with_the_key_of(name: str) -> Callable[[House, "zmq.Socket[bytes]"], None]:
    def dress(house: House, socket: "zmq.Socket[bytes]") -> None:
        with_key(*read_pair(secret_path(house.secrets, name)), house.server.keyring.public)(house, socket)

    return dress


def for_another_server(house: House, socket: "zmq.Socket[bytes]") -> None:
    with_key(*read_pair(secret_path(house.secrets, "audit")), zmq.curve_keypair()[0])(house, socket)


STRANGERS: dict[str, tuple[Callable[[House, "zmq.Socket[bytes]"], None], str, str]] = {
    "no key": (without_a_key, "handshake", ""),
    "a password": (with_a_password, "handshake", ""),
    "an unknown key": (with_an_unknown_key, "not in the list, or was revoked", r".{40}"),
    "a revoked key": (with_the_key_of("gone"), "not in the list, or was revoked", "gone"),
    "a key of another role": (with_the_key_of("ann"), "a key of a client does not enter here", "ann"),
    "another server's key": (for_another_server, "handshake", ""),
}
"""Who -> how he dresses, why he is refused, whose key is told."""


@pytest.mark.parametrize("who", STRANGERS)
def test_a_stranger_is_not_heard_and_told(who: str, house: House):
    """The first that the door hears is the one with a right to it; the refusal names door, reason, and key."""
    dress, why, key = STRANGERS[who]
    endpoint, _socket, gate = house.door(Door.INGRESS)
    house.revoke("gone")
    raw: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        stranger = raw.socket(zmq.DEALER)
        dress(house, stranger)
        stranger.connect(endpoint)
        stranger.send(b"let me in")
        until(house.refusals, "the refusal")
        house.speak("audit", endpoint, b"hello")

        assert heard(gate) == ("audit", b"hello")
        assert {refusal.door for refusal in house.refusals()} == {Door.INGRESS}
        assert any(why in one.why and re.fullmatch(key, one.key) for one in house.refusals())
    finally:
        raw.destroy(linger=0)


@pytest.mark.parametrize("garbage", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" + bytes(8) + b"\x7f\x03", b"\xff" * 64])
def test_garbage_and_half_a_greeting_are_no_handshake(garbage: bytes, house: House):
    """Who hangs up within it, or speaks something else, is as good as nobody."""
    endpoint, _socket, gate = house.door(Door.INGRESS)
    with plain.create_connection(("127.0.0.1", int(endpoint.rpartition(":")[2]))) as stranger:
        stranger.sendall(garbage)
    house.speak("audit", endpoint, b"hello")

    assert heard(gate) == ("audit", b"hello")
    assert not [one for one in house.refusals() if one.key]


def test_without_keys_nothing_is_on_tcp(house: House):
    """A context that has none neither connects nor listens there: the caller is told what is missing."""
    endpoint = house.endpoint()
    for made in (Context(), zmq.Context()):
        with pytest.raises(ConfigError, match="needs keys"):
            connect(made.socket(zmq.DEALER), endpoint)
        with pytest.raises(ConfigError, match="needs keys"):
            bind(made.socket(zmq.ROUTER), endpoint, "key", Door.INGRESS)
        made.destroy(linger=0)


ENDS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_DISCONNECTED


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_doorman_who_died_lets_nobody_in(house: House, monkeypatch: pytest.MonkeyPatch):
    """Whoever has a right to come in is refused as well, and the process is told to end, and can."""
    endpoint, _socket, gate = house.door(Door.INGRESS)
    watch = KeyWatch(house.server, NoLog())
    monkeypatch.setattr(Doorman, "_judge", None)
    first = house.speak("audit", endpoint, b"one")
    until(lambda: not house.server.doorman.is_alive, "the doorman dies")
    monkeypatch.undo()
    second = tune(house.holding("audit").socket(zmq.DEALER))
    second.setsockopt(zmq.HANDSHAKE_IVL, 1000)
    monitor = second.get_monitor_socket(ENDS)
    connect(second, endpoint)
    second.send(b"two")
    event = recv_monitor_message(monitor)["event"]

    assert event != zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert attempt(gate.receive) is None
    with pytest.raises(IslandError, match="nobody can come in"):
        until(watch.look, "a look")
    first.close(linger=0)


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:1", "tipc://{1,2,3}", "ipc://@venue"])
def test_where_others_come_keys_are_needed(endpoint: str):
    """Hosts of a cluster, and users of this one: a transport without files has nobody's rights."""
    made = Context()
    with pytest.raises(ConfigError, match="needs keys"):
        bind(made.socket(zmq.ROUTER), endpoint, "key", Door.INGRESS)
    made.destroy(linger=0)


def test_an_ipc_socket_is_its_users_alone(tmp_path: Path):
    """Whatever the umask and the directory say: who comes there may do everything."""
    made, before = Context(), os.umask(0)
    try:
        bind(made.socket(zmq.ROUTER), f"ipc://{tmp_path}/door", "key", Door.INGRESS)
        assert os.umask(0) == 0
        assert stat.S_IMODE((tmp_path / "door").stat().st_mode) & 0o077 == 0
    finally:
        os.umask(before)
        made.destroy(linger=0)


# --- whose a message is -----------------------------------------------------------------------


def test_what_a_revoked_key_says_on_an_open_connection_is_dropped(house: House):
    """At once, and told; who was not revoked goes on."""
    endpoint, _socket, gate = house.door(Door.INGRESS)
    gone, audit = house.speak("gone", endpoint, b"1"), house.speak("audit", endpoint, b"2")
    assert {heard(gate), heard(gate)} == {("gone", b"1"), ("audit", b"2")}
    house.revoke("gone")
    gone.send(b"3")
    assert heard(gate) == ("", b"3")
    audit.send(b"4")

    assert heard(gate) == ("audit", b"4")
    assert [(one.key, one.door) for one in house.refusals()] == [("gone", Door.INGRESS)]


def test_a_key_that_is_for_less_now_counts_as_such_on_an_open_connection(house: House):
    """Its role in the list decides with each message, and not only at the handshake."""
    endpoint, _socket, gate = house.door(Door.INGRESS)
    audit = house.speak("audit", endpoint, b"1")
    assert heard(gate) == ("audit", b"1")
    public = house.server.keyring.keys.named("audit").public
    house.list.write_text(re.sub(r'(name = "audit"\nrole = )"reader"', r'\1"client"', house.list.read_text()))
    assert house.server.changed() == {public}
    audit.send(b"2")

    assert heard(gate) == ("", b"2")


def test_a_routing_identity_is_its_owners_as_long_as_he_is_there(house: House):
    """Who takes it as well is not heard, and gets none of the answers."""
    endpoint, socket, gate = house.door(Door.INGRESS)
    owner = house.speak("audit", endpoint, b"mine", b"x/1")
    assert heard(gate) == ("audit", b"mine")
    thief = house.speak("gone", endpoint, b"stolen", b"x/1")
    honest = house.speak("gone", endpoint, b"honest")
    assert heard(gate) == ("gone", b"honest")
    socket.send_multipart([b"x/1", b"answer"])

    assert until(lambda: attempt(lambda: owner.recv(zmq.NOBLOCK)), "the answer") == b"answer"
    socket.send_multipart([b"x/1", b"another"])
    assert until(lambda: attempt(lambda: owner.recv(zmq.NOBLOCK)), "the other answer") == b"another"
    assert attempt(lambda: thief.recv(zmq.NOBLOCK)) is None
    honest.close(linger=0)


# --- the streams ------------------------------------------------------------------------------


class Node:
    """A publisher, and a replayer of what it has published, in one loop."""

    def __init__(self, house: House) -> None:
        self.source = Source("node-1", house.endpoint(), house.endpoint())
        self._router = tune(house.server.socket(zmq.ROUTER))
        self._gate = bind(self._router, self.source.replayer, "key", Door.REPLAYER)
        self.publisher = Publisher(
            self.source.publisher, "node-1", heartbeat_ms=10, context=house.server, key="nodes.node-1.publisher"
        )
        self.published: list[Entry] = []
        self._to_come = iter(chain([b"%d" % number for number in range(1000)]))
        self._now_ms = 0

    def turn(self) -> None:
        """Publish one more, beat, and answer."""
        self.published.append(next(self._to_come))
        self.publisher.publish(self.published[-1])
        self._now_ms += 10
        self.publisher.beat(self._now_ms, (1, True), self._beat)
        while asked := attempt(self._gate.receive):
            identity, question = asked[1]
            first = STORE_QUESTIONS.decode(question).first_index
            entries = b"".join(entry.data for entry in self.published[first - 1 :])
            self._router.send_multipart([identity, ENCODER.encode(Fetched(first, len(self.published))), entries])

    def _beat(self) -> Heartbeat:
        last = self.published[-1]
        return Heartbeat(CLUSTER, 1, last.index, last.next_sequence, 0, stale=False, leads=True)


def test_a_revoked_reader_hears_no_more_and_an_honest_one_misses_nothing(house: House):
    """All connect anew; the gap that this makes is filled from the replayer."""
    node = Node(house)
    honest = Subscriber([node.source], context=house.holding("audit"))
    gone = listen(house.holding("gone"), node.source.publisher)
    seen: list[Entry] = []

    def turn() -> None:
        node.turn()
        seen.extend(honest.wait(10))

    until(lambda: (turn(), seen and drained(gone))[1], "both hear")
    house.revoke("gone")
    node.publisher.renew()
    drained(gone)
    until(lambda: (turn(), [one for one in house.refusals() if one.key == "gone"])[1], "he is not let in again")
    renewed = len(seen)
    until(lambda: (turn(), len(seen) > renewed + 10)[1], "the other goes on")

    assert drained(gone) == 0
    assert [entry.data for entry in seen] == [entry.data for entry in node.published[: len(seen)]]


def test_a_publisher_renews_itself_as_often_as_keys_are_revoked(house: House):
    """Each time it listens again at the same place, and nothing of the sockets before is left."""
    node = Node(house)
    for _ in range(100):
        node.publisher.renew()
        until(lambda: (node.turn(), node.publisher.is_listening)[1], "it listens again")

    until(lambda: house.server.doorman.watched == 2, "the doorman forgets the sockets that are gone")


# --- limits -------------------------------------------------------------------------------------


@pytest.fixture
def rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gates' clock stands still: nothing is let through for slowness."""
    monkeypatch.setattr(gate, "time", Still.ahead())


def all_heard(gate: Gate, count: int) -> list[bytes]:
    """What is heard of so many messages that come."""
    taken = [until(lambda: attempt(gate.receive), "a message") for _ in range(count)]
    return [frames[-1] for key, frames in taken if key is not None]


@pytest.mark.usefixtures("rest")
def test_what_is_over_a_limit_is_not_heard_and_both_sides_are_told(house: House):
    """A burst is; of the rest its holder hears why, and so does the log. Who has another key is heard meanwhile."""
    endpoint, _socket, gate = house.door(Door.FEED)
    house.limit("ann", Limits(requests_per_s=1))
    burst = int(BURST_REQUESTS_MIN)
    fast = house.speak("ann", endpoint, b"0")
    for number in range(1, burst + 5):
        fast.send(b"%d" % number)
    taken = all_heard(gate, burst + 5)
    house.speak("bob", endpoint, b"hello")

    assert taken == [b"%d" % number for number in range(burst)]
    assert fast.recv() == b"over its rate: 1 requests/s"
    assert heard(gate) == ("bob", b"hello")
    assert {(one.key, one.door, one.why) for one in house.refusals()} == {
        ("ann", Door.FEED, "over its rate: 1 requests/s")
    }


def test_limits_that_change_count_for_the_next_message(house: House):
    """A key that may ask for more is heard again at once, on the same connection."""
    endpoint, _socket, gate = house.door(Door.FEED)
    house.limit("ann", Limits(message_bytes=2))
    ann = house.speak("ann", endpoint, b"long")
    assert all_heard(gate, 1) == []
    house.limit("ann", Limits(message_bytes=4))
    ann.send(b"long")

    assert heard(gate) == ("ann", b"long")


@pytest.mark.usefixtures("rest")
def test_who_goes_on_is_hung_up_on_and_not_let_in_for_a_while(house: House):
    """His connection ends, the next is refused for the time being; another's goes on."""
    endpoint, _socket, gate = house.door(Door.FEED)
    house.limit("ann", Limits(requests_per_s=1))
    bob = house.speak("bob", endpoint, b"first")
    assert heard(gate) == ("bob", b"first")
    ann = tune(house.holding("ann").socket(zmq.DEALER))
    monitor = ann.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    connect(ann, endpoint)
    count = int(BURST_REQUESTS_MIN * (1 + PATIENCE_S))
    for _ in range(count):
        ann.send(b"x")
    assert len(all_heard(gate, count)) == BURST_REQUESTS_MIN
    event = recv_monitor_message(monitor)["event"]
    until(lambda: [one for one in house.refusals() if one.why == "it was cut off for a flood"], "he is not let in")
    bob.send(b"second")

    assert event == zmq.EVENT_DISCONNECTED
    assert heard(gate) == ("bob", b"second")


def test_a_key_that_shakes_hands_without_end_has_to_wait(house: House, monkeypatch: pytest.MonkeyPatch):
    """So many connections at once; the next one is put off, and another's is not."""
    monkeypatch.setattr(doorman, "HANDSHAKES_PER_S", 0.001)
    monkeypatch.setattr(doorman, "HANDSHAKES_BURST", 2.0)
    endpoint, _socket, gate = house.door(Door.FEED)
    held = [house.speak("ann", endpoint, b"hello") for _ in range(3)]
    until(lambda: _put_off(house), "one that is put off")
    house.speak("bob", endpoint, b"hello")

    assert sorted(heard(gate)[0] for _ in held) == ["ann", "ann", "bob"]
    assert {one.key for one in _put_off(house)} == {"ann"}


def test_strangers_without_end_keep_nobody_out(house: House, monkeypatch: pytest.MonkeyPatch):
    """Who is inside is heard, and who comes from elsewhere gets in; of the flood the log has a line."""
    monkeypatch.setattr(newcomers, "NEWCOMERS_BURST", 3.0)
    monkeypatch.setattr(newcomers, "SHUT_S", PATIENCE_S)
    endpoint, _socket, gate = house.door(Door.FEED)
    ann = house.speak("ann", endpoint, b"hello")
    assert heard(gate) == ("ann", b"hello")
    place, strangers = ("127.0.0.1", int(endpoint.rpartition(":")[2])), ("127.0.0.7", 0)
    flood = [plain.create_connection(place, PATIENCE_S, strangers) for _ in range(4)]
    until(lambda: [one for one in house.refusals() if one.address == "127.0.0.7"], "they are told")
    for one in flood:
        one.close()
    ann.send(b"still here")
    assert heard(gate) == ("ann", b"still here")
    house.speak("bob", endpoint, b"hello")

    assert heard(gate) == ("bob", b"hello")


def _put_off(house: House) -> list[Refusal]:
    return [one for one in house.refusals() if "handshakes" in one.why]


READS = (zmq.ROUTER, zmq.PULL, zmq.SUB)
"""The ends at which data waits to be read, perhaps for long."""


BEAT = Heartbeat(CLUSTER, 1, 1, 1, 0, stale=False, leads=True)


def test_who_subscribes_without_end_is_cut_off_from_a_stream(house: House):
    """Each subscription costs the publisher time and memory: the others go on to hear it, and the key is kept out."""
    endpoint = house.endpoint()
    stream = Publisher(endpoint, "node-1", heartbeat_ms=1, context=house.server, key="key")
    honest, flood = listen(house.holding("gone"), endpoint), tune(house.holding("audit").socket(zmq.XSUB))
    connect(flood, endpoint)
    now_ms = 0

    def flooded() -> bool:
        nonlocal now_ms
        now_ms += 1
        stream.beat(now_ms, (1, True), lambda: BEAT)
        for _ in range(200):
            attempt(lambda: flood.send(b"\1" + os.urandom(500), zmq.NOBLOCK))
        return any(one.key == "audit" and one.why.endswith("for a flood") for one in house.refusals())

    until(flooded, "the flooder is cut off, and not let in again")
    drained(honest)
    stream.beat(now_ms + 1, (1, True), lambda: BEAT)

    assert until(lambda: attempt(honest.recv_multipart), "a heartbeat")[0] == HEARTBEATS_OF + b"node-1"
    assert {one.key for one in house.refusals() if one.why.endswith("for a flood")} == {"audit"}
    flood.close(linger=0)
    stream.close()


@pytest.mark.parametrize("kind", [zmq.ROUTER, zmq.PULL, zmq.SUB, zmq.DEALER, zmq.PUSH, zmq.PUB, zmq.XPUB])
def test_one_end_of_a_connection_pings_and_not_the_one_that_reads(kind: int):
    """A ping that is due while its peer has hung up, and what it sent is not read yet, would abort the process."""
    with zmq.Context() as made, tune(made.socket(kind)) as socket:
        set_heartbeats(socket, "tcp://elsewhere:1")
        assert bool(socket.getsockopt(zmq.HEARTBEAT_IVL)) == (kind not in READS)
        set_heartbeats(socket, "ipc://here")
        assert not socket.getsockopt(zmq.HEARTBEAT_IVL)
