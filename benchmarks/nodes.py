"""The nodes and replayers of a venue as child processes, for benchmarks that start and stop them by name.

node-1, node-1-replayer, node-2, ...    each `python -m sequencer ...` on the venue in one directory
"""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Self

from sequencer.asking import ask
from sequencer.config import Config
from sequencer.protocol import AskStatus, NodeStatus
from sequencer.sockets import context

STOP_S = 15.0
POLL_S = 0.01


class Nodes:
    """All of them run from enter to exit, but for those that `stop` ends."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        for node in self._config.nodes:
            self.start(node.name)
        await_true(lambda: self.leader)
        return self

    def __exit__(self, *_error: object) -> None:
        for child in self._children.values():
            child.terminate()
        for child in self._children.values():
            child.wait(STOP_S)

    @property
    def pids(self) -> dict[str, int]:
        """Every process, by name."""
        return {name: child.pid for name, child in self._children.items()}

    @property
    def names(self) -> list[str]:
        """The nodes of the venue."""
        return [node.name for node in self._config.nodes]

    @property
    def leader(self) -> str:
        """Who leads; empty if nobody does."""
        return next((name for name, told in self.told().items() if told["role"] == "leader"), "")

    def told(self, *names: str) -> dict[str, dict[str, int | str | bool]]:
        """What each of these nodes that answers says of itself; of all, where none is named."""
        nodes = [node for node in self._config.nodes if not names or node.name in names]
        with context(self._config) as made:
            answers = ask(nodes, AskStatus(), context=made).items()
        return {name: answer.node for name, answer in answers if isinstance(answer, NodeStatus)}

    def start(self, name: str) -> None:
        """Start a node and its replayer."""
        for kind, child in (("node", name), ("replayer", f"{name}-replayer")):
            words = [sys.executable, "-m", "sequencer", kind, name, "--data", str(self._config.data_dir)]
            self._children[child] = subprocess.Popen(words)

    def stop(self, name: str) -> None:
        """End a node and its replayer."""
        gone = [self._children.pop(child) for child in (name, f"{name}-replayer")]
        for child in gone:
            child.terminate()
        for child in gone:
            child.wait(STOP_S)


def await_true(condition: Callable[[], object], patience_s: float = 60.0) -> bool:
    """Whether something came true in time."""
    deadline_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(POLL_S)
    return True
