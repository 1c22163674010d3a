"""What belongs to one message: the way of an order through the log, and everything that followed from a message.

    NewOrder 17 --> CreditDecisions (17 to 80) --> OrderAccepted 17 --> Trade 17 x 12 --> ...
                                                                          +--> order 12, of another client

Every message of the venue's language names what it follows from: `by`, `order_id`, the two orders of a trade, or a
range of commands. A command names an order by its client's own id; which order that is, the log tells.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from engines import messages as m
from engines.messages import shown
from engines.runs import runs
from sequencer.envelope import Entry

CHANNELS: Final = (m.COMMANDS, m.DECISIONS, m.RESULTS)
NAMING: Final = ("by", "order_id", "maker_order_id", "taker_order_id")

Row = dict[str, Any]


class Step(msgspec.Struct, frozen=True):
    """One message on the way: when and where it was sequenced, by whom, and what it followed from (0: from outside).

    `concerns` are the sequence numbers that it belongs to, of the message that was asked for and of orders.
    """

    sequence: int
    time_ns: int
    cause: int
    sender: str
    type: str
    fields: Row
    concerns: list[int]


def trace(entries: Iterable[Entry], sequence: int) -> list[Step]:
    """An order's whole way, if `sequence` is an order's: its commands, their answers, its trades, its end.

    For any other message: it, and what names it. Empty where the log does not reach so far. `entries` begin with
    that of the message, or before.
    """
    return _Trace(sequence, follows_trades=False).over(entries)


def impact(entries: Iterable[Entry], sequence: int) -> list[Step]:
    """Everything that followed from the message at `sequence`: also what became of the orders that traded with it."""
    return _Trace(sequence, follows_trades=True).over(entries)


class _Trace:
    """Grows with the log: `followed` are the sequence numbers whose events are wanted."""

    def __init__(self, root: int, *, follows_trades: bool) -> None:
        self._root = root
        self._followed = {root}
        self._follows_trades = follows_trades
        self._orders: dict[tuple[int, int, str], int] = {}
        """(client, instrument, client order id) -> order id, of orders that are followed."""
        self._steps: list[Step] = []

    def over(self, entries: Iterable[Entry]) -> list[Step]:
        for entry in entries:
            if entry.next_sequence <= self._root:
                continue
            for batch in entry.batches():
                for run in runs([batch], CHANNELS):
                    for offset, message in enumerate(run.messages):
                        sequence = run.first_sequence + offset
                        concerns = self._concerned(sequence, message)
                        if concerns:
                            kind, fields = shown(message)
                            step = Step(sequence, entry.time_ns, batch.cause, batch.sender, kind, fields, concerns)
                            self._steps.append(step)
        return self._steps

    def _concerned(self, sequence: int, message: m.Message) -> list[int]:
        if isinstance(message, m.NewOrder):
            return self._entered(sequence, message)
        if isinstance(message, m.CancelOrder | m.ReplaceOrder):
            return self._changed(sequence, message)
        if sequence in self._followed:
            return [sequence]
        named = [one for field in NAMING if (one := getattr(message, field, 0))]
        if not self._followed.isdisjoint(named):
            if self._follows_trades and isinstance(message, m.Trade):
                self._followed.update(named)
            return list(dict.fromkeys(named))
        if isinstance(message, m.CreditDecisions | m.BatchRejected):
            end = message.first_sequence + message.count
            return sorted(one for one in self._followed if message.first_sequence <= one < end)
        return []

    def _entered(self, sequence: int, order: m.NewOrder) -> list[int]:
        name = (order.client_id, order.instrument_id, order.client_order_id)
        if sequence not in self._followed:
            self._orders.pop(name, None)  # a name may be used again
            return []
        self._orders[name] = sequence
        return [sequence]

    def _changed(self, sequence: int, command: m.CancelOrder | m.ReplaceOrder) -> list[int]:
        order_id = self._orders.get((command.client_id, command.instrument_id, command.client_order_id))
        if order_id is None:
            return [sequence] if sequence in self._followed else []
        self._followed.add(sequence)
        if isinstance(command, m.ReplaceOrder) and command.new_client_order_id:
            self._orders[command.client_id, command.instrument_id, command.new_client_order_id] = order_id
        return [order_id]
