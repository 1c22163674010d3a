"""What a process tells over HTTP, on a port of its own: /metrics, /healthz, /readyz.

    loop --tell, twice a second--> the latest report <--read-- a thread, one request at a time

Rules
- /healthz is 200 while the loop turns: it has told something within SILENT_S. /readyz is 200 while the process does
  what it is for as well: it is caught up, its state is live.
- Metrics have one prefix, base units, and no label whose values could grow without end. What a report holds beyond the
  table is left to `sequencer status`.
- It costs the loop a reference: text is made by the thread, when somebody asks.
"""

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from sequencer.config import listening_host
from sequencer.errors import IslandError

SILENT_S: Final = 5.0
REQUEST_S: Final = 5.0
READY: Final = "live"

_GAUGES: Final[dict[str, tuple[str, str, float]]] = {
    "position": ("position", "Sequence number of the last message that was handled.", 1),
    "lag": ("lag_messages", "Messages in the log that were not handled yet.", 1),
    "lag_ms": ("lag_seconds", "Age of the oldest message that was not handled yet.", 1e-3),
    "in_flight": ("commands_in_flight", "Commands of clients without an answer.", 1),
    "batches_in_flight": ("batches_in_flight", "Batches that were submitted and not seen in the log.", 1),
    "connections": ("connections", "Connections to this gateway.", 1),
    "sessions": ("sessions", "Sessions that are logged on.", 1),
    "term": ("term", "Term of the group, as this node knows it.", 1),
    "last_index": ("last_index", "Index of the last entry in this node's log.", 1),
    "durable_index": ("durable_index", "Index of the last entry that is durable on this node.", 1),
    "commit_index": ("commit_index", "Index of the last committed entry that this node knows.", 1),
    "contact_ms": ("contact_age_seconds", "Age of the last contact with a quorum, or with the leader.", 1e-3),
    "clock_offset_ns": ("clock_offset_seconds", "Sequenced time before this host's clock.", 1e-9),
    "room_bytes": ("journal_room_bytes", "Room on the disk for the journal.", 1),
    "segments": ("journal_segments", "Number of the segment that is written.", 1),
}
_COUNTERS: Final[dict[str, tuple[str, str]]] = {
    "outputs": ("outputs", "Batches that this replica's machine has made."),
    "confirmed": ("outputs_confirmed", "Of these, those in the log."),
    "marker": ("markers", "Places in the log at which the state was digested."),
    "snapshots": ("snapshots", "Snapshots that were brought to a node."),
    "switches": ("source_switches", "Changes of the node that is followed."),
    "clock_jumps": ("clock_jumps", "Jumps of the host's clock that were not followed."),
    "segments_archived": ("journal_segments_archived", "Segments that were compressed."),
    "segments_scrubbed": ("journal_segments_scrubbed", "Segments that were read again in the background."),
}
_LABELLED: Final[dict[str, tuple[str, str, type[GaugeMetricFamily | CounterMetricFamily]]]] = {
    "child_up": ("child_up", "1 if this process of venue.toml runs.", GaugeMetricFamily),
    "child_restarts": (
        "child_restarts",
        "How often this process of venue.toml was started again.",
        CounterMetricFamily,
    ),
}
"""Numbers by name: the names are those of venue.toml."""
PREFIX: Final = "sequencer_"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asks may hang up before all is read, as a health check does that has seen enough."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Exposition:
    """A process's port."""

    def __init__(self, address: str, name: str, role: str) -> None:
        """Listen on HOST:PORT. Raises IslandError where that cannot be."""
        self._told: tuple[float, str, Mapping[str, Any]] = (0.0, "", {})
        self._registry = CollectorRegistry()
        self._registry.register(_Reports(self, name, role))
        ProcessCollector(registry=self._registry)
        host, _, port = address.rpartition(":")
        try:
            self._server = _Server((listening_host(host), int(port)), self._handler())
        except OSError as error:
            raise IslandError(f"cannot listen on {address} (monitoring.{name}): {error.strerror}") from None
        threading.Thread(target=self._server.serve_forever, name="monitor", daemon=True).start()

    def tell(self, state: str, report: Mapping[str, Any]) -> None:
        """The loop turns, and is in this state."""
        self._told = (time.monotonic(), state, report)

    def close(self) -> None:
        """Listen no longer."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def report(self) -> tuple[str, Mapping[str, Any]]:
        """State and report as they were told last."""
        return self._told[1:]

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        at_s, state, _report = self._told
        is_alive = time.monotonic() - at_s < SILENT_S
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest(self._registry)
        if path == "/healthz":
            return _verdict(is_alive, "ok" if is_alive else "its loop does not turn")
        if path == "/readyz":
            is_ready = is_alive and state == READY
            return _verdict(is_ready, "ok" if is_ready else state or "it is only starting")
        return 404, "text/plain", b"expected /metrics, /healthz or /readyz\n"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answer = self.answer

        class Handler(BaseHTTPRequestHandler):
            timeout = REQUEST_S

            def do_GET(self) -> None:
                status, kind, body = answer(self.path.partition("?")[0])
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Scrapes are not worth a line each."""

        return Handler


class _Reports(Collector):
    """The latest report as metrics."""

    def __init__(self, told: Exposition, name: str, role: str) -> None:
        self._told = told
        self._info = {"name": name, "role": role}

    def collect(self) -> Iterator[Metric]:
        state, report = self._told.report
        yield InfoMetricFamily(f"{PREFIX}process", "Which process this is.", value=self._info)
        yield GaugeMetricFamily(f"{PREFIX}ready", "1 if it is caught up.", value=float(state == READY))
        if "leader" in report:
            leads = report.get("role") == "leader"
            yield GaugeMetricFamily(f"{PREFIX}leader", "1 if this node leads.", value=float(leads))
        for field, (gauge, text, factor) in _GAUGES.items():
            if _is_number(report.get(field)):
                yield GaugeMetricFamily(PREFIX + gauge, text, value=report[field] * factor)
        for field, (counter, text) in _COUNTERS.items():
            if _is_number(report.get(field)):
                yield CounterMetricFamily(PREFIX + counter, text, value=report[field])
        for field, (metric, text, family) in _LABELLED.items():
            if field in report:
                made = family(PREFIX + metric, text, labels=["name"])
                for name, value in report[field].items():
                    made.add_metric([name], value)
                yield made


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _verdict(is_well: bool, text: str) -> tuple[int, str, bytes]:
    return 200 if is_well else 503, "text/plain", f"{text}\n".encode()
