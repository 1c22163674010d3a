"""The venue of compose.yaml, as tests start, ask and hurt it.

    Containers --docker compose--> containers <--tcp, with the admin's key-- Load, commands of this process

A process is killed by its pid on this host, as a crash would end
it: what `docker kill` ends stays ended.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from engines import operating
from sequencer import admin
from sequencer.config import FILE_NAME, Config
from tests.faults.nodes import Nodes
from tests.faults.small_disk import SmallDisk
from tests.models.running import PATIENCE_S, until

ROOT = Path(__file__).parents[2]
FILES = (ROOT / "compose.yaml", ROOT / "tests" / "compose" / "tests.yaml")
PROJECT = f"island-{os.getpid()}"
BUILD_S = 600.0
UP_S = 180.0
WELL_S = 240.0
"""After minutes of flow, 17 processes on two processors; each gateway reads the whole log when it starts."""


def docker(*words: str, timeout_s: float = PATIENCE_S, **options: Any) -> str:
    """What a docker command prints. Raises RuntimeError, with what it complained of."""
    done = subprocess.run(
        ["docker", *words], capture_output=True, text=True, timeout=timeout_s, check=False, cwd=ROOT, **options
    )
    if done.returncode:
        raise RuntimeError(f"docker {' '.join(words)}: {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def works() -> bool:
    """Whether there is a Docker engine, with compose."""
    if shutil.which("docker") is None:
        return False
    try:
        return bool(docker("info", "-f", "{{.ID}}") and docker("compose", "version"))
    except (RuntimeError, subprocess.TimeoutExpired):
        return False


def _pid(container: str) -> int:
    return int(docker("inspect", "-f", "{{.State.Pid}}", container))


class Containers(Nodes):
    """One venue; a context manager that leaves nothing of it behind."""

    def __init__(self, directory: Path, image: str) -> None:
        self.image = image
        super().__init__(directory / "histories")
        self._outside = directory / "outside"
        self.small_disk = SmallDisk(directory / "small")
        """That of the last node."""
        self._env = {
            **os.environ, "ISLAND_IMAGE": image, "RATE": "300", "SMALL_DISK": str(directory / "small"),
            "EVERY_S": "1", "SEED": "1",
        }  # fmt: skip

    def __enter__(self) -> Self:
        self.small_disk.__enter__()
        try:
            self.compose("up", "-d", "--no-build", timeout_s=UP_S)
            self.config = self.outside = self._config()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End all, and forget all."""
        try:
            self.compose("--profile", "*", "down", "-v", "--remove-orphans", "-t", "2", timeout_s=UP_S)
        finally:
            self.small_disk.__exit__()

    def compose(self, *words: str, timeout_s: float = PATIENCE_S) -> str:
        """What `docker compose` prints."""
        files = [word for path in FILES for word in ("-f", str(path))]
        return docker("compose", "-p", PROJECT, *files, *words, timeout_s=timeout_s, env=self._env)

    def command(self, *words: str) -> str:
        """What a command of the admin prints; it must exit with 0."""
        return self.compose("exec", "-T", "admin", "sequencer", *words)

    def json(self, *words: str) -> Any:
        """The same, as JSON."""
        return json.loads(self.command(*words, "-o", "json"))

    @property
    def follower(self) -> str:
        """One that does not lead."""
        leader = until(lambda: self.leader, "a leader")
        return next(name for name in self.names if name != leader)

    def await_well(self) -> None:
        """Wait until nothing is wrong, and every replica has told the same state at the same place."""
        try:
            until(lambda: not self.problems, "all is well", WELL_S)
        except TimeoutError as late:
            raise TimeoutError(f"{late}: {'; '.join(self.problems)}") from None
        until(self._agree, "all replicas tell their state", WELL_S)

    def _agree(self) -> bool:
        told: dict[str, set[str]] = {}
        for row in operating.fresh_digests(self.outside):
            told.setdefault(row["shard"], set()).add(row["digest"])
        assert all(len(digests - {""}) == 1 for digests in told.values()), told
        return not any("" in digests for digests in told.values())

    @property
    def problems(self) -> list[str]:
        """What `sequencer health` says, as it is seen from here."""
        return admin.problems(admin.status(self.outside), self.outside)

    def _config(self) -> Config:
        """The venue by its addresses, with the admin's key."""
        secrets = self._outside / "keys"
        secrets.mkdir(parents=True, mode=0o700)
        self.compose("cp", "admin:/config/.", str(self._outside))
        self.compose("cp", "admin:/data/keys/admin.key", str(secrets))
        text = (self._outside / FILE_NAME).read_text()
        addresses = dict(re.findall(r"(?m)^  ([\w-]+):\n    networks: .*?ipv4_address: ([\d.]+)", FILES[1].read_text()))
        (self._outside / FILE_NAME).write_text(
            re.sub(r"tcp://([\w-]+):", lambda at: f"tcp://{addresses.get(at[1], at[1])}:", text)
        )
        return Config.load(self._outside)

    def rows(self, name: str) -> list[admin.Row]:
        """What is told of a replica or gateway."""
        found = admin.status(self.outside)
        return [row for row in found.replicas + found.gateways if row["name"] == name]

    def renew(self, service: str, image: str) -> None:
        """Have a service run another image."""
        self._env["ISLAND_IMAGE"] = image
        self.compose("up", "-d", "--no-build", "--no-deps", service)
        self._env["ISLAND_IMAGE"] = self.image

    def watch(self, image: str) -> str:
        """Start the Prometheus of the profile `monitoring`, of this image; where it listens."""
        self._env["PROMETHEUS_IMAGE"] = image
        self.compose("--profile", "monitoring", "up", "-d", "--no-build", "prometheus")
        return self.compose("port", "prometheus", "9090").strip()

    # --- harm ---------------------------------------------------------------------------------------

    def container(self, service: str) -> str:
        """The id of a service's container."""
        labels = {"project": PROJECT, "service": service, "oneoff": "False"}
        words = [word for key, value in labels.items() for word in ("-f", f"label=com.docker.compose.{key}={value}")]
        return docker("ps", "-aq", "--no-trunc", *words).split()[0]

    def pid(self, service: str) -> int:
        """Of its process, as this host sees it; 0 while it does not run."""
        return _pid(self.container(service))

    def kill(self, *services: str) -> None:
        """All at one moment: from then on none of them does anything. Docker starts them again, and sees one end after
        the other: version 20.10 can stand still for ever where many end at once (moby/moby#46661)."""
        found = {service: self.container(service) for service in services}
        pids = {container: _pid(container) for container in found.values()}
        assert all(pids.values()), f"of {pids} some do not run"
        for pid in pids.values():
            os.kill(pid, signal.SIGSTOP)
        for service, container in found.items():
            os.kill(pids[container], signal.SIGKILL)
            until(
                lambda container=container: _pid(container) not in (0, pids[container]), f"{service} is started again"
            )

    @contextmanager
    def paused(self, service: str) -> Iterator[None]:
        """All of its processes stand still."""
        until(lambda: self._is_paused(service), f"{service} stands still")
        try:
            yield
        finally:
            docker("unpause", self.container(service))

    def _is_paused(self, service: str) -> bool:
        """On a busy host the kernel does not always manage to freeze a container at once."""
        try:
            docker("pause", self.container(service))
        except RuntimeError as error:
            if "unable to freeze" not in str(error):
                raise
            return False
        return True

    @contextmanager
    def disconnected(self, service: str, network: str) -> Iterator[None]:
        """It has no cable to a network."""
        name, container = f"{PROJECT}_{network}", self.container(service)
        joined = json.loads(docker("inspect", container))[0]["NetworkSettings"]["Networks"][name]
        address = (joined.get("IPAMConfig") or {}).get("IPv4Address", "")
        docker("network", "disconnect", name, container)
        try:
            yield
        finally:
            aliases = [word for alias in joined["Aliases"] for word in ("--alias", alias)]
            docker("network", "connect", *(("--ip", address) if address else ()), *aliases, name, container)

    @contextmanager
    def muted(self, service: str) -> Iterator[None]:
        """What it says to other nodes reaches nobody; it hears them."""
        rule = ["OUTPUT", "-p", "tcp", "--dport", "7004", "-j", "DROP"]
        inside = ["nsenter", "-t", str(self.pid(service)), "-n", "iptables", "-w"]
        subprocess.run([*inside, "-A", *rule], check=True)
        try:
            yield
        finally:
            subprocess.run([*inside, "-D", *rule], check=True)
