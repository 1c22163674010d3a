"""One question to several nodes at once, and what they answer in time: how commands talk to a running group."""

import time
from collections.abc import Callable, Sequence

import msgspec
import zmq

from sequencer.config import NodeConfig, Source
from sequencer.errors import UnreachableError
from sequencer.protocol import ANSWERS, ENCODER, Answer, AskChange, AskTransfer, Outcome, Question
from sequencer.sockets import Context, connect, needs_keys, not_let_in, refusals_of, tune

ANSWER_MS = 600


def ask(
    nodes: Sequence[NodeConfig | Source],
    question: Question,
    is_enough: Callable[[Answer], bool] = lambda _answer: False,
    *,
    context: Context,
) -> dict[str, Answer]:
    """Answers by node: of all that give one within ANSWER_MS, or up to the first that is enough.

    Raises UnreachableError where nobody answers, and somebody does not let us in, or hears no more of our key now.
    """
    answers: dict[str, Answer] = {}
    refused: set[str] = set()
    poller, names, refusals = zmq.Poller(), {}, {}
    try:
        for node in nodes:
            socket = tune(context.socket(zmq.DEALER))
            names[socket] = node.name
            if needs_keys(node.ingress):
                refusals[refusals_of(socket)] = node.name
            connect(socket, node.ingress)
            socket.send(ENCODER.encode(question))
        for socket in (*names, *refusals):
            poller.register(socket, zmq.POLLIN)
        deadline_ms = _now_ms() + ANSWER_MS
        while len(answers) + len(refused) < len(nodes) and (left_ms := deadline_ms - _now_ms()) > 0:
            for socket, _event in poller.poll(left_ms):
                if socket in refusals:
                    refused.add(refusals[socket])
                    poller.unregister(socket)
                    continue
                try:
                    answer = ANSWERS.decode(socket.recv())
                except msgspec.MsgspecError:
                    continue  # not our protocol
                if isinstance(answer, Outcome) and not isinstance(question, AskChange | AskTransfer):
                    raise UnreachableError(f"{names[socket]} does not answer now: this key is {answer.why}")
                answers[names[socket]] = answer
                if is_enough(answer):
                    return answers
        if refused and not answers:
            raise not_let_in(next(iter(names)), ", ".join(sorted(refused)))
        return answers
    finally:
        for socket in (*names, *refusals):
            socket.close(linger=0)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
