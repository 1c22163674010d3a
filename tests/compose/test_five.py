"""deploy/compose.five.yaml: five nodes, of which two may be gone, and matching in two shards."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.compose.containers import BUILD_S, PROJECT, ROOT, UP_S, WELL_S, docker, works
from tests.models.running import until

pytestmark = [
    pytest.mark.skipif(not works(), reason="needs a Docker engine with compose"),
    pytest.mark.skipif("ISLAND_COMPOSE" not in os.environ, reason="a part of `make test-compose`"),
]
IMAGE = f"{PROJECT}:five"
FILES = ("-f", "compose.yaml", "-f", "deploy/compose.five.yaml")


def compose(*words: str, timeout_s: float = UP_S) -> str:
    env = {**os.environ, "ISLAND_IMAGE": IMAGE, "RATE": "300"}
    return docker("compose", "-p", f"{PROJECT}-five", *FILES, *words, timeout_s=timeout_s, env=env)


def told(*words: str) -> Any:
    """What a command of the admin prints, as JSON; nothing where it does not exit with 0."""
    try:
        return json.loads(compose("exec", "-T", "admin", "sequencer", *words, "-o", "json"))
    except RuntimeError:
        return None


@pytest.fixture(scope="module")
def venue() -> Iterator[None]:
    docker("build", "-q", "-t", IMAGE, str(ROOT), timeout_s=BUILD_S)
    try:
        compose("up", "-d", "--no-build")
        until(lambda: told("health"), "all is well", WELL_S)
        yield
    finally:
        compose("--profile", "*", "down", "-v", "--remove-orphans", "-t", "2")
        docker("image", "rm", "-f", IMAGE)


@pytest.mark.usefixtures("venue")
def test_two_of_five_may_be_gone_and_matching_is_cut():
    """While real orders trade: matching is cut in two, the leader and another node end and come back, all agree."""
    compose("--profile", "demo", "up", "-d", "--no-build", "flow")
    until(lambda: told("book", "BTC-USD"), "the flow has begun")
    compose("exec", "-T", "admin", "sequencer", "reshard", "matching", "2", "--reason", "two shards")
    leader = until(lambda: told("leader", "show"), "a leader")["leader"]
    gone = (leader, next(row["name"] for row in told("members", "list")["members"] if row["name"] != leader))
    for name in gone:
        container = compose("ps", "-q", name).strip()
        os.kill(int(docker("inspect", "-f", "{{.State.Pid}}", container)), signal.SIGKILL)
    before = until(lambda: told("leader", "show"), "another leads")["committed_index"]
    until(lambda: told("leader", "show")["committed_index"] > before + 100, "it goes on")
    until(lambda: told("health"), "all is well again", WELL_S)

    agreed = {row["shard"]: row["agrees"] for row in until(lambda: told("digest"), "digests")}
    assert {shard for shard in agreed if shard.startswith("matching")} >= {"matching.0of2", "matching.1of2"}
    assert set(agreed.values()) == {True}
