"""The fault injector of compose.yaml (profile `chaos`): kills, pauses and disconnects, one container at a time.

    every EVERY_S: a victim, an act --Docker's API--> it is hurt --> mended --> healthy again? --> the next

Rules
- One at a time, and the next only when all are healthy: so the venue has to go on, whatever is done to it.
- What it has hurt it mends, also when it is stopped meanwhile.
- What Docker refuses (a busy kernel does not always freeze a container) is told, and another act follows.
- It has the socket of Docker, and with that is root of this host: for a venue to be tried, not for one that is used.

One line for each act on standard output. PROJECT is compose's; the same SEED hurts in the same order.
"""

import http.client
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlencode

SOCKET = "/var/run/docker.sock"
VICTIMS = ("node-", "credit-", "matching-", "order-", "fix-", "web-", "marketdata-")
HURT_S = (0.5, 8.0)
"""How long one is paused or cut off."""
HEALTHY_S = 120.0
TIMEOUT_S = 30.0
Container = dict[str, Any]


class Connection(http.client.HTTPConnection):
    """To a socket in the file system, in place of a host."""

    def connect(self) -> None:
        """By its path."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


class RefusedError(Exception):
    """Docker will not do what it is asked."""


class Docker:
    """Docker's API (docs.docker.com/engine/api): one connection a question, so that none is left in its middle."""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What it answers. Raises RefusedError where it will not, OSError where it is not there."""
        with closing(Connection("localhost", timeout=TIMEOUT_S)) as connection:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        if answer.status >= http.client.BAD_REQUEST:
            raise RefusedError(f"Docker refuses {method} {path}: {answer.status} {text.strip()}")
        return json.loads(text) if text.strip() else None

    def containers(self, project: str) -> list[Container]:
        """Those of a project that may be hurt, by the names of their services."""
        filters = json.dumps({"label": [f"com.docker.compose.project={project}"]})
        found = self.ask("GET", f"/containers/json?{urlencode({'all': '1', 'filters': filters})}")
        victims = [one for one in found if service(one).startswith(VICTIMS)]
        return sorted(victims, key=service)

    def inspect(self, container: Container) -> Container:
        """All that is known of one."""
        found: Container = self.ask("GET", f"/containers/{container['Id']}/json")
        return found

    def do(self, container: Container, what: str) -> None:
        """Start, kill, pause or unpause it."""
        self.ask("POST", f"/containers/{container['Id']}/{what}")


def service(container: Container) -> str:
    """Its name in compose.yaml."""
    return str(container["Labels"].get("com.docker.compose.service", ""))


@contextmanager
def killed(docker: Docker, victim: Container, _chance: random.Random) -> Iterator[str]:
    """SIGKILL. Docker does not start again what was killed through it, so that is done here."""
    docker.do(victim, "kill?signal=SIGKILL")
    try:
        yield "killed"
    finally:
        docker.do(victim, "start")


@contextmanager
def paused(docker: Docker, victim: Container, _chance: random.Random) -> Iterator[str]:
    """All of its processes stand still."""
    docker.do(victim, "pause")
    try:
        yield "paused"
    finally:
        docker.do(victim, "unpause")


@contextmanager
def disconnected(docker: Docker, victim: Container, chance: random.Random) -> Iterator[str]:
    """It has no cable to one of its networks."""
    networks = docker.inspect(victim)["NetworkSettings"]["Networks"]
    name = chance.choice(sorted(networks))
    docker.ask("POST", f"/networks/{name}/disconnect", {"Container": victim["Id"], "Force": True})
    try:
        yield f"disconnected from {name}"
    finally:
        found = {key: networks[name].get(key) for key in ("Aliases", "IPAMConfig")}
        docker.ask("POST", f"/networks/{name}/connect", {"Container": victim["Id"], "EndpointConfig": found})


ACTS = (killed, paused, disconnected)


def is_well(docker: Docker, project: str) -> bool:
    """Whether all run, and those are healthy that say so."""
    states = [docker.inspect(one)["State"] for one in docker.containers(project)]
    return all(state["Running"] and state.get("Health", {}).get("Status", "healthy") == "healthy" for state in states)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for it. Raises TimeoutError."""
    deadline_s = time.monotonic() + HEALTHY_S
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what}: not within {HEALTHY_S:g} s")
        time.sleep(0.5)


def main() -> int:
    """Hurt until stopped; exit with 1 when the venue does not recover."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    project, every_s = os.environ["PROJECT"], float(os.environ.get("EVERY_S", "20"))
    seed = os.environ.get("SEED") or str(time.time_ns())
    chance, docker = random.Random(seed), Docker()
    print(f"SEED={seed}: one of {len(docker.containers(project))} containers each {every_s:g} s", flush=True)
    try:
        while True:
            until(lambda: is_well(docker, project), "all are healthy")
            time.sleep(every_s)
            victim, act, hurt_s = (
                chance.choice(docker.containers(project)),
                chance.choice(ACTS),
                chance.uniform(*HURT_S),
            )
            try:
                with act(docker, victim, chance) as what:
                    print(f"{service(victim)} {what} for {hurt_s:.1f} s", flush=True)
                    time.sleep(hurt_s)
            except RefusedError as why:
                print(f"{service(victim)} not {act.__name__}: {why}", flush=True)
    except KeyboardInterrupt:
        return 0
    except (RefusedError, TimeoutError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
