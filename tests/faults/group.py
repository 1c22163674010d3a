"""A real group: nodes and replayers as processes, each node on a host of its own, with links that can be hurt.

hosts/node-1/venue.toml   the group as node-1 sees it: its own doors, and links to those of the others
hosts/node-1/node-1/      its journal; on a small disk where one is asked for
v/venue.toml              the doors themselves: for questions, which always get through
v/keys.toml, v/keys/      where there are links, all is said over tcp, and each node has a key
histories/                what senders and observers saw: see `checker`

    node-1 --link--> node-2        senders --link--> ingress        readers --link--> publisher, replayer
"""

import re
import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import msgspec

from gateways.layout import free_ports
from sequencer.config import FILE_NAME, NODE_DOORS, Config, NodeConfig
from sequencer.keyring import secret_path
from tests.faults.nodes import Nodes
from tests.faults.proxy import Links
from tests.faults.small_disk import SmallDisk
from tests.models.running import command, make, until

SENDERS, READERS = "senders", "readers"
"""Where links of clients come from, beside the nodes."""


def over_tcp(config: Config, *doors: str) -> Config:
    """The venue with nodes that listen on loopback ports, and these of [endpoints]: each its own."""
    path = config.data_dir / FILE_NAME
    text = path.read_text()
    places = [f'"{getattr(node, door)}"' for node in config.written_nodes for door in NODE_DOORS]
    places += [found for door in doors for found in re.findall(rf"(?m)^{door} = (.*)$", text)]
    ports = (port for port in free_ports() if f':{port}"' not in text)
    for place in places:
        text = text.replace(place, f'"tcp://127.0.0.1:{next(ports)}"')
    path.write_text(text)
    return Config.load(config.data_dir)


class Group(Nodes):
    """The processes of the nodes; a context manager that leaves none behind.

    With `linked`, everything that is said goes over tcp, and through `links`. With `small_disk`, the last node has a
    disk that can be filled.
    """

    def __init__(
        self, directory: Path, nodes: int = 3, *, linked: bool = False, small_disk: bool = False, **changes: str
    ) -> None:
        self.directory = directory
        super().__init__(directory / "histories")
        made = make(directory / "v", nodes, **changes)
        self.config: Config = over_tcp(made) if linked else made
        """The nodes as they are reached without links."""
        self.outside = self.config
        """The nodes as senders and readers see them."""
        self.links = Links()
        self.small_disk = SmallDisk(self._host(self.names[-1]) / self.names[-1]) if small_disk else None
        self._linked = linked
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        self._resources.enter_context(self.links)
        if self.small_disk is not None:
            self._resources.enter_context(self.small_disk)
        self._resources.callback(self._end)
        if self._linked:
            self.outside = self._seen_by(READERS)
        for name in self.names:
            self._settle(name)
            self.start(name)
        until(lambda: self.leader, "a leader")
        return self

    def __exit__(self, *_error: object) -> None:
        self._resources.close()

    def others(self, *names: str) -> list[str]:
        """All nodes but these."""
        return [name for name in self.names if name not in names]

    def start(self, name: str) -> None:
        """Start what is not running of a node and its replayer."""
        for process_name, words in ((name, ("node", name)), (f"{name}-replayer", ("replayer", name))):
            running = self._processes.get(process_name)
            assert process_name not in self.crashed, self.crashed
            if running is None or running.poll() is not None:
                with (self.directory / f"{process_name}.out").open("ab") as out:
                    self._processes[process_name] = subprocess.Popen(
                        command(*words, "--data", str(self._host(name))), stdout=out, stderr=out, cwd="/"
                    )

    def send(self, name: str, signum: signal.Signals) -> None:
        """Send a signal to a node, and wait where it is its end."""
        self._processes[name].send_signal(signum)
        if signum is signal.SIGKILL:
            self._processes[name].wait()

    @property
    def crashed(self) -> dict[str, str]:
        """The last words of each process that ended by itself."""
        ended = [name for name, process in self._processes.items() if process.poll() not in (None, -signal.SIGKILL)]
        return {name: (self.directory / f"{name}.out").read_text()[-2000:] for name in ended}

    def _end(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    # --- hosts --------------------------------------------------------------------------------

    def _host(self, name: str) -> Path:
        return self.directory / "hosts" / name

    def _settle(self, name: str) -> None:
        """Give a node its host: its directory with the identity that it was given, and its own view of the group."""
        host = self._host(name)
        shutil.copytree(self.config.journal_directory(name), host / name, dirs_exist_ok=True)
        shutil.rmtree(self.config.journal_directory(name))
        text = (self.config.data_dir / FILE_NAME).read_text()
        for written, seen in zip(self.config.written_nodes, self._seen_by(name).nodes, strict=True):
            for door in NODE_DOORS:
                text = text.replace(f'"{getattr(written, door)}"', f'"{getattr(seen, door)}"')
        (host / FILE_NAME).write_text(text)
        (host / "keys").mkdir(mode=0o700)
        for path in (self.config.keys_path, secret_path(self.config.secrets_directory, name)):
            shutil.copy2(path, host / path.relative_to(self.config.data_dir))

    def _seen_by(self, source: str) -> Config:
        """The group with links in place of the doors of others."""
        nodes = [node if node.name == source or not self._linked else self._linked_node(source, node)
                 for node in self.config.nodes]  # fmt: skip
        return msgspec.structs.replace(self.config, nodes=tuple(nodes))

    def _linked_node(self, source: str, node: NodeConfig) -> NodeConfig:
        """Where a node sends senders is where senders go anyway."""
        if source != READERS:
            ingress = self.outside.node(node.name).ingress
            return msgspec.structs.replace(node, ingress=ingress, peer=self.links.add(source, node.name, node.peer))
        return msgspec.structs.replace(
            node,
            ingress=self.links.add(SENDERS, node.name, node.ingress),
            publisher=self.links.add(READERS, node.name, node.publisher),
            replayer=self.links.add(READERS, node.name, node.replayer),
        )
