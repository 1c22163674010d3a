"""`sequencer api-key`: who may trade over WebSocket and REST."""

from typing import Annotated

import typer

from gateways.web.keys import Keys, rights_of
from sequencer.command_line import DEFAULT_DATA, DataDir
from sequencer.config import Config
from sequencer.noting import noted_remedy
from sequencer.output import Format, OutputFormat, console, print_json, table

key_app = typer.Typer(
    no_args_is_help=True, help="Keys for trading over WebSocket and REST. Example: sequencer api-key issue ANN"
)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(key_app, name="api-key")


KEY_COLUMNS = ("key", "client", "may")


@key_app.command("issue", epilog="Example: sequencer api-key issue ANN --may read --may trade --reason 'ticket 19'")
@noted_remedy
def key_issue(
    client: Annotated[str, typer.Argument(help="Whose it is; operator.NAME for one who may operate the venue.")],
    may: Annotated[
        list[str] | None, typer.Option(help="read, trade, drop_copy, operate; by default what fits.")
    ] = None,
    data: DataDir = DEFAULT_DATA,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Make a key, and print it and its secret: this is the only time. It counts within a second."""
    data_dir = Config.load(data).data_dir
    keys = Keys.load(data_dir)
    made = keys.issue(client, may or rights_of(client))
    keys.save(data_dir)
    if output is Format.JSON:
        print_json(made)
    else:
        console.print(f"key     {made.key}\nsecret  {made.secret}\nmay     {', '.join(made.may)}", soft_wrap=True)


@key_app.command("list", epilog="Example: sequencer api-key list -o json")
def key_list(data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Show who may trade, read and operate; secrets are not shown."""
    found = Keys.load(Config.load(data).data_dir).all.values()
    if output is Format.JSON:
        print_json([{"key": one.key, "client": one.client, "may": one.may} for one in found])
    else:
        rows = [{"key": one.key, "client": one.client, "may": ", ".join(one.may)} for one in found]
        console.print(table("keys", KEY_COLUMNS, rows))


@key_app.command("revoke", epilog="Example: sequencer api-key revoke 9f86d081884c7d65 --reason 'ticket 19'")
@noted_remedy
def key_revoke(
    key: Annotated[str, typer.Argument(help="The key, as `api-key list` shows it.")], data: DataDir = DEFAULT_DATA
) -> None:
    """Have a key count no longer: its connections are closed within a second."""
    data_dir = Config.load(data).data_dir
    keys = Keys.load(data_dir)
    gone = keys.revoke(key)
    keys.save(data_dir)
    console.print(f"key {gone.key} of {gone.client} is revoked", highlight=False)
