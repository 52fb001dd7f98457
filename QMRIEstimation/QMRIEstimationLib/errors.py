"""The two ways in which a computation ends early without being a bug."""


class InputError(ValueError):
    """Something the user can mend; the sentence says what, where, what was expected and what to do."""


class Cancelled(Exception):
    """The user asked to stop; nothing half-made is left behind."""


def check_cancelled(cancelled):
    """Raise Cancelled when the optional callback says so; called at least every second."""
    if cancelled is not None and cancelled():
        raise Cancelled("cancelled by the user")
