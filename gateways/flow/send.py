"""Sends a flow file through the order gateway and waits until every line has its answer.

    lines --parse, convert--> OrderConnection --> venue
                                   |
    Summary <--counts, latency-----+           log --fold--> events of the flow, as JSON lines

Rules
- The commands enter the log in the order of the lines, whoever issues them and whatever restarts meanwhile.
- A line that is not valid, or whose symbol or grid is not, is not sent; it is reported with its number, and
  the rest goes on.
- What an operator does to instruments, accounts and clients is a barrier: all lines before it have their
  answers before it is sent, and it has its own before the next line is looked at.
- With a rate, commands are due at fixed times from the start (open loop), and latency counts from there: a
  venue that stalls is charged for what it kept waiting.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
import zmq
from hdrh.histogram import HdrHistogram

from engines import messages as m
from gateways import events as e
from gateways.flow import lines as f
from gateways.flow.translate import BARRIERS, accounts, translate
from gateways.names import Directory, TextError
from gateways.order.client import OrderConnection, OrderEntryError, RefusedError
from gateways.order.protocol import OPERATOR
from gateways.orders import Orders, runs
from sequencer.client import Context, Replay, Subscriber
from sequencer.config import Config
from sequencer.envelope import Entry
from sequencer.errors import UnreachableError

QUEUE_COMMANDS: Final = 512
"""Commands that wait in this process for room at the gateway, at most."""
PUMP_COMMANDS: Final = 128
FIRST_S: Final = 10.0
"""Who has never answered is given up sooner than who was there."""
FINE_NS: Final = 2_000_000
"""A poll waits whole milliseconds; what is left of a pause below this is slept, so as not to spin."""
PROGRESS_NS: Final = 100_000_000
ERRORS_KEPT: Final = 1000
LAST_ANSWERS_NS: Final = 2_000_000_000
"""How long an interrupted flow waits for the answers that are under way."""
LATENCY_US_MAX: Final = 3_600_000_000
UNTIMED, MARK = -1, -2
"""Instead of the time when a command was due: it is not one of the flow's; it stands behind the flow."""
NOBODY: Final = m.INT_MAX
"""An account that nobody has: a CancelAll of it cancels nothing, and is answered when all before it is."""


class Latency(msgspec.Struct, frozen=True):
    """From when a command was due (or handed over, without a rate) to its answer."""

    count: int = 0
    mean_us: int = 0
    p50_us: int = 0
    p90_us: int = 0
    p99_us: int = 0
    p999_us: int = 0
    max_us: int = 0


class Progress(msgspec.Struct, frozen=True):
    """How far the flow is."""

    lines: int
    submitted: int
    answered: int
    elapsed_s: float


class Summary(msgspec.Struct):
    """What became of a flow. It is complete if `unanswered` is 0 and `failure` is empty."""

    lines: int = 0
    submitted: int = 0
    answered: int = 0
    unanswered: int = 0
    invalid: int = 0
    """Lines that were not sent; `errors` tells of the first ERRORS_KEPT."""
    errors: list[f.LineError] = []
    counts: dict[str, int] = {}
    """Reports by type."""
    elapsed_s: float = 0.0
    commands_per_s: float = 0.0
    latency: Latency = Latency()
    interrupted: bool = False
    failure: str = ""
    start_sequence: int = 0
    """The flow's events come after this place in the log, and (unless it is 0) before the next."""
    end_sequence: int = 0
    client_ids: list[int] = []
    events: int = 0
    """Lines written to the events file."""


def send(
    config: Config,
    source: Iterable[str],
    *,
    rate_per_s: float | None = None,
    events: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    patience_s: float = 60.0,
    operator: str = OPERATOR,
) -> Summary:
    """Send the lines of `source`; `rate_per_s` None means as fast as the gateway takes them.

    Lines that no client issues are sent as `operator`.

    Ctrl-C ends the sending, not the accounting. With `events`, writes what the log says of the flow there,
    once it is over. Raises UnreachableError where no gateway answers at the start.
    """
    context = Context.of(config)
    try:
        with OrderConnection(config.endpoint("order"), context=context) as connection:
            flow = Flow(connection, rate_per_s=rate_per_s, progress=progress, patience_s=patience_s, operator=operator)
            summary = flow.run(source, settle=events is not None)
        if events is not None:
            with events.open("wb") as out:
                entries = _log_until(config, summary.end_sequence, patience_s, context)
                summary.events = write_events(entries, summary, out)
        return summary
    finally:
        context.destroy(linger=0)


def _log_until(
    config: Config, end_sequence: int, patience_s: float, context: "zmq.Context[zmq.Socket[bytes]]"
) -> Iterator[Entry]:
    """The log from its start to `end_sequence`, whichever node lags; where that is 0, to what a replayer has."""
    if not end_sequence:
        yield from Replay(config.sources, context=context)
        return
    subscriber = Subscriber(config.sources, context=context)
    position, deadline_s = 0, time.monotonic() + patience_s
    while position < end_sequence:
        entries = subscriber.wait(100)
        yield from entries
        if entries:
            position, deadline_s = entries[-1].next_sequence - 1, time.monotonic() + patience_s
        elif time.monotonic() > deadline_s:
            raise UnreachableError(f"the log could not be read beyond {position}: is the venue healthy?")


def write_events(entries: Iterable[Entry], summary: Summary, out: BinaryIO) -> int:
    """Fold the log from its start, and write the events of the flow's clients as JSON lines; return how many."""
    orders, names = Orders(), Directory()
    wanted = frozenset(summary.client_ids)
    end_sequence = summary.end_sequence or m.INT_MAX
    written = 0
    for entry in entries:
        for first_sequence, channel, messages in runs(entry):
            names.apply(channel, messages)
            for event in orders.apply(first_sequence, entry.time_ns, channel, messages):
                is_during = summary.start_sequence < e.sequence_of(event) < end_sequence
                if is_during and not wanted.isdisjoint(e.concerns(event)):
                    out.write(e.line(event, names))
                    written += 1
    return written


class Flow:
    """One run of a flow over a connection."""

    def __init__(
        self,
        connection: OrderConnection,
        *,
        rate_per_s: float | None = None,
        progress: Callable[[Progress], None] | None = None,
        patience_s: float = 60.0,
        operator: str = OPERATOR,
    ) -> None:
        self._connection = connection
        self._operator = operator
        self._session = connection.session
        self._interval_ns = int(1e9 / rate_per_s) if rate_per_s else 0
        self._progress = progress
        self._patience_ns = int(patience_s * 1e9)
        self._summary = Summary()
        self._latencies = Latencies()
        self._counts: Counter[type] = Counter()
        self._due_ns: dict[tuple[int, int], int] = {}
        self._unpumped = 0
        self._end_ns = 0
        self._start_ns = self._told_ns = self._moved_ns = time.monotonic_ns()

    def run(self, source: Iterable[str], *, settle: bool = False) -> Summary:
        """Send all lines and wait for all answers; with `settle`, also until the log has all that follows."""
        summary = self._summary
        try:
            for summary.lines, text in enumerate(source, 1):
                self._send_line(summary.lines, text)
            self._drain()
            self._end_ns = time.monotonic_ns()
            if settle and summary.submitted:
                self._settle()
        except KeyboardInterrupt:
            self._interrupted()
        except (OrderEntryError, UnreachableError) as error:
            if not summary.submitted:
                raise
            summary.failure = str(error)
        self._finish()
        return summary

    def _interrupted(self) -> None:
        """Take the answers that are under way; who asks again, or has waited long enough, gets what there is."""
        self._summary.interrupted = True
        self._patience_ns = min(self._patience_ns, LAST_ANSWERS_NS)
        try:
            self._drain()
        except (OrderEntryError, UnreachableError, KeyboardInterrupt) as error:
            self._summary.failure = str(error) or "interrupted twice"

    # --- lines ----------------------------------------------------------------------------------

    def _send_line(self, number: int, text: str) -> None:
        if not text.strip():
            return
        try:
            line = f.parse(text, number)
            self._send_command(line)
        except (TextError, RefusedError) as error:
            self._invalid(f.LineError(number, str(error)))
        except f.LineError as error:
            self._invalid(error)

    def _invalid(self, error: f.LineError) -> None:
        self._summary.invalid += 1
        if len(self._summary.errors) < ERRORS_KEPT:
            self._summary.errors.append(error)

    def _send_command(self, line: f.AnyLine) -> None:
        is_barrier = type(line) in BARRIERS
        if is_barrier:
            self._drain()
        issuer = line.issuer or self._operator
        self._log_on(issuer)
        if not isinstance(line, f.OrderLine):  # whose client is its issuer, and logged on
            for account in accounts(line):
                if account not in self._session.names.client_ids:
                    self._register(account)
        self._submit(issuer, translate(line, self._session.names))
        if is_barrier:
            self._drain()

    def _log_on(self, name: str) -> None:
        if name in self._session.accounts:
            return
        patience_s = self._patience_ns / 1e9
        self._connection.log_on([name], timeout_s=patience_s if self._session.accounts else min(patience_s, FIRST_S))
        if len(self._session.accounts) == 1:
            self._summary.start_sequence = self._session.position

    def _register(self, name: str) -> None:
        """Learn the id of a client that is acted upon; that takes no connection away from it."""
        self._log_on(self._operator)
        self._hand_over(self._operator, m.RegisterClient(0, 0, name), UNTIMED)
        self._drain()

    def _hand_over(self, issuer: str, command: m.Message, due_ns: int) -> None:
        number = self._connection.send(issuer, command)
        self._due_ns[self._session.accounts[issuer].client_id, number] = due_ns

    def _submit(self, issuer: str, command: m.Message) -> None:
        due_ns = self._wait_until_due() if self._interval_ns else time.monotonic_ns()
        self._hand_over(issuer, command, due_ns)
        self._summary.submitted += 1
        self._unpumped += 1
        if self._unpumped >= PUMP_COMMANDS:
            self._pump(0.0)
        while self._session.unsent >= QUEUE_COMMANDS:
            self._pump(0.05)

    def _wait_until_due(self) -> int:
        due_ns = self._start_ns + self._summary.submitted * self._interval_ns
        while (left_ns := due_ns - time.monotonic_ns()) > 0:
            self._pump(max(0, left_ns - FINE_NS) / 1e9)
            left_ns = due_ns - time.monotonic_ns()
            if 0 < left_ns < FINE_NS:
                time.sleep(left_ns / 1e9)
        return due_ns

    # --- answers --------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Wait until every command has its answer."""
        while self._due_ns:
            self._pump(0.05)

    def _pump(self, timeout_s: float) -> None:
        """Send what can be sent; take what has come, waiting for it a little."""
        self._unpumped = 0
        reports = self._connection.receive(timeout_s)
        now_ns = time.monotonic_ns()
        if reports or not self._due_ns:
            self._moved_ns = now_ns
        elif now_ns - self._moved_ns > self._patience_ns:
            raise UnreachableError(f"no answer came for {self._patience_ns / 1e9:g} s: is the venue healthy?")
        self._count(reports, now_ns)
        if self._progress is not None and now_ns - self._told_ns >= PROGRESS_NS:
            self._told_ns = now_ns
            self._tell(self._progress)

    def _count(self, reports: list[e.Event], now_ns: int) -> None:
        self._counts.update(map(type, reports))
        pop, record = self._due_ns.pop, self._latencies.record
        for report in reports:
            if report.number:
                due_ns = pop((report.client_id, report.number), UNTIMED)
                if due_ns >= 0:
                    record((now_ns - due_ns) // 1000)
                elif due_ns == MARK:
                    self._end(report)

    def _end(self, mark: e.Event) -> None:
        """The command that stands behind the flow is answered, and not one of its own."""
        self._summary.end_sequence = mark.sequence
        self._counts[type(mark)] -= 1

    def _tell(self, progress: Callable[[Progress], None]) -> None:
        summary = self._summary
        answered = summary.submitted - len(self._due_ns)
        progress(Progress(summary.lines, summary.submitted, answered, (self._told_ns - self._start_ns) / 1e9))

    # --- the end --------------------------------------------------------------------------------

    def _settle(self) -> None:
        """See one more command answered that stands behind everything in every queue of the venue."""
        self._log_on(self._operator)
        self._hand_over(self._operator, m.CancelAll(0, 0, NOBODY, 0), MARK)
        self._drain()

    def _finish(self) -> None:
        summary = self._summary
        summary.client_ids = [account.client_id for account in self._session.accounts.values()]
        summary.unanswered = sum(due_ns >= 0 for due_ns in self._due_ns.values())
        summary.answered = summary.submitted - summary.unanswered
        summary.counts = {kind.__name__: count for kind, count in self._counts.items() if count}
        summary.elapsed_s = ((self._end_ns or time.monotonic_ns()) - self._start_ns) / 1e9
        summary.commands_per_s = summary.answered / summary.elapsed_s
        summary.latency = self._latencies.summary()


class Latencies:
    """A histogram that costs a dictionary look-up a value: equal values are recorded together."""

    def __init__(self) -> None:
        self._histogram: Any = HdrHistogram(1, LATENCY_US_MAX, 3)
        self._counts: dict[int, int] = {}

    def record(self, latency_us: int) -> None:
        """Take note of one latency."""
        self._counts[latency_us] = self._counts.get(latency_us, 0) + 1
        if len(self._counts) > 1 << 16:
            self._pour()

    def summary(self) -> Latency:
        """The figures of all that was recorded."""
        self._pour()
        histogram = self._histogram
        at = histogram.get_value_at_percentile
        if not histogram.get_total_count():
            return Latency()
        return Latency(
            histogram.get_total_count(), int(histogram.get_mean_value()), at(50), at(90), at(99), at(99.9),
            histogram.get_max_value(),
        )  # fmt: skip

    def _pour(self) -> None:
        for latency_us, count in self._counts.items():
            self._histogram.record_value(min(max(latency_us, 1), LATENCY_US_MAX), count)
        self._counts.clear()
