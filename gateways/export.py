"""Events of a log as rows for other programs: JSON lines, CSV, or Parquet.

    log --Orders--> events of a range of sequence numbers --fields--> rows --format--> stdout or a file

Rules
- The fold begins with the log, whatever is asked for: an event says what its command and its order did before.
- Numbers are decimal text in JSON and CSV, exact; in Parquet all columns are text but sequence and time_ns.
- A trade is one row, with both sides.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final, TextIO

from gateways import events as e
from gateways.names import Directory
from gateways.orders import Orders, runs
from sequencer.envelope import Entry
from sequencer.errors import ConfigError

COLUMNS: Final = (
    "sequence", "time_ns", "type", "client", "client_order_id", "order_id", "symbol", "side", "price", "quantity",
    "reason", "previous_client_order_id", "aggressor_side", "maker_client", "maker_client_order_id", "maker_order_id",
    "taker_client", "taker_client_order_id", "taker_order_id", "account", "currency", "limit", "amount", "count",
    "trade", "previous_price", "previous_quantity", "tick", "lot", "price_low", "price_high", "first_sequence",
)  # fmt: skip
"""All that any event says."""
ROWS_A_GROUP: Final = 50_000

Tell = Callable[[int], None]


class ExportFormat(StrEnum):
    """How rows are written."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


def rows(entries: Iterable[Entry], first: int, last: int, tell: Tell) -> Iterator[tuple[e.Event | e.Trade, Directory]]:
    """The events at sequence numbers `first` to `last` (0: to the end) of a log that begins here.

    `tell` is told the place, now and then.
    """
    orders, names = Orders(), Directory()
    for entry in entries:
        if last and entry.first_sequence > last:
            return
        tell(entry.next_sequence - 1)
        for first_sequence, channel, messages in runs(entry):
            names.apply(channel, messages)
            for event in orders.apply(first_sequence, entry.time_ns, channel, messages):
                if first <= e.sequence_of(event) <= (last or e.sequence_of(event)):
                    yield event, names


def write(found: Iterable[tuple[e.Event | e.Trade, Directory]], how: ExportFormat, out: TextIO) -> int:
    """Write JSON lines or CSV; return how many rows."""
    count = 0
    if how is ExportFormat.CSV:
        writer = csv.DictWriter(out, COLUMNS, restval="")
        writer.writeheader()
        for event, names in found:
            writer.writerow(e.fields(event, names))
            count += 1
        return count
    for event, names in found:
        out.write(e.line(event, names).decode())
        count += 1
    return count


def write_parquet(found: Iterable[tuple[e.Event | e.Trade, Directory]], path: Path) -> int:
    """Write a Parquet file; return how many rows. Raises ConfigError where pyarrow is not installed."""
    try:
        import pyarrow  # noqa: PLC0415 - large, and needed for this alone
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise ConfigError("--format parquet needs pyarrow: pip install pyarrow, or choose jsonl or csv") from None
    numbers = ("sequence", "time_ns")
    schema = pyarrow.schema([(name, pyarrow.int64() if name in numbers else pyarrow.string()) for name in COLUMNS])
    count = 0
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        group: list[e.Fields] = []
        for event, names in found:
            row = e.fields(event, names)
            group.append({name: row[name] if name in numbers else _text(row.get(name)) for name in COLUMNS})
            count += 1
            if len(group) == ROWS_A_GROUP:
                writer.write_table(pyarrow.Table.from_pylist(group, schema))
                group = []
        writer.write_table(pyarrow.Table.from_pylist(group, schema))
    return count


def _text(value: object) -> str | None:
    return None if value is None else str(value)
