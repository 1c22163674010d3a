"""The client's end without a socket: what is sent, what is sent again, and what is news."""

from typing import Any

import pytest

from engines import messages as m
from gateways import events as e
from gateways.order import protocol as p
from gateways.order.client_session import ClientSession, RefusedError

NOW = 1000


def cancel() -> m.CancelOrder:
    return m.CancelOrder(0, 0, 1, "a")


def answer(client_id: int, number: int, sequence: int) -> e.Event:
    return e.CancelRejected(sequence, 0, client_id, number, 0, "a", 1, 0, 0, 0, 0, 21)


class Client(ClientSession):
    """With frames as messages."""

    def take(self, *messages: Any) -> list[e.Event]:
        return self.receive(p.ENCODER.encode(messages), NOW)

    def sends(self, now_ms: int = NOW) -> list[Any]:
        return [message for frame in self.outgoing(now_ms) for message in p.FROM_CLIENT.decode(frame)]

    def asks(self, now_ms: int = NOW) -> list[tuple[int, int]]:
        """The commands that go out, as (client id, number)."""
        return [(c.client_id, c.number) for c in self.sends(now_ms) if isinstance(c, m.CancelOrder)]


def logged_on(client_id: int, last_number: int = 0, **bounds: int) -> p.LoggedOn:
    limits = {"max_in_flight": 100, "max_in_flight_total": 100, **bounds}
    return p.LoggedOn(client_id, f"C{client_id}", last_number, 10, instruments=[], **limits)


def connected(*client_ids: int, **bounds: int) -> Client:
    """A session with these clients logged on."""
    client = Client()
    for client_id in client_ids:
        client.add(f"C{client_id}")
    client.sends()
    client.take(*(logged_on(client_id, **bounds) for client_id in client_ids))
    return client


def test_numbers_go_on_from_the_last_one_that_was_taken():
    """The gateway's last_number decides the first number of a new process."""
    client = Client()
    client.add("C1")
    client.take(logged_on(1, last_number=7))

    assert client.submit("C1", cancel()) == 8


def test_what_was_not_taken_is_sent_again_in_order_after_a_reconnect():
    """Commands above last_number go out again, before new ones, in the order of submission over all clients."""
    client = connected(1, 2)
    for name in ("C1", "C2", "C1"):
        client.submit(name, cancel())
    assert client.asks() == [(1, 1), (2, 1), (1, 2)]
    client.submit("C2", cancel())

    client.connected()
    assert client.asks() == [], "nothing is sent before all are logged on"
    client.take(logged_on(1, last_number=1), logged_on(2))

    assert client.asks() == [(2, 1), (1, 2), (2, 2)]


def test_one_more_client_repeats_nothing_of_the_others():
    """A logon of another client leaves what is under way alone."""
    client = connected(1)
    client.submit("C1", cancel())
    client.sends()
    client.add("C2")
    client.sends()
    client.take(logged_on(2))

    assert client.asks() == []


@pytest.mark.parametrize("refusal", [p.Busy(2, 1), p.Expected(2, 1)])
def test_a_refused_command_goes_again_with_all_behind_it(refusal: p.Frame):
    """What follows a refused command on the connection was dropped, whoever's it is."""
    client = connected(1, 2)
    for name in ("C1", "C2", "C1"):
        client.submit(name, cancel())
    client.sends()
    client.take(refusal)

    assert client.asks(NOW + 10) == [(2, 1), (1, 2)]


def test_no_more_is_sent_than_the_gateway_bounds_allow():
    """At most max_in_flight of one client go out unanswered; an answer makes room."""
    client = connected(1, max_in_flight=2)
    for _ in range(3):
        client.submit("C1", cancel())

    assert client.asks() == [(1, 1), (1, 2)]
    client.take(answer(1, 1, 11))
    assert client.asks() == [(1, 3)]


def test_a_report_is_news_once():
    """Repeats are dropped; the two fills of a trade with oneself are two reports at one place."""
    client = connected(1)
    maker, taker = (e.Fill(12, 0, 1, 0, 5, "a", 1, 1, 9, 9, 0, is_maker=is_maker) for is_maker in (True, False))
    first = client.take(answer(1, 0, 11), maker, taker)
    again = client.take(answer(1, 0, 11), maker, taker)

    assert (len(first), again) == (3, [])


def test_logons_that_were_lost_with_a_connection_are_sent_again():
    """A gateway that answers our heartbeat with "not logged on" never got the Logons."""
    client = connected(1)
    client.connected()
    client.sends()
    client.take(p.LoggedOff(0, "", p.LogoffReason.NOT_LOGGED_ON, ""))

    assert client.sends() == [p.Logon("C1", 10)]


def test_who_waits_probes_and_who_does_not_beats_slowly():
    """A heartbeat goes out sooner while an answer is missing."""
    client = connected(1)
    idle = client.sends(NOW + 300)
    client.submit("C1", cancel())
    client.sends(NOW + 300)

    assert (idle, client.sends(NOW + 600)) == ([], [p.Heartbeat()])


def test_a_refused_command_takes_no_number():
    """What the gateway would reject is refused here, before it is numbered."""
    client = connected(1)
    with pytest.raises(RefusedError, match="side: expected one of"):
        client.submit("C1", m.NewOrder(0, 0, 1, "a", 7, 1, 1))

    assert client.submit("C1", cancel()) == 1


def test_a_client_keeps_to_the_rate_of_its_key():
    """In any second no more commands go out than it may send, and in time all of them do."""
    client = connected(1, max_per_s=1000, max_in_flight=10_000, max_in_flight_total=20_000)
    for _ in range(2000):
        client.submit("C1", cancel())
    sent = [(now_ms, number) for now_ms in range(NOW, NOW + 3000, 10) for _id, number in client.asks(now_ms)]

    assert [number for _now_ms, number in sent] == list(range(1, 2001))
    assert max(sum(at_ms <= one < at_ms + 1000 for one, _number in sent) for at_ms, _number in sent) <= 1000


def test_who_is_over_its_rate_waits_for_as_long_as_it_was_told():
    """Answers that come meanwhile do not change that."""
    client = connected(1)
    client.submit("C1", cancel()), client.submit("C1", cancel())
    assert client.asks() == [(1, 1), (1, 2)]
    client.take(p.Busy(1, 2, 200, "over its rate"))
    client.take(answer(1, 1, 11))

    assert client.asks(NOW + 199) == []
    assert client.asks(NOW + 200) == [(1, 2)]
