"""A venue of real processes for tests: started, asked, hurt and stopped the way a user does it.

    Running --`sequencer up`--> supervisor --> node, replayer, replicas, gateways
       |                                          ^
       +-- status, kill by pid, flows ------------+

Its doors are ipc sockets in its data directory, so that no two venues meet, and whatever happens,
`close` ends each process of it, found by the locks in its own directory.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from gateways.venue import create
from sequencer import admin
from sequencer.client import Context, Submitter, Subscriber
from sequencer.config import FILE_NAME, Config
from sequencer.envelope import Batch, Entry
from sequencer.process import running
from tests.models.logfmt import parsed

PATIENCE_S = 60.0
STOP_S = 20.0
_PLACES = ("sequence", "time_ns", "order_id", "maker_order_id", "taker_order_id")
"""What an event says of where and when it happened, which no two runs have in common."""

Event = dict[str, Any]
Words = Iterable[str]


def until(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Wait until `condition()` is true, and return it. Raises TimeoutError, saying `what` did not come."""
    deadline_s = time.monotonic() + patience_s
    while not (found := condition()):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what}: not within {patience_s:.0f} s")
        time.sleep(0.01)
    return found


def sequencer(*words: str, timeout_s: float = PATIENCE_S, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end, from a directory that is not the source tree's."""
    return subprocess.run(
        command(*words), capture_output=True, text=True, timeout=timeout_s, cwd="/", check=False, **options
    )


def command(*words: str) -> list[str]:
    """The words that start the command in this interpreter."""
    return [sys.executable, "-m", "sequencer", *map(str, words)]


def complaint(done: "subprocess.CompletedProcess[str]", code: int = 1) -> str:
    """The one line in which a command says why it failed; its exit code must be `code`."""
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines)) == (code, 1), done
    return lines[0]


def last_words(done: "subprocess.CompletedProcess[str]", code: int = 1) -> str:
    """Why a process could not go on, as the last line of its log says; its exit code must be `code`."""
    said = parsed(done.stderr.splitlines()[-1])
    assert (done.returncode, said["level"], said["event"]) == (code, "error", "process failed"), done
    return said["error"]


def make(
    data_dir: Path, nodes: int = 1, *, doors: tuple[str, ...] = (), monitored: bool = False, **changes: str
) -> Config:
    """A venue.toml with ipc doors; `changes` replace the values of its keys, by name, wherever they stand.

    The FIX and web gateways (`fix-1`, `web-1`) and the monitoring ports are left out where they are not asked for.
    """
    create(data_dir, nodes)
    left_out = {"fix-1", "web-1"}.difference(doors)
    if left_out:
        without_processes(data_dir, *left_out)
    path = data_dir / FILE_NAME
    text = path.read_text()
    if not monitored:
        text = re.sub(r"(?ms)^\[monitoring\]$.*", "", text)
    places = {key: f'"ipc://run/{key}"' for key in ("order", "marketdata", "marketdata_updates")}
    for key, value in {**places, **changes}.items():
        text, count = re.subn(rf"(?m)^{re.escape(key)} = .*$", f"{key} = {value}", text)
        assert count == 1, f"{path} has {count} lines that set {key}"
    path.write_text(text)
    return Config.load(data_dir)


def without_processes(data_dir: Path, *names: str) -> Config:
    """Take processes out of venue.toml: `sequencer up` will not start them. No name: all of them."""
    path = data_dir / FILE_NAME
    wanted = "|".join(map(re.escape, names)) or r"[\w-]+"
    path.write_text(re.sub(rf"(?m)^({wanted})\.\w+ = .*\n", "", path.read_text()))
    return Config.load(data_dir)


class Running:
    """One venue; a context manager that leaves no process behind."""

    def __init__(self, config: Config, **env: str) -> None:
        self.config = config
        self.data_dir = config.data_dir
        self.scratch = config.data_dir.with_name(f"{config.data_dir.name}-files")
        """Where flows, events and what commands print are kept: not in the venue's own directory."""
        self.scratch.mkdir(exist_ok=True)
        self._env = {**os.environ, **env}
        self._up: subprocess.Popen[bytes] | None = None
        self._strays: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # --- start and end --------------------------------------------------------------------------

    def start(self) -> Self:
        """`sequencer up`, until all is well."""
        self._up = self.spawn("up")
        self.await_well()
        return self

    def spawn(self, *words: str) -> "subprocess.Popen[bytes]":
        """Start a command on this venue beside it; `close` ends it if it still runs."""
        with (self.scratch / "test.log").open("ab") as log:
            process = subprocess.Popen(
                command(*words, "--data", str(self.data_dir)),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=self._env,
            )  # fmt: skip
        self._strays.append(process)
        return process

    def await_well(self) -> None:
        """Wait until nothing is wrong with the venue."""
        until(self._is_well, f"the venue in {self.data_dir} is well")

    def stop(self, signum: signal.Signals = signal.SIGINT) -> int:
        """Ask `sequencer up` to stop, as Ctrl-C does; return its exit code."""
        assert self._up is not None, "start it first"
        self._up.send_signal(signum)
        return self._up.wait(PATIENCE_S)

    def close(self) -> None:
        """End every process: gently, so that none that just starts is missed; then not."""
        for process in self._strays:
            if process.poll() is None:
                process.terminate()
        with suppress(subprocess.TimeoutExpired):
            for process in self._strays:
                process.wait(STOP_S)
        self.kill_all()

    def kill_all(self) -> None:
        """kill -9 of every process, `sequencer up` first."""
        for process in self._strays:
            if process.poll() is None:
                process.kill()
                process.wait()
        for pid in self.pids.values():
            _signal(pid, signal.SIGKILL)
        until(lambda: not self.pids, "processes end after SIGKILL")

    # --- questions ------------------------------------------------------------------------------

    @property
    def pids(self) -> dict[str, int]:
        """Every process of this venue, by name."""
        return running(self.data_dir)

    @property
    def status(self) -> admin.Status:
        """What `sequencer status` shows."""
        return admin.status(self.config)

    @property
    def position(self) -> int:
        """The last sequence number that any node has."""
        return max(row["position"] for row in self.status.nodes)

    def row(self, name: str) -> dict[str, Any]:
        """What the status says of one process; empty where it does not know of it."""
        found = self.status
        rows = found.nodes + found.replicas + found.gateways + found.clients
        return next((row for row in rows if row["name"] == name), {})

    def await_position(self, position: int) -> None:
        """Wait until the log has grown so far."""
        until(lambda: self.position >= position, f"the log reaches {position}")

    def await_row(self, name: str, state: str) -> None:
        """Wait until a process is shown in this state."""
        until(lambda: self.row(name).get("state") == state, f"{name} is {state}")

    def agreement(self) -> dict[str, tuple[int, str]]:
        """Outputs and digest of each shard, once all its replicas are live and say the same of a log that rests."""
        return until(self._agreed, "all replicas of each shard agree")

    def _agreed(self) -> dict[str, tuple[int, str]] | None:
        said: dict[str, set[tuple[int, str]]] = defaultdict(set)
        for row in self.status.replicas:
            if row["state"] != "live" or row["lag"] or row["outputs"] != row["confirmed"]:
                return None
            said[row["sender"]].add((row["outputs"], row["digest"]))
        agreed = said and all(len(one) == 1 for one in said.values())
        return {sender: one.pop() for sender, one in said.items()} if agreed else None

    def _is_well(self) -> bool:
        assert self._up is None or self._up.poll() is None, (self.scratch / "test.log").read_text()
        return not admin.problems(self.status, self.config)

    # --- harm -----------------------------------------------------------------------------------

    def kill(self, *names: str) -> None:
        """kill -9 of these processes, at once; wait until they are gone."""
        gone = {name: self.pids[name] for name in names}
        for pid in gone.values():
            _signal(pid, signal.SIGKILL)
        until(lambda: not any(self.pids.get(name) == pid for name, pid in gone.items()), f"{names} are dead")

    # --- commands -------------------------------------------------------------------------------

    def run(self, *words: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        """One command on this venue, to its end."""
        return sequencer(*words, "--data", str(self.data_dir), **options)

    def json(self, *words: str) -> Any:
        """What a command prints with `-o json`; its exit code must be 0."""
        done = self.run(*words, "-o", "json")
        assert done.returncode == 0, done
        return json.loads(done.stdout)

    def send(self, lines: Iterable[str], *words: str) -> dict[str, Any]:
        """`flow send` of these lines, every one answered; return its summary."""
        with self.sending(lines, *words) as flow:
            return flow()

    @contextmanager
    def sending(self, lines: Iterable[str], *words: str) -> Iterator[Callable[..., dict[str, Any]]]:
        """`flow send` in the background; call what this gives to await its end and get its summary."""
        path = self.scratch / f"flow-{time.monotonic_ns()}.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines))
        process = subprocess.Popen(
            command("flow", "send", str(path), "--data", str(self.data_dir), "-o", "json", *words),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/", env=self._env,
        )  # fmt: skip

        def result(patience_s: float = PATIENCE_S) -> dict[str, Any]:
            out, err = process.communicate(timeout=patience_s)
            assert process.returncode == 0, (process.returncode, out, err)
            summary: dict[str, Any] = json.loads(out)
            return summary

        try:
            yield result
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def events(self, lines: Iterable[str], *words: str) -> list[Event]:
        """`flow send --events`: what followed from these lines, in the order of the log."""
        out = self.scratch / f"events-{time.monotonic_ns()}.jsonl"
        self.send(lines, "--events", str(out), *words)
        return read_events(out)


class Stream:
    """The log as a test follows it: a Subscriber, and a Submitter for what the test wants to say."""

    def __init__(self, config: Config, *, next_index: int = 1, arbitrate: bool = False) -> None:
        self._config = config
        self.context = Context.of(config)
        self.subscriber = Subscriber(config.sources, next_index=next_index, context=self.context, arbitrate=arbitrate)
        self.submitter: Submitter | None = None
        self.entries: list[Entry] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.context.destroy(linger=0)

    def speak_as(self, sender: str) -> Submitter:
        """Open the session of a sender."""
        self.submitter = Submitter(self._config.ingress, sender, context=self.context)
        self.submitter.open()
        self.follow(lambda: self.submitter.is_open, f"the session of {sender} opens")
        return self.submitter

    def turn(self) -> None:
        """Take what has come, and say what is due."""
        fresh = self.subscriber.wait(5)
        self.entries += fresh
        if self.submitter is not None:
            for entry in fresh:
                for batch in entry.batches():
                    self.submitter.observe(batch)
            self.submitter.flush()
            self.submitter.receive()

    def follow(self, condition: Callable[[], Any], what: str) -> Any:
        """Turn until `condition()` is true, and return it."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{what}: not within {PATIENCE_S:.0f} s")
            self.turn()
        return found

    def settle(self) -> None:
        """Follow until all that was submitted has been seen."""
        self.follow(lambda: self.submitter.in_flight == 0, f"the log has all of {self.submitter.sender}'s batches")

    def batches(self, channel: int) -> list[Batch]:
        """All batches of a channel that have been seen."""
        return [batch for entry in self.entries for batch in entry.batches() if batch.channel == channel]


# --- flows and their events -----------------------------------------------------------------------


def tagged(lines: Iterable[str], tag: str) -> list[str]:
    """The same flow for other clients and instruments, so that one venue can trade it again."""
    made = []
    for line in lines:
        fields = json.loads(line)
        for name in ("client", "account", "symbol"):
            if name in fields:
                fields[name] = tag + fields[name]
        made.append(json.dumps(fields))
    return made


def read_events(path: Path) -> list[Event]:
    """The events that `flow send --events` wrote."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def by_instrument(events: Iterable[Event], tag: str = "") -> dict[str, list[Event]]:
    """The events of each instrument in their order, without places and times, and without the tag."""
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if "symbol" in event:
            plain = {name: _untagged(name, value, tag) for name, value in event.items() if name not in _PLACES}
            found[plain["symbol"]].append(plain)
    return dict(found)


def _untagged(name: str, value: Any, tag: str) -> Any:
    is_name = name in {"client", "account", "symbol", "maker_client", "taker_client"}
    return value.removeprefix(tag) if is_name else value


def _signal(pid: int, signum: signal.Signals) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return
