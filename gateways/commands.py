"""What the gateways add to the `sequencer` command: the venue itself, its doors, flows and books."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gateways import export, processes, trades
from gateways.flow import bitstamp, demo, generate, spread
from gateways.flow import send as sending
from gateways.layout import CERTIFICATE, PRIVATE_KEY
from gateways.marketdata.client import MarketDataClient
from gateways.marketdata.fold import depth_in_log
from gateways.up import detach, up
from gateways.venue import create_apart
from gateways.web.keys import Keys, rights_of
from sequencer.client import stop_signal
from sequencer.command_line import DEFAULT_DATA, DataDir, complain
from sequencer.config import Config, KeyPair, config_path
from sequencer.errors import ConfigError
from sequencer.log_tools import can_ask_nodes, entries_of
from sequencer.noting import noted, noted_remedy
from sequencer.output import Format, OutputFormat, console, errors, print_json, table
from sequencer.process import claim
from sequencer.sockets import context

FLOWS = Path("./flows")
DEPTH = 10
LOOPBACK = ("localhost", "127.0.0.1", "::1")

flow_app = typer.Typer(
    no_args_is_help=True, help="Order flows. Example: sequencer flow generate | sequencer flow send -"
)


key_app = typer.Typer(
    no_args_is_help=True, help="Keys for trading over WebSocket and REST. Example: sequencer api-key issue ANN"
)
trade_app = typer.Typer(no_args_is_help=True, help="Trades that have to be mended. Example: sequencer trade show 1234")


def register(app: typer.Typer) -> None:
    """Add the gateways' commands."""
    app.command("up", epilog="Example: sequencer up --data ./data --flow")(up_command)
    app.command("init", epilog="Example: sequencer init --data ./shared --hosts ./hosts --name venue.example")(
        init_command
    )
    processes.register(app)
    app.command("book", epilog="Example: sequencer book BTC-USD --depth 5")(book_command)
    app.command("export", epilog="Example: sequencer export --from 1000 --to 2000 --format csv > events.csv")(
        export_command
    )
    app.command(
        "certificate", epilog="Example: sequencer certificate --host venue.example --host 10.0.0.7 --data ./data"
    )(certificate_command)
    app.add_typer(flow_app, name="flow")
    app.add_typer(trade_app, name="trade")
    app.add_typer(key_app, name="api-key")


def up_command(
    data: DataDir = DEFAULT_DATA,
    nodes: Annotated[int | None, typer.Option(help="Sequencer nodes of a new venue: 1, 3 (the default) or 5.")] = None,
    background: Annotated[bool, typer.Option("--detach", help="Go to the background once the venue is well.")] = False,
    flow: Annotated[bool, typer.Option("--flow", help="Trade the demo flow, over and over.")] = False,
    rate: Annotated[float, typer.Option(min=0.001, help="Commands a second of the demo flow.")] = 1000.0,
) -> None:
    """Start the whole venue; make it first where there is none. Ctrl-C stops it; the next start goes on from there."""
    words = ["flow", "demo", "--rate", str(rate)]
    if background:
        detach(data, nodes, ["--flow", "--rate", str(rate)] if flow else [], console)
    else:
        up(data, nodes, words if flow else None, stop_signal(), console)


def init_command(
    hosts: Annotated[Path, typer.Option(help="For each host, a directory with what it alone has.")],
    data: DataDir = DEFAULT_DATA,
    nodes: Annotated[int | None, typer.Option(help="Sequencer nodes of a new venue: 1, 3 (the default) or 5.")] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="A name or address by which clients reach web and FIX. [localhost]")
    ] = None,
) -> None:
    """Make a venue whose processes run on hosts of their own, and do not start it. What is there already stays.

    DATA gets what all hosts share, venue.toml and keys.toml: each finds it there by SEQUENCER_CONFIG, or has a copy.
    HOSTS/NAME is to become the data directory of the host NAME, and of no other: it has its key.
    """
    config = create_apart(data, hosts, nodes, tuple(name or ("localhost",)))
    count = len(config.nodes) + len(config.processes)
    console.print(f"a venue of {count} hosts: {config_path(data)}, {hosts}", highlight=False, soft_wrap=True)


def book_command(
    symbol: Annotated[str, typer.Argument(help="The instrument's symbol.")],
    data: DataDir = DEFAULT_DATA,
    depth: Annotated[int, typer.Option(help="Price levels a side.")] = DEPTH,
    at: Annotated[int, typer.Option(min=0, help="As it was behind this sequence number; 0: as it is.")] = 0,
    output: OutputFormat = Format.TABLE,
) -> None:
    """Show the book of an instrument: from the market data gateway, or from the log when the venue is stopped."""
    config = Config.load(data)
    if not at and can_ask_nodes(config):
        endpoints = config.endpoint("marketdata"), config.endpoint("marketdata_updates")
        with context(config) as made, MarketDataClient(*endpoints, context=made) as client:
            shown = client.book(symbol, depth)
    else:
        shown = depth_in_log(entries_of(config), symbol, depth, at)
    if output is Format.JSON:
        print_json(shown)
    else:
        sides = [("sell", level) for level in reversed(shown.sells)] + [("buy", level) for level in shown.buys]
        rows = [{"side": side, **msgspec.structs.asdict(level)} for side, level in sides]
        console.print(table(symbol, ("side", "price", "quantity", "orders"), rows))


def export_command(
    first: Annotated[int, typer.Option("--from", min=1, help="The first sequence number.")] = 1,
    last: Annotated[int, typer.Option("--to", min=0, help="The last one; 0: to the end.")] = 0,
    how: Annotated[export.ExportFormat, typer.Option("--format", help="parquet needs --out, and pyarrow.")] = (
        export.ExportFormat.JSONL
    ),
    out: Annotated[Path | None, typer.Option(help="Write there; by default, to standard output.")] = None,
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Print the events of a range of the log: every order's life, every trade, with names and decimal numbers."""
    if last and last < first:
        raise ConfigError(f"expected --to from {first:,} on, got {last:,}")
    if how is export.ExportFormat.PARQUET and out is None:
        raise ConfigError("--format parquet needs a file: add --out events.parquet")
    _check_writable(out)
    config = Config.load(data)
    with errors.status("reading the log") as shown:
        found = export.rows(entries_of(config), first, last, lambda at: shown.update(f"reading the log: {at:,}"))
        if out is None:
            export.write(found, how, sys.stdout)
            return
        if how is export.ExportFormat.PARQUET:
            count = export.write_parquet(found, out)
        else:
            with out.open("w", encoding="utf-8", newline="") as file:
                count = export.write(found, how, file)
    console.print(f"{count:,} events written to {out}", highlight=False, soft_wrap=True)


def certificate_command(
    hosts: Annotated[
        list[str] | None, typer.Option("--host", help="A name or an address of this machine. [localhost 127.0.0.1 ::1]")
    ] = None,
    days: Annotated[int, typer.Option(help="For how long it is good.")] = 365,
    force: Annotated[bool, typer.Option("--force", help="Replace the one that is there.")] = False,
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Make a certificate for development, which clients trust by its own file, and its private key."""
    from gateways import certificates  # noqa: PLC0415 - 100 ms, which no other command needs

    files = KeyPair(str(data / CERTIFICATE), str(data / PRIVATE_KEY))
    expires = certificates.make(files, hosts or LOOPBACK, days, force=force)
    console.print(
        f"{files.certificate} is good until {expires:%Y-%m-%d}; web and FIX use it with this in venue.toml:\n\n"
        f'[tls]\ncertificate = "{CERTIFICATE}"\nprivate_key = "{PRIVATE_KEY}"',
        highlight=False,
        soft_wrap=True,
    )


# --- trades -------------------------------------------------------------------------------------

TradeSequence = Annotated[
    int, typer.Argument(min=1, help="The trade's sequence number, as `sequencer trace` shows it.")
]
Why = Annotated[str, typer.Option(help="Why; it stands in the log for ever.")]
TRADE_COLUMNS = ("trade", "symbol", "buyer", "seller", "price", "quantity")


@trade_app.command("show", epilog="Example: sequencer trade show 1234 -o json")
def trade_show(sequence: TradeSequence, data: DataDir = DEFAULT_DATA, output: OutputFormat = Format.TABLE) -> None:
    """Show a trade as it is now: who bought, who sold, and what; a busted one is of no quantity."""
    row = trades.trade_at(entries_of(Config.load(data)), sequence).as_row()
    if output is Format.JSON:
        print_json(row)
    else:
        console.print(table("trade", TRADE_COLUMNS, [row]))


@trade_app.command("bust", epilog="Example: sequencer trade bust 1234 --reason 'ticket 20'")
@noted
def trade_bust(sequence: TradeSequence, reason: Why, data: DataDir = DEFAULT_DATA) -> None:
    """Have a trade count as none: credit gives back what it used, both sides are told; the books stay as they are."""
    _mend(data, sequence, None, None, reason)


@trade_app.command("correct", epilog="Example: sequencer trade correct 1234 --price 99.50 --reason 'ticket 20'")
@noted
def trade_correct(
    sequence: TradeSequence,
    reason: Why,
    price: Annotated[str | None, typer.Option(help="What it should have been traded at.")] = None,
    quantity: Annotated[str | None, typer.Option(help="How much should have been traded.")] = None,
    data: DataDir = DEFAULT_DATA,
) -> None:
    """Have a trade count as one at another price, or of another quantity; the books stay as they are."""
    if price is None and quantity is None:
        raise ConfigError("expected --price, --quantity or both: `trade bust` takes a trade back")
    _mend(data, sequence, price, quantity, reason)


def _mend(data: Path, sequence: int, price: str | None, quantity: str | None, reason: str) -> None:
    with console.status("mending the trade"):
        before, after = trades.correct(Config.load(data), sequence, price, quantity, reason)
    rows = [{"": "was", **before.as_row()}, {"": "is", **after.as_row()}]
    console.print(table("trade", ("", *TRADE_COLUMNS), rows))


# --- API keys -----------------------------------------------------------------------------------

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


# --- flows --------------------------------------------------------------------------------------


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
    _check_writable(events)
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


def _check_writable(events: Path | None) -> None:
    """Say before the flow, and not after it, that its events cannot be kept."""
    try:
        if events is not None:
            events.open("ab").close()
    except OSError as error:
        raise ConfigError(f"cannot write the events to {events}: {error.strerror}") from None


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
