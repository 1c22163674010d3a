"""The commands that make a venue and start it: up, init, certificate."""

from pathlib import Path
from typing import Annotated

import typer

from gateways.layout import CERTIFICATE, PRIVATE_KEY
from gateways.up import detach, up
from gateways.venue import create_apart
from sequencer.client import stop_signal
from sequencer.command_line import DEFAULT_DATA, DataDir
from sequencer.config import KeyPair, config_path
from sequencer.output import console

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("up", epilog="Example: sequencer up --data ./data --flow")(up_command)
    app.command("init", epilog="Example: sequencer init --data ./shared --hosts ./hosts --name venue.example")(
        init_command
    )
    app.command(
        "certificate", epilog="Example: sequencer certificate --host venue.example --host 10.0.0.7 --data ./data"
    )(certificate_command)


def up_command(
    data: DataDir = DEFAULT_DATA,
    nodes: Annotated[int | None, typer.Option(help="Sequencer nodes of a new venue: 1, 3 (the default) or 5.")] = None,
    background: Annotated[bool, typer.Option("--detach", help="Go to the background once the venue is well.")] = False,
    flow: Annotated[bool, typer.Option("--flow", help="Trade the demo flow, over and over.")] = False,
    rate: Annotated[float, typer.Option(min=0.001, help="Commands a second of the demo flow.")] = 1000.0,
) -> None:
    """Start the whole venue; make it first where there is none. Ctrl-C stops it; the next start goes on from there."""
    words = ["flow", "demo", "--rate", str(rate)]
    if background:
        detach(data, nodes, ["--flow", "--rate", str(rate)] if flow else [], console)
    else:
        up(data, nodes, words if flow else None, stop_signal(), console)


def init_command(
    hosts: Annotated[Path, typer.Option(help="For each host, a directory with what it alone has.")],
    data: DataDir = DEFAULT_DATA,
    nodes: Annotated[int | None, typer.Option(help="Sequencer nodes of a new venue: 1, 3 (the default) or 5.")] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="A name or address by which clients reach web and FIX. [localhost]")
    ] = None,
) -> None:
    """Make a venue whose processes run on hosts of their own, and do not start it. What is there already stays.

    DATA gets what all hosts share, venue.toml and keys.toml: each finds it there by SEQUENCER_CONFIG, or has a copy.
    HOSTS/NAME is to become the data directory of the host NAME, and of no other: it has its key.
    """
    config = create_apart(data, hosts, nodes, tuple(name or ("localhost",)))
    count = len(config.nodes) + len(config.processes)
    console.print(f"a venue of {count} hosts: {config_path(data)}, {hosts}", highlight=False, soft_wrap=True)


def certificate_command(
    hosts: Annotated[
        list[str] | None, typer.Option("--host", help="A name or an address of this machine. [localhost 127.0.0.1 ::1]")
    ] = None,
    days: Annotated[int, typer.Option(help="For how long it is good.")] = 365,
    force: Annotated[bool, typer.Option("--force", help="Replace the one that is there.")] = False,
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Make a certificate for development, which clients trust by its own file, and its private key."""
    from gateways import certificates  # noqa: PLC0415 - 100 ms, which no other command needs

    files = KeyPair(str(data / CERTIFICATE), str(data / PRIVATE_KEY))
    expires = certificates.make(files, hosts or LOOPBACK, days, force=force)
    console.print(
        f"{files.certificate} is good until {expires:%Y-%m-%d}; web and FIX use it with this in venue.toml:\n\n"
        f'[tls]\ncertificate = "{CERTIFICATE}"\nprivate_key = "{PRIVATE_KEY}"',
        highlight=False,
        soft_wrap=True,
    )
