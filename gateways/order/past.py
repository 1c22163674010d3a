"""What clients ask of the past: all reports behind a place, or the answers to commands that they sent before.

resume, repeat --in memory--> sent at once
               --forgotten--> Want --begin--> Rebuild --old entries--> sent in slices; live reports wait behind them
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from gateways import events as e
from gateways.order.links import Client, Link
from gateways.order.outgoing import Outgoing
from gateways.order.rebuild import Rebuild, Want
from gateways.order.reports import seal
from sequencer.envelope import Entry

REBUILD_REQUESTS: Final = 1 << 20
"""What a look into the past costs who asks for it: all that its key may have."""


class Past:
    """Who waits for reports of before; at most one fold over the log goes on for all of them."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing
        self._repeats: defaultdict[Client, set[int]] = defaultdict(set)
        self._wants: list[Want] = []
        self._rebuild: Rebuild | None = None

    def resume(self, client: Client, link: Link, last_seen: int) -> None:
        """All of a client's reports behind a place, before any newer one."""
        if last_seen >= client.recent.forgotten:
            for chunk in client.recent.after(last_seen):
                self._outgoing.send(link, chunk.count, chunk.encoded)
                link.charge(chunk.count)
        else:
            link.charge(REBUILD_REQUESTS)
            client.resume = Want(client.client_id, last_seen)
            self._wants.append(client.resume)

    def repeat(self, client: Client, number: int) -> None:
        """A command came that was taken before: `answer` gives its answer again."""
        self._repeats[client].add(number)

    def answer(self, link: Link, position: int, unanswered: Callable[[Client], set[int]]) -> None:
        """Answer what was repeated: from memory, or from the log up to `position`; not what is yet to be answered."""
        for client, numbers in self._repeats.items():
            self._outgoing.seal(client)
            held = client.recent.answers(numbers)
            for number in sorted(held):
                self._outgoing.say(link, held[number])
            missing = numbers - held.keys() - unanswered(client)
            if missing:
                self._want_answers(client, missing, position)
        self._repeats.clear()

    def begin(self) -> int:
        """Index of the next old entry that is wanted, or 0; a fold begins where none goes on."""
        if self._rebuild is None and self._wants:
            self._rebuild, self._wants = Rebuild(self._wants), []
        return self._rebuild.next_index if self._rebuild else 0

    def take(self, entries: Iterable[Entry], position: int, find: Callable[[int], Client]) -> None:
        """Take old entries, in order; `position` is how far the live stream is, `find` knows clients by id."""
        if self._rebuild is None:
            return
        # What the live stream has not brought yet comes with that: it would come twice.
        found = self._rebuild.apply(entry for entry in entries if entry.next_sequence - 1 <= position)
        for want in tuple(self._rebuild.wants):
            picked = [report for report in found[want.client_id] if want.picks(report)]
            if self._serve(find(want.client_id), want, picked, self._rebuild.position):
                self._rebuild.wants.remove(want)
        if not self._rebuild.wants:
            self._rebuild = None

    def _want_answers(self, client: Client, numbers: set[int], position: int) -> None:
        for want in self._wants:
            if want.client_id == client.client_id and not want.is_resume:
                want.numbers |= numbers
                want.until = position
                return
        self._wants.append(Want(client.client_id, 0, numbers, position))

    def _serve(self, client: Client, want: Want, reports: list[e.Event], position: int) -> bool:
        """Send rebuilt reports, which go up to `position`; True when nothing is left to send."""
        link = client.link
        if link is None or (want.is_resume and client.resume is not want):
            return True
        if reports:
            chunk = seal(reports)
            self._outgoing.send(link, chunk.count, chunk.encoded)
        if not want.is_resume:
            want.numbers.difference_update(report.number for report in reports)
            return not want.numbers or position >= want.until
        if position < client.recent.forgotten:
            return False
        client.resume = None
        self._outgoing.seal(client)
        for chunk in client.recent.after(max(position, want.after)):
            self._outgoing.send(link, chunk.count, chunk.encoded)
        return True
