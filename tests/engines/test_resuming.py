"""A replica that begins with a snapshot is, from there on, the one that made it."""

import pytest

from engines import snapshot as images
from engines.messages import RESULTS
from engines.replica import Replica
from sequencer.envelope import encode_batch
from sequencer.errors import DivergedError
from tests.models.shards import MACHINES, Log, Shards, follow, traded

SEEDS = range(6)
SHARDS = sorted(MACHINES)


def resumed(shards: Shards, shard: str, number: int) -> tuple[Replica, images.Snapshot]:
    """A replica that begins with the snapshot at a marker."""
    snapshot = images.decode(images.decompress(images.compress(shards.images[shard][number])))
    return Replica.resumed(MACHINES[shard](), snapshot, shards.vouch(shard, number)), snapshot


@pytest.mark.parametrize("shard", SHARDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_it_makes_the_same_outputs_and_states(seed: int, shard: str):
    """From every marker of a market, until the end: each later output and each later image, byte for byte."""
    shards = traded(seed)
    numbers = sorted(shards.images[shard])
    assert numbers == list(range(1, len(numbers) + 1))
    assert numbers

    for number in numbers:
        replica, snapshot = resumed(shards, shard, number)
        later = {}
        for entry in shards.log.entries[snapshot.index :]:
            replica.apply(entry)
            if replica.at_marker:
                later[replica.markers.number] = images.encode(replica.snapshot())
        whole = next(one for one in shards.replicas if one.sender == shard)

        assert (replica.number, replica.digest, replica.confirmed) == (whole.number, whole.digest, whole.confirmed)
        assert later == {at: image for at, image in shards.images[shard].items() if at > number}
        assert images.encode(replica.snapshot()) == images.encode(whole.snapshot())


@pytest.mark.parametrize("shard", SHARDS)
def test_a_snapshot_of_a_resumed_replica_is_the_same_at_once(shard: str):
    """What was restored and nothing applied to is what was told: nothing of the state is lost on the way."""
    shards = traded(0)
    replica, snapshot = resumed(shards, shard, 1)

    assert replica.machine.snapshot() == snapshot.state


def test_outputs_in_flight_at_the_snapshot_are_known_by_their_digest():
    """The last output of before a snapshot may stand in the log behind it: the same passes, another one does not."""
    shards = traded(1)
    number = max(shards.images["matching.0"])
    replica, snapshot = resumed(shards, "matching.0", number)
    last = next(
        batch
        for entry in shards.log.entries
        for batch in entry.batches()
        if (batch.sender, batch.number) == ("matching.0", snapshot.outputs)
    )
    false = encode_batch("matching.0", RESULTS, last.number, bytes(last.payload) + b"x", count=1)
    log = Log()
    follow(replica, [log.add(last)])

    with pytest.raises(DivergedError, match="snapshot"):
        replica.apply(log.add(false))
