"""Shards of every number on one log, each at its own pace, and an operator who changes how many are in force.

gateway, operator --> log <--outputs, digests-- credit: 1 and 2 and 3 shards; matching: 1 and 2 and 4 shards
                       +-- entries, each process at its own pace -->
"""

import random
from functools import partial

from engines import messages as m
from engines.credit import Credit
from engines.matching import Matching
from engines.messages import COMMANDS, OPERATIONS
from engines.sharding import Shard
from tests.models.poisoned import POISON, PoisonedInOrders, PoisonedMatching, Process, Sequencer, World

COUNTS = {"credit": (1, 2, 3), "matching": (1, 2, 4)}
MACHINES = {"credit": Credit, "matching": Matching}
CLIENTS, INSTRUMENTS = 5, 6


class Venue:
    """One replica of each shard. With a `poison_share` matching, or credit, cannot take so many of the orders."""

    def __init__(self, seed: int, poison_share: float = 0.0) -> None:
        self.draw = random.Random(seed)
        self.sequencer = Sequencer()
        self.asked = ""
        self._poison_share = poison_share
        machines = dict(MACHINES)
        if poison_share:
            machines |= self.draw.choice([{"matching": PoisonedMatching}, {"credit": PoisonedInOrders}])
        self.processes = [
            Process(partial(machines[machine], index, count), Shard(machine, index, count).sender, self.sequencer)
            for machine, counts in COUNTS.items()
            for count in counts
            for index in range(count)
        ]
        self.turn = 0
        opening: list[m.Message] = [m.RegisterClient(0, number, f"C{number}") for number in range(1, CLIENTS + 1)]
        opening += [m.SetCredit(0, 9, number, "USD", 10**12, 0) for number in range(1, CLIENTS + 1)]
        opening += [m.SetInstrument(0, 9, f"I{number}", "USD", 1, 0, 1, 0) for number in range(1, INSTRUMENTS + 1)]
        self.sequencer.say("gateway.1", COMMANDS, opening)
        self.settle()  # credit knows the instruments: what it refuses from here on depends on no timing

    def run(self, steps: int) -> None:
        """Draw so many steps."""
        for _ in range(steps):
            act = self.draw.random()
            process = self.draw.choice(self.processes)
            if act < 0.1:
                self._trade()
            elif act < 0.11:
                self.sequencer.say("operator", OPERATIONS, [m.TakeSnapshot()])
            elif act < 0.125:
                machine = self.draw.choice(sorted(COUNTS))
                asked = m.Reshard(machine, self.draw.choice(COUNTS[machine]))
                self.sequencer.say("operator", OPERATIONS, [asked])
            elif act < 0.14:
                process.begin(self.draw)
            elif act < 0.16 and self._poison_share:
                self.operate()
            elif act < 0.7:
                for _again in range(self.draw.randint(1, 5)):
                    process.step(self.draw)
            else:
                process.submit(self.draw)

    settle = World.settle
    operate = World.operate

    def _trade(self) -> None:
        commands = []
        for _ in range(self.draw.randint(1, 8)):
            self.turn += 1
            commands.append(self._command(self.turn))
        self.sequencer.say("gateway.1", COMMANDS, commands)

    def _command(self, number: int) -> m.Message:
        draw = self.draw
        client, instrument = draw.randint(1, CLIENTS), draw.randint(1, INSTRUMENTS)
        price, quantity = draw.randint(95, 105), draw.randint(1, 9)
        earlier = f"o{draw.randint(max(0, number - 60), number)}"
        if draw.random() < self._poison_share:
            return m.NewOrder(client, number, instrument, POISON, 1, 80, quantity, post_only=True)
        kind = draw.random()
        if kind < 0.65:
            return m.NewOrder(client, number, instrument, f"o{number}", draw.randint(1, 2), price, quantity)
        if kind < 0.8:
            return m.CancelOrder(client, number, instrument, earlier)
        if kind < 0.92:
            return m.ReplaceOrder(client, number, instrument, earlier, price, quantity)
        return m.CancelAll(0, number, draw.choice([0, client]), draw.choice([0, 0, instrument]))
