"""`sequencer up`: the whole venue in the foreground, with a live view of it, until Ctrl-C.

create venue.toml --> Supervisor.start --> healthy? --> flow, if asked --> live view --> Ctrl-C --> stop
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from gateways.venue import create, web_url
from sequencer import admin
from sequencer.cli import status_view
from sequencer.client import StopSignal
from sequencer.config import Config
from sequencer.errors import IslandError
from sequencer.logfile import LogFile, log_path, open_to_append
from sequencer.logs import lifetime
from sequencer.process import claim, holder
from sequencer.supervisor import NAME, Supervisor

START_S = 60.0
DETACHED = "up"
"""What a detached `up` prints is kept under this name, beside the logs."""
VIEW_S = 0.5
PLAIN_S = 10.0
"""Without a terminal, one line of status is printed this often."""


def up(data_dir: Path, nodes: int | None, flow: list[str] | None, stop: StopSignal, console: Console) -> None:
    """Run the venue until `stop`. `flow` is a command to run once it is well. Raises IslandError."""
    config = create(data_dir, nodes)
    with claim(config.data_dir, NAME):
        supervisor = Supervisor(config)
        with lifetime(supervisor.log, NAME):
            try:
                supervisor.start()
                _await_start(config, supervisor, stop, console)
                if flow is not None and not stop.is_set:
                    supervisor.add("flow", flow)
                _watch(supervisor, stop, console)
            finally:
                with _patiently(console):
                    supervisor.stop()
    console.print("stopped; the next start goes on from here", highlight=False)


def detach(data_dir: Path, nodes: int | None, flow: list[str], console: Console) -> None:
    """Start `sequencer up` in the background, and wait until the venue is well. Raises IslandError."""
    config = create(data_dir, nodes)
    with claim(config.data_dir, NAME):  # who cannot run in the foreground is told so at once
        path = log_path(config.data_dir, DETACHED)
        log = open_to_append(path)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "sequencer", "up", "--data", str(data_dir), *flow],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    finally:
        os.close(log)
    deadline_s = time.monotonic() + START_S
    with console.status("starting the venue"):
        while time.monotonic() < deadline_s and process.poll() is None:
            if holder(config.data_dir, NAME) == process.pid and not admin.problems(admin.status(config), config):
                where = f"the venue in {data_dir} runs (pid {process.pid}); {_doors(config)}"
                console.print(f"{where}; `sequencer down --data {data_dir}` stops it", highlight=False, soft_wrap=True)
                return
            time.sleep(0.1)
    tail = "\n".join(path.read_text(errors="replace").splitlines()[-10:])
    raise IslandError(f"the venue did not start; the end of {path} says:\n{tail}")


def _await_start(config: Config, supervisor: Supervisor, stop: StopSignal, console: Console) -> None:
    deadline_s = time.monotonic() + START_S
    with console.status("starting the venue") as shown:
        while not stop.is_set:
            supervisor.tend()
            reasons = admin.problems(admin.status(config), config)
            if not reasons:
                return
            shown.update(Text(f"starting the venue: {reasons[0]}"))
            _give_up_on_failing(supervisor)
            if time.monotonic() > deadline_s:
                raise IslandError(f"the venue is not well after {START_S:.0f} s: {'; '.join(reasons)}")
            time.sleep(0.1)


def _give_up_on_failing(supervisor: Supervisor) -> None:
    for name, restarts in supervisor.restarts.items():
        if restarts >= 3:
            raise IslandError(f"{name} does not start:\n{supervisor.log_tail(name)}")


def _watch(supervisor: Supervisor, stop: StopSignal, console: Console) -> None:
    printed = LogFile(log_path(supervisor.config.data_dir, DETACHED), supervisor.config.logs.file_bytes)
    with _view(console) as show:
        while not stop.is_set:
            supervisor.tend()
            printed.bound()
            try:
                found = admin.status(supervisor.config)
            except IslandError as error:  # keys.toml is being edited, or wrong: what runs goes on as it is
                supervisor.log.seldom("warning", "status not known", why=str(error))
            else:
                show(supervisor.config, found)
            time.sleep(VIEW_S / 2)


class _Shown:
    """What the view remembers from one look to the next: positions, to tell rates."""

    def __init__(self, console: Console, live: Live | None) -> None:
        self._console = console
        self._live = live
        self._position = 0
        self._at_s = 0.0
        self._printed_s = 0.0
        self._rate = 0.0

    def __call__(self, config: Config, found: admin.Status) -> None:
        now_s = time.monotonic()
        position = max((int(row["position"]) for row in found.nodes), default=0)
        if self._at_s:
            latest = max(0, position - self._position) / (now_s - self._at_s)
            self._rate += (latest - self._rate) * 0.3
        self._position, self._at_s = position, now_s
        headline = f"{position:,} messages in the log, {self._rate:,.0f} a second"
        reasons = admin.problems(found, config)
        if self._live is not None:
            verdict = Text("well", "green") if not reasons else Text("; ".join(reasons), "yellow")
            doors = Text(f"data in {config.data_dir}; {_doors(config)}; Ctrl-C stops", "dim")
            self._live.update(Group(Text(headline, "bold"), verdict, status_view(found), doors))
        elif now_s - self._printed_s > PLAIN_S:
            self._printed_s = now_s
            self._console.print(f"{headline}; {'; '.join(reasons) or 'well'}", highlight=False, soft_wrap=True)


def _doors(config: Config) -> str:
    """Where one comes in."""
    return f"orders at {config.endpoints.get('order', 'nowhere')}; console at {web_url(config)}/"


@contextmanager
def _view(console: Console) -> Iterator[_Shown]:
    if not console.is_terminal:
        yield _Shown(console, None)
        return
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield _Shown(console, live)


@contextmanager
def _patiently(console: Console) -> Iterator[None]:
    with console.status("stopping the venue"):
        yield
