"""The sequencer's commands: they parse and print; what they do is in `admin`, `group`, `log_tools` and the others."""

import time
from typing import Annotated

import typer
from rich.console import Group

from sequencer import admin, deployment, generating, group, log_tools, reading_logs, rolling
from sequencer.client import stop_signal
from sequencer.command_line import DEFAULT_DATA, DataDir
from sequencer.config import Config, LogLevel, config_path
from sequencer.key_commands import keys_app
from sequencer.noting import noted, noted_remedy
from sequencer.output import Format, OutputFormat, console, print_json, table
from sequencer.processes import register as register_processes
from sequencer.protocol import MembersAre
from sequencer.supervisor import stop_all

log_app = typer.Typer(no_args_is_help=True, help="Look at the log. Example: sequencer log tail")
members_app = typer.Typer(no_args_is_help=True, help="The nodes of the group. Example: sequencer members list")
leader_app = typer.Typer(no_args_is_help=True, help="Who leads the group. Example: sequencer leader show")
generate_app = typer.Typer(
    no_args_is_help=True, help="What other tools need to watch a venue. Example: sequencer generate prometheus"
)

PROCESS_COLUMNS = ("name", "role", "pid", "position", "lag", "state")


def register(app: typer.Typer) -> None:
    """Add the sequencer's commands."""
    register_processes(app)
    app.command("down", epilog="Example: sequencer down --data ./data")(down)
    app.command("restart", epilog="Example: sequencer restart matching-1 matching-2 --reason 'release 2'")(restart)
    app.command("status", epilog="Example: sequencer status -o json")(status)
    app.command("health", epilog="Example: sequencer health && echo well")(health)
    app.command("logs", epilog="Example: sequencer logs node-1 node-2 --follow --level warning")(logs_command)
    app.command("sessions", epilog="Example: sequencer sessions -o json")(sessions)
    app.add_typer(log_app, name="log")
    app.add_typer(generate_app, name="generate")
    app.add_typer(members_app, name="members")
    app.add_typer(leader_app, name="leader")
    app.add_typer(keys_app, name="keys")


def down(data: DataDir = DEFAULT_DATA) -> None:
    """Stop every process of the venue on this host."""
    stopped = stop_all(data)
    for name, pid in stopped.items():
        console.print(f"stopped {name} (pid {pid})", highlight=False)
    if not stopped:
        console.print(f"nothing runs in {data}", highlight=False, soft_wrap=True)


@noted_remedy
def restart(
    names: Annotated[list[str] | None, typer.Argument(help="Names of processes, as status shows them. [all]")] = None,
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Restart processes of this host one by one, each when the one before is well again; no order is missed.

    The node that leads is the last, and hands over first. A new version of the program comes in like this.
    """
    with console.status("restarting") as shown:
        for name in rolling.restart(Config.load(data), names or [], shown.update):
            console.print(f"{name} is restarted", highlight=False)


def status(data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Show every process of the venue: role, pid, position in the log, lag in messages, state."""
    found = admin.status(Config.load(data))
    if output is Format.JSON:
        print_json(found)
    else:
        console.print(status_view(found))


def status_view(found: admin.Status) -> Group:
    """The status as tables."""
    titles = {"nodes": found.nodes, "replicas": found.replicas, "gateways": found.gateways, "clients": found.clients}
    return Group(*[table(title, PROCESS_COLUMNS, rows) for title, rows in titles.items() if rows])


def health(
    data: DataDir = DEFAULT_DATA,
    output: OutputFormat = Format.TABLE,
    wait: Annotated[float, typer.Option(help="Wait up to so many seconds for the venue to be well.")] = 0.0,
) -> None:
    """Exit with 0 only if all is well; else say why not. Warnings change nothing of that."""
    deadline_s = time.monotonic() + wait
    while time.monotonic() < deadline_s and not config_path(data).exists():
        time.sleep(0.1)
    config = Config.load(data)
    reasons = admin.await_healthy(config, deadline_s - time.monotonic())
    warnings = admin.warnings(admin.status(config))
    if output is Format.JSON:
        print_json({"healthy": not reasons, "problems": reasons, "warnings": warnings})
    else:
        for line in (*reasons, *(f"warning: {warning}" for warning in warnings)):
            console.print(line, highlight=False)
        if not reasons:
            console.print("well")
    raise typer.Exit(1 if reasons else 0)


def logs_command(
    names: Annotated[
        list[str] | None, typer.Argument(help="Processes, as status shows them; supervisor. [all]")
    ] = None,
    data: DataDir = DEFAULT_DATA,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they grow, until Ctrl-C.")] = False,
    level: Annotated[LogLevel, typer.Option(help="Only lines of this level and above.")] = LogLevel.DEBUG,
    last: Annotated[int, typer.Option("-n", min=0, help="Begin so many lines before the end; 0: with all.")] = 0,
) -> None:
    """Print what the processes of this host told of themselves, merged by time."""
    stop = stop_signal() if follow else None
    for line in reading_logs.merged(Config.load(data), names or [], level=level.value, last=last, stop=stop):
        typer.echo(line)


def sessions(data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Show every sender's committed position: its incarnation and the last number accepted."""
    rows = admin.sessions(Config.load(data))
    if output is Format.JSON:
        print_json(rows)
    else:
        console.print(table("sessions", ("sender", "incarnation", "number"), rows))


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


@generate_app.command("prometheus", epilog="Example: sequencer generate prometheus > prometheus.yml")
def generate_prometheus(data: DataDir = DEFAULT_DATA) -> None:
    """Print a scrape configuration for Prometheus, of all processes under [monitoring] of venue.toml."""
    typer.echo(generating.prometheus(Config.load(data).monitoring), nl=False)


@generate_app.command("grafana", epilog="Example: sequencer generate grafana > dashboard.json")
def generate_grafana() -> None:
    """Print a dashboard for Grafana, with Prometheus as its data source."""
    typer.echo(generating.grafana(), nl=False)


@log_app.command("info", epilog="Example: sequencer log info -o json")
def log_info(data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Show how far each node's journal on this host goes."""
    rows = log_tools.info(Config.load(data))
    if output is Format.JSON:
        print_json(rows)
    else:
        console.print(table("journals", list(rows[0]) if rows else ["node"], rows))


@log_app.command("verify", epilog="Example: sequencer log verify --data ./data")
def log_verify(data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Check every byte of each node's journal on this host; exit with 1 if anything is wrong."""
    rows = log_tools.verify_journals(Config.load(data))
    if output is Format.JSON:
        print_json(rows)
    else:
        console.print(table("journals", list(rows[0]) if rows else ["node"], rows))
    raise typer.Exit(0 if all(row["problem"] == "" for row in rows) else 1)


@log_app.command("repair", epilog="Example: sequencer log repair node-1 --accept-loss")
def log_repair(
    name: str,
    data: DataDir = DEFAULT_DATA,
    accept_loss: Annotated[bool, typer.Option("--accept-loss", help="Give up what lies behind the damage.")] = False,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Let a stopped node with a damaged journal go on: the damage is set aside, and a group gives back the rest."""
    row = log_tools.repair(Config.load(data), name, accept_loss=accept_loss)
    if output is Format.JSON:
        print_json(row)
    else:
        console.print(table("repair", tuple(row), [row]))


@log_app.command("dump", epilog="Example: sequencer log dump --first 100 --last 120 --messages")
def log_dump(
    data: DataDir = DEFAULT_DATA,
    first: Annotated[int, typer.Option(help="First sequence number.")] = 1,
    last: Annotated[int, typer.Option(help="Last sequence number; 0: to the end.")] = 0,
    messages: Annotated[bool, typer.Option("--messages", help="One line a message instead of one a batch.")] = False,
) -> None:
    """Print batches, or messages, as JSON lines: from the running venue, or from the files alone."""
    for line in log_tools.dump(Config.load(data), first, last or None, messages=messages):
        typer.echo(line)


@log_app.command("tail", epilog="Example: sequencer log tail --messages")
def log_tail(
    data: DataDir = DEFAULT_DATA,
    messages: Annotated[bool, typer.Option("--messages", help="One line a message instead of one a batch.")] = False,
    entries: Annotated[int, typer.Option("-n", help="Begin so many entries before the end.")] = 10,
    follow: Annotated[bool, typer.Option(help="Go on as the log grows, until Ctrl-C.")] = True,
) -> None:
    """Print the end of the log as JSON lines, and follow it."""
    stop = stop_signal()
    for line in log_tools.tail(Config.load(data), entries, stop, messages=messages, follow=follow):
        typer.echo(line)
