"""`sequencer gateway`: a door of the venue as a process."""

from importlib import import_module
from typing import Annotated

import typer

from sequencer.command_line import DEFAULT_DATA, DataDir
from sequencer.config import Config
from sequencer.errors import ConfigError
from sequencer.process import process

GATEWAYS = {
    "order": "gateways.order.gateway",
    "fix": "gateways.fix.server",
    "marketdata": "gateways.marketdata.gateway",
    "web": "gateways.web.server",
}
"""Where each kind has its `run`: none is loaded but the one that runs."""


def register(app: typer.Typer) -> None:
    """Add the process."""
    app.command("gateway", rich_help_panel="Processes", epilog="Example: sequencer gateway order --name order-1")(
        gateway
    )


def gateway(
    kind: Annotated[str, typer.Argument(help="order, fix, marketdata or web.")],
    name: Annotated[str, typer.Option(help="Under which name it reports; one name, one process.")],
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Run a gateway in the foreground."""
    if kind not in GATEWAYS:
        raise ConfigError(f"there is no gateway {kind!r}: expected {', '.join(GATEWAYS)}")
    config = Config.load(data).held_by(name)
    with process(config, name, kind):
        import_module(GATEWAYS[kind]).run(config, name)
