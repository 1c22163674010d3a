"""Connections that have shown no key: bounded by address, by the kernel, and nobody who is inside notices."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from sequencer import newcomers
from sequencer.newcomers import NEWCOMERS_BURST, NEWCOMERS_PER_S, SHUT_OUT_MAX, SHUT_S, Newcomers
from tests.models.running import until

HONEST, FLOODER = "127.0.0.1", "127.0.0.7"
NOW_S = 1000.0


class Stage:
    """A door that listens, whoever is inside, and a clock."""

    def __init__(self) -> None:
        self.door = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port = self.door.getsockname()[1]
        self.now_s = NOW_S
        self.newcomers = Newcomers(self.port, lambda: self.now_s)
        self.newcomers.listening(self.door.fileno())
        self.told: list[str] = []

    def come(self, address: str, timeout_s: float = 5.0) -> tuple[socket.socket, socket.socket]:
        """Both ends of a new connection. Raises TimeoutError where packets are dropped."""
        outside = socket.create_connection(("127.0.0.1", self.port), timeout_s, (address, 0))
        inside, _address = self.door.accept()
        self.told.append(self.newcomers.came(inside.fileno()))
        return outside, inside

    def flood(self, address: str) -> None:
        """One more than may come."""
        for _ in range(int(NEWCOMERS_BURST) + 1):
            for end in self.come(address):
                end.close()

    def is_open(self, address: str) -> bool:
        """Whether somebody new comes in from there."""
        with contextlib.suppress(TimeoutError):
            for end in self.come(address, 0.2):
                end.close()
            return True
        return False


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.newcomers.close()
    made.door.close()


def test_a_flood_shuts_out_its_address_alone_and_for_a_moment(stage: Stage):
    """Others come in; who is inside is heard; and later that address is let in again, with a few."""
    outside, inside = stage.come(FLOODER)
    stage.newcomers.admitted(FLOODER)
    stage.flood(FLOODER)

    assert stage.told == [""] * (len(stage.told) - 1) + [FLOODER]
    assert (stage.newcomers.is_shut, stage.is_open(FLOODER), stage.is_open(HONEST)) == (True, False, True)
    outside.sendall(b"still here")
    assert inside.recv(64) == b"still here"

    stage.now_s += SHUT_S
    stage.newcomers.look()
    assert (stage.newcomers.is_shut, stage.is_open(FLOODER)) == (False, True)
    stage.told.clear()
    for _ in range(int(NEWCOMERS_PER_S * SHUT_S)):
        stage.come(FLOODER)
    assert stage.told[-1] == FLOODER
    assert stage.newcomers.is_shut


def test_who_shows_a_key_takes_no_room(stage: Stage):
    """Any number of those who are let in come in, one after the other."""
    for _ in range(3):
        stage.newcomers.admitted(HONEST)  # of nobody that came: it makes no room either
    for _ in range(2 * int(NEWCOMERS_BURST)):
        for end in stage.come(HONEST):
            end.close()
        stage.newcomers.admitted(HONEST)

    assert set(stage.told) == {""}


def test_of_very_many_addresses_nobody_new_comes_in(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """Until it is over."""
    monkeypatch.setattr(newcomers, "NEWCOMERS_BURST", 0.0)
    for last in range(SHUT_OUT_MAX + 1):
        stage.come(f"127.0.1.{last + 1}")

    assert not stage.is_open(HONEST)
    stage.now_s += SHUT_S
    stage.newcomers.look()
    monkeypatch.undo()
    assert stage.is_open(HONEST)


def test_a_door_that_was_closed_is_let_go(stage: Stage):
    """Its descriptor may be another's by now: nothing is held, and nothing is done to that."""
    stage.newcomers.close()
    with socket.create_server(("127.0.0.1", 0)) as other:
        stage.newcomers.listening(other.fileno())
        stage.flood(FLOODER)

    assert set(stage.told) == {""}
    until(lambda: stage.is_open(FLOODER), "it comes in")
