"""The chain of state digests: one sequenced copy of each, by whoever is first, and none by who differs."""

import itertools

import pytest

from engines.messages import DECODERS, ENCODER, STATES, StateDigest
from engines.vouching import StateChain
from sequencer.envelope import Batch
from sequencer.errors import DivergedError


def told(number: int, *, outputs: int = 0, salt: int = 0) -> StateDigest:
    return StateDigest(number * 10, outputs, bytes([number, salt]) * 16)


def chain_of(*numbers: int) -> list[Batch]:
    """The batches of these markers, as a replica makes that takes them in their order."""
    chain = StateChain("m.0")
    for number in numbers:
        chain.tell(number, told(number))
    return chain.due(0)


@pytest.mark.parametrize("order", list(itertools.permutations([1, 2, 3])))
def test_digests_are_submitted_in_the_order_of_their_markers(order: tuple[int, ...]):
    """In whatever order they are made, and each once."""
    chain, due = StateChain("m.0"), []
    for number in order:
        chain.tell(number, told(number))
        due += chain.due(0)

    assert [batch.data for batch in due] == [batch.data for batch in chain_of(1, 2, 3)]
    assert chain.due(0) == []


def test_nothing_is_vouched_for_while_outputs_are_missing_in_the_log():
    """A digest waits until all that was made up to its marker has been seen."""
    chain = StateChain("m.0")
    chain.tell(1, told(1, outputs=5))

    assert chain.due(4) == []
    assert [batch.number for batch in chain.due(5)] == [1]


def test_what_others_have_submitted_is_not_submitted():
    """The copy in the log counts for all."""
    first, second, third = chain_of(1, 2, 3)
    chain = StateChain("m.0")
    for number in (1, 2, 3):
        chain.tell(number, told(number))
    chain.see(first, 100)
    chain.see(second, 101)

    assert [batch.data for batch in chain.due(0)] == [third.data]
    assert [chain.vouched_index(number) for number in (1, 2, 3)] == [100, 101, 0]


def test_a_digest_that_was_not_made_here_does_not_hold_up_the_next():
    """A replica whose snapshot failed, or that begins behind it, goes on from what the log says."""
    first, second = chain_of(1, 2)
    chain = StateChain("m.0")
    chain.tell(2, told(2))
    assert chain.due(0) == []
    chain.see(first, 100)

    assert [batch.data for batch in chain.due(0)] == [second.data]


@pytest.mark.parametrize("log_is_first", [True, False])
def test_who_differs_from_the_log_has_diverged(log_is_first: bool):
    """Whether the digest in the log is seen before the own one is made, or after."""
    (first,) = chain_of(1)
    chain = StateChain("m.0")
    acts = [lambda: chain.see(first, 100), lambda: chain.tell(1, told(1, salt=1))]
    before, after = acts if log_is_first else acts[::-1]
    before()

    with pytest.raises(DivergedError, match="the state behind 10"):
        after()


def test_it_remembers_little():
    """A thousand markers leave a few digests."""
    chain, log = StateChain("m.0"), chain_of(*range(1, 256))
    for batch in log:
        chain.tell(batch.number, told(batch.number))
        chain.see(batch, batch.number)

    assert len(chain.digests()) < 20


def test_a_void_marker_vouches_for_nothing():
    """Its number is taken by an empty digest, and what its state was is not told."""
    chain = StateChain("m.0")
    chain.mark(1, 10, 3, void=True)
    chain.tell(1, told(1))
    (batch,) = chain.due(3)

    assert ENCODER.encode([StateDigest(10, 3, b"")]) == bytes(batch.payload)
    chain.see(batch, 100)
    assert chain.vouched_index(1) == 0


def test_what_the_log_holds_of_a_void_marker_is_not_compared():
    """Somebody told it before it was void: the chain goes on from there."""
    (first,), chain = chain_of(1), StateChain("m.0")
    chain.mark(1, 10, 0, void=True)
    chain.tell(2, told(2))
    assert [batch.number for batch in chain.due(0)] == [1, 2]
    chain.see(first, 100)

    assert [batch.data for batch in chain.due(0)] == [chain_of(1, 2)[1].data]


def test_an_opening_makes_void_what_was_made_of_outputs_that_are_sealed_anew():
    """Markers whose outputs were all in the log stay; the others, and none of before, are void."""
    chain = StateChain("m.0")
    for number, outputs in ((1, 4), (2, 5), (3, 6)):
        chain.mark(number, number * 10, outputs)
        chain.tell(number, told(number, outputs=outputs))
    chain.reopen(5)
    digests = [DECODERS[STATES].decode(batch.payload)[0].digest for batch in chain.due(6)]

    assert digests == [told(1).digest, told(2).digest, b""]
