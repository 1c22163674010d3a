"""Law 12: what trades depends on the commands and their order, and on nothing else."""

from tests.integration.conftest import Launch, Traded
from tests.integration.naive_flow import events_of
from tests.models.running import by_instrument


def test_each_instrument_has_the_same_events_at_any_speed_and_hash_seed(traded: Traded, launch: Launch):
    """The same file from empty data, at another rate and under another PYTHONHASHSEED, gives the same events."""
    again = launch(env={"PYTHONHASHSEED": "2"}).events(traded.lines, "--rate", "4000")

    assert by_instrument(again) == by_instrument(traded.events)


def test_the_venue_does_what_a_naive_model_makes_of_the_same_file(traded: Traded):
    """One thread that walks the file, with a list of orders for a book, has the same events for each instrument."""
    assert by_instrument(traded.events) == by_instrument(events_of(traded.lines))
