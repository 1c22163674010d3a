"""Lets connections in or not, before anything of theirs is read: the ZAP handler of a process (rfc.zeromq.org/spec/27).

    libzmq --domain, address, CURVE public key--> Doorman --200 and the key as user id | 400--> libzmq
    sockets that listen --handshakes that failed--> Doorman --> refusals, for the log

Rules
- A domain is a Door: in comes who has a key in the list that enters it. The user id of a connection is its public key.
- It is a thread of its own, since libzmq asks while the process's loop is busy. Should it die, nobody is let in:
  sockets that listen have ZAP_ENFORCE_DOMAIN.
- It asks at the handshake only. What a key that was revoked since says is dropped where it is received.
- Handshakes of a key are bounded (HANDSHAKES_PER_S), and who was cut off for a flood has none for a while. That is said
  to libzmq as 300, temporary: it tries again, as it does not after a 400.
- Own code, for pyzmq's authenticators run an asyncio loop (80 ms more of each start), and tell neither addresses nor
  failed handshakes.
"""

import itertools
import threading
import time
from collections import deque
from typing import Final, NamedTuple

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from sequencer.keyring import Keyring
from sequencer.keys import Door
from sequencer.limits import Bucket

_ENDPOINT: Final = "inproc://zeromq.zap.01"
_WATCHED: Final = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_MONITOR_STOPPED
_WHY: Final[dict[int, str]] = {
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "the connection ended within the handshake",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "no CURVE handshake with our key",
}
REFUSALS_MAX: Final = 1000
"""That wait for the log; older ones are dropped."""
STOP_S: Final = 2.0
HANDSHAKES_PER_S: Final = 20.0
HANDSHAKES_BURST: Final = 100.0
_ADMITTED: Final = (b"200", b"OK")
_REFUSED: Final = (b"400", b"not allowed")
_LATER: Final = (b"300", b"too much")


class Refusal(NamedTuple):
    """Who was not let in, where, and why."""

    door: str
    why: str
    address: str = ""
    key: str = ""
    """Whose key was shown; the key, where it is nobody's."""


class Doorman:
    """The thread. `watch` sockets that listen; `close` before the context ends."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", keyring: Keyring) -> None:
        self.refusals: deque[Refusal] = deque(maxlen=REFUSALS_MAX)
        self._context = context
        self._keyring = keyring
        self._asked = context.socket(zmq.ROUTER)
        self._asked.setsockopt(zmq.LINGER, 0)
        self._asked.bind(_ENDPOINT)
        self._commands = f"inproc://doorman-{id(self):x}"
        self._monitors: dict[zmq.Socket[bytes], str] = {}
        """What tells of failures -> at which door. The thread's."""
        self._numbers = itertools.count()
        self._barred: dict[str, float] = {}
        """Public key -> until when nobody is let in with it."""
        self._handshakes: dict[str, Bucket] = {}
        """Public key -> room for more; the thread's."""
        self._orders = context.socket(zmq.PAIR)
        self._orders.setsockopt(zmq.SNDTIMEO, round(STOP_S * 1000))
        self._orders.bind(self._commands)
        self._thread = threading.Thread(target=self._run, name="doorman", daemon=True)
        self._thread.start()

    def watch(self, socket: "zmq.Socket[bytes]", door: Door) -> None:
        """Tell of handshakes that fail at a socket."""
        endpoint = f"{self._commands}-{next(self._numbers)}"
        socket.monitor(endpoint, _WATCHED)
        self._orders.send_multipart([door.encode(), endpoint.encode()])

    def refuse(self, door: Door, why: str, who: str) -> None:
        """Have it told that a message was not taken."""
        self.refusals.append(Refusal(door, why, key=self._keyring.keys.whose(who)))

    def bar(self, public: str, until_s: float) -> None:
        """Let nobody in with this key until then, on the monotonic clock."""
        self._barred[public] = until_s

    @property
    def watched(self) -> int:
        """How many sockets it knows that listen."""
        return len(self._monitors)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the thread, where it has not ended."""
        if self.is_alive:
            self._orders.send_multipart([b"", b""])
        self._thread.join(STOP_S)
        self._orders.close(linger=0)

    # --- in the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        orders = self._context.socket(zmq.PAIR)
        orders.connect(self._commands)
        try:
            self._serve(orders)
        finally:
            for socket in (*self._monitors, orders, self._asked):
                socket.close(linger=0)

    def _serve(self, orders: "zmq.Socket[bytes]") -> None:
        """Answer libzmq until told to end."""
        monitors = self._monitors
        poller = zmq.Poller()
        poller.register(self._asked, zmq.POLLIN)
        poller.register(orders, zmq.POLLIN)
        while True:
            for socket, _events in poller.poll():
                if socket is self._asked:
                    self._judge(self._asked.recv_multipart())
                elif socket is orders:
                    door, endpoint = orders.recv_multipart()
                    if not door:
                        return
                    monitor = self._context.socket(zmq.PAIR)
                    monitor.connect(endpoint.decode())
                    monitors[monitor] = door.decode()
                    poller.register(monitor, zmq.POLLIN)
                else:
                    event = parse_monitor_message(socket.recv_multipart())["event"]
                    if event == zmq.EVENT_MONITOR_STOPPED:
                        poller.unregister(socket)
                        socket.close(linger=0)
                        del monitors[socket]
                    elif event in _WHY:  # one that failed for its key was told already
                        self.refusals.append(Refusal(monitors[socket], _WHY[event]))

    def _judge(self, frames: list[bytes]) -> None:
        if len(frames) < 8:
            return  # no question, and so no answer: nobody is let in
        peer, _, version, request, domain, address, _identity, mechanism, *credentials = frames
        public = z85.encode(credentials[0]).decode() if mechanism == b"CURVE" and len(credentials) == 1 else ""
        why, status = self._why_not(domain.decode(), public), _REFUSED
        if not why:
            why, status = self._why_not_now(public), _LATER
        if why:
            self.refusals.append(
                Refusal(domain.decode(), why, address.decode(errors="replace"), self._keyring.keys.whose(public))
            )
        said = (*status, b"") if why else (*_ADMITTED, public.encode())
        self._asked.send_multipart([peer, b"", version, request, *said, b""])

    def _why_not(self, domain: str, public: str) -> str:
        key = self._keyring.keys.of(public)
        if key is None:
            return "its key is not in the list, or was revoked"
        if domain not in tuple(Door) or not key.enters(Door(domain)):
            return f"a key of a {key.role} does not enter here"
        return ""

    def _why_not_now(self, public: str) -> str:
        """Of a key that is listed, so that there are few."""
        now_s = time.monotonic()
        if now_s < self._barred.get(public, now_s):
            return "it was cut off for a flood"
        if public not in self._handshakes:
            self._handshakes[public] = Bucket(HANDSHAKES_PER_S, HANDSHAKES_BURST, now_s)
        return "" if self._handshakes[public].take(1.0, now_s) else f"over {HANDSHAKES_PER_S:g} handshakes/s"
