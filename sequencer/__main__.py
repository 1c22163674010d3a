"""The `sequencer` command, also as `python -m sequencer`.

Its parts are functions that add commands to the typer application. Those of other packages are found by the
entry-point group `sequencer.commands`, under each command's name. Only the part is loaded that the command line asks
for: a process that orders holds no application code, and nobody waits for what is not used.
"""

import sys
from collections.abc import Callable
from importlib import import_module

import typer

from sequencer.command_line import application, run

Register = Callable[[typer.Typer], None]

PARTS = {
    "sequencer.processes": ("node", "replayer"),
    "sequencer.cli": ("down", "restart", "status", "health", "logs", "sessions", "generate"),
    "sequencer.group_commands": ("members", "leader"),
    "sequencer.log_commands": ("log",),
    "sequencer.key_commands": ("keys",),
}
"""The sequencer's own: module -> commands."""


def main() -> None:
    """Run the command line."""
    run(prepared(*sys.argv[1:2]))


def prepared(command: str = "") -> typer.Typer:
    """The application, with the part that has this command; with all of them where none has."""
    for module, commands in PARTS.items():
        if command in commands:
            return _with(_part(module))
    from importlib.metadata import entry_points  # noqa: PLC0415 - 30 ms of a start, which a node can spare

    others = {point.name: point for point in entry_points(group="sequencer.commands")}
    if command in others:
        return _with(others[command].load())
    values = {point.value: point for point in others.values()}
    return _with(*map(_part, PARTS), *[values[value].load() for value in sorted(values)])


def _part(module: str) -> Register:
    register: Register = import_module(module).register
    return register


def _with(*parts: Register) -> typer.Typer:
    app = application()
    for register in parts:
        register(app)
    return app


if __name__ == "__main__":
    main()
