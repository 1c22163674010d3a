"""What a replayer serves of a journal that its node is writing."""

from sequencer.replayer import CommittedLog
from tests.models.entries import CLUSTER, chain, dense
from tests.models.faulty_disk import FaultyDisk
from tests.models.journals import HOME, encoded, open_on

ENTRIES = chain([dense(50, salt) for salt in range(6)])


def test_only_what_is_committed_is_served():
    """What the node published, or noted in its journal as committed; the rest may still be replaced."""
    disk = FaultyDisk()
    journal = open_on(disk)
    log = CommittedLog(HOME, CLUSTER, disk=disk)
    for entry in ENTRIES[:4]:
        journal.append([entry], max(0, entry.index - 2))
    assert log.read(1, 1 << 20) == []  # the node has not been heard yet
    log.hear(0)
    assert log.read(1, 1 << 20) == encoded(ENTRIES[:2])
    log.hear(3)
    assert log.read(2, 1 << 20) == encoded(ENTRIES[1:3])
    assert log.read(4, 1 << 20) == []
