"""The venue of compose.yaml under fire, with real orders: judged by a checker that shares no code with it."""

import asyncio
import json
import os
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from examples.web_client import WebClient
from tests.compose.containers import BUILD_S, PROJECT, ROOT, WELL_S, Containers, docker, works
from tests.faults.load import HEAVY_BYTES, LIGHT_BYTES, Load
from tests.models.prometheus import NO_PROGRAM, PROGRAM, Prometheus
from tests.models.running import until

pytestmark = [
    pytest.mark.skipif(not works(), reason="needs a Docker engine with compose"),
    pytest.mark.timeout(4 * WELL_S),
]

ENGINES = ("matching-1", "credit-1")
GATEWAYS = ("order-1", "marketdata-1", "fix-1", "web-1")

PROFILES = ("demo", "monitoring", "chaos")
FAULTS = 4
RESTARTS = "increase(sequencer_child_restarts_total[15m])"
"""Where Docker starts processes again, no supervisor tells of it."""


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    name = f"{PROJECT}:one"
    docker("build", "-q", "-t", name, str(ROOT), timeout_s=BUILD_S)
    yield name
    docker("image", "rm", "-f", name)


@pytest.fixture(scope="module")
def stage(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Containers, Load]]:
    """One venue for all acts; the demo flow trades, and beside it a load whose every batch is accounted for."""
    with Containers(tmp_path_factory.mktemp("compose"), image) as venue:
        venue.compose("--profile", "demo", "up", "-d", "--no-build", "flow")
        with Load(venue) as load:
            yield venue, load


def test_the_venue_is_well_and_trades(stage: tuple[Containers, Load]):
    """All is healthy by itself, and the flow makes trades."""
    venue, load = stage
    venue.await_well()
    until(lambda: venue.rows("marketdata-1")[0].get("instruments"), "the flow has begun")
    until(lambda: venue.json("book", "BTC-USD")["buys"], "a book")

    assert load.judge() == []


def kill_leader(venue: Containers, load: Load) -> None:
    """Another leads, or it does again: Docker starts it at once."""
    venue.kill(until(lambda: venue.leader, "a leader"))
    load.await_progress()


def pause_leader(venue: Containers, load: Load) -> None:
    """Its host stands still; another leads."""
    leader = until(lambda: venue.leader, "a leader")
    with venue.paused(leader):
        load.until(lambda: venue.leader not in ("", leader), "another leads")
        load.await_progress()


def disconnect_leader(venue: Containers, load: Load) -> None:
    """It hears no other node; another leads."""
    leader = until(lambda: venue.leader, "a leader")
    with venue.disconnected(leader, "replication"):
        load.until(lambda: venue.leader not in ("", leader), "another leads")
        load.await_progress()


def mute_leader(venue: Containers, load: Load) -> None:
    """One direction is cut: it hears the others, and they do not hear it."""
    leader = until(lambda: venue.leader, "a leader")
    with venue.muted(leader):
        load.until(lambda: venue.leader not in ("", leader), "another leads")
        load.await_progress()


def disconnect_follower(venue: Containers, load: Load) -> None:
    """It is reached by nobody; nobody needs it."""
    follower = venue.follower
    with venue.disconnected(follower, "replication"), venue.disconnected(follower, "stream"):
        load.await_progress(50)


def fill_a_node(venue: Containers, load: Load) -> None:
    """Its disk is full: it says so, the others go on, and it goes on by itself when there is room."""
    venue.small_disk.fill()
    load.payload_bytes = HEAVY_BYTES
    try:
        load.until(lambda: any("node-3 is full" in one for one in venue.problems), "node-3 is full")
        load.await_progress()
    finally:
        load.payload_bytes = LIGHT_BYTES
        venue.small_disk.free()


def kill_engines(venue: Containers, load: Load) -> None:
    """One replica of each machine at once: the other one speaks on."""
    before = max(row["position"] for row in venue.rows("matching-2"))
    venue.kill(*ENGINES)
    load.until(lambda: max(row["position"] for row in venue.rows("matching-2")) > before, "matching goes on")


def pause_and_disconnect_engines(venue: Containers, load: Load) -> None:
    """One stands still, another has no network."""
    with venue.paused("matching-2"), venue.disconnected("credit-2", "stream"):
        load.await_progress(100)


def kill_gateways(venue: Containers, load: Load) -> None:
    """All doors at once."""
    venue.kill(*GATEWAYS)
    load.await_progress()


def kill_everything(venue: Containers, load: Load) -> None:
    """As a power failure would."""
    nodes = venue.names
    venue.kill(*nodes, *(f"{name}-replayer" for name in nodes), *ENGINES, "matching-2", "credit-2", *GATEWAYS)
    load.await_progress()


def roll_out(venue: Containers, load: Load) -> None:
    """A new image, host by host; the next is not touched before the last is well."""
    image = f"{PROJECT}:two"
    docker("build", "-q", "-t", image, "-", input=f"FROM {venue.image}\nLABEL version=two\n")
    for service in ("matching-1", "order-1", "node-1", "node-2", "node-3"):
        venue.renew(service, image)
        load.await_progress()
        until(lambda: not venue.problems, f"{service} is well again")
    docker("image", "rm", "-f", image)


def attach_and_detach(venue: Containers, load: Load) -> None:
    """One more replica under its container's name, while it trades; then it leaves."""
    container = venue.compose("run", "-d", "--no-deps", "attach", "matching").split()[-1]
    name = f"matching-{container[:12]}"
    load.until(lambda: [row for row in venue.rows(name) if row["state"] == "live"], f"{name} is live")
    venue.command("detach", name)
    load.until(lambda: not venue.rows(name), f"{name} is gone")


def inject_faults(venue: Containers, load: Load) -> None:
    """What the profile `chaos` does, one container after the other; when it is stopped all are whole."""
    venue.compose("--profile", "chaos", "up", "-d", "--no-build", "chaos")

    def is_enough() -> bool:
        return venue.compose("logs", "chaos").count(" for ") >= FAULTS or not venue.pid("chaos")

    until(lambda: load.errors or is_enough(), "some were hurt", 3 * WELL_S)
    venue.compose("stop", "chaos")

    assert "error" not in venue.compose("logs", "chaos")
    assert int(docker("inspect", "-f", "{{.State.ExitCode}}", venue.container("chaos"))) == 0


ACTS = (kill_leader, mute_leader, kill_engines, kill_everything)
"""What each run of the tests does."""
MORE_ACTS = (
    pause_leader, disconnect_leader, disconnect_follower, fill_a_node, pause_and_disconnect_engines, kill_gateways,
    attach_and_detach, inject_faults, roll_out,
)  # fmt: skip
"""What `make test-compose` does as well: some minutes more."""
if "ISLAND_COMPOSE" in os.environ:
    ACTS = (*MORE_ACTS, *ACTS)


@pytest.mark.parametrize("act", ACTS, ids=[act.__name__ for act in ACTS])
def test_every_promise_holds_through(act, stage: tuple[Containers, Load]):
    """Nothing is lost, doubled or reordered; all are well again by themselves, and replicas have the same state."""
    venue, load = stage
    act(venue, load)
    load.await_observers()
    venue.await_well()

    assert load.judge() == []


@pytest.mark.skipif("ISLAND_COMPOSE" not in os.environ, reason="a part of `make test-compose`")
def test_an_operator_acts_by_the_web(stage: tuple[Containers, Load], tmp_path: Path):
    """Over TLS, by the key of the gateway, which has an operator's rights; the log says who and why."""
    venue, _load = stage
    issued = venue.compose("exec", "-T", "web-1", "sequencer", "api-key", "issue", "operator.kim", "-o", "json")
    venue.compose("cp", "web-1:/data/tls/certificate.pem", str(tmp_path))
    url = f"https://{venue.compose('port', 'web-1', '8443').strip()}"
    made = json.loads(issued)

    async def act() -> dict[str, Any]:
        context = ssl.create_default_context(cafile=tmp_path / "certificate.pem")
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            client = WebClient(session, url, made["key"], made["secret"])
            asked = {"machine": "credit", "reason": "ticket 21"}
            return await client.ask("POST", "/v1/venue/snapshot", json.dumps(asked).encode())

    assert asyncio.run(act())
    told = [row for row in venue.json("actions") if row["reason"] == "ticket 21"]
    assert [(row["operator"], row["key"]) for row in told] == [("operator.kim", "web-1")]


@pytest.mark.skipif("ISLAND_COMPOSE" not in os.environ, reason="a part of `make test-compose`")
@pytest.mark.skipif(PROGRAM is None, reason=NO_PROGRAM)
def test_prometheus_watches_every_host(stage: tuple[Containers, Load], image: str, tmp_path: Path):
    """Under the profile `monitoring`; of an image that is made of the program of this host."""
    assert PROGRAM is not None
    venue, _load = stage
    shutil.copy(PROGRAM, tmp_path / "prometheus")
    (tmp_path / "Dockerfile").write_text(f'FROM {image}\nCOPY prometheus /bin/\nENTRYPOINT ["/bin/prometheus"]\n')
    docker("build", "-q", "-t", f"{PROJECT}:prometheus", str(tmp_path), timeout_s=BUILD_S)
    prometheus = Prometheus(venue.watch(f"{PROJECT}:prometheus"))
    all_up = dict.fromkeys(venue.outside.monitoring, "up")
    until(lambda: prometheus.health() == all_up, "it has heard every process")
    until(lambda: not prometheus.empty_panels(RESTARTS), "every panel shows something")


@pytest.mark.parametrize(
    "more", ["--profile=demo", "--profile=monitoring", "--profile=chaos", "-f=deploy/compose.five.yaml"]
)
def test_the_files_are_valid(more: str):
    """With every profile, and with the second file."""
    docker("compose", "-f", "compose.yaml", *more.replace("-f=", "-f ").split(), "config", "-q")


def test_no_secret_is_in_the_image(image: str):
    """What is built holds no key, and nothing of this tree but the program."""
    asked = ["find", "/", "-xdev", "-name", "*.key", "-o", "-name", ".git"]
    found = docker("run", "--rm", "--user", "0", "--entrypoint", asked[0], image, *asked[1:])

    assert [path for path in found.split() if not path.startswith(("/usr/share", "/etc/ssl"))] == []


def test_a_container_can_do_little(stage: tuple[Containers, Load]):
    """It is not root, cannot write to its own program, and has no capability."""
    venue, _load = stage
    said = venue.compose(
        "exec", "-T", "order-1", "bash", "-c", "id -u; grep CapEff /proc/self/status; touch /opt/x || echo no"
    )

    assert said.split() == ["10001", "CapEff:", "0000000000000000", "no"]
    with pytest.raises(RuntimeError, match="Read-only"):
        venue.compose("exec", "-T", "order-1", "bash", "-c", "echo > /config/keys.toml")
