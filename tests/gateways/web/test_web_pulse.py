"""Rates and latency by the log's own time: what an outage does to them, and what another clock does not."""

from engines import messages as m
from gateways.orders import runs
from gateways.web.pulse import SECOND_NS, SECONDS_KEPT, Pulse
from sequencer.envelope import NO_DIGEST, encode_batch, encode_entry

BEGIN_S = 1_796_000_000


class Venue:
    """A pulse, and the log that it is told: each order is decided, and has its result."""

    def __init__(self) -> None:
        self.pulse = Pulse()
        self._sequence = 1

    def order(self, at_s: float, result_s: float | None = None) -> None:
        """A command at this time since the beginning, and its result, at that time (else: half a ms later)."""
        number = self._sequence
        self._put(at_s, "gateway.x", m.COMMANDS, m.CancelOrder(1, number, 1, "none"))
        self._put(at_s, "credit.0", m.DECISIONS, m.CreditDecisions(number, 1), cause=number)
        self._put(result_s or at_s + 0.0005, "matching.0", m.RESULTS, m.OrderAccepted(number), cause=number + 1)

    def told(self) -> list[tuple[int, int, int | None, int | None]]:
        """Each whole second since the beginning: its commands, p50 and p99 in ms."""
        return [
            (nth, row["commands"], *(None if row[name] is None else row[name] // 1000 for name in ("p50_us", "p99_us")))
            for nth, row in enumerate(self.pulse.rows())
        ]

    def _put(self, at_s: float, sender: str, channel: int, message: m.Message, cause: int = 0) -> None:
        payload = m.ENCODER.encode([message])
        entry = encode_entry(
            [encode_batch(sender, channel, 1, payload, count=1, cause=cause)], cluster=bytes(16), term=1,
            index=self._sequence, first_sequence=self._sequence, time_ns=BEGIN_S * SECOND_NS + round(at_s * SECOND_NS),
            previous=NO_DIGEST,
        )  # fmt: skip
        self._sequence += 1
        self.pulse.take(entry, list(runs(entry)))


def test_what_waited_through_an_outage_has_waited_and_nothing_else():
    """It counts in the second of its result; the seconds between have no latency, and the next one is as before."""
    venue = Venue()
    venue.order(0.1)
    venue.order(0.2, result_s=3.2)
    venue.order(3.5)
    venue.order(4.5)
    venue.order(5.1)

    assert venue.told() == [(0, 2, 0, 0), (1, 0, None, None), (2, 0, None, None), (3, 1, 3000, 3000), (4, 1, 0, 0)]


def test_a_quiet_venue_goes_on():
    """Without entries seconds pass as they do for the gateway, whatever its wall clock says."""
    venue = Venue()
    venue.order(0.9)
    for now_ms in (70_000, 71_000, 73_000):
        venue.pulse.until(now_ms)

    assert [row[:2] for row in venue.told()] == [(0, 1), (1, 0), (2, 0)]


def test_a_second_never_comes_back():
    """Sequenced time runs slower than this process's: what comes late counts in the second that has begun."""
    venue = Venue()
    venue.order(0.9)
    for now_ms in (1000, 3000):
        venue.pulse.until(now_ms)
    venue.order(1.8)
    venue.order(4.1)

    assert [row[:2] for row in venue.told()] == [(0, 1), (1, 0), (2, 1), (3, 0)]


def test_every_second_is_told_once():
    """However seldom one asks; of a long time the latest minutes."""
    venue = Venue()
    venue.order(0.5)
    venue.order(7.5)

    assert [len(venue.pulse.fresh()), len(venue.pulse.fresh())] == [7, 0]
    venue.order(9000.5)
    assert [len(venue.pulse.fresh()), len(venue.pulse.rows())] == [SECONDS_KEPT, SECONDS_KEPT]
