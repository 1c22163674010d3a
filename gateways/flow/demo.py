"""The flow that `sequencer up --flow` trades: for ever, and from where it was when the venue was stopped.

    lines of one pass, again and again --skip what is in the log--> send

The order gateway tells how many commands each client has in the log. The clients of the demo do nothing
else, so that number says which of their lines come next: nothing is sent twice, and nothing left out.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from gateways.flow import bitstamp, generate
from gateways.flow.lines import parse
from gateways.order.client import OrderConnection
from sequencer.config import Config
from sequencer.sockets import context

INSTRUMENTS = 4
CLIENTS = 8
SEED = 1
GENERATED_LINES = 200_000
PREFIX = "demo-"
OPERATOR = "operator.demo"


def one_pass(flows: Path) -> tuple[Callable[[], Iterator[str]], str]:
    """What makes the lines of one pass, and a word on what they are: the real flow, or a seeded one."""
    path = flows / bitstamp.FILE_NAME
    if path.is_file():
        return lambda: _ours(bitstamp.lines(path, instruments=INSTRUMENTS, clients=CLIENTS)), "the Bitstamp flow"
    return (
        lambda: _ours(generate.lines(SEED, GENERATED_LINES, INSTRUMENTS, CLIENTS)),
        f"a generated flow ({path} is not there: `sequencer flow fetch` gets the real one)",
    )


def endless(one: Callable[[], Iterator[str]], done: Mapping[str, int]) -> Iterator[str]:
    """Passes for ever, without the first `done` lines of each client over all passes."""
    lines_each = Counter(issuer for text in one() if (issuer := parse(text, 0).issuer))
    passes = min((done.get(client, 0) // count for client, count in lines_each.items()), default=0)
    skip = {client: done.get(client, 0) - passes * count for client, count in lines_each.items()}
    return itertools.chain(_without(one(), skip), itertools.chain.from_iterable(one() for _ in itertools.repeat(None)))


def numbers_in_log(config: Config, clients: Iterable[str]) -> dict[str, int]:
    """How many commands of each client are in the log."""
    with context(config) as made, OrderConnection(config.endpoint("order"), context=made) as connection:
        connection.log_on(list(clients))
        return {name: account.last_number for name, account in connection.session.accounts.items()}


def clients() -> list[str]:
    """The names of the demo's clients."""
    return [PREFIX + bitstamp.client(ordinal) for ordinal in range(CLIENTS)]


def _without(lines: Iterable[str], skip: dict[str, int]) -> Iterator[str]:
    for text in lines:
        issuer = parse(text, 0).issuer
        if issuer and skip.get(issuer, 0) > 0:
            skip[issuer] -= 1
        else:
            yield text


def _ours(lines: Iterable[str]) -> Iterator[str]:
    """The same lines under names that nobody else uses, so that their numbers are the demo's alone."""
    return (text.replace('"client":"C', f'"client":"{PREFIX}C', 1) for text in lines)
