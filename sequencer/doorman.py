"""Lets connections in or not, before anything of theirs is read: the ZAP handler of a process (rfc.zeromq.org/spec/27).

    libzmq --domain, address, CURVE public key--> Doorman --200 and the key as user id | 400--> libzmq
    sockets that listen --handshakes that failed--> Doorman --> refusals, for the log

Rules
- A domain is a Door: in comes who has a key in the list that enters it. The user id of a connection is its public key.
- It is a thread of its own, since libzmq asks while the process's loop is busy. Should it die, nobody is let in:
  sockets that listen have ZAP_ENFORCE_DOMAIN.
- Who has shown no key yet comes in in bounded numbers: `Newcomers` shuts a door for an address, for a moment.
- Where others only listen (streams), `Listeners` cuts off who says much, and its key has no handshake for a while.
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

from sequencer.keyring import Keyring
from sequencer.keys import Door
from sequencer.limits import CUT_S, Bucket
from sequencer.listeners import LOOK_MS, Cut, Listeners
from sequencer.newcomers import SHUT_S, Newcomers
from sequencer.sockets import next_event, readable

_ENDPOINT: Final = "inproc://zeromq.zap.01"
_WATCHED: Final = (
    zmq.EVENT_LISTENING | zmq.EVENT_ACCEPTED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_MONITOR_STOPPED
)  # fmt: skip
_CROWD: Final = f"too many came that have shown no key: nobody new comes in from there for {SHUT_S:g} s"
_FLOOD: Final = "it was cut off: who listens here has next to nothing to say"
_WHY: Final[dict[int, str]] = {
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "the connection ended within the handshake",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "no CURVE handshake with our key",
}
REFUSALS_MAX: Final = 1000
"""That wait for the log; older ones are dropped."""
START_S: Final = 30.0
STOP_S: Final = 2.0
STRIKES: Final = 3
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


class _Watched(NamedTuple):
    """A socket that listens."""

    door: str
    newcomers: Newcomers
    listeners: Listeners | None
    """Who came in, where others only listen."""

    def close(self) -> None:
        """Let go of it."""
        self.newcomers.close()
        if self.listeners is not None:
            self.listeners.close()


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
        self._watched: dict[zmq.Socket[bytes], _Watched] = {}
        """By what tells of it. The thread's."""
        self._numbers = itertools.count()
        self._barred: dict[str, float] = {}
        """Public key -> until when nobody is let in with it."""
        self._strikes: dict[str, int] = {}
        """Public key -> how often somebody was cut off whose it may be; the thread's."""
        self._handshakes: dict[str, Bucket] = {}
        """Public key -> room for more; the thread's."""
        self._poller = zmq.Poller()
        self._orders = context.socket(zmq.PAIR)
        self._orders.setsockopt(zmq.SNDTIMEO, round(STOP_S * 1000))
        self._orders.setsockopt(zmq.RCVTIMEO, round(START_S * 1000))
        self._orders.bind(self._commands)
        self._thread = threading.Thread(target=self._run, name="doorman", daemon=True)
        self._thread.start()

    def watch(self, socket: "zmq.Socket[bytes]", door: Door, port: str) -> None:
        """Tell of handshakes that fail at a socket which is to listen there; where it only speaks, of who says much."""
        endpoint = f"{self._commands}-{next(self._numbers)}"
        speaks = socket.type in (zmq.PUB, zmq.XPUB)
        port = port if port.isdigit() else "0"
        socket.monitor(endpoint, _WATCHED | zmq.EVENT_DISCONNECTED if speaks else _WATCHED)
        self._orders.send_multipart([door.encode(), endpoint.encode(), port.encode(), b"speaks" if speaks else b""])
        self._orders.recv()  # whoever binds keeps the interpreter to himself, and waits until somebody hears of it

    def refuse(self, door: Door, why: str, who: str) -> None:
        """Have it told that a message was not taken."""
        self.refusals.append(Refusal(door, why, key=self._keyring.keys.whose(who)))

    def bar(self, public: str, until_s: float) -> None:
        """Let nobody in with this key until then, on the monotonic clock."""
        self._barred[public] = until_s

    @property
    def watched(self) -> int:
        """How many sockets it knows that listen."""
        return len(self._watched)

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
            for watched in self._watched.values():
                watched.close()
            for socket in (*self._watched, orders, self._asked):
                socket.close(linger=0)

    def _serve(self, orders: "zmq.Socket[bytes]") -> None:
        """Answer libzmq until told to end."""
        poller = self._poller
        poller.register(self._asked, zmq.POLLIN)
        poller.register(orders, zmq.POLLIN)
        while True:
            is_quiet = not any(watched.listeners or watched.newcomers.is_shut for watched in self._watched.values())
            ready = dict(poller.poll(None if is_quiet else LOOK_MS))
            if orders in ready:
                if not self._obey(*orders.recv_multipart()):
                    return
                orders.send(b"")
            for monitor, watched in list(self._watched.items()):
                while monitor in ready and not monitor.closed and readable(monitor):
                    self._note(monitor, watched, *next_event(monitor))
                watched.newcomers.look()
                for cut in watched.listeners.look() if watched.listeners is not None else ():
                    self._cut(watched.door, cut)
            if self._asked in ready:  # who comes in was told of by now
                self._judge(self._asked.recv_multipart())

    def _obey(self, door: bytes, endpoint: bytes = b"", port: bytes = b"", speaks: bytes = b"") -> bool:
        """Watch a door; whether to go on."""
        if door:
            monitor = self._context.socket(zmq.PAIR)
            monitor.connect(endpoint.decode())
            listeners = Listeners(int(port)) if speaks else None
            self._watched[monitor] = _Watched(door.decode(), Newcomers(int(port)), listeners)
            self._poller.register(monitor, zmq.POLLIN)
        return bool(door)

    def _note(self, monitor: "zmq.Socket[bytes]", watched: "_Watched", event: int, value: int) -> None:
        if event == zmq.EVENT_MONITOR_STOPPED:
            self._poller.unregister(monitor)
            monitor.close(linger=0)
            self._watched.pop(monitor).close()
        elif event == zmq.EVENT_LISTENING:
            watched.newcomers.listening(value)
        elif event == zmq.EVENT_ACCEPTED:
            if watched.listeners is not None:
                watched.listeners.accepted(value)
            if address := watched.newcomers.came(value):
                self.refusals.append(Refusal(watched.door, _CROWD, address))
        elif event == zmq.EVENT_DISCONNECTED:
            assert watched.listeners is not None, watched.door
            watched.listeners.closed(value)
        elif event in _WHY:  # one that failed for its key was told already
            self.refusals.append(Refusal(watched.door, _WHY[event]))

    def _cut(self, door: str, cut: Cut) -> None:
        """Whose it is has no handshake for a while; whose it may be, once that is so again and again."""
        for public in cut.keys:
            self._strikes[public] = self._strikes.get(public, 0) + (STRIKES if len(cut.keys) == 1 else 1)
            if self._strikes[public] >= STRIKES:
                del self._strikes[public]
                self.bar(public, time.monotonic() + CUT_S)
        whose = " or ".join(sorted(map(self._keyring.keys.whose, cut.keys)))
        self.refusals.append(Refusal(door, _FLOOD, cut.address, whose))

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
        else:
            for watched in self._watched.values():
                if watched.door == domain.decode():
                    watched.newcomers.admitted(address.decode())
                    if watched.listeners is not None:
                        watched.listeners.admitted(address.decode(), public)
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
