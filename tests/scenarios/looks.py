"""How what happens on a stage is written down: nodes, messages, batches and times in a few words."""

from sequencer.envelope import CONTROL, Batch
from sequencer.members import SEQUENCER, Member
from sequencer.protocol import Answer, NotLeader, PositionOf, Refused
from sequencer.raft import Append, Appended, AskVote, Message, Raft, Role, TimeoutNow, Voted
from tests.scenarios.stage import NOON_NS


def standing(raft: Raft) -> str:
    """What a node is."""
    led = f" of {raft.leader}" if raft.role is Role.FOLLOWER and raft.leader else ""
    vote = f" vote {raft.voted_for}" if raft.voted_for else ""
    doubt = " suspect" if raft.suspect_index else " removed" if raft.is_removed else ""
    last = f"last {raft.log.last_index}/{raft.log.last_term} durable {raft.persisted_index}"
    return f"{raft.role.value}{led} term {raft.term}{vote} {last} committed {raft.commit_index}{doubt}"


def group(raft: Raft) -> str:
    """Who belongs to it, learners in parentheses."""
    return f" group {' '.join(map(_part, raft.members.all))}"


def _part(member: Member) -> str:
    return member.name if member.voter else f"({member.name})"


def message(said: Message) -> str:
    """What one node says to another."""
    match said:
        case Append():
            held = [int.from_bytes(data[40:48], "little") for data in said.entries]
            terms = [int.from_bytes(data[32:40], "little") for data in said.entries]
            entries = " ".join(f"{index}/{term}" for index, term in zip(held, terms, strict=True)) or "nothing"
            after = f"{said.prev_index}/{said.prev_term}"
            return f"Append term {said.term} after {after} committed {said.commit_index}: {entries}"
        case Appended():
            doubt = "" if said.vouches else " without vouching"
            verdict = "holds" if said.accepted else "rejects, try"
            return f"Appended term {said.term} {verdict} {said.match_index}{doubt}"
        case AskVote():
            kind = "AskPreVote" if said.probe else "AskVote"
            return f"{kind} term {said.term} last {said.last_index}/{said.last_term}"
        case Voted():
            kind = "PreVoted" if said.probe else "Voted"
            return f"{kind} term {said.term} {'yes' if said.granted else 'no'}"
        case TimeoutNow():
            return f"TimeoutNow term {said.term}"
    raise AssertionError(said)


def answer(said: Answer, sealed: dict[bytes, str]) -> str:
    """What a node answers to a sender. A digest is told by the batch that has it."""
    match said:
        case NotLeader():
            return f"does not lead, {said.ingress or 'nobody'} does"
        case Refused() if not said.sender:
            return f"refuses the frame as {said.verdict}"
        case Refused():
            return f"refuses number {said.refused_number} as {said.verdict}; {_place(said, sealed)}"
        case PositionOf():
            return _place(said, sealed)
    raise AssertionError(said)


def _place(at: Refused | PositionOf, sealed: dict[bytes, str]) -> str:
    held = sealed.get(at.digest, "nothing")
    opened = f" in incarnation {at.incarnation}" if at.incarnation else ""
    return (
        f"committed of {at.sender}: {at.number}, {held}{opened}"
        if at.number
        else f"committed of {at.sender}: nothing{opened}"
    )


def batch(of: Batch, sealed: dict[bytes, str]) -> str:
    """A batch by its name."""
    if of.sender == SEQUENCER:
        return "members"
    if of.channel == CONTROL:
        return sealed.get(of.digest, f"open {of.sender} {of.incarnation}")
    return sealed.get(of.digest, f"{of.sender} {of.number}")


def time(time_ns: int) -> str:
    """A sequenced time, from noon on."""
    return f"noon {(time_ns - NOON_NS) / 1_000_000:+.3f} ms"
