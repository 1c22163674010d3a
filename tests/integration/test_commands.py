"""The commands as documented: what they print, for people and for programs, and how they exit."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from sequencer.__main__ import prepared
from tests.integration.conftest import Traded
from tests.models.running import Running, complaint, make, read_events, tagged

COLUMNS = {"name", "role", "pid", "position", "lag", "state"}
KINDS = {
    "nodes": ["node-1"],
    "replicas": ["credit-1", "credit-2", "matching-1", "matching-2"],
    "gateways": ["marketdata-1", "order-1"],
}
SETUP = [
    '{"type":"SetInstrument","symbol":"ETH-USD","tick":"0.01","lot":"0.001","currency":"USD"}',
    '{"type":"SetCredit","client":"A","currency":"USD","limit":"1000"}',
    '{"type":"SetCredit","client":"B","currency":"USD","limit":"1000"}',
]
ORDERS = [
    '{"type":"NewOrder","client":"A","client_order_id":"1","symbol":"ETH-USD","side":"buy","price":"10.00","quantity":"2"}',
    '{"type":"NewOrder","client":"B","client_order_id":"1","symbol":"ETH-USD","side":"sell","price":"10","quantity":"0.5"}',
]


@pytest.fixture
def venue(traded: Traded) -> Running:
    return traded.venue


def commands(group: "typer.core.TyperGroup", *words: str) -> "Iterator[tuple[tuple[str, ...], object]]":
    """Every command of the application, groups included."""
    for name, command in group.commands.items():
        yield (*words, name), command
        if hasattr(command, "commands"):
            yield from commands(command, *words, name)


def test_the_help_of_every_command_has_an_example():
    """`sequencer COMMAND --help` says what it does and shows one use of it."""
    found = dict(commands(typer.main.get_command(prepared())))
    lacking = [words for words, c in found.items() if "Example: sequencer " not in f"{c.help}{c.epilog}"]

    assert ("flow", "send") in found
    assert ("log", "verify") in found
    assert lacking == []


def test_status_has_every_process_with_the_same_columns(venue: Running):
    """`status -o json`: nodes, replicas, gateways; each row has name, role, pid, position, lag and state."""
    found = venue.json("status")
    rows = [row for kind in KINDS for row in found[kind]]

    assert {kind: sorted(row["name"] for row in found[kind]) for kind in KINDS} == KINDS
    assert all(row.keys() >= COLUMNS for row in rows)
    assert {row["name"]: row["pid"] for row in rows} == {
        name: pid for name, pid in venue.pids.items() if name not in {"supervisor", "node-1-replayer"}
    }
    assert {(row["lag"], row["state"]) for row in rows} == {(0, "live")}


def test_status_is_a_table_for_people(venue: Running):
    """One line a process under the same columns."""
    shown = venue.run("status").stdout

    assert all(name in shown for names in KINDS.values() for name in names)
    assert all(column in shown for column in COLUMNS)


def test_health_exits_with_0_only_if_all_is_well(venue: Running):
    """`health` says `well`, or why not and exits with 1."""
    assert venue.json("health") == {"healthy": True, "problems": [], "warnings": []}

    os.kill(venue.pids["marketdata-1"], signal.SIGSTOP)
    venue.await_row("marketdata-1", "silent")
    done = venue.run("health", "-o", "json")
    os.kill(venue.pids["marketdata-1"], signal.SIGCONT)
    venue.await_well()

    assert (done.returncode, json.loads(done.stdout)["problems"]) == (1, ["marketdata-1 is silent"])


def test_a_line_that_is_not_valid_is_named_and_nothing_else_is_lost(venue: Running, tmp_path: Path):
    """Exit code 2, the line's number and what is wrong with it on stderr; all other lines trade."""
    lines = tagged([*SETUP, *ORDERS], "bad-")
    lines.insert(4, '{"type":"NewOrder","client":"bad-A","side":"up"}')
    lines.append("neither is this")
    (flow := tmp_path / "flow.jsonl").write_text("\n".join(lines))
    done = venue.run("flow", "send", str(flow), "--events", str(tmp_path / "events"), "-o", "json")

    assert done.returncode == 2
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["line 5", "line 7"]
    assert {key: json.loads(done.stdout)[key] for key in ("lines", "submitted", "answered", "invalid")} == {
        "lines": 7, "submitted": 5, "answered": 5, "invalid": 2,
    }  # fmt: skip
    assert [event["type"] for event in read_events(tmp_path / "events") if "bad-ETH-USD" in event.values()] == [
        "InstrumentSet", "OrderAccepted", "OrderAccepted", "Trade",
    ]  # fmt: skip


def test_events_have_the_fields_that_users_rely_on(venue: Running):
    """OrderAccepted comes before the order's trades; their fields are those of the contract."""
    *_, accepted, trade = venue.events(tagged([*SETUP, *ORDERS], "contract-"))

    assert accepted.items() >= {
        "type": "OrderAccepted", "client": "contract-B", "client_order_id": "1", "symbol": "contract-ETH-USD",
        "side": "sell", "price": "10.00", "quantity": "0.500",
    }.items()  # fmt: skip
    assert trade.items() >= {
        "type": "Trade", "symbol": "contract-ETH-USD", "price": "10.00", "quantity": "0.500",
        "aggressor_side": "sell", "maker_client": "contract-A", "maker_client_order_id": "1",
        "taker_client": "contract-B", "taker_client_order_id": "1",
    }.items()  # fmt: skip
    assert accepted["order_id"] < accepted["sequence"] < trade["sequence"]
    assert accepted["time_ns"] <= trade["time_ns"]


def test_a_flow_can_come_from_standard_input(venue: Running):
    """`flow generate | flow send -`, with no file in between."""
    flow = "\n".join(tagged([*SETUP, *ORDERS], "pipe-"))
    done = venue.run("flow", "send", "-", input=flow)

    assert done.returncode == 0
    assert "5 lines, 5 sent, 5 answered, 0 unanswered, 0 invalid" in done.stdout


@pytest.mark.parametrize(
    "words", [["no-such-file"], ["/dev/null", "--events", "/no/such/directory/events"]], ids=" ".join
)
def test_a_file_that_cannot_be_used_is_told_before_anything_is_sent(words: list[str], venue: Running):
    """One line, naming the file."""
    assert words[-1] in complaint(venue.run("flow", "send", *words), 2)


def test_book_and_credit_show_what_was_traded(venue: Running):
    """The best levels of a book; limit = free + reserved + used of an account."""
    venue.send(tagged([*SETUP, *ORDERS], "shown-"))
    venue.agreement()
    book, credit = venue.json("book", "shown-ETH-USD"), venue.json("credit", "shown-A")

    assert (book["buys"], book["sells"]) == ([{"price": "10.00", "quantity": "1.500", "orders": 1}], [])
    assert credit["accounts"] == [{"currency": "USD", "limit": "1000", "free": "980", "reserved": "15", "used": "5"}]


def test_who_is_not_there_cannot_be_shown(venue: Running):
    """One line each, naming what is known."""
    assert "BTC-USD" in complaint(venue.run("book", "NOPE"), 1)
    assert "there is no client 'NOPE'" in complaint(venue.run("credit", "NOPE"), 2)


def test_the_log_can_be_dumped_and_tailed(venue: Running):
    """Every message once, in order, as JSON lines; the tail is the end of it; by batches, or by messages."""
    dumped = rows(venue, "log", "dump", "--last", "2000", "--messages")
    batches = rows(venue, "log", "dump", "--last", "2000")
    tail = rows(venue, "log", "tail", "--no-follow", "--messages")

    assert [row["sequence"] for row in dumped] == list(range(1, 2001))
    assert sum(batch["count"] for batch in batches) >= 2000
    assert tail[-1]["sequence"] > 2000
    assert {"NewOrder", "CreditDecisions", "OrderAccepted"} <= {row["type"] for row in dumped}


def rows(venue: Running, *words: str) -> list[dict[str, object]]:
    done = venue.run(*words)
    assert done.returncode == 0, done
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_journal_of_a_running_venue_is_sound(venue: Running):
    """`log info` and `log verify` have a row for each node."""
    [info], [verified] = venue.json("log", "info"), venue.json("log", "verify")

    assert (info["node"], verified["node"], verified["problem"]) == ("node-1", "node-1", "")
    assert verified["entries"] >= info["entries"] > 0


@pytest.mark.parametrize(
    "words", [["status"], ["health"], ["log", "info"], ["credit", "A"], ["book", "X"]], ids=" ".join
)
def test_a_directory_without_a_venue(words: list[str], tmp_path: Path):
    """One line, naming the file that is missing and what makes it."""
    venue = Running(make(tmp_path / "v"))
    (tmp_path / "v" / "venue.toml").unlink()

    assert "venue.toml is missing; `sequencer up` creates one" in complaint(venue.run(*words), 2)


def test_a_venue_that_does_not_run_is_told_as_such(tmp_path: Path):
    """`status` and `health` of a stopped venue say that everything is dead; `down` has nothing to do."""
    venue = Running(make(tmp_path / "v"))
    status, health, down = venue.json("status"), venue.run("health"), venue.run("down")

    assert {row["state"] for kind in KINDS for row in status[kind]} == {"dead"}
    assert (health.returncode, "node node-1 is dead" in health.stdout) == (1, True)
    assert (down.returncode, down.stdout) == (0, f"nothing runs in {tmp_path}/v\n")
