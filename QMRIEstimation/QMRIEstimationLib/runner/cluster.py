"""Units on many machines, through a dask.distributed cluster that is running: each in a process of its own there.

A subject that kills its process harms no other, because dask sees a task that fails, not a worker that dies; and a
process whose worker is killed ends with it (it watches its standard input), so that no two work on one subject.
"""

import signal
import threading
import time
import uuid
from pathlib import Path

from ..background import BackgroundRun
from ..errors import InputError
from .local import Outcome, ended, too_large
from .memory import GB

RESOURCE = "GB"  # that workers say they have: dask worker ... --resources "GB=16"
PAUSE = 0.2  # s between two looks at a process, and at the file that stops all of them
RETRIES = 1
WORKERS_WITHIN = 60.0  # s


class _Crashed(RuntimeError):
    """A unit's process died without a sentence; dask tries it once more, where it wants."""


def connect(where):
    """Client of the cluster at an address, or of the scheduler that wrote a file.

    Raises:
        InputError: distributed is not installed, or no scheduler or worker answers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "--scheduler needs the package distributed, here and on the workers; install it with pip."
        ) from None
    place = {"scheduler_file": where} if Path(where).is_file() else {"address": where}
    try:
        client = Client(**place, timeout=WORKERS_WITHIN)
        client.wait_for_workers(1, timeout=WORKERS_WITHIN)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"--scheduler {where}: no dask scheduler with workers answers there ({error}); start both first, or "
            "correct the address or the file."
        ) from None
    return client


def run_on_cluster(client, units, words_of, log_of, need, tell, stop_on_first_crash=False):
    """Run units on the workers of a cluster.

    Args:
        client: distributed.Client. units: list of Unit. words_of, log_of: functions from a unit to the arguments of
            `slicer-qmri`, and to the file for what it prints; paths must be those of the workers.
        need: unit -> bytes. tell, stop_on_first_crash: as for `local.run_local`.
    Returns:
        unit -> Outcome.
    """
    from distributed import as_completed

    most = _memory_of_workers(client)
    stop = str(log_of(units[0]).parent / f"stop-{uuid.uuid4().hex}") if units else ""
    outcomes, futures = {}, {}
    interrupted = []
    before = _note_interrupts(interrupted)
    try:
        for unit in units:
            if most is not None and need[unit] > most * GB:
                ended(unit, Outcome(too_large(need[unit], most * GB)), outcomes, 0, tell)
                continue
            future = client.submit(
                run_unit,
                [str(word) for word in words_of(unit)],
                str(log_of(unit)),
                stop,
                key=f"{unit.name}-{uuid.uuid4().hex}",
                pure=False,
                retries=RETRIES,
                resources=None if most is None else {RESOURCE: need[unit] / GB},
            )
            futures[future] = unit
        for future in as_completed(futures):
            if interrupted:
                raise KeyboardInterrupt
            unit = futures[future]
            ended(unit, _outcome(future), outcomes, len(futures) - len(outcomes) - 1, tell)
            if outcomes[unit].error and stop_on_first_crash:
                break
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
        stopped = interrupted or len(outcomes) < len(units)
        if stopped:  # running tasks cannot be cancelled, so they look for this file
            Path(stop).touch()
            client.cancel(list(futures))
            time.sleep(3 * PAUSE)
            Path(stop).unlink(missing_ok=True)
    return outcomes


def _note_interrupts(interrupted):
    """Have every Ctrl-C noted in a list beside what it does: within the libraries of the cluster it can get lost.

    Returns:
        the handler that was there, to be put back; None where there is none to replace.
    """
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        return None

    def note(number, frame):
        interrupted.append(number)
        usual(number, frame)

    signal.signal(signal.SIGINT, note)
    return usual


def run_unit(words, log, stop):
    """What a worker does: one unit in a process of its own, ended with the worker or by a file named `stop`.

    Returns:
        error (empty when done), notes, output; small, as dask keeps it in memory.
    """
    run = BackgroundRun(words, log)
    try:
        while run.running:
            if Path(stop).exists():
                break
            time.sleep(PAUSE)
    finally:
        if run.running:
            run.cancel()
    if run.crashed:
        raise _Crashed(run.error)
    return run.error, run.notes, run.output


def _memory_of_workers(client):
    """GB of the largest worker, None where no worker says what it has."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    known = [worker["resources"][RESOURCE] for worker in workers if RESOURCE in worker.get("resources", {})]
    return max(known, default=None)


def _outcome(future):
    if future.cancelled():
        return Outcome("the scheduler has gone; start it again and run the same line, what is done is kept.")
    error = future.exception()
    if error is None:
        text, notes, output = future.result()
        return Outcome(text, tuple(notes), output)
    if isinstance(error, _Crashed):
        return Outcome(f"{error} It was tried twice.")
    return Outcome(f"its worker was lost ({type(error).__name__}); run the same line again.")
