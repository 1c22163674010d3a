"""Who changes a running venue stands in its log, before it is changed: each command, on real processes."""

import os
import pwd
import signal
import socket
from collections.abc import Iterator
from typing import Any, Final

import pytest

from engines import messages as m
from engines.runs import operations_in
from sequencer.envelope import CONTROL
from sequencer.log_tools import entries_of
from tests.models.running import Running, complaint, make, until

ME: Final = f"{pwd.getpwuid(os.getuid()).pw_name}@{socket.gethostname()}"

CHANGES: Final[dict[str, tuple[str, dict[str, Any], int]]] = {
    "snapshot take --machine credit": ("snapshot take", {"machine": "credit"}, 0),
    "snapshot schedule --messages 9000 --minutes 0": ("snapshot schedule", {"messages": 9000, "minutes": 0.0}, 0),
    "snapshot discard credit.0 1": ("snapshot discard", {"shard": "credit.0", "number": 1}, 0),
    "activate matching 2": ("activate", {"machine": "matching", "version": 2}, 2),
    "refuse-undecided --shard 0/1": ("refuse-undecided", {"shard": "0/1"}, 2),
    "reshard matching 1": ("reshard", {"machine": "matching", "shards": 1}, 2),
    "poison skip 1 --machine matching": ("poison skip", {"sequences": [1], "machine": "matching"}, 2),
    "trade bust 1": ("trade bust", {"sequence": 1}, 2),
    "trade correct 1 --price 9": ("trade correct", {"sequence": 1, "price": "9"}, 2),
    "leader transfer node-9": ("leader transfer", {"name": "node-9"}, 1),
    "members add node-1": ("members add", {"name": "node-1", "learner": False}, 2),
    "members remove node-9": ("members remove", {"name": "node-9"}, 2),
    "keys init": ("keys init", {}, 0),
    "keys issue desk --role client --of ANN": (
        "keys issue", {"name": "desk", "role": "client", "of": ["ANN"], "operates": False}, 0,
    ),
    "keys revoke desk": ("keys revoke", {"name": "desk"}, 0),
    "api-key issue ANN --may read": ("api-key issue", {"client": "ANN", "may": ["read"]}, 0),
    "api-key revoke nobody": ("api-key revoke", {"key": "nobody"}, 2),
    "restart marketdata-1": ("restart", {"names": ["marketdata-1"]}, 0),
    "detach matching-2": ("detach", {"name": "matching-2"}, 0),
}  # fmt: skip
"""A command, in the order in which they are tried -> what is noted of it, and its exit code: some cannot be done."""

EFFECTS: Final = {
    "snapshot take --machine credit": m.TakeSnapshot,
    "snapshot schedule --messages 9000 --minutes 0": m.ScheduleSnapshots,
    "detach matching-2": m.DetachReplica,
}
"""What follows in the log, where it is done there."""


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One node, with everything beside it."""
    with Running(make(tmp_path_factory.mktemp("actions") / "v")).start() as started:
        yield started


def operations(venue: Running) -> list[m.Message]:
    """All that operators have had sequenced."""
    batches = [batch for entry in entries_of(venue.config) for batch in entry.batches()]
    return [one for batch in batches if batch.channel == m.OPERATIONS for one in operations_in(batch)]


def held(venue: Running) -> list[tuple[str, int]]:
    """Whose batches the log holds, gateways' own and openings of sessions aside."""
    batches = [batch for entry in entries_of(venue.config) for batch in entry.batches()]
    return [(b.sender, b.number) for b in batches if b.channel != CONTROL and not b.sender.startswith("gateway.")]


@pytest.mark.parametrize("words", CHANGES)
def test_a_command_is_noted_once_and_before_it_acts(words: str, venue: Running):
    """Who, what, with what and why; what it has sequenced comes behind that."""
    action, details, code = CHANGES[words]
    before = len(operations(venue))
    done = venue.run(*words.split(), "--reason", f"why {words}", timeout_s=120)
    rows = [row for row in venue.json("actions") if row["reason"] == f"why {words}"]

    assert done.returncode == code, done
    assert "warning" not in done.stderr
    assert [(row["operator"], row["key"], row["action"], row["details"]) for row in rows] == [(ME, "", action, details)]
    added = [type(one) for one in operations(venue)[before:]]
    assert added == [m.OperatorAction, *([EFFECTS[words]] if words in EFFECTS else [])]


def test_actions_are_shown_to_people_and_programs(venue: Running):
    """The same rows, the last ones where that is asked for."""
    rows = venue.json("actions")
    shown = venue.run("actions", "--last", "2", env={**os.environ, "COLUMNS": "200"}).stdout

    assert venue.json("actions", "--last", "2") == rows[-2:]
    assert [row["sequence"] for row in rows] == sorted({row["sequence"] for row in rows})
    assert all(f"{row['sequence']:,}" in shown and row["reason"] in shown for row in rows[-2:])
    assert rows[-3]["reason"] not in shown


def test_a_question_is_not_an_action(venue: Running):
    """Who only looks is not noted."""
    before = venue.json("actions")
    for words in ("status", "members list", "snapshot list", "keys list", "actions", "sessions", "poison list"):
        assert venue.run(*words.split()).returncode == 0, words

    assert venue.json("actions") == before


def test_without_a_leader_nothing_is_changed(venue: Running):
    """The error says why; a key is revoked all the same, with a warning that no log tells of it."""
    assert venue.run("keys", "issue", "lost", "--role", "reader").returncode == 0
    before, members = held(venue), venue.json("members", "list")
    pid = venue.pids["node-1"]
    os.kill(pid, signal.SIGSTOP)
    try:
        refused = venue.run("snapshot", "schedule", "--messages", "1", "--minutes", "0")
        lead = venue.run("members", "add", "node-4")
        revoked = venue.run("keys", "revoke", "lost")
    finally:
        os.kill(pid, signal.SIGCONT)
    venue.config = type(venue.config).load(venue.data_dir)
    venue.await_well()

    assert "nothing was done: who asks for it has to stand in the log first" in complaint(refused)
    assert "nothing was done" in complaint(lead)
    assert "node-4" not in (venue.data_dir / "venue.toml").read_text()
    assert (revoked.returncode, revoked.stdout) == (0, "the key of lost is revoked\n")
    assert "warning: this does not stand in the log" in revoked.stderr
    assert (held(venue), venue.json("members", "list")["version"]) == (before, members["version"])


def test_actions_are_read_from_the_files_of_a_stopped_venue(venue: Running):
    """And a command that would change it says that it does not run."""
    rows = venue.json("actions")
    assert venue.stop() == 0
    until(lambda: not venue.pids, "all have ended")
    refused = venue.run("detach", "matching-1")

    assert venue.json("actions") == rows
    assert "the venue does not run" in complaint(refused)
