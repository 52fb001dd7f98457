"""Units on this machine: as many at a time as there are cores and memory for, each in a process of its own."""

import time
from collections import deque
from dataclasses import dataclass

from .memory import GB

PAUSE = 0.05  # s between two looks at the processes


@dataclass(frozen=True)
class Outcome:
    """How a unit ended: error is empty where it is done. notes: its sentences. output: everything it printed."""

    error: str
    notes: tuple = ()
    output: str = ""


def too_large(need, budget):
    """Sentence for a unit that no memory is enough for."""
    return (
        f"needs about {need / GB:.1f} GB by the headers of its images, there are {budget / GB:.1f} GB; use a machine "
        "with more memory, or raise --mem-gb if you know better."
    )


def run_local(units, start, need, slots, budget, tell, stop_on_first_crash=False):
    """Run units side by side.

    Args:
        units: list of Unit. start: function from a unit to background.BackgroundRun.
        need: unit -> bytes. slots: processes at a time. budget: bytes for all of them together.
        tell: called with (unit, Outcome, numbers) when one ends; numbers: (done, failed, running).
        stop_on_first_crash: start nothing more after a failure.
    Returns:
        unit -> Outcome of those that were tried.
    A process that dies without a sentence (killed, out of memory) is tried once more, alone. However this function
    ends, no process of it is left.
    """
    outcomes, running, alone = {}, {}, deque()
    waiting = deque(units)
    try:
        while waiting or alone or running:
            _start_some(waiting, alone, running, start, need, slots, budget, outcomes, tell)
            for unit in [unit for unit, (run, _) in running.items() if not run.running]:
                run, again = running.pop(unit)
                if run.crashed and not again:
                    alone.append(unit)
                    continue
                error = f"{run.error} It was tried twice." if run.crashed else run.error
                ended(unit, Outcome(error, tuple(run.notes), run.output), outcomes, len(running), tell)
            if stop_on_first_crash and any(outcome.error for outcome in outcomes.values()):
                waiting.clear()
                alone.clear()
            if running:
                time.sleep(PAUSE)
    finally:
        for run, _ in running.values():
            run.cancel()
    return outcomes


def _start_some(waiting, alone, running, start, need, slots, budget, outcomes, tell):
    """Start what there is room for: large ones do not overtake, those to be tried again run when nothing else does."""
    while waiting and len(running) < slots and not any(again for _, again in running.values()):
        unit = waiting[0]
        if need[unit] > budget:
            waiting.popleft()
            ended(unit, Outcome(too_large(need[unit], budget)), outcomes, len(running), tell)
            continue
        if running and sum(need[other] for other in running) + need[unit] > budget:
            return
        running[waiting.popleft()] = start(unit), False
    if alone and not waiting and not running:
        unit = alone.popleft()
        running[unit] = start(unit), True


def ended(unit, outcome, outcomes, running, tell):
    """Keep how a unit ended, and tell it. running: number of those that go on."""
    outcomes[unit] = outcome
    failed = sum(bool(other.error) for other in outcomes.values())
    tell(unit, outcome, (len(outcomes) - failed, failed, running))
