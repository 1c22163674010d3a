"""What a process tells over HTTP: alive, ready, and numbers that Prometheus takes."""

import json
import re
import shutil
import socket
import struct
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from sequencer import exposition, generating
from sequencer.config import Config
from sequencer.errors import ConfigError, IslandError
from sequencer.exposition import Exposition
from sequencer.monitor import open_monitor
from tests.models.prometheus import NO_PROGRAM, PROGRAM, Prometheus
from tests.models.running import Running, make, until

REPORT = {"position": 7, "lag": 2, "lag_ms": 1500, "outputs": 3, "role": "leader", "leader": "n", "clients": {"x": 1}}


@pytest.fixture
def told(unused_port: int) -> Iterator[Exposition]:
    made = Exposition(f"127.0.0.1:{unused_port}", "n", "node")
    yield made
    made.close()


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def test_alive_and_ready(told: Exposition, monkeypatch: pytest.MonkeyPatch):
    """Alive while its loop tells something, ready while that is that it is live."""
    assert [told.answer(path)[0] for path in ("/healthz", "/readyz")] == [503, 503]
    told.tell("catching-up", REPORT)
    assert [told.answer(path)[0] for path in ("/healthz", "/readyz")] == [200, 503]
    told.tell("live", REPORT)
    assert [told.answer(path)[0] for path in ("/healthz", "/readyz")] == [200, 200]
    monkeypatch.setattr(exposition, "SILENT_S", 0.0)
    assert [told.answer(path)[0] for path in ("/healthz", "/readyz")] == [503, 503]
    assert told.answer("/else")[0] == 404


def test_who_hangs_up_early_leaves_no_trace(told: Exposition, unused_port: int, capfd: pytest.CaptureFixture[str]):
    """A health check needs the first line alone."""
    threads = threading.active_count()
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", unused_port)) as caller:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            caller.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    assert get(f"127.0.0.1:{unused_port}", "/healthz")[0] == 503, "it was asked, and serves on"
    until(lambda: threading.active_count() == threads, "all were served")
    assert capfd.readouterr().err == ""


def test_numbers_are_told_in_base_units(told: Exposition, unused_port: int):
    """Under one prefix; what is no number, or not in the table, is left out."""
    told.tell("live", REPORT)
    status, text = get(f"127.0.0.1:{unused_port}", "/metrics")
    found = dict(re.findall(r"(?m)^(sequencer_\S+) (\S+)$", text))
    assert status == 200
    assert found == {
        'sequencer_process_info{name="n",role="node"}': "1.0",
        "sequencer_ready": "1.0",
        "sequencer_leader": "1.0",
        "sequencer_position": "7.0",
        "sequencer_lag_messages": "2.0",
        "sequencer_lag_seconds": "1.5",
        "sequencer_outputs_total": "3.0",
    }


def test_a_port_that_is_taken_is_named(told: Exposition, unused_port: int):
    """With the key of venue.toml; and nothing is opened where no port is named."""
    with pytest.raises(IslandError, match=r"\(monitoring.other\)"):
        open_monitor(f"127.0.0.1:{unused_port}", "other", "node")
    assert open_monitor("", "other", "node") is None


def test_an_address_that_is_none_is_refused(tmp_path: Path):
    """When venue.toml is read."""
    text = (make(tmp_path / "v").data_dir / "venue.toml").read_text()
    with pytest.raises(ConfigError, match=r"monitoring\.a: expected HOST:PORT"):
        Config.parse(text + '\n[monitoring]\na = "127.0.0.1"\n', tmp_path)


def test_a_slow_reader_does_not_keep_others_out(told: Exposition, unused_port: int):
    """One that connects and says nothing."""
    told.tell("live", REPORT)
    with socket.create_connection(("127.0.0.1", unused_port)):
        assert get(f"127.0.0.1:{unused_port}", "/healthz")[0] == 200


def test_the_dashboard_asks_for_what_is_told():
    """Each metric in its queries is one that a process tells."""
    told = {f"sequencer_{name}" for name, _text, _factor in exposition._GAUGES.values()}
    told |= {f"sequencer_{name}_total" for name, _text in exposition._COUNTERS.values()}
    told |= {f"sequencer_{name}_total" for name, _text, _family in exposition._LABELLED.values()}
    told |= {"sequencer_ready", "sequencer_leader", "process_cpu_seconds_total", "process_resident_memory_bytes"}
    queries = [target["expr"] for panel in json.loads(generating.grafana())["panels"] for target in panel["targets"]]
    asked = {name for query in queries for name in re.findall(r"(?:sequencer|process)_\w+", query)}
    assert asked <= told
    with pytest.raises(ConfigError, match="names no port"):
        generating.prometheus({})


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    config = make(tmp_path_factory.mktemp("watched") / "v", doors=("fix-1", "web-1"), monitored=True)
    with Running(config).start() as venue:
        yield venue


@pytest.fixture(scope="module")
def scraping(watched: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Prometheus is to be started with."""
    path = tmp_path_factory.mktemp("prometheus") / "prometheus.yml"
    path.write_text(watched.run("generate", "prometheus").stdout)
    return path


def test_every_process_of_a_venue_is_alive_and_ready(watched: Running, scraping: Path):
    """Each at its own port, in a form that promtool takes, where there is one."""
    addresses, made = watched.config.monitoring, scraping.read_text()
    assert set(addresses) == set(watched.pids)
    for name, address in addresses.items():
        until(lambda address=address: get(address, "/readyz") == (200, "ok\n"), f"{name} is ready")
        assert get(address, "/healthz") == (200, "ok\n")
        _check("metrics", get(address, "/metrics")[1])
    metrics = get(addresses["supervisor"], "/metrics")[1]
    children = set(watched.pids) - {"supervisor"}
    assert set(re.findall(r'(?m)^sequencer_child_up\{name="(.*)"\} 1\.0$', metrics)) == children
    assert set(re.findall(r'(?m)^sequencer_child_restarts_total\{name="(.*)"\} 0\.0$', metrics)) == children
    assert all(f'"{address}"' in made and f'"{name}"' in made for name, address in addresses.items())
    _check("config", "", str(scraping))


@pytest.mark.skipif(PROGRAM is None, reason=NO_PROGRAM)
def test_prometheus_finds_every_process_and_fills_every_panel(watched: Running, scraping: Path, unused_port: int):
    """A real one, with the configuration that is generated; and the queries of the dashboard."""
    assert PROGRAM is not None
    prometheus = Prometheus(f"127.0.0.1:{unused_port}")
    words = [f"--config.file={scraping}", f"--storage.tsdb.path={scraping.parent}"]
    with subprocess.Popen(
        [PROGRAM, *words, f"--web.listen-address=127.0.0.1:{unused_port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            all_up = dict.fromkeys(watched.config.monitoring, "up")
            until(lambda: prometheus.health() == all_up, "it has heard every process")
            until(lambda: not prometheus.empty_panels(), "every panel shows something")
        finally:
            process.terminate()


def _check(what: str, text: str, *words: str) -> None:
    if shutil.which("promtool"):
        done = subprocess.run(
            ["promtool", "check", what, *words], input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done
