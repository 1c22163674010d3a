"""What a node accepts, refuses and orders, without its sockets and files."""

import pytest

from sequencer.client.submission import Submission
from sequencer.clock import SequencedClock
from sequencer.config import LimitsConfig
from sequencer.envelope import NO_DIGEST, encode_batch, encode_entry
from sequencer.members import Member, Members
from sequencer.ordering import Orderer
from sequencer.protocol import FRAME_BATCHES_MAX, NotLeader, Refused
from sequencer.raft import Append, Log, Persisted, Raft
from sequencer.sessions import Sessions, Verdict

CLUSTER = bytes(16)


def orderer(members=("a",)):
    founders = Members.founding(Member(name, name.encode() * 16) for name in members)
    raft = Raft("a", b"a" * 16, cluster=CLUSTER, log=Log(founders))
    made = Orderer(
        raft,
        Sessions(),
        SequencedClock(0, 0, 0),
        lambda sender: frozenset({1} if sender == "s" else ()),
        LimitsConfig(),
    )
    made.step(0)
    settle(made)
    return made


def settle(made):
    """Fulfil what is owed, as a node does whose disk never fails; return what was committed."""
    committed = []
    while made.owed.entries or made.owed.committed:
        entries, committed = made.owed.entries, committed + made.owed.committed
        made.owed.entries, made.owed.committed = [], []
        if entries:
            made.step(0, Persisted(entries[-1].index))
    return committed


def chain(count, sender="s", channel=1):
    made, previous = [], NO_DIGEST
    for number in range(1, count + 1):
        made.append(encode_batch(sender, channel, number, b"%d" % number, count=3, previous=previous))
        previous = made[-1].digest
    return made


def offer(made, *batches, served=True):
    answer = made.take(b"".join(batch.data for batch in batches), lambda _channel: served, "leader's")
    made.propose(0, 1000, 0)
    return answer, settle(made)


def test_a_conflict_with_what_waits_is_one():
    """Before the entry is made as after it: another batch under a number that was accepted is no repeat."""
    made, batches = orderer(), chain(3)
    made.take(b"".join(batch.data for batch in batches), lambda _channel: True, "leader's")
    others = [encode_batch("s", 1, number, b"another", count=1) for number in (1, 2, 3)]

    verdicts = [made.take(batch.data, lambda _channel: True, "leader's").verdict for batch in (*others, *batches)]
    assert verdicts == ["conflict"] * 3 + ["duplicate"] * 3


def test_all_that_waits_becomes_one_entry():
    """Batches of one turn share an entry, and their messages are numbered through."""
    answer, committed = offer(orderer(), *chain(3))

    assert answer is None
    assert [[batch.first_sequence for batch in entry.batches()] for entry in committed] == [[1, 4, 7]]


@pytest.mark.parametrize(
    ("batches", "served", "verdict"),
    [
        (chain(1, sender="stranger"), True, "not-permitted"),
        (chain(1, channel=2), True, "not-permitted"),
        (chain(1), False, "full"),
        (chain(2)[1:], True, "gap"),
        ([encode_batch("s", 1, 1, b"", count=0)], True, "invalid"),
        (chain(FRAME_BATCHES_MAX + 1), True, "invalid"),
    ],
)
def test_what_may_not_be_sequenced_is_refused_by_name(batches, served, verdict):
    """The answer names the reason and the sender's committed position; nothing is ordered."""
    answer, committed = offer(orderer(), *batches, served=served)

    assert isinstance(answer, Refused)
    assert (answer.verdict, answer.number, committed) == (verdict, 0, [])


def test_a_sender_says_any_number_of_batches_in_frames_that_are_taken():
    """Also all of them again, as after a silence: no frame has more than a node judges at a time."""
    sending = Submission(["leader's"], "s", now_ms=lambda: 0, opened=True)
    for _ in range(2 * FRAME_BATCHES_MAX + 1):
        sending.submit(1, b"x", count=1)
    sending.flush()
    made = orderer()
    answers = [made.take(bytes(frame), lambda _channel: True, "") for frame in sending.outbox]
    made.propose(0, 1000, 0)

    assert answers == [None] * 3
    assert [len(entry.batches()) for entry in settle(made)] == [2 * FRAME_BATCHES_MAX + 1]


def test_a_false_digest_is_invalid_and_takes_no_place():
    """A batch whose digest is not that of its contents is refused, and the right one is accepted after it."""
    made, batch = orderer(), chain(1)[0]
    broken = bytearray(batch.data)
    broken[-1] ^= 1
    answer = made.take(bytes(broken), lambda _channel: True, "")
    _, committed = offer(made, batch)

    assert isinstance(answer, Refused)
    assert (answer.verdict, len(committed)) == ("invalid", 1)


def test_a_repeat_is_a_duplicate_with_the_committed_position():
    """What was sequenced is not sequenced again, and its sender learns how far it is."""
    made, sent = orderer(), chain(2)
    offer(made, *sent)
    answer, committed = offer(made, sent[0])

    assert isinstance(answer, Refused)
    assert (answer.verdict, answer.number, answer.digest, committed) == ("duplicate", 2, sent[1].digest, [])


def test_noise_is_refused_and_the_next_frame_is_served():
    """Bytes that are no batches do no harm."""
    made = orderer()
    answer = made.take(b"ISB1 and nothing of sense", lambda _channel: True, "")
    _, committed = offer(made, *chain(1))

    assert isinstance(answer, Refused)
    assert len(committed) == 1


def test_who_does_not_lead_names_the_leader():
    """A follower orders nothing, and says where to go."""
    answer, committed = offer(orderer(members=("a", "b", "c")), *chain(1))

    assert (answer, committed) == (NotLeader("leader's"), [])


def test_a_dropped_tail_takes_its_part_of_the_table_along():
    """A batch that was only in a tail that another leader replaced is new again: it can be accepted once more."""
    follower, [batch] = orderer(("a", "b", "c")), chain(1)
    lost = encode_entry([batch], cluster=CLUSTER, term=1, index=1, first_sequence=1, time_ns=0, previous=NO_DIGEST)
    kept = encode_entry([], cluster=CLUSTER, term=2, index=1, first_sequence=1, time_ns=0, previous=NO_DIGEST)
    follower.step(0, Append(1, "b", 0, 0, 0, 0, True, [lost.data]))
    before = follower.sessions.judge(batch, {})
    follower.step(0, Append(2, "c", 0, 0, 0, 0, True, [kept.data]))

    assert (before, follower.sessions.judge(batch, {})) == (Verdict.DUPLICATE, Verdict.ACCEPTED)
