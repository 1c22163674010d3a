"""A slow or broken reader hurts only itself; two publishers are better than one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.running import Running, Stream, make, until, without_processes

CHANNEL = 1
READER = """
import json, pathlib, sys
import zmq
from sequencer.client import Subscriber
from sequencer.config import Config

context = zmq.Context()
subscriber = Subscriber(Config.load(pathlib.Path(sys.argv[1])).sources, context=context)
print("reads", flush=True)
indexes = []
while not indexes or entry.next_sequence <= int(sys.argv[2]):
    for entry in subscriber.wait(100):
        indexes.append(entry.index)
print(json.dumps(indexes))
"""


@pytest.fixture
def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    """A group of nodes and nothing else."""
    make(tmp_path / "v", request.param)
    with Running(without_processes(tmp_path / "v")).start() as venue:
        yield venue


@pytest.mark.parametrize("nodes", [1], indirect=True)
def test_a_stopped_reader_misses_nothing_and_delays_nobody(nodes: Running):
    """20,000 messages pass a SIGSTOPped subscriber; later it delivers every entry once, in order, without a gap."""
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(nodes.data_dir), "20000"], stdout=subprocess.PIPE, cwd="/", text=True
    )
    try:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reads\n"
        os.kill(reader.pid, signal.SIGSTOP)
        with Stream(nodes.config) as stream:
            submitter = stream.speak_as("gateway.x")
            for _ in range(4000):
                submitter.submit(CHANNEL, bytes(3000), 5)
                stream.turn()
            stream.settle()
        os.kill(reader.pid, signal.SIGCONT)
        out, _ = reader.communicate(timeout=60)
    finally:
        reader.kill()
        reader.wait()

    last = stream.entries[-1].index
    assert last > 2500, "more entries than the queues between publisher and subscriber can hold"
    assert json.loads(out) == list(range(1, last + 1))


@pytest.mark.parametrize("nodes", [3], indirect=True)
@pytest.mark.parametrize("role", ["follower", "leader"])
def test_two_publishers_are_heard_as_one(role: str, nodes: Running):
    """With `arbitrate`, each entry is delivered once and in order, and the death of a node makes no gap."""
    until(lambda: role in roles(nodes), f"there is a {role}")
    victim = roles(nodes)[role]
    with Stream(nodes.config, arbitrate=True) as stream:
        submitter = stream.speak_as("gateway.x")
        for number in range(600):
            submitter.submit(CHANNEL, bytes(100), 5)
            stream.turn()
            if number == 300:
                nodes.kill(victim)
        stream.settle()
        told = [batch.number for batch in stream.batches(CHANNEL)]

    indexes = [entry.index for entry in stream.entries]
    assert indexes == list(range(1, len(indexes) + 1))
    assert told == list(range(1, 601))


def roles(nodes: Running) -> dict[str, str]:
    return {row["role"]: row["name"] for row in nodes.status.nodes}
