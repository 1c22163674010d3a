"""The logs of real processes: what an operator can read, what nobody may read in them, and what a stranger can do."""

import signal
import socket
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest
import zmq

from gateways.fix.codec import encode
from gateways.order.client import OrderClient
from gateways.times import utc_text
from sequencer.logfile import log_path, older
from sequencer.supervisor import commands
from tests.models.logfmt import parsed
from tests.models.running import Running, command, make, until, without_processes

PASSWORD, GUESS, HOLLOW = "correct-horse", "battery-staple", "\x1b[2J\x1b[31m"
FIX_TOML = f"""
[[sessions]]
comp_id = "BANK1"
client = "ANN"
password = "{PASSWORD}"
"""
FLOOD = 3000

Fields = dict[str, str]


class Logged:
    """A venue of three nodes that had a life, by its logs alone."""

    def __init__(self, venue: Running) -> None:
        self.venue = venue
        self.leader = next(row["name"] for row in venue.status.nodes if row["role"] == "leader")
        self.metrics = ""

    def lines(self, name: str) -> list[Fields]:
        """What a process told, from the beginning."""
        return [parsed(line) for line in self.text(name).splitlines()]

    def text(self, name: str) -> str:
        """The same as it stands in its files."""
        path = log_path(self.venue.data_dir, name)
        return "".join(each.read_text() for each in (older(path), path) if each.exists())

    def count(self, name: str, event: str) -> int:
        """How often something has happened to a process, told or left out."""
        told = self.events(name, event)
        left_out = [line for line in self.events(name, "left out") if line["what"] == event]
        return len(told) + sum(int(line.get("left_out", 0)) for line in told) + sum(int(x["times"]) for x in left_out)

    def events(self, name: str, event: str) -> list[Fields]:
        """Those lines of a process that are of one kind."""
        return [line for line in self.lines(name) if line["event"] == event]


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    """Clients log on, and are refused; strangers flood three doors; the leader is killed; all stop."""
    config = make(tmp_path_factory.mktemp("logs") / "v", 3, doors=("fix-1",), monitored=True)
    (config.data_dir / "fix.toml").write_text(FIX_TOML)
    with Running(without_processes(config.data_dir, "matching-2", "credit-2", "marketdata-1")).start() as venue:
        made = Logged(venue)
        with OrderClient(config.endpoint("order"), client="BOB") as client:
            assert client.orders() == []
        assert b"35=A" in fix_logon(venue, "BANK1", PASSWORD)
        assert fix_logon(venue, "BANK1", GUESS) == b""
        assert fix_logon(venue, HOLLOW, PASSWORD) == b""
        ingress = next(node.ingress for node in config.nodes if node.name == made.leader)
        for name, door in (("order-1", config.endpoint("order")), (made.leader, ingress)):
            with flood(door):
                until(lambda name=name: made.count(name, "malformed frame") == FLOOD, f"{name} counts the flood")
        venue.kill(made.leader)
        until(lambda: len(made.events(made.leader, "leader seen")), "the one that was killed is back")
        venue.await_well()
        with urllib.request.urlopen(f"http://{config.monitoring['supervisor']}/metrics", timeout=10) as answer:
            made.metrics = answer.read().decode()
        assert venue.stop() == 0
        yield made


def fix_logon(venue: Running, comp_id: str, password: str) -> bytes:
    """What the FIX gateway answers to a Logon before it closes, or is hung up on."""
    host, _, port = venue.config.endpoint("fix").removeprefix("tcp://").rpartition(":")
    header = f"49={comp_id}\x0156=ISLAND\x0134=1\x0152={utc_text(time.time_ns())}\x01"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(encode("A", header, [(98, 0), (108, 30), (141, "Y"), (554, password)]))
        return connection.recv(4096)


@contextmanager
def flood(endpoint: str) -> Iterator[None]:
    """Frames that are of no protocol, as fast as they go; the connection is there until they were taken."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.setsockopt(zmq.LINGER, 0)
        stranger.setsockopt(zmq.SNDHWM, 0)
        stranger.connect(endpoint)
        for _ in range(FLOOD):
            stranger.send(b"\xc1" + PASSWORD.encode())
        yield


def test_every_line_can_be_read(logged: Logged):
    """It is logfmt, and says when, how bad, who, and what."""
    names = {path.stem for path in log_path(logged.venue.data_dir, "any").parent.glob("*.log")}
    assert names == {name for name, _command in commands(logged.venue.config)} | {"supervisor"}
    for name in names:
        lines = logged.lines(name)
        assert all(list(line)[:4] == ["time", "level", "process", "event"] for line in lines)
        assert {line["process"] for line in lines} == {name}
        assert lines[0]["event"] == "process started"
        assert lines[-1]["event"] == "process stopped"


def test_no_line_holds_a_secret(logged: Logged):
    """Neither passwords, right or wrong, nor what was sent, nor what does something to a terminal."""
    for path in log_path(logged.venue.data_dir, "any").parent.iterdir():
        text = path.read_text()
        assert PASSWORD not in text
        assert GUESS not in text
        assert text.replace("\n", "").isprintable()
        assert path.stat().st_mode & 0o777 == 0o600


def test_who_came_and_went_is_told(logged: Logged):
    """Clients by their names, and why they were refused."""
    assert [line["client"] for line in logged.events("order-1", "logged on")] == ["BOB"]
    assert [line["client"] for line in logged.events("order-1", "logged off")] == ["BOB"]
    assert [line["comp_id"] for line in logged.events("fix-1", "logged on")] == ["BANK1"]
    refused = logged.events("fix-1", "logon refused")
    assert refused[0]["why"] == "its password is wrong"
    assert logged.count("fix-1", "logon refused") == 2


def test_a_flood_of_strangers_is_counted_and_makes_few_lines(logged: Logged):
    """At most one a second, besides one that tells the rest."""
    for name in ("order-1", logged.leader):
        lines = logged.events(name, "malformed frame")
        assert logged.count(name, "malformed frame") == FLOOD
        assert len(lines) <= 1 + _seconds_between(lines)


def _seconds_between(lines: list[Fields]) -> float:
    first, last = (datetime.fromisoformat(line["time"]) for line in (lines[0], lines[-1]))
    return (last - first).total_seconds()


def test_the_change_of_leader_is_told_by_all(logged: Logged):
    """The supervisor says who ended and began again, one node that it leads, the others whom they see."""
    ended = logged.events("supervisor", "child ended")
    assert [(line["child"], line["signal"]) for line in ended] == [(logged.leader, "SIGKILL")]
    assert len(logged.events(logged.leader, "process started")) == 2
    heirs = {node.name for node in logged.venue.config.nodes} - {logged.leader}
    assert any(logged.events(heir, "became leader") for heir in heirs)
    assert f'sequencer_child_restarts_total{{name="{logged.leader}"}} 1.0' in logged.metrics
    assert 'sequencer_child_restarts_total{name="order-1"} 0.0' in logged.metrics


def test_all_logs_are_shown_as_one(logged: Logged):
    """By time; from a level on; of those that are named."""
    done = logged.venue.run("logs")
    lines = [parsed(line) for line in done.stdout.splitlines()]
    assert Counter(line["process"] for line in lines) == {
        name: len(logged.lines(name)) for name in {line["process"] for line in lines}
    }
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    some = logged.venue.run("logs", "fix-1", "order-1", "--level", "warning").stdout.splitlines()
    assert [(line["process"], line["level"]) for line in map(parsed, some)] == [
        (line["process"], line["level"])
        for line in lines
        if line["process"] in ("fix-1", "order-1") and line["level"] in ("warning", "error")
    ]


def test_following_ends_with_ctrl_c(logged: Logged):
    """What is there is printed at once; the exit code is 0."""
    words = command("logs", "supervisor", "--follow", "-n", "1", "--data", str(logged.venue.data_dir))
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd="/") as following:
        assert following.stdout is not None
        last = parsed(following.stdout.readline().rstrip("\n"))
        following.send_signal(signal.SIGINT)
        assert following.wait(20) == 0
    assert (last["process"], last["event"]) == ("supervisor", "process stopped")
