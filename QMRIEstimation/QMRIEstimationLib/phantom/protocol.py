"""What is scanned of the digital patient at 1.5, 3 and 7 T: the one place for its protocol."""

from dataclasses import dataclass
from math import radians

from ..acquisition import Role
from .sequences import Afi, Bssfp, Flair, InversionRecoveryGre, SpoiledGre


@dataclass(frozen=True)
class PlannedScan:
    """One scan of the protocol: what it is for and its sequence."""

    role: Role
    sequence: object


# field (T): multi-echo TR, first echo and echo spacing; one short echo and TR of the flip-angle series; all s
_TIMES = {
    1.5: (0.050, 0.0050, 0.0075, 0.0025, 0.015),
    3.0: (0.036, 0.0040, 0.0050, 0.0022, 0.015),
    7.0: (0.026, 0.0025, 0.0032, 0.0018, 0.015),
}
_MULTI_ECHO_FLIP = {1.5: radians(20), 3.0: radians(15), 7.0: radians(12)}
_INVERSION = {1.5: 1.00, 3.0: 1.10, 7.0: 1.25}  # s, of the T1-weighted scan
_FLAIR = {1.5: (8.0, 2.28, 0.13), 3.0: (8.0, 2.28, 0.12), 7.0: (8.0, 2.28, 0.09)}  # TR, TI, effective TE, s
ECHOES = 6
FLIP_ANGLES = (radians(3), radians(8), radians(18))
BSSFP_FLIP_ANGLES = (radians(12), radians(35))
PHASE_CYCLES = (0.0, radians(90), radians(180), radians(270))


def default_protocol(field_strength):
    """The scans of one visit at `field_strength` (T), in scanning order: tuple of PlannedScan.

    Raises:
        ValueError: no protocol is written for this field.
    """
    if field_strength not in _TIMES:
        raise ValueError(f"field_strength is {field_strength} T, expected one of {sorted(_TIMES)}.")
    multi_echo_tr, first, spacing, short, tr = _TIMES[field_strength]
    echoes = tuple(round(first + n * spacing, 6) for n in range(ECHOES))
    flair_tr, flair_ti, flair_te = _FLAIR[field_strength]
    reference = SpoiledGre(radians(2), 0.008, (short,))
    t1w = InversionRecoveryGre(radians(9), 2.3, _INVERSION[field_strength], (0.003,), 0.0075, 160)
    multi_echo = SpoiledGre(_MULTI_ECHO_FLIP[field_strength], multi_echo_tr, echoes)
    return (
        PlannedScan(Role.RECEIVE_BODY, reference),
        PlannedScan(Role.RECEIVE_HEAD, reference),
        PlannedScan(Role.AFI, Afi(radians(60), (0.020, 0.100), (short,))),
        *(PlannedScan(Role.SPOILED_GRE, SpoiledGre(flip, tr, (short,))) for flip in FLIP_ANGLES),
        *(PlannedScan(Role.BSSFP, Bssfp(flip, 0.006, cycle)) for flip in BSSFP_FLIP_ANGLES for cycle in PHASE_CYCLES),
        PlannedScan(Role.MULTI_ECHO_GRE, multi_echo),
        PlannedScan(Role.FLAIR, Flair(flair_tr, flair_ti, (flair_te,))),
        PlannedScan(Role.T1W, t1w),
        PlannedScan(Role.T1W_GADOLINIUM, t1w),
    )
