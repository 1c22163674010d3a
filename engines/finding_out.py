"""The commands that find out what was done: by a message, and its remedies (poison, trace), by a replica, by operators.

Printing only.
"""

from typing import Annotated

import typer

from engines import actions, divergence, forensics, skipping
from engines.reproducing import NO_END_S, Outcome
from engines.verdicts import COLUMNS
from sequencer.command_line import DEFAULT_DATA, DataDir
from sequencer.config import Config
from sequencer.log_tools import entries_of
from sequencer.noting import noted
from sequencer.output import Format, OutputFormat, console, print_json, table

poison_app = typer.Typer(
    no_args_is_help=True, help="Messages at which replicas are stopped. Example: sequencer poison list"
)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(poison_app, name="poison")
    app.command("trace", epilog="Example: sequencer trace 1234")(trace)
    app.command("actions", epilog="Example: sequencer actions --last 20")(list_actions)
    app.command("explain-divergence", epilog="Example: sequencer explain-divergence matching-2")(explain_divergence)


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
@noted
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
    console.print(table("replicas", COLUMNS, rows))
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


ACTION_COLUMNS = ("sequence", "time", "operator", "key", "action", "details", "reason")


def list_actions(
    data: DataDir = DEFAULT_DATA,
    last: Annotated[int, typer.Option(min=0, help="Only the last so many; 0: all.")] = 0,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Show what operators asked for, by commands and over the web: who, with whose key, what and why, from the log.

    A line is there before it is done. `key` is compared by the nodes; it is empty for who works on their host.
    """
    with console.status("reading the log"):
        found = actions.latest(entries_of(Config.load(data)), last)
    if output is Format.JSON:
        print_json([one.as_json() for one in found])
    else:
        console.print(table("actions", ACTION_COLUMNS, [one.as_row() for one in found]))


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
