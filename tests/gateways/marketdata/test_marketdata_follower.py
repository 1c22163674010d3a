"""Laws of following: whatever is lost, late or twice, the view ends as the snapshot at the end."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.marketdata.follower import Follower
from gateways.marketdata.protocol import LevelChanged, LevelSnapshot, LevelUpdate
from gateways.marketdata.views import LevelView

LOG, OTHER_LOG = b"log".ljust(16), b"other".ljust(16)

_changes = st.builds(
    lambda price, orders: LevelChanged(1, price, 10 * orders, orders), st.integers(1, 4), st.integers(0, 3)
)
_feeds = st.lists(st.lists(_changes, max_size=3), min_size=1, max_size=12)


def _updates(feed):
    """Numbered updates; one without changes is a heartbeat."""
    number, updates = 1, []
    for changes in feed:
        updates.append(LevelUpdate(1, number, 0, 0, changes))
        number += len(changes)
    return updates


def _snapshot(updates):
    """A snapshot that holds these updates."""
    view = LevelView()
    for update in updates:
        view.apply(update.changes)
    number = sum(len(update.changes) for update in updates)
    return LevelSnapshot(0, 1, number, 0, 0, *view.best_first())


@given(_feeds, st.data())
@settings(max_examples=200, deadline=None)
def test_a_follower_survives_loss(feed, data):
    """Updates may be lost and snapshots be late: one more snapshot at the end makes the view whole."""
    updates = _updates(feed)
    follower = Follower(LevelView())
    for at, update in enumerate(updates):
        if data.draw(st.booleans(), "arrives"):
            follower.update(LOG, update)
        if follower.needs_snapshot and data.draw(st.booleans(), "answered"):
            follower.snapshot(LOG, _snapshot(updates[: data.draw(st.integers(0, at + 1), "up to")]))
    final = _snapshot(updates)
    follower.update(LOG, LevelUpdate(1, final.number + 1, 0, 0, []))

    if follower.needs_snapshot:
        follower.snapshot(LOG, final)

    assert (follower.number, follower.view.best_first()) == (final.number, (final.buys, final.sells))


@given(_feeds, st.integers(0, 12))
@settings(max_examples=100, deadline=None)
def test_updates_around_the_snapshot_are_joined(feed, at):
    """Updates before the snapshot wait for it: those that it holds are dropped, the others applied."""
    updates = _updates(feed)
    follower = Follower(LevelView())

    for update in updates:
        follower.update(LOG, update)
    follower.snapshot(LOG, _snapshot(updates[:at]))

    assert follower.view.best_first() == tuple(map(list, (_snapshot(updates).buys, _snapshot(updates).sells)))
    assert not follower.needs_snapshot


def test_a_gap_is_found_by_a_heartbeat():
    """When the last update was lost, the next heartbeat tells."""
    follower = Follower(LevelView())
    follower.snapshot(LOG, _snapshot([]))

    follower.update(LOG, LevelUpdate(1, 2, 0, 0, []))

    assert follower.needs_snapshot


def test_another_log_is_not_continued():
    """Numbers of another log mean nothing: a new snapshot is needed, and what is left of the old log is dropped."""
    update = LevelUpdate(1, 1, 0, 0, [LevelChanged(1, 5, 10, 1)])
    follower = Follower(LevelView())
    follower.snapshot(LOG, _snapshot([]))

    follower.update(OTHER_LOG, update)
    follower.update(LOG, update)
    follower.snapshot(OTHER_LOG, _snapshot([]))

    assert follower.view.best_first()[0] == update.changes
