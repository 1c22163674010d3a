"""Reading the log for people: what `sequencer log` shows, from a running venue or from files alone.

Payloads are opaque here. A package that can read them adds a function `(channel, payload) -> list of
(type, fields)` to the entry-point group `sequencer.formats`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import zmq

from sequencer.admin import can_ask_nodes, journal_directories
from sequencer.client import Replay, StopSignal, Subscriber
from sequencer.config import Config
from sequencer.envelope import Batch, Entry, decode_entry
from sequencer.errors import ConfigError, IslandError, RunningError, UnreachableError
from sequencer.group import committed_index
from sequencer.journal import LOCAL_DISK, BallotBox, DirectoryLock, Journal, JournalReader, verify
from sequencer.process import running
from sequencer.snapshot import read_snapshot
from sequencer.sockets import context

READ_BYTES = 4 << 20
POLL_MS = 200
CONFIRM_S = 3.0

Describe = Callable[[int, memoryview], list[tuple[str, dict[str, Any]]]]


def entries_of(config: Config, first_index: int = 1) -> Iterator[Entry]:
    """All committed entries: through a replayer while the venue runs, from the files when it does not.

    How far they go is what a quorum says; without one, what the first replayer holds.
    """
    if can_ask_nodes(config):
        with context(config) as made:
            yield from Replay(config.sources, first_index, _confirmed_index(config), context=made)
    else:
        yield from _entries_in_files(config, first_index)


def _confirmed_index(config: Config) -> int | None:
    try:
        return committed_index(config, CONFIRM_S)
    except UnreachableError:
        return None


def _entries_in_files(config: Config, first_index: int) -> Iterator[Entry]:
    """From the longest journal. In a group of one all that is durable is committed; in a larger one, what says so."""
    directories = journal_directories(config)
    if not directories:
        raise ConfigError(f"{config.data_dir} holds no journal of a node: nothing has been sequenced there")
    readers = [JournalReader(path, config.cluster) for path in directories.values()]
    try:
        for reader in readers:
            reader.refresh()
        reader = max(readers, key=lambda reader: reader.last_index)
        limit = reader.last_index if len(config.nodes) == 1 else reader.commit_index
        index = first_index
        while index <= limit:
            for data in reader.read(index, limit, READ_BYTES):
                yield decode_entry(data)
                index += 1
    finally:
        for reader in readers:
            reader.close()


def info(config: Config) -> list[dict[str, Any]]:
    """One row a journal: how many segments and entries it holds, where it ends, and from where a start reads it."""
    rows = []
    for name, report in _reports(config):
        snapshot = read_snapshot(LOCAL_DISK, report.directory, config.cluster)
        rows.append(
            {
                "node": name,
                "segments": report.segments,
                "entries": report.entries,
                "last_index": report.last_index,
                "commit_index": report.commit_index,
                "snapshot": snapshot.index if snapshot else 0,
                "last_digest": report.last_digest.hex()[:16],
            }
        )
    return rows


def verify_journals(config: Config) -> list[dict[str, Any]]:
    """One row a journal: what was checked, and the first problem or nothing."""
    rows = []
    for name, report in _reports(config):
        rows.append(
            {
                "node": name,
                "groups": report.groups,
                "entries": report.entries,
                "last_index": report.last_index,
                "torn_bytes": report.torn_bytes,
                "problem": report.problem or ("its last group is suspect" if report.suspect else ""),
            }
        )
    return rows


def _reports(config: Config) -> Iterator[tuple[str, Any]]:
    for name, directory in journal_directories(config).items():
        yield name, verify(directory, config.cluster)


def repair(config: Config, name: str, *, accept_loss: bool) -> dict[str, Any]:
    """Let a stopped node's damaged journal go on behind what is whole in it; what is damaged is set aside.

    A node of a group comes back suspect, and gets from the others what it may have lost. One that is alone
    has nobody to ask: what lies behind the damage is given up only with `accept_loss`. Raises IslandError.
    """
    if config.node(name).name in running(config.data_dir):
        raise RunningError(f"{name} runs: stop it first, its files must not change under it")
    directory, alone = config.journal_directory(name), len(config.nodes) == 1
    before = verify(directory, config.cluster)
    if before.is_sound:
        return {"node": name, "last_index": before.last_index, "lost_after": 0, "done": "nothing: it is sound"}
    if alone and not accept_loss:
        raise ConfigError(
            f"{name} is alone, so nobody can give back what lies behind the damage "
            f"({before.problem or 'its last group is suspect'}). Restore its directory from a copy, or give it up "
            "with --accept-loss"
        )
    return _go_on_behind_the_damage(config, name, directory, alone=alone)


def _go_on_behind_the_damage(config: Config, name: str, directory: Path, *, alone: bool) -> dict[str, Any]:
    lock = DirectoryLock.take(directory)
    box = None
    try:
        box = BallotBox.open(directory, name, config.cluster)
    finally:
        if box is None:
            lock.release()
    if box is None:
        raise ConfigError(f"{directory} has no ballot: it was never a node's directory")
    journal = Journal.open(directory, config.cluster, segments_expected=box.segments, keep_damaged=True, lock=lock)
    if alone:
        journal.clear_suspect()
    box.note_segments(journal.segment_number)
    last_index = journal.last_index
    journal.close()
    box.close()
    done = "it goes on from there" if alone else "the group repairs it when it starts"
    return {"node": name, "last_index": last_index, "lost_after": last_index, "done": done}


def dump(config: Config, first: int, last: int | None, *, messages: bool) -> Iterator[str]:
    """JSON lines of what lies between two sequence numbers."""
    formats = _formats()
    for entry in entries_of(config):
        if last is not None and entry.first_sequence > last:
            return
        if entry.next_sequence > first:
            yield from _lines(entry, formats, messages=messages, first=first, last=last)


def tail(config: Config, entries: int, stop: StopSignal, *, messages: bool, follow: bool) -> Iterator[str]:
    """JSON lines of the last entries, and of those that come, until `stop`."""
    formats = _formats()
    if not follow or not can_ask_nodes(config):
        for entry in list(entries_of(config))[-entries:]:
            yield from _lines(entry, formats, messages=messages)
        return
    with context(config) as made:
        subscriber = Subscriber(config.sources, next_index=max(1, _end(config, made) - entries + 1), context=made)
        while not stop.is_set:
            for entry in subscriber.wait(POLL_MS):
                yield from _lines(entry, formats, messages=messages)


def _end(config: Config, made: "zmq.Context[zmq.Socket[bytes]]") -> int:
    """The index of the last committed entry, once the stream has told it."""
    probe = Subscriber(config.sources, next_index=1 << 62, context=made)
    for _ in range(50):
        probe.wait(100)
        if probe.high_water >= 0:
            probe.close()
            return max(probe.high_water, 1)
    raise IslandError("no node is publishing: see `sequencer status`")


def _lines(
    entry: Entry, formats: list[Describe], *, messages: bool, first: int = 0, last: int | None = None
) -> Iterator[str]:
    for batch in entry.batches():
        if batch.first_sequence + batch.count <= first or (last is not None and batch.first_sequence > last):
            continue
        if not messages:
            yield _encode(_batch_row(entry, batch))
            continue
        for offset, (kind, fields) in enumerate(_describe(batch, formats)):
            sequence = batch.first_sequence + offset
            if sequence >= first and (last is None or sequence <= last):
                yield _encode({"sequence": sequence, "time_ns": entry.time_ns, "type": kind, **fields})


def _batch_row(entry: Entry, batch: Batch) -> dict[str, Any]:
    return {
        "sequence": batch.first_sequence,
        "index": entry.index,
        "term": entry.term,
        "time_ns": entry.time_ns,
        "sender": batch.sender,
        "incarnation": batch.incarnation,
        "channel": batch.channel,
        "number": batch.number,
        "cause": batch.cause,
        "count": batch.count,
        "digest": batch.digest.hex(),
    }


def _describe(batch: Batch, formats: list[Describe]) -> list[tuple[str, dict[str, Any]]]:
    for describe in formats:
        found = describe(batch.channel, batch.payload)
        if found:
            return found
    kind = "OpenSession" if batch.channel == 0 else "Opaque"
    return [(kind, {"sender": batch.sender, "incarnation": batch.incarnation})] * batch.count


def _formats() -> list[Describe]:
    from importlib.metadata import entry_points  # noqa: PLC0415 - 30 ms, which only who shows messages has to spend

    return [point.load() for point in sorted(entry_points(group="sequencer.formats"), key=lambda point: point.name)]


def _encode(row: dict[str, Any]) -> str:
    return msgspec.json.encode(row).decode()
