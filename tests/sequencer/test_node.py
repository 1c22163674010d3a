"""One node with its sockets, turned by hand: what it takes in a turn, what it says, and what that costs who asks."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sequencer import gate, node
from sequencer.envelope import NO_DIGEST, encode_batch, split_batches
from sequencer.keyring import KEY_VARIABLE, secret_path
from sequencer.keys import Door
from sequencer.limits import BURST_REQUESTS_MIN, Limits
from sequencer.protocol import ANSWERS, ENCODER, OVER_RATE, Answer, AskPosition, Outcome, PositionOf, Refused
from sequencer.sockets import Context
from tests.models.knocking import Caller, make_open
from tests.models.running import until
from tests.models.still import Still

SENDER = "gateway.order-9"
BURST = int(BURST_REQUESTS_MIN)
"""What a key of the lowest rate may ask for at once."""


def sealed(sender: str, number: int, previous: bytes = NO_DIGEST) -> bytes:
    """A batch that says it is the sender's so many-th."""
    return bytes(encode_batch(sender, 1, number, b"x", count=1, previous=previous).data)


FIRST, GAP = sealed(SENDER, 1), sealed(SENDER, 9)
ASKED = ENCODER.encode(AskPosition(SENDER))
FOREIGN = sealed("gateway.web-1", 1)
"""Of a sender as whom this key may not speak."""
INVALID = sealed(SENDER, 2, split_batches(FIRST)[0].digest)[:-1] + b"y"
"""It would be next; its digest is of other bytes."""


class Stage:
    """A node that leads, and a gateway at its door."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        config = make_open(directory, Limits(requests_per_s=1))
        name = config.nodes[0].name
        patch.setenv(KEY_VARIABLE, str(secret_path(config.secrets_directory, name)))
        self._context = Context.of(config)
        self.node = node.Node(config, name, self._context)
        self._callers = [Caller(config, "matching-9"), Caller(config, "order-9")]
        for caller in self._callers:
            assert caller.enters(Door.INGRESS)
        other, self._gateway = self._callers
        other.say(Door.INGRESS, ASKED)
        until(lambda: (self.node.turn(), other.come(Door.INGRESS))[1], "it leads, and answers")

    def close(self) -> None:
        """End all sockets."""
        self.node.close()
        for caller in self._callers:
            caller.close()
        self._context.destroy(linger=0)

    def say(self, *frames: bytes) -> None:
        """Of the gateway, whose key may ask for one thing a second."""
        for frame in frames:
            self._gateway.say(Door.INGRESS, frame)

    def heard(self) -> list[Answer]:
        """What the gateway was answered since."""
        return [ANSWERS.decode(frames[-1]) for frames in self._gateway.come(Door.INGRESS)]

    def turn(self) -> list[Answer]:
        """One turn of the node, and what has come of it and of those before."""
        self.node.turn()
        return self.heard()


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    made = Stage(tmp_path / "v", monkeypatch)
    yield made
    made.close()


def verdicts(answers: list[Answer]) -> list[str]:
    return [one.verdict for one in answers if isinstance(one, Refused)]


def is_over(answers: list[Answer]) -> bool:
    """Whether a key was told that it is over its rate."""
    return OVER_RATE in verdicts(answers) or any(isinstance(one, Outcome) for one in answers)


def test_a_turn_ends_where_frames_bring_nothing(stage: Stage):
    """Of a hundred that wait it takes a third: what it took before goes on to its disk in between."""
    stage.say(*[ASKED] * BURST)
    turns, answered = 0, 0
    while answered < BURST:
        turns += 1
        answered += len(stage.turn())

    assert turns > 3


@pytest.mark.parametrize(
    ("frame", "taken"),
    [(ASKED, BURST - 1), (FIRST, BURST - 1), (GAP, BURST // 4), (FOREIGN, BURST // 4), (INVALID, 1)],
    ids=["question", "duplicate", "gap", "foreign", "invalid"],
)
def test_who_should_know_better_pays_more(stage: Stage, monkeypatch: pytest.MonkeyPatch, frame: bytes, taken: int):
    """So many of a burst are taken, after one that is sound; then the key is over its rate, and is told."""
    monkeypatch.setattr(gate, "time", Still.ahead())  # nobody gets room by waiting
    monkeypatch.setattr(node, "REPEATED_MS", {})
    stage.say(FIRST)
    heard: list[Answer] = []
    while not is_over(heard):
        stage.say(frame)
        heard += until(stage.turn, "an answer")

    assert len(heard) - 1 == taken


@pytest.mark.parametrize(("frame", "verdict"), [(FIRST, "duplicate"), (GAP, "gap")])
def test_who_repeats_himself_is_told_so_now_and_then(stage: Stage, frame: bytes, verdict: str):
    """At once, and not with each frame."""
    began_s = time.monotonic()
    stage.say(FIRST, *[frame] * 20, ASKED)
    heard: list[Answer] = []
    while not any(isinstance(one, PositionOf) for one in heard):
        heard += stage.turn()
    passed_ms = (time.monotonic() - began_s) * 1000

    assert 1 <= verdicts(heard).count(verdict) <= 1 + passed_ms / node.REPEATED_MS[verdict]
