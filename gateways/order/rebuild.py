"""Reports that are no longer in memory, folded again from the log beside the live stream.

    log from index 1 --slices--> Orders --events of the clients that wait--> their connections
                                                 |
    recent reports of memory <-- joins when the fold has passed what memory forgot

It runs in slices, so that live traffic goes on; meanwhile live reports of a client that waits stay in
memory only, and follow when the fold has reached them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateways.events import Event, executions, told
from gateways.orders import Orders, runs
from sequencer.envelope import Entry


@dataclass(eq=False, slots=True)
class Want:
    """What one client waits for: reports after a place, or (`numbers`) the answers to some commands.

    An id below 0 is that of a reader of all clients' reports.
    """

    client_id: int
    after: int
    numbers: set[int] = field(default_factory=set)
    until: int = 0

    @property
    def is_resume(self) -> bool:
        """Whether all reports are wanted."""
        return not self.until

    def picks(self, report: Event) -> bool:
        """Whether this report of the client is wanted."""
        if self.until:
            return report.number in self.numbers
        return report.sequence > self.after


class Rebuild:
    """One fold over the log for all clients that wait when it starts."""

    def __init__(self, wants: Iterable[Want]) -> None:
        self.wants = list(wants)
        self.next_index = 1
        self.position = 0
        """The place in the log up to which reports have been found."""
        self._orders = Orders()

    def apply(self, entries: Iterable[Entry]) -> dict[int, list[Event]]:
        """Fold on; return the reports of the clients that wait, by client, in log order."""
        found: dict[int, list[Event]] = {want.client_id: [] for want in self.wants}
        readers = [reports for client_id, reports in found.items() if client_id < 0]
        for entry in entries:
            assert entry.index == self.next_index, (entry.index, self.next_index)
            for first_sequence, channel, messages in runs(entry):
                happened = self._orders.apply(first_sequence, entry.time_ns, channel, messages)
                for event in happened:
                    for report, _nth in told(event):
                        if report.client_id in found and report.client_id > 0:
                            found[report.client_id].append(report)
                for reports in readers:
                    reports.extend(executions(happened))
            self.next_index = entry.index + 1
            self.position = entry.next_sequence - 1
        return found
