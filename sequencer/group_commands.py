"""`sequencer members` and `sequencer leader`: the group that orders; what they do is in `group` and `deployment`."""

from typing import Annotated

import typer

from sequencer import deployment, group
from sequencer.command_line import DEFAULT_DATA, DataDir
from sequencer.config import Config
from sequencer.noting import noted
from sequencer.output import Format, OutputFormat, console, print_json, table
from sequencer.protocol import MembersAre

members_app = typer.Typer(no_args_is_help=True, help="The nodes of the group. Example: sequencer members list")
leader_app = typer.Typer(no_args_is_help=True, help="Who leads the group. Example: sequencer leader show")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(members_app, name="members")
    app.add_typer(leader_app, name="leader")


@members_app.command("list", epilog="Example: sequencer members list -o json")
def members_list(data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Show who belongs to the group, and how many entries each is behind its leader."""
    show_members(group.members(Config.load(data)), output)


@members_app.command("add", epilog="Example: sequencer members add node-4 --reason 'ticket 17'")
@noted
def members_add(
    name: str,
    data: DataDir = DEFAULT_DATA,
    learner: Annotated[bool, typer.Option("--learner", help="Let it follow and never vote.")] = False,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Take a node in, new or with a new disk. It learns the log, and becomes a voter once it has caught up.

    A node that venue.toml does not name is written there first, after the pattern of the others.
    """
    Config.load(data)
    config = deployment.enlist(data, name)
    show_members(group.add(config, name, learner=learner), output)


@members_app.command("remove", epilog="Example: sequencer members remove node-2 --reason 'ticket 17'")
@noted
def members_remove(name: str, data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Let a node be no member any more; one that leads hands over first. Its files stay."""
    found = group.remove(Config.load(data), name)
    deployment.retire(data, name)
    show_members(found, output)


@leader_app.command("show", epilog="Example: sequencer leader show -o json")
def leader_show(data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Show who leads, confirmed by a quorum, and how far the log is committed."""
    config = Config.load(data)
    index = group.committed_index(config)
    shown = {"leader": group.members(config).leader, "committed_index": index}
    if output is Format.JSON:
        print_json(shown)
    else:
        console.print(f"{shown['leader']} leads; entry {index} is committed", highlight=False)


@leader_app.command("transfer", epilog="Example: sequencer leader transfer node-2 --reason 'ticket 17'")
@noted
def leader_transfer(name: str, data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Hand the lead to a node, within one round of messages; nothing that was submitted is lost."""
    show_members(group.transfer(Config.load(data), name), output)


def show_members(found: MembersAre, output: Format) -> None:
    """The group as a table, or as JSON."""
    rows = group.rows(found)
    if output is Format.JSON:
        print_json({"version": found.members.version, "committed": found.committed, "members": rows})
    else:
        console.print(table("members", ("name", "role", "disk", "behind", "silent_ms", "problem"), rows))
