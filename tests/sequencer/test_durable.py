"""What a node on its disk says of itself to who reads its stream."""

from pathlib import Path

from gateways.venue import create
from sequencer.durable import DurableOrderer
from sequencer.journal import Ballot, BallotBox
from sequencer.raft import Append, AskVote, Voted
from tests.models.faulty_disk import FaultyDisk

STALE_MS = 240
"""Two election timeouts."""


class Silence:
    """A wire that leads nowhere."""

    def send(self, _peer, _message):
        pass

    def publish(self, _entry):
        pass

    def wake(self):
        pass

    def answer_read(self, _ticket, _index):
        pass


class Clocks:
    """Time that passes when it is told to."""

    ms = 1000

    def monotonic_ns(self):
        return self.ms * 1_000_000

    def wall_ns(self):
        return self.ms * 1_000_000


def follower(directory: Path) -> tuple[DurableOrderer, Clocks]:
    clocks = Clocks()
    return DurableOrderer.open(create(directory, nodes=3), "node-1", Silence(), clocks), clocks


def hear_for(node: DurableOrderer, clocks: Clocks, time_ms: int, committed_index: int) -> bool:
    """Let its leader say for so long how far the log is committed; whether the node then says that it is stale."""
    for _ in range(0, time_ms, 20):
        clocks.ms += 20
        node.hear(Append(1, "node-2", committed_index, min(1, committed_index), committed_index, 0, True, []))
        node.turn()
        node.heartbeat()
    return node.heartbeat().stale


def test_a_node_that_hears_its_leader_is_not_stale(tmp_path: Path):
    """As long as nothing is committed that it lacks."""
    node, clocks = follower(tmp_path)

    assert not hear_for(node, clocks, 2 * STALE_MS, committed_index=0)
    node.close()


def test_a_node_that_does_not_get_what_is_committed_is_stale(tmp_path: Path):
    """Though it hears its leader all the time: its own answers may be lost, and nothing comes without them."""
    node, clocks = follower(tmp_path)
    early = hear_for(node, clocks, STALE_MS - 50, committed_index=5)

    assert (early, hear_for(node, clocks, 100, committed_index=5)) == (False, True)
    node.close()


def test_a_vote_is_durable_before_it_is_spoken(tmp_path: Path):
    """In the moment in which it leaves, a loss of power would not take it back."""
    config, disk, spoken = create(tmp_path, nodes=3), FaultyDisk(), []

    class Witness(Silence):
        def send(self, _peer, message):
            if isinstance(message, Voted):
                directory = config.journal_directory("node-1")
                box = BallotBox.open(directory, "node-1", config.cluster, disk=disk.durable())
                spoken.append((message.granted, box.ballot))

    node = DurableOrderer.open(config, "node-1", Witness(), Clocks(), disk=disk)
    node.hear(AskVote(5, "node-2", 0, 0, probe=False, transfer=False))
    node.turn()
    node.close()

    assert spoken == [(True, Ballot(5, "node-2"))]
