"""A machine is tried on a log before it is let in: what it does differently is told, with the place."""

from pathlib import Path

import pytest

from tests.integration.conftest import Traded
from tests.models.running import complaint

BAD = '''
from engines.matching import Matching
from engines.messages import COMMANDS, OrderAccepted


class Good:
    name = "good"
    reads = (COMMANDS,)
    writes = 0

    def __init__(self):
        self.count = 0
        self.names = {}

    def apply(self, time_ns, first_sequence, channel, messages):
        self.count += len(messages)
        return []

    def reject(self, time_ns, first_sequence, channel, count, reason):
        return []

    def snapshot(self):
        return repr((self.count, list(self.names))).encode()

    def restore(self, state):
        self.count, names = eval(state)
        self.names = dict.fromkeys(names)


class Hashed(Good):
    def apply(self, time_ns, first_sequence, channel, messages):
        self.names = dict.fromkeys({getattr(message, "client_order_id", "") for message in messages})
        return []


class Cut(Good):
    def apply(self, time_ns, first_sequence, channel, messages):
        self.count += 1
        return []


class Forgetful(Good):
    def restore(self, state):
        self.count = 0


class Raising(Good):
    def apply(self, time_ns, first_sequence, channel, messages):
        raise ValueError("not today")


class Changed(Good):
    """Says that it is matching, and makes other outputs than the log holds."""

    reads = Matching.reads
    writes = Matching.writes

    def apply(self, time_ns, first_sequence, channel, messages):
        return [OrderAccepted(first_sequence)]
'''


@pytest.mark.parametrize("machine", ["matching", "credit", "examples.positions:Positions", "bad:Good"])
def test_what_does_the_same_again_is_proven(
    machine: str, traded: Traded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The venue's own machines, against every output in the log, and machines that only read."""
    (tmp_path / "bad.py").write_text(BAD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    proof = traded.venue.json("prove", machine)

    assert proof["problems"] == []
    assert proof["messages"] > len(traded.lines)
    assert (proof["compared"] > 0) == (machine in ("matching", "credit"))


@pytest.mark.parametrize(
    ("machine", "why"),
    [
        ("bad:Hashed", "PYTHONHASHSEED"),
        ("bad:Cut", "messages one by one leave another state"),
        ("bad:Forgetful", "`restore` does not give the machine"),
        ("bad:Raising", "ValueError: not today (%s"),
    ],
)
def test_what_differs_is_told(machine: str, why: str, traded: Traded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With the place, and what it may be; and it is not let in."""
    (tmp_path / "bad.py").write_text(BAD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = traded.venue.run("prove", machine, "-o", "json")

    assert done.returncode == 1
    assert (why % (tmp_path / "bad.py") if "%s" in why else why) in done.stdout
    assert "D104" in complaint(traded.venue.run("attach", machine), 2)


def test_a_version_that_does_otherwise_than_the_log_is_told(traded: Traded, tmp_path: Path, monkeypatch):
    """Every output that the log holds of the shard is compared."""
    changed = BAD.replace('name = "good"', 'name = "matching"')
    (tmp_path / "bad.py").write_text(changed)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = traded.venue.run("prove", "bad:Changed")

    assert "is the venue's own" in complaint(done, 2)
