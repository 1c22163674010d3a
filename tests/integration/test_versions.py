"""A change of a machine's rules on a running venue: all its replicas at one place, and none that does not know it."""

import json
from pathlib import Path

from engines import messages as m
from sequencer.config import Config
from tests.models.running import Running, Stream, complaint, make, until, without_processes
from tests.models.trader import Trader

PROGRAM = '''
from engines.messages import COMMANDS, CancelOrder, NewOrder


class Counting:
    """How many orders there were; from version 2 on, how many cancels as well."""

    name, reads, writes = "counting", (COMMANDS,), 0
    {version}

    def __init__(self):
        self.rules, self.count = 1, 0

    def apply(self, time_ns, first_sequence, channel, messages):
        kinds = (NewOrder,) if self.rules == 1 else (NewOrder, CancelOrder)
        self.count += sum(isinstance(message, kinds) for message in messages)
        return []

    def reject(self, time_ns, first_sequence, channel, count, reason):
        return []

    def activate(self, version):
        self.rules = version

    def snapshot(self):
        return self.count.to_bytes(8, "big")

    def restore(self, state):
        self.count = int.from_bytes(state, "big")
'''
ATTACH = ("attach", "counting:Counting", "--unchecked", "--name")


def test_new_rules_begin_at_one_place(tmp_path: Path):
    """Refused while a replica is of the old program; then in force for all; the old one stops there, and says why."""
    make(tmp_path / "v")
    config = without_processes(tmp_path / "v", "matching-2", "credit-2")
    (tmp_path / "counting.py").write_text(PROGRAM.format(version=""))
    with Running(Config.load(config.data_dir), PYTHONPATH=str(tmp_path)).start() as venue, Stream(config) as stream:
        trader = Trader(stream)
        trader.say(trader.order("a"), m.CancelOrder(1, 90, 1, "a"))
        venue.spawn(*ATTACH, "old-1")
        venue.await_row("old-1", "live")
        (tmp_path / "counting.py").write_text(PROGRAM.format(version="version = 2"))
        venue.spawn(*ATTACH, "new-1")
        venue.await_row("new-1", "live")
        assert "old-1 knows versions up to 1" in complaint(venue.run("activate", "counting", "2"), 2)
        assert venue.run("detach", "old-1").returncode == 0
        venue.spawn(*ATTACH, "new-2")
        venue.await_row("new-2", "live")

        assert "version 2 of counting is in force" in venue.run("activate", "counting", "2").stdout
        assert "expected a later one, got 2" in complaint(venue.run("activate", "counting", "2"), 2)
        trader.say(trader.order("b"), m.CancelOrder(1, 91, 1, "b"))
        assert venue.run("snapshot", "take").returncode == 0
        rows = json.loads(venue.run("digest", "-o", "json").stdout)
        counting = [row for row in rows if row["shard"] == "counting.0"]
        assert [row["replica"] for row in counting] == ["new-1", "new-2"]
        assert all(row["agrees"] for row in counting)

        venue.kill("new-2")  # one that begins with the snapshot has the rules from it
        venue.spawn(*ATTACH, "new-3")
        venue.await_row("new-3", "live")
        assert venue.row("new-3")["rules"] == 2
        (tmp_path / "counting.py").write_text(PROGRAM.format(version=""))
        venue.spawn(*ATTACH, "old-2")
        row = until(lambda: (found := venue.row("old-2")).get("state") == "halted" and found, "the old program stops")
        assert "this program knows versions up to 1: run the newer one" in row["why"]
