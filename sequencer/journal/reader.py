"""Reads a journal that another process may be writing: for the replayer and for tools.

It takes no lock and changes nothing. Each call first looks forward from where it last was:

    known groups | new groups ...  | a new segment?   -> look again from its beginning

A group in the segment that is being written counts once its entries match their checksum: before
that its writer may be in the middle of it. What was there once and no longer reads back is damage.
"""

from pathlib import Path

from sequencer.errors import CorruptJournalError, JournalError
from sequencer.journal.archive import open_segment
from sequencer.journal.catalog import Catalog, Window
from sequencer.journal.disk import LOCAL_DISK, Disk
from sequencer.journal.extent import Extent
from sequencer.journal.format import segment_name
from sequencer.journal.loading import read_header
from sequencer.journal.recovery import check_headers


class JournalReader:
    """A view of the journal in a directory; a journal that is not there yet is empty.

    `cluster` (16 bytes) is the group of nodes that it has to belong to; None takes any.
    """

    def __init__(self, directory: Path | str, cluster: bytes | None = None, *, disk: Disk = LOCAL_DISK) -> None:
        self._disk = disk
        self._directory = Path(directory)
        self._cluster = cluster
        self._catalog = Catalog(disk, self._directory)
        self._next_number = 1

    @property
    def first_index(self) -> int:
        """Index of the first entry."""
        return self._catalog.first_index

    @property
    def last_index(self) -> int:
        """Index of the last entry that was whole when this reader last looked, or 0."""
        tail = self._catalog.tail
        return tail.next_index - 1 if tail else 0

    @property
    def commit_index(self) -> int:
        """The highest index that its writer noted as committed, as of the last look."""
        tail = self._catalog.tail
        return tail.commit_index if tail else 0

    def refresh(self) -> None:
        """Take in what was written since the last look. Raises JournalError."""
        try:
            self._look_forward()
        except OSError as error:
            raise JournalError(f"cannot read the journal in {self._directory}: {error}") from error

    def read(self, first_index: int, limit_index: int, bytes_max: int) -> list[bytes]:
        """Encoded entries from first_index to limit_index, as many as fit into bytes_max, at least one.

        The limit is what *this* node holds as committed: beyond it a node may still drop entries, and
        another node's limit may count entries that this one has yet to replace. Empty where there is
        nothing yet. Raises CorruptJournalError, naming the place, and JournalError.
        """
        self.refresh()
        try:
            return self._catalog.read(first_index, min(limit_index, self.last_index), bytes_max)
        except OSError as error:
            raise JournalError(f"cannot read the journal in {self._directory}: {error}") from error

    def close(self) -> None:
        """Nothing is held open between calls; the reader may not be used any more."""
        self._catalog = Catalog(self._disk, self._directory)

    def _look_forward(self) -> None:
        if not self._is_tail_there():
            self._catalog, self._next_number = Catalog(self._disk, self._directory), 1
        self._note_new_groups()
        while self._note_new_segment():
            self._note_new_groups()

    def _is_tail_there(self) -> bool:
        """Not where the node has set it aside: its number may come again, for another segment."""
        tail = self._catalog.tail
        if tail is None:
            return True
        try:
            return read_header(self._disk, self._directory, tail.header.number) == tail.header
        except (FileNotFoundError, CorruptJournalError):
            return False

    def _note_new_segment(self) -> bool:
        number = self._next_number
        try:
            header = read_header(self._disk, self._directory, number)
        except FileNotFoundError:
            return False
        self._cluster = self._cluster or header.cluster
        check_headers([header], [segment_name(number)], self._cluster, first_number=number)
        self._catalog.add(Extent(header))
        self._next_number += 1
        return True

    def _note_new_groups(self) -> None:
        extent = self._catalog.tail
        if extent is None:
            return
        segment = open_segment(self._disk, self._directory, extent.header.number)
        try:
            window = Window(segment)
            while group := window.group_header(extent.end, extent.seed):
                if not extent.expects(group) or window.payload(group, extent.seed) is None:
                    return
                extent.note(group)
        finally:
            segment.close()
