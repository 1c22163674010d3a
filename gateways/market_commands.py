"""The commands that show and mend what was traded: book, export, trade."""

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from gateways import export, trades
from gateways.marketdata.client import MarketDataClient
from gateways.marketdata.fold import depth_in_log
from sequencer.admin import can_ask_nodes
from sequencer.command_line import DEFAULT_DATA, DataDir
from sequencer.config import Config
from sequencer.errors import ConfigError
from sequencer.log_tools import entries_of
from sequencer.noting import noted
from sequencer.output import Format, OutputFormat, check_writable, console, errors, print_json, table
from sequencer.sockets import context

DEPTH = 10

trade_app = typer.Typer(no_args_is_help=True, help="Trades that have to be mended. Example: sequencer trade show 1234")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("book", epilog="Example: sequencer book BTC-USD --depth 5")(book_command)
    app.command("export", epilog="Example: sequencer export --from 1000 --to 2000 --format csv > events.csv")(
        export_command
    )
    app.add_typer(trade_app, name="trade")


def book_command(
    symbol: Annotated[str, typer.Argument(help="The instrument's symbol.")],
    data: DataDir = DEFAULT_DATA,
    depth: Annotated[int, typer.Option(help="Price levels a side.")] = DEPTH,
    at: Annotated[int, typer.Option(min=0, help="As it was behind this sequence number; 0: as it is.")] = 0,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Show the book of an instrument: from the market data gateway, or from the log when the venue is stopped."""
    config = Config.load(data)
    if not at and can_ask_nodes(config):
        endpoints = config.endpoint("marketdata"), config.endpoint("marketdata_updates")
        with context(config) as made, MarketDataClient(*endpoints, context=made) as client:
            shown = client.book(symbol, depth)
    else:
        shown = depth_in_log(entries_of(config), symbol, depth, at)
    if output is Format.JSON:
        print_json(shown)
    else:
        sides = [("sell", level) for level in reversed(shown.sells)] + [("buy", level) for level in shown.buys]
        rows = [{"side": side, **msgspec.structs.asdict(level)} for side, level in sides]
        console.print(table(symbol, ("side", "price", "quantity", "orders"), rows))


def export_command(
    first: Annotated[int, typer.Option("--from", min=1, help="The first sequence number.")] = 1,
    last: Annotated[int, typer.Option("--to", min=0, help="The last one; 0: to the end.")] = 0,
    how: Annotated[export.ExportFormat, typer.Option("--format", help="parquet needs --out, and pyarrow.")] = (
        export.ExportFormat.JSONL
    ),
    out: Annotated[Path | None, typer.Option(help="Write there; by default, to standard output.")] = None,
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Print the events of a range of the log: every order's life, every trade, with names and decimal numbers."""
    if last and last < first:
        raise ConfigError(f"expected --to from {first:,} on, got {last:,}")
    if how is export.ExportFormat.PARQUET and out is None:
        raise ConfigError("--format parquet needs a file: add --out events.parquet")
    check_writable(out)
    config = Config.load(data)
    with errors.status("reading the log") as shown:
        found = export.rows(entries_of(config), first, last, lambda at: shown.update(f"reading the log: {at:,}"))
        if out is None:
            export.write(found, how, sys.stdout)
            return
        if how is export.ExportFormat.PARQUET:
            count = export.write_parquet(found, out)
        else:
            with out.open("w", encoding="utf-8", newline="") as file:
                count = export.write(found, how, file)
    console.print(f"{count:,} events written to {out}", highlight=False, soft_wrap=True)


TradeSequence = Annotated[
    int, typer.Argument(min=1, help="The trade's sequence number, as `sequencer trace` shows it.")
]
Why = Annotated[str, typer.Option(help="Why; it stands in the log for ever.")]
TRADE_COLUMNS = ("trade", "symbol", "buyer", "seller", "price", "quantity")


@trade_app.command("show", epilog="Example: sequencer trade show 1234 -o json")
def trade_show(sequence: TradeSequence, data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Show a trade as it is now: who bought, who sold, and what; a busted one is of no quantity."""
    row = trades.trade_at(entries_of(Config.load(data)), sequence).as_row()
    if output is Format.JSON:
        print_json(row)
    else:
        console.print(table("trade", TRADE_COLUMNS, [row]))


@trade_app.command("bust", epilog="Example: sequencer trade bust 1234 --reason 'ticket 20'")
@noted
def trade_bust(sequence: TradeSequence, reason: Why, data: DataDir = DEFAULT_DATA) -> None:
    """Have a trade count as none: credit gives back what it used, both sides are told; the books stay as they are."""
    _mend(data, sequence, None, None, reason)


@trade_app.command("correct", epilog="Example: sequencer trade correct 1234 --price 99.50 --reason 'ticket 20'")
@noted
def trade_correct(
    sequence: TradeSequence,
    reason: Why,
    price: Annotated[str | None, typer.Option(help="What it should have been traded at.")] = None,
    quantity: Annotated[str | None, typer.Option(help="How much should have been traded.")] = None,
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Have a trade count as one at another price, or of another quantity; the books stay as they are."""
    if price is None and quantity is None:
        raise ConfigError("expected --price, --quantity or both: `trade bust` takes a trade back")
    _mend(data, sequence, price, quantity, reason)


def _mend(data: Path, sequence: int, price: str | None, quantity: str | None, reason: str) -> None:
    with console.status("mending the trade"):
        before, after = trades.correct(Config.load(data), sequence, price, quantity, reason)
    rows = [{"": "was", **before.as_row()}, {"": "is", **after.as_row()}]
    console.print(table("trade", ("", *TRADE_COLUMNS), rows))
