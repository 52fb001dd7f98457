"""How an algorithm is listed among those of its step."""

from collections.abc import Callable
from typing import NamedTuple


class Method(NamedTuple):
    """One algorithm that a step of QSM can be done with; its settings are the field of that name in the step's options.

    Attributes:
        title, reference: for sidecars and reports.
        function: what does it; the step says with which arguments.
        weighted: it takes the reliability of the field as a weight, so that no voxel need be left out.
        resumes: it can go on from a solution for other noise, given as last argument, in a fraction of the time.
    """

    title: str
    reference: str
    function: Callable
    weighted: bool = True
    resumes: bool = False


def settings_of(options, method):
    """The settings of one method within the options of its step."""
    return getattr(options, method.replace("-", "_"))
