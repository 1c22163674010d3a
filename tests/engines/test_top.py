"""The venue at a glance: what has changed is told once, and nothing that has not."""

import pytest
from rich.console import Console

from engines.top import NEWS_MAX, Top, changes
from sequencer.admin import Status

NODE = {"name": "node-1", "role": "leader", "pid": 7, "position": 1000, "lag": 0, "state": "live"}
REPLICA = {"name": "m-1", "role": "matching", "pid": 8, "position": 900, "lag": 100, "state": "live", "sender": "m.0"}


def status(nodes=(), replicas=()):
    return Status(list(nodes), list(replicas), [], [])


def shown(group) -> str:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(group)
    return console.export_text()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, []),
        ({"position": 5000, "lag": 3}, []),
        ({"role": "follower"}, ["node-1 is follower now, it was leader"]),
        ({"state": "stale"}, ["node-1 is stale, it was live"]),
        ({"pid": 9}, ["node-1 was started again, as process 9"]),
        ({"verdict": "halted", "why": "no"}, ["node-1 is halted, it was live: no"]),
    ],
)
def test_what_has_changed_is_told(change, text):
    """Of a process that is there before and after."""
    assert changes({"node-1": NODE}, {"node-1": {**NODE, **change}}) == text


def test_who_comes_and_who_goes():
    """By name."""
    assert changes({"a": NODE, "b": NODE}, {"b": NODE, "c": {**NODE, "state": "attaching"}}) == [
        "c is here, attaching",
        "a has left",
    ]


def test_the_first_look_has_no_news_and_the_second_a_rate():
    """A node's rate is what it came further; the replicas' verdicts are those of `replicas`."""
    top = Top()
    first = shown(top.see(status([NODE], [REPLICA]), 10.0, "12:00:00"))
    assert not top.news
    again = shown(top.see(status([{**NODE, "position": 3000}], [{**REPLICA, "state": "halted"}]), 12.0, "12:00:02"))

    assert "m-1" in first
    assert "1,000" in again.split("replicas")[0]
    assert [row["what"] for row in top.news] == ["m-1 is halted, it was live"]
    assert "12:00:02" in again


def test_news_are_few():
    """The latest stay."""
    top = Top()
    for look in range(3 * NEWS_MAX):
        top.see(status([{**NODE, "role": f"r{look}"}]), float(look), str(look))

    assert len(top.news) == NEWS_MAX
    assert top.news[0]["what"] == f"node-1 is r{3 * NEWS_MAX - 1} now, it was r{3 * NEWS_MAX - 2}"
