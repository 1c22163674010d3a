"""The real Bitstamp flow over 16 instruments and 100 clients, against the naive model of the whole venue.

The first lines of it by default; all of it with ISLAND_FLOW_LINES=314173 (`make acceptance`, some minutes).
"""

import json
import os
from fractions import Fraction
from itertools import islice
from pathlib import Path

import pytest

from gateways.flow import bitstamp
from tests.integration.conftest import Launch
from tests.integration.naive_flow import events_of
from tests.models.running import Event, Running, by_instrument, read_events

LINES = int(os.environ.get("ISLAND_FLOW_LINES", "5000"))
INSTRUMENTS, CLIENTS = 16, 100
FLOWS = Path(__file__).parents[2] / "flows"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """The flow; it is not ours to ship, so it is fetched once."""
    try:
        path = bitstamp.fetch(FLOWS)
    except bitstamp.FlowUnavailableError as error:
        pytest.skip(f"the real flow cannot be had: {error}")
    return list(islice(bitstamp.lines(path, instruments=INSTRUMENTS, clients=CLIENTS), LINES))


def test_deployment_speed_seed_and_kills_decide_nothing(lines: list[str], launch: Launch):
    """One node at full speed, and three at a rate with kill -9 in between, trade what one naive thread would."""
    expected = amounts(events_of(lines))
    alone = launch(env={"PYTHONHASHSEED": "1"})
    together = launch(nodes=3, env={"PYTHONHASHSEED": "2"})

    assert amounts(alone.events(lines)) == expected
    alone.agreement()
    assert_conserved(alone)
    alone.close()
    assert amounts(events_under_fire(together, lines)) == expected
    together.agreement()
    assert_conserved(together)


def amounts(events: list[Event]) -> dict[str, list[Event]]:
    """By instrument, with decimals as numbers: the file writes 0.5, the venue 0.50000000."""
    found = by_instrument(events)
    for event in (event for of_one in found.values() for event in of_one):
        event.update((name, Fraction(event[name])) for name in ("price", "quantity") if name in event)
    return found


def events_under_fire(venue: Running, lines: list[str]) -> list[Event]:
    """The events of the flow while the leader, a matching and a credit replica and the gateway are killed in turn."""
    out = venue.scratch / "events-under-fire.jsonl"
    step = len(lines) // 5
    with venue.sending(lines, "--rate", "4000", "--events", str(out)) as flow:
        for number in range(1, 5):
            venue.await_position(number * step)
            venue.kill(victim(venue, number))
        summary = flow()
    assert summary["answered"] == len(lines)
    return read_events(out)


def victim(venue: Running, number: int) -> str:
    """Whom to kill: whoever leads now, then one of each kind."""
    leader = next((row["name"] for row in venue.status.nodes if row["role"] == "leader"), "node-1")
    return (leader, "matching-1", "credit-2", "order-1")[number - 1]


def assert_conserved(venue: Running) -> None:
    """For every client: limit = free + reserved + used, from the log."""
    for client in ("C1", "C50", "C100"):
        for account in venue.json("credit", client)["accounts"]:
            limit, *parts = (Fraction(account[key]) for key in ("limit", "free", "reserved", "used"))
            assert limit == sum(parts), json.dumps(account)
