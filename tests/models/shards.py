"""The real machines on one log in memory: replicas apply what is sequenced, and what they make is sequenced.

commands --> entry --> replicas --outputs, digests--> entry --> ... until nobody says more
"""

import random
from collections.abc import Callable, Iterable

from engines import messages as m
from engines import snapshot as images
from engines.credit import Credit
from engines.machine import Machine
from engines.matching import Matching
from engines.messages import COMMANDS, ENCODER, OPERATIONS, StateDigest
from engines.replica import Replica
from sequencer.envelope import NO_DIGEST, Batch, Entry, encode_batch, encode_entry

CLUSTER = bytes(range(16))
STEP_NS = 7_000_000


class Log:
    """Entries one after the other, 7 ms apart."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, *batches: Batch) -> Entry:
        last = self.entries[-1] if self.entries else None
        entry = encode_entry(
            batches,
            cluster=CLUSTER,
            term=1,
            index=len(self.entries) + 1,
            first_sequence=last.next_sequence if last else 1,
            time_ns=STEP_NS * (len(self.entries) + 1),
            previous=last.digest if last else NO_DIGEST,
        )
        self.entries.append(entry)
        return entry


class Shards:
    """One replica of credit and one of matching, and the log that they make with what is said."""

    def __init__(self) -> None:
        self.log = Log()
        self.replicas = [Replica(Credit(), "credit.0"), Replica(Matching(), "matching.0")]
        self.images: dict[str, dict[int, bytes]] = {"credit.0": {}, "matching.0": {}}
        """The image of each shard at each of its markers, by number."""
        self._numbers: dict[str, int] = {}

    def say(self, sender: str, channel: int, *messages: m.Message) -> None:
        """Sequence messages, and all that follows from them."""
        number = self._numbers[sender] = self._numbers.get(sender, 0) + 1
        self.sequence([encode_batch(sender, channel, number, ENCODER.encode(list(messages)), count=len(messages))])

    def sequence(self, batches: list[Batch]) -> None:
        while batches:
            entry = self.log.add(*batches)
            batches = []
            for replica in self.replicas:
                batches += replica.apply(entry)
                if replica.at_marker:
                    image = images.encode(replica.snapshot())
                    self.images[replica.sender][replica.markers.number] = image
                    told = StateDigest(replica.position, replica.number, images.digest_of(image))
                    replica.states.tell(replica.markers.number, told)
                batches += replica.states.due(replica.confirmed)

    def vouch(self, shard: str, number: int) -> Batch:
        """The batch of the log that vouches for a marker."""
        return next(
            batch
            for entry in self.log.entries
            for batch in entry.batches()
            if (batch.sender, batch.number) == (f"{shard}.state", number)
        )


def traded(seed: int, rounds: int = 60) -> Shards:
    """A small market: orders, replaces and cancels of four clients in three instruments, with markers in between."""
    draw = random.Random(seed)
    shards = Shards()
    opening: list[m.Message] = [m.RegisterClient(0, number, f"C{number}") for number in range(1, 5)]
    opening += [m.SetCredit(0, 4 + number, number, "USD", 10**9, 0) for number in range(1, 5)]
    opening += [m.SetInstrument(0, 8 + number, f"I{number}", "USD", 1, 0, 1, 0) for number in range(1, 4)]
    shards.say("gateway.1", COMMANDS, *opening)
    for turn in range(rounds):
        shards.say("gateway.1", COMMANDS, *[_command(draw, turn * 8 + place) for place in range(draw.randint(1, 8))])
        if draw.random() < 0.2:
            shards.say("operator", OPERATIONS, m.TakeSnapshot(draw.choice(["", "matching", "credit"])))
    return shards


def _command(draw: random.Random, number: int) -> m.Message:
    client, instrument = draw.randint(1, 4), draw.randint(1, 3)
    earlier = f"o{draw.randint(max(0, number - 60), number)}"
    kind = draw.random()
    price, quantity = draw.randint(90, 110), draw.randint(1, 9)
    if kind < 0.6:
        return m.NewOrder(client, number, instrument, f"o{number}", draw.randint(1, 2), price, quantity)
    if kind < 0.8:
        return m.CancelOrder(client, number, instrument, earlier)
    if kind < 0.97:
        return m.ReplaceOrder(client, number, instrument, earlier, price, quantity)
    return m.CancelAll(0, number, client, 0)


def follow(replica: Replica, entries: Iterable[Entry], made: Callable[[Batch], None] = lambda _batch: None) -> Replica:
    """Have a replica apply entries."""
    for entry in entries:
        for batch in replica.apply(entry):
            made(batch)
    return replica


MACHINES: dict[str, Callable[[], Machine]] = {"credit.0": Credit, "matching.0": Matching}
