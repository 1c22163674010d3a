"""A new venue: which processes it has, and where they meet.

    node-1 (and its replayer)   matching-1 matching-2   credit-1 credit-2   order-1 marketdata-1

    create        all on one machine, as `sequencer up` runs it
    create_apart  each on a host of its own name: what all share, and what each host has for itself

On one machine what belongs to the venue talks over ipc sockets in its data directory, which are private to their
user; the gateways' doors are TCP ports on the loopback interface, and let in who has a key. Everything is in
`venue.toml` and `keys.toml`, which are written once and are the user's from then on.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateways.layout import CERTIFICATE, HOSTS, PRIVATE_KEY, Layout, apart, together, venue_text
from sequencer import deployment
from sequencer.config import FILE_NAME, TLS_DOORS, Config, KeyPair, config_path
from sequencer.errors import ConfigError, JournalError
from sequencer.issuing import issue_missing
from sequencer.keyring import DIRECTORY as SECRETS
from sequencer.keyring import issue, read_keys, secret_path
from sequencer.keys import Role
from sequencer.limits import Limits

NODE_COUNTS = (1, 3, 5)
NODES = 3
"""Of a new venue, if nothing else is asked for: one may fail, and nothing is lost or stands still."""
ATTACH: Final = "attach"
DEMO: Final = "flow"
"""Who has a key of a venue whose processes are apart, beside these: replicas that come later, and the demo flow."""
DEMO_LIMITS: Final = Limits(requests_per_s=200_000, bytes_per_s=64 << 20)
"""It sends for all clients at once."""
CERTIFICATE_DAYS: Final = 365


def create(data_dir: Path, nodes: int | None = None, layout: Callable[[], Layout] = together) -> Config:
    """The venue in `data_dir`, made with `nodes` nodes (three, if None) where there is none.

    Raises ConfigError: for a number of nodes that cannot be, or that the venue does not have.
    """
    path = config_path(data_dir)
    if not path.exists():
        _write(path, nodes, layout(), lambda _name: data_dir)
        (data_dir / "run").mkdir(parents=True, exist_ok=True, mode=0o700)
    config = Config.load(data_dir)
    if not config.keys_path.exists():
        issue_missing(config)
    return _of_size(config, path, nodes)


def create_apart(
    shared: Path, hosts: Path, nodes: int | None = None, names: tuple[str, ...] = ("localhost",)
) -> Config:
    """A venue whose processes run on hosts of their own. Raises ConfigError.

    SHARED gets venue.toml and keys.toml, HOSTS/NAME what the host NAME has for itself: its key, a node's directory,
    a certificate for `names`. What is there stays, so it can be done again.
    """
    path = shared / FILE_NAME
    if not path.exists():
        shared.mkdir(parents=True, exist_ok=True)
        _write(path, nodes, apart(), lambda name: hosts / name)
    config = Config.load(shared)
    issue_missing(config, lambda name: _key_of(hosts, name))
    _issue_others(config, hosts)
    _certify(hosts, names)
    return _of_size(config, path, nodes)


def _key_of(hosts: Path, name: str) -> Path:
    return secret_path(hosts / name / SECRETS, name)


def _issue_others(config: Config, hosts: Path) -> None:
    machines = ("matching", "credit")
    named = tuple(f"{machine}-*" for machine in machines)
    listed = read_keys(config.keys_path)
    if listed.named(ATTACH) is None:
        issue(config.keys_path, _key_of(hosts, ATTACH), ATTACH, Role.REPLICA, of=machines, processes=named)
    if listed.named(DEMO) is None:
        issue(config.keys_path, _key_of(hosts, DEMO), DEMO, Role.CLIENT, of=("*",), limits=DEMO_LIMITS)


def _certify(hosts: Path, names: tuple[str, ...]) -> None:
    """A certificate for development, for each door that strangers come to."""
    from gateways import certificates  # noqa: PLC0415 - a heavy library, for who makes one

    for door in TLS_DOORS:
        own = hosts / HOSTS[door]
        files = KeyPair(str(own / CERTIFICATE), str(own / PRIVATE_KEY))
        if not Path(files.certificate).exists():
            certificates.make(files, (HOSTS[door], *names), CERTIFICATE_DAYS)


def _of_size(config: Config, path: Path, nodes: int | None) -> Config:
    if nodes is not None and nodes != len(config.nodes):
        raise ConfigError(
            f"{path} has {len(config.nodes)} nodes, --nodes asks for {nodes}: leave --nodes out, or choose another "
            "--data directory"
        )
    return config


def _write(path: Path, nodes: int | None, layout: Layout, host_of: Callable[[str], Path]) -> None:
    """Make venue.toml, and the directories of its nodes, each with its identity."""
    count = NODES if nodes is None else nodes
    if count not in NODE_COUNTS:
        raise ConfigError(f"--nodes: expected {', '.join(map(str, NODE_COUNTS))}, got {nodes}")
    names = [f"node-{number}" for number in range(1, count + 1)]
    cluster = os.urandom(16)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        disks = {name: deployment.found(host_of(name), name, cluster) for name in names}
        temporary = path.with_suffix(".new")
        temporary.write_text(venue_text(layout, cluster, disks), encoding="utf-8")
        temporary.replace(path)
    except (OSError, JournalError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot write {path}: {reason}; choose a --data directory that you may write to") from None


def web_url(config: Config) -> str:
    """Where the web gateway is, as a browser takes it: https://HOST:PORT; nowhere, if the venue has none."""
    scheme = "https" if "web" in config.tls else "http"
    return config.endpoints.get("web", "nowhere").replace("tcp://", f"{scheme}://")


def wait(until: Callable[[], bool], patience_s: float) -> bool:
    """Whether something came true in time."""
    deadline_s = time.monotonic() + patience_s
    while not until():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return True
