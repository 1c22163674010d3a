"""Who may do what in a real venue whose doors are all on tcp: everybody tries everything, and operators mend it."""

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import pytest

from engines import messages as m
from engines.runs import operations_in
from gateways.flow import generate
from gateways.marketdata.protocol import ENCODER as TO_MARKET_DATA
from gateways.marketdata.protocol import InstrumentsRequest
from gateways.order.protocol import ENCODER as TO_ORDERS
from gateways.order.protocol import FROM_GATEWAY, LoggedOff, LoggedOn, Logon
from sequencer.envelope import encode_batch
from sequencer.keyring import KEY_VARIABLE, read_keys, read_pair, secret_path
from sequencer.keys import Door
from sequencer.log_tools import entries_of
from sequencer.protocol import (
    ANSWERS,
    ENCODER,
    FETCHED,
    STORE_ANSWERS,
    AskChange,
    AskMembers,
    AskSnapshots,
    AskStatus,
    AskTransfer,
    DiscardSnapshot,
    Fetch,
    MembersAre,
    NodeStatus,
    OfferSnapshot,
    Outcome,
    Refused,
    Report,
    SnapshotWanted,
    StoredSnapshot,
    StoreSnapshot,
)
from sequencer.raft.messages import Appended, pack
from tests.models.knocking import NOBODY, STRANGER, Caller, make_open
from tests.models.logfmt import parsed
from tests.models.running import Running, complaint, tagged, until

OWN: Final = {"matching-9": "matching.9"}
"""As whom one submits, where that is not `gateway.NAME`."""
CHANNELS: Final = {"matching": m.RESULTS, "credit": m.DECISIONS, "gateway": m.COMMANDS, "operator": m.OPERATIONS}

Deed = Callable[[Caller], bool]


def entering(door: Door) -> Deed:
    return lambda caller: caller.enters(door)


def speak_to_nodes(venue: Running, name: str) -> Deed:
    """It is heard if the leader learns of a later term from it; else it is told whose name was not believed."""

    def deed(caller: Caller) -> bool:
        spoken, before = name or caller.name, term(venue)
        answer = Appended(before + 1, spoken, bytes(16), False, 0, 0, False, False)

        def outcome() -> str:
            caller.say(Door.PEER, venue.config.cluster, *pack(answer))
            refusals = [one.get("why", "") for one in told(venue, "node-1", "refused")]
            return "heard" if term(venue) > before else "refused" if f"it speaks as {spoken}" in refusals else ""

        return caller.enters(Door.PEER) and until(outcome, "an outcome") == "heard"

    return deed


def submit(sender: str) -> Deed:
    def deed(caller: Caller) -> bool:
        name = sender or OWN.get(caller.name, f"gateway.{caller.name}")
        batch = encode_batch(name, CHANNELS[name.partition(".")[0]], 7, b"\x90", count=1, incarnation=99).data
        return verdict(caller, bytes(batch)) not in ("not-permitted", "")

    return deed


def verdict(caller: Caller, batch: bytes) -> str:
    """What a node says of a batch that it does not accept; nothing to who is not let in."""
    answer = caller.ask(Door.INGRESS, batch)
    if answer is None:
        return ""
    refused = ANSWERS.decode(answer[-1])
    assert isinstance(refused, Refused), refused
    return refused.verdict


def repeat(batch: bytes) -> Deed:
    """It is in the log already, and its session is over: who may submit it is told that."""
    return lambda caller: verdict(caller, batch) in ("duplicate", "fenced")


def report(name: str) -> Deed:
    def deed(caller: Caller) -> bool:
        body = msgspec.msgpack.encode({"kind": "client", "of": caller.name})
        said = Report(name or caller.name, body)
        answer = caller.ask(Door.INGRESS, ENCODER.encode(said), ENCODER.encode(AskStatus()))
        if answer is None:
            return False
        status = ANSWERS.decode(answer[-1])
        assert isinstance(status, NodeStatus), status
        return (said.name, body) in {(one, kept) for one, _age_ms, kept in status.reports}

    return deed


def operate(question: bytes) -> Deed:
    """What is asked for cannot be done, for other reasons than who asks."""

    def deed(caller: Caller) -> bool:
        answer = caller.ask(Door.INGRESS, question)
        if answer is None:
            return False
        outcome = ANSWERS.decode(answer[-1])
        assert isinstance(outcome, Outcome), outcome
        assert not outcome.begun
        return "may not operate" not in outcome.why

    return deed


def fetch(caller: Caller) -> bool:
    answer = caller.ask(Door.REPLAYER, ENCODER.encode(Fetch(1, 1000)))
    return answer is not None and FETCHED.decode(answer[0]).first_index == 1 and bool(answer[1])


def store(question: Any, kind: type) -> Deed:
    """Who may not ask gets no answer, so the next question's comes first."""

    def deed(caller: Caller) -> bool:
        answer = caller.ask(Door.REPLAYER, ENCODER.encode(question), ENCODER.encode(AskSnapshots("nothing")))
        if answer is None:
            return False
        is_done = isinstance(STORE_ANSWERS.decode(answer[-1]), kind)
        if is_done:
            caller.next(Door.REPLAYER)
        return is_done

    return deed


def log_on(client: str) -> Deed:
    def deed(caller: Caller) -> bool:
        answer = caller.ask(Door.ACCESS, TO_ORDERS.encode([Logon(client or caller.name)]))
        while answer is not None:
            for one in FROM_GATEWAY.decode(answer[-1]):
                if isinstance(one, LoggedOn | LoggedOff):
                    return isinstance(one, LoggedOn)
            answer = caller.next(Door.ACCESS)
        return False

    return deed


def ask_the_book(caller: Caller) -> bool:
    return caller.ask(Door.FEED, TO_MARKET_DATA.encode(InstrumentsRequest(1))) is not None


def snapshot_of(shard: str) -> StoredSnapshot:
    return StoredSnapshot(shard, 0, 0, 0, 0, 1 << 50, bytes(32), 0, "nobody")


TRANSFER: Final = ENCODER.encode(AskTransfer("node-1", 1))
DEEDS: Final[dict[str, tuple[str, Door]]] = {
    #                                node repl gate client reader admin | none stranger revoked
    "enter peer":                   ("x    -    -    -      -      -       -    -        -", Door.PEER),
    "enter stream":                 ("x    x    x    -      x      x       -    -        -", Door.STREAM),
    "enter ingress":                ("x    x    x    -      x      x       -    -        -", Door.INGRESS),
    "enter replayer":               ("x    x    x    -      x      x       -    -        -", Door.REPLAYER),
    "enter access":                 ("-    -    -    x      -      x       -    -        -", Door.ACCESS),
    "enter feed":                   ("-    -    x    x      x      x       -    -        -", Door.FEED),
    "speak as itself to nodes":     ("x    -    -    -      -      -       -    -        -", Door.PEER),
    "speak as node-1 to nodes":     ("-    -    -    -      -      -       -    -        -", Door.PEER),
    "submit as itself":             ("-    x    x    -      -      x       -    -        -", Door.INGRESS),
    "submit as order-1":            ("-    -    -    -      -      x       -    -        -", Door.INGRESS),
    "submit as credit.0":           ("-    -    -    -      -      x       -    -        -", Door.INGRESS),
    "submit as operator":           ("-    -    -    -      -      -       -    -        -", Door.INGRESS),
    "submit as operator.kim":       ("-    -    -    -      -      x       -    -        -", Door.INGRESS),
    "submit as operator.admin":     ("-    -    -    -      -      -       -    -        -", Door.INGRESS),
    "repeat an admin's note":       ("-    -    -    -      -      x       -    -        -", Door.INGRESS),
    "report as itself":             ("x    x    x    -      x      x       -    -        -", Door.INGRESS),
    "report as another":            ("-    -    -    -      -      x       -    -        -", Door.INGRESS),
    "change members":               ("-    -    -    -      -      x       -    -        -", Door.INGRESS),
    "transfer the lead":            ("-    -    -    -      -      x       -    -        -", Door.INGRESS),
    "repeat an admin's words":      ("-    -    -    -      -      x       -    -        -", Door.INGRESS),
    "fetch entries":                ("x    x    x    -      x      x       -    -        -", Door.REPLAYER),
    "offer a snapshot of matching": ("-    x    -    -      -      x       -    -        -", Door.REPLAYER),
    "store a snapshot of matching": ("-    x    -    -      -      x       -    -        -", Door.REPLAYER),
    "offer a snapshot of credit":   ("-    -    -    -      -      x       -    -        -", Door.REPLAYER),
    "store a snapshot of credit":   ("-    -    -    -      -      x       -    -        -", Door.REPLAYER),
    "discard a snapshot":           ("-    -    -    -      -      x       -    -        -", Door.REPLAYER),
    "log on as itself":             ("-    -    -    x      -      x       -    -        -", Door.ACCESS),
    "log on as another":            ("-    -    -    -      -      x       -    -        -", Door.ACCESS),
    "ask the book":                 ("-    -    x    x      x      x       -    -        -", Door.FEED),
}  # fmt: skip
"""What is tried -> who can do it, and at which door that is decided."""
WHO: Final = ("node-9", "matching-9", "order-9", "ann", "audit", "kim", NOBODY, STRANGER, "gone")
PROCESS_AT: Final = {
    Door.PEER: "node-1", Door.STREAM: "node-1", Door.INGRESS: "node-1", Door.REPLAYER: "node-1-replayer",
    Door.ACCESS: "order-1", Door.FEED: "marketdata-1",
}  # fmt: skip


def done_by(what: str, venue: Running, said: bytes, written: bytes, group: AskChange) -> Deed:
    """How a deed is done.

    `said` and `written` are what an admin has said on the wire, `group` asks for the group that is.
    """
    shard = f"{what.rpartition(' ')[2]}.0"
    match what.split():
        case ["enter", door]:
            return entering(Door(door))
        case ["speak", "as", name, *_]:
            return speak_to_nodes(venue, "" if name == "itself" else name)
        case ["submit", "as", name]:
            return submit({"itself": "", "order-1": "gateway.order-1"}.get(name, name))
        case ["report", "as", name]:
            return report("" if name == "itself" else "other-1")
        case ["change", "members"]:
            return operate(ENCODER.encode(group))
        case ["transfer", *_]:
            return operate(TRANSFER)
        case ["repeat", _an, _admins, "note"]:
            return repeat(written)
        case ["repeat", *_]:
            return operate(said)
        case ["fetch", *_]:
            return fetch
        case ["offer", *_]:
            return store(OfferSnapshot(snapshot_of(shard)), SnapshotWanted)
        case ["store", *_]:
            return store(StoreSnapshot(shard, 0, 0, b"x"), SnapshotWanted)
        case ["discard", *_]:
            return store(DiscardSnapshot("matching.0", 999), Outcome)
        case ["log", "on", "as", name]:
            return log_on("" if name == "itself" else "bob")
        case _:
            return ask_the_book


# --- the venue ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One node with its replayer, replicas and gateways; every door is on tcp."""
    config = make_open(tmp_path_factory.mktemp("keys") / "v")
    with Running(config).start() as started:
        yield started


def noted_by(venue: Running, name: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """A command with somebody's key."""
    path = secret_path(venue.config.secrets_directory, name)
    return venue.run(*words, env={**os.environ, KEY_VARIABLE: str(path)})


def notes_of(venue: Running, name: str) -> list[tuple[bytes, m.OperatorAction]]:
    """What an operator has had written of what he did: the batches, as they were submitted, and what they say."""
    batches = [batch for entry in entries_of(venue.config) for batch in entry.batches()]
    said = [(bytes(batch.data), operations_in(batch)[0]) for batch in batches if batch.sender == f"operator.{name}"
            and batch.channel == m.OPERATIONS]  # fmt: skip
    return [(data, one) for data, one in said if isinstance(one, m.OperatorAction)]


def term(venue: Running) -> int:
    return int(venue.status.nodes[0]["term"])


def told(venue: Running, process: str, *events: str) -> list[dict[str, str]]:
    """What a process has told of these events."""
    text = (venue.data_dir / "logs" / f"{process}.log").read_text()
    lines = [parsed(line) for line in text.splitlines() if line.startswith("time=")]
    return [line for line in lines if line["event"] in events or line.get("what") in events]


@pytest.fixture(scope="module")
def outcomes(venue: Running) -> dict[tuple[str, str], bool]:
    """Who tried what -> whether it was done."""
    callers = {who: Caller(venue.config, who) for who in WHO}
    try:
        kim = callers["kim"]
        members = ANSWERS.decode(kim.ask(Door.INGRESS, ENCODER.encode(AskMembers()))[-1])
        assert isinstance(members, MembersAre), members
        kim.ask(Door.INGRESS, TRANSFER)
        assert noted_by(venue, "kim", "snapshot", "schedule", "--messages", "0", "--minutes", "0").returncode == 0
        written, _action = notes_of(venue, "kim")[-1]
        group = AskChange(members.members)
        deeds = {what: done_by(what, venue, TRANSFER, written, group) for what in DEEDS}
        return {(what, who): deed(callers[who]) for what, deed in deeds.items() for who in WHO}
    finally:
        for caller in callers.values():
            caller.close()


@pytest.mark.parametrize("what", DEEDS)
def test_everybody_may_do_what_the_table_says(what: str, outcomes: dict[tuple[str, str], bool]):
    """And nothing else: neither without a key, nor with one that is unknown, revoked, or for something else."""
    expected = dict(zip(WHO, DEEDS[what][0].split(), strict=False))

    assert {who: "x" if outcomes[what, who] else "-" for who in WHO} == expected


def test_every_refusal_is_told(venue: Running, outcomes: dict[tuple[str, str], bool]):
    """As a line of its own, or in the number of those that were left out, by the process that refused it."""
    refused: Counter[str] = Counter()
    for (what, who), is_done in outcomes.items():
        door = DEEDS[what][1]
        is_heard = what.startswith("enter") or outcomes[f"enter {door}", who]
        refused[PROCESS_AT[door]] += is_heard and not is_done

    def is_told(process: str) -> bool:
        lines = [parsed(line) for line in venue.run("logs", process).stdout.splitlines()]
        return sum(weight(line) for line in lines) >= refused[process]

    for process in refused:
        until(lambda process=process: is_told(process), f"{process} has told all")


def weight(line: dict[str, str]) -> int:
    """For how many refusals a line stands."""
    if line["event"] in ("refused", "batch refused"):
        return 1 + int(line.get("left_out", 0))
    return int(line["times"]) if line.get("what") in ("refused", "batch refused") else 0


def test_secrets_are_in_no_log(venue: Running, outcomes: dict[tuple[str, str], bool]):
    """Whatever was tried: who reads all that the venue tells cannot act in anybody's place."""
    secrets = [read_pair(path)[1].decode() for path in venue.config.secrets_directory.iterdir()]
    said = venue.run("logs").stdout

    assert "refused" in said
    assert not [secret for secret in secrets if secret in said]


# --- what operators do ----------------------------------------------------------------------------


def trade(venue: Running, tag: str) -> None:
    """Every line of a flow is answered."""
    lines = tagged(generate.lines(seed=3, count=200, instruments=2, clients=4), tag)

    assert venue.send(lines)["answered"] == len(lines)


def test_a_replica_without_its_key_counts_no_more_and_with_a_new_one_it_does(venue: Running):
    """Within a second nothing of it is heard; the other replica goes on; a key of the same name brings it back."""
    trade(venue, "a")
    done = venue.run("keys", "revoke", "matching-2")
    assert (done.returncode, done.stdout) == (0, "the key of matching-2 is revoked\n")
    for process in ("node-1", "node-1-replayer"):
        until(lambda process=process: told(venue, process, "key revoked"), f"{process} takes note", patience_s=1.0)
    venue.await_row("matching-2", "silent")
    trade(venue, "b")

    path = secret_path(venue.config.secrets_directory, "matching-2")
    shutil.move(path, path.with_suffix(".old"))
    words = ("keys", "issue", "matching-2", "--role", "replica", "--of", "matching")
    assert venue.run(*words).returncode == 0
    venue.kill("matching-2")
    venue.await_row("matching-2", "live")
    trade(venue, "c")
    assert set(venue.agreement()) == {"matching.0", "credit.0"}


def test_keys_are_listed_with_what_they_are_for(venue: Running):
    """As a table and as JSON, the revoked ones too; a secret is in neither."""
    rows = {(row["name"], bool(row["revoked"])): row for row in venue.json("keys", "list")}

    assert rows["gone", True]["role"] == "admin"
    assert rows["matching-9", False]["rights"] == "submits as matching.*; is matching-9, matching-9-*"
    assert {key.name for key in read_keys(venue.config.keys_path).listed} == {name for name, _is_revoked in rows}
    assert set(json.loads(venue.run("keys", "list", "-o", "json").stdout)[0]) == {
        "name", "role", "rights", "limits", "public", "revoked"
    }  # fmt: skip


def test_what_an_operator_did_is_told_with_his_key(venue: Running):
    """His name is that of the key, by what the nodes have seen; over tcp nobody else can have written it."""
    assert noted_by(venue, "kim", "snapshot", "take", "--machine", "credit", "--reason", "ticket 1").returncode == 0
    row = venue.json("actions", "--last", "1")[0]

    assert (row["operator"], row["key"], row["action"], row["reason"]) == ("kim", "kim", "snapshot take", "ticket 1")
    assert row["details"] == {"machine": "credit"}


def test_who_may_not_operate_changes_nothing(venue: Running):
    """A reader's command is refused before it acts, and nothing of it is in the log."""
    before = len(venue.json("actions"))
    done = noted_by(venue, "audit", "snapshot", "schedule", "--messages", "7", "--minutes", "0")

    assert "nothing was done" in complaint(done)
    assert "not-permitted" in complaint(done)
    assert len(venue.json("actions")) == before


def test_a_note_that_is_said_again_is_not_written_again(venue: Running):
    """Neither in its own session nor in a later one, to whose process it says nothing."""
    kim = Caller(venue.config, "kim")
    try:
        assert noted_by(venue, "kim", "snapshot", "schedule", "--messages", "0", "--minutes", "0").returncode == 0
        before = notes_of(venue, "kim")
        verdicts = [verdict(kim, data) for data, _said in before]
    finally:
        kim.close()

    assert set(verdicts) <= {"duplicate", "fenced"}
    assert notes_of(venue, "kim") == before


def test_a_snapshot_is_discarded_once(venue: Running):
    """The same frame again finds nothing: numbers of snapshots grow, and no later one has this."""
    assert venue.run("snapshot", "take", "--machine", "credit").returncode == 0
    kept = [row["number"] for row in venue.json("snapshot", "list") if row["shard"] == "credit.0"]
    kim = Caller(venue.config, "kim")
    try:
        said = ENCODER.encode(DiscardSnapshot("credit.0", max(kept)))
        outcomes = [STORE_ANSWERS.decode(kim.ask(Door.REPLAYER, said)[-1]) for _ in range(2)]
        assert venue.run("snapshot", "take", "--machine", "credit").returncode == 0
        outcomes.append(STORE_ANSWERS.decode(kim.ask(Door.REPLAYER, said)[-1]))
    finally:
        kim.close()
    left = [row["number"] for row in venue.json("snapshot", "list") if row["shard"] == "credit.0"]

    assert [outcome.begun for outcome in outcomes] == [True, False, False]
    assert max(left) > max(kept)
    assert max(kept) not in left


def test_a_key_is_revoked_also_where_that_cannot_be_written_down(venue: Running):
    """With a key that is not let in: what is revoked counts no more, and that no log tells of it is said."""
    assert venue.run("keys", "issue", "lost", "--role", "reader").returncode == 0
    before = len(venue.json("actions"))
    done = noted_by(venue, "gone", "keys", "revoke", "lost")

    assert (done.returncode, done.stdout) == (0, "the key of lost is revoked\n")
    assert "does not stand in the log" in done.stderr
    assert read_keys(venue.config.keys_path).named("lost") is None
    assert len(venue.json("actions")) == before


@pytest.mark.parametrize(
    "words", [("status",), ("health",), ("leader", "show"), ("sessions",), ("members", "list"), ("book", "A-B")]
)
def test_a_command_with_a_key_that_is_not_let_in_says_so(venue: Running, words: tuple[str, ...]):
    """In a line that names the key's file, and not as if the venue were down."""
    path = secret_path(venue.config.secrets_directory, "gone")
    done = venue.run(*words, env={**os.environ, KEY_VARIABLE: str(path)})

    assert "is not let in" in complaint(done)
    assert str(path) in complaint(done)
