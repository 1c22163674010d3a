"""The ballot: never forgotten, never taken for another's."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencer.errors import ConfigError, CorruptJournalError, JournalError
from sequencer.journal import Ballot
from sequencer.journal.ballot import BALLOT_BYTES
from tests.models.entries import CLUSTER

BALLOT = Ballot(7, "node-2", "node-1", CLUSTER)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=24)


@given(st.integers(0, 2**64 - 1), st.none() | names, names, st.binary(min_size=16, max_size=16))
def test_ballot_reads_back(term: int, voted_for: str | None, node: str, cluster: bytes):
    """A ballot is what was saved."""
    ballot = Ballot(term, voted_for, node, cluster)

    assert Ballot.decode(ballot.encode(), "ballot") == ballot


def test_ballot_is_replaced(tmp_path: Path):
    """The last one saved counts; where none was saved there is none."""
    assert Ballot.load(tmp_path, "node-1", CLUSTER) is None
    BALLOT.save(tmp_path)
    later = Ballot(8, None, "node-1", CLUSTER)
    later.save(tmp_path)

    assert Ballot.load(tmp_path, "node-1", CLUSTER) == later


@pytest.mark.parametrize(("node", "cluster"), [("node-2", CLUSTER), ("node-1", b"another cluster!")])
def test_ballot_of_another_is_refused(tmp_path: Path, node: str, cluster: bytes):
    """A directory that was moved or mixed up is not voted from."""
    BALLOT.save(tmp_path)

    with pytest.raises(ConfigError, match="give this node its own directory"):
        Ballot.load(tmp_path, node, cluster)


def test_every_flipped_bit_and_every_length_is_refused():
    """A ballot that may be wrong is no ballot."""
    raw = BALLOT.encode()
    bits = int.from_bytes(raw, "little")
    flipped = [(bits ^ 1 << place).to_bytes(BALLOT_BYTES, "little") for place in range(BALLOT_BYTES * 8)]
    wrong = [*flipped, *(raw[:length] for length in range(BALLOT_BYTES)), raw + b"\0"]

    for data in wrong:
        with pytest.raises(CorruptJournalError, match="not a whole ballot"):
            Ballot.decode(data, "ballot")


def test_ballot_that_cannot_be_saved_stops_the_node(tmp_path: Path):
    """A vote that is not durable is not spoken."""
    with pytest.raises(JournalError, match="must stop"):
        BALLOT.save(tmp_path / "missing")
