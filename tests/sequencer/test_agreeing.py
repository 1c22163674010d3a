"""Outputs that several replicas have to make: what goes into the log was made by enough of them, and all of it goes."""

import itertools
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencer.agreeing import HELD_BYTES_MAX, HELD_NUMBERS_MAX, Agreements
from sequencer.clock import SequencedClock
from sequencer.config import LimitsConfig
from sequencer.envelope import CONTROL, NO_DIGEST, Batch, encode_batch
from sequencer.members import Member, Members
from sequencer.ordering import Orderer
from sequencer.protocol import process_of
from sequencer.raft import Log, Persisted, Raft
from sequencer.sessions import Position, Sessions

RESULTS = 3
VOTERS = ("a", "b", "c", "d")
LENGTH = 6


def leading(needed: int) -> Orderer:
    """A node that is alone, and leads."""
    raft = Raft("n", b"n" * 16, cluster=bytes(16), log=Log(Members.founding([Member("n", b"n" * 16)])))
    made = Orderer(
        raft,
        Sessions(),
        SequencedClock(0, 0, 0),
        lambda _sender: frozenset({RESULTS}),
        LimitsConfig(),
        lambda _s: needed,
    )
    made.step(0)
    logged(made)
    return made


def logged(made: Orderer) -> list[Batch]:
    """What is committed, once all is durable that waits."""
    committed = []
    made.propose(0, 1000, 0)
    while made.owed.entries or made.owed.committed:
        entries, committed = made.owed.entries, committed + made.owed.committed
        made.owed.entries, made.owed.committed = [], []
        if entries:
            made.step(0, Persisted(entries[-1].index))
    return [batch for entry in committed for batch in entry.batches()]


def say(made: Orderer, voter: str, *batches: Batch) -> object:
    return made.take(b"".join(batch.data for batch in batches), lambda _channel: True, "", voter)


def chain(differs_at: int = 0, count: int = LENGTH, incarnation: int = 0) -> list[Batch]:
    """A replica's outputs; from `differs_at` on they are others."""
    batches, previous = [], NO_DIGEST
    for number in range(1, count + 1):
        payload = b"another" if number == differs_at else b"%d" % number
        batches.append(
            encode_batch("m.0", RESULTS, number, payload, count=1, previous=previous, incarnation=incarnation)
        )
        previous = batches[-1].digest
    return batches


@given(
    st.sampled_from([1, 2, 3]),
    st.integers(0, LENGTH),
    st.lists(st.tuples(st.sampled_from(VOTERS), st.integers(0, LENGTH - 1), st.integers(1, LENGTH)), max_size=40),
)
def test_only_what_enough_have_made_is_in_the_log(needed: int, differs_at: int, said: list[tuple[str, int, int]]):
    """In any order, with repeats and gaps; c and d differ from some place on; in the end each has said all."""
    made = leading(needed)
    outputs = {"a": chain(), "b": chain(), "c": chain(differs_at), "d": chain(differs_at)}
    makers: dict[bytes, set[str]] = defaultdict(set)
    log: list[Batch] = []
    for voter, first, count in said:
        part = outputs[voter][first : first + count]
        for batch in part:
            makers[batch.digest].add(voter)
        say(made, voter, *part)
        log += logged(made)
        assert all(len(makers[batch.digest]) >= needed for batch in log)
    assert [batch.number for batch in log] == list(range(1, len(log) + 1))
    assert all(two.previous == one.digest for one, two in itertools.pairwise(log))
    for voter in VOTERS:
        say(made, voter, *outputs[voter])
        log += logged(made)
    agreed = differs_at - 1 if needed == 3 and differs_at else LENGTH
    assert [batch.number for batch in log] == list(range(1, agreed + 1))


def test_what_enough_have_made_stays_out_if_it_follows_on_something_else():
    """c and d agree on a second output, a and b on the first that goes before another one."""
    made, sound, other = leading(2), chain(count=2), chain(1, count=2)
    say(made, "c", other[1])
    say(made, "d", other[1])
    say(made, "a", *sound)
    say(made, "b", sound[0])
    assert [batch.digest for batch in logged(made)] == [sound[0].digest]


def test_one_voter_does_not_count_twice():
    """However often it says it, and after a restart: under another connection of the same name."""
    made, outputs = leading(2), chain()
    assert process_of(b"m-1/ab12cd34") == process_of(b"m-1/00000000") == "m-1"
    for _ in range(3):
        assert say(made, "m-1", *outputs) is None
    assert logged(made) == []
    say(made, "m-2", outputs[0])
    assert [batch.number for batch in logged(made)] == [1]


def test_what_waits_is_told():
    """Its number, and who made which; nothing, once it is in the log."""
    made, (one, two), (other, _) = leading(2), chain(count=2), chain(1, count=2)
    made.take(one.data + two.data, lambda _channel: True, "", "m-1", 100)
    made.take(other.data, lambda _channel: True, "", "m-2", 200)
    told = made.agreements.undecided(made.sessions.reached, 1100)["m.0"]
    assert (told.number, told.for_ms, told.needed) == (1, 1000, 2)
    assert told.votes == {one.digest.hex()[:16]: ["m-1"], other.digest.hex()[:16]: ["m-2"]}
    say(made, "m-3", one, two)
    assert [batch.digest for batch in logged(made)] == [one.digest, two.digest]
    assert made.agreements.undecided(made.sessions.reached, 1100) == {}
    assert say(made, "m-2", other).verdict == "conflict"


def test_an_incarnation_that_is_opened_fences_what_is_held():
    """What was said of the old one counts for nothing."""
    made = leading(2)
    say(made, "m-1", *chain())
    say(made, "operator", encode_batch("m.0", CONTROL, 0, bytes(16), count=1, incarnation=1))
    assert [batch.channel for batch in logged(made)] == [CONTROL]
    assert say(made, "m-2", *chain()).verdict == "fenced"
    renewed = chain(incarnation=1)
    say(made, "m-2", *renewed)
    assert logged(made) == []
    assert [*made.agreements.undecided(made.sessions.reached, 0)["m.0"].votes.values()] == [["m-2"]]
    say(made, "m-1", *renewed)
    assert [batch.number for batch in logged(made)] == list(range(1, LENGTH + 1))


@pytest.mark.parametrize("broken", [False, True])
def test_what_does_not_match_its_digest_is_refused(broken: bool):
    """It is no vote, for this or any other."""
    made, (batch,) = leading(2), chain(count=1)
    data = bytearray(batch.data)
    data[-1] ^= broken
    say(made, "m-1", batch)
    answer = made.take(bytes(data), lambda _channel: True, "", "m-2")
    assert (answer is None, len(logged(made))) == (not broken, int(not broken))


def test_what_is_held_is_bounded():
    """By numbers and by bytes; what found no place is taken when it is said again."""
    agreements, at = Agreements(lambda _sender: 2), Position()
    many = chain(count=HELD_NUMBERS_MAX + 2)
    for batch in many:
        assert agreements.vote("a", batch, at, 0) == []
    decided: list[Batch] = []
    for batch in many:
        decided += agreements.vote("b", batch, at, 0)
        at = Position(0, decided[-1].number, decided[-1].digest)
    assert [batch.number for batch in decided] == list(range(1, HELD_NUMBERS_MAX + 1))

    big = [encode_batch("x.0", RESULTS, number, bytes(1 << 20), count=1) for number in range(1, 8)]
    for batch in big:
        agreements.vote("a", batch, Position(), 0)
    assert sum(agreements.holds(batch) for batch in big) == HELD_BYTES_MAX // (1 << 20) - 1
