"""Starts a venue's processes on one host, starts again what ends, and stops all of them.

    venue.toml [[nodes]]     --> node NAME, replayer NAME
    venue.toml [processes]   --> sequencer COMMAND --data DIR

Rules:
- A process that ends is started again, after a pause that doubles while it keeps ending.
- When venue.toml changes, who is new in it is started, and who is gone from it is stopped.
- Stopping goes backwards: who submits goes before who orders. Nobody is killed who stops in time.
- The supervisor holds no state: when it is killed, the venue trades on, and `down` finds the rest.
- What it does is told in DIR/logs/supervisor.log, what a child tells and prints is in DIR/logs/NAME.log; see `logs`.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from sequencer.config import Config, config_path
from sequencer.errors import ConfigError, RunningError
from sequencer.logfile import LogFile, log_path, open_to_append
from sequencer.logs import Log, level_of
from sequencer.looks import looks
from sequencer.monitor import open_monitor
from sequencer.process import running

NAME = "supervisor"
PAUSE_S = 0.2
PAUSE_S_MAX = 5.0
STEADY_S = 10.0
"""Who has run for so long has started well: the pause begins anew."""
STOP_S = 10.0


class _Child(msgspec.Struct):
    name: str
    command: list[str]
    listed: bool = True
    """Whether venue.toml names it."""
    process: "subprocess.Popen[bytes] | None" = None
    started_s: float = 0.0
    pause_s: float = PAUSE_S
    due_s: float = 0.0
    restarts: int = -1


class Supervisor:
    """The children of one `sequencer up`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        """venue.toml as it was last read."""
        self._data_dir = config.data_dir
        self._read = looks(config_path(config.data_dir))
        self._children = [_Child(name, command) for name, command in commands(config)]
        self._monitor = open_monitor(config.monitoring.get(NAME, ""), NAME, NAME)
        self.log = open_supervisor_log(config)

    def start(self) -> None:
        """Start all. Raises RunningError when processes of an earlier start are still there."""
        left = {name: pid for name, pid in running(self._data_dir).items() if name != NAME}
        if left:
            listed = ", ".join(f"{name} (pid {pid})" for name, pid in left.items())
            raise RunningError(
                f"processes of an earlier start still run: {listed}; "
                f"`sequencer down --data {self._data_dir}` stops them"
            )
        for child in self._children:
            self._launch(child)

    def tend(self) -> None:
        """Start again what has ended, and follow venue.toml. Call it a few times a second."""
        self._follow_config()
        now_s = time.monotonic()
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                self.log.warning("child ended", child=child.name, **_ending(child.process.returncode))
                child.process = None
                child.pause_s = PAUSE_S if now_s - child.started_s > STEADY_S else min(child.pause_s * 2, PAUSE_S_MAX)
                child.due_s = now_s + child.pause_s
            if child.process is None and now_s >= child.due_s:
                self._launch(child)
        self._tell()

    def _tell(self) -> None:
        if self._monitor is not None:
            up = {child.name: int(child.process is not None) for child in self._children}
            state = "live" if all(up.values()) else "not all of its children are up"
            self._monitor.tell(state, {"child_up": up, "child_restarts": self.restarts})

    def _follow_config(self) -> None:
        found = looks(config_path(self._data_dir))
        if found == self._read:
            return
        self._read = found
        try:
            self.config = Config.load(self._data_dir)
        except ConfigError as error:  # being edited, or wrong: what runs goes on as it is
            self.log.warning("configuration not taken", why=str(error))
            return
        wanted = dict(commands(self.config))
        named = {child.name for child in self._children}
        for child in [child for child in self._children if child.listed and child.name not in wanted]:
            self._children.remove(child)
            self.log.info("child no longer wanted", child=child.name)
            if child.process is not None:
                child.process.terminate()
        for name, command in wanted.items():
            if name not in named:
                self._children.append(_Child(name, command))

    @property
    def restarts(self) -> dict[str, int]:
        """How often each child was started again."""
        return {child.name: max(0, child.restarts) for child in self._children}

    def add(self, name: str, command: list[str]) -> None:
        """Start one more child, that is not in the configuration."""
        child = _Child(name, command, listed=False)
        self._children.append(child)
        self._launch(child)

    def log_tail(self, name: str, lines: int = 5) -> str:
        """The last lines that a child printed."""
        try:
            path = log_path(self._data_dir, name)
            return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    def stop(self) -> None:
        """Ask the children to stop, last started first; end who does not within STOP_S."""
        nodes = [child for child in self._children if child.command[0] in ("node", "replayer")]
        others = [child for child in self._children if child not in nodes]
        deadline_s = time.monotonic() + STOP_S
        for group in (others[::-1], nodes[::-1]):
            living = [(child, child.process) for child in group if child.process is not None]
            for _child, process in living:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
            for child, process in living:
                _await(process, deadline_s)
                self.log.info("child stopped", child=child.name, **_ending(process.returncode))
                child.process = None
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None

    def _launch(self, child: _Child) -> None:
        child.started_s = time.monotonic()
        child.restarts += 1
        log = open_to_append(log_path(self._data_dir, child.name))
        try:
            child.process = subprocess.Popen(
                [sys.executable, "-m", "sequencer", *child.command, "--data", str(self._data_dir)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            os.close(log)
        self.log.info("child started", child=child.name, pid=child.process.pid, restarts=child.restarts)


def open_supervisor_log(config: Config) -> Log:
    """A file of its own: the supervisor's terminal shows the venue. Raises ConfigError where it cannot be written."""
    path = log_path(config.data_dir, NAME)
    try:
        lines = LogFile.opened(path, config.logs.file_bytes)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}; choose another --data directory") from None
    return Log(NAME, level_of(config), lines)


def commands(config: Config) -> Iterator[tuple[str, list[str]]]:
    """Name and command of every process of the venue, in the order of their start."""
    for node in config.nodes:
        yield node.name, ["node", node.name]
        yield f"{node.name}-replayer", ["replayer", node.name]
    for name, process in config.processes.items():
        yield name, process.command


def stop_all(data_dir: Path, patience_s: float = 2 * STOP_S) -> dict[str, int]:
    """Stop every process of the venue on this host, whoever started it; return what was stopped."""
    found = running(data_dir)
    if NAME in found:
        _ask(found[NAME], signal.SIGTERM)
        _until_gone(data_dir, {NAME}, patience_s)
    left = running(data_dir)
    for pid in left.values():
        _ask(pid, signal.SIGTERM)
    _until_gone(data_dir, set(left), patience_s)
    for pid in running(data_dir).values():
        _ask(pid, signal.SIGKILL)
    return found


def _ending(code: int) -> dict[str, object]:
    """An exit code, or the signal that ended a process."""
    return {"signal": signal.Signals(-code).name} if code < 0 else {"code": code}


def _until_gone(data_dir: Path, names: set[str], patience_s: float) -> None:
    deadline_s = time.monotonic() + patience_s
    while names & set(running(data_dir)) and time.monotonic() < deadline_s:
        time.sleep(0.05)


def _ask(pid: int, signum: signal.Signals) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return


def _await(process: "subprocess.Popen[bytes]", deadline_s: float) -> None:
    try:
        process.wait(max(0.0, deadline_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
