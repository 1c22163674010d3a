"""Replicas that come and go while a venue trades and is hurt: `python -m tests.faults.visitors --times 1000`.

    act: attach some --> hurt nodes, replicas or links meanwhile --> heal --> all live and alike --> detach

Rules:
- Visitors reach the nodes through links that can be hurt; residents do not.
- A visitor is judged by its state at a marker that a resident of its shard has told as well, and by what it says of
  itself: one that differs from the log halts as diverged.
- A flow runs all the time; in the end every command of it was answered.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from engines import operating
from gateways.flow import generate
from sequencer import keyring
from sequencer.config import FILE_NAME, Config
from sequencer.errors import IslandError
from sequencer.keys import Role
from tests.faults.group import over_tcp
from tests.faults.proxy import Links, Mode
from tests.models.running import Running, make, tagged, until, without_processes

ACTS = (
    "quiet",
    "kill_leader",
    "kill_residents",
    "kill_visitors",
    "stop_node",
    "take_snapshot",
    "cut_links",
    "hold_links",
    "swallow_links",
    "slow_links",
)
AT_ONCE = 4
HURT_S = (0.05, 0.8)
"""An act begins at any moment of an attach, and lasts as long."""
RATE = 600
FLOW_LINES = 24_000
MARKER_MESSAGES = 4_000
VISITORS = "visitors"


def main() -> int:
    """Exit with 0 only if every visitor became live and agreed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.visitors", description=__doc__)
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0, help="end after so long in any case")
    options = parser.parse_args()
    console, deadline_s = Console(stderr=True), time.monotonic() + options.minutes * 60
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch, Visits(Path(scratch), options.seed) as visits:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("attached", total=options.times)
            try:
                while visits.attached < options.times and time.monotonic() < deadline_s:
                    visits.do(draw.choice(ACTS))
                    progress.update(task, completed=visits.attached)
            except KeyboardInterrupt:
                console.print("stopped")
        answered = visits.end_flow()
    acts = ", ".join(f"{count} {kind}" for kind, count in sorted(visits.acts.items()))
    print(f"{visits.attached} attached, {answered:,} commands of the flow answered; {acts}")
    return 0


class Visits:
    """A venue of three nodes with a flow that does not end, and replicas that come and go; a context manager."""

    def __init__(self, directory: Path, seed: int, flow_lines: int = FLOW_LINES) -> None:
        self.attached = 0
        self.acts: Counter[str] = Counter()
        self.venue = Running(over_tcp(make(directory / "v", 3)))
        self._random = random.Random(seed)
        self._links = Links(seed)
        self._directory = directory
        self._flow = _Flow(self.venue, flow_lines)
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        self._resources.enter_context(self._links)
        self._resources.enter_context(self.venue)
        self.venue.start()
        self._outside = self._linked()
        operating.schedule(self.venue.config, MARKER_MESSAGES, 3600)
        self._resources.callback(self._flow.close)
        self._flow.go_on()
        return self

    def __exit__(self, *_error: object) -> None:
        self._resources.close()

    def do(self, kind: str, at_once: int = AT_ONCE) -> None:
        """Attach `at_once` replicas, and hurt the venue while they begin. Afterwards they are gone.

        Raises where one does not become live and the same.
        """
        self._flow.go_on()
        names = {f"visitor-{self.attached + place}": ("matching", "credit")[place % 2] for place in range(at_once)}
        try:
            self._attach(names)
            time.sleep(self._random.uniform(0.0, HURT_S[1]))
            getattr(self, f"_{kind}")(names)
            self._links.heal()
            self._judge(names)
            for name in names:
                operating.detach(self._outside, name)
        except Exception as error:
            error.add_note(f"in the act {kind}, after {self.attached} were attached")
            raise
        self.attached += len(names)
        self.acts[kind] += 1

    def end_flow(self) -> int:
        """How many commands were answered, of all."""
        return self._flow.end()

    # --- acts ---------------------------------------------------------------------------------

    def _quiet(self, names: dict[str, str]) -> None:
        """Only the flow."""

    def _kill_leader(self, names: dict[str, str]) -> None:
        self.venue.kill(self._leader())

    def _kill_residents(self, names: dict[str, str]) -> None:
        self.venue.kill(f"matching-{self._random.randint(1, 2)}", f"credit-{self._random.randint(1, 2)}")

    def _kill_visitors(self, names: dict[str, str]) -> None:
        """Wherever they are; they come once more."""
        for name, pid in self._visitors.pids.items():
            if name in names:
                os.kill(pid, signal.SIGKILL)
        until(lambda: not set(names) & set(self._visitors.pids), "the visitors are dead")
        self._attach(names)

    def _stop_node(self, names: dict[str, str]) -> None:
        """A host that stands still for a moment: its disk, or all of it."""
        pid = self.venue.pids[self._random.choice(self.venue.config.nodes).name]
        os.kill(pid, signal.SIGSTOP)
        self._wait()
        os.kill(pid, signal.SIGCONT)

    def _take_snapshot(self, names: dict[str, str]) -> None:
        """Whether or not all replicas tell their state in time: some are only beginning."""
        with suppress(IslandError):
            operating.take_snapshot(self.venue.config, "", keep=True)

    def _cut_links(self, names: dict[str, str]) -> None:
        self._hurt(Mode.CUT)

    def _hold_links(self, names: dict[str, str]) -> None:
        self._hurt(Mode.HOLD)

    def _swallow_links(self, names: dict[str, str]) -> None:
        self._hurt(Mode.SWALLOW)

    def _slow_links(self, names: dict[str, str]) -> None:
        self._links.turn(Mode.PASS, delay_s=0.02, jitter_s=0.05)
        self._wait()

    def _hurt(self, mode: Mode) -> None:
        """All ways of the visitors to one node, or to all of them."""
        nodes = [node.name for node in self.venue.config.nodes]
        for node in nodes if self._random.random() < 0.5 else [self._random.choice(nodes)]:
            self._links.turn(mode, (VISITORS, node))
        self._wait()

    def _wait(self) -> None:
        time.sleep(self._random.uniform(*HURT_S))

    # --- visitors -----------------------------------------------------------------------------

    def _linked(self) -> Config:
        """The venue as visitors see it: a directory of their own, and links for doors."""
        directory = self._directory / VISITORS
        make(directory, 3)
        without_processes(directory)
        text = (self.venue.data_dir / FILE_NAME).read_text()
        for written, node in zip(self.venue.config.written_nodes, self.venue.config.nodes, strict=True):
            for door in ("ingress", "publisher", "replayer"):
                link = self._links.add(VISITORS, node.name, getattr(node, door))
                text = text.replace(f'"{getattr(written, door)}"', f'"{link}"')
        (directory / FILE_NAME).write_text(text)
        config = self.venue.config
        machines, named = ("matching", "credit"), ("visitor-*",)
        key = keyring.secret_path(config.secrets_directory, VISITORS)
        keyring.issue(config.keys_path, key, VISITORS, Role.REPLICA, of=machines, processes=named)
        shutil.copy(config.keys_path, directory)
        shutil.copy(keyring.secret_path(config.secrets_directory, keyring.ADMIN), directory / "keys")
        self._visitors = Running(without_processes(directory), SEQUENCER_KEY=str(key))
        self._resources.enter_context(self._visitors)
        return self._visitors.config

    def _attach(self, names: dict[str, str]) -> None:
        for name, machine in names.items():
            self._visitors.spawn("attach", machine, "--name", name)

    def _judge(self, names: dict[str, str]) -> None:
        for name in names:
            until(lambda name=name: self._is_live(name), f"{name} is live")
        until(lambda: self._are_alike(names), f"the digests of {', '.join(names)}")

    def _is_live(self, name: str) -> bool:
        row = self.venue.row(name)
        assert row.get("state") not in ("halted", "diverged"), row
        return row.get("state") == "live"

    def _are_alike(self, names: dict[str, str]) -> bool:
        self._flow.go_on()  # no marker comes while nothing is traded
        return set(names) <= self._agreed()

    def _agreed(self) -> set[str]:
        """The replicas whose state at some marker is a resident's as well. Raises AssertionError where two differ."""
        told: dict[tuple[str, int], dict[str, str]] = defaultdict(dict)
        for row in self.venue.status.replicas:
            for position, digest in row.get("states", {}).items():
                told[row["sender"], int(position)][row["name"]] = digest
        assert all(len(set(digests.values())) == 1 for digests in told.values()), told
        residents = self.venue.config.processes
        return {name for digests in told.values() if not residents.keys().isdisjoint(digests) for name in digests}

    def _leader(self) -> str:
        def found() -> str:
            return next((row["name"] for row in self.venue.status.nodes if row["role"] == "leader"), "")

        return until(found, "a leader")


class _Flow:
    """One flow after the other, each with clients and instruments of its own."""

    def __init__(self, venue: Running, count: int) -> None:
        self._venue = venue
        self._lines = list(generate.lines(seed=5, count=count, instruments=4, clients=12))
        self._count = 0
        self._answered = 0
        self._sending: Iterator[None] | None = None
        self._resources = ExitStack()
        self._until_s = 0.0

    def go_on(self) -> None:
        """Begin the next one where the last has ended."""
        if time.monotonic() < self._until_s:
            return
        self.end()
        self._count += 1
        lines = tagged(self._lines, f"flow{self._count}-")
        self._result = self._resources.enter_context(self._venue.sending(lines, "--rate", str(RATE)))
        self._until_s = time.monotonic() + len(self._lines) / RATE

    def end(self) -> int:
        """Wait for the one that runs; the commands that all had answered."""
        if self._count and self._until_s:
            summary = self._result()
            assert summary["unanswered"] == 0, summary
            self._answered += summary["answered"]
            self._until_s = 0.0
        return self._answered

    def close(self) -> None:
        """Leave no process."""
        self._resources.close()


if __name__ == "__main__":
    sys.exit(main())
