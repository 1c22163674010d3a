"""What the journal promises while nothing, or only the expected, goes wrong; on real files and in memory."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sequencer.errors import CorruptJournalError, JournalError, RunningError
from sequencer.journal import LOCAL_DISK, Disk, Journal, group_span_bytes, verify
from sequencer.journal.disk import settle
from tests.models.entries import CLUSTER, chain, dense
from tests.models.faulty_disk import Crashed, FaultyDisk
from tests.models.journals import HOME, disk_with, encoded, held_by, open_on

Open = Callable[[], Journal]


@pytest.fixture(params=["local", "memory"])
def open_journal(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same journal each time."""
    disk: Disk = LOCAL_DISK if request.param == "local" else FaultyDisk()
    return lambda: Journal.open(tmp_path / "journal", CLUSTER, segment_bytes=4096, disk=disk)


def test_new_journal_is_empty(open_journal: Open):
    """A journal begins before entry 1, in a directory that it makes."""
    journal = open_journal()

    assert (journal.first_index, journal.last_index, journal.last_term, journal.commit_index) == (1, 0, 0, 0)
    assert (journal.read(1, 1000), journal.recovered.last_index) == ([], 0)
    journal.close()


def test_entries_survive_a_restart(open_journal: Open):
    """What was appended is there after a restart, with its term, digest and commit index, over many segments."""
    entries = chain([dense(300, salt) for salt in range(40)], term=3)
    journal = open_journal()
    for at in range(0, 40, 2):
        journal.append(entries[at : at + 2], at)
    journal.close()

    journal = open_journal()
    assert held_by(journal) == encoded(entries)
    assert (journal.last_index, journal.last_term, journal.commit_index) == (40, 3, 38)
    assert journal.recovered.last_digest == entries[-1].digest
    journal.close()


def test_a_group_larger_than_a_segment_gets_one_of_its_own(open_journal: Open):
    """No entry is too large for the journal."""
    entries = chain([dense(50), dense(20_000), dense(60)])
    journal = open_journal()
    for entry in entries:
        journal.append([entry], 0)
    journal.close()

    journal = open_journal()
    assert held_by(journal) == encoded(entries)
    journal.close()


def test_a_group_of_very_many_entries(open_journal: Open):
    """A group may have more entries than one system call takes parts."""
    entries = chain([b"x"] * 3000)
    journal = open_journal()
    journal.append(entries, 0)

    assert held_by(journal) == encoded(entries)
    journal.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 900), min_size=1, max_size=5), min_size=1, max_size=12),
    st.integers(1, 40),
    st.integers(0, 5000),
)
def test_read_gives_a_run_of_bounded_size(groups: list[list[int]], first_index: int, bytes_max: int):
    """A read begins where it was told, has no gaps, stays below its bound, but gives at least one entry."""
    entries = chain([dense(size) for sizes in groups for size in sizes])
    journal = open_on(FaultyDisk())
    at = 0
    for sizes in groups:
        journal.append(entries[at : at + len(sizes)], 0)
        at += len(sizes)

    wanted = encoded(entries)[first_index - 1 :]
    fitting = next((n for n in range(len(wanted)) if sum(map(len, wanted[: n + 1])) > bytes_max), len(wanted))
    assert journal.read(first_index, bytes_max) == wanted[: max(1, fitting)]


def test_truncated_tail_is_set_aside_and_overridden(open_journal: Open, tmp_path: Path):
    """After a truncation only the new entries are seen, by everyone, before and after a restart."""
    entries = chain([dense(200, salt) for salt in range(30)])
    journal = open_journal()
    journal.append(entries[:20], 5)
    journal.append(entries[20:], 9)
    journal.truncate_after(12)
    newer = chain([dense(90, salt) for salt in range(15)], after=entries[11], term=2)
    assert (journal.last_index, journal.last_term, held_by(journal)) == (12, 1, encoded(entries[:12]))
    journal.append(newer, 12)
    journal.truncate_after(20)
    newest = chain([dense(40)], after=newer[7], term=3)
    journal.append(newest, 12)
    expected = encoded([*entries[:12], *newer[:8], *newest])
    assert held_by(journal) == expected
    journal.close()

    journal = open_journal()
    assert (held_by(journal), journal.last_term, journal.commit_index) == (expected, 3, 12)
    journal.close()


def test_truncation_keeps_what_it_drops(tmp_path: Path):
    """The dropped entries lie in a file of their own, in order, and nothing else does."""
    entries = chain([dense(200, salt) for salt in range(9)])
    journal = Journal.open(tmp_path, CLUSTER, segment_bytes=8192)
    journal.append(entries, 0)
    journal.truncate_after(4)
    journal.close()

    [aside] = (tmp_path / "aside").iterdir()
    assert (aside.name, aside.read_bytes()) == ("00000001-5-9.entries", b"".join(encoded(entries[4:])))


def test_truncation_to_nothing_is_possible(open_journal: Open):
    """A log without committed entries can be dropped as a whole."""
    journal = open_journal()
    journal.append(chain([b"old"]), 0)
    journal.truncate_after(0)
    journal.append(chain([b"new"], term=2), 0)

    assert (journal.last_term, held_by(journal)) == (2, encoded(chain([b"new"], term=2)))
    journal.close()


def test_committed_entries_are_never_dropped(open_journal: Open):
    """To truncate below the commit index is our own bug."""
    journal = open_journal()
    journal.append(chain([b"a", b"b"]), 2)

    with pytest.raises(AssertionError, match="committed 2"):
        journal.truncate_after(1)
    journal.close()


def test_room_is_a_promise():
    """Groups that fit into room_bytes together are always taken, though the disk gives nothing more."""
    disk = FaultyDisk()
    journal = open_on(disk, segment_bytes=16 << 10)
    entries = chain([dense(300 + 97 * salt % 700, salt) for salt in range(60)])
    at = 0
    while not journal.room_bytes() > journal._segment.room_bytes:  # type: ignore[union-attr]
        journal.append([entries[at]], 0)
        at += 1
    disk.capacity_bytes = 0
    promised_bytes = journal.room_bytes()

    while (promised_bytes := promised_bytes - group_span_bytes(len(entries[at].data))) >= 0:
        journal.append([entries[at]], 0)
        at += 1
    assert journal.last_index == at


def test_damage_after_the_start_is_found_by_reading():
    """Rot under an open journal is reported when the entry is read, and never handed out."""
    entries = chain([dense(100), dense(100, 1), dense(100, 2)])
    disk = disk_with([[entry] for entry in entries])
    journal = open_on(disk.after_kill())
    disk.damage(HOME / "00000001.seg", 1024 + 400, b"\0")

    with pytest.raises(CorruptJournalError, match="offset 1024: entries 2 to 2 are damaged"):
        journal.read(1, 1 << 20)
    assert journal.read(3, 1 << 20) == encoded(entries[2:])


def suspect_disk(payloads: list[bytes]) -> FaultyDisk:
    """A disk whose last group (entries 2 and on) was written whole and is wrong."""
    entries = chain([dense(40), *payloads])
    disk = disk_with([entries[:1], entries[1:]])
    disk.damage(HOME / "00000001.seg", 1024 + 70, b"\0\0")
    return disk.after_kill()


def test_suspect_tail_is_reported_and_kept():
    """Recovery does not cut what may have been acknowledged; it says which entries those are."""
    disk = suspect_disk([dense(100), dense(50)])
    before = bytes(disk.contents(HOME / "00000001.seg"))

    recovered = open_on(disk).recovered

    assert (recovered.suspect, recovered.suspect_indexes, recovered.last_index) == (True, (2, 3), 1)
    assert (recovered.torn_bytes, bytes(disk.contents(HOME / "00000001.seg"))) == (0, before)
    assert "entries 2 to 3" in recovered.notes[0]


def test_a_journal_stays_suspect_until_it_is_cleared():
    """New entries go to a new segment; restarts remember the suspicion; only the caller can end it."""
    disk = suspect_disk([dense(100)])
    before = bytes(disk.contents(HOME / "00000001.seg"))
    entries = chain([dense(40), dense(60), dense(70), dense(80)])
    seen = []
    for entry in entries[1:]:
        journal = open_on(disk, keep_damaged=True)
        seen.append(journal.recovered.suspect)
        if entry.index == 3:
            journal.clear_suspect()
        journal.append([entry], 0)
        journal.close()
        disk = disk.after_kill()

    journal = open_on(disk)
    assert (seen, journal.suspect, held_by(journal)) == ([True, True, False], False, encoded(entries))
    assert bytes(disk.contents(HOME / "00000001.seg")) == before
    assert verify(HOME, disk=disk).is_sound


def test_suspicion_survives_a_crash():
    """However far the first new group and its segment came, the journal is as suspect as before."""
    for crash_at in count(1):
        disk = suspect_disk([dense(100)])
        journal = open_on(disk, keep_damaged=True)
        disk.crash_at = len(disk.operations) + crash_at
        try:
            journal.append(chain([dense(40), dense(60)])[1:], 0)
        except Crashed:
            assert open_on(disk.after_crash(lambda place: False, names_kept=9), keep_damaged=True).suspect
        else:
            break


def test_lock_names_the_process_that_has_it(tmp_path: Path):
    """Two processes never share a directory; the second learns whom to look for."""
    code = (
        "import sys; from sequencer.journal import Journal;"
        "j = Journal.open(sys.argv[1], sys.argv[2].encode(), segment_bytes=4096);"
        "print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path, CLUSTER.decode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline() == b"open\n"

    with pytest.raises(RunningError, match=f"process {other.pid}:"):
        Journal.open(tmp_path, CLUSTER)
    other.communicate()
    Journal.open(tmp_path, CLUSTER, segment_bytes=4096).close()


def test_directory_that_cannot_be_used_is_named(tmp_path: Path):
    """A path that cannot be a directory gives one clear error."""
    (tmp_path / "file").write_text("no directory")

    with pytest.raises(JournalError, match=f"cannot open the journal in {tmp_path}/file/journal"):
        Journal.open(tmp_path / "file" / "journal", CLUSTER)


def test_another_cluster_is_refused(open_journal: Open, tmp_path: Path):
    """A directory belongs to one cluster."""
    journal = Journal.open(tmp_path / "other", b"another cluster!", segment_bytes=4096)
    journal.close()

    with pytest.raises(JournalError, match="belongs to cluster"):
        Journal.open(tmp_path / "other", CLUSTER)


def test_close_leaves_no_spare_behind(tmp_path: Path):
    """After a close the directory holds segments and the lock, also when one was being made."""
    journal = Journal.open(tmp_path, CLUSTER, segment_bytes=4 << 20)
    journal.prepare()
    journal.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000001.seg", "lock"]


class Deferred(Future[None]):
    """Work that makes no progress until somebody waits for it."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__()
        self._work = work

    def exception(self, timeout: float | None = None) -> BaseException | None:
        if not self.done():
            settle(self, self._work)
        return super().exception(timeout)


class SlowDisk(FaultyDisk):
    """Whose background work is always still under way."""

    def background(self, work: Callable[[], None]) -> Future[None]:
        return Deferred(work)


def test_a_spare_under_way_is_waited_for():
    """A group that needs the next segment waits for the one that is being made, and makes no second one."""
    disk = SlowDisk()
    journal = open_on(disk)
    for entry in chain([dense(900, salt) for salt in range(4)]):
        journal.append([entry], 0)

    assert (journal.last_index, disk.operations.count("create")) == (4, 2)


def test_close_does_not_wait_for_a_whole_segment():
    """Closing stops the making of a spare before the next of its zeros."""
    disk = SlowDisk()
    journal = open_on(disk)
    journal.prepare()
    writes = disk.operations.count("pwritev")
    journal.close()

    assert (disk.operations.count("pwritev"), disk.names(HOME)) == (writes, ["00000001.seg", "lock"])


def test_a_closed_journal_says_so(open_journal: Open):
    """Nothing can be done with a closed journal."""
    journal = open_journal()
    journal.close()

    with pytest.raises(JournalError, match="closed"):
        journal.append(chain([b"x"]), 0)
