"""Taking a snapshot without standing still: a forked child has the state as it was, and does all the work.

    replica --fork--> child: machine.snapshot(), SHA-256 --digest--> replica --StateDigest--> log
                        |                                                                      |
                        +-- compress, bring to the nodes <----- "vouched in entry i" ----------+

Rules:
- The replica pays for the fork, and then for copying the memory pages that it changes while the child lives.
- A child that fails costs its snapshot, and nothing else; why is told. It ends with the replica, whose end closes
  the pipe that it waits on.
- Nothing is brought to a node before the log vouches for it.
"""

import contextlib
import hashlib
import os
import select
from typing import Final

import msgspec

from engines import snapshot as images
from engines.forking import FAILED, Child, fork
from engines.messages import StateDigest
from engines.replica import Replica
from engines.snapshot import Snapshot
from sequencer.client import Context, SnapshotClient, StoredSnapshot
from sequencer.config import Config
from sequencer.errors import IslandError

WORKING_MAX: Final = 2
"""Children that have not told their digest yet."""
CHILDREN_MAX: Final = 6
VOUCH_S: Final = 60.0
_DIGEST_BYTES: Final = 32
_INDEX_BYTES: Final = 8
_DONE = b"+"


class _Child(msgspec.Struct):
    process: Child
    number: int
    position: int
    outputs: int
    said: bytes = b""
    told: bool = False
    vouched: bool = False


class Taker:
    """The children of one replica. `name` is who made a snapshot; the nodes of `config` keep it."""

    def __init__(self, name: str, config: Config) -> None:
        self._name = name
        self._config = config
        self._children: list[_Child] = []
        self.taken = 0
        """How many snapshots were brought to a node, or were there already."""
        self.error = ""
        """Why the last one failed."""

    @property
    def is_busy(self) -> bool:
        """Whether the next child should be waited with."""
        return sum(not child.told for child in self._children) >= WORKING_MAX

    def take(self, replica: Replica, *, keep: bool) -> None:
        """Begin a snapshot of the replica as it is now, which is at a marker."""
        if len(self._children) >= CHILDREN_MAX:
            self._end(next(child for child in self._children if child.told))
        number, position, outputs = replica.markers.number, replica.position, replica.number
        config = self._config if keep else None
        child = fork(
            lambda read_fd, write_fd: _work(replica.snapshot(), read_fd, write_fd, config, self._name), is_idle=True
        )
        os.set_blocking(child.read_fd, False)
        self._children.append(_Child(child, number, position, outputs))

    def wait(self, timeout_s: float) -> None:
        """Wait until a child that works has something to say."""
        select.select([child.process.read_fd for child in self._children if not child.told], [], [], timeout_s)

    def tend(self, replica: Replica) -> None:
        """Hear the children; tell the replica their digests, and them what is vouched for. Raises DivergedError."""
        for child in list(self._children):
            ended = self._hear(child)
            if not child.told and len(child.said) >= _DIGEST_BYTES:
                child.told = True
                told = StateDigest(child.position, child.outputs, child.said[:_DIGEST_BYTES])
                replica.states.tell(child.number, told)
            if not child.vouched and child.told and (index := replica.states.vouched_index(child.number)):
                child.vouched = True
                with contextlib.suppress(BrokenPipeError):
                    os.write(child.process.write_fd, index.to_bytes(_INDEX_BYTES, "little"))
            if ended:
                self._bury(child)

    def close(self) -> None:
        """End the children."""
        for child in list(self._children):
            self._end(child)

    def _end(self, child: _Child) -> None:
        child.process.kill()
        self._bury(child)

    def _hear(self, child: _Child) -> bool:
        """Read what a child said; True at its end."""
        try:
            while part := os.read(child.process.read_fd, 4096):
                child.said += part
        except BlockingIOError:
            return False
        return True

    def _bury(self, child: _Child) -> None:
        self._children.remove(child)
        child.process.bury()
        said = child.said[_DIGEST_BYTES:] if child.told else child.said
        if said[:1] == _DONE:
            self.taken += 1
            self.error = ""
        elif said[:1] == FAILED:
            self.error = f"snapshot {child.number}: {said[1:].decode(errors='replace')}"
        elif not child.told:
            self.error = f"snapshot {child.number}: its process ended before it was made"


def _work(taken: Snapshot, read_fd: int, write_fd: int, config: Config | None, name: str) -> None:
    image = images.encode(taken)
    os.write(write_fd, images.digest_of(image))
    if config is None:
        return
    body = images.compress(image)
    del image
    ready, _, _ = select.select([read_fd], [], [], VOUCH_S)
    said = os.read(read_fd, _INDEX_BYTES) if ready else b""
    if not said:
        raise IslandError(f"the log did not vouch for it within {VOUCH_S:.0f} s, or its replica has ended")
    stored = StoredSnapshot(
        shard=taken.shard,
        number=taken.markers.number,
        index=taken.index,
        position=taken.position,
        time_ns=taken.time_ns,
        size_bytes=len(body),
        checksum=hashlib.sha256(body).digest(),
        vouched_index=int.from_bytes(said, "little"),
        made_by=name,
    )
    refused = bring(stored, body, config)
    if len(refused) == len(config.nodes):
        raise IslandError("no node keeps it: " + "; ".join(f"{node}: {why}" for node, why in sorted(refused.items())))
    os.write(write_fd, _DONE)


def bring(stored: StoredSnapshot, body: bytes, config: Config) -> dict[str, str]:
    """Have every node keep a snapshot; return why not, for those that do not."""
    refused = {}
    context = Context.of(config)
    for source in config.sources:
        client = SnapshotClient(source, context=context)
        try:
            why = client.store(stored, body)
        except IslandError as error:
            why = str(error)
        finally:
            client.close()
        if why:
            refused[source.name] = why
    context.destroy(linger=0)
    return refused
