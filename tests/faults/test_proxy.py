"""The proxy that hurts links: each mode does what it says, and one way only."""

import socket
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Links, Mode
from tests.models.running import until

PATIENCE_S = 5.0


@pytest.fixture
def links() -> Iterator[Links]:
    with Links(seed=1) as made:
        yield made


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(PATIENCE_S)
        yield made


def dial(endpoint: str) -> socket.socket:
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return socket.create_connection((host, int(port)), PATIENCE_S)


def joined(links: Links, server: socket.socket, way: tuple[str, str] = ("a", "b")) -> tuple[socket.socket, ...]:
    """Both ends of a connection through a new link."""
    near = dial(links.add(*way, f"tcp://127.0.0.1:{server.getsockname()[1]}"))
    far, _address = server.accept()
    far.settimeout(PATIENCE_S)
    return near, far


def is_reset(near: socket.socket) -> bool:
    try:
        return near.recv(1) == b""
    except ConnectionResetError:
        return True


def is_refused(endpoint: str) -> bool:
    try:
        return is_reset(dial(endpoint))
    except ConnectionResetError:
        return True


def test_a_link_passes_what_it_is_given(links: Links, server: socket.socket):
    """Both directions of a connection, in order, more than any buffer holds."""
    near, far = joined(links, server)
    data = bytes(range(256)) * 40_000
    sent = 0
    near.setblocking(False)
    received = b""
    while len(received) < len(data):
        try:
            sent += near.send(data[sent : sent + 100_000]) if sent < len(data) else 0
        except BlockingIOError:
            pass
        received += far.recv(1 << 20)
    far.sendall(b"back")
    near.settimeout(PATIENCE_S)

    assert (received, near.recv(4)) == (data, b"back")


def test_a_cut_link_resets_what_is_open_and_what_comes(links: Links, server: socket.socket):
    """And passes again when it is healed."""
    near, _far = joined(links, server)
    endpoint = "tcp://{}:{}".format(*near.getpeername())
    links.turn(Mode.CUT, ("a", "b"))
    resets = is_reset(near), is_refused(endpoint)
    links.heal()
    again = dial(endpoint)
    far, _address = server.accept()
    again.sendall(b"x")

    assert (resets, far.recv(1)) == ((True, True), b"x")


def test_a_held_link_delivers_late_and_everything(links: Links, server: socket.socket):
    """Nothing arrives while it holds; all that was sent arrives when it passes."""
    near, far = joined(links, server)
    links.turn(Mode.HOLD, ("a", "b"))
    near.sendall(b"late")
    far.settimeout(0.2)
    with pytest.raises(TimeoutError):
        far.recv(1)
    far.settimeout(PATIENCE_S)
    links.heal()

    assert far.recv(4) == b"late"


def test_a_swallowing_link_takes_everything_and_ends_with_a_reset(links: Links, server: socket.socket):
    """A connection that lost bytes never passes again."""
    near, _far = joined(links, server)
    endpoint = "tcp://{}:{}".format(*near.getpeername())
    links.turn(Mode.SWALLOW, ("a", "b"))
    swallowed = dial(endpoint)
    swallowed.sendall(b"gone")
    until(lambda: links.under_way, "it is taken", PATIENCE_S)
    links.heal()

    assert (is_reset(near), is_reset(swallowed)) == (True, True)


def test_a_fault_hurts_one_way(links: Links, server: socket.socket):
    """From a to b is cut; from b to a is as it was."""
    there, _ = joined(links, server)
    back, far_back = joined(links, server, ("b", "a"))
    links.turn(Mode.CUT, ("a", "b"))
    back.sendall(b"x")

    assert (is_reset(there), far_back.recv(1)) == (True, b"x")


def test_parting_a_side_hurts_what_crosses_and_nothing_else(links: Links, server: socket.socket):
    """Links within a side go on."""
    across, _ = joined(links, server, ("a", "c"))
    within, far_within = joined(links, server, ("a", "b"))
    links.part(Mode.CUT, {"a", "b"})
    within.sendall(b"x")

    assert (is_reset(across), far_within.recv(1)) == (True, b"x")


def test_a_slow_link_keeps_the_order(links: Links, server: socket.socket):
    """Whatever each chunk's delay is."""
    near, far = joined(links, server)
    links.turn(Mode.PASS, ("a", "b"), delay_s=0.001, jitter_s=0.02)
    sent = b"".join(b"%03d" % number for number in range(100))
    for at in range(0, len(sent), 3):
        near.sendall(sent[at : at + 3])
    received = b""
    while len(received) < len(sent):
        received += far.recv(4096)

    assert received == sent
