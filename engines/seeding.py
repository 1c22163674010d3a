"""How a replica begins: with the newest snapshot that the log vouches for, or at the beginning of the log.

    nodes --what they keep--> newest first --fetch--> body --> image --SHA-256--+
                                                                                 +--> the same? --> restored replica
    log, entry `vouched_index` --StateDigest of this shard and number-----------+
    log, behind the snapshot --where the shard's incarnation is a later one now--> skips, which the replica has to know

Rules:
- A snapshot counts only if the log holds its digest, in the shard's own chain. Which node kept it, and who brought it,
  proves nothing.
- What operators had the shard refuse is known before anything is applied; a state that a skip has overruled is none.
- One that cannot be used is passed over, with the reason; the next one is tried, from each node that keeps it.
- Nothing is begun before a node has answered: at the start of a venue all come up at once.
- Without any the log is read from its beginning: every node has all of it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from engines import snapshot as images
from engines.machine import Machine
from engines.messages import DECODERS, STATES, StateDigest
from engines.past import NOTHING_SKIPPED
from engines.replica import Replica
from engines.sharding import Sharding, is_shard_of, named
from engines.skips import Decided, Skips, overruled
from engines.snapshot import Snapshot
from sequencer.client import (
    Context,
    Replay,
    SnapshotClient,
    SnapshotsAre,
    Source,
    StoredSnapshot,
    kept_by_node,
    positions_of,
)
from sequencer.envelope import Batch
from sequencer.errors import IslandError, SnapshotError, UnreachableError

LIST_MS: Final = 1000
LOG_S: Final = 5.0
PAUSE_S: Final = 0.02

Say = Callable[[str], None]


class Seed(msgspec.Struct, frozen=True):
    """A replica to go on with: its next entry is `next_index`, and follows one whose digest is `previous`.

    `passed_over` says of each snapshot that was not used why. All skips are known that were decided by so many
    `openings` of incarnations of the machine's shards.
    """

    replica: Replica
    next_index: int
    previous: bytes | None
    passed_over: list[str]
    openings: int


def seed(
    make: Callable[[], Machine],
    shard: str,
    sources: tuple[Source, ...],
    cluster: bytes,
    *,
    context: Context,
    say: Say,
    before: int = 0,
) -> Seed:
    """The replica of `shard` to begin with: with `before`, in a state of before that sequence number.

    `say` is told what is being done, at least every 50 ms. Raises UnreachableError when the log cannot be read.
    """
    passed_over: list[str] = []
    kept = candidates(sources, shard, context=context, say=say)
    openings, silent = _openings(sources, shard, say, context), not make().writes
    for stored, source in kept:
        if before and stored.position >= before:
            continue
        try:
            snapshot, vouch = fetch_vouched(stored, source, sources, cluster, context=context, say=say)
            at = Skips(Sharding(named(shard), snapshot.sharding, silent=silent), snapshot.skips)
            skipped = skips_behind(snapshot.index, at, openings, sources, context=context, say=say).in_force
            skip = overruled(snapshot.position, skipped, shard)
            if skip:
                raise SnapshotError(f"it is of behind {skip:,}, which was skipped later")
            replica = restored(make, snapshot, vouch, skipped)
        except IslandError as error:
            passed_over.append(f"snapshot {stored.number} on {source.name}: {error}")
            continue
        return Seed(replica, snapshot.index + 1, snapshot.entry_digest, passed_over, openings)
    blank = Skips(Sharding(named(shard), silent=silent))
    skips = skips_behind(0, blank, openings, sources, context=context, say=say)
    return Seed(Replica(make(), shard, skips.in_force), 1, None, passed_over, openings)


def skips_behind(
    index: int,
    known: Skips,
    openings: int,
    sources: tuple[Source, ...],
    *,
    context: Context,
    say: Say,
) -> Skips:
    """What is known of skips behind entry `index`, where `known` was, until so many incarnations are open.

    Reads nothing where no incarnation was opened since. Raises UnreachableError when the log cannot be read.
    """
    skips = known
    while skips.openings < openings:
        say(f"looking for skips behind entry {index:,}")
        replay = Replay(sources, index + 1, context=context, patience_s=LOG_S)
        try:
            for entry in replay:
                skips.read(entry)
                index = entry.index
                if skips.openings >= openings:
                    break
                say(f"looking for skips in entry {index:,}")
        finally:
            replay.close()
        if skips.openings < openings:
            time.sleep(PAUSE_S)  # the replayer is behind the node that told of the opening
    return skips


def _openings(sources: tuple[Source, ...], shard: str, say: Say, context: Context) -> int:
    """How many incarnations the machine's shards have opened, as soon as a node tells it."""
    while True:
        say("asking for the incarnations of the shards")
        try:
            return openings_of(sources, shard, context=context)
        except UnreachableError:
            continue


def openings_of(sources: Sequence[Source], shard: str, *, context: Context) -> int:
    """How many incarnations the shards of a shard's machine have opened. Raises UnreachableError."""
    machine = named(shard).machine
    positions = positions_of(sources, f"{machine}.", context=context)
    return sum(at.incarnation for at in positions if is_shard_of(machine, at.sender))


def candidates(
    sources: tuple[Source, ...], shard: str, *, context: Context, say: Say
) -> list[tuple[StoredSnapshot, Source]]:
    """What the nodes keep of a shard, the newest first."""
    by_name = {source.name: source for source in sources}
    listed: dict[str, SnapshotsAre] = {}
    while not listed:  # without a node there is no stream either
        listed = kept_by_node(
            sources, shard, context=context, idle=lambda: say("asking for snapshots"), answer_ms=LIST_MS
        )
    found = [(stored, by_name[node]) for node, answer in listed.items() for stored in answer.kept]
    return sorted(found, key=lambda pair: pair[0].number, reverse=True)


def fetch_vouched(
    stored: StoredSnapshot,
    source: Source,
    sources: tuple[Source, ...],
    cluster: bytes,
    *,
    context: Context,
    say: Say,
) -> tuple[Snapshot, Batch]:
    """A snapshot from one node, and the batch of the log that vouches for it. Raises SnapshotError, or IslandError."""

    def progress(done: int, size: int) -> None:
        say(f"fetching snapshot {stored.number} from {source.name}: {done * 100 // size}%")

    client = SnapshotClient(source, context=context, idle=lambda: say(f"fetching snapshot {stored.number}"))
    try:
        body = client.fetch(stored, progress)
    finally:
        client.close()
    image = images.decompress(body)
    snapshot = images.decode(image)
    if (snapshot.cluster, snapshot.shard, snapshot.markers.number) != (cluster, stored.shard, stored.number):
        raise SnapshotError(
            f"it is number {snapshot.markers.number} of {snapshot.shard} in group {snapshot.cluster.hex()}; "
            f"expected {stored.number} of {stored.shard} in {cluster.hex()}"
        )
    told, vouch = vouch_of(stored, sources, context=context)
    if told.digest != images.digest_of(image):
        raise SnapshotError(
            f"its digest is {images.digest_of(image).hex()[:16]}, the log vouches for {told.digest.hex()[:16]}"
        )
    return snapshot, vouch


def vouch_of(stored: StoredSnapshot, sources: tuple[Source, ...], *, context: Context) -> tuple[StateDigest, Batch]:
    """What the log says of a snapshot, and where. Raises SnapshotError, or UnreachableError."""
    replay = Replay(sources, stored.vouched_index, stored.vouched_index, context=context, patience_s=LOG_S)
    try:
        for entry in replay:
            for batch in entry.batches():
                if (batch.sender, batch.channel, batch.number) == (f"{stored.shard}.state", STATES, stored.number):
                    told = DECODERS[STATES].decode(batch.payload)[0]
                    assert isinstance(told, StateDigest), told
                    return told, batch
    finally:
        replay.close()
    raise SnapshotError(f"entry {stored.vouched_index} of the log does not vouch for it")


def restored(
    make: Callable[[], Machine], snapshot: Snapshot, vouch: Batch, skipped: Mapping[int, Decided] = NOTHING_SKIPPED
) -> Replica:
    """The replica that made a snapshot. Raises SnapshotError where the machine cannot read it."""
    try:
        return Replica.resumed(make(), snapshot, vouch, skipped)
    except Exception as error:  # noqa: BLE001 - whatever a machine raises, it cannot use this state
        raise SnapshotError(f"the machine cannot read its state: {type(error).__name__}: {error}") from None
