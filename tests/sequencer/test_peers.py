"""What a node's connections tell of its peers, and who waits for names, over real sockets."""

from pathlib import Path

import pytest
import zmq

from sequencer.config import Config
from sequencer.logs import NoLog
from sequencer.peers import LAST_WORDS_MS, Peers
from sequencer.sockets import Context
from tests.models.running import make, until


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = make(tmp_path / "v", 3)
    (made.data_dir / "run").mkdir(exist_ok=True)
    return made


def test_a_process_that_ends_is_told_once_its_last_words_had_time(config: Config):
    """Its connection closes; nothing is told of the one that is there, nor of one that was never reached."""
    with Context.of(config) as context:
        others = {}
        for name in ("node-2", "node-3"):
            others[name] = context.socket(zmq.PULL)
            others[name].bind(config.node(name).peer)
        poller = zmq.Poller()
        peers = Peers(config, "node-1", context, poller, NoLog())
        peers.meet(config.founders)
        until(lambda: all(connected(peers, name) for name in others), "both are reached")
        others["node-2"].close(linger=0)
        until(lambda: peers.gone(dict(poller.poll(10)), 1000) or peers.is_waiting, "it is seen")

        assert peers.gone({}, 1000 + LAST_WORDS_MS - 1) == []
        assert peers.gone({}, 1000 + LAST_WORDS_MS) == ["node-2"]
        assert peers.gone({}, 1000 + 10 * LAST_WORDS_MS) == []
        assert not peers.is_waiting
        peers.close()
        others["node-3"].close(linger=0)


def connected(peers: Peers, name: str) -> bool:
    """Whether there is somebody to send to: with IMMEDIATE that is a connection."""
    return bool(peers._sockets[name].poll(0, zmq.POLLOUT))


class Names:
    """What a Context asks of a Config."""

    named_hosts = ("a", "b")


def test_each_name_is_waited_for_by_a_thread_of_its_own():
    """And what is no name by none of these."""
    with Context.of(Names()) as made:  # type: ignore[arg-type]
        names = {made.affinity("tcp://a:1"), made.affinity("tcp://b:1")}
        common = {made.affinity(f"tcp://{host}:1") for host in ("127.0.0.1", "[::1]", "localhost")}

        assert made.affinity("tcp://a:2") == made.affinity("tcp://a:1")
        assert len(names) == 2
        assert len(common) == 1
        assert names.isdisjoint(common)
        assert made.get(zmq.IO_THREADS) == 3
