"""What a journal is owed: written one group at a time, beside the loop where that pays."""

import errno

from sequencer.writing import RETRY_MS, Writer
from tests.models.entries import chain, dense
from tests.models.faulty_disk import FaultyDisk
from tests.models.journals import encoded, held_by, open_on

OLD = chain([dense(50, salt) for salt in range(4)])
NEW = chain([dense(60, salt) for salt in range(7, 9)], after=OLD[1], term=2)


class Desk:
    """A writer whose writes beside the loop wait until `work` is called."""

    def __init__(self, aside_bytes: int = 0) -> None:
        self.disk = FaultyDisk()
        self.journal = open_on(self.disk, segment_bytes=1 << 16)
        self.waiting, self.wakes = [], 0
        self.disk.defer = self.waiting.append
        self.writer = Writer(self.journal, self.disk, wake=self.wake, aside_bytes=aside_bytes)

    def wake(self) -> None:
        self.wakes += 1

    def work(self) -> None:
        waiting, self.waiting[:] = list(self.waiting), []
        for each in waiting:
            each.run()

    def turn(self, now_ms: int = 0) -> bool:
        return self.writer.turn(now_ms, 0)


def test_nothing_is_durable_before_its_write_has_ended():
    """And then the loop is woken, which may be asleep."""
    desk = Desk()
    desk.writer.keep(None, OLD)
    begun = desk.turn(), desk.writer.durable_index, desk.wakes
    desk.work()

    assert (begun, desk.wakes, desk.turn(), desk.writer.durable_index) == ((False, 0, 0), 1, True, 4)


def test_a_small_write_is_done_in_its_turn():
    """Without a thread."""
    desk = Desk(aside_bytes=1 << 20)
    desk.writer.keep(None, OLD)

    assert (desk.turn(), desk.writer.durable_index, desk.waiting) == (True, 4, [])


def test_what_comes_meanwhile_is_one_group():
    """However often the loop turns while a write is under way."""
    desk = Desk()
    for entry in OLD:
        desk.writer.keep(None, [entry])
        desk.turn()
    syncs = []
    for _ in range(2):
        before = desk.disk.syncs
        desk.work()
        syncs.append(desk.disk.syncs - before)
        desk.turn()

    assert (syncs, held_by(desk.journal)) == ([1, 1], encoded(OLD))


def test_a_tail_that_is_dropped_while_it_is_written_was_never_durable():
    """Its places count again when what has taken them is written."""
    desk = Desk()
    desk.writer.keep(None, OLD)
    desk.turn()
    desk.writer.keep(2, NEW)
    desk.work()
    after_old = desk.turn(), desk.writer.durable_index
    desk.work()

    assert (after_old, desk.turn(), desk.writer.durable_index) == ((True, 2), True, 4)
    assert held_by(desk.journal) == encoded([*OLD[:2], *NEW])


def test_what_finds_no_room_waits():
    """But for what was dropped meanwhile; with room again, the rest is written."""
    desk = Desk()
    desk.disk.failing["reserve"] = errno.ENOSPC
    large = chain([dense(70_000)], after=OLD[-1])
    desk.writer.keep(None, OLD)
    desk.turn()
    desk.work()
    desk.writer.keep(None, large)
    desk.turn()
    desk.work()
    stalled = desk.turn(), desk.writer.is_stalled, desk.writer.durable_index
    desk.writer.keep(2, NEW)
    desk.disk.failing.clear()
    for _ in range(3):
        desk.turn(RETRY_MS)
        desk.work()

    assert (stalled, desk.writer.is_stalled) == ((False, True, 4), False)
    assert held_by(desk.journal) == encoded([*OLD[:2], *NEW])
