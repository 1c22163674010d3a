"""Laws of the sources of flow: every line is valid, and the same in any process."""

import gzip
import hashlib
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from gateways.flow import bitstamp, generate
from gateways.flow.lines import CancelOrder, NewOrder, ReplaceOrder, SetCredit, SetInstrument, parse

ROOT = Path(__file__).parents[3]
ROWS = """id,timestamp,exchange_timestamp,price,volume,action,direction
11,1,1,78318.0,1.53453667,created,bid
12,1,1,0.0,10.0,created,bid
13,1,1,999999999.0,0.0,created,ask
11,2,2,78319.0,7.18e-06,changed,bid
99,2,2,78319.0,0.5,deleted,ask
11,3,3,78319.0,0.0,deleted,bid
"""
SOURCES = """
import hashlib, sys
from pathlib import Path
from gateways.flow import bitstamp, generate
lines = [*generate.lines(7, 3000, 4, 9), *bitstamp.lines(Path(sys.argv[1]), instruments=4, clients=9)]
print(hashlib.sha256("\\n".join(lines).encode()).hexdigest())
"""


@pytest.fixture
def recorded(tmp_path):
    """A recording of six rows with every oddity of the real one."""
    path = tmp_path / "orders.csv.gz"
    path.write_bytes(gzip.compress(ROWS.encode()))
    return path


def _parsed(lines):
    return [parse(line, number) for number, line in enumerate(lines, 1)]


def test_a_row_is_a_command(recorded):
    """Each row becomes one valid line, with a price of at least a tick and a quantity of at least a lot."""
    assert _parsed(bitstamp.lines(recorded, clients=1)) == [
        SetInstrument("BTC-USD", "0.01", "0.00000001", "USD"),
        SetCredit("C1", "USD", "1000000000000"),
        NewOrder("C1", "11", "BTC-USD", "buy", "78318.0", "1.53453667"),
        NewOrder("C1", "12", "BTC-USD", "buy", "0.01", "10.0"),
        NewOrder("C1", "13", "BTC-USD", "sell", "999999999.0", "0.00000001"),
        ReplaceOrder("C1", "11", "BTC-USD", "78319.0", "0.00000718"),
        CancelOrder("C1", "99", "BTC-USD"),
        CancelOrder("C1", "11", "BTC-USD"),
    ]


def test_an_orders_changes_go_with_it(recorded):
    """However the flow is spread, all commands about an order have its client and its instrument."""
    places = defaultdict(set)
    for line in _parsed(bitstamp.lines(recorded, instruments=16, clients=100)):
        if not isinstance(line, SetInstrument | SetCredit):
            places[line.client_order_id].add((line.client, line.symbol))

    assert [len(found) for found in places.values()] == [1, 1, 1, 1]


def test_a_recording_that_is_none_is_refused(tmp_path):
    """What cannot be read as the recording is an error that names the file."""
    path = tmp_path / "orders.csv.gz"
    path.write_bytes(b"not gzip")

    with pytest.raises(bitstamp.FlowUnavailableError, match=r"orders\.csv\.gz is not the Bitstamp flow"):
        list(bitstamp.lines(path))


def test_a_place_that_cannot_hold_the_recording_is_named(tmp_path):
    """A cache directory that cannot be made is an error that names it."""
    (tmp_path / "file").touch()

    with pytest.raises(bitstamp.FlowUnavailableError, match=r"cannot be stored in .*file/cache"):
        bitstamp.fetch(tmp_path / "file" / "cache")


def test_a_recording_that_is_there_is_not_fetched(tmp_path, monkeypatch):
    """Once it is in the directory, the recording needs no network."""
    path = tmp_path / bitstamp.FILE_NAME
    path.write_bytes(b"recording")
    monkeypatch.setattr(bitstamp, "SHA256", hashlib.sha256(b"recording").hexdigest())

    assert bitstamp.fetch(tmp_path) == path


def test_a_download_that_fails_is_told(tmp_path, monkeypatch):
    """Where PyPI has no such wheel, the error says which one and what pip said."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    with pytest.raises(bitstamp.FlowUnavailableError, match=r"ob-analytics==0\.1\.0 cannot be downloaded"):
        bitstamp.fetch(tmp_path)


def test_generated_lines_are_valid_and_counted():
    """The generator makes as many valid commands as asked for, after the instruments and the credit."""
    lines = _parsed(generate.lines(1, 5000, 3, 5))

    assert [line.kind for line in lines[:8]] == ["SetInstrument"] * 3 + ["SetCredit"] * 5
    assert len(lines) == 5008


def test_generated_flow_holds_every_kind_of_order():
    """Each order type, time in force and instruction comes up, and cancels and replaces too."""
    lines = _parsed(generate.lines(1, 5000, 2, 3))[5:]
    orders = [line for line in lines if isinstance(line, NewOrder)]

    assert {line.kind for line in lines} == {"NewOrder", "ReplaceOrder", "CancelOrder", "CancelAll"}
    assert {order.time_in_force for order in orders} == {"gtc", "ioc", "fok", "gtd"}
    assert {order.order_type for order in orders} == {"limit", "market"}
    assert {order.self_trade for order in orders} == {
        "allow",
        "cancel_newest",
        "cancel_oldest",
        "cancel_both",
    }
    assert {order.post_only for order in orders} == {True, False}


def test_another_seed_is_another_flow():
    """The seed decides the flow."""
    assert list(generate.lines(1, 100)) != list(generate.lines(2, 100))


def test_sources_do_not_depend_on_the_hash_seed(recorded):
    """A flow is the same in every process, under any PYTHONHASHSEED."""
    digests = [_digest_in_a_process(recorded, hash_seed) for hash_seed in ("1", "2")]

    assert digests[0] == digests[1]


def _digest_in_a_process(recorded, hash_seed):
    command = [sys.executable, "-c", SOURCES, str(recorded)]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60).stdout
