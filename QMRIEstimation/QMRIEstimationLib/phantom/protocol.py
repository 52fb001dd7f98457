"""What is scanned of the digital patient at 1.5, 3 and 7 T: the one place for its protocol."""

from dataclasses import dataclass
from math import radians

from ..acquisition import Role
from .sequences import Afi, Bssfp, Flair, InversionRecoveryGre, SpoiledGre
from .spin_echo import MultiSpinEcho


@dataclass(frozen=True)
class PlannedScan:
    """One scan of the protocol: what it is for, its sequence, and whether the truth lies on its grid."""

    role: Role
    sequence: object
    reference: bool = False


# field (T): multi-echo TR, first echo and echo spacing; one short echo and TR of the flip-angle series; all s
_TIMES = {
    1.5: (0.050, 0.0050, 0.0075, 0.0025, 0.015),
    3.0: (0.036, 0.0040, 0.0050, 0.0022, 0.015),
    7.0: (0.026, 0.0025, 0.0032, 0.0018, 0.015),
}
_MULTI_ECHO_FLIP = {1.5: radians(20), 3.0: radians(15), 7.0: radians(12)}
_INVERSION = {1.5: 1.00, 3.0: 1.10, 7.0: 1.25}  # s, of the T1-weighted scan
_FLAIR = {1.5: (8.0, 2.28, 0.13), 3.0: (8.0, 2.28, 0.12), 7.0: (8.0, 2.28, 0.09)}  # TR, TI, effective TE, s
_RESUME = {1.5: (0.040, 0.0100, 0.0330), 3.0: (0.028, 0.0076, 0.0220), 7.0: (0.021, 0.0050, 0.0150)}  # TR, TEs, s
_SPIN_ECHO = {1.5: (2.5, 0.010), 3.0: (2.5, 0.010), 7.0: (2.5, 0.008)}  # TR and echo spacing, s
ECHOES = 6
SPIN_ECHOES = 10
FLIP_ANGLES = (radians(3), radians(8), radians(18))
RESUME_FLIP_ANGLES = (radians(3), radians(20))
BSSFP_FLIP_ANGLES = (radians(12), radians(35))
PHASE_CYCLES = (0.0, radians(90), radians(180), radians(270))


PROTOCOLS = ("standard", "resume", "spin-echo")


def default_protocol(field_strength, protocol="standard"):
    """The scans of one visit at `field_strength` (T), in scanning order: tuple of PlannedScan.

    `standard` has one echo of three flip angles, bSSFP and a multi-echo scan; in `resume` two flip angles of two echoes
    serve for all of that but R2; `spin-echo` is the standard with a multi-echo spin echo in place of bSSFP.

    Raises:
        ValueError: no protocol is written for this field, or none has this name.
    """
    if field_strength not in _TIMES:
        raise ValueError(f"field_strength is {field_strength} T, expected one of {sorted(_TIMES)}.")
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol is {protocol!r}, expected one of {', '.join(PROTOCOLS)}.")
    short = _TIMES[field_strength][3]
    flair_tr, flair_ti, flair_te = _FLAIR[field_strength]
    reference = SpoiledGre(radians(2), 0.008, (short,))
    t1w = InversionRecoveryGre(radians(9), 2.3, _INVERSION[field_strength], (0.003,), 0.0075, 160)
    return (
        PlannedScan(Role.RECEIVE_BODY, reference),
        PlannedScan(Role.RECEIVE_HEAD, reference),
        PlannedScan(Role.AFI, Afi(radians(60), (0.020, 0.100), (short,))),
        *(_resume(field_strength) if protocol == "resume" else _separate(field_strength, protocol)),
        PlannedScan(Role.FLAIR, Flair(flair_tr, flair_ti, (flair_te,))),
        PlannedScan(Role.T1W, t1w),
        PlannedScan(Role.T1W_GADOLINIUM, t1w),
    )


def _resume(field_strength):
    """Two flip angles of two echoes each; the larger one is the reference."""
    tr, *echoes = _RESUME[field_strength]
    low, high = (SpoiledGre(flip, tr, tuple(echoes)) for flip in RESUME_FLIP_ANGLES)
    return PlannedScan(Role.SPOILED_GRE, low), PlannedScan(Role.SPOILED_GRE, high, reference=True)


def _separate(field_strength, protocol):
    """Flip-angle series, bSSFP or multi-echo spin echo, and the multi-echo scan, which is the reference."""
    multi_echo_tr, first, spacing, short, tr = _TIMES[field_strength]
    echoes = tuple(round(first + n * spacing, 6) for n in range(ECHOES))
    multi_echo = SpoiledGre(_MULTI_ECHO_FLIP[field_strength], multi_echo_tr, echoes)
    train_tr, train_spacing = _SPIN_ECHO[field_strength]
    train = tuple(round(train_spacing * n, 6) for n in range(1, SPIN_ECHOES + 1))
    for_r2 = [Bssfp(flip, 0.006, cycle) for flip in BSSFP_FLIP_ANGLES for cycle in PHASE_CYCLES]
    return (
        *(PlannedScan(Role.SPOILED_GRE, SpoiledGre(flip, tr, (short,))) for flip in FLIP_ANGLES),
        *(
            [PlannedScan(Role.SPIN_ECHO, MultiSpinEcho(train_tr, train))]
            if protocol == "spin-echo"
            else [PlannedScan(Role.BSSFP, sequence) for sequence in for_r2]
        ),
        PlannedScan(Role.MULTI_ECHO_GRE, multi_echo, reference=True),
    )
