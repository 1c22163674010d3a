"""What the engines add to the `sequencer` command: replicas, accounts, and the determinism check."""

from pathlib import Path
from typing import Annotated, Any

import typer

from engines import lint as determinism
from engines.credit import Credit
from engines.host import Replica
from engines.host import run as run_replica
from engines.machine import Machine
from engines.matching import Matching
from sequencer.client import stop_signal
from sequencer.config import Config
from sequencer.errors import ConfigError
from sequencer.log_tools import entries_of
from sequencer.output import DEFAULT_DATA, DataDir, Format, OutputFormat, console, print_json, table
from sequencer.process import claim

MACHINES: dict[str, type[Machine]] = {"matching": Matching, "credit": Credit}


def register(app: typer.Typer) -> None:
    """Add the engines' commands."""
    app.command("replica", rich_help_panel="Processes", epilog="Example: sequencer replica matching --name matching-3")(
        replica
    )
    app.command("credit", epilog="Example: sequencer credit C1 -o json")(credit)
    app.command("lint", epilog="Example: sequencer lint my_machine.py")(lint)


def replica(
    machine: Annotated[str, typer.Argument(help="matching or credit.")],
    name: Annotated[str, typer.Option(help="Under which name it reports; one name, one process.")],
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Run one more replica of a machine in the foreground: it reads the log from the beginning, then keeps up."""
    if machine not in MACHINES:
        raise ConfigError(f"there is no machine {machine!r}: expected {' or '.join(MACHINES)}")
    config = Config.load(data)
    with claim(config.data_dir, name):
        run_replica(config, MACHINES[machine](), name, 0, stop_signal())


def credit(
    client: Annotated[str, typer.Argument(help="The client's name.")],
    data: DataDir = DEFAULT_DATA,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Show a client's credit, from the log: limit = free + reserved + used, in each currency."""
    machine = Credit()
    replica = Replica(machine, "credit.0")
    for entry in entries_of(Config.load(data)):
        if entry.message_count:
            replica.apply(entry)
    ids = {name: client_id for client_id, name in machine.clients().items()}
    if client not in ids:
        raise ConfigError(f"there is no client {client!r}: the venue knows {', '.join(sorted(ids)[:20]) or 'nobody'}")
    rows = [_account_row(account) for account in machine.account(ids[client])]
    if output is Format.JSON:
        print_json(
            {
                "client": client,
                "blocked": machine.is_blocked(ids[client]),
                "position": replica.position,
                "accounts": rows,
            }
        )
    else:
        blocked = " (blocked)" if machine.is_blocked(ids[client]) else ""
        console.print(table(f"{client}{blocked}", ("currency", "limit", "free", "reserved", "used"), rows))


def _account_row(account: Any) -> dict[str, str]:
    currency, decimals, *amounts = account
    named = zip(("limit", "free", "reserved", "used"), amounts, strict=True)
    return {"currency": currency, **{key: _decimal(amount, decimals) for key, amount in named}}


def _decimal(amount: int, decimals: int) -> str:
    """An integer of so many decimals as text, without needless zeros."""
    digits = str(abs(amount)).rjust(decimals + 1, "0")
    whole, fraction = digits[: len(digits) - decimals], digits[len(digits) - decimals :].rstrip("0")
    return ("-" if amount < 0 else "") + whole + (f".{fraction}" if fraction else "")


def lint(
    target: Annotated[str, typer.Argument(help="A file, a directory, or a module name such as my_package.machine.")],
    output: OutputFormat = Format.TABLE,
) -> None:
    """Look for what would make a machine nondeterministic; exit with 1 if anything is found."""
    path = Path(target)
    findings = determinism.check_path(path) if path.exists() else determinism.check_module(target)
    if output is Format.JSON:
        print_json(findings)
    else:
        for finding in findings:
            console.print(str(finding), highlight=False, markup=False)
        if not findings:
            console.print(f"{target}: nothing found")
    raise typer.Exit(1 if findings else 0)
