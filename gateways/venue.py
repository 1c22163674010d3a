"""The venue that `sequencer up` makes and runs: which processes it has, and where they meet.

    node-1 (and its replayer)   matching-1 matching-2   credit-1 credit-2   order-1 marketdata-1

What belongs to the venue talks over ipc sockets in its data directory, which are private to their
user; the gateways' doors are TCP ports on the loopback interface, and let in who has a key. Everything is in
`venue.toml` and `keys.toml`, which are written once and are the user's from then on.
"""

import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sequencer import deployment
from sequencer.config import Config, config_path
from sequencer.errors import ConfigError, JournalError
from sequencer.issuing import issue_missing
from sequencer.supervisor import NAME as SUPERVISOR

NODE_COUNTS = (1, 3, 5)
NODES = 3
"""Of a new venue, if nothing else is asked for: one may fail, and nothing is lost or stands still."""
PORTS = range(20100, 32000)
"""Below the range from which operating systems take ports for outgoing connections."""

CERTIFICATE = "tls/certificate.pem"
PRIVATE_KEY = "tls/private_key.pem"
"""Where `sequencer certificate` puts them, in the data directory."""

_HEAD = """\
# One venue. Every process of it reads this file; see ARCHITECTURE.md for what the parts are.

[venue]
cluster = "{cluster}"

[journal]
segment_bytes = 67108864
reserve_bytes = 8388608
plain_segments = 4          # all of the log is kept: older segments are compressed
reserve_channels = [2, 3, 4, 5]   # all but commands are served while the disk is nearly full

# Which senders may write on which channels: 1 commands, 2 decisions, 3 results, 4 operations, 5 states.
[channels]
"gateway.*" = [1]
"credit.*" = [2]
"matching.*" = [3]
"operator" = [4]
"*.state" = [5]

# An output is sequenced once so many replicas have made the same; without this, the first copy is taken.
# [output_quorum]
# "matching.*" = 2
# "credit.*" = 2

[endpoints]
order = "tcp://127.0.0.1:{order}"
fix = "tcp://127.0.0.1:{fix}"
web = "tcp://127.0.0.1:{web}"
marketdata = "tcp://127.0.0.1:{marketdata}"
marketdata_updates = "tcp://127.0.0.1:{updates}"

# With a certificate web and FIX speak TLS only; hosts beyond this machine need one. `sequencer certificate` makes one
# for development.
# [tls]
# certificate = "{certificate}"
# private_key = "{private_key}"
"""

_NODE = """
[[nodes]]
name = "{name}"
ingress = "ipc://run/{name}.in"
publisher = "ipc://run/{name}.pub"
replayer = "ipc://run/{name}.log"
peer = "ipc://run/{name}.peer"
disk = "{disk}"   # the identity of its directory: votes from another disk do not count
"""

_LOGS = """
# What processes tell of themselves, in logs/NAME.log: debug, info, warning or error and above.
[logs]
level = "info"
"""

_MONITORING = """
# Where processes serve /metrics, /healthz and /readyz.
[monitoring]
"""

_PROCESSES = """
# What `sequencer up` starts beside the nodes and their replayers.
[processes]
matching-1.command = ["attach", "matching", "--name", "matching-1"]
matching-2.command = ["attach", "matching", "--name", "matching-2"]
credit-1.command = ["attach", "credit", "--name", "credit-1"]
credit-2.command = ["attach", "credit", "--name", "credit-2"]
order-1.command = ["gateway", "order", "--name", "order-1"]
fix-1.command = ["gateway", "fix", "--name", "fix-1"]
web-1.command = ["gateway", "web", "--name", "web-1"]
marketdata-1.command = ["gateway", "marketdata", "--name", "marketdata-1"]
"""


def create(data_dir: Path, nodes: int | None = None) -> Config:
    """The venue in `data_dir`, made with `nodes` nodes (three, if None) where there is none.

    Raises ConfigError: for a number of nodes that cannot be, or that the venue does not have.
    """
    path = config_path(data_dir)
    if not path.exists():
        _write(path, NODES if nodes is None else nodes)
    config = Config.load(data_dir)
    if not config.keys_path.exists():
        issue_missing(config)
    if nodes is not None and nodes != len(config.nodes):
        raise ConfigError(
            f"{path} has {len(config.nodes)} nodes, --nodes asks for {nodes}: leave --nodes out, or choose another "
            "--data directory"
        )
    return config


def _write(path: Path, nodes: int) -> None:
    if nodes not in NODE_COUNTS:
        raise ConfigError(f"--nodes: expected {', '.join(map(str, NODE_COUNTS))}, got {nodes}")
    try:
        (path.parent / "run").mkdir(parents=True, exist_ok=True, mode=0o700)
        text = _text(path.parent, nodes)
        temporary = path.with_suffix(".new")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except (OSError, JournalError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot write {path}: {reason}; choose a --data directory that you may write to") from None


def _text(data_dir: Path, nodes: int) -> str:
    """A new venue.toml; its nodes' directories are made, and have their identities."""
    ports = free_ports()
    cluster = os.urandom(16)
    doors = {name: next(ports) for name in ("order", "fix", "web", "marketdata", "updates")}
    text = _HEAD.format(cluster=cluster.hex(), certificate=CERTIFICATE, private_key=PRIVATE_KEY, **doors)
    for number in range(1, nodes + 1):
        name = f"node-{number}"
        text += _NODE.format(name=name, disk=deployment.found(data_dir, name, cluster).hex())
    return text + _PROCESSES + _LOGS + _monitoring(nodes, ports)


def _monitoring(nodes: int, ports: Iterator[int]) -> str:
    """A port for each process that a new venue has, and for the one that starts them."""
    processes = re.findall(r"(?m)^([\w-]+)\.command", _PROCESSES)
    names = [f"node-{number}{kind}" for number in range(1, nodes + 1) for kind in ("", "-replayer")] + processes
    names.append(SUPERVISOR)
    return _MONITORING + "".join(f'{name} = "127.0.0.1:{next(ports)}"\n' for name in names)


def free_ports() -> Iterator[int]:
    """Loopback ports that nobody listens on at the moment, from a random one on: each venue gets its own."""
    first = int.from_bytes(os.urandom(2), "little") % (len(PORTS) // 2)
    for port in PORTS[first:]:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port
    raise ConfigError(f"no free port from {PORTS.start} to {PORTS.stop - 1} on 127.0.0.1")


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
