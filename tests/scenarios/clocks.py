"""Words for time: hosts whose wall clocks are wrong or jump, and the times that entries get."""

from sequencer.clock import SequencedClock
from tests.scenarios import looks
from tests.scenarios.senders import Senders
from tests.scenarios.stage import Stage


class Clocks:
    """What wall clocks show, and what comes of it."""

    def __init__(self, stage: Stage, senders: Senders) -> None:
        self._stage = stage
        self._senders = senders
        self._stamped = 0

    def noon(self) -> None:
        """It is noon on every host, and the nodes' clocks begin there: `elect` lets time pass at one node alone."""
        for node in self._stage.nodes.values():
            node.noon_ms, node.wall_error_ms = node.now_ms, 0
            if node.orderer is not None:
                last_ns = node.raft.log.last_time_ns
                node.orderer.clock = SequencedClock(last_ns, node.wall_ns, node.monotonic_ns)

    def wall(self, name: str, error_ms: str) -> None:
        """A host's wall clock is so far off from now on; its monotonic one is not."""
        self._stage.nodes[name].wall_error_ms = int(error_ms)

    def stamp(self, name: str) -> None:
        """A node makes an entry of one message now; its time."""
        self._stamped += 1
        sender = f"stamp{self._stamped}"  # one that nobody has refused yet
        last = self._stage.nodes[name].raft.log.last_index
        self._senders.process(sender)
        self._senders.submit(sender, name, "1")
        log = self._stage.nodes[name].raft.log
        if log.last_index > last:
            self._stage.told.append(f"{name} stamps {looks.time(log.last_time_ns)}")

    def clock(self, name: str) -> None:
        """What a node tells its operator of its host's clock."""
        clock = self._stage.nodes[name].orderer.clock
        off_ms = clock.offset_ns / 1_000_000
        self._stage.told.append(f"{name}: wall clock {off_ms:+.3f} ms off, {clock.jumps} jumps")
