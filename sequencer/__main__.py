"""The `sequencer` command, also as `python -m sequencer`.

Every package adds its commands through the entry-point group `sequencer.commands`, and its processes through
`sequencer.processes`, by the command's name: a function that takes the typer application. A process starts with its
own package alone: the ordering process holds no application code, and a start takes half as long.
"""

import sys
from collections.abc import Callable

import typer

from sequencer import processes
from sequencer.command_line import application, run

Register = Callable[[typer.Typer], None]


def main() -> None:
    """Run the command line."""
    run(prepared(*sys.argv[1:2]))


def prepared(command: str = "") -> typer.Typer:
    """The application: of one process, if that is what the command starts, else all of it."""
    if command in processes.NAMES:
        return _with(processes.register)
    from importlib.metadata import entry_points  # noqa: PLC0415 - 30 ms of a start, which a node can spare

    for point in entry_points(group="sequencer.processes", name=command):
        return _with(point.load())
    points = sorted(entry_points(group="sequencer.commands"), key=lambda point: point.name)
    return _with(*[point.load() for point in points])


def _with(*parts: Register) -> typer.Typer:
    app = application()
    for register in parts:
        register(app)
    return app


if __name__ == "__main__":
    main()
