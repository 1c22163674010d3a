"""The sequencer's commands: they parse and print; what they do is in `admin`, `group`, `log_tools` and the others."""

import time
from typing import Annotated

import typer
from rich.console import Group

from sequencer import admin, generating, reading_logs, rolling
from sequencer.client import stop_signal
from sequencer.command_line import DEFAULT_DATA, DataDir
from sequencer.config import Config, LogLevel, config_path
from sequencer.noting import noted_remedy
from sequencer.output import Format, OutputFormat, console, print_json, table
from sequencer.supervisor import stop_all

generate_app = typer.Typer(
    no_args_is_help=True, help="What other tools need to watch a venue. Example: sequencer generate prometheus"
)

PROCESS_COLUMNS = ("name", "role", "pid", "position", "lag", "state")


def register(app: typer.Typer) -> None:
    """Add the sequencer's commands."""
    app.command("down", epilog="Example: sequencer down --data ./data")(down)
    app.command("restart", epilog="Example: sequencer restart matching-1 matching-2 --reason 'release 2'")(restart)
    app.command("status", epilog="Example: sequencer status -o json")(status)
    app.command("health", epilog="Example: sequencer health && echo well")(health)
    app.command("logs", epilog="Example: sequencer logs node-1 node-2 --follow --level warning")(logs_command)
    app.command("sessions", epilog="Example: sequencer sessions -o json")(sessions)
    app.add_typer(generate_app, name="generate")


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


@generate_app.command("prometheus", epilog="Example: sequencer generate prometheus > prometheus.yml")
def generate_prometheus(data: DataDir = DEFAULT_DATA) -> None:
    """Print a scrape configuration for Prometheus, of all processes under [monitoring] of venue.toml."""
    typer.echo(generating.prometheus(Config.load(data).monitoring), nl=False)


@generate_app.command("grafana", epilog="Example: sequencer generate grafana > dashboard.json")
def generate_grafana() -> None:
    """Print a dashboard for Grafana, with Prometheus as its data source."""
    typer.echo(generating.grafana(), nl=False)
