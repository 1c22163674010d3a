"""The session of docs/operations.md: the commands that operators have, on a venue whose engines have defects.

    python -m tests.integration.operations > docs/operations.md      writes it anew

What a command prints stands below it. Numbers, times and places differ from run to run; the test compares the rest.
"""

import json
import os
import re
import shlex
import sys
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines.verdicts import verdicts
from sequencer.noting import operator
from tests.models.poisoned_venue import poisoned_venue
from tests.models.running import Running, sequencer, until

ROOT = Path(__file__).parents[2]
ENV = {"COLUMNS": "118"}
LINES_MAX = 14
PROSE_CHARS = 118
SHOWN_BEFORE = 4

OPENING = [
    '{"type":"SetInstrument","symbol":"ETH-USD","tick":"0.01","lot":"0.001","currency":"USD"}',
    '{"type":"SetInstrument","symbol":"SOL-USD","tick":"0.01","lot":"0.001","currency":"USD"}',
    '{"type":"SetCredit","client":"ANN","currency":"USD","limit":"100000"}',
    '{"type":"SetCredit","client":"BOB","currency":"USD","limit":"100000"}',
]
TRADE = [
    '{"type":"NewOrder","client":"ANN","client_order_id":"a1","symbol":"ETH-USD","side":"buy","price":"10","quantity":"2"}',
    '{"type":"NewOrder","client":"BOB","client_order_id":"b1","symbol":"ETH-USD","side":"sell","price":"10","quantity":"1"}',
]


def order(name: str, symbol: str) -> str:
    """An order that the engines of this venue cannot take, if its name says so: `raise`, `loop`."""
    return json.dumps(
        {
            "type": "NewOrder", "client": "ANN", "client_order_id": name, "symbol": symbol, "side": "buy",
            "price": "9", "quantity": "1", "post_only": True,
        }
    )  # fmt: skip


class Session:
    """What is done and seen, as Markdown."""

    def __init__(self, venue: Running) -> None:
        self.venue = venue
        self.text: list[str] = []
        path = os.pathsep.join(filter(None, (str(venue.data_dir.parent), os.environ.get("PYTHONPATH"))))
        self._env = {**os.environ, **ENV, "PYTHONPATH": path}

    def say(self, *paragraphs: str) -> None:
        """Prose, or a heading."""
        for paragraph in paragraphs:
            self.text += [paragraph if paragraph[0] in "# " else textwrap.fill(paragraph, PROSE_CHARS), ""]

    def run(self, words: str, *, code: int = 0, shown: int = LINES_MAX) -> str:
        """Run a command and show what it prints, of long outputs beginning and end; its exit code must be `code`."""
        run = sequencer if words.startswith("lint") else self.venue.run
        done = run(*shlex.split(words), env=self._env, timeout_s=180)
        assert done.returncode == code, (words, done)
        lines = [line.rstrip() for line in (done.stdout + done.stderr).splitlines()]
        lines = [self._placeless(line) for line in lines if line]
        if len(lines) > shown:
            lines = [*lines[:SHOWN_BEFORE], "...", *lines[len(lines) - shown + SHOWN_BEFORE + 1 :]]
        self.text += [f"    $ sequencer {words}", *(f"    {line}" for line in lines)]
        if code:
            self.text += [f"    (exit code {code})"]
        self.text += [""]
        return done.stdout

    def json(self, words: str) -> Any:
        """The same as data, not shown."""
        return json.loads(self.venue.run(*shlex.split(words), "-o", "json", env=self._env).stdout)

    def await_verdicts(self, accept: Callable[[list[dict[str, Any]]], Any]) -> None:
        """Wait until the replicas are as they should be shown."""
        until(lambda: accept(verdicts(self.venue.config)), "the replicas are as expected")

    def trade(self, *lines: str, waits: bool = True) -> int:
        """Send lines, and return the sequence number of the first of their commands; not all need be answered."""
        before = self.venue.position
        if waits:
            self.venue.send(lines)
        else:
            path = self.venue.scratch / "waiting.jsonl"
            path.write_text("".join(f"{line}\n" for line in lines))
            self.venue.spawn("flow", "send", str(path))
        self.venue.await_position(before + len(lines))
        return self._first_order_behind(before)

    def _first_order_behind(self, position: int) -> int:
        def found() -> int:
            dumped = self.venue.run("log", "dump", "--messages", "--first", str(position + 1)).stdout
            rows = [json.loads(line) for line in dumped.splitlines()]
            return next((int(row["sequence"]) for row in rows if row["type"] == "NewOrder"), 0)

        return int(until(found, "the order is in the log"))

    def _placeless(self, line: str) -> str:
        line = line.replace(str(self.venue.data_dir.parent), "DIR").replace(f"{ROOT}/", "")
        return line.replace(operator(self.venue.config), "kim@desk-4")


def written(venue: Running) -> str:
    """The whole session, done on a venue of three nodes that has just begun."""
    session = Session(venue)
    venue.run("leader", "transfer", "node-1")
    venue.await_well()
    for part in (
        _looking,
        _telling,
        _replicas,
        _snapshots,
        _history,
        _poison,
        _trades,
        _shards,
        _own,
        _versions,
        _nodes,
        _actions,
    ):
        part(session)
    return "\n".join(session.text).rstrip() + "\n"


def _looking(session: Session) -> None:
    session.say(
        "# Operating the island",
        "A session on a venue of three nodes, written by a script and compared by a test: what a command prints "
        "stands "
        "below it. Each takes `--data DIR`, and most `-o json`; those that change something take `--reason TEXT`. The "
        "engines of this venue have defects, put in on "
        "purpose: "
        "matching cannot take an order that is called `raise`, and never comes to an end with one called `loop`.",
        "## Is it well?",
    )
    session.venue.send(OPENING)
    session.run("health")
    session.run("status", shown=16)
    session.say("`sequencer top` shows this on the whole screen, with rates and what has changed of late.")


def _telling(session: Session) -> None:
    session.say(
        "## What do they say?",
        "Each process tells what changes, one line an event, on stderr; `sequencer up` keeps that in "
        "DIR/logs/NAME.log, and what was before in NAME.log.1: `file_bytes` under `[logs]` of venue.toml says how "
        "much. `level` there, or SEQUENCER_LOG_LEVEL, says what is written: debug, info, warning, error. Lines are"
        " logfmt: time, level, process, event, and what belongs to it; a traceback is one value, which `sed "
        "'s/\\\\n/\\n/g'` unfolds. Passwords, keys and what clients send are not in them. What strangers cause "
        "makes a line a second of each kind, with `left_out` lines counted. `--follow` goes on until Ctrl-C, "
        "`--level warning` leaves out the rest; without names, all processes of this host are merged by time.",
    )
    session.run("logs supervisor -n 2")
    session.say(
        "The supervisor has a port under `[monitoring]` as well: which of its children are up, and how often each was "
        "started again (`sequencer_child_up`, `sequencer_child_restarts_total`)."
    )


def _replicas(session: Session) -> None:
    session.say(
        "## Replicas come and go",
        "A replica is one more process, on any host that reaches the nodes. It begins with a snapshot that the log "
        "vouches "
        "for, and goes live while the venue trades. Here in the background; Ctrl-C ends it as well.",
        "    $ sequencer attach matching --name matching-3 &",
    )
    session.venue.spawn("attach", "matching", "--name", "matching-3")
    session.await_verdicts(lambda rows: len(rows) == 5 and all(row["verdict"] == "live" for row in rows))
    session.run("replicas")
    session.run("detach matching-3")


def _snapshots(session: Session) -> None:
    session.say(
        "## Snapshots and digests",
        "Nothing stands still for a snapshot. Each shard tells the digest of its state at one place of the log; the "
        "nodes "
        "keep the last three.",
    )
    session.run("snapshot take")
    session.run("snapshot take --machine matching")
    session.run("snapshot list")
    session.run("snapshot verify", shown=6)
    session.run("snapshot discard matching.0 1")
    session.run("snapshot schedule --messages 1000000 --minutes 10")
    session.say("The state of every replica at a new place of the log, and whether they agree:")
    session.run("digest")


def _history(session: Session) -> None:
    session.say(
        "## What happened to an order", "Its whole way through the log, and everything as it was at any place of it:"
    )
    at = session.trade(TRADE[0])
    session.trade(TRADE[1])
    session.run(f"trace {at}")
    session.run(f"book ETH-USD --at {at}")
    session.run(f"credit ANN --at {at}")
    session.run("credit ANN")


def _poison(session: Session) -> None:
    session.say(
        "## A poison message",
        "An order comes that matching cannot take. Its replicas halt before anything of it is seen, find which "
        "message it "
        "was, and which command was in hand; health says so. Credit, gateways and market data go on.",
    )
    at = session.trade(order("raise", "ETH-USD"), waits=False)
    session.await_verdicts(lambda rows: sum(bool(row.get("command")) for row in rows) == 2)
    session.run("poison list", code=1)
    halted = session.json("poison list")[0]["sequence"]
    session.say("It is done again offline, from the snapshot before it; `--debug` opens the debugger where it raises.")
    session.run(f"poison reproduce {halted} --machine matching", code=1, shown=8)
    session.run(f"poison impact {at}")
    session.say(
        "Either a fix is deployed, or the command is skipped: answered with a refusal at its place in the log, by "
        "every "
        "replica and in every replay. It is tried on a copy first."
    )
    session.run(f'poison skip {at} --machine matching --reason "ticket 17"')
    session.run("poison skipped")
    session.run(f"trace {at}")
    session.say(
        "One without an end holds its replicas up. `locate` tells the command; their watchers end them after the skip."
    )
    at = session.trade(order("loop", "ETH-USD"), waits=False)
    session.await_verdicts(lambda rows: sum(row["verdict"] == "stuck" for row in rows) == 2)
    stuck = session.json("poison list")[0]["sequence"]
    session.run(f"poison locate {stuck} --machine matching --seconds 2", code=1, shown=6)
    session.run(f'poison skip {at} --machine matching --reason "ticket 18"')
    session.say(
        "A replica that makes other outputs than the log holds is `diverged`; `sequencer explain-divergence NAME`, "
        "on its "
        "host, shows the first message that differs, and tells whether the process or its version is the matter."
    )


def _trades(session: Session) -> None:
    session.say(
        "## A trade that should not have been",
        "What was acted on already is mended, and not undone: credit gives back or takes the difference, both clients "
        "are told, and the books stay as they are.",
    )
    steps = [json.loads(line) for line in session.venue.run("log", "dump", "--messages").stdout.splitlines()]
    trade = next(step["sequence"] for step in steps if step["type"] == "Trade")
    session.run(f'trade correct {trade} --price 9.5 --reason "ticket 20"')
    session.run(f'trade bust {trade} --reason "ticket 20"')
    session.run("credit BOB")


def _shards(session: Session) -> None:
    session.say(
        "## More shards",
        "Shadows of the new shards are started, follow in silence, and take over at one place of the log. On "
        "several hosts "
        "they are attached by hand first: `sequencer attach matching --shard 0/2`.",
    )
    session.run("reshard matching 2")
    session.say(
        "A credit shard that stays down holds up the instruments that its clients' orders wait in, and nothing "
        "else. What "
        "it has not decided can be refused for it; not while it is up:"
    )
    session.run('refuse-undecided --shard 0/1 --reason "ticket 19"', code=2)


def _own(session: Session) -> None:
    session.say("## A machine of your own", "Checked, proven on the log, and let in; it harms no other process.")
    session.run("lint examples.positions")
    session.run("prove examples.positions:Positions")
    session.run("prove matching")
    session.say("    $ sequencer attach examples.positions:Positions --name positions-1 &")
    session.venue.spawn("attach", "examples.positions:Positions", "--name", "positions-1")
    session.await_verdicts(lambda rows: any(row["name"] == "positions-1" and row["verdict"] == "live" for row in rows))
    session.run("detach positions-1")


def _versions(session: Session) -> None:
    session.say(
        "## A new version",
        "It is proven on the log first, with `prove`; then processes are restarted one by one, each when the one "
        "before is well again. Without names it is all of them; the node that leads is the last and hands over first.",
    )
    session.run("restart credit-1 credit-2")
    session.say(
        "Where a machine's rules change on purpose, its new version knows both, and begins with the old ones: they end "
        "at one place of the log, for all replicas, and in every replay. This matching knows one version:"
    )
    session.run("activate matching 2", code=2)


def _nodes(session: Session) -> None:
    session.say("## Nodes", "One of three may be gone at any moment. Which are members stands in the log.")
    session.run("members list")
    session.run("leader transfer node-2")
    session.run("leader show")
    session.run("sessions", shown=8)
    session.run("log verify")


def _actions(session: Session) -> None:
    session.say(
        "## Who did that?",
        "Each of these commands, like each action of the console, stands in the log before it acts: who, what, with "
        "what and why. Who is the user and host, or over tcp the name of the key, which the nodes compare. What cannot "
        "be written is not done; but keys are issued and revoked, and snapshots discarded, in any case, with a warning "
        "that no log tells of it.",
    )
    session.run('snapshot take --machine credit --reason "before release 2"')
    session.run("actions --last 1 -o json")


def comparable(text: str) -> str:
    """What two runs of the session have in common."""
    text = re.sub(r"\b[0-9a-f]{12,}\b", "#", text)
    text = re.sub(r"\d[\d,.]*", "#", text)
    return re.sub(r"[ \t]+", " ", text)


def main() -> int:
    """Write the session anew, to standard output."""
    with tempfile.TemporaryDirectory() as directory, poisoned_venue(Path(directory), nodes=3) as venue:
        sys.stdout.write(written(venue))
    return 0


if __name__ == "__main__":
    sys.exit(main())
