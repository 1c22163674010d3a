"""A machine that does to each command what its client order id says: loop, wait, fail, ...; and a venue that has it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from engines import messages as m
from sequencer.config import Config
from tests.models.running import Running, Stream, make, without_processes

ODD = '''
import re
import socket
import time

from engines.messages import COMMANDS


class Odd:
    """Does to each command what its client order id says."""

    name = "odd"
    reads = (COMMANDS,)
    writes = 0

    def apply(self, time_ns, first_sequence, channel, messages):
        for message in messages:
            getattr(self, message.client_order_id)()
        return []

    def fine(self):
        pass

    def loop(self):
        while True:
            pass

    def loop_in_c(self):
        re.match(r"(a+)+$", "a" * 50 + "b")

    def long(self):
        end = time.monotonic() + 8
        while time.monotonic() < end:
            pass

    def slow(self):
        time.sleep(0.05)

    def wait(self):
        ours, theirs = socket.socketpair()
        ours.recv(1)

    def leak(self):
        self.kept = [bytearray(16 << 20) for _ in range(1000)]

    def fail(self):
        raise ValueError("no such thing")

    def reject(self, time_ns, first_sequence, channel, count, reason):
        return []

    def snapshot(self):
        return b""

    def restore(self, state):
        pass
'''


@contextmanager
def odd_venue(directory: Path, *replicas: str) -> Iterator[Running]:
    """A node without the venue's own processes, and these replicas of the machine, live."""
    make(directory / "v")
    config = without_processes(directory / "v")
    (directory / "odd.py").write_text(ODD)
    with Running(Config.load(config.data_dir), PYTHONPATH=str(directory)).start() as started:
        for name in replicas:
            started.spawn("attach", "odd:Odd", "--unchecked", "--name", name)
        for name in replicas:
            started.await_row(name, "live")
        yield started


def say(venue: Running, *acts: str, together: bool = False) -> int:
    """Sequence commands, one by one or as one batch; the sequence number of the last."""
    commands: Sequence[m.Message] = [m.CancelOrder(1, number, 1, act) for number, act in enumerate(acts, 1)]
    with Stream(venue.config) as stream:
        submitter = stream.speak_as("gateway.x")
        for part in [commands] if together else [[command] for command in commands]:
            submitter.submit(m.COMMANDS, m.ENCODER.encode(part), len(part))
            stream.settle()
        last = stream.batches(m.COMMANDS)[-1]
        return last.first_sequence + last.count - 1
