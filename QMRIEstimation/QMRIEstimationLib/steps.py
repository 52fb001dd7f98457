"""Progress of a whole from the progress of its steps, and the time each took."""

import time

from .errors import check_cancelled

WEIGHTS = {  # rough times of the steps on a 1 mm head, s
    "reading": 1.0,
    "denoising": 40.0,
    "noise": 0.3,
    "brain mask": 4.0,
    "field map": 3.0,
    "R2*": 1.0,
    "susceptibility": 2.0,
    "flip-angle series": 10.0,
    "transmit field": 12.0,
    "R1": 2.0,
    "R2": 15.0,
    "PD": 12.0,
}


class Steps:
    """Told which step starts, it reports progress, looks whether the user cancelled, and takes the time.

    Attributes:
        cancelled: the callback, for the steps themselves. seconds: name of step -> time it took.
    """

    def __init__(self, progress, cancelled, names):
        self.progress, self.cancelled = progress, cancelled
        whole = sum(WEIGHTS[name] for name in names)
        self.shares = {name: WEIGHTS[name] / whole for name in names}
        self.seconds, self.done, self.name, self.began = {}, 0.0, "", time.perf_counter()

    def start(self, name):
        """End the step before and start this one."""
        self.finish()
        self.name, self.began = name, time.perf_counter()
        self.report(0.0, name)

    def finish(self):
        """End the last step."""
        check_cancelled(self.cancelled)
        if self.name:
            self.seconds[self.name] = round(time.perf_counter() - self.began, 3)
            self.done += self.shares[self.name]
        self.name = ""

    def report(self, fraction, text):
        """Progress within the step."""
        if self.progress is not None:
            self.progress(min(self.done + self.shares[self.name] * fraction, 1.0), text)


def part(progress, start, share):
    """The callback for a piece of work that takes `share` of the whole, from `start` on."""
    if progress is None:
        return None
    return lambda fraction, text: progress(start + share * fraction, text)
