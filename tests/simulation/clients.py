"""Senders and subscribers: the real `Submission` and `Delivery`, on the virtual network.

A client follows the stream of one node or of all, fetches what it misses, and, if it is a sender, submits
small batches and takes them as accepted when it sees them. Its loop runs every TICK_NS and when something comes.
"""

from sequencer.client.delivery import Delivery
from sequencer.client.submission import Submission
from sequencer.envelope import CONTROL, HEARTBEAT_MAGIC, Entry, decode_entry, encode_batch
from sequencer.errors import FencedError
from tests.simulation.checks import Checks
from tests.simulation.hosts import Host, decode_answer
from tests.simulation.network import Network
from tests.simulation.world import MS, Chance, World

TICK_NS = 40 * MS
FETCH_BYTES = 64 << 10
FETCH_NS = 300 * MS
COMMANDS = 1
FRAMES_KEPT = 50


class Client:
    """One process outside of the group. A sender has a name that the nodes let write on channel 1."""

    def __init__(
        self, world: World, network: Network, checks: Checks, hosts: dict[str, Host], name: str, *, sends: bool
    ) -> None:
        self.name = name
        self.sends = sends
        self.submission: Submission | None = None
        self.frames: list[bytes] = []
        """Some of the frames that it sent, for whoever wants to repeat them."""
        self.busy = True
        """Whether it goes on submitting."""
        self.delivered = 0
        self._world = world
        self._network = network
        self._checks = checks
        self._hosts = hosts
        self._chance = Chance(world.seed, "client", name)
        self._life = 0
        self.restart()

    def restart(self) -> None:
        """Begin anew from the beginning of the log, as another process under the same name."""
        self._life += 1
        self._disconnect()
        names = list(self._hosts)
        self._sources = names
        self._arbitrate = self._chance.hits(250)
        self._delivery = Delivery(
            len(names), now_ms=self._now_ms, arbitrate=self._arbitrate, follow_leader=self._chance.hits(500)
        )
        self._expected_index = 1
        self._connect()
        self._fetching_until_ns = 0
        self._fetch_source = 0
        if self.sends:
            leader = self._leader if self._chance.hits(700) else lambda: ""
            self.submission = Submission(
                names, self.name, now_ms=self._now_ms, random=self._chance.bytes, leader=leader
            )
            self.submission.open()
        self._tick(self._life)

    @property
    def is_idle(self) -> bool:
        """Whether everything that it submitted has been seen."""
        return self.submission is None or (self.submission.is_open and not self.submission.in_flight)

    @property
    def next_index(self) -> int:
        """What it delivers next."""
        return self._delivery.next_index

    def submit(self) -> None:
        """Submit one batch."""
        payload = self._chance.bytes(self._chance.between(1, 300))
        number = self.submission.submit(COMMANDS, payload, self._chance.between(1, 5))
        self._checks.submits(self.name, number, self.submission.digest)

    # --- the loop -------------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return self._world.now_ns // MS

    def _tick(self, life: int) -> None:
        if life != self._life:
            return
        if self._delivery.watch():
            self._fetch_source = self._delivery.current
        self._fetch()
        if self.submission is not None:
            if self.busy and self.submission.is_open and self.submission.in_flight < 8 and self._chance.hits(700):
                for _ in range(self._chance.between(1, 3)):
                    self.submit()
            self.submission.flush()
            self.submission.watch()
            self._send()
        self._world.after(TICK_NS, lambda: self._tick(life))

    def _connect(self) -> None:
        life = self._life
        for place, source in enumerate(self._sources):
            self._hosts[source].listeners[self.name] = lambda data, place=place: self._on_live(life, place, data)

    def _disconnect(self) -> None:
        for host in self._hosts.values():
            host.listeners.pop(self.name, None)

    # --- the stream -----------------------------------------------------------------------------

    def _leader(self) -> str:
        leader = self._delivery.leader
        return "" if leader is None else self._sources[leader]

    def _on_live(self, life: int, place: int, data: bytes) -> None:
        is_wanted = place in self._delivery.followed or data[:4] == HEARTBEAT_MAGIC
        if life == self._life and is_wanted:
            delivered: list[Entry] = []
            self._delivery.take_live(place, data, delivered)
            self._deliver(delivered)

    def _fetch(self) -> None:
        missing = self._delivery.missing
        if not missing or self._world.now_ns < self._fetching_until_ns:
            return
        if self._fetching_until_ns:
            self._fetch_source = (self._fetch_source + 1) % len(self._sources)
        self._fetching_until_ns = self._world.now_ns + FETCH_NS
        host, life = self._hosts[self._sources[self._fetch_source]], self._life

        def answer(entries: list[bytes], high_water: int) -> None:
            self._network.send(host.name, self.name, lambda: self._on_fetched(life, entries, high_water))

        self._network.send(self.name, host.name, lambda: host.fetch(missing, FETCH_BYTES, answer))

    def _on_fetched(self, life: int, entries: list[bytes], high_water: int) -> None:
        if life != self._life:
            return
        self._fetching_until_ns = 0 if entries else self._world.now_ns + TICK_NS
        delivered: list[Entry] = []
        self._delivery.take_fetched([decode_entry(data) for data in entries], high_water, delivered)
        self._deliver(delivered)
        if entries:
            self._fetch()

    def _deliver(self, delivered: list[Entry]) -> None:
        try:
            for entry in delivered:
                self._checks.delivers(self.name, self._expected_index, entry)
                self._expected_index += 1
                self.delivered += 1
                self._observe(entry)
        except FencedError:
            self._world.note(self.name, "is fenced")
            self.restart()

    def _observe(self, entry: Entry) -> None:
        if self.submission is None:
            return
        for batch in entry.batches():
            if self.submission.observe(batch):
                self._checks.acknowledges(entry.index)

    # --- the way in -----------------------------------------------------------------------------

    def _send(self) -> None:
        submission, life = self.submission, self._life
        frames, submission.outbox = submission.outbox, []
        host = self._hosts.get(submission.target)
        for frame in frames:
            data = bytes(frame)
            if len(self.frames) < FRAMES_KEPT or self._chance.hits(50):
                self.frames = [*self.frames[-FRAMES_KEPT:], data]
            if host is not None:
                self._submit_to(host, data, life)

    def _submit_to(self, host: Host, data: bytes, life: int) -> None:
        def answer(reply: bytes) -> None:
            self._network.send(host.name, self.name, lambda: self._on_answer(life, reply))

        self._network.send(self.name, host.name, lambda: host.ask(data, answer))

    def _on_answer(self, life: int, reply: bytes) -> None:
        if life != self._life:
            return
        try:
            self.submission.hear(decode_answer(reply))
        except FencedError:
            self._world.note(self.name, "is fenced")
            self.restart()
            return
        self._send()


class Hostile:
    """Somebody who repeats what others said, and speaks in their names."""

    def __init__(self, world: World, network: Network, hosts: dict[str, Host], senders: list[Client]) -> None:
        self._world = world
        self._network = network
        self._hosts = hosts
        self._senders = senders

    def act(self, chance: Chance) -> None:
        """Send one hostile frame to one node."""
        host = self._hosts[chance.pick(list(self._hosts))]
        victim = chance.pick(self._senders)
        frame = self._frame(chance, victim)
        if frame:
            self._network.send("hostile", host.name, lambda: host.ask(frame, lambda _reply: None))

    def _frame(self, chance: Chance, victim: Client) -> bytes:
        submission, payload = victim.submission, chance.bytes(20)
        match chance.below(5):
            case 0:
                return chance.pick(victim.frames) if victim.frames else b""
            case 1:  # another batch under a number that was used
                number = max(1, submission.number + 2 - chance.below(4))
                return self._batch(victim, number, payload, chance.bytes(32), submission.incarnation)
            case 2:  # a process that was replaced
                return self._batch(victim, submission.number + 1, payload, submission.digest, 0)
            case 3:  # the sequencer itself
                return bytes(encode_batch("sequencer", CONTROL, 0, payload, count=1, incarnation=2).data)
            case _:  # a true batch, damaged
                if not victim.frames:
                    return b""
                data = bytearray(chance.pick(victim.frames))
                data[chance.below(len(data))] ^= 1 << chance.below(8)
                return bytes(data)

    @staticmethod
    def _batch(victim: Client, number: int, payload: bytes, previous: bytes, incarnation: int) -> bytes:
        batch = encode_batch(
            victim.name, COMMANDS, number, payload, count=1, previous=previous, incarnation=incarnation
        )
        return bytes(batch.data)
