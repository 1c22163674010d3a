"""The journal of one node: the log's entries, durably, in their final format.

    node --append--> Journal --groups--> 00000001.seg 00000002.seg ... --read--> JournalReader, verify
                        ^                        |                               (other processes)
                        +-------- recover -------+

- `format` says what the files hold, byte for byte; `recovery` what that means after a crash (both pure).
- `extent` and `catalog` know where an entry is.
- `segment` and `spare` make and fill the files; `loading` gets them back.
- `journal` is the writer; `reader` and `verification` only read.
- `ballot` is the little that a node must remember besides its log.
- `archive` keeps what is old in less room.
- `mark` is a place up to which nothing need be read again.
- `aside` is where goes what was in the way; `lock` holds the directory.
- `disk` is everything that any of them asks of the operating system.

Nothing here knows of consensus, of sequence numbers or of what a batch says.
"""

from sequencer.journal.archive import archive_segment
from sequencer.journal.ballot import Ballot, BallotBox
from sequencer.journal.disk import LOCAL_DISK, Disk, LocalDisk
from sequencer.journal.extent import Extent
from sequencer.journal.format import group_span_bytes
from sequencer.journal.journal import SEGMENT_BYTES, Journal
from sequencer.journal.lock import DirectoryLock
from sequencer.journal.mark import Mark
from sequencer.journal.reader import JournalReader
from sequencer.journal.recovered import Recovered
from sequencer.journal.verification import Report, verify, verify_segment

__all__ = [
    "LOCAL_DISK",
    "SEGMENT_BYTES",
    "Ballot",
    "BallotBox",
    "DirectoryLock",
    "Disk",
    "Extent",
    "Journal",
    "JournalReader",
    "LocalDisk",
    "Mark",
    "Recovered",
    "Report",
    "archive_segment",
    "group_span_bytes",
    "verify",
    "verify_segment",
]
