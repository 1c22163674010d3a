"""Events as rows for other programs: the same events in each format, of the range that is asked for."""

import csv
import io
import json
from pathlib import Path

import msgspec
import pytest

from engines import messages as m
from gateways import events as e
from gateways import export
from gateways.export import ExportFormat
from gateways.names import Directory
from gateways.orders import Orders, runs
from tests.models.island import Island


@pytest.fixture
def island() -> Island:
    made = Island()
    made.sequence([m.SetInstrument(0, 0, "I1", "USD", 1, 2, 1, 0), m.RegisterClient(0, 0, "ANN")])
    made.sequence([m.RegisterClient(0, 0, "BOB, and sons"), m.SetCredit(0, 0, 1, "USD", 100, 0)])
    for number in range(1, 9):
        made.sequence([m.NewOrder(1 + number % 2, number, 1, f"o{number}", 1 + number % 2, 100, 5)])
    made.sequence([m.CancelOrder(1, 9, 1, "o8"), m.CancelAll(2, 10, 2)])
    return made


def events(island: Island) -> list[dict[str, object]]:
    """All of them, as their lines say."""
    orders, names, found = Orders(), Directory(), []
    for entry in island.log:
        for first, channel, messages in runs(entry):
            names.apply(channel, messages)
            found += [e.line(event, names) for event in orders.apply(first, entry.time_ns, channel, messages)]
    return [json.loads(line) for line in found]


def exported(island: Island, how: ExportFormat, first: int = 1, last: int = 0) -> str:
    out, told = io.StringIO(), []
    count = export.write(export.rows(island.log, first, last, told.append), how, out)
    assert count == len(out.getvalue().splitlines()) - (how is ExportFormat.CSV)
    assert told == sorted(told)
    return out.getvalue()


def test_json_lines_are_the_events(island: Island):
    """All, or those of a range: its ends are in it."""
    everything = events(island)
    assert [json.loads(line) for line in exported(island, ExportFormat.JSONL).splitlines()] == everything
    first, last = everything[3]["sequence"], everything[-4]["sequence"]
    part = [json.loads(line) for line in exported(island, ExportFormat.JSONL, first, last).splitlines()]
    assert part == [row for row in everything if first <= row["sequence"] <= last]
    assert part[0]["sequence"] == first
    assert part[-1]["sequence"] == last


def test_csv_has_the_same_in_columns(island: Island):
    """An empty cell where an event does not say anything; what has commas in it is one cell."""
    rows = list(csv.DictReader(io.StringIO(exported(island, ExportFormat.CSV))))
    assert [{name: value for name, value in row.items() if value} for row in rows] == [
        {name: str(value) for name, value in row.items()} for row in events(island)
    ]
    assert "BOB, and sons" in {row["client"] for row in rows}


def test_parquet_has_the_same_in_columns(island: Island, tmp_path: Path):
    """Places and times are numbers, all else is text."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install pyarrow")
    path = tmp_path / "events.parquet"
    everything = events(island)
    assert export.write_parquet(export.rows(island.log, 1, 0, lambda _at: None), path) == len(everything)
    read = parquet.read_table(path).to_pylist()
    assert [{name: value for name, value in row.items() if value is not None} for row in read] == [
        {name: value if name in ("sequence", "time_ns") else str(value) for name, value in row.items()}
        for row in everything
    ]


def test_every_event_fits_in_the_columns():
    """A field that an event may say and no column has would be an error, found only when it comes."""
    names, instrument = Directory(), m.InstrumentSet(1, 1, "I1", "USD", 1, 2, 1, 0, 1, 2)
    names.apply(m.RESULTS, [instrument])
    for kind in (*msgspec.inspect.type_info(e.Report).types, msgspec.inspect.type_info(e.Trade)):
        event = _sample(kind.cls)
        assert set(e.fields(event, names)) <= set(export.COLUMNS)


def _sample(kind: type) -> e.Event | e.Trade:
    if kind is e.Trade:
        return e.Trade(_sample(e.Fill), _sample(e.Fill))
    values = {field.name: "x" if field.type is str else 1 for field in msgspec.structs.fields(kind)}
    return kind(**values)
