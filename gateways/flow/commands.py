"""`sequencer flow`: orders that are made, fetched, sent, and traded over and over."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gateways.flow import bitstamp, demo, generate, spread
from gateways.flow import send as sending
from sequencer.command_line import DEFAULT_DATA, DataDir, complain
from sequencer.config import Config
from sequencer.errors import ConfigError
from sequencer.output import Format, OutputFormat, check_writable, console, errors, print_json, table
from sequencer.process import claim

FLOWS = Path("./flows")

flow_app = typer.Typer(
    no_args_is_help=True, help="Order flows. Example: sequencer flow generate | sequencer flow send -"
)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(flow_app, name="flow")


@flow_app.command("send", epilog="Example: sequencer flow send flow.jsonl --events events.jsonl")
def flow_send(
    file: Annotated[str, typer.Argument(help="A flow file of JSON lines; - reads standard input.")],
    data: DataDir = DEFAULT_DATA,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Commands a second, open loop; else as fast as possible.")
    ] = None,
    events: Annotated[Path | None, typer.Option(help="Write every resulting event there, as JSON lines.")] = None,
    instruments: Annotated[int, typer.Option(min=1, help="Spread the orders over so many instruments.")] = 1,
    clients: Annotated[int, typer.Option(min=1, help="Spread the orders over so many clients.")] = 1,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Send a flow file, wait until every line has its answer, and print counts, rate and latency.

    A line that is not valid is reported with its number and not sent; the exit code is then 2.
    """
    config = Config.load(data)
    check_writable(events)
    with _lines_of(file) as (lines, total):
        source = spread.spread(lines, instruments, clients) if instruments > 1 or clients > 1 else lines
        with _progress(total) as progress:
            summary = sending.send(config, source, rate_per_s=rate, events=events, progress=progress)
    for error in summary.errors:
        errors.print(str(error), highlight=False, markup=False, soft_wrap=True)
    if output is Format.JSON:
        print_json(_summary_row(summary))
    else:
        _print_summary(summary)
    raise typer.Exit(_exit_code(summary))


@flow_app.command("generate", epilog="Example: sequencer flow generate --count 10000 > flow.jsonl")
def flow_generate(
    count: Annotated[int, typer.Option(min=0, help="Commands.")] = 10_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same flow.")] = 1,
    instruments: Annotated[int, typer.Option(min=1, help="Instruments.")] = 1,
    clients: Annotated[int, typer.Option(min=1, help="Clients.")] = 2,
) -> None:
    """Print a seeded random flow as JSON lines."""
    _echo_lines(generate.lines(seed, count, instruments, clients))


@flow_app.command("bitstamp", epilog="Example: sequencer flow bitstamp --instruments 16 --clients 100 > flow.jsonl")
def flow_bitstamp(
    instruments: Annotated[int, typer.Option(min=1, help="Spread the orders over so many instruments.")] = 1,
    clients: Annotated[int, typer.Option(min=1, help="Spread the orders over so many clients.")] = 2,
    flows: Annotated[Path, typer.Option(help="Where the fetched flow is kept.")] = FLOWS,
) -> None:
    """Print the real Bitstamp BTC/USD flow (314,057 commands) as JSON lines; it is fetched if it is not there."""
    _echo_lines(bitstamp.lines(bitstamp.fetch(flows), instruments=instruments, clients=clients))


@flow_app.command("fetch", epilog="Example: sequencer flow fetch")
def flow_fetch(flows: Annotated[Path, typer.Option(help="Where to keep it.")] = FLOWS) -> None:
    """Fetch the real Bitstamp flow from PyPI once; it is not ours to ship."""
    console.print(f"the Bitstamp flow is in {bitstamp.fetch(flows)}", highlight=False, soft_wrap=True)


@flow_app.command("demo", epilog="Example: sequencer flow demo --rate 500")
def flow_demo(
    data: DataDir = DEFAULT_DATA,
    rate: Annotated[float, typer.Option(min=0.001, help="Commands a second.")] = 1000.0,
    flows: Annotated[Path, typer.Option(help="Where the fetched flow is kept.")] = FLOWS,
) -> None:
    """Trade the real flow (a generated one where it was not fetched) over and over, going on from where it was."""
    config = Config.load(data)
    one, what = demo.one_pass(flows)
    console.print(f"trading {what}", highlight=False, soft_wrap=True)
    lines = demo.endless(one, demo.numbers_in_log(config, demo.clients()))
    with claim(config.data_dir, "flow"):
        sending.send(config, lines, rate_per_s=rate, operator=demo.OPERATOR)


def _echo_lines(lines: Iterable[str]) -> None:
    try:
        for line in lines:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _lines_of(file: str) -> Iterator[tuple[Iterable[str], int | None]]:
    """The lines of a file, and how many they are; of standard input or a pipe nobody knows."""
    if file == "-":
        yield sys.stdin, None
        return
    try:
        total = _count_lines(file) if Path(file).is_file() else None
        text = open(file, encoding="utf-8-sig", errors="surrogateescape")  # noqa: SIM115 - closed below
    except OSError as error:
        raise ConfigError(f"cannot read the flow {file}: {error.strerror}") from None
    with text:
        yield text, total


def _count_lines(file: str) -> int:
    with open(file, "rb") as raw:
        return sum(block.count(b"\n") for block in iter(lambda: raw.read(1 << 20), b""))


@contextmanager
def _progress(total: int | None) -> Iterator[Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as shown:
        task = shown.add_task("answered", total=total)

        def show(progress: sending.Progress) -> None:
            rate = progress.answered / progress.elapsed_s if progress.elapsed_s else 0.0
            shown.update(task, completed=progress.answered, description=f"answered, {rate:,.0f}/s")

        yield show


def _summary_row(summary: sending.Summary) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(summary, builtin_types=(), enc_hook=str)
    row["errors"] = [str(error) for error in summary.errors]
    return row


def _print_summary(summary: sending.Summary) -> None:
    latency = summary.latency
    console.print(
        f"{summary.lines:,} lines, {summary.submitted:,} sent, {summary.answered:,} answered, "
        f"{summary.unanswered:,} unanswered, {summary.invalid:,} invalid, in {summary.elapsed_s:.1f} s "
        f"({summary.commands_per_s:,.0f} commands/s)",
        highlight=False,
        soft_wrap=True,
    )
    rows = [{"event": kind, "count": count} for kind, count in sorted(summary.counts.items())]
    console.print(table("reports", ("event", "count"), rows))
    figures = {key: f"{getattr(latency, f'{key}_us') / 1000:,.2f} ms" for key in ("p50", "p90", "p99", "p999", "max")}
    console.print(table("latency, command to answer", tuple(figures), [figures]))
    if summary.failure:
        complain(summary.failure)


def _exit_code(summary: sending.Summary) -> int:
    if summary.invalid:
        return 2
    if summary.interrupted:
        return 130
    return 1 if summary.unanswered or summary.failure else 0
