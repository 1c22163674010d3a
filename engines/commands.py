"""What the engines add to the `sequencer` command: replicas and their snapshots, accounts, the determinism check."""

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live

from engines import divergence, forensics, machines, operating, proving, resharding, skipping
from engines import lint as determinism
from engines.credit import Credit
from engines.host import run
from engines.past import machine_at
from engines.reproducing import NO_END_S, Outcome
from engines.skipping import skipped
from engines.top import Top, clock
from engines.verdicts import verdicts
from sequencer import admin
from sequencer.client import stop_signal
from sequencer.config import Config
from sequencer.errors import ConfigError
from sequencer.log_tools import entries_of
from sequencer.output import DEFAULT_DATA, DataDir, Format, OutputFormat, console, errors, print_json, table
from sequencer.process import claim

PROOF_MESSAGES = 50_000

snapshot_app = typer.Typer(
    no_args_is_help=True, help="What blank replicas begin with. Example: sequencer snapshot list"
)

poison_app = typer.Typer(
    no_args_is_help=True, help="Messages at which replicas are stopped. Example: sequencer poison list"
)


def register(app: typer.Typer) -> None:
    """Add the engines' commands."""
    app.command("attach", rich_help_panel="Processes", epilog="Example: sequencer attach matching --name matching-3")(
        attach
    )
    app.command("top", epilog="Example: sequencer top")(top)
    app.command("replicas", epilog="Example: sequencer replicas --watch")(replicas)
    app.command("detach", epilog="Example: sequencer detach matching-3")(detach)
    app.add_typer(snapshot_app, name="snapshot")
    app.command("refuse-undecided", epilog="Example: sequencer refuse-undecided --shard 0/1 --reason 'ticket 18'")(
        refuse_undecided
    )
    app.command("explain-divergence", epilog="Example: sequencer explain-divergence matching-2")(explain_divergence)
    app.command("activate", epilog="Example: sequencer activate matching 2")(activate)
    app.command("reshard", epilog="Example: sequencer reshard matching 4")(reshard)
    app.command("digest", epilog="Example: sequencer digest -o json")(digest)
    app.add_typer(poison_app, name="poison")
    app.command("trace", epilog="Example: sequencer trace 1234")(trace)
    app.command("credit", epilog="Example: sequencer credit C1 -o json")(credit)
    app.command("prove", epilog="Example: sequencer prove my_package.machine:Mine")(prove)
    app.command("lint", epilog="Example: sequencer lint my_machine.py")(lint)


def attach(
    machine: Annotated[str, typer.Argument(help="matching, credit, an installed one, or package.module:Class.")],
    name: Annotated[str, typer.Option(help="Under which name it reports; one name, one process. [MACHINE-PID]")] = "",
    shard: Annotated[str, typer.Option(help="Shard I of N, as I/N; one that is not in force is silent.")] = "0/1",
    data: DataDir = DEFAULT_DATA,
    unchecked: Annotated[bool, typer.Option("--unchecked", help="Skip lint and proof of a class of your own.")] = False,
) -> None:
    """Run one more replica of a machine in the foreground, while the venue trades; Ctrl-C detaches it.

    It begins with the newest snapshot that the log vouches for, reads what followed, and goes live. A class of your
    own is checked first: by `sequencer lint`, and by a proof on the beginning of the log.
    """
    config = Config.load(data)
    if ":" in machine and not unchecked:
        _check(machine, data)
    name = name or f"{machines.find(machine)().name}-{os.getpid()}"
    with claim(config.data_dir, name):
        run(config, machine, name, shard, stop_signal())


def _check(machine: str, data: Path) -> None:
    """Raise ConfigError for a class that cannot be let in."""
    machines.find(machine)
    findings = determinism.check_module(machine.partition(":")[0])
    if findings:
        raise ConfigError(f"{findings[0]}; `sequencer lint {machine.partition(':')[0]}` shows all {len(findings)}")
    with console.status("proving it on the beginning of the log"):
        proof = proving.prove(data, machine, PROOF_MESSAGES)
    if proof.problems:
        raise ConfigError(f"{proof.problems[0]}; `sequencer prove {machine}` tries all of the log")


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


def detach(
    name: Annotated[str, typer.Argument(help="A replica's name, as `sequencer status` shows it.")],
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Have a replica end, wherever it runs; `sequencer up` will not start it again."""
    config = Config.load(data)
    console.print(f"{name}: {operating.detach(config, name)}", highlight=False)


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
    console.print(table("replicas", VERDICT_COLUMNS, rows))


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


def explain_divergence(
    name: Annotated[str, typer.Argument(help="The replica that has diverged, on this host.")],
    data: DataDir = DEFAULT_DATA,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Show where a replica differed from the log: the first differing message, and what this program makes of it."""
    with console.status("doing it again"):
        found = divergence.explained(Config.load(data), name)
    if output is Format.JSON:
        print_json(found)
        return
    console.print(
        f"{name}: output {found.output:,} of {found.shard}, at sequence {found.sequence:,}, of the entry at "
        f"{found.cause:,}, differs in its message {found.difference:,}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(table("around it", ("message", "log", "replica", "differs"), found.rows))
    console.print(f"the replica: {found.made_by}\nthis program: {found.here}", highlight=False, soft_wrap=True)
    console.print(f"done again: {found.again}\n{found.advice}", highlight=False, soft_wrap=True)


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


VERDICT_COLUMNS = ("name", "shard", "verdict", "position", "lag", "lag_ms", "rate", "why")
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
                live.update(table("replicas", VERDICT_COLUMNS, verdicts(config)))
                time.sleep(WATCH_S)
        return
    rows = verdicts(config)
    if output is Format.JSON:
        print_json(rows)
    else:
        console.print(table("replicas", VERDICT_COLUMNS, rows))
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


@snapshot_app.command("take", epilog="Example: sequencer snapshot take --machine matching")
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


@snapshot_app.command("discard", epilog="Example: sequencer snapshot discard matching.0 12")
def snapshot_discard(
    shard: Annotated[str, typer.Argument(help="As `sequencer snapshot list` shows it.")],
    number: Annotated[int, typer.Argument(help="The snapshot's number.")],
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Have every node forget a snapshot; replicas begin with an older one, or with the log."""
    for node, why in operating.discard_snapshot(Config.load(data), shard, number).items():
        errors.print(f"{node}: {why}", highlight=False, markup=False)
    console.print(f"snapshot {number} of {shard} is gone", highlight=False)


@snapshot_app.command("schedule", epilog="Example: sequencer snapshot schedule --messages 1000000 --minutes 10")
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


# --- what a message did -------------------------------------------------------------------------

Sequence = Annotated[int, typer.Argument(min=1, help="The message's sequence number.")]
MachineName = Annotated[
    str, typer.Option("--machine", help="matching, credit, ...; by default, which is stopped there.")
]
ShardSpec = Annotated[
    str, typer.Option("--shard", help="Which shard of it, as I/N; by default, which is stopped there.")
]


POISON_COLUMNS = ("shard", "sequence", "command", "verdict", "message", "replicas", "why")
SKIP_COLUMNS = ("at", "shard", "sequence", "reason", "became")


@poison_app.command("list", epilog="Example: sequencer poison list")
def poison_list(data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Show the messages at which replicas are stopped, and how; exit with 1 if there are any."""
    rows = forensics.poisoned(Config.load(data))
    if output is Format.JSON:
        print_json(rows)
    else:
        console.print(table("poison", POISON_COLUMNS, rows))
    raise typer.Exit(1 if rows else 0)


@poison_app.command("show", epilog="Example: sequencer poison show 1234")
def poison_show(
    sequence: Sequence,
    machine: MachineName = "",
    shard: ShardSpec = "",
    data: DataDir = DEFAULT_DATA,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Show a message, the digest of the state before it, and what the machine makes of it: events, or the traceback."""
    config = Config.load(data)
    _show_outcome(_reproduced(config, machine, shard, sequence, NO_END_S), output)


@poison_app.command("reproduce", epilog="Example: sequencer poison reproduce 1234 --machine matching --debug")
def poison_reproduce(
    sequence: Sequence,
    machine: MachineName = "",
    shard: ShardSpec = "",
    data: DataDir = DEFAULT_DATA,
    output: OutputFormat = Format.TABLE,
    seconds: Annotated[float, typer.Option(min=0.1, help="After how long it counts as endless.")] = NO_END_S,
    debug: Annotated[bool, typer.Option("--debug", help="Open the debugger where it raises.")] = False,
) -> None:
    """Do one message again, from the snapshot before it and the log; exit with 1 if it raises or does not end."""
    config = Config.load(data)
    if debug:
        forensics.debugged(config, *forensics.stopped_at(config, sequence, machine, shard), sequence)
        return
    outcome = _reproduced(config, machine, shard, sequence, seconds)
    _show_outcome(outcome, output)
    raise typer.Exit(1 if outcome.error or not outcome.ended else 0)


@poison_app.command("impact", epilog="Example: sequencer poison impact 1234")
def poison_impact(sequence: Sequence, data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Show what followed from a message, through which machines, and which clients it reached."""
    steps, clients = forensics.affected(Config.load(data), sequence)
    if output is Format.JSON:
        print_json({"steps": forensics.as_json(steps), "clients": clients})
        return
    console.print(table(f"what followed from {sequence:,}", STEP_COLUMNS, forensics.as_rows(steps)))
    console.print(table("clients", ("client", "commands"), clients))


@poison_app.command("locate", epilog="Example: sequencer poison locate 1234 --machine matching")
def poison_locate(
    sequence: Sequence,
    machine: MachineName = "",
    shard: ShardSpec = "",
    data: DataDir = DEFAULT_DATA,
    output: OutputFormat = Format.TABLE,
    seconds: Annotated[float, typer.Option(min=0.1, help="After how long it counts as endless.")] = NO_END_S,
) -> None:
    """Find which message of an entry a machine cannot take, and which command was in hand: the one to skip.

    SEQUENCE is any of the entry. Exit with 1 if there is one.
    """
    config = Config.load(data)
    with console.status(f"trying the entry of {sequence:,}"):
        named, spec = forensics.stopped_at(config, sequence, machine, shard)
        outcome = forensics.located(config, named, spec, sequence, seconds)
    if output is Format.JSON:
        print_json(outcome)
    elif outcome.failed:
        _show_outcome(outcome, output)
        console.print(f"in hand was the command at {outcome.command:,}", highlight=False)
    else:
        console.print(f"{named} takes all of the entry of {sequence:,}", highlight=False)
    raise typer.Exit(1 if outcome.failed else 0)


@poison_app.command("skip", epilog="Example: sequencer poison skip 1234 --machine matching --reason 'ticket 17'")
def poison_skip(
    sequences: Annotated[list[int], typer.Argument(min=1, help="Sequence numbers: of one message, mostly.")],
    machine: Annotated[str, typer.Option(help="matching, credit, an installed one, or package.module:Class.")],
    reason: Annotated[str, typer.Option(help="Why; it stands in the log for ever.")],
    shard: ShardSpec = "",
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Have a stopped shard answer a command with a refusal, and go on: its replicas begin again before it.

    It is tried first, on a copy: nothing is sequenced if that does not help, or if the shard has acted on the message
    already. Where a decision of credit stopped it, skip the order that was in hand: `sequencer poison list` names it.
    """
    config = Config.load(data)
    with console.status("trying it") as shown:
        done = skipping.skip(config, machine, shard, sequences, reason, shown.update)
        console.print(f"{', '.join(map(str, sequences))} skipped: in force from {done.at:,} on", highlight=False)
        rows = skipping.await_again(config, done, shown.update)
    if done.then:
        console.print(f"it goes on, and stops at the next: {done.then}", highlight=False, markup=False)
    console.print(table("replicas", VERDICT_COLUMNS, rows))
    raise typer.Exit(0 if all(row["verdict"] == "live" for row in rows) else 1)


@poison_app.command("skipped", epilog="Example: sequencer poison skipped -o json")
def poison_skipped(data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Show every skip that was ever asked for, from the log, and what became of it."""
    rows = skipping.history(Config.load(data))
    if output is Format.JSON:
        print_json(rows)
    else:
        console.print(table("skips", SKIP_COLUMNS, rows))


def trace(sequence: Sequence, data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Show an order's whole way through the log: every message, its cause, and the time between them."""
    steps = forensics.traced(Config.load(data), sequence)
    if output is Format.JSON:
        print_json(forensics.as_json(steps))
    else:
        console.print(table(f"the way of {sequence:,}", STEP_COLUMNS, forensics.as_rows(steps)))


STEP_COLUMNS = ("sequence", "after_us", "cause", "sender", "type", "fields")


def _reproduced(config: Config, machine: str, shard: str, sequence: int, seconds: float) -> Outcome:
    with console.status(f"doing {sequence:,} again"):
        return forensics.reproduced(config, *forensics.stopped_at(config, sequence, machine, shard), sequence, seconds)


def _show_outcome(outcome: Outcome, output: Format) -> None:
    if output is Format.JSON:
        print_json(outcome)
        return
    fields = " ".join(f"{name}={value}" for name, value in outcome.fields.items())
    console.print(f"sequence {outcome.sequence:,}, time {outcome.time_ns}: {outcome.type} {fields}", soft_wrap=True)
    console.print(f"state before it: {outcome.state}")
    for kind, event in outcome.events:
        console.print(f"  -> {kind} " + " ".join(f"{name}={value}" for name, value in event.items()), soft_wrap=True)
    if not outcome.ended:
        console.print(f"it had not ended after {outcome.seconds:.1f} s")
    elif outcome.error:
        console.print(outcome.traceback, soft_wrap=True)
    else:
        console.print(f"{len(outcome.events)} events, no error, {outcome.seconds * 1000:.2f} ms")


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
