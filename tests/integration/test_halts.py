"""A replica that cannot go on stops at once, says where and why, and stays stopped while the venue goes on."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
import zmq

from engines import messages as m
from engines.host import Host
from sequencer.client import StopSignal, Submitter
from sequencer.config import Config
from tests.models.running import Running, Stream, make, until, without_processes


class Frail:
    """A machine that never answers, and raises at an order of client 13."""

    name: ClassVar[str] = "frail"
    reads: ClassVar[tuple[int, ...]] = (m.COMMANDS,)
    writes: ClassVar[int] = m.RESULTS

    def __init__(self) -> None:
        self.seen: list[int] = []

    def apply(self, time_ns: int, first_sequence: int, channel: int, messages: Sequence[m.Message]) -> list[m.Message]:
        for message in messages:
            if message.client_id == 13:
                raise RuntimeError("thirteen")
            self.seen.append(message.client_id)
        return []


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Running]:
    """A node on whose log a test may write as anybody."""
    make(tmp_path / "v")
    config = without_processes(tmp_path / "v")
    path = config.data_dir / "venue.toml"
    path.write_text(path.read_text().replace('"matching.*" = [3]', '"frail.*" = [3]'))
    with Running(Config.load(config.data_dir)).start() as started:
        yield started


@contextmanager
def hosted(venue: Running, machine: Frail) -> Iterator[None]:
    """A replica of the machine, called `frail-1`, in a thread of this process."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    stop = StopSignal()
    host = Host(venue.config, lambda: machine, "frail-1", "frail.0", stop, context)
    thread = threading.Thread(target=host.run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        host.close()
        context.destroy(linger=0)


def say(stream: Stream, *clients: int) -> None:
    for client in clients:
        stream.submitter.submit(m.COMMANDS, m.ENCODER.encode([m.CancelOrder(client, 1, 1, "x")]), 1)
        stream.settle()


def test_what_raises_halts_its_replica_for_good(venue: Running):
    """The state is `halted`, with the error; later entries are not applied, and do not bring it back."""
    with hosted(venue, machine := Frail()), Stream(venue.config) as stream:
        stream.speak_as("gateway.x")
        say(stream, 1, 2, 13)
        venue.await_row("frail-1", "halted")
        say(stream, 3, 4)
        row, health = venue.row("frail-1"), venue.run("health")

    assert (row["state"], row["error"]) == ("halted", "RuntimeError: thirteen")
    assert machine.seen == [1, 2]
    assert "frail-1 is halted: RuntimeError: thirteen" in health.stdout


def test_who_says_goodbye_is_not_looked_for(venue: Running):
    """A replica that was added and stopped leaves no trace in the status, and the venue is well."""
    with hosted(venue, Frail()):
        venue.await_row("frail-1", "live")
    until(lambda: not venue.row("frail-1"), "frail-1 has left")

    assert venue.run("health").stdout == "well\n"


def test_a_replica_that_differs_from_the_log_stays_diverged(venue: Running):
    """An output in the log that it did not make: `diverged`, with both versions, and nothing is applied after it."""
    with hosted(venue, machine := Frail()), Stream(venue.config) as stream:
        stream.speak_as("gateway.x")
        say(stream, 1)
        other = Submitter(venue.config.ingress, "frail.0", context=stream.context, opened=True)
        other.submit(m.RESULTS, m.ENCODER.encode([m.OrderAccepted(1)]), 1)
        other.flush()
        venue.await_row("frail-1", "diverged")
        say(stream, 2)
        row = venue.row("frail-1")

    assert row["state"] == "diverged"
    assert "this replica made nothing there" in row["error"]
    assert machine.seen == [1]
