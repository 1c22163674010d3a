"""Consensus, in whole groups on a virtual clock and network."""

import pytest

from sequencer.raft import Role, Transfer
from tests.simulation.cluster import Cluster


def settled(size=3):
    cluster = Cluster(seed=1, size=size)
    cluster.run(1500)
    return cluster


@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_healthy_group_elects_one_leader_and_commits_everywhere(size):
    """Every node publishes what the leader proposed, the leader's empty entry first."""
    cluster = settled(size)
    for _ in range(5):
        cluster.propose(cluster.leader)
    cluster.run(cluster.now_ms + 200)

    assert [node.published_index for node in cluster.nodes.values()] == [6] * size


@pytest.mark.parametrize("seed", range(150))
def test_no_published_entry_differs_or_vanishes_whatever_fails(seed):
    """Loss, repeats, delays, one-way cuts and crashes between any two duties: the group is never of two minds."""
    cluster = Cluster(seed, size=3 if seed % 3 else 5, loss=seed % 4 * 0.05, crash=0.01)
    cluster.chaos(200)
    before = dict(cluster.published)
    cluster.heal()
    cluster.propose(cluster.leader)
    cluster.run(cluster.now_ms + 1000)

    logs = [[entry.data for entry in cluster.disks[name].entries] for name in cluster.names]
    assert all(log == logs[0] for log in logs), "the logs differ after healing"
    assert all(logs[0][index - 1] == data for index, data in before.items()), "a published entry vanished"
    assert len(cluster.published) == len(logs[0]), "the last proposal was not committed"


def test_a_cut_off_leader_steps_down_and_publishes_nothing():
    """Without a quorum nothing is committed, and the lead ends within two election timeouts."""
    cluster = settled()
    old = cluster.leader
    cluster.cut = {(old, name) for name in cluster.names} | {(name, old) for name in cluster.names}
    cluster.propose(old)
    at = cluster.nodes[old].published_index
    cluster.run(cluster.now_ms + 1500)

    assert cluster.nodes[old].role is not Role.LEADER
    assert cluster.nodes[old].published_index == at
    assert cluster.leader not in (old, None)


def test_a_returning_node_does_not_disturb_the_leader():
    """PreVote: a node that was alone comes back without forcing an election."""
    cluster = settled()
    leader, term = cluster.leader, cluster.nodes[cluster.leader].term
    away = next(name for name in cluster.names if name != leader)
    cluster.cut = {(away, name) for name in cluster.names} | {(name, away) for name in cluster.names}
    cluster.run(cluster.now_ms + 3000)
    cluster.cut.clear()
    cluster.run(cluster.now_ms + 1000)

    assert (cluster.leader, cluster.nodes[leader].term) == (leader, term)


def test_a_leader_hands_over_when_asked():
    """Transfer: the named follower leads next, within one round of messages."""
    cluster = settled()
    heir = next(name for name in cluster.names if name != cluster.leader)
    cluster.step(cluster.leader, Transfer(heir))
    cluster.run(cluster.now_ms + 100)

    assert cluster.leader == heir


def test_a_vote_survives_a_crash():
    """A node that voted and crashed does not vote for another in the same term."""
    cluster = settled()
    ballots = {name: cluster.disks[name].ballot for name in cluster.names}
    for name in cluster.names:
        cluster.start(name)

    assert {name: (node.term, node.voted_for) for name, node in cluster.nodes.items()} == ballots
