"""The node b of a group of three, on a disk in memory, which its leader a writes to."""

from pathlib import Path

from msgspec.structs import replace

from sequencer.config import Config
from sequencer.durable import DurableOrderer
from sequencer.envelope import Entry
from sequencer.journal import BallotBox
from sequencer.raft import Append, Appended, Message
from tests.models.entries import CLUSTER
from tests.models.faulty_disk import FaultyDisk

NODE = """
[[nodes]]
name = "{name}"
ingress = "inproc://{name}.in"
publisher = "inproc://{name}.pub"
replayer = "inproc://{name}.log"
peer = "inproc://{name}.peer"
disk = "{disk}"
"""
DISKS = {name: name.encode() * 16 for name in "abc"}
TOML = (
    f'[venue]\ncluster = "{CLUSTER.hex()}"\n[channels]\n"gateway.*" = [1]\n'
    "[journal]\nsegment_bytes = 65536\nreserve_bytes = 1024\n"
)
CONFIG = Config.parse(
    TOML + "".join(NODE.format(name=name, disk=disk.hex()) for name, disk in DISKS.items()), Path("/sim")
)
HOME = CONFIG.journal_directory("b")


class Wire:
    """Keeps what is said, each with whether the node was suspect by its disk at that moment."""

    def __init__(self, disk: FaultyDisk) -> None:
        self.said: list[tuple[Message, bool]] = []
        self._disk = disk

    def send(self, _peer: str, message: Message) -> None:
        self.said.append((message, HOME / "suspect" in self._disk.durable().files()))

    def publish(self, entry: Entry) -> None:
        del entry

    def wake(self) -> None:
        pass

    def answer_read(self, ticket: int, index: int) -> None:
        del ticket, index

    @property
    def answers(self) -> list[tuple[bool, bool]]:
        """Of each acknowledgement: whether it vouches, and whether the disk said that the node was suspect."""
        return [(message.vouches, suspect) for message, suspect in self.said if isinstance(message, Appended)]


class Clocks:
    """Clocks that are set by hand."""

    now_ms = 1000

    def monotonic_ns(self) -> int:
        return self.now_ms * 1_000_000

    def wall_ns(self) -> int:
        return self.monotonic_ns()


def started(disk: FaultyDisk, *, plain_segments: int = 0) -> tuple[DurableOrderer, Wire, Clocks]:
    """The node b, which compresses all but the latest `plain_segments`, or none."""
    config = replace(CONFIG, journal=replace(CONFIG.journal, plain_segments=plain_segments))
    wire, clocks = Wire(disk), Clocks()
    node = DurableOrderer.open(config, "b", wire, clocks, disk=disk, random=lambda size_bytes: DISKS["b"][:size_bytes])
    return node, wire, clocks


def blank() -> FaultyDisk:
    """The disk of b before its first start."""
    disk = FaultyDisk()
    BallotBox.create(HOME, "b", CLUSTER, salt=lambda _size: DISKS["b"], disk=disk).close()
    return disk


def append(entries: list[Entry], commit_index: int = 0) -> Append:
    """What the leader sends."""
    before = entries[0].index - 1
    return Append(1, "a", before, 1 if before else 0, commit_index, 0, True, [entry.data for entry in entries])
