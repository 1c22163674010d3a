"""The codec of batches and entries: what goes in comes out, and nothing else passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencer import envelope
from sequencer.errors import EnvelopeError

CLUSTER = bytes(range(16))
senders = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=24)
batches = st.builds(
    envelope.encode_batch,
    senders,
    st.integers(0, 65535),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=300),
    count=st.integers(1, 2**20),
    previous=st.binary(min_size=32, max_size=32),
    incarnation=st.integers(0, 2**32 - 1),
    cause=st.integers(0, 2**64 - 1),
)


def seal(found, index=1, first_sequence=1, previous=envelope.NO_DIGEST):
    return envelope.encode_entry(
        found, cluster=CLUSTER, term=3, index=index, first_sequence=first_sequence, time_ns=5, previous=previous
    )


def fields(batch):
    return {name: getattr(batch, name) for name in batch.__struct_fields__ if name != "data"} | {
        "payload": bytes(batch.payload)
    }


@given(st.lists(batches, max_size=5))
def test_batches_survive_the_wire(sent):
    """Concatenated batches are cut apart into what was sealed, digests and all."""
    got = envelope.split_batches(b"".join(batch.data for batch in sent))

    assert [fields(batch) for batch in got] == [fields(batch) for batch in sent]
    assert all(envelope.verify(batch) for batch in got)


@given(st.lists(batches, max_size=5), st.integers(1, 2**40))
def test_an_entry_survives_the_wire_and_numbers_its_messages(sent, first):
    """Each batch of an entry begins where the one before it ends."""
    entry = envelope.decode_entry(seal(sent, first_sequence=first).data)
    starts = [batch.first_sequence for batch in entry.batches()]

    assert starts == [first + sum(batch.count for batch in sent[:i]) for i in range(len(sent))]
    assert entry.next_sequence == first + sum(batch.count for batch in sent)


@given(batches, st.data())
def test_no_flipped_bit_of_a_batch_passes(batch, data):
    """A batch with one bit changed is not cut out, or does not match its digest."""
    bit = data.draw(st.integers(0, len(batch.data) * 8 - 1))
    broken = bytearray(batch.data)
    broken[bit // 8] ^= 1 << bit % 8
    try:
        got = envelope.split_batches(bytes(broken))
    except EnvelopeError:
        got = []

    assert not any(envelope.verify(found) for found in got)


def test_no_flipped_bit_of_an_entry_passes():
    """Every single-bit flip of an entry is refused with a reason."""
    data = seal([envelope.encode_batch("a", 1, 1, b"payload", count=2)]).data
    for bit in range(len(data) * 8):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(EnvelopeError):
            envelope.decode_entry(bytes(broken))


@given(st.binary(max_size=400))
def test_noise_is_refused_and_never_raises_anything_else(noise):
    """Bytes that are no batches, entries or heartbeats raise EnvelopeError and nothing else."""
    for read in (envelope.split_batches, envelope.decode_entry, envelope.decode_heartbeat):
        try:
            assert not read(noise)
        except EnvelopeError:
            continue


def test_the_entry_digest_covers_everything_before_it():
    """A different payload anywhere gives a different digest of every later entry."""

    def last_digest(payload):
        first = seal([envelope.encode_batch("a", 1, 1, payload, count=1)])
        return seal([], index=2, first_sequence=2, previous=first.digest).digest

    assert last_digest(b"x") != last_digest(b"y")


def test_heartbeats_survive_the_wire():
    """A heartbeat reads back as it was."""
    beat = envelope.Heartbeat(CLUSTER, 1, 2, 3, 4, True)

    assert envelope.decode_heartbeat(envelope.encode_heartbeat(beat)) == beat


@pytest.mark.parametrize("name", ["", "x" * 25, "käse", "a\nb"])
def test_unusable_sender_names_are_refused(name):
    """A sender is 1 to 24 printable ASCII characters, or the error says so."""
    with pytest.raises(EnvelopeError, match="printable ASCII"):
        envelope.pad_sender(name)
