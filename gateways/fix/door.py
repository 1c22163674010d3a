"""Connections and sessions, each knowing the other: a connection is of one session or of none yet."""

from collections import deque

from gateways import events as e
from gateways.fix.codec import Framer, Message
from gateways.fix.market import Market
from gateways.fix.pace import Pace
from gateways.fix.session import Session
from gateways.fix.settings import Counterparty
from gateways.fix.store import NOWHERE, Place, Store


class Connection:
    """One connection: what of its bytes waits, and whose it is."""

    __slots__ = ("door", "framer", "is_clogged", "number", "session", "since_ms", "waiting")

    def __init__(self, number: int, now_ms: int) -> None:
        self.number = number
        self.since_ms = now_ms
        self.is_clogged = False
        """The other side does not take what it is sent; it is heard no further until it does."""
        self.framer = Framer()
        self.waiting: deque[Message] = deque()
        self.session: Session | None = None
        self.door: Door | None = None


class Door:
    """One FIX session, whether or not it is connected."""

    def __init__(self, party: Counterparty, store: Store, messages_per_s: int = 0) -> None:
        self.party = party
        self.store = store
        self.market = Market()
        self.pace = Pace(messages_per_s)
        self.link = b"fix:" + party.comp_id.encode()
        self.session: Session | None = None
        self.client_id = 0
        """0: not logged on at the order session. A drop copy has one below."""
        self.has_doubts = False
        """Commands of the client are in the log that the store does not know: repeats are not entered."""
        self.asked = 0
        """Logons to the order session without an answer: what comes before the last answer comes again behind it."""
        self.fetched = NOWHERE
        """The place from which old reports were asked for."""
        self.is_leaving = False
        """The connection is gone, and the client not logged off yet."""
        self.cancel_number = 0
        """Of the command that cancels all its orders then."""
        self._seen = NOWHERE
        self._seen_client = 0

    def place_of(self, event: e.Event) -> tuple[Place, int]:
        """Where an event is, and as which of its client's there: they come in order, at most two at one place."""
        nth = self._seen.nth + 1 if event.sequence == self._seen.sequence else 0
        index = nth if event.client_id == self._seen_client else 0
        self._seen, self._seen_client = Place(event.sequence, nth), event.client_id
        return self._seen, index

    def start_over(self) -> None:
        """Events come from an earlier place on now."""
        self._seen = NOWHERE
