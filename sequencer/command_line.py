"""What every command has: the data directory that it works on, and how it ends when the world is wrong.

A process of a venue starts with no more than this: what prints tables is in `output`, and takes a third of a start.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer
import zmq

from sequencer.errors import IslandError
from sequencer.process import exit_code

DataDir = Annotated[
    Path, typer.Option("--data", envvar="SEQUENCER_DATA", help="The venue's data directory.", show_default=True)
]
DEFAULT_DATA = Path("./data")


def application() -> typer.Typer:
    """The `sequencer` command, without any commands yet."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
        help="A trading venue's core on the sequencer (island) architecture. Begin with: sequencer up",
    )
    app.callback()(lambda: None)  # a command is called by its name, also where it is the only one
    return app


def run(app: typer.Typer) -> None:
    """Do what the command line says; errors of the world end with one clear line and a non-zero exit code."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except IslandError as error:
        complain(error)
        sys.exit(exit_code(error))
    except zmq.ZMQError as error:
        complain(f"ZeroMQ: {error}")
        sys.exit(1)


def complain(error: object) -> None:
    """Say on stderr, in one line, what went wrong."""
    typer.secho("error:", fg="red", err=True, nl=False)
    typer.echo(f" {error}", err=True)
