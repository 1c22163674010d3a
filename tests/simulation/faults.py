"""What can go wrong, by kind: each fault is one event at one moment, with chance of its own.

A run draws a swarm: which kinds are on, and how often something happens. Faults that destroy (rot, a lost
disk) only ever hit `victims`, a minority that is chosen at the beginning, so that a majority keeps its promise.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sequencer.members import Member
from sequencer.raft import ChangeMembers, Read, Role, Transfer
from tests.simulation.world import MS, Chance

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

Fault = Callable[["Cluster", Chance], str]
"""Does it, and says in words what was done; nothing, where it could not."""


def loss(cluster: "Cluster", chance: Chance) -> str:
    """Links lose messages for a while."""
    cluster.network.weather.loss = chance.pick((0, 10, 50, 200))
    return f"links lose {cluster.network.weather.loss} in 1000"


def repeat(cluster: "Cluster", chance: Chance) -> str:
    """Links repeat messages."""
    cluster.network.weather.repeat = chance.pick((0, 50, 300))
    return f"links repeat {cluster.network.weather.repeat} in 1000"


def reorder(cluster: "Cluster", chance: Chance) -> str:
    """Links delay some messages, which are then overtaken."""
    weather = cluster.network.weather
    weather.slow, weather.slow_ns = chance.pick((0, 20, 200)), chance.pick((2, 20, 200, 1500)) * MS
    return f"links delay {weather.slow} in 1000 by up to {weather.slow_ns // MS} ms"


def cut(cluster: "Cluster", chance: Chance) -> str:
    """One direction of one link carries nothing until links are mended."""
    names = [*cluster.hosts, *(client.name for client in cluster.clients)]
    source, to = chance.pick(names), chance.pick(names)
    cluster.network.cut(source, to)
    return f"{source} -> {to} is cut"


def isolate(cluster: "Cluster", chance: Chance) -> str:
    """A host is cut off from the others, perhaps with a client at its side; perhaps only in one direction."""
    alone, directions = chance.pick(list(cluster.hosts)), chance.below(3)
    for other in cluster.hosts:
        if other != alone:
            if directions != 1:
                cluster.network.cut(alone, other)
            if directions != 2:
                cluster.network.cut(other, alone)
    return f"{alone} is isolated {('both ways', 'from hearing', 'from being heard')[directions]}"


def mend(cluster: "Cluster", chance: Chance) -> str:
    """All links carry again."""
    del chance
    cluster.network.mend()
    return "links are mended"


def pause(cluster: "Cluster", chance: Chance) -> str:
    """A host does not run for a while, and goes on as if nothing had happened."""
    host = cluster.leader_or(chance) if chance.hits(500) else cluster.any_host(chance)
    length_ms = chance.pick((10, 100, 400, 1000, 4000))
    host.paused_until_ns = cluster.world.now_ns + length_ms * MS
    return f"{host.name} is paused for {length_ms} ms"


def crash(cluster: "Cluster", chance: Chance) -> str:
    """A host goes down in the middle of a turn, at one of its next disk operations, and comes back later."""
    host = cluster.leader_or(chance) if chance.hits(400) else cluster.any_host(chance)
    if host.node is None:
        return ""
    host.arm_crash(chance.between(1, 12))
    cluster.start_later(host, chance)
    return f"{host.name} will crash at a disk operation"


def kill(cluster: "Cluster", chance: Chance) -> str:
    """A process ends between two turns; its host goes on, and starts it again."""
    host = cluster.any_host(chance)
    if host.node is None:
        return ""
    host.go_down(process_only=True)
    cluster.start_later(host, chance)
    return f"{host.name} is killed"


def hang_up(cluster: "Cluster", chance: Chance) -> str:
    """A host's connections close, and it goes on: they are there again at once."""
    host = cluster.leader_or(chance)
    if host.node is None:
        return ""
    host.hang_up()
    return f"connections of {host.name} close"


def blackout(cluster: "Cluster", chance: Chance) -> str:
    """All hosts lose power at once."""
    for host in cluster.hosts.values():
        if host.node is not None:
            host.go_down()
        cluster.start_later(host, chance)
    return "all hosts are down"


def rot(cluster: "Cluster", chance: Chance) -> str:
    """A bit of a victim's journal flips, at rest."""
    host, path = cluster.any_segment(chance)
    if path is None:
        return ""
    at, bit = chance.below(host.disk.files()[path]), chance.below(8)
    host.disk.damage(path, at, bytes([host.disk.contents(path)[at] ^ 1 << bit]))
    return f"bit {bit} of byte {at} of {path.name} of {host.name} flips"


def misdirect(cluster: "Cluster", chance: Chance) -> str:
    """A sector of a victim's journal holds what belongs elsewhere.

    A blank one in the last group cannot be told from a write that never came: that is not promised.
    """
    host, path = cluster.any_segment(chance)
    if path is None:
        return ""
    data = host.disk.contents(path)
    source, to = chance.below(len(data) // 512) * 512, chance.below(len(data) // 512) * 512
    if not any(data[source : source + 512]):
        return ""
    host.disk.damage(path, to, bytes(data[source : source + 512]))
    return f"sector {source // 512} of {path.name} of {host.name} was written over sector {to // 512}"


def lost_segment(cluster: "Cluster", chance: Chance) -> str:
    """A file of a victim's journal is gone when its node starts again."""
    host, path = cluster.any_segment(chance)
    if path is None or host.node is None:
        return ""
    host.go_down()
    if path in host.disk.files():
        host.disk.remove(path)
        host.disk.sync_directory(path.parent)
    cluster.start_later(host, chance)
    return f"{path.name} of {host.name} is gone"


def bad_sync(cluster: "Cluster", chance: Chance) -> str:
    """A disk's next sync fails; the node has to stop, and its host is restarted."""
    host = cluster.any_host(chance)
    if host.node is None:
        return ""
    host.disk.failing["sync"] = 5
    cluster.world.after(500 * MS, lambda: host.disk.failing.pop("sync", None))
    cluster.start_later(host, chance)
    return f"a sync of {host.name} fails"


def full(cluster: "Cluster", chance: Chance) -> str:
    """A disk has no room for another segment, for a while."""
    host = cluster.leader_or(chance)
    host.disk.capacity_bytes = sum(host.disk.files().values()) + 1000
    cluster.world.after(chance.between(200, 2500) * MS, host.make_room)
    return f"the disk of {host.name} is full"


def slow(cluster: "Cluster", chance: Chance) -> str:
    """Syncs of a disk take long."""
    host = cluster.any_host(chance)
    host.slow_ns = chance.pick((0, 2, 20, 80)) * MS
    return f"a sync of {host.name} takes {host.slow_ns // MS} ms"


def clock(cluster: "Cluster", chance: Chance) -> str:
    """A running host's wall clock jumps, far or near, forwards or back."""
    host = cluster.any_host(chance)
    if host.node is None or cluster.world.now_ns < 1000 * MS:
        return ""
    offset_ms = chance.pick((-3_600_000, -20_000, -300, 0, 300, 20_000, 3_600_000))
    host.wall_offset_ns = offset_ms * MS
    return f"the wall clock of {host.name} is off by {offset_ms} ms"


def transfer(cluster: "Cluster", chance: Chance) -> str:
    """An operator hands the lead to somebody."""
    host, to = cluster.leader_or(chance), cluster.any_host(chance).name
    host.command(Transfer(to))
    return f"{host.name} is asked to hand over to {to}"


def read(cluster: "Cluster", chance: Chance) -> str:
    """Somebody asks a node how far the log is committed."""
    host = cluster.leader_or(chance) if chance.hits(700) else cluster.any_host(chance)
    ticket = host.read(len(cluster.checks.log))
    host.command(Read(ticket))
    return f"{host.name} is asked how far the log is committed"


def blank(cluster: "Cluster", chance: Chance) -> str:
    """A victim's disk is replaced by an empty one, under the old name."""
    host = cluster.victim(chance)
    if host is None or host.node is None:
        return ""
    host.lose_disk()
    cluster.start_later(host, chance)
    return f"{host.name} comes back with an empty disk"


def members(cluster: "Cluster", chance: Chance) -> str:
    """An operator takes in who is a stranger, adds a node, or removes one."""
    leader = cluster.leader_or(chance)
    if leader.node is None or leader.node.raft.role is not Role.LEADER:
        return ""
    now = leader.node.raft.members
    strangers = [
        (name, host.node.raft.disk)
        for name, host in cluster.hosts.items()
        if host.node is not None and ((found := now.find(name)) is None or found.disk != host.node.raft.disk)
    ]
    if strangers and chance.hits(700):
        name, disk = chance.pick(strangers)
        change = now.with_member(Member(name, disk, voter=False, joining=chance.hits(800)))
    else:
        name = chance.pick([member.name for member in now.all])
        change = now.without(name)
        if len(change.voters) < len(now.voters) and (len(change.voters) < 3 or len(now.voters) < len(now.all)):
            return ""  # a careful operator keeps three voters, and waits until who joins has joined
    soon = [member.name for member in change.all if member.voter or member.joining]
    for deciding in (list(change.voters), soon):
        if len([name for name in deciding if name not in cluster.victims]) * 2 <= len(deciding):
            return ""  # a majority must be out of reach of what destroys disks
    leader.command(ChangeMembers(change))
    return f"{leader.name} is asked to change {name}"


def hostile(cluster: "Cluster", chance: Chance) -> str:
    """Somebody repeats what others said, or speaks in their names."""
    for _ in range(chance.between(1, 5)):
        cluster.hostile.act(chance)
    return "hostile frames come in"


def restart_client(cluster: "Cluster", chance: Chance) -> str:
    """A client process ends, and another of its name begins."""
    client = chance.pick(cluster.clients)
    client.restart()
    return f"{client.name} is restarted"


KINDS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        loss, repeat, reorder, cut, isolate, pause, crash, kill, hang_up, blackout, rot, misdirect, lost_segment,
        bad_sync, full, slow, clock, transfer, read, blank, members, hostile, restart_client, mend,
    )
}  # fmt: skip
