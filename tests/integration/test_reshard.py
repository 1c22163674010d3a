"""The number of shards changes while a flow runs: every event is the one that it would have been."""

import os
from collections.abc import Iterator

import pytest

from engines.verdicts import verdicts
from gateways.flow import generate
from sequencer.config import Config
from tests.integration.naive_flow import events_of
from tests.models.running import Event, Running, by_instrument, make, read_events, tagged

BETWEEN = [
    ("credit", 2, ["credit.0of2", "credit.1of2"]),
    ("matching", 4, ["matching.0of4", "matching.1of4", "matching.2of4", "matching.3of4"]),
] * ("ISLAND_THOROUGH" in os.environ)
"""More steps on the way, which `make acceptance` takes."""
LINES = list(generate.lines(seed=17, count=4000, instruments=6, clients=12))


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(make(tmp_path_factory.mktemp("reshard") / "v")).start() as started:
        yield started


@pytest.fixture(scope="module")
def expected() -> dict[str, list[Event]]:
    """What one thread makes of the flow."""
    return by_instrument(events_of(LINES))


def reshard(venue: Running, machine: str, shards: int) -> None:
    done = venue.run("reshard", machine, str(shards), timeout_s=180)
    assert done.returncode == 0, done
    assert f"{machine} has {shards} shards" in done.stdout
    venue.config = Config.load(venue.data_dir)


def replicas_of(venue: Running, machine: str) -> list[tuple[str, bool]]:
    """The replicas of a machine: the shard of each, and whether it speaks."""
    return sorted((row["shard"], row["speaks"]) for row in verdicts(venue.config) if row["machine"] == machine)


@pytest.mark.parametrize(
    ("machine", "shards", "senders"),
    [
        ("matching", 2, ["matching.0of2", "matching.1of2"]),
        *BETWEEN,
        ("credit", 3, ["credit.0of3", "credit.1of3", "credit.2of3"]),
        ("credit", 1, ["credit.0"]),
        ("matching", 1, ["matching.0"]),
    ],
)
def test_in_the_middle_of_a_flow(
    venue: Running, expected: dict[str, list[Event]], machine: str, shards: int, senders: list[str]
):
    """From any number to any: the naive model's events; two live replicas of each new shard, none of an old one."""
    tag = f"{machine}{shards}-"
    out = venue.scratch / f"{tag}events.jsonl"
    begin = venue.position
    with venue.sending(tagged(LINES, tag), "--rate", "800", "--events", str(out)) as flow:
        venue.await_position(begin + 1000)
        reshard(venue, machine, shards)
        assert flow()["unanswered"] == 0

    assert by_instrument(read_events(out), tag) == expected
    assert replicas_of(venue, machine) == sorted([(sender, True) for sender in senders] * 2)
    assert {*senders} < {*venue.agreement()}
