"""The stream as every process reads it: a `Delivery` on sockets.

    publishers --SUB--> Delivery --> receive()
                           ^
    replayer  --DEALER-----+

One socket is connected to all publishers: to the heartbeats of each, and to the entries of the one that is
followed. So a switch is a subscription, and not a connection.
"""

import time
from collections.abc import Sequence

import zmq

from sequencer.client.delivery import Delivery
from sequencer.client.replay import Fetcher
from sequencer.config import Source
from sequencer.envelope import Entry
from sequencer.protocol import ENTRIES_OF, HEARTBEATS_OF
from sequencer.sockets import connect, tune

BURST = 256
"""Messages taken from the socket in one call, so that a loop also serves its other sockets."""


class Subscriber:
    """Delivers the stream from `next_index` on. Not thread-safe: it belongs to one loop.

    `previous` is the digest of the entry before it, where it is known: another log is then noticed at once.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        next_index: int = 1,
        previous: bytes | None = None,
        context: "zmq.Context[zmq.Socket[bytes]]",
        arbitrate: bool = False,
        follow_leader: bool = False,
    ) -> None:
        self._sources = tuple(sources)
        self._places = {
            topic + source.name.encode(): place
            for place, source in enumerate(self._sources)
            for topic in (ENTRIES_OF, HEARTBEATS_OF)
        }
        self._core = Delivery(
            len(self._sources),
            now_ms=_now_ms,
            next_index=next_index,
            previous=previous,
            arbitrate=arbitrate,
            follow_leader=follow_leader,
        )
        self._full_burst = False
        self._socket = tune(context.socket(zmq.SUB))
        self._socket.subscribe(HEARTBEATS_OF)
        self._followed: set[int] = set()
        self._follow()
        for source in self._sources:
            connect(self._socket, source.publisher)
        self._fetcher = Fetcher(self._sources, context)

    @property
    def next_index(self) -> int:
        """Index of the entry that is delivered next."""
        return self._core.next_index

    @property
    def next_sequence(self) -> int:
        """The next sequence number; 0 until an entry or a heartbeat at the end has told it."""
        return self._core.next_sequence

    @property
    def end_sequence(self) -> int:
        """The sequence number behind the last committed message known to be, 0 while nothing is known."""
        return self._core.end_sequence

    @property
    def high_water(self) -> int:
        """Index of the last committed entry known to be, -1 while nothing is known."""
        return self._core.high_water

    @property
    def source(self) -> str:
        """The node that is listened to."""
        return self._sources[self._core.current].name

    @property
    def leader_ingress(self) -> str:
        """Where the node takes batches that is known to lead; empty while nobody is."""
        return "" if self._core.leader is None else self._sources[self._core.leader].ingress

    @property
    def switches(self) -> int:
        """How often a publisher was left."""
        return self._core.switches

    @property
    def caught_up(self) -> bool:
        """Whether everything up to the known high-water mark has been delivered."""
        return self._core.caught_up

    @property
    def lag(self) -> int:
        """Committed messages known to be that were not delivered yet."""
        return self._core.lag

    @property
    def silent_ms(self) -> int:
        """For how long nothing was heard from the group: no entry, no heartbeat of a node that is not stale."""
        return self._core.silent_ms

    @property
    def pending(self) -> bool:
        """Whether another `receive` at once may deliver more."""
        return self._full_burst

    def sockets(self) -> "list[zmq.Socket[bytes]]":
        """What to poll for input."""
        return [self._socket, self._fetcher.socket]

    def receive(self) -> list[Entry]:
        """What can be delivered now; never blocks. Call it at least every 100 ms.

        Raises IslandError where the stream contradicts what was delivered before.
        """
        delivered: list[Entry] = []
        answer = self._fetcher.receive()
        if answer is not None:
            self._core.take_fetched(*answer, delivered)
        self._take_live(delivered)
        if missing := self._core.missing:
            self._fetcher.ask(missing)
        if self._core.watch():
            self._follow()
            self._fetcher.follow(self._core.current)
        return delivered

    def wait(self, timeout_ms: int) -> list[Entry]:
        """Receive, waiting up to `timeout_ms` for something to come."""
        deadline_ms = _now_ms() + timeout_ms
        poller = zmq.Poller()
        for socket in self.sockets():
            poller.register(socket, zmq.POLLIN)
        while True:
            entries = self.receive()
            left_ms = deadline_ms - _now_ms()
            if entries or left_ms <= 0:
                return entries
            poller.poll(min(left_ms, 50))

    def close(self) -> None:
        """Close the sockets."""
        self._socket.close(linger=0)
        self._fetcher.close()

    def _take_live(self, delivered: list[Entry]) -> None:
        self._full_burst = False
        for _ in range(BURST):
            try:
                topic, data = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            except ValueError:
                continue  # not our protocol's two frames
            place = self._places.get(topic)
            if place is not None:
                self._core.take_live(place, data, delivered)
        self._full_burst = True

    def _follow(self) -> None:
        """Take the entries of the sources that are followed now, and of no others."""
        followed = set(self._core.followed)
        for place in followed - self._followed:
            self._socket.subscribe(ENTRIES_OF + self._sources[place].name.encode())
        for place in self._followed - followed:
            self._socket.unsubscribe(ENTRIES_OF + self._sources[place].name.encode())
        self._followed = followed


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
