"""`sequencer log`: the log as operators look at it; what it does is in `log_tools`."""

from typing import Annotated

import typer

from sequencer import log_tools
from sequencer.client import stop_signal
from sequencer.command_line import DEFAULT_DATA, DataDir
from sequencer.config import Config
from sequencer.output import Format, OutputFormat, console, print_json, table

log_app = typer.Typer(no_args_is_help=True, help="Look at the log. Example: sequencer log tail")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(log_app, name="log")


@log_app.command("info", epilog="Example: sequencer log info -o json")
def log_info(data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Show how far each node's journal on this host goes."""
    rows = log_tools.info(Config.load(data))
    if output is Format.JSON:
        print_json(rows)
    else:
        console.print(table("journals", list(rows[0]) if rows else ["node"], rows))


@log_app.command("verify", epilog="Example: sequencer log verify --data ./data")
def log_verify(data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Check every byte of each node's journal on this host; exit with 1 if anything is wrong."""
    rows = log_tools.verify_journals(Config.load(data))
    if output is Format.JSON:
        print_json(rows)
    else:
        console.print(table("journals", list(rows[0]) if rows else ["node"], rows))
    raise typer.Exit(0 if all(row["problem"] == "" for row in rows) else 1)


@log_app.command("repair", epilog="Example: sequencer log repair node-1 --accept-loss")
def log_repair(
    name: str,
    data: DataDir = DEFAULT_DATA,
    accept_loss: Annotated[bool, typer.Option("--accept-loss", help="Give up what lies behind the damage.")] = False,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Let a stopped node with a damaged journal go on: the damage is set aside, and a group gives back the rest."""
    row = log_tools.repair(Config.load(data), name, accept_loss=accept_loss)
    if output is Format.JSON:
        print_json(row)
    else:
        console.print(table("repair", tuple(row), [row]))


@log_app.command("dump", epilog="Example: sequencer log dump --first 100 --last 120 --messages")
def log_dump(
    data: DataDir = DEFAULT_DATA,
    first: Annotated[int, typer.Option(help="First sequence number.")] = 1,
    last: Annotated[int, typer.Option(help="Last sequence number; 0: to the end.")] = 0,
    messages: Annotated[bool, typer.Option("--messages", help="One line a message instead of one a batch.")] = False,
) -> None:
    """Print batches, or messages, as JSON lines: from the running venue, or from the files alone."""
    for line in log_tools.dump(Config.load(data), first, last or None, messages=messages):
        typer.echo(line)


@log_app.command("tail", epilog="Example: sequencer log tail --messages")
def log_tail(
    data: DataDir = DEFAULT_DATA,
    messages: Annotated[bool, typer.Option("--messages", help="One line a message instead of one a batch.")] = False,
    entries: Annotated[int, typer.Option("-n", help="Begin so many entries before the end.")] = 10,
    follow: Annotated[bool, typer.Option(help="Go on as the log grows, until Ctrl-C.")] = True,
) -> None:
    """Print the end of the log as JSON lines, and follow it."""
    stop = stop_signal()
    for line in log_tools.tail(Config.load(data), entries, stop, messages=messages, follow=follow):
        typer.echo(line)
