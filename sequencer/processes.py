"""The sequencer's processes as commands: a node, and a replayer beside it."""

import typer

from sequencer import node, replayer
from sequencer.client.stop import stop_signal
from sequencer.command_line import DEFAULT_DATA, DataDir
from sequencer.config import Config
from sequencer.process import process


def register(app: typer.Typer) -> None:
    """Add the processes."""
    app.command("node", rich_help_panel="Processes", epilog="Example: sequencer node node-1 --data ./data")(run_node)
    app.command("replayer", rich_help_panel="Processes", epilog="Example: sequencer replayer node-1 --data ./data")(
        run_replayer
    )


def run_node(name: str, data: DataDir = DEFAULT_DATA) -> None:
    """Run one sequencer node of the venue in the foreground."""
    config = Config.load(data).held_by(name)
    with process(config, config.node(name).name, "node"):
        node.run(config, name, stop_signal())


def run_replayer(name: str, data: DataDir = DEFAULT_DATA) -> None:
    """Serve the log of one node to readers, in the foreground."""
    config = Config.load(data).held_by(f"{name}-replayer")
    with process(config, f"{config.node(name).name}-replayer", "replayer"):
        replayer.run(config, name, stop_signal())
