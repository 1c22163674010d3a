"""Hostile frames at every door of a real venue: `python -m tests.faults.fuzz --frames 1000000`.

    keys of each role --random bytes, mutated real frames, wrong counts, oversized ones--> doors of node and gateways
    no key            --garbage, half a greeting, a handshake that is none------------->

Shows progress, stops at Ctrl-C with what it has, and ends with what it cost each process. Afterwards the venue has to
be well, with the same processes, none larger by more than MEMORY_MIB, and a client trades.

Rules
- What a node's key may truly say of itself is left out. Nodes believe each other, as in every Raft.
- Topics are few: libzmq keeps all that a reader subscribes to, in the thread of who publishes.
"""

import argparse
import random
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from engines import messages as m
from gateways.flow import generate
from gateways.marketdata.protocol import ENCODER as MARKET_DATA
from gateways.marketdata.protocol import BookRequest, InstrumentsRequest, TradesRequest
from gateways.order.protocol import ENCODER as ORDERS
from gateways.order.protocol import AskOrders, Heartbeat, Logoff, Logon
from sequencer.envelope import CONTROL, encode_batch
from sequencer.keys import Door
from sequencer.limits import LIMIT_MAX, Limits
from sequencer.members import Members
from sequencer.protocol import (
    ENCODER,
    AskChange,
    AskCommitted,
    AskMembers,
    AskPosition,
    AskSnapshots,
    AskStatus,
    AskTransfer,
    DiscardSnapshot,
    Fetch,
    FetchSnapshot,
    OfferSnapshot,
    Report,
    StoredSnapshot,
    StoreSnapshot,
)
from sequencer.raft.messages import Append, Appended, AskVote, TimeoutNow, Voted, pack
from sequencer.sockets import MESSAGE_BYTES_MAX
from tests.models.entries import chain
from tests.models.knocking import Caller, endpoints, make_open
from tests.models.logfmt import parsed
from tests.models.running import Running, tagged

MEMORY_MIB: Final = 64
"""What a process may grow by: caches and queues that are bounded, the log's own share, and the allocator's."""
BURST: Final = 200
"""Frames at one door before the next."""
UNBOUNDED: Final = Limits(requests_per_s=LIMIT_MAX, bytes_per_s=LIMIT_MAX, connections=LIMIT_MAX)
"""Of who has a key: all that he says is to be read."""
SHORT_BURST: Final = 10
"""Of topics."""
RARE: Final = 1 / 4000
"""How often a frame is an oversized one, for which the other side hangs up."""

ODD: Final = (b"\xff", b"\x00", b"\xc1", b"\xdf\xff\xff\xff\xff", b"\xc6\x7f\xff\xff\xff")
"""What msgpack has not, and lengths of what does not come."""

Frames = list[bytes]


class Hostile:
    """Frames for one door: real ones, and what becomes of them."""

    def __init__(self, door: Door, who: str, real: Sequence[Frames]) -> None:
        self.door, self.who = door, who
        self._real = real

    def draw(self, chance: random.Random) -> Frames:
        """One message."""
        kind = chance.random()
        if kind < 0.2:
            return [chance.randbytes(chance.choice((0, 1, 4, 40, 400, 4000))) for _ in range(chance.randint(1, 4))]
        frames = list(chance.choice(self._real))
        if kind < 0.3:
            return [frame for frame in frames for _ in range(chance.randint(0, 3))] or [b""]
        if kind < 0.9:
            place = chance.randrange(len(frames))
            frames[place] = mutated(frames[place], chance)
        return frames


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Some bytes of it changed, taken out, or doubled; or it ends too soon."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        at, length = chance.randint(0, len(made)), chance.choice((1, 1, 2, 8, 64))
        match chance.randrange(5):
            case 0:
                made[at : at + length] = chance.randbytes(length)
            case 1:
                made[at : at + 1] = chance.choice(
                    (b"\xff", b"\x00", b"\xc1", b"\xdf\xff\xff\xff\xff", b"\xc6\x7f\xff\xff\xff")
                )
            case 2:
                del made[at : at + length]
            case 3:
                made[at:at] = made[at : at + length] * chance.randint(1, 4)
            case _:
                del made[at:]
    return bytes(made)


def hostile(cluster: bytes) -> list[Hostile]:
    """For every door on which messages are taken."""
    return [
        Hostile(Door.PEER, "node-9", [[cluster, *frames] for frames in spoken_by_nodes("node-1")]),
        Hostile(Door.STREAM, "audit", [[b"\1E/node-1"], [b"\0E/node-1"], [b"\1H/"], [b"\1"]]),
        Hostile(Door.INGRESS, "order-9", [[frame] for frame in (*batches("gateway.order-9"), *questions("order-9"))]),
        Hostile(Door.INGRESS, "matching-9", [[frame] for frame in batches("matching.9", m.RESULTS)]),
        Hostile(Door.INGRESS, "audit", [[frame] for frame in (*batches("gateway.order-1"), *questions("order-1"))]),
        Hostile(Door.REPLAYER, "matching-9", [[frame] for frame in store_questions("matching.9")]),
        Hostile(Door.REPLAYER, "audit", [[frame] for frame in store_questions("matching.0")]),
        Hostile(Door.ACCESS, "ann", [[frame] for frame in orders("ann")]),
        Hostile(Door.FEED, "ann", [[frame] for frame in requests()]),
    ]


def spoken_by_nodes(name: str) -> Iterator[Frames]:
    disk, entries = bytes(16), [entry.data for entry in chain([b"a", b"b"])]
    yield pack(Append(3, name, 0, 0, 0, 1, True, entries))
    yield pack(Append(3, name, 9, 2, 9, 1, True, []))
    yield pack(Appended(3, name, disk, True, 9, 1, True, True))
    yield pack(AskVote(9, name, 9, 2, probe=False, transfer=True))
    yield pack(Voted(9, name, disk, granted=True, probe=False))
    yield pack(TimeoutNow(9, name))


def batches(sender: str, channel: int = m.COMMANDS) -> Iterator[bytes]:
    cancel = m.ENCODER.encode([m.CancelOrder(1, 1, 1, "x")])
    for number, incarnation in ((1, 0), (1, 1), (2, 1), (1 << 40, 1 << 31)):
        yield bytes(encode_batch(sender, channel, number, cancel, count=1, incarnation=incarnation).data)
    yield bytes(encode_batch(sender, channel, 1, b"\xc1" * 1000, count=1000).data)
    yield bytes(encode_batch(sender, CONTROL, 1, b"", count=1).data)


def questions(name: str) -> Iterator[bytes]:
    asked = (
        AskPosition("gateway.order-1"), AskStatus(), AskMembers(), AskCommitted(), AskTransfer("node-1", 1),
        AskChange(Members(1, ())), Report(name, b"\x81\xa4kind\xa6client"), Report(name, b""),
        Report(name, bytes(1000)),
    )  # fmt: skip
    return map(ENCODER.encode, asked)


def store_questions(shard: str) -> Iterator[bytes]:
    head = StoredSnapshot(shard, 1, 1, 1, 1, 1000, bytes(32), 1, "matching-9")
    asked = (
        Fetch(1, 1000), Fetch(1 << 40, 1 << 60), Fetch(0, 0), AskSnapshots(""), FetchSnapshot(shard, 1, 0),
        OfferSnapshot(head), StoreSnapshot(shard, 1, 0, bytes(1000)), DiscardSnapshot(shard, 1),
    )  # fmt: skip
    return map(ENCODER.encode, asked)


def orders(client: str) -> Iterator[bytes]:
    said = (
        [Logon(client)], [Logon(client, 0)], [Logon("bob")], [Heartbeat()], [AskOrders(1, 1)], [Logoff(1)],
        [m.NewOrder(1, 1, 1, "a", m.Side.BUY, 100, 1)], [m.CancelOrder(1, 1, 1, "a")], [m.CancelAll(1, 2, 0, 0)],
        [m.NewOrder(1, number, 1, "b", m.Side.SELL, 1 << 62, 1 << 62) for number in range(40)],
    )  # fmt: skip
    return map(ORDERS.encode, said)


def requests() -> Iterator[bytes]:
    asked = (InstrumentsRequest(1), BookRequest(2, "S0"), BookRequest(3, "S0", 3, -1), TradesRequest(4, "S0", 1 << 60))
    return map(MARKET_DATA.encode, asked)


GREETING: Final = b"\xff" + bytes(7) + b"\x01\x7f\x03\x01"
CURVE: Final = GREETING + b"CURVE".ljust(20, b"\0") + bytes(32)
WITHOUT_KEYS: Final[tuple[Callable[[random.Random], bytes], ...]] = (
    lambda chance: chance.randbytes(chance.randint(1, 2000)),
    lambda chance: CURVE[: chance.randint(0, len(CURVE))],
    lambda _chance: GREETING + b"NULL".ljust(20, b"\0") + bytes(32) + b"\x04\x19\x05READY",
    lambda chance: CURVE + b"\x04\xc8\x05HELLO" + chance.randbytes(194),
    lambda chance: CURVE + b"\x06" + b"\xff" * 8 + chance.randbytes(100),
    lambda _chance: b"GET / HTTP/1.1\r\nHost: venue\r\n\r\n",
)


class Fuzz:
    """A venue of its own, and what it is told."""

    def __init__(self, venue: Running, seed: int) -> None:
        self.venue = venue
        self.sent: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._hostile = hostile(venue.config.cluster)
        self._callers = {one: Caller(venue.config, one.who) for one in self._hostile}
        self._ports = [int(at.rpartition(":")[2]) for at in doors(venue)]
        self._trade("before")
        self.pids = venue.pids
        self.before_kib = self.resident_kib()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for caller in self._callers.values():
            caller.close()

    @property
    def done(self) -> int:
        """Messages so far, and connections without a key."""
        return self.sent.total()

    def burst(self) -> None:
        """Some frames at each door, and some connections without a key."""
        for one, caller in self._callers.items():
            assert caller.enters(one.door), (one.who, one.door)
            burst = SHORT_BURST if one.door is Door.STREAM else BURST
            for _ in range(burst):
                if self._chance.random() < RARE:
                    self._oversize(one)
                caller.say(one.door, *one.draw(self._chance))
            caller.drain(one.door)
            self.sent[one.door] += burst
        for port in self._ports:
            self._knock(port)
            self.sent["no key"] += 1

    def settle(self) -> None:
        """Wait until every door has taken all, and answers."""
        answered = {Door.INGRESS: ENCODER.encode(AskMembers()), Door.REPLAYER: ENCODER.encode(AskSnapshots("x"))}
        for name in ("audit", "kim"):
            caller = Caller(self.venue.config, name)
            for door, question in answered.items():
                caller.ask(door, question)
            caller.close()

    def judge(self) -> list[str]:
        """What is wrong afterwards; nothing, if the venue stood it."""
        self.settle()
        self.venue.await_well()
        self._trade("after")
        wrong = [f"{name} is another process" for name, pid in self.pids.items() if self.venue.pids.get(name) != pid]
        grown = {name: (now - self.before_kib[name]) >> 10 for name, now in self.resident_kib().items()}
        wrong += [f"{name} has grown by {mib} MiB" for name, mib in grown.items() if mib > MEMORY_MIB]
        health = self.venue.run("health")
        return wrong + ([] if health.returncode == 0 else [health.stdout + health.stderr])

    def resident_kib(self) -> dict[str, int]:
        """Of each process."""
        return {name: resident_kib(pid) for name, pid in self.pids.items()}

    def told(self) -> Counter[str]:
        """How many refusals and malformed frames each process has told, also those that it left out."""
        counts: Counter[str] = Counter()
        for line in self.venue.run("logs").stdout.splitlines():
            with suppress(ValueError, KeyError):
                said = parsed(line)
                what = said.get("what", said["event"])
                times = int(said["times"]) if "times" in said else 1 + int(said.get("left_out", 0))
                if said["level"] == "warning":
                    counts[f"{said['process']}: {what}"] += times
        return counts

    def _trade(self, tag: str) -> None:
        lines = tagged(generate.lines(seed=1, count=100, instruments=2, clients=4), tag)
        assert self.venue.send(lines)["answered"] == len(lines)

    def _oversize(self, one: Hostile) -> None:
        caller = Caller(self.venue.config, one.who)
        caller.say(one.door, self.venue.config.cluster, bytes(MESSAGE_BYTES_MAX + 1))
        caller.close()

    def _knock(self, port: int) -> None:
        with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(self._chance.choice(WITHOUT_KEYS)(self._chance))


def doors(venue: Running) -> list[str]:
    """Every endpoint that somebody listens on."""
    return [*endpoints(venue.config).values(), venue.config.endpoints["marketdata_updates"]]


def resident_kib(pid: int) -> int:
    """What a process has in memory."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])


def main() -> int:
    """Exit with 0 only if the venue stood it."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory() as scratch,
        Running(make_open(Path(scratch) / "v", UNBOUNDED)).start() as venue,
        Fuzz(venue, options.seed) as fuzz,
    ):
        begun_s = time.monotonic()
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("frames", total=options.frames)
            try:
                while fuzz.done < options.frames:
                    fuzz.burst()
                    progress.update(task, completed=fuzz.done)
            except KeyboardInterrupt:
                console.print("stopped")
        seconds = time.monotonic() - begun_s
        wrong = fuzz.judge()
        report(fuzz, seconds)
    for line in wrong or ["the venue stood it"]:
        print(line)
    return bool(wrong)


def report(fuzz: Fuzz, seconds: float) -> None:
    """What was sent, what was told of it, and what it cost."""
    print(f"{fuzz.done:,} frames in {seconds:.0f} s: {', '.join(f'{door} {n:,}' for door, n in fuzz.sent.items())}")
    now_kib = fuzz.resident_kib()
    for name, before_kib in fuzz.before_kib.items():
        print(f"{name:20}{before_kib / 1024:8.1f} MiB before{now_kib[name] / 1024:8.1f} MiB after")
    for what, times in sorted(fuzz.told().items()):
        print(f"{what:50}{times:>12,}")


if __name__ == "__main__":
    sys.exit(main())
