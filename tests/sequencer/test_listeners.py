"""Connections on which too much is said are cut, and no others, over real sockets of the loopback interface."""

import os
import socket
from collections.abc import Iterator

import pytest

from sequencer.listeners import ALLOWANCE_BYTES, RATE_BYTES, Listeners
from tests.models.running import until


class Door:
    """It listens, reads what comes, and has a clock of its own."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.now_s = 100.0
        self.listeners = Listeners(self.port, lambda: self.now_s)
        self.sockets = [self._listener]

    def connection(self, public: str = "") -> tuple[socket.socket, socket.socket]:
        """One that has come in: the end of who called, and ours."""
        caller = socket.create_connection(("127.0.0.1", self.port))
        ours, _address = self._listener.accept()
        self.sockets += [caller, ours]
        self.listeners.accepted(ours.fileno())
        if public:
            self.listeners.admitted("127.0.0.1", public)
        return caller, ours

    def say(self, connection: tuple[socket.socket, socket.socket], size: int) -> None:
        """All of it has come."""
        caller, ours = connection
        while size:
            size -= caller.send(bytes(min(size, 1 << 14)))
            ours.recv(1 << 20)
        ours.setblocking(False)


@pytest.fixture
def door() -> Iterator[Door]:
    made = Door()
    yield made
    made.listeners.close()
    for each in made.sockets:
        each.close()


def is_open(connection: tuple[socket.socket, socket.socket]) -> bool:
    caller, _ours = connection
    caller.setblocking(False)
    try:
        return caller.recv(1) != b""
    except BlockingIOError:
        return True


def test_who_says_too_much_is_cut_and_nobody_else(door: Door):
    """It is told once, with the key that came from there in its turn."""
    quiet, loud = door.connection("ann"), door.connection("bob")
    door.say(quiet, ALLOWANCE_BYTES)
    door.say(loud, ALLOWANCE_BYTES + 1)

    cut = list(door.listeners.look())

    assert [one.keys for one in cut] == [{"bob"}]
    assert cut[0].address == f"127.0.0.1:{loud[0].getsockname()[1]}"
    assert is_open(quiet)
    until(lambda: not is_open(loud), "it is shut down")
    assert list(door.listeners.look()) == []


def test_who_stays_long_may_say_more(door: Door):
    """Heartbeats go on for ever."""
    line = door.connection()
    for _ in range(5):
        door.now_s += 20
        door.say(line, 20 * RATE_BYTES)
        assert list(door.listeners.look()) == []
    door.say(line, ALLOWANCE_BYTES + 1)
    assert len(list(door.listeners.look())) == 1


def test_who_fails_to_come_in_takes_no_name(door: Door):
    """A connection without a key before it does not get the key of the next one."""
    stranger = door.connection()
    door.listeners.closed(stranger[1].fileno())
    line = door.connection("ann")
    door.say(line, ALLOWANCE_BYTES + 1)
    assert [one.keys for one in door.listeners.look()] == [{"ann"}]


def test_of_several_that_come_at_once_each_may_be_any(door: Door):
    """Nobody is blamed for another; who comes alone is known."""
    first, _second, stranger = door.connection(), door.connection(), door.connection()
    for key in ("ann", "bob"):
        door.listeners.admitted("127.0.0.1", key)
    door.listeners.closed(stranger[1].fileno())
    later = door.connection("kim")
    for line in (first, later):
        door.say(line, ALLOWANCE_BYTES + 1)
    assert [one.keys for one in door.listeners.look()] == [{"ann", "bob"}, {"kim"}]


def test_another_file_is_not_taken_for_the_connection(door: Door):
    """What libzmq's descriptor was may have become anything else before it is looked at."""
    elsewhere = socket.create_server(("127.0.0.1", 0))
    caller = socket.create_connection(elsewhere.getsockname())
    pipe = os.pipe()
    try:
        for fd in (caller.fileno(), *pipe, elsewhere.fileno(), 1_000_000):
            door.listeners.accepted(fd)
        assert len(door.listeners) == 0
    finally:
        for fd in pipe:
            os.close(fd)
        caller.close()
        elsewhere.close()


def test_a_connection_ends_for_its_peer_once_libzmq_has_closed_it(door: Door):
    """Ours does not keep it open."""
    line = door.connection()
    line[1].close()
    assert is_open(line), "held by the listeners"
    door.listeners.close()
    until(lambda: not is_open(line), "it has ended")
