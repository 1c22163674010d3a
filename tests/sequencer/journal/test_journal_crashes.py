"""A crash at any operation, whatever the disk then lost: what was acknowledged is there, the rest is whole or gone."""

import errno
from collections.abc import Callable, Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sequencer.envelope import Entry
from sequencer.errors import JournalError
from sequencer.journal import Journal, verify
from tests.models.entries import CLUSTER, chain, dense
from tests.models.faulty_disk import Crashed, FaultyDisk, Survives
from tests.models.journals import HOME, disk_with, encoded, held_by, open_on

SURVIVORS: dict[str, Survives] = {
    "nothing": lambda place: False,
    "everything": lambda place: True,
    "even": lambda place: place % 2 == 0,
    "odd": lambda place: place % 2 == 1,
    "only the first": lambda place: place == 0,
    "all but the first": lambda place: place != 0,
    "all but the third": lambda place: place != 2,
}


class Script:
    """Work on a journal, with what it must and what it may hold at each moment."""

    def __init__(self) -> None:
        self.acknowledged: list[Entry] = []
        self.attempted: list[Entry] = []

    def append(self, journal: Journal, payloads: list[bytes], term: int = 1) -> None:
        last = self.acknowledged[-1] if self.acknowledged else None
        entries = chain(payloads, after=last, term=term)
        self.attempted = [*self.acknowledged, *entries]
        journal.append(entries, journal.commit_index)
        self.acknowledged = self.attempted

    def truncate(self, journal: Journal, index: int) -> None:
        self.attempted = self.acknowledged[:index]
        journal.truncate_after(index)
        self.acknowledged = self.attempted

    def run(self, disk: FaultyDisk) -> None:
        """Appends of one and of many sectors, over three segments, and a truncation between them."""
        journal = open_on(disk)
        self.append(journal, [dense(40)])
        self.append(journal, [dense(900), bytes(700) + dense(50), dense(30)])
        self.append(journal, [dense(1200)])
        self.append(journal, [dense(80), dense(90)])
        self.truncate(journal, 5)
        self.append(journal, [dense(70)], term=2)
        self.append(journal, [dense(5000)], term=2)
        journal.close()


def crashes() -> Iterator[tuple[FaultyDisk, Script]]:
    """The script, cut off at each of its operations in turn."""
    whole = FaultyDisk()
    Script().run(whole)
    for crash_at in range(1, len(whole.operations) + 1):
        disk, script = FaultyDisk(crash_at=crash_at), Script()
        with pytest.raises(Crashed):
            script.run(disk)
        yield disk, script


def check_recovered(disk: FaultyDisk, script: Script) -> None:
    """The journal opens, holds all or nothing of what was interrupted, goes on, and then reads back."""
    journal = open_on(disk)
    held = held_by(journal)
    assert not journal.suspect
    assert held in (encoded(script.acknowledged), encoded(script.attempted))
    after = script.attempted if held == encoded(script.attempted) else script.acknowledged
    added = chain([dense(600, 9), dense(20)], after=after[-1] if after else None, term=3)
    journal.append(added, journal.commit_index)
    journal.close()

    reopened = open_on(disk)
    assert (reopened.recovered.torn_bytes, reopened.suspect) == (0, False)
    assert held_by(reopened) == held + encoded(added)
    assert (reopened.last_term, reopened.recovered.last_digest) == (3, added[-1].digest)
    assert verify(HOME, CLUSTER, disk=disk).is_sound


@pytest.mark.parametrize("survives", SURVIVORS.values(), ids=SURVIVORS)
def test_crash_at_every_operation(survives: Survives):
    """Nothing that was acknowledged is lost, wherever the machine stops and whichever unsynced sectors it keeps."""
    for disk, script in crashes():
        for names_kept in range(disk.pending_names + 1):
            check_recovered(disk.after_crash(survives, names_kept=names_kept), script)


def test_each_single_sector_lost_at_every_operation():
    """The same, for each unsynced sector as the only one that is lost, and as the only one that is not."""
    for disk, script in crashes():
        for place in range(disk.pending_sectors):
            check_recovered(disk.after_crash(lambda at, place=place: at != place, names_kept=9), script)
            check_recovered(disk.after_crash(lambda at, place=place: at == place, names_kept=9), script)


def test_killed_process_then_crash():
    """What a restart found whole is durable from then on, though its first writer never saw its sync return."""
    for disk, script in crashes():
        survivor = disk.after_kill()
        held = held_by(open_on(survivor))
        assert held in (encoded(script.acknowledged), encoded(script.attempted))
        assert held_by(open_on(survivor.after_crash(SURVIVORS["nothing"]))) == held


class DiskOfBadSyncs(FaultyDisk):
    """One sync fails, the `bad_sync`th; those after it say that they succeeded."""

    def __init__(self, bad_sync: int) -> None:
        super().__init__()
        self.bad_sync = bad_sync

    def sync(self, fd: int) -> None:
        if self.syncs + 1 == self.bad_sync:
            self.failing["sync"] = errno.EIO
        try:
            super().sync(fd)
        finally:
            self.failing.clear()


def stopped_by_a_sync() -> Iterator[tuple[FaultyDisk, Script]]:
    """The script, stopped by each of its syncs in turn."""
    whole = FaultyDisk()
    Script().run(whole)
    for bad_sync in range(1, whole.syncs + 1):
        disk, script = DiskOfBadSyncs(bad_sync), Script()
        try:
            script.run(disk)
        except JournalError:
            yield disk, script


@pytest.mark.parametrize("survives", SURVIVORS.values(), ids=SURVIVORS)
def test_what_a_failed_sync_left_in_memory_is_written_again(survives: Survives):
    """A restart on the same host reads what the disk may not have; a loss of power then takes nothing of it."""
    stops = 0
    for disk, script in stopped_by_a_sync():
        stops += 1
        again = disk.after_kill()
        held = held_by(open_on(again))
        assert held in (encoded(script.acknowledged), encoded(script.attempted))
        lost = again.after_crash(survives)
        assert held_by(open_on(lost)) == held
    assert stops > 10


def test_a_restart_that_is_stopped_by_a_sync_as_well():
    """The next restart writes it once more."""
    for disk, script in stopped_by_a_sync():
        second = disk.after_kill()
        second.failing["sync"] = errno.EIO
        with pytest.raises(JournalError):
            open_on(second)
        third = second.after_kill()
        held = held_by(open_on(third))
        assert held in (encoded(script.acknowledged), encoded(script.attempted))
        assert held_by(open_on(third.after_crash(SURVIVORS["nothing"]))) == held


def test_a_crash_while_the_last_group_is_written_again():
    """It is there, or as lost as it was before; what was acknowledged is there."""
    for stopped, script in stopped_by_a_sync():
        for crash_at in range(1, 40):
            disk = stopped.after_kill()
            disk.crash_at = crash_at
            try:
                open_on(disk)
            except Crashed:
                for survives in SURVIVORS.values():
                    check_recovered(disk.after_crash(survives), script)
            else:
                break


def test_crash_while_a_torn_tail_is_cut():
    """Cutting can be interrupted anywhere and done again: no stale bytes ever come back as a group."""
    entries = chain([dense(40), dense(1500), dense(300, 2)])
    for disk in torn_disks(entries, crash_ats=range(1, 40)):
        for survives in SURVIVORS.values():
            again = disk.after_crash(survives)
            journal = open_on(again)
            assert held_by(journal) == encoded(entries[:1])
            journal.append([chain([dense(10, 5)], after=entries[0])[0]], 1)
            journal.close()
            assert open_on(again).last_index == 2


def torn_disks(entries: list[Entry], crash_ats: range) -> Iterator[FaultyDisk]:
    """Disks that crashed, at each operation, while a start recovered a torn second group."""
    for crash_at in crash_ats:
        disk = disk_with([entries[:1], entries[1:]])
        disk.damage(HOME / "00000001.seg", 2048, bytes(512))
        crashing = disk.after_kill()
        crashing.crash_at = crash_at
        try:
            open_on(crashing)
        except Crashed:
            yield crashing
        else:
            return


def test_truncated_then_torn():
    """A torn first group of the new term leaves the truncated log, and nothing of the old tail comes back."""
    entries = chain([dense(200, salt) for salt in range(6)])
    disk = disk_with([entries])
    journal = open_on(disk)
    journal.truncate_after(4)
    newer = chain([dense(900, 7)], after=entries[3], term=2)
    journal.append(newer, 3)
    disk.damage(HOME / "00000002.seg", 1024, bytes(512))

    recovered = open_on(disk.after_kill())

    assert (recovered.last_index, recovered.last_term, recovered.recovered.torn_bytes > 0) == (4, 1, True)
    assert held_by(recovered) == encoded(entries[:4])


Step = Callable[[Script, Journal], None]

steps = st.one_of(
    st.lists(st.integers(1, 2500), min_size=1, max_size=4).map(
        lambda sizes: lambda script, journal: script.append(journal, [dense(size, size) for size in sizes])
    ),
    st.floats(0, 1).map(
        lambda share: lambda script, journal: script.truncate(journal, round(journal.last_index * share))
    ),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.lists(steps, max_size=5), min_size=1, max_size=4), st.data())
def test_lives_between_crashes(lives: list[list[Step]], data: st.DataObject):
    """Over many crashes at any moments the journal stays what a list of the acknowledged entries is."""
    disk, script = FaultyDisk(), Script()
    for life in lives:
        disk.crash_at = data.draw(st.integers(1, 60), "crash_at")
        try:
            journal = open_on(disk)
            for step in life:
                step(script, journal)
        except Crashed:
            pass
        random = Random(data.draw(st.integers(0, 1 << 16), "survivors"))
        disk = disk.after_crash(lambda _, random=random: random.random() < 0.6, names_kept=random.randrange(4))
        held = held_by(open_on(disk))
        assert held in (encoded(script.acknowledged), encoded(script.attempted))
        if held == encoded(script.attempted):
            script.acknowledged = script.attempted
        script.attempted = script.acknowledged
        disk = disk.after_kill()
