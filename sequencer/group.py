"""What an operator does to the group of nodes: see its members, change them, hand the lead over.

    question --> any node --NotLeader--> the leader --Outcome--> done, or why not

A change is begun by the leader and done once it is committed: what these functions return has been seen
in a node's answer afterwards. Each ends within its patience, and raises IslandError that says what is missing.
"""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from sequencer.asking import ask
from sequencer.config import Config, NodeConfig
from sequencer.errors import ConfigError, IslandError, UnreachableError
from sequencer.members import Member
from sequencer.protocol import (
    Answer,
    AskChange,
    AskCommitted,
    AskMembers,
    AskTransfer,
    CommittedIs,
    MembersAre,
    Outcome,
    Question,
)
from sequencer.sockets import context

PATIENCE_S = 10.0
PAUSE_S = 0.05
SILENT_MS = 1000

Row = dict[str, Any]
_Kind = TypeVar("_Kind", MembersAre, Outcome, CommittedIs)


def members(config: Config) -> MembersAre:
    """The group as its leader tells it; where nobody leads, as the node tells it that has the latest version."""
    with context(config) as made:
        answers = ask(config.nodes, AskMembers(), _leads, context=made)
    told = [answer for answer in answers.values() if isinstance(answer, MembersAre)]
    if not told:
        raise UnreachableError("no node answers: is the venue running? `sequencer status` tells")
    leading = [answer for answer in told if _leads(answer)]
    return max(leading or told, key=lambda answer: answer.members.version)


def rows(found: MembersAre) -> list[Row]:
    """The group as a table."""
    table = []
    for member in found.members.all:
        held_index, silent_ms = found.others.get(member.name, (found.last_index, 0))
        table.append(
            {
                "name": member.name,
                "role": "leader" if member.name == found.leader else _part(member),
                "disk": member.disk.hex()[:16],
                "behind": found.last_index - held_index,
                "silent_ms": silent_ms,
                "problem": _problem(member, found, silent_ms),
            }
        )
    return table


def add(config: Config, name: str, *, learner: bool = False, patience_s: float = PATIENCE_S) -> MembersAre:
    """Take the node `name` of venue.toml in; it becomes a voter once it has caught up, unless it is to stay a learner.

    The node must run: its disk is asked from it. One whose disk was replaced takes the old one's place. Returns
    when the change is committed (the promotion comes by itself). Raises IslandError.
    """
    node = config.node(name)
    disk = _disk_of(config, node, patience_s)
    found = members(config)
    known = found.members.find(name)
    if known is not None and known.disk == disk:
        raise ConfigError(f"{name} is a member already, as {_part(known)}")
    if known is not None and name == found.leader:
        raise ConfigError(f"{name} leads: it cannot be replaced")
    member = _as_written(config, node, disk, joining=not learner)
    return _change(config, AskChange(found.members.with_member(member)), patience_s)


def remove(config: Config, name: str, patience_s: float = PATIENCE_S) -> MembersAre:
    """Let a node be no member any more; a leader hands over first. Returns when it is committed. Raises IslandError."""
    found = members(config)
    if found.members.find(name) is None:
        listed = ", ".join(member.name for member in found.members.all)
        raise ConfigError(f"{name} is no member: the group is {listed}")
    if found.leader == name:
        heirs = [voter for voter in found.members.voters if voter != name]
        if not heirs:
            raise ConfigError(f"{name} is the only voter: add another before it is removed")
        found = transfer(config, heirs[0], patience_s)
    return _change(config, AskChange(found.members.without(name)), patience_s)


def transfer(config: Config, to: str, patience_s: float = PATIENCE_S) -> MembersAre:
    """Hand the lead to a node; returns when it leads. Raises IslandError."""
    if members(config).leader != to:
        _tell_leader(config, lambda: AskTransfer(to, members(config).term), patience_s)
    return _until(config, lambda found: found.leader == to == found.node, f"{to} leads", patience_s)


def committed_index(config: Config, patience_s: float = PATIENCE_S) -> int:
    """How far the log is committed, confirmed by a quorum (ReadIndex). Raises UnreachableError."""
    deadline_s = time.monotonic() + patience_s
    while True:
        answer = _ask_leader(config, AskCommitted(), deadline_s, CommittedIs)
        if answer.index >= 0:
            return answer.index


def _leads(answer: Answer) -> bool:
    return isinstance(answer, MembersAre) and answer.leader == answer.node


def _problem(member: Member, found: MembersAre, silent_ms: int) -> str:
    if member.name in found.strangers:
        return "speaks from another disk"
    if not found.leader:
        return "nobody leads"
    return "silent" if silent_ms > SILENT_MS else ""


def _part(member: Member) -> str:
    return "voter" if member.voter else "joining" if member.joining else "learner"


def _as_written(config: Config, node: NodeConfig, disk: bytes, *, joining: bool) -> Member:
    """A member with its endpoints as venue.toml has them, so that they are the same on every host."""
    written = config.written(node.name)
    return Member(
        node.name,
        disk,
        voter=False,
        joining=joining,
        ingress=written.ingress,
        publisher=written.publisher,
        replayer=written.replayer,
        peer=written.peer,
    )


def _disk_of(config: Config, node: NodeConfig, patience_s: float) -> bytes:
    """A node that was just enlisted may still be starting."""
    deadline_s = time.monotonic() + patience_s
    while True:
        with context(config) as made:
            answer = ask([node], AskMembers(), context=made).get(node.name)
        if isinstance(answer, MembersAre):
            return answer.disk
        if time.monotonic() > deadline_s:
            raise UnreachableError(
                f"{node.name} does not answer at {node.ingress}: start it first, `sequencer node {node.name}`"
            )


def _change(config: Config, change: AskChange, patience_s: float) -> MembersAre:
    _tell_leader(config, lambda: change, patience_s)
    version = change.members.version
    return _until(
        config,
        lambda found: found.members.version >= version and found.committed,
        "a majority has committed the change",
        patience_s,
    )


def _tell_leader(config: Config, question: Callable[[], AskChange | AskTransfer], patience_s: float) -> None:
    """Ask until it is begun; `question` is made anew each time, of the group as it is then."""
    deadline_s = time.monotonic() + patience_s
    while True:
        outcome = _ask_leader(config, question(), deadline_s, Outcome)
        if outcome.begun:
            return
        if "try again" not in outcome.why or time.monotonic() > deadline_s:
            raise IslandError(f"the leader refuses: {outcome.why}")
        time.sleep(PAUSE_S)


def _until(config: Config, is_so: Callable[[MembersAre], bool], what: str, patience_s: float) -> MembersAre:
    deadline_s = time.monotonic() + patience_s
    while True:
        found = members(config)
        if is_so(found):
            return found
        if time.monotonic() > deadline_s:
            raise UnreachableError(f"{what}: not within {patience_s:.0f} s; see `sequencer members list`")
        time.sleep(PAUSE_S)


def _ask_leader(config: Config, question: Question, deadline_s: float, kind: type[_Kind]) -> _Kind:
    """Whoever does not lead says so; the answer of the one that does."""
    while True:
        with context(config) as made:
            answers = ask(config.nodes, question, lambda answer: isinstance(answer, kind), context=made)
        for answer in answers.values():
            if isinstance(answer, kind):
                return answer
        if time.monotonic() > deadline_s:
            raise UnreachableError("nobody leads: a majority of the nodes has to run; `sequencer status` tells")
        time.sleep(PAUSE_S)
