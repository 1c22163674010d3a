"""What the engines add to the `sequencer` command: replicas and their snapshots, accounts, the determinism check."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live

from engines import lint as determinism
from engines import operating, proving, resharding
from engines.credit import Credit
from engines.past import machine_at
from engines.skipping import skipped
from engines.top import Top, clock
from engines.verdicts import COLUMNS, verdicts
from sequencer import admin
from sequencer.client import stop_signal
from sequencer.command_line import DEFAULT_DATA, DataDir
from sequencer.config import Config
from sequencer.errors import ConfigError
from sequencer.log_tools import entries_of
from sequencer.noting import noted, noted_remedy
from sequencer.output import Format, OutputFormat, console, errors, print_json, table

snapshot_app = typer.Typer(
    no_args_is_help=True, help="What blank replicas begin with. Example: sequencer snapshot list"
)


def register(app: typer.Typer) -> None:
    """Add the engines' commands."""
    app.command("top", epilog="Example: sequencer top")(top)
    app.command("replicas", epilog="Example: sequencer replicas --watch")(replicas)
    app.command("detach", epilog="Example: sequencer detach matching-3 --reason 'ticket 18'")(detach)
    app.add_typer(snapshot_app, name="snapshot")
    app.command("refuse-undecided", epilog="Example: sequencer refuse-undecided --shard 0/1 --reason 'ticket 18'")(
        refuse_undecided
    )
    app.command("activate", epilog="Example: sequencer activate matching 2 --reason 'release 2'")(activate)
    app.command("reshard", epilog="Example: sequencer reshard matching 4 --reason 'ticket 18'")(reshard)
    app.command("digest", epilog="Example: sequencer digest -o json")(digest)
    app.command("credit", epilog="Example: sequencer credit C1 -o json")(credit)
    app.command("prove", epilog="Example: sequencer prove my_package.machine:Mine")(prove)
    app.command("lint", epilog="Example: sequencer lint my_machine.py")(lint)


def prove(
    machine: Annotated[str, typer.Argument(help="matching, credit, an installed one, or package.module:Class.")],
    data: DataDir = DEFAULT_DATA,
    against: Annotated[Path | None, typer.Option(help="The data directory whose log it is tried on. [--data]")] = None,
    messages: Annotated[int, typer.Option(min=0, help="Only so many messages; 0: all of the log.")] = 0,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Run a machine over the log twice, differently, and compare; and with the outputs that the log holds of it.

    Exit with 1 unless events and states are the same: by runs and message by message, restored from snapshots, under
    two PYTHONHASHSEEDs. A new version of a machine is tried like this before it is let in.
    """
    with console.status("replaying the log"):
        proof = proving.prove(against or data, machine, messages)
    if output is Format.JSON:
        print_json(proof)
    else:
        row = {name: getattr(proof, name) for name in ("machine", "messages", "entries", "events", "compared")}
        console.print(table("proof", tuple(row), [row]))
        console.print("\n".join(proof.problems) or f"the same both times; the state at the end is {proof.state[:16]}")
    raise typer.Exit(1 if proof.problems else 0)


@noted
def detach(
    name: Annotated[str, typer.Argument(help="A replica's name, as `sequencer status` shows it.")],
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Have a replica end, wherever it runs; `sequencer up` will not start it again."""
    config = Config.load(data)
    console.print(f"{name}: {operating.detach(config, name)}", highlight=False)


@noted
def reshard(
    machine: Annotated[str, typer.Argument(help="matching, credit, an installed one, or package.module:Class.")],
    shards: Annotated[int, typer.Argument(min=1, help="How many it is to have.")],
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Cut a machine into so many shards, while the venue trades: no order is lost, and no event is another one.

    Replicas of the new shards are started, where `sequencer up` runs, and follow silently; at one place of the log they
    take over, when the old ones have said all that came before it. These end.
    """
    with console.status("resharding") as shown:
        at, rows = resharding.reshard(Config.load(data), machine, shards, shown.update)
    console.print(f"{machine} has {shards} shards from {at:,} on", highlight=False)
    console.print(table("replicas", COLUMNS, rows))


@noted
def activate(
    machine: Annotated[str, typer.Argument(help="matching, credit, or the name of a machine of your own.")],
    version: Annotated[int, typer.Argument(min=2, help="Whose rules are to be followed.")],
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Have all replicas of a machine follow the rules of a new version, from one place of the log on.

    What comes before it is replayed under the old rules, for ever. First all replicas are restarted with the program
    that knows both: `sequencer restart`.
    """
    with console.status("activating"):
        at = operating.activate(Config.load(data), machine, version)
    console.print(f"version {version} of {machine} is in force from {at:,} on", highlight=False)


@noted
def refuse_undecided(
    reason: Annotated[str, typer.Option(help="Why; it stands in the log for ever.")],
    shard: Annotated[str, typer.Option(help="Which shard of credit, as I/N.")] = "0/1",
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Refuse every order that a shard of credit which stays down has not decided: the instruments go on without it.

    What it decides of these orders when it is back is void, and their credit is free again.
    """
    at = operating.refuse_undecided(Config.load(data), shard, reason)
    console.print(f"what credit {shard} had not decided before {at:,} is refused", highlight=False)


WATCH_S = 0.5


def replicas(
    data: DataDir = DEFAULT_DATA,
    output: OutputFormat = Format.TABLE,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
) -> None:
    """Show how each replica is, with the evidence; exit with 1 unless all are live.

    JSON has more: what is in hand and for how long, CPU, the stack, the traceback.
    """
    config = Config.load(data)
    if watch:
        stop = stop_signal()
        with Live(console=console, refresh_per_second=4) as live:
            while not stop.is_set:
                live.update(table("replicas", COLUMNS, verdicts(config)))
                time.sleep(WATCH_S)
        return
    rows = verdicts(config)
    if output is Format.JSON:
        print_json(rows)
    else:
        console.print(table("replicas", COLUMNS, rows))
    raise typer.Exit(0 if all(row["verdict"] == "live" for row in rows) else 1)


def top(data: DataDir = DEFAULT_DATA) -> None:
    """Show nodes, replicas, gateways, rates and the latest changes on the whole screen, until Ctrl-C.

    Where the output is no terminal, one screen is printed.
    """
    config, seen = Config.load(data), Top()
    if not console.is_terminal:
        console.print(seen.see(admin.status(config), time.monotonic(), clock()))
        return
    stop = stop_signal()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while not stop.is_set:
            live.update(seen.see(admin.status(config), time.monotonic(), clock()), refresh=True)
            time.sleep(WATCH_S)


# --- snapshots ----------------------------------------------------------------------------------

SNAPSHOT_COLUMNS = ("shard", "number", "position", "bytes", "nodes", "made_by", "problem")


@snapshot_app.command("take", epilog="Example: sequencer snapshot take --machine matching --reason 'release 2'")
@noted
def snapshot_take(
    machine: Annotated[str, typer.Option(help="Only the replicas of this machine.")] = "",
    data: DataDir = DEFAULT_DATA,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Take a snapshot of every shard at one place of the log, and wait until nodes keep it. Nothing stands still."""
    config = Config.load(data)
    with console.status("taking a snapshot"):
        _asked, told = operating.take_snapshot(config, machine, keep=True)
        operating.await_kept(config, told)
    _show_told(told, output)


@snapshot_app.command("list", epilog="Example: sequencer snapshot list -o json")
def snapshot_list(data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Show the snapshots that the nodes keep, the newest first."""
    rows = operating.snapshots(Config.load(data))
    if output is Format.JSON:
        print_json(rows)
    else:
        console.print(table("snapshots", SNAPSHOT_COLUMNS, rows))


@snapshot_app.command("verify", epilog="Example: sequencer snapshot verify")
def snapshot_verify(data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Fetch every snapshot, compare it with the log, and restore it; exit with 1 if any cannot be used."""
    with console.status("verifying") as shown:
        rows = operating.verify_snapshots(Config.load(data), shown.update)
    if output is Format.JSON:
        print_json(rows)
    else:
        console.print(table("snapshots", ("shard", "number", "position", "node", "problem"), rows))
    raise typer.Exit(1 if any(row["problem"] for row in rows) else 0)


@snapshot_app.command("discard", epilog="Example: sequencer snapshot discard matching.0 12 --reason 'ticket 18'")
@noted_remedy
def snapshot_discard(
    shard: Annotated[str, typer.Argument(help="As `sequencer snapshot list` shows it.")],
    number: Annotated[int, typer.Argument(help="The snapshot's number.")],
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Have every node forget a snapshot; replicas begin with an older one, or with the log."""
    for node, why in operating.discard_snapshot(Config.load(data), shard, number).items():
        errors.print(f"{node}: {why}", highlight=False, markup=False)
    console.print(f"snapshot {number} of {shard} is gone", highlight=False)


@snapshot_app.command(
    "schedule", epilog="Example: sequencer snapshot schedule --messages 1000000 --minutes 10 --reason 'ticket 18'"
)
@noted
def snapshot_schedule(
    messages: Annotated[int, typer.Option(min=0, help="After so many messages; 0: never for that.")],
    minutes: Annotated[float, typer.Option(min=0, help="After so much sequenced time; 0: never for that.")],
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Have snapshots taken on this schedule from now on; it stands in the log."""
    sequence = operating.schedule(Config.load(data), messages, minutes * 60)
    console.print(f"from sequence {sequence:,} on", highlight=False)


def digest(
    at: Annotated[int, typer.Option(help="At the last marker up to this sequence number; 0: at a new one.")] = 0,
    data: DataDir = DEFAULT_DATA,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Show the digest of each replica's state at one place of the log; exit with 1 unless all of a shard agree."""
    config = Config.load(data)
    if not at:
        with console.status("asking for digests"):
            rows = operating.fresh_digests(config)
    else:
        rows = operating.digests(config, at)
    if output is Format.JSON:
        print_json(rows)
    else:
        shown = [{**row, "digest": row["digest"][:16]} for row in rows]
        console.print(table("state digests", ("shard", "replica", "position", "digest", "agrees"), shown))
    raise typer.Exit(0 if rows and all(row["agrees"] for row in rows) else 1)


def _show_told(told: dict[str, Any], output: Format) -> None:
    rows = [
        {"shard": shard, "position": said.position, "outputs": said.outputs, "digest": said.digest.hex()}
        for shard, said in sorted(told.items())
    ]
    if output is Format.JSON:
        print_json(rows)
    else:
        shown = [{**row, "digest": row["digest"][:16]} for row in rows]
        console.print(table("snapshots taken", ("shard", "position", "outputs", "digest"), shown))


# --- accounts and the check ---------------------------------------------------------------------


def credit(
    client: Annotated[str, typer.Argument(help="The client's name.")],
    data: DataDir = DEFAULT_DATA,
    at: Annotated[int, typer.Option(help="As it was behind this sequence number; 0: as it is.")] = 0,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Show a client's credit, from the log: limit = free + reserved + used, in each currency."""
    config = Config.load(data)
    machine = machine_at(Credit(), entries_of(config), at, skipped(config, Credit.name))
    ids = {name: client_id for client_id, name in machine.clients().items()}
    if client not in ids:
        raise ConfigError(f"there is no client {client!r}: the venue knows {', '.join(sorted(ids)[:20]) or 'nobody'}")
    rows = [_account_row(account) for account in machine.account(ids[client])]
    blocked = machine.is_blocked(ids[client])
    if output is Format.JSON:
        print_json({"client": client, "blocked": blocked, "accounts": rows})
    else:
        title = f"{client} (blocked)" if blocked else client
        console.print(table(title, ("currency", "limit", "free", "reserved", "used"), rows))


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
