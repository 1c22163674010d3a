"""The group of nodes as its operator handles it: members come and go, the lead moves, a dead host is replaced."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import zmq

from sequencer.errors import UnreachableError
from sequencer.group import members as members_of
from sequencer.members import Member
from sequencer.protocol import ANSWERS, ENCODER, AskChange, AskTransfer, MembersAre, Outcome
from sequencer.sockets import connect, context
from tests.models.running import PATIENCE_S, Running, Stream, complaint, make, until, without_processes

COMMANDS = 1


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Three nodes, and nothing beside them."""
    data_dir = tmp_path_factory.mktemp("group") / "v"
    make(data_dir, nodes=3)
    with Running(without_processes(data_dir)).start() as started:
        yield started


def members(venue: Running) -> dict[str, str]:
    """The part that each member plays."""
    return {row["name"]: row["role"] for row in venue.json("members", "list")["members"]}


def problems(venue: Running) -> dict[str, str]:
    """What is wrong with each member."""
    return {row["name"]: row["problem"] for row in venue.json("members", "list")["members"]}


def roles(venue: Running) -> list[str]:
    return sorted(members(venue).values())


def leader(venue: Running) -> str:
    return venue.json("leader", "show")["leader"]


def follower(venue: Running) -> str:
    return next(name for name, role in members(venue).items() if role == "voter")


def submit(venue: Running, sender: str, count: int) -> list[bytes]:
    """Have some batches sequenced; return the digests that the stream then holds of the sender."""
    with Stream(venue.config) as stream:
        submitter = stream.speak_as(sender)
        for number in range(count):
            submitter.submit(COMMANDS, b"%d" % number, count=1)
            stream.settle()
        return [batch.digest for batch in stream.batches(COMMANDS) if batch.sender == sender]


def test_the_lead_is_handed_over_and_nothing_is_lost(venue: Running):
    """`leader transfer` ends when the heir leads; a sender goes on as if nothing had happened."""
    with Stream(venue.config) as stream:
        submitter = stream.speak_as("gateway.transfer")
        submitter.submit(COMMANDS, b"before", count=1)
        heir = follower(venue)
        venue.json("leader", "transfer", heir)
        submitter.submit(COMMANDS, b"after", count=1)
        stream.settle()
        sequenced = [bytes(b.payload) for b in stream.batches(COMMANDS) if b.sender == "gateway.transfer"]

    assert (leader(venue), sequenced) == (heir, [b"before", b"after"])


def group_of(venue: Running) -> MembersAre:
    """The group as its leader tells it."""

    def found() -> MembersAre | None:
        with suppress(UnreachableError):
            said = members_of(venue.config)
            return said if said.leader == said.node else None
        return None

    return until(found, "who leads answers")


def ask_raw(venue: Running, frame: bytes) -> Outcome:
    """What the node that leads answers to the bytes of a question; the others say that they do not lead."""

    def answer() -> Outcome | None:
        with context(venue.config) as made:
            for node in venue.config.nodes:
                socket = made.socket(zmq.DEALER)
                connect(socket, node.ingress)
                socket.send(frame)
                assert socket.poll(PATIENCE_S * 1000), node
                said = ANSWERS.decode(socket.recv())
                if isinstance(said, Outcome):
                    return said
        return None

    return until(answer, "who leads answers")


def test_a_wish_that_is_said_again_does_nothing(venue: Running):
    """The bytes that handed the lead over once do not do it again, also where the same node leads as then."""

    def hand_over() -> bytes:
        found = group_of(venue)
        heir = next((name for name in found.members.voters if name != found.leader), "")
        said = ENCODER.encode(AskTransfer(heir, found.term))
        return said if ask_raw(venue, said).begun else b""

    before = group_of(venue)
    said = until(hand_over, "the lead is handed over")
    until(lambda: group_of(venue).term > before.term, "another leads")
    again = [ask_raw(venue, said)]
    until(lambda: venue.run("leader", "transfer", before.leader).returncode == 0, "it leads again")
    again.append(ask_raw(venue, said))

    assert not any(outcome.begun for outcome in again)
    assert all("it was asked for in term" in outcome.why for outcome in again)


def test_a_change_that_is_said_again_does_nothing(venue: Running):
    """A group of each version comes once: neither who was taken in comes back by the same bytes, nor who left goes."""
    found = group_of(venue)
    learner = Member("node-7", bytes(range(16)), voter=False, joining=False)
    with_it = found.members.with_member(learner)
    said = [ENCODER.encode(AskChange(group)) for group in (with_it, with_it.without("node-7"))]
    for frame in said:
        until(lambda frame=frame: ask_raw(venue, frame).begun, "the change is begun")
        until(lambda: group_of(venue).committed, "it is committed")
    again = [ask_raw(venue, frame) for frame in (*said, *reversed(said))]

    assert not any(outcome.begun for outcome in again)
    assert venue.json("members", "list")["version"] == found.members.version + 2


def test_a_dead_host_is_replaced_by_a_blank_one(venue: Running):
    """A node whose disk is gone is a stranger under its old name, until it is taken in; then it holds the whole log."""
    digests = submit(venue, "gateway.replace", 20)
    lost = follower(venue)
    pid = venue.pids[lost]
    venue.kill(lost)
    shutil.rmtree(venue.data_dir / lost)
    until(lambda: venue.pids.get(lost, pid) != pid, f"{lost} is started again")
    venue.await_row(lost, "stranger")
    unwell = venue.run("health")
    venue.json("members", "add", lost)
    venue.await_row(lost, "live")
    until(lambda: roles(venue) == ["leader", "voter", "voter"], f"{lost} is a voter again")
    venue.json("leader", "transfer", lost)

    assert (unwell.returncode, "another disk" in unwell.stdout or "stranger" in unwell.stdout) == (1, True)
    assert submit(venue, "gateway.replaced", 1)
    with Stream(venue.config) as stream:
        stream.follow(lambda: stream.subscriber.caught_up, "the stream is read")
        assert [b.digest for b in stream.batches(COMMANDS) if b.sender == "gateway.replace"] == digests


def test_a_node_that_nobody_knew_joins_and_another_leaves(venue: Running):
    """`members add` writes it to venue.toml, it learns and votes; `members remove` of the leader hands over first."""
    venue.json("members", "add", "node-4")
    until(lambda: roles(venue) == ["leader", "voter", "voter", "voter"], "node-4 votes")
    gone = leader(venue)
    venue.json("members", "remove", gone)
    until(lambda: gone not in venue.pids, f"{gone} is stopped")
    venue.config = type(venue.config).load(venue.data_dir)
    venue.await_well()

    assert gone not in members(venue)
    assert roles(venue) == ["leader", "voter", "voter"]
    assert submit(venue, "gateway.after", 3)
    venue.json("members", "add", gone)
    until(lambda: members(venue).get(gone) == "voter", f"{gone} is back")
    venue.json("members", "remove", "node-4")
    venue.config = type(venue.config).load(venue.data_dir)
    venue.await_well()


def test_a_learner_follows_and_never_votes(venue: Running):
    """`members add --learner`: it holds all that is committed, and is not promoted."""
    venue.json("members", "add", "node-5", "--learner")
    submit(venue, "gateway.learner", 5)
    venue.config = type(venue.config).load(venue.data_dir)
    until(lambda: venue.row("node-5").get("position") == venue.position, "node-5 holds everything")

    assert (members(venue)["node-5"], venue.row("node-5")["role"]) == ("learner", "learner")
    venue.json("members", "remove", "node-5")
    venue.config = type(venue.config).load(venue.data_dir)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("members", "add", "node-1"), 2, "node-1 is a member already"),
        (("members", "remove", "node-9"), 2, "node-9 is no member"),
        (("leader", "transfer", "node-9"), 1, "node-9 is not a voter"),
    ],
)
def test_what_cannot_be_done_to_a_group_is_refused_with_a_reason(words, code, says, venue: Running):
    """One line that names the reason; the group is as it was."""
    before = venue.json("members", "list")["version"]

    assert says in complaint(venue.run(*words), code)
    assert venue.json("members", "list")["version"] == before


def test_a_change_that_would_end_the_group_is_refused(tmp_path: Path):
    """With one of three nodes dead, a living one cannot be removed: the two left would have no majority."""
    make(tmp_path / "v", nodes=3)
    with Running(without_processes(tmp_path / "v")).start() as venue:
        dead = follower(venue)
        alive = next(name for name, role in members(venue).items() if role == "voter" and name != dead)
        for name in ("supervisor", dead):
            venue.kill(name)
        until(lambda: problems(venue).get(dead) == "silent", f"the leader misses {dead}")

        assert "cannot be heard" in complaint(venue.run("members", "remove", alive))
        assert roles(venue) == ["leader", "voter", "voter"]


def test_sessions_tell_every_sender(venue: Running):
    """`sessions`: incarnation and last number of each sender, the group's own changes among them."""
    submit(venue, "gateway.sessions", 4)
    rows = {row["sender"]: (row["incarnation"], row["number"]) for row in venue.json("sessions")}

    assert rows["gateway.sessions"] == (1, 4)
    assert "sequencer" in rows
