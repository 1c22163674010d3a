"""The nodes of a real group, whatever they run in: who they are, what they say, and who was seen to lead."""

import json
from pathlib import Path

from sequencer.asking import ask
from sequencer.config import Config
from sequencer.protocol import AskStatus, NodeStatus
from sequencer.sockets import context


class Nodes:
    """What a Load needs of them: by `config` they are asked, by `outside` senders and readers reach them."""

    config: Config
    outside: Config

    def __init__(self, histories: Path) -> None:
        self.histories = histories
        self.histories.mkdir()
        self._leaders: set[tuple[int, str]] = set()

    def note_leaders(self) -> None:
        """Write down who was seen to lead so far."""
        rows = [json.dumps({"term": term, "leader": leader}) for term, leader in sorted(self._leaders)]
        (self.histories / "leaders.jsonl").write_text("".join(f"{row}\n" for row in rows))

    @property
    def names(self) -> list[str]:
        """The nodes."""
        return [node.name for node in self.config.nodes]

    @property
    def leader(self) -> str:
        """Who leads in the latest term in which anyone says so; empty if nobody does."""
        leading = {(int(told["term"]), name) for name, told in self.told.items() if told["role"] == "leader"}
        self._leaders |= leading
        return max(leading)[1] if leading else ""

    @property
    def told(self) -> dict[str, dict[str, int | str | bool]]:
        """What each node that answers says of itself."""
        with context(self.config) as made:
            answers = ask(self.config.nodes, AskStatus(), context=made).items()
        return {name: answer.node for name, answer in answers if isinstance(answer, NodeStatus)}
