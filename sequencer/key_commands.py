"""`sequencer keys`: who may come in over tcp; what it does is in `keyring`."""

from pathlib import Path
from typing import Annotated

import typer

from sequencer import issuing, keyring
from sequencer.command_line import DEFAULT_DATA, DataDir
from sequencer.config import Config
from sequencer.keys import Key, Role
from sequencer.limits import Limits
from sequencer.noting import noted_remedy
from sequencer.output import Format, OutputFormat, console, print_json, table

keys_app = typer.Typer(
    no_args_is_help=True, help="Who may come in over tcp, and do what. Example: sequencer keys issue ANN --role client"
)
_LIMIT = "{} that one door takes. [usual for the role]"
_COLUMNS = ("name", "role", "rights", "limits", "public", "revoked")


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(keys_app, name="keys")


@keys_app.command("init", epilog="Example: sequencer keys init --reason 'ticket 19'")
@noted_remedy
def keys_init(data: DataDir = DEFAULT_DATA) -> None:
    """Make a key for each process of venue.toml that has none, and one for who gives commands."""
    for key in issuing.issue_missing(Config.load(data)):
        console.print(f"{key.name} has a key of a {key.role}", highlight=False)


@keys_app.command(
    "issue",
    epilog="Example: sequencer keys issue matching-3 --role replica --of matching --reason 'ticket 19'; "
    "or: sequencer keys issue desk-7 --role client --of ANN --of BOB --requests 10000 --connections 4",
)
@noted_remedy
def keys_issue(
    name: Annotated[str, typer.Argument(help="Whose: of a process, its name.")],
    role: Annotated[Role, typer.Option(help="What it is for.")],
    of: Annotated[
        list[str] | None,
        typer.Option(help="A replica's machine, or a client's name. Again for more. [NAME]"),
    ] = None,
    serves: Annotated[
        list[str] | None, typer.Option(help="A gateway: the name of [endpoints] where it listens. Again for more.")
    ] = None,
    operates: Annotated[bool, typer.Option("--operates", help="It may also do what operators do.")] = False,
    requests: Annotated[int | None, typer.Option(help=_LIMIT.format("Commands, batches or questions a second"))] = None,
    size: Annotated[int | None, typer.Option("--bytes", help=_LIMIT.format("Bytes a second"))] = None,
    message_bytes: Annotated[int | None, typer.Option(help=_LIMIT.format("Bytes of its largest message"))] = None,
    connections: Annotated[int | None, typer.Option(help=_LIMIT.format("Connections that speak at one time"))] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write. [DIR/keys/NAME.key]")] = None,
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Make a key and list it. The file goes to who is to have it, by a way that you trust, and to nobody else."""
    config = Config.load(data)
    limits = Limits(requests, size, message_bytes, connections)
    _issue(config, name, role, out, of=of or (), serves=serves or (), operates=operates, limits=limits)


@keys_app.command("revoke", epilog="Example: sequencer keys revoke ANN --reason 'ticket 19'")
@noted_remedy
def keys_revoke(name: str, data: DataDir = DEFAULT_DATA) -> None:
    """Let a key count no more. Within a second what it says is dropped, and it hears no more."""
    keyring.revoke(Config.load(data).keys_path, name)
    console.print(f"the key of {name} is revoked", highlight=False)


@keys_app.command("list", epilog="Example: sequencer keys list -o json")
def keys_list(data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Show all keys, also the revoked ones, and what each may do. Secrets are not shown."""
    rows = [_row(key) for key in keyring.read_keys(Config.load(data).keys_path).listed]
    if output is Format.JSON:
        print_json(rows)
    else:
        console.print(table("keys", _COLUMNS, rows))


def _issue(config: Config, name: str, role: Role, out: Path | None, **rights: object) -> None:
    path = out or keyring.secret_path(config.secrets_directory, name)
    key = keyring.issue(config.keys_path, path, name, role, **rights)  # type: ignore[arg-type]
    console.print(f"{name} has a key of a {key.role}: {path}", highlight=False, soft_wrap=True)


def _row(key: Key) -> dict[str, str]:
    return {
        "name": key.name,
        "role": key.role.value,
        "rights": key.rights,
        "limits": str(key.limits),
        "public": key.public,
        "revoked": key.revoked,
    }
