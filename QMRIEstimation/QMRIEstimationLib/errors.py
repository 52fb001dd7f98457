"""The two ways in which a computation ends early without being a bug, and what is said of every other."""

import errno

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class InputError(ValueError):
    """Something the user can mend; the sentence says what, where, what was expected and what to do."""


class Unusable(InputError):
    """A scan that holds nothing: what depends on it is not made, the rest is."""


class Misaligned(Unusable):
    """Scans that cannot be brought together: what depends on both is not made, the rest is."""


class Cancelled(Exception):
    """The user asked to stop; nothing half-made is left behind."""


def sentence(error):
    """What to tell the user about an exception; a bug keeps its type."""
    if isinstance(error, (InputError, Cancelled)):
        return str(error)
    if isinstance(error, KeyboardInterrupt):
        return "stopped before the end; run it again."
    if isinstance(error, MemoryError):
        return f"the memory is not enough ({error or 'out of memory'}); close other programs or use a larger machine."
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in FULL:
            return f"{where}the disk is full ({error.strerror}); make room and run it again, what is done is kept."
        return f"{where}{error.strerror}; check the path, its permissions and the free space."
    return f"{type(error).__name__}: {error} (-v shows where)"


def check_cancelled(cancelled):
    """Raise Cancelled when the optional callback says so; called at least every second."""
    if cancelled is not None and cancelled():
        raise Cancelled("cancelled by the user")
