"""Hunts every bug anew: `python -m tests.zoo [NAME ...] [--seeds 300]` prints what catches it, and how soon."""

import argparse
import tempfile
from pathlib import Path

from tests.zoo.hunt import bugs, fails, infect, seeds_until_failure

PLACES = (
    "tests/scenarios",
    "tests/sequencer/journal",
    "tests/sequencer/test_raft.py",
    "tests/sequencer/test_sessions.py",
    "tests/sequencer/test_ordering.py",
    "tests/sequencer/test_clock.py",
    "tests/sequencer/test_durable.py",
    "tests/sequencer/test_writing.py",
)


def main() -> None:
    """One line a bug, as it is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seeds", type=int, default=300)
    options = parser.parse_args()
    for bug in bugs():
        if options.names and bug.name not in options.names:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            infect(bug, Path(scratch))
            places = [place for place in PLACES if fails(Path(scratch), place)]
            seeds = seeds_until_failure(Path(scratch), options.seeds)
        verdict = f"{seeds} seeds" if seeds else f"not in {options.seeds} seeds"
        print(f"{bug.name:44} {verdict:20} {', '.join(places) or 'no test'}", flush=True)


if __name__ == "__main__":
    main()
