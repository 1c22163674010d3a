"""How commands print: a table for people, JSON for programs."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from sequencer.errors import ConfigError


class Format(StrEnum):
    """What `-o` takes."""

    TABLE = "table"
    JSON = "json"


OutputFormat = Annotated[Format, typer.Option("-o", "--output", help="table or json.")]

console = Console(markup=False)  # names and messages are printed as they are, also with [brackets]
errors = Console(stderr=True, markup=False)


def print_json(value: Any) -> None:
    """Print a value as JSON, indented."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def check_writable(path: Path | None) -> None:
    """Say before the events of a log are made, and not after it, that they cannot be kept. Raises ConfigError."""
    try:
        if path is not None:
            path.open("ab").close()
    except OSError as error:
        raise ConfigError(f"cannot write the events to {path}: {error.strerror}") from None


def table(title: str, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> Table:
    """A table of these columns of the rows; numbers are set to the right."""
    made = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        numeric = any(isinstance(row.get(column), int) for row in rows)
        made.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*[_cell(row.get(column, "")) for column in columns])
    return made


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
