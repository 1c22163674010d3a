"""Finds the few faults that a failure needs: parts of them are left out, ever smaller, as long as it still fails.

After Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input" (delta debugging). Each fault
has chance of its own, so one that is left out changes the others only through what happens.
"""

import dataclasses

from tests.simulation.cluster import Outcome, Plan, simulate

RUNS_MAX = 200


def shrink(outcome: Outcome) -> Plan:
    """The plan with as many faults left out as the failure allows."""
    plan, runs = outcome.plan, 0
    kept = [number for number in range(1, outcome.fault_numbers + 1) if number not in plan.skip]
    size = len(kept) // 2
    while size and runs < RUNS_MAX:
        place = 0
        while place < len(kept) and runs < RUNS_MAX:
            fewer = kept[:place] + kept[place + size :]
            runs += 1
            smaller = _with(plan, fewer, outcome.fault_numbers)
            if simulate(smaller).failure:
                kept, plan = fewer, smaller
            else:
                place += size
        size //= 2
    return plan


def _with(plan: Plan, kept: list[int], numbers: int) -> Plan:
    return dataclasses.replace(plan, skip=frozenset(range(1, numbers + 1)) - frozenset(kept))
