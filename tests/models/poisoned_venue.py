"""A venue of real processes whose engines cannot take some messages: they raise, or never come to an end.

Python runs `sitecustomize` first in each process that finds it: there the engines get their defects.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.models.running import Running, make

DEFECTS = '''
import engines.credit.machine
import engines.matching.machine
from engines import messages as m
from engines.credit.machine import Credit
from engines.matching.instruments import Instruments

enter, apply = Instruments._enter, Credit.apply


def poisoned_enter(self, time_ns, sequence, command, refusal, emit):
    """Takes no order that is called `raise` or `loop`, if it is post-only: those are not handled on the short way."""
    if command.client_order_id == "raise" and not refusal:
        raise ZeroDivisionError("no such order")
    while command.client_order_id == "loop" and not refusal:
        pass
    enter(self, time_ns, sequence, command, refusal, emit)


def poisoned_apply(self, time_ns, first_sequence, channel, messages):
    """Takes no order that is called `raise-credit`, and no trade at a price of 666."""
    for message in messages:
        if isinstance(message, m.NewOrder) and message.client_order_id == "raise-credit":
            raise ZeroDivisionError("no such order")
        if isinstance(message, m.Trade) and message.price == 666:
            raise ZeroDivisionError("no such trade")
    return apply(self, time_ns, first_sequence, channel, messages)


Instruments._enter, Credit.apply = poisoned_enter, poisoned_apply
'''


@contextmanager
def poisoned_venue(directory: Path, nodes: int = 1, doors: tuple[str, ...] = ()) -> Iterator[Running]:
    """Two replicas of each engine, the gateways: all started by `sequencer up`."""
    config = make(directory / "v", nodes, doors=doors)
    (directory / "sitecustomize.py").write_text(DEFECTS)
    path = os.pathsep.join(filter(None, (str(directory), os.environ.get("PYTHONPATH"))))
    with Running(config, PYTHONPATH=path).start() as started:
        yield started
