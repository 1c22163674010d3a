"""Replicas that cannot take some messages, on a log that keeps the chain rule, and an operator who has these skipped.

    gateway, operator --> log <--outputs, digests, late and twice-- processes: credit, matching twice
                           |                                            ^
                           +-- entries, each process at its own pace ---+

Every step is drawn: what is said, who moves, what of it reaches the log, when the operator acts. Nothing is lost for
ever: `settle` lets all come to an end.
"""

import random
from collections.abc import Callable
from functools import partial

from engines import messages as m
from engines import snapshot as images
from engines.credit import Credit
from engines.machine import Machine
from engines.matching import Matching
from engines.matching.backlog import Backlog
from engines.matching.instruments import Instruments
from engines.messages import COMMANDS, ENCODER, OPERATIONS, StateDigest
from engines.replica import Replica
from engines.sharding import Sharding, named
from engines.skips import Decided, Skips, overruled, skips_in
from sequencer.envelope import CONTROL, Batch, Entry, encode_batch
from sequencer.errors import DivergedError
from sequencer.sessions import Sessions, Verdict
from tests.models.shards import Log

POISON = "poison"
SOUND = {"matching": Matching, "credit": Credit}
BATCHES_MAX = 6
NEVER = 1 << 62


class PoisonError(Exception):
    """What the message at a sequence number does to a machine that cannot take it."""


class _Instruments(Instruments):
    def _enter(self, time_ns, sequence, command, refusal, emit):
        if command.client_order_id == POISON and not refusal:
            raise PoisonError(sequence)
        super()._enter(time_ns, sequence, command, refusal, emit)


class PoisonedMatching(Matching):
    """Cannot enter an order that is called POISON; post-only ones, which are not handled on the short way."""

    def __init__(self, shard: int = 0, shards: int = 1) -> None:
        super().__init__(shard, shards)
        self._instruments = _Instruments(shard, shards)
        self._backlog = Backlog(self._instruments)


class PoisonedCredit(Credit):
    """Cannot decide an order that is called POISON, nor follow a trade at POISON_PRICE."""

    POISON_PRICE = 105

    def apply(self, time_ns, first_sequence, channel, messages):
        for sequence, message in enumerate(messages, first_sequence):
            is_order = isinstance(message, m.NewOrder) and self._is_own(message.client_id)
            if is_order and message.client_order_id == POISON:
                raise PoisonError(sequence)
            if isinstance(message, m.Trade) and message.price == self.POISON_PRICE:
                raise PoisonError(sequence)
        return super().apply(time_ns, first_sequence, channel, messages)


class PoisonedInOrders(PoisonedCredit):
    """Cannot decide an order that is called POISON, and takes every trade."""

    POISON_PRICE = -1


class Sequencer:
    """A log that takes what the chain rule accepts."""

    def __init__(self) -> None:
        self.log = Log()
        self.sessions = Sessions()

    def take(self, batches: list[Batch]) -> None:
        """Append an entry of those that are accepted, if any is."""
        pending: dict = {}
        accepted = [batch for batch in batches if self.sessions.judge(batch, pending) is Verdict.ACCEPTED]
        if accepted:
            entry = self.log.add(*accepted)
            self.sessions.append(entry.index, entry.batches())
            self.sessions.commit(entry.index)

    def say(self, sender: str, channel: int, messages: list[m.Message]) -> None:
        """Sequence messages of a sender who is alone."""
        at = self.sessions.position(sender)
        payload = ENCODER.encode(messages)
        self.take([encode_batch(sender, channel, at.number + 1, payload, count=len(messages), previous=at.digest)])

    def open(self, sender: str) -> None:
        """Sequence the opening of a sender's next incarnation."""
        at = self.sessions.position(sender)
        self.take([encode_batch(sender, CONTROL, at.number, bytes(16), count=1, incarnation=at.incarnation + 1)])


class Process:
    """One replica as its host drives it."""

    def __init__(self, make: Callable[[], Machine], shard: str, sequencer: Sequencer) -> None:
        self.make = make
        self.shard = shard
        self.sequencer = sequencer
        self.images: dict[tuple[int, bytes], bytes] = {}
        """Marker and digest -> image, of all lives."""
        self.lives = 0
        self.begin(None)

    def begin(self, draw: random.Random | None) -> None:
        """Begin (again): with a snapshot that counts, if `draw` likes one, or with the log."""
        self.lives += 1
        self.halted = False
        entries = self.sequencer.log.entries
        skips = skips_of(entries, self.shard)
        skipped, self.openings = skips.in_force, skips.openings
        kept = [one for one in vouched(entries, self.shard, self.images) if counts(one[0], skipped)]
        if draw is not None and kept and draw.random() < 0.7:
            snapshot, vouch = draw.choice(kept)
            self.replica = Replica.resumed(self.make(), snapshot, vouch, skipped)
            self.index = snapshot.index
        else:
            self.replica, self.index = Replica(self.make(), self.shard, skipped), 0

    def step(self, draw: random.Random) -> None:
        """Take the next entry; halt if the machine cannot, begin again if a skip says so."""
        if self.index == len(self.sequencer.log.entries):
            return
        entry = self.sequencer.log.entries[self.index]
        self.index += 1
        if self.halted:
            self._overhear(entry, draw)
            return
        try:
            self.replica.apply(entry)
        except PoisonError:
            self.halted = True
            return
        if self.replica.overruled_by:
            self.begin(draw)
        elif self.replica.at_marker:
            self._tell()

    def _overhear(self, entry: Entry, draw: random.Random) -> None:
        try:
            self.replica.hear(entry)
        except DivergedError:
            self.replica.unconfirmed.clear()
        if self.replica.skips.openings > self.openings:
            self.begin(draw)

    def _tell(self) -> None:
        replica = self.replica
        image = images.encode(replica.snapshot())
        told = StateDigest(replica.position, replica.number, images.digest_of(image))
        self.images[replica.markers.number, told.digest] = image
        replica.states.tell(replica.markers.number, told)

    def submit(self, draw: random.Random) -> None:
        """Bring some of what the log lacks to it; once it is caught up, as a host does."""
        if self.index == len(self.sequencer.log.entries):
            waiting = list(self.replica.waiting)[: draw.randint(0, BATCHES_MAX)]
            self.sequencer.take(waiting)
            if not self.halted:
                self.sequencer.take(self.replica.states.due(self.replica.confirmed))


def counts(snapshot, skipped) -> bool:
    """Whether a replica may begin with a snapshot: no skip has overruled it."""
    return not overruled(snapshot.position, skipped, snapshot.shard)


def vouched(entries, shard, kept):
    """The snapshots among those that were kept for which the log vouches, with the batch that does."""
    found = []
    for entry in entries:
        for batch in entry.batches():
            if batch.sender == f"{shard}.state":
                told = m.decode(batch.channel, batch.payload)[0]
                image = kept.get((batch.number, told.digest))
                if image is not None:
                    found.append((images.decode(image), batch))
    return found


class World:
    """The venue: `matching` and `credit` name the classes of the replicas; two of matching, one of credit."""

    def __init__(self, seed: int, matching: tuple[type[Matching], type[Matching]], credit: type[Credit]) -> None:
        self.draw = random.Random(seed)
        self.sequencer = Sequencer()
        self.processes = [
            Process(credit, "credit.0", self.sequencer),
            Process(matching[0], "matching.0", self.sequencer),
            Process(matching[1], "matching.0", self.sequencer),
        ]
        self.turn = 0
        self.asked: str = ""
        """The shard whose incarnation the operator is about to open."""
        opening: list[m.Message] = [m.RegisterClient(0, number, f"C{number}") for number in range(1, 5)]
        opening += [m.SetCredit(0, 4 + number, number, "USD", 10**9, 0) for number in range(1, 5)]
        opening += [m.SetInstrument(0, 8 + number, f"I{number}", "USD", 1, 0, 1, 0) for number in range(1, 4)]
        self.sequencer.say("gateway.1", COMMANDS, opening)

    def run(self, steps: int, poison_share: float = 0.02) -> None:
        """Draw so many steps."""
        for _ in range(steps):
            act = self.draw.random()
            process = self.draw.choice(self.processes)
            if act < 0.15:
                self._trade(poison_share)
            elif act < 0.17:
                self.sequencer.say("operator", OPERATIONS, [m.TakeSnapshot()])
            elif act < 0.2:
                self.operate()
            elif act < 0.7:
                process.step(self.draw)
            else:
                process.submit(self.draw)

    def settle(self) -> None:
        """Let everything come to its end, with the operator's help. Raises AssertionError when it does not."""
        for _ in range(400):
            before = len(self.sequencer.log.entries)
            for process in self.processes:
                while process.index < len(self.sequencer.log.entries):
                    process.step(self.draw)
                for _again in range(30):
                    process.submit(self.draw)
            if before == len(self.sequencer.log.entries):
                if not self.asked and not any(process.halted for process in self.processes):
                    return
                self.operate()
        raise AssertionError("it does not settle")

    def operate(self) -> None:
        """The operator's next act: ask for a skip of what a shard is halted at, or open the incarnation."""
        if self.asked:
            self.sequencer.open(self.asked)
            self.asked = ""
            return
        halted = [process for process in self.processes if process.halted and process.replica.sharding.speaks]
        if halted:
            process = self.draw.choice(halted)
            found = culprits(process)
            if found is None:
                shard = named(process.shard)
                process.make = partial(SOUND[shard.machine], shard.index, shard.count)
                process.begin(self.draw)
                return
            state = skips_of(self.sequencer.log.entries, process.shard)
            asked: list[m.Message] = [
                m.SkipMessage(process.shard, at, state.incarnation + 1, state.outputs, "it is poison") for at in found
            ]
            if asked:
                self.sequencer.say("operator", OPERATIONS, asked)
                self.asked = process.shard

    def _trade(self, poison_share: float) -> None:
        commands = []
        for _ in range(self.draw.randint(1, 8)):
            self.turn += 1
            commands.append(self._command(self.draw.random() < poison_share))
        self.sequencer.say("gateway.1", COMMANDS, commands)

    def _command(self, poison: bool) -> m.Message:
        draw, number = self.draw, self.turn
        client, instrument = draw.randint(1, 4), draw.randint(1, 3)
        price, quantity = draw.randint(90, 110), draw.randint(1, 9)
        earlier = f"o{draw.randint(max(0, number - 60), number)}"
        if poison:
            return m.NewOrder(client, number, instrument, POISON, 1, 80, quantity, post_only=True)
        kind = draw.random()
        if kind < 0.7:
            return m.NewOrder(client, number, instrument, f"o{number}", draw.randint(1, 2), price, quantity)
        if kind < 0.9:
            return m.CancelOrder(client, number, instrument, earlier)
        return m.ReplaceOrder(client, number, instrument, earlier, price, quantity)


def skips_of(entries, shard) -> Skips:
    """What is known of a shard's skips at the end of a log."""
    skips = Skips(Sharding(named(shard)))
    for entry in entries:
        skips.read(entry)
    return skips


def culprits(process: Process) -> list[int] | None:
    """The messages to skip, so that a halted process comes past the place where it stopped.

    None where another replica has acted on them: only a sound machine helps then.
    """
    entries, stopped = process.sequencer.log.entries, process.replica.position
    skipped = skips_in(entries, named(process.shard))
    found: list[int] = []
    while True:
        replica = Replica(process.make(), process.shard, skipped)
        at = 0
        try:
            for entry in entries:
                if at:
                    replica.hear(entry)
                    continue
                try:
                    replica.apply(entry)
                except PoisonError as error:
                    at = error.args[0]
        except DivergedError:
            return None
        if replica.position > stopped:
            return found
        found.append(at)
        skipped = {**skipped, at: Decided(NEVER, process.shard)}
