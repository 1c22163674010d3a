"""What other tools need to watch a venue: a scrape configuration for Prometheus, a dashboard for Grafana.

Both are printed, to be put where they belong. Each process has its name as the label `instance`.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sequencer.errors import ConfigError

JOB: Final = "sequencer"
SCRAPE_S: Final = 5
_WIDTH, _HEIGHT = 12, 8

PANELS: Final[tuple[tuple[str, str, str, str], ...]] = (
    ("Messages a second", "rate(sequencer_position[1m])", "{{instance}}", "short"),
    ("Behind the log", "sequencer_lag_messages", "{{instance}}", "short"),
    ("Ready", "sequencer_ready", "{{instance}}", "short"),
    ("Leads", "sequencer_leader", "{{instance}}", "short"),
    ("Contact with a quorum", "sequencer_contact_age_seconds", "{{instance}}", "s"),
    ("Commands in flight", "sequencer_commands_in_flight", "{{instance}}", "short"),
    (
        "Outputs that wait for the log",
        "sequencer_outputs_total - sequencer_outputs_confirmed_total",
        "{{instance}}",
        "short",
    ),
    ("Room for the journal", "sequencer_journal_room_bytes", "{{instance}}", "bytes"),
    ("CPU", "rate(process_cpu_seconds_total[1m])", "{{instance}}", "percentunit"),
    ("Restarts", "increase(sequencer_child_restarts_total[15m])", "{{name}}", "short"),
    ("Memory", "process_resident_memory_bytes", "{{instance}}", "bytes"),
)
"""Title, query, legend, unit."""


def prometheus(monitoring: Mapping[str, str]) -> str:
    """A scrape configuration, YAML. Raises ConfigError where no process has a port."""
    if not monitoring:
        raise ConfigError(
            'venue.toml names no port to scrape: add [monitoring] with lines such as node-1 = "127.0.0.1:21001"'
        )
    lines = ["scrape_configs:", f"  - job_name: {JOB}", f"    scrape_interval: {SCRAPE_S}s", "    static_configs:"]
    for name, address in monitoring.items():
        lines += [f'      - targets: ["{address}"]', f'        labels: {{instance: "{name}"}}']
    return "\n".join(lines) + "\n"


def grafana() -> str:
    """A dashboard, JSON, with Prometheus as its data source."""
    panels = [_panel(number, *panel) for number, panel in enumerate(PANELS)]
    source = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    board = {
        "title": "The island",
        "uid": "sequencer-island",
        "schemaVersion": 39,
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "templating": {"list": [source]},
        "panels": panels,
    }
    return msgspec.json.format(msgspec.json.encode(board), indent=2).decode() + "\n"


def _panel(number: int, title: str, query: str, legend: str, unit: str) -> dict[str, Any]:
    row, column = divmod(number, 2)
    return {
        "id": number + 1,
        "title": title,
        "type": "timeseries",
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [{"refId": "A", "expr": query, "legendFormat": legend}],
    }
