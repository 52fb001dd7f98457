"""How many processor cores the engine uses, and the one way in which its voxel loops use them.

Voxel loops are compiled without numba's own parallel loops, whose compiling costs more than that of the loops, and are
called for a piece of the voxels at a time from Python threads; they release the interpreter's lock.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from .errors import check_cancelled

PIECE = 1 << 15  # voxels one thread takes at a time: some milliseconds, so that a user who stops it waits no longer
UNHEARD = 4  # as many at a time where nobody listens, as in loops so light that to begin a piece costs a tenth

_threads = {"count": os.cpu_count() or 1}


def use_threads(number):
    """Let voxel loops, Fourier transforms and SimpleITK use `number` cores, at least 1; bits do not depend on it."""
    import SimpleITK

    _threads["count"] = max(1, int(number))
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(_threads["count"])


def thread_count():
    """Number of cores to use."""
    return _threads["count"]


def in_pieces(work, count, piece=None, progress=None, cancelled=None, text=""):
    """Call `work(first, last)` for pieces of range(count), several at a time; each may write only what belongs to it.

    Args:
        piece: length of a piece, None for PIECE, or UNHEARD times that without callbacks.
        progress, cancelled: optional callbacks, called from the calling thread after each piece; `text` is for
            progress.
    Raises:
        Cancelled; what `work` raises.
    """
    piece = piece or (PIECE if progress or cancelled else UNHEARD * PIECE)
    pieces = [(first, min(first + piece, count)) for first in range(0, count, piece)]

    def looked_after(results):
        for number, _ in enumerate(results):
            check_cancelled(cancelled)
            if progress is not None:
                progress((number + 1) / len(pieces), text)

    check_cancelled(cancelled)
    if min(thread_count(), len(pieces)) <= 1:
        looked_after(work(*piece) for piece in pieces)
        return
    with ThreadPoolExecutor(min(thread_count(), len(pieces))) as pool:
        with closing(pool.map(lambda piece: work(*piece), pieces)) as results:  # closing drops the pieces not begun
            looked_after(results)
