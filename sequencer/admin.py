"""What an operator can ask and do; each function acts and returns values, printing is the CLI's.

status --AskStatus--> every node --> its own state, and what all processes reported to it
"""

import time
from pathlib import Path
from typing import Any

import msgspec

from sequencer.asking import ask
from sequencer.config import Config
from sequencer.errors import UnreachableError
from sequencer.process import running
from sequencer.protocol import AskStatus, NodeStatus, Report
from sequencer.sockets import context
from sequencer.supervisor import NAME as SUPERVISOR
from sequencer.supervisor import commands

SILENT_MS = 3000
"""Processes report every 500 ms; one that was not heard for so long is silent, or dead."""

LAG_MAX = 100_000
"""Messages behind the stream at which `health` complains."""

UNDECIDED_MS = 1000
"""An output that has waited so long for its quorum is told."""

NODE_STATES = {
    "stranger": ": its disk is not one that the group knows; `sequencer members add` takes it in",
    "removed": ": it belongs to the group no more; stop it, or `sequencer members add` takes it in again",
    "suspect": ": it may have lost what it acknowledged, and counts for nothing until the group has repaired it",
    "full": ": its disk is nearly full; free some space, it resumes by itself",
    "leaderless": ": it hears of no leader",
}
"""What stands behind a node's state, for an operator."""

Row = dict[str, Any]


class _Core(msgspec.Struct):
    """What is read of every report."""

    kind: str = "client"
    role: str = ""
    pid: int = 0
    position: int = 0
    lag: int = 0
    state: str = ""


_REPORTS = msgspec.msgpack.Decoder(dict[str, Any])
_CORES = msgspec.msgpack.Decoder(_Core)


class Status(msgspec.Struct):
    """A venue at one moment. Each row has name, role, pid, position, lag and state, and more where there is more."""

    nodes: list[Row]
    replicas: list[Row]
    gateways: list[Row]
    clients: list[Row]


def status(config: Config) -> Status:
    """Ask all nodes; what does not answer in time is shown as such."""
    answers = _ask_nodes(config)
    pids = running(config.data_dir)
    committed = max((int(answer.node["position"]) for answer in answers.values() if answer), default=0)
    nodes = [_node_row(node.name, answers[node.name], pids.get(node.name, 0), committed) for node in config.nodes]
    rows = {row["name"]: row for row in _reported(answers, pids)}
    for name in config.processes:
        rows.setdefault(name, _missing_row(config, name, pids.get(name, 0)))
    kinds: dict[str, list[Row]] = {"replica": [], "gateway": [], "client": []}
    for name in sorted(rows):
        row = rows[name]
        kinds.setdefault(row.pop("kind"), []).append(row)
    return Status(nodes, kinds["replica"], kinds["gateway"], kinds["client"])


def problems(found: Status, config: Config) -> list[str]:
    """Why the venue is not well; empty when it is."""
    reasons = []
    leaders = [row["name"] for row in found.nodes if row["role"] == "leader"]
    if len(leaders) != 1:
        reasons.append(f"there is no single leader: {', '.join(leaders) or 'nobody leads'}")
    for row in found.nodes:
        if row["state"] != "live":
            reasons.append(f"node {row['name']} is {row['state']}{NODE_STATES.get(row['state'], '')}")
        elif row["lag"] > LAG_MAX:
            reasons.append(f"node {row['name']} is {row['lag']:,} messages behind")
    for row in found.replicas + found.gateways:
        if row["state"] != "live":
            reasons.append(f"{row['name']} is {row['state']}" + (f": {row['why']}" if row.get("why") else ""))
        elif row["lag"] > LAG_MAX:
            reasons.append(f"{row['name']} is {row['lag']:,} messages behind")
    reasons += [reason for row in found.nodes for reason in _undecided(row)]
    pids = running(config.data_dir)
    if SUPERVISOR in pids:
        reasons += [f"{name} does not run" for name, _command in commands(config) if name not in pids]
    return reasons


def warnings(found: Status) -> list[str]:
    """What an operator should see to, although the venue is well."""
    return [f"{row['name']}: {row['warning']}" for row in found.gateways if row.get("warning")]


def _undecided(node: Row) -> list[str]:
    """Which outputs wait for more replicas to make the same: not those of a moment ago."""
    return [
        f"output {one.number:,} of {sender} waits for {one.needed} replicas that make the same: "
        + "; ".join(f"{', '.join(voters)} made {digest}" for digest, voters in one.votes.items())
        + (": attach another, which decides" if len(one.votes) > 1 else ": is another replica of it running?")
        for sender, one in node.get("undecided", {}).items()
        if one.for_ms > UNDECIDED_MS
    ]


def sessions(config: Config) -> list[Row]:
    """Every sender's committed position, as the node that is furthest tells it. Raises UnreachableError."""
    answers = [answer for answer in _ask_nodes(config).values() if answer is not None]
    if not answers:
        raise UnreachableError("no node answers: is the venue running? `sequencer status` tells")
    furthest = max(answers, key=lambda answer: int(answer.node["commit_index"]))
    positions = sorted(furthest.sessions.items())
    return [{"sender": name, "incarnation": at[0], "number": at[1]} for name, at in positions]


def forget(config: Config, name: str) -> None:
    """Say goodbye to the nodes for a process that ended without: nobody looks for it any more."""
    with context(config) as made:
        ask(config.nodes, Report(name, b""), context=made)


def await_healthy(config: Config, patience_s: float) -> list[str]:
    """Wait until nothing is wrong; return what still is after `patience_s`."""
    deadline_s = time.monotonic() + patience_s
    while True:
        reasons = problems(status(config), config)
        if not reasons or time.monotonic() > deadline_s:
            return reasons
        time.sleep(0.1)


def _ask_nodes(config: Config) -> dict[str, NodeStatus | None]:
    with context(config) as made:
        answers = ask(config.nodes, AskStatus(), context=made)
    found = {node.name: answers.get(node.name) for node in config.nodes}
    return {name: answer if isinstance(answer, NodeStatus) else None for name, answer in found.items()}


def _node_row(name: str, answer: NodeStatus | None, pid: int, committed: int) -> Row:
    if answer is None:
        return {"name": name, "role": "", "pid": pid, "position": 0, "lag": 0, "state": "silent" if pid else "dead"}
    node = answer.node
    position = int(node["position"])
    state = _node_state(answer)
    return {
        **node,
        "name": name,
        "lag": committed - position,
        "state": state,
        "senders": answer.sessions,
        "undecided": answer.undecided,
    }


def _node_state(answer: NodeStatus) -> str:
    node = answer.node
    if not node["member"]:
        return "removed" if node["removed"] else "stranger"
    if node["suspect_index"]:
        return "suspect"
    if node["full"]:
        return "full"
    return "live" if node["leader"] else "leaderless"


def _reported(answers: dict[str, NodeStatus | None], pids: dict[str, int]) -> list[Row]:
    """The freshest report of each process, over all nodes."""
    freshest: dict[str, tuple[int, bytes]] = {}
    for answer in answers.values():
        for name, age_ms, body in answer.reports if answer else ():
            if name not in freshest or age_ms < freshest[name][0]:
                freshest[name] = (age_ms, body)
    rows = []
    for name, (age_ms, body) in freshest.items():
        try:
            row: Row = {**_REPORTS.decode(body), **msgspec.structs.asdict(_CORES.decode(body))}
        except (ValueError, RecursionError):
            continue  # anybody can send a report; one that is none says nothing
        row.update(name=name, age_ms=age_ms)
        if age_ms > SILENT_MS:
            row["state"] = "silent" if pids.get(name) else "dead"
        rows.append(row)
    return [row for row in rows if row["kind"] != "client" or row["age_ms"] < SILENT_MS]


def _missing_row(config: Config, name: str, pid: int) -> Row:
    command = config.processes[name].command
    kinds = {"attach": "replica", "gateway": "gateway"}
    kind = kinds.get(command[0], "client")
    role = command[1] if len(command) > 1 else ""
    state = "silent" if pid else "dead"
    return {"name": name, "kind": kind, "role": role, "pid": pid, "position": 0, "lag": 0, "state": state}


def journal_directories(config: Config) -> dict[str, Path]:
    """Where the journals of this host's nodes are, by name."""
    found = {node.name: config.data_dir / node.name for node in config.nodes}
    return {name: path for name, path in found.items() if path.is_dir()}


def can_ask_nodes(config: Config) -> bool:
    """Whether nodes are to be asked: one runs on this host, or they are all on others, with their journals."""
    here = running(config.data_dir)
    return any(node.name in here for node in config.nodes) or not journal_directories(config)
