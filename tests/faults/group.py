"""A real group under load: nodes and replayers as processes, senders and observers in this one, histories on disk.

Senders --batches--> nodes --stream--> observers --> histories --checker--> verdict
Fire: SIGKILL, SIGSTOP, all at once, a full disk                 (a seed draws what, whom and when)
"""

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from sequencer.asking import ask
from sequencer.client import Source, Submitter, Subscriber
from sequencer.config import Config
from sequencer.protocol import AskMembers, MembersAre
from tests.models.running import command, make, until

COMMANDS = 1
PACE_S = 0.004
IN_FLIGHT_MAX = 50
PROGRESS_S = 20.0


class Group:
    """The processes of the nodes; a context manager that leaves none behind."""

    def __init__(self, directory: Path, nodes: int = 3, **changes: str) -> None:
        self.directory = directory
        self.config: Config = make(directory / "v", nodes, **changes)
        self.histories = directory / "histories"
        self.histories.mkdir()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Group":
        for name in self.names:
            self.start(name)
        until(lambda: self.leader, "a leader")
        return self

    def __exit__(self, *_error: object) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    @property
    def names(self) -> list[str]:
        """The nodes."""
        return [node.name for node in self.config.nodes]

    @property
    def leader(self) -> str:
        """Who leads, as the first says who thinks that it does; empty if nobody does."""
        told = ask(self.config.nodes, AskMembers(), _leads).values()
        return next((answer.node for answer in told if _leads(answer)), "")

    @property
    def is_whole(self) -> bool:
        """Whether somebody leads, and all others follow closely."""
        told = ask(self.config.nodes, AskMembers(), _leads).values()
        lead = next((answer for answer in told if _leads(answer)), None)
        return lead is not None and all(
            heard_ms < 100 and lead.last_index - match_index < 20 for match_index, heard_ms in lead.others.values()
        )

    def start(self, name: str) -> None:
        """Start what is not running of a node and its replayer."""
        for process_name, words in ((name, ("node", name)), (f"{name}-replayer", ("replayer", name))):
            running = self._processes.get(process_name)
            if running is None or running.poll() is not None:
                with (self.directory / f"{process_name}.out").open("ab") as out:
                    self._processes[process_name] = subprocess.Popen(
                        command(*words, "--data", str(self.config.data_dir)), stdout=out, stderr=out, cwd="/"
                    )

    def send(self, name: str, signum: signal.Signals) -> None:
        """Send a signal to a node, and wait where it is its end."""
        self._processes[name].send_signal(signum)
        if signum is signal.SIGKILL:
            self._processes[name].wait()


class Load:
    """Senders and observers in a thread of their own each, until `stop`."""

    def __init__(self, group: Group, senders: int = 2) -> None:
        self.acknowledged = 0
        self.last_seen_s = time.monotonic()
        self.gaps_s: list[float] = []
        """Each pause of more than 50 ms between two acknowledgements of all senders together."""
        self.errors: list[BaseException] = []
        self._group = group
        self._stop = threading.Event()
        self._rows: list[dict[str, Any]] = []
        self._threads = [threading.Thread(target=self._run, args=(self._speak, place)) for place in range(senders)]
        self._threads += [
            threading.Thread(target=self._run, args=(self._observe, name)) for name in (*group.names, "roaming")
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        until(lambda: self.acknowledged > 10 or self.errors, "the first acknowledgements")
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        with (self._group.histories / "submitted.jsonl").open("w") as out:
            out.writelines(f"{json.dumps(row)}\n" for row in self._rows)

    def await_progress(self, batches: int = 20) -> None:
        """Wait until so many more batches were acknowledged."""
        goal = self.acknowledged + batches
        until(lambda: self.acknowledged >= goal or self.errors, f"{batches} more acknowledgements", PROGRESS_S)
        assert not self.errors, self.errors

    def seen_ns(self, began_ns: int) -> int:
        """When the first batch was seen that was submitted after a time, 0 for not yet."""
        assert not self.errors, self.errors
        seen = []
        for row in reversed(self._rows):
            if row["began_ns"] < began_ns:
                break
            seen.append(row["seen_ns"])
        return min(filter(None, seen), default=0)

    def _run(self, work: Callable[[Any, zmq.Context], None], argument: object) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            work(argument, context)
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            self.errors.append(error)
        finally:
            context.destroy(linger=0)

    def _speak(self, place: int, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        config, name = self._group.config, f"gateway.load-{place}"
        subscriber = Subscriber(config.sources, context=context, follow_leader=bool(place % 2))
        submitter = Submitter(config.ingress, name, context=context, leader=lambda: subscriber.leader_ingress)
        submitter.open()
        open_rows: dict[int, dict[str, Any]] = {}
        due_s = time.monotonic()
        while not (self._stop.is_set() and not submitter.in_flight):
            for entry in subscriber.wait(2):
                for batch in entry.batches():
                    if submitter.observe(batch):
                        self._saw(open_rows.pop(batch.number), entry.index)
            submitter.receive()
            if submitter.is_open and time.monotonic() >= due_s and submitter.in_flight < IN_FLIGHT_MAX:
                due_s = time.monotonic() + PACE_S
                if not self._stop.is_set():
                    began_ns = time.monotonic_ns()
                    number = submitter.submit(COMMANDS, os.urandom(40), count=2)
                    row = {"sender": name, "number": number, "digest": submitter.digest.hex(), "began_ns": began_ns}
                    open_rows[number] = row | {"seen_ns": 0, "seen_index": 0}
                    self._rows.append(open_rows[number])
                submitter.flush()

    def _saw(self, row: dict[str, Any], index: int) -> None:
        now_s = time.monotonic()
        row["seen_ns"], row["seen_index"] = time.monotonic_ns(), index
        if now_s - self.last_seen_s > 0.05:
            self.gaps_s.append(now_s - self.last_seen_s)
        self.last_seen_s = now_s
        self.acknowledged += 1

    def _observe(self, name: str, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        """Follow one node alone, or, roaming, whichever is good."""
        config = self._group.config
        sources = config.sources if name == "roaming" else [_source(config, name)]
        subscriber = Subscriber(sources, context=context)
        quiet_s = time.monotonic()
        with (self._group.histories / f"{name}.log").open("wb") as out:
            while not self._stop.is_set() or time.monotonic() - quiet_s < 1.0:
                entries = subscriber.wait(20)
                quiet_s = time.monotonic() if entries else quiet_s
                out.write(b"".join(entry.data for entry in entries))


class Fire:
    """What is done to a group, drawn from a seed; each returns when it is over, and progress is made again."""

    def __init__(self, group: Group, load: Load, seed: int) -> None:
        self._group = group
        self._load = load
        self._random = random.Random(seed)
        self.counts: dict[str, int] = {}

    def kill_leader(self) -> float:
        """SIGKILL the leader; return the seconds until a batch is seen that was submitted after that."""
        name = until(lambda: self._group.leader, "a leader")
        killed_ns = time.monotonic_ns()
        self._group.send(name, signal.SIGKILL)
        seen_ns = until(lambda: self._load.seen_ns(killed_ns), "a batch after a kill", PROGRESS_S)
        self._group.start(name)
        return (seen_ns - killed_ns) / 1e9

    def act(self) -> str:
        """One of all kinds; its name."""
        kind = self._random.choice(("kill_leader", "kill_leader", "kill_leader", "kill_any", "stop_leader", "kill_all"))
        self.counts[kind] = self.counts.get(kind, 0) + 1
        getattr(self, f"_{kind}" if kind != "kill_leader" else kind)()
        self._load.await_progress()
        return kind

    def _kill_any(self) -> None:
        name = self._random.choice(self._group.names)
        self._group.send(name, signal.SIGKILL)
        self._load.await_progress(5)
        self._group.start(name)

    def _kill_all(self) -> None:
        for name in self._group.names:
            self._group.send(name, signal.SIGKILL)
        for name in self._group.names:
            self._group.start(name)

    def _stop_leader(self) -> None:
        name = until(lambda: self._group.leader, "a leader")
        self._group.send(name, signal.SIGSTOP)
        try:
            self._load.await_progress(5)
        finally:
            self._group.send(name, signal.SIGCONT)


def _leads(answer: object) -> bool:
    return isinstance(answer, MembersAre) and answer.leader == answer.node


def _source(config: Config, name: str) -> Source:
    node = config.node(name)
    return Source(node.name, node.publisher, node.replayer, node.ingress)
