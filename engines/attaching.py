"""`sequencer attach`: a replica as a process."""

import os
import socket
from typing import Annotated

import typer

from engines import machines
from engines.host import run
from sequencer.client import host_mib, stop_signal
from sequencer.command_line import DEFAULT_DATA, DataDir
from sequencer.config import Config
from sequencer.process import process

OWN_SHARE = 4
"""A replica of a class of the user's own may have this part of the host's memory, if nothing else is said."""


def register(app: typer.Typer) -> None:
    """Add the process."""
    app.command("attach", rich_help_panel="Processes", epilog="Example: sequencer attach matching --name matching-3")(
        attach
    )


def attach(
    machine: Annotated[str, typer.Argument(help="matching, credit, an installed one, or package.module:Class.")],
    name: Annotated[
        str,
        typer.Option(help="Its name, that of no other. [MACHINE-PID; in a container, MACHINE-HOST]"),
    ] = "",
    shard: Annotated[str, typer.Option(help="Shard I of N, as I/N; one that is not in force is silent.")] = "0/1",
    data: DataDir = DEFAULT_DATA,
    unchecked: Annotated[bool, typer.Option("--unchecked", help="Skip lint and proof of a class of your own.")] = False,
    memory: Annotated[
        int,
        typer.Option("--memory-mib", min=-1, help="At most so much; 0: any. [your own class: a quarter of all]"),
    ] = -1,
) -> None:
    """Run one more replica of a machine in the foreground, while the venue trades; Ctrl-C detaches it.

    It begins with the newest snapshot that the log vouches for, reads what followed, and goes live. A class of your
    own is checked first: by `sequencer lint`, and by a proof on the beginning of the log.
    """
    config = Config.load(data)
    if ":" in machine and not unchecked:
        from engines.admission import admit  # noqa: PLC0415 - 80 ms of a start, which a replica of ours can spare

        admit(machine, data)
    name = name or f"{machines.find(machine)().name}-{_this_process()}"
    config = config.held_by(name)
    with process(config, name, machines.cut(machine, shard)[1].machine):
        run(config, machine, name, shard, stop_signal(), memory_mib=_allowance(machine, memory))


def _this_process() -> str:
    """What no other process of the venue is called: the first of a container has the container's name."""
    return str(os.getpid()) if os.getpid() != 1 else socket.gethostname()


def _allowance(machine: str, asked_mib: int) -> int:
    """What a replica may use: a class of a user's own leaves room for the others of its host."""
    if asked_mib >= 0:
        return asked_mib
    return host_mib() // OWN_SHARE if ":" in machine else 0
