"""Who is connected, and as whom: connections and clients, each knowing the other.

A client is on one connection or on none; a connection has any number of clients.
"""

from gateways import events as e
from gateways.order.rebuild import Want
from gateways.order.reports import RecentReports
from sequencer.limits import Meter


class Link:
    """One connection: the clients logged on on it, and what is to be sent on it."""

    __slots__ = ("awaits", "clients", "connection", "counts", "heard_ms", "meter", "parts", "sent_ms")

    def __init__(self, connection: bytes, now_ms: int) -> None:
        self.connection = connection
        self.clients: dict[int, Client] = {}
        self.awaits: tuple[int, int] | None = None
        self.parts: list[bytes] = []
        self.counts: list[int] = []
        self.heard_ms = self.sent_ms = now_ms
        self.meter: Meter | None = None
        """What its key may ask for; None: anything."""

    def charge(self, requests: int) -> None:
        """What was asked for here costs more than a request."""
        if self.meter is not None:
            self.meter.charge(requests)

    def drop(self, client: "Client") -> None:
        """Log a client off here, and await nothing from it any longer."""
        self.clients.pop(client.client_id, None)
        client.link = client.resume = None
        if self.awaits is not None and self.awaits[0] == client.client_id:
            self.awaits = None


class Client:
    """One client: the numbers that were taken from it, and the reports that are for it."""

    __slots__ = (
        "cancels", "client_id", "fresh", "is_operator", "last_number", "link", "recent", "resume", "sequenced",
        "unanswered",
    )  # fmt: skip

    def __init__(self, client_id: int) -> None:
        self.client_id = client_id
        self.is_operator = False
        self.cancels = False
        """All its orders, when it is logged on no longer."""
        self.last_number = 0
        self.sequenced = 0
        """The last number that was seen in the log."""
        self.unanswered = 0
        self.link: Link | None = None
        self.fresh: list[e.Event] = []
        self.recent = RecentReports()
        self.resume: Want | None = None
        """Set while old reports are being rebuilt: new ones must wait behind them."""
