"""Replicas that attach while nodes, replicas and links are hurt: `tests.faults.visitors` in a short form."""

from pathlib import Path

from tests.faults.visitors import Visits


def test_whoever_attaches_becomes_live_and_the_same(tmp_path: Path):
    """Under one kind of act after the other; and every command of the flow is answered."""
    with Visits(tmp_path, seed=1, flow_lines=5000) as visits:
        for kind in ("kill_leader", "cut_links", "kill_visitors"):
            visits.do(kind, at_once=2)
        assert visits.end_flow() > 0
    assert visits.attached == 6
