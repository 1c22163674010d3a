"""What is done to a group under load: acts, each over when it returns.

    act: hurt, and wait for what must come of it --> heal --> progress --> every observer has everything

Rules:
- An act leaves all nodes running, all links healed and all disks with room.
- Where a majority is left, an act waits for progress before it heals: the group goes on without the hurt one.
- `Fire.draw` names the next one, from a seed; `Fire.do` does one by its name.
"""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sequencer import group as operator
from sequencer.errors import IslandError
from sequencer.raft.progress import IN_FLIGHT_BYTES_MAX
from tests.faults.group import READERS, SENDERS, Group
from tests.faults.load import HEAVY_BYTES, LIGHT_BYTES, PROGRESS_S, Load
from tests.faults.proxy import Mode
from tests.models.running import until

WEIGHTS = {
    "kill_leader": 6,
    "kill_any": 2,
    "stop_leader": 2,
    "kill_all": 2,
    "kill_all_again_and_again": 1,
    "kill_one_again_and_again": 1,
    "stop_follower": 1,
    "isolate_leader": 2,
    "isolate_host": 2,
    "isolate_followed": 2,
    "mute_leader": 2,
    "deafen_leader": 2,
    "part_leader_from_one": 2,
    "part_two_followers": 1,
    "hold_leader": 2,
    "swallow_leader": 2,
    "slow_links": 1,
    "cut_senders": 1,
    "cut_readers": 2,
}
"""How often an act is drawn, of those that need processes and links only."""
DISK_WEIGHTS = {"fill_leader": 1, "fill_follower": 1}
"""Those that need a small disk."""
FAILOVERS = frozenset(
    ("kill_leader", "stop_leader", "kill_all", "kill_all_again_and_again", "isolate_leader", "isolate_host",
     "mute_leader", "deafen_leader", "hold_leader", "swallow_leader", "fill_leader")
)  # fmt: skip
"""The acts that take the lead from who has it."""


class Fire:
    """Acts on one group. `links` acts need a linked group, `fill` acts one with a small disk."""

    def __init__(self, group: Group, load: Load, seed: int) -> None:
        self._group = group
        self._links = group.links
        self._load = load
        self._random = random.Random(seed)
        self._weights = WEIGHTS | (DISK_WEIGHTS if group.small_disk else {})

    def draw(self) -> str:
        """The name of the next act."""
        return self._random.choices(list(self._weights), list(self._weights.values()))[0]

    def do(self, kind: str) -> float:
        """The act of this name; afterwards all is well again. Returns the longest pause of all senders together, in s.

        Raises TimeoutError where something did not come, and AssertionError where a node ended by itself.
        """
        begun_s = time.monotonic()
        try:
            self._do(kind)
        except Exception as error:
            error.add_note(f"in the act {kind}")
            raise
        return self._load.longest_pause_s(begun_s)

    def _do(self, kind: str) -> None:
        try:
            getattr(self, kind)()
        finally:
            self._links.heal()
            self._load.payload_bytes = LIGHT_BYTES
        self._load.await_progress()
        self._load.await_observers()
        assert not self._group.crashed, self._group.crashed

    def judge(self) -> list[str]:
        """What the checker says of everything so far."""
        return self._load.judge()

    # --- processes ----------------------------------------------------------------------------

    def kill_leader(self) -> None:
        """SIGKILL; the others go on, and it comes back."""
        self._kill(self._leader())

    def kill_any(self) -> None:
        """The same with one that may follow."""
        self._kill(self._random.choice(self._group.names))

    def kill_all(self) -> None:
        """All at once."""
        for name in self._group.names:
            self._group.send(name, signal.SIGKILL)
        for name in self._group.names:
            self._group.start(name)

    def kill_all_again_and_again(self) -> None:
        """In quick succession: some of them in the middle of starting, or of an election."""
        for _ in range(3):
            self.kill_all()
            time.sleep(self._random.uniform(0.1, 1.0))

    def kill_one_again_and_again(self) -> None:
        """One node in quick succession; the others are enough."""
        name = self._random.choice(self._group.names)
        for _ in range(4):
            self._group.send(name, signal.SIGKILL)
            self._group.start(name)
            time.sleep(self._random.uniform(0.1, 0.6))
        self._load.await_progress()

    def stop_leader(self) -> None:
        """SIGSTOP: it holds the lead until it wakes up, and does not know of the other one."""
        name = self._leader()
        with self._stopped(name):
            self._await_heir(name)

    def stop_follower(self) -> None:
        """SIGSTOP for seconds: what it lacks then is more than may be on its way to one member."""
        name = self._follower()
        until_s = time.monotonic() + self._random.uniform(2.0, 4.0)
        self._load.payload_bytes = HEAVY_BYTES
        with self._stopped(name):
            self._load.await_progress(IN_FLIGHT_BYTES_MAX // HEAVY_BYTES + 100)
            self._load.payload_bytes = LIGHT_BYTES
            self._load.until(lambda: time.monotonic() > until_s, "it has slept")

    # --- links --------------------------------------------------------------------------------

    def isolate_leader(self) -> None:
        """Cut it off from the other nodes; senders and readers still reach it."""
        name = self._leader()
        self._links.turn(Mode.CUT, *self._ways(name, both=True))
        self._await_heir(name)

    def isolate_host(self) -> None:
        """Cut the leader off from everybody."""
        name = self._leader()
        self._links.part(Mode.CUT, {name})
        self._await_heir(name)

    def isolate_followed(self) -> None:
        """Cut the node that the roaming observer listens to off from the others: it says that it is stale."""
        name = self._load.followed
        self._links.turn(Mode.CUT, *self._ways(name, both=True))
        self._load.until(lambda: self._load.followed != name, f"{name} is left")
        self._load.await_progress()

    def mute_leader(self) -> None:
        """What it says reaches nobody, and it hears everybody."""
        name = self._leader()
        self._links.turn(Mode.CUT, *self._ways(name, both=False))
        self._await_heir(name)

    def deafen_leader(self) -> None:
        """It hears nobody, and everybody hears it."""
        name = self._leader()
        self._links.turn(Mode.CUT, *((other, name) for other in self._group.others(name)))
        self._await_heir(name)

    def part_leader_from_one(self) -> None:
        """A follower that does not hear the leader, while both reach the third: it must not bring the lead down."""
        self._part(self._leader(), self._follower())

    def part_two_followers(self) -> None:
        """They have nothing to say to each other."""
        self._part(*self._group.others(self._leader())[:2])

    def hold_leader(self) -> None:
        """Nothing that it says or is told arrives, until another leads; then all of it does."""
        name = self._leader()
        self._links.turn(Mode.HOLD, *self._ways(name, both=True))
        self._await_heir(name)

    def swallow_leader(self) -> None:
        """As a cable that is pulled: nobody is told that nothing arrives."""
        name = self._leader()
        self._links.turn(Mode.SWALLOW, *self._ways(name, both=True))
        self._await_heir(name)

    def slow_links(self) -> None:
        """Between the nodes everything is late, and not equally late."""
        ways = [way for name in self._group.names for way in self._ways(name, both=False)]
        self._links.turn(Mode.PASS, *ways, delay_s=0.005, jitter_s=0.02)
        self._load.await_progress(100)

    def cut_senders(self) -> None:
        """No sender reaches the leader, which leads on."""
        self._links.turn(Mode.CUT, (SENDERS, self._leader()))
        time.sleep(self._random.uniform(0.1, 1.0))

    def cut_readers(self) -> None:
        """No reader reaches the node that the roaming observer listens to, nor its replayer."""
        name = self._load.followed
        self._links.turn(self._random.choice((Mode.CUT, Mode.SWALLOW)), (READERS, name))
        self._load.until(lambda: self._load.followed != name, f"{name} is left")

    # --- disks --------------------------------------------------------------------------------

    def fill_leader(self) -> None:
        """The disk of the leader fills up: another leads until there is room."""
        name = self._group.names[-1]
        self._hand_over(name)
        with self._full(name):
            self._await_heir(name)

    def fill_follower(self) -> None:
        """The disk of a follower fills up: it says so, and catches up when there is room."""
        name = self._group.names[-1]
        if self._leader() == name:
            self._hand_over(self._group.names[0])
        with self._full(name):
            self._load.await_progress(100)

    # --- the parts ----------------------------------------------------------------------------

    def _leader(self) -> str:
        name: str = until(lambda: self._group.leader, "a leader", PROGRESS_S)
        return name

    def _follower(self) -> str:
        return self._random.choice(self._group.others(self._leader()))

    def _await_heir(self, name: str) -> None:
        """Another leads, and the group goes on."""
        self._load.until(lambda: self._group.leader not in ("", name), f"another than {name} leads")
        self._load.await_progress()
        time.sleep(self._random.uniform(0.0, 0.5))

    def _kill(self, name: str) -> None:
        self._group.send(name, signal.SIGKILL)
        self._load.await_progress(5)
        self._group.start(name)

    def _part(self, one: str, other: str) -> None:
        self._links.turn(Mode.CUT, (one, other), (other, one))
        self._load.await_progress()
        time.sleep(self._random.uniform(0.5, 1.0))
        self._load.await_progress()

    def _ways(self, name: str, *, both: bool) -> Iterator[tuple[str, str]]:
        """From a node to the others, and back."""
        for other in self._group.others(name):
            yield name, other
            if both:
                yield other, name

    def _hand_over(self, name: str) -> None:
        def leads() -> bool:
            try:
                return operator.transfer(self._group.config, name).leader == name
            except IslandError:
                return False  # an election came between

        self._load.until(leads, f"{name} leads")

    @contextmanager
    def _stopped(self, name: str) -> Iterator[None]:
        self._group.send(name, signal.SIGSTOP)
        try:
            yield
        finally:
            self._group.send(name, signal.SIGCONT)

    @contextmanager
    def _full(self, name: str) -> Iterator[None]:
        """No room on the small disk until the node has said so, and what stands here was done."""
        disk = self._group.small_disk
        assert disk is not None, "the group has no small disk"
        self._load.payload_bytes = HEAVY_BYTES // 4
        disk.fill()
        try:
            self._load.until(lambda: self._is_full(name), f"{name} says that its disk is full")
            self._load.payload_bytes = LIGHT_BYTES
            yield
        finally:
            disk.free()
        self._load.until(lambda: not self._is_full(name), f"{name} has room again")

    def _is_full(self, name: str) -> bool:
        return bool(self._group.told.get(name, {}).get("full"))
