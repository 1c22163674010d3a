"""The chain rule against a naive model: a list of what was accepted."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sequencer.envelope import CONTROL, NO_DIGEST, encode_batch
from sequencer.sessions import DIGESTS_REMEMBERED, Position, Sessions, Verdict


def chain(length, sender="s", incarnation=0, salt=b""):
    """Batches 1 to `length` of one sender, chained."""
    made, previous = [], NO_DIGEST
    for number in range(1, length + 1):
        made.append(
            encode_batch(sender, 1, number, salt + b"%d" % number, count=1, previous=previous, incarnation=incarnation)
        )
        previous = made[-1].digest
    return made


def opening(incarnation, sender="s"):
    return encode_batch(sender, CONTROL, 0, b"nonce", count=1, incarnation=incarnation)


class Log:
    """A log of one batch an entry, behind the rule."""

    def __init__(self):
        self.sessions = Sessions()
        self.entries = []

    def offer(self, batch):
        verdict = self.sessions.judge(batch, {})
        if verdict is Verdict.ACCEPTED:
            self.entries.append(batch)
            self.sessions.append(len(self.entries), [batch])
        return verdict

    def truncate(self, index):
        del self.entries[index:]
        self.sessions.truncate(index)


def test_a_dropped_tail_leaves_what_was_remembered():
    """However long it was: the table is what the log makes of it."""
    batches, log = chain(DIGESTS_REMEMBERED + 20), Log()
    for batch in batches:
        log.offer(batch)
    log.truncate(10)
    other = encode_batch("s", 1, 5, b"another", count=1, previous=batches[3].digest)

    assert (log.offer(other), log.offer(batches[4])) == (Verdict.CONFLICT, Verdict.DUPLICATE)


@settings(max_examples=200)
@given(st.lists(st.one_of(st.integers(0, 9), st.integers(-5, -1)), max_size=60))
def test_whatever_is_repeated_lost_or_truncated_the_log_holds_each_batch_once_in_order(plan):
    """Positive: offer that batch; negative: drop so many uncommitted entries. The log is a prefix of the chain."""
    sent, log = chain(10), Log()
    for step in plan:
        if step < 0:
            log.truncate(max(0, len(log.entries) + step))
        else:
            expected = [
                Verdict.DUPLICATE if step < len(log.entries) else None,
                Verdict.ACCEPTED if step == len(log.entries) else None,
                Verdict.GAP if step > len(log.entries) else None,
            ]
            assert log.offer(sent[step]) in expected

    assert [batch.digest for batch in log.entries] == [batch.digest for batch in sent[: len(log.entries)]]


def test_another_content_under_a_used_number_is_a_conflict():
    """The number alone does not make a duplicate: the digest must be the accepted one."""
    log = Log()
    log.offer(chain(1)[0])

    assert log.offer(chain(1, salt=b"other")[0]) is Verdict.CONFLICT


def test_the_right_number_on_another_chain_is_a_conflict():
    """Two processes that continue one chain differently cannot both be accepted."""
    log = Log()
    log.offer(chain(1)[0])

    assert log.offer(chain(2, salt=b"other")[1]) is Verdict.CONFLICT


def test_a_new_session_fences_the_old_one_and_keeps_the_numbers():
    """After OpenSession the old incarnation is refused, and the new one goes on at the next number."""
    log, old = Log(), chain(2)
    log.offer(old[0])
    log.offer(opening(1))
    new = encode_batch("s", 1, 2, b"", count=1, previous=old[0].digest, incarnation=1)

    assert [log.offer(old[1]), log.offer(opening(1)), log.offer(opening(3)), log.offer(new)] == [
        Verdict.FENCED,
        Verdict.FENCED,
        Verdict.GAP,
        Verdict.ACCEPTED,
    ]


def test_only_committed_positions_are_told():
    """What may still be truncated is judged by, and spoken of to nobody."""
    log = Log()
    for batch in chain(3):
        log.offer(batch)
    log.sessions.commit(2)

    assert log.sessions.position("s").number == 2


def test_a_truncated_opening_gives_the_old_session_back():
    """A truncated tail takes its part of the table with it."""
    log, old = Log(), chain(2)
    log.offer(old[0])
    log.offer(opening(1))
    log.truncate(1)

    assert log.offer(old[1]) is Verdict.ACCEPTED


def test_batches_of_one_entry_follow_each_other_through_pending():
    """Batches that wait for the same entry are judged one behind the other."""
    sessions, pending = Sessions(), {}

    assert [sessions.judge(batch, pending) for batch in chain(3)] == [Verdict.ACCEPTED] * 3


def test_an_entry_of_many_batches_is_undone_as_a_whole():
    """Two senders, an opening in the middle: after a truncation all of it can be accepted again, in order."""
    other, own = chain(3, sender="t"), chain(2)
    renewed = encode_batch("s", 1, 3, b"", count=1, previous=own[1].digest, incarnation=1)
    together = [own[0], other[0], own[1], opening(1), other[1], renewed, other[2]]
    sessions = Sessions()
    sessions.append(1, together)
    sessions.truncate(0)
    pending = {}
    again = [sessions.judge(batch, pending) for batch in together]
    sessions.append(1, together)
    sessions.commit(1)

    assert again == [Verdict.ACCEPTED] * 7
    assert (sessions.position("s"), sessions.position("t").number) == (Position(1, 3, renewed.digest), 3)
