"""Replicas that begin with a snapshot: while the venue trades, with what is damaged or forged; machines of users."""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engines import snapshot as images
from gateways.flow import generate
from sequencer.client import SnapshotClient, kept_by_node
from sequencer.protocol import StoredSnapshot
from sequencer.sockets import context
from tests.models.running import Event, Running, by_instrument, command, complaint, make, read_events, tagged, until

LINES = list(generate.lines(seed=11, count=1500, instruments=4, clients=12))
RATE = ("--rate", "1500")


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(make(tmp_path_factory.mktemp("attach") / "v")).start() as started:
        yield started


@pytest.fixture(scope="module")
def undisturbed(venue: Running) -> dict[str, list[Event]]:
    """What the flow gives where nobody comes or goes."""
    return by_instrument(venue.events(tagged(LINES, "ref-")), "ref-")


def taken(venue: Running) -> dict[str, int]:
    """Take a snapshot; its position, by shard."""
    return {row["shard"]: row["position"] for row in venue.json("snapshot", "take")}


def restarted(venue: Running, name: str) -> dict[str, Any]:
    """Kill a replica, and return what the status says of its successor once that is live."""
    pid = venue.pids[name]
    venue.kill(name)

    def back() -> dict[str, Any]:
        row = venue.row(name)
        return row if row.get("state") == "live" and row.get("pid") != pid else {}

    return until(back, f"{name} is live again")


def stored_files(venue: Running, shard: str) -> list[Path]:
    return sorted(
        (venue.data_dir / "node-1-snapshots").glob(f"{shard}-*.snapshot"), key=lambda path: path.stat().st_mtime
    )


def test_a_replica_that_was_killed_begins_with_the_latest_snapshot(venue: Running, undisturbed: dict[str, list[Event]]):
    """It is live again, agrees with the other in outputs and state, and did not read the log from its beginning."""
    assert undisturbed
    positions = taken(venue)
    for name in ("matching-1", "credit-1"):
        assert restarted(venue, name)["began_at"] == positions[f"{name[:-2]}.0"]
    venue.send(tagged(LINES[:400], "after-"))

    assert set(venue.agreement()) == {"matching.0", "credit.0"}
    rows = venue.json("digest")
    assert [row["agrees"] for row in rows] == [True] * 4
    assert len({row["digest"] for row in rows}) == 2


def test_replicas_come_and_go_while_the_venue_trades(venue: Running, undisturbed: dict[str, list[Event]]):
    """Attached, asked for a snapshot and detached in the middle of a flow: the events are the same."""
    out = venue.scratch / "busy.jsonl"
    with venue.sending(tagged(LINES, "busy-"), "--events", str(out), *RATE) as flow:
        venue.spawn("attach", "matching", "--name", "matching-9")
        venue.await_row("matching-9", "live")
        positions = taken(venue)
        assert venue.run("detach", "matching-9").stdout == "matching-9: detached\n"
        summary = flow()

    assert summary["unanswered"] == 0
    assert by_instrument(read_events(out), "busy-") == undisturbed
    assert not venue.row("matching-9")
    assert "matching-9" not in venue.pids
    assert positions["matching.0"] in [row["position"] for row in venue.json("snapshot", "list")]


def test_a_damaged_snapshot_is_passed_over(venue: Running):
    """Its bytes rotted on the node: the one before it is used, `verify` names it, and `discard` removes it."""
    older = taken(venue)["matching.0"]
    taken(venue)
    path = stored_files(venue, "matching.0")[-1]
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    row = restarted(venue, "matching-1")
    number = int(path.stem.rpartition("-")[2])

    assert row["began_at"] == older
    assert "damaged" in row["passed_over"][0]
    done = venue.run("snapshot", "verify", "-o", "json")
    assert (done.returncode, done.stdout.count("is damaged")) == (1, 1)
    assert venue.run("snapshot", "discard", "matching.0", str(number)).returncode == 0
    assert venue.run("snapshot", "verify").returncode == 0
    assert "no snapshot" in complaint(venue.run("snapshot", "discard", "matching.0", str(number)))


def test_a_forged_snapshot_is_passed_over(venue: Running):
    """A node keeps a state that no replica was in, whole and with all its checksums: the log does not vouch for it."""
    position = taken(venue)["matching.0"]
    with context(venue.config) as made:
        source = venue.config.sources[0]
        true = kept_by_node([source], "matching.0", context=made)[source.name].kept[-1]
        client = SnapshotClient(source, context=made)
        snapshot = images.decode(images.decompress(client.fetch(true)))
        markers = msgspec.structs.replace(snapshot.markers, number=true.number + 1)
        for forged in (
            msgspec.structs.replace(snapshot, markers=markers, outputs=snapshot.outputs + 1),
            msgspec.structs.replace(snapshot, markers=markers, cluster=bytes(16)),
            msgspec.structs.replace(snapshot, markers=markers, version=images.VERSION + 1),
        ):
            body = images.compress(images.encode(forged))
            assert client.store(_describing(true, body), body) == ""
            row = restarted(venue, "matching-2")
            assert row["began_at"] == position
            assert len(row["passed_over"]) == 1
            assert client.discard("matching.0", true.number + 1) == ""

    assert set(venue.agreement()) == {"matching.0", "credit.0"}


def _describing(true: StoredSnapshot, body: bytes) -> StoredSnapshot:
    return msgspec.structs.replace(
        true, number=true.number + 1, size_bytes=len(body), checksum=hashlib.sha256(body).digest()
    )


def test_operators_at_the_same_time_do_not_mix(venue: Running):
    """Four commands that speak through the log at once: each is heard, and answered."""
    running = [
        subprocess.Popen(
            command("digest", "--data", str(venue.data_dir)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err, out.count("yes")) == (0, "", 4)


COUNTER = """
from collections.abc import Sequence

from engines.messages import COMMANDS, Message


class Counter:
    name = "counter"
    reads = (COMMANDS,)
    writes = 0

    def __init__(self):
        self.count = 0

    def apply(self, time_ns, first_sequence, channel, messages):
        self.count += len(messages)
        return []

    def reject(self, time_ns, first_sequence, channel, count, reason):
        return []

    def snapshot(self):
        return str(self.count).encode()

    def restore(self, state):
        self.count = int(state)
"""


def test_a_machine_of_ones_own_is_attached_like_any_other(venue: Running, tmp_path: Path):
    """A class in a file beside the command: it is live, has digests and snapshots, and begins with one."""
    (tmp_path / "mine.py").write_text(COUNTER)
    words = command("attach", "mine:Counter", "--name", "mine-1", "--data", str(venue.data_dir))
    for began in (False, True):
        with subprocess.Popen(words, cwd=tmp_path) as process:
            try:
                venue.await_row("mine-1", "live")
                assert bool(venue.row("mine-1")["began_at"]) == began
                assert "counter.0" in taken(venue)
                assert all(row["agrees"] for row in venue.json("digest"))
                assert venue.run("detach", "mine-1").returncode == 0
                assert process.wait(20) == 0
            finally:
                process.kill()


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("mating", "there is no machine 'mating': expected matching, credit"),
        ("no_such_module:Machine", "no_such_module cannot be imported"),
        ("engines.matching:Nothing", "has no 'Nothing'"),
        ("engines.messages:Tick", "is no machine: it lacks"),
        ("engines.matching:Matching", "is the venue's own"),
    ],
)
def test_what_is_no_machine_is_named(venue: Running, named: str, why: str):
    """Before anything is started."""
    assert why in complaint(venue.run("attach", named), 2)


def test_who_is_not_there_cannot_be_detached(venue: Running):
    """The names that could be are told."""
    assert "the venue knows credit-1" in complaint(venue.run("detach", "matching-7"), 2)
