"""A seeded flow through the credit machine; prints the digest of all answers and of the state they leave.

Run as a program, so that a test can run it under any PYTHONHASHSEED.
"""

import hashlib
import random

from engines.credit import Credit
from engines.messages import (
    COMMANDS,
    ENCODER,
    RESULTS,
    BlockClient,
    InstrumentSet,
    Message,
    NewOrder,
    OrderCanceled,
    Reason,
    RegisterClient,
    SetCredit,
    Trade,
    UnblockClient,
)


def opening() -> list[Message]:
    """Many names and a few currencies, so that an order of hashes would show."""
    names = [f"client {index}" for index in range(1, 61)]
    limits = [SetCredit(0, 1, index, f"CUR{index % 7}", 10**5, index % 5) for index in range(1, 61)]
    return [*(RegisterClient(0, 1, name) for name in names), *limits]


def some_commands(dice: random.Random) -> list[Message]:
    orders: list[Message] = [
        NewOrder(dice.randint(1, 60), 1, dice.randint(1, 20), "a", dice.randint(1, 2), dice.randint(1, 99), 5)
        for _ in range(50)
    ]
    return [*orders, BlockClient(0, 1, dice.randint(1, 60)), UnblockClient(0, 1, dice.randint(1, 60))]


def some_results(dice: random.Random, sequence: int) -> list[Message]:
    trades = [Trade(1, dice.randint(1, 99), 2, dice.randint(1, sequence), dice.randint(1, sequence)) for _ in range(20)]
    cancels = [OrderCanceled(dice.randint(1, sequence), 1, 1, Reason.REQUESTED) for _ in range(20)]
    return [*trades, *cancels]


def main() -> None:
    dice = random.Random(5)
    credit, digest, sequence = Credit(), hashlib.sha256(), 1
    instruments = [InstrumentSet(0, key, "S", f"CUR{key % 7}", 1, key % 4, 1, 0, 0, 50) for key in range(1, 21)]
    credit.apply(0, 1, RESULTS, instruments)
    digest.update(ENCODER.encode(credit.apply(0, 1, COMMANDS, opening())))
    for _ in range(100):
        run = some_commands(dice)
        digest.update(ENCODER.encode(credit.apply(0, sequence, COMMANDS, run)))
        sequence += len(run)
        credit.apply(0, sequence, RESULTS, some_results(dice, sequence))
    digest.update(credit.snapshot())
    print(digest.hexdigest(), sum(row[5] for client in credit.clients() for row in credit.account(client)))


if __name__ == "__main__":
    main()
