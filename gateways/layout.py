"""How a new venue is laid out: the text of its venue.toml, with the endpoints of its processes.

together  one machine: nodes talk over ipc sockets in the data directory, gateways listen on loopback ports
apart     every process on a host of its own name, over tcp; see `listening_host` in sequencer.config
"""

import os
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from sequencer.config import NODE_DOORS
from sequencer.errors import ConfigError
from sequencer.supervisor import NAME as SUPERVISOR

CERTIFICATE: Final = "tls/certificate.pem"
PRIVATE_KEY: Final = "tls/private_key.pem"
PORTS = range(20100, 32000)
"""Below the range from which operating systems take ports for outgoing connections."""
HOSTS: Final = {"order": "order-1", "fix": "fix-1", "web": "web-1", "marketdata": "marketdata-1",
                "marketdata_updates": "marketdata-1"}  # fmt: skip
"""Name of [endpoints] -> the process that listens there."""
_IPC: Final = {"ingress": "in", "publisher": "pub", "replayer": "log", "peer": "peer"}
_NODE_PORTS: Final = {"ingress": 7001, "publisher": 7002, "replayer": 7003, "peer": 7004}
_DOOR_PORTS: Final = {"order": 7101, "fix": 9878, "web": 8443, "marketdata": 7102, "marketdata_updates": 7103}
MONITORING_PORT: Final = 9100

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
"operator" = [4]            # of this host, without a key
"operator.*" = [4]          # with one
"*.state" = [5]

# An output is sequenced once so many replicas have made the same; without this, the first copy is taken.
# [output_quorum]
# "matching.*" = 2
# "credit.*" = 2

[endpoints]
order = "{order}"
fix = "{fix}"
web = "{web}"
marketdata = "{marketdata}"
marketdata_updates = "{marketdata_updates}"

# With a certificate web and FIX speak TLS only; hosts beyond this machine need one. `sequencer certificate` makes one
# for development.
{off}[tls]
{off}certificate = "{certificate}"
{off}private_key = "{private_key}"
"""

_TIMING = """
# On one machine a leader that is silent for 120 ms is replaced. Networks and hosts that others use pause for longer.
[timing]
election_ms = 500
heartbeat_ms = 100
"""

_NODE = """
[[nodes]]
name = "{name}"
ingress = "{ingress}"
publisher = "{publisher}"
replayer = "{replayer}"
peer = "{peer}"
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
web-1.operates = true       # operators act through it: its key may do what they may
marketdata-1.command = ["gateway", "marketdata", "--name", "marketdata-1"]
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where processes are found."""

    node: Callable[[str, str], str]
    """(name, door) -> endpoint"""
    door: Callable[[str], str]
    """Name of [endpoints] -> endpoint"""
    monitor: Callable[[str], str]
    """Process -> HOST:PORT"""
    is_apart: bool


def together() -> Layout:
    """All on this machine."""
    return _together(free_ports())


def _together(ports: Iterator[int]) -> Layout:
    return Layout(
        node=lambda name, door: f"ipc://run/{name}.{_IPC[door]}",
        door=lambda _name: f"tcp://127.0.0.1:{next(ports)}",
        monitor=lambda _name: f"127.0.0.1:{next(ports)}",
        is_apart=False,
    )


def loopback() -> Layout:
    """All on this machine, over tcp."""
    ports = free_ports()
    return replace(_together(ports), node=lambda _name, _door: f"tcp://127.0.0.1:{next(ports)}")


def apart() -> Layout:
    """Each process on a host that is called like it; nodes meet as NAME-peer, which may be in another network."""
    hosts = {"replayer": "-replayer", "peer": "-peer"}
    return Layout(
        node=lambda name, door: f"tcp://{name}{hosts.get(door, '')}:{_NODE_PORTS[door]}",
        door=lambda name: f"tcp://{HOSTS[name]}:{_DOOR_PORTS[name]}",
        monitor=lambda name: f"{name}:{MONITORING_PORT}",
        is_apart=True,
    )


def venue_text(layout: Layout, cluster: bytes, disks: dict[str, bytes]) -> str:
    """A new venue.toml. `disks`: the identity of each node's directory, by name."""
    text = _HEAD.format(
        cluster=cluster.hex(),
        certificate=CERTIFICATE,
        private_key=PRIVATE_KEY,
        off="" if layout.is_apart else "# ",
        **{name: layout.door(name) for name in HOSTS},
    )
    text += _TIMING if layout.is_apart else ""
    for name, disk in disks.items():
        text += _NODE.format(name=name, disk=disk.hex(), **{door: layout.node(name, door) for door in NODE_DOORS})
    return text + _PROCESSES + _LOGS + _monitoring(layout, list(disks))


def _monitoring(layout: Layout, nodes: list[str]) -> str:
    """A port for each process that a new venue has, and for the one that starts them."""
    processes = re.findall(r"(?m)^([\w-]+)\.command", _PROCESSES)
    names = [f"{node}{kind}" for node in nodes for kind in ("", "-replayer")] + processes
    names += [] if layout.is_apart else [SUPERVISOR]
    return _MONITORING + "".join(f'{name} = "{layout.monitor(name)}"\n' for name in names)


def free_ports() -> Iterator[int]:
    """Loopback ports that nobody listens on at the moment, from a random one on: each venue gets its own."""
    first = int.from_bytes(os.urandom(2), "little") % len(PORTS)
    for port in chain(PORTS[first:], PORTS[:first]):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port
    raise ConfigError(f"no free port from {PORTS.start} to {PORTS.stop - 1} on 127.0.0.1")
