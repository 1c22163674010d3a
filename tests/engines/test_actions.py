"""What operators did, out of the log alone."""

import pytest

from engines import messages as m
from engines.actions import latest
from sequencer.envelope import Batch, encode_batch
from tests.models.shards import STEP_NS, Log

KIM = m.OperatorAction("kim", "members add", '{"name":"node-4","learner":false}', "ticket 1")
ANN = m.OperatorAction("operator.ann", "skip", '{"sequence":7}', "")


def said(sender: str, *messages: m.Message, number: int = 1) -> Batch:
    payload = m.ENCODER.encode(list(messages))
    return encode_batch(sender, m.OPERATIONS, number, payload, count=len(messages))


def log(*batches: Batch) -> Log:
    """An entry each."""
    made = Log()
    for batch in batches:
        made.add(batch)
    return made


def test_actions_are_what_operators_asked_for_and_nothing_else():
    """In the order of the log, each with its place and time; neither what they led to, nor what cannot be read."""
    unreadable = encode_batch("operator", m.OPERATIONS, 2, b"\xc1", count=1)
    command = encode_batch("gateway.o", m.COMMANDS, 1, m.ENCODER.encode([m.Tick()]), count=1)
    entries = log(said("operator.kim", KIM), command, unreadable, said("operator.web-1", m.TakeSnapshot(), ANN)).entries
    found = latest(entries)

    assert [(one.sequence, one.time_ns // STEP_NS, one.action, one.reason) for one in found] == [
        (1, 1, "members add", "ticket 1"), (5, 4, "skip", ""),
    ]  # fmt: skip
    assert found[0].details == {"name": "node-4", "learner": False}


@pytest.mark.parametrize(
    ("sender", "key"), [("operator", ""), ("operator.kim", "kim"), ("operator.web-1", "web-1"), ("risk", "risk")]
)
def test_whose_key_it_was_is_told_by_the_sender(sender: str, key: str):
    """And not by the note, which says what its author likes."""
    [found] = latest(log(said(sender, KIM)).entries)

    assert (found.operator, found.key) == ("kim", key)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_the_last_so_many(count: int):
    """With 0, all."""
    asked = [m.OperatorAction("kim", str(number), "{}", "") for number in range(3)]
    entries = log(*(said("operator", one, number=number) for number, one in enumerate(asked, 1))).entries

    assert [one.action for one in latest(entries, count)] == [one.action for one in asked[-count:]]


@pytest.mark.parametrize("text", ["", "no json", "[1]", "7", "{", "[" * 10_000])
def test_details_that_are_no_json_are_told_as_they_are(text: str):
    """Whoever submits by himself may write anything: it keeps nobody from reading the rest."""
    [found] = latest(log(said("operator.kim", m.OperatorAction("kim", "a", text, ""))).entries)

    assert found.details == {"details": text}


def test_people_see_details_as_words():
    """Names and values, lists by their items."""
    asked = m.OperatorAction("kim", "keys issue", '{"name":"desk","of":["ANN","BOB"],"operates":false}', "ticket 2")
    row = latest(log(said("operator.kim", asked)).entries)[0].as_row()

    assert row == {
        "sequence": 1, "time": "1970-01-01T00:00:00.007000Z", "operator": "kim", "key": "kim", "action": "keys issue",
        "details": "name=desk of=ANN BOB operates=no", "reason": "ticket 2",
    }  # fmt: skip
