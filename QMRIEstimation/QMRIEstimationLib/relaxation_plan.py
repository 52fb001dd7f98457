"""Which scans of a session R1, R2 and proton density are made of, and what stands against it."""

from dataclasses import dataclass

import numpy as np

from .acquisition import Role, Scan
from .errors import InputError
from .receive_settings import receive_differences
from .relaxometry.r1 import SAME_FLIP

MAPS = ("R1", "R2", "PD")
ROLES = (
    Role.SPOILED_GRE, Role.BSSFP, Role.SPIN_ECHO, Role.AFI, Role.DOUBLE_ANGLE, Role.B1_MAP, Role.RECEIVE_BODY,
    Role.RECEIVE_HEAD,
)  # fmt: skip
SERIES = "flip-angle series"
FILES = {  # of the routes to R2
    "bssfp": "anat/*_acq-bssfpPC<deg>_VFA.nii.gz",
    "spin-echo": "anat/*_echo-<n>_MESE.nii.gz",
}


@dataclass(frozen=True, eq=False)
class RelaxationPlan:
    """What will be made of which scans.

    Attributes:
        flips: spoiled gradient echoes, ascending flip angle; empty when R1 is known or only R2 by spin echo is made.
        cycles, train: bSSFP scans or multi-echo spin echo, for R2; empty and None when it is not to be made.
        maps: names to make, R2star among them when all echoes of the flip angles give it together.
        explicit: whether the user asked for them by name. joint: whether all echoes of the flip angles are fitted.
        notes: sentences.
    """

    flips: tuple
    cycles: tuple
    train: Scan | None
    maps: tuple
    explicit: bool
    joint: bool
    notes: tuple = ()

    @property
    def scans(self):
        """The scans that are used; those that measure coil fields are not among them."""
        return (*self.flips, *self.cycles, *(() if self.train is None else (self.train,)))

    @property
    def steps(self):
        """Names of the steps."""
        names = [SERIES]
        if self.relaxes:
            names += ["transmit field"] + (["R1"] if self.flips else [])
        return names + [name for name in ("R2", "PD") if name in self.maps]

    @property
    def relaxes(self):
        """Whether more than R2* is made."""
        return bool(set(self.maps) & set(MAPS))


def plan_relaxation(session, wanted, explicit, settings, multi_echo=None, known=()):
    """RelaxationPlan, or None when there is nothing to make R1, R2 or PD of.

    Args:
        session: acquisition.Session. wanted: names of maps. explicit: whether the user named them.
        settings: settings.Settings. multi_echo: the Scan that R2* and chi are made of, or None.
        known: names of maps that are given.
    Raises:
        InputError: a map that was asked for cannot be made, or scans are there but lack what R1 needs.
    """
    asked = [name for name in MAPS if name in wanted and name not in known]
    flips = sorted(session.of(Role.SPOILED_GRE), key=lambda scan: scan.flip_angle or 0)
    joint = settings.r1.all_echoes and any(len(scan.echo_times) > 1 for scan in flips)
    r2star = "R2star" in wanted and "R2star" not in known and _joint_r2star(session, flips, settings, multi_echo)
    cycles, train, notes = (), None, []
    if "R2" in asked:
        has_r1 = "R1" in known or len(flips) > 1
        cycles, train, notes = _for_r2(session, settings.r2.route, has_r1, explicit)
        if not cycles and train is None:
            asked.remove("R2")
    if not asked and not r2star:
        return None
    names = asked + (["R2star"] if r2star else [])
    alone = train is not None or bool(cycles and "R1" in known)  # R2 does without a flip-angle series
    needing = [name for name in names if name != "R2" or not alone]  # the flip angles
    try:
        without = "R1" in known and not needing
        usable = () if without else _usable_flips(session, flips, needing or names, explicit and bool(needing))
    except InputError as error:
        if needing:
            raise
        usable = ()
        if flips:
            notes.append(f"{str(error).rstrip('.')}; until then R2 is made without them.")
    if not usable:
        names = ["R2"] if alone and "R2" in asked else []
    return RelaxationPlan(usable, cycles, train, tuple(names), explicit, joint, tuple(notes)) if names else None


def _joint_r2star(session, flips, settings, multi_echo):
    """Whether R2* is made of all echoes of the flip angles together."""
    route = settings.r2star.route
    several = len(flips) > 1 and any(len(scan.echo_times) > 1 for scan in flips)
    if route == "joint" and not (several and settings.r1.all_echoes):
        raise InputError(
            f"sub-{session.subject}: r2star.route is joint, which needs several flip angles with two or more echoes "
            "(anat/*_echo-<n>_flip-<n>_VFA.nii.gz) and r1.all_echoes; add them, or set r2star.route to auto."
        )
    return several and settings.r1.all_echoes and (route == "joint" or (route == "auto" and multi_echo in flips))


def _for_r2(session, route, has_r1, explicit):
    """bSSFP scans or multi-echo spin echo (the other empty or None), and notes."""
    cycles, trains = session.of(Role.BSSFP), session.of(Role.SPIN_ECHO)
    there = {"bssfp": cycles, "spin-echo": trains}
    if route != "auto" and not there[route]:
        raise InputError(
            f"sub-{session.subject}: r2.route is {route}, which needs {FILES[route]}; add it, or set r2.route to auto."
        )
    if cycles and route != "spin-echo" and (has_r1 or not trains):
        return tuple(cycles), None, []
    if trains and route != "bssfp":
        train = max(trains, key=lambda scan: len(scan.echo_times))
        others = [scan.name for scan in (*trains, *cycles) if scan is not train]
        why = f"{train.name}: R2 was made of this scan (r2.route is {route}); not used: {', '.join(others)}."
        return (), train, [why] if others else []
    if explicit:
        raise InputError(
            f"sub-{session.subject}: no phase-cycled bSSFP was found and no multi-echo spin echo, R2 needs "
            f"{FILES['bssfp']} or {FILES['spin-echo']}; add it, or leave out R2 with --maps."
        )
    return (), None, []


def _usable_flips(session, flips, asked, explicit):
    """The flip angles when they can give R1; () when they cannot and nobody asked for it by name."""
    if not flips and not explicit:
        return ()
    cure = f"or leave out {', '.join(asked)} with --maps."
    if not flips:
        raise InputError(
            f"sub-{session.subject}: no spoiled GRE with several flip angles was found, {', '.join(asked)} need "
            f"anat/*_flip-<n>_VFA.nii.gz; add it, {cure}"
        )
    for scan in flips:
        for name, text in (("flip_angle", "FlipAngle"), ("repetition_time", "RepetitionTimeExcitation")):
            if getattr(scan, name) is None:
                raise InputError(f"{scan.name}: {text} is missing, R1 needs it; add it, {cure}")
    angles = [scan.flip_angle for scan in flips]
    if max(angles) - min(angles) < SAME_FLIP:
        shown = ", ".join(f"{np.degrees(a):g}" for a in angles)
        if not explicit and len(flips) == 1:
            return ()
        raise InputError(
            f"{flips[0].name}: the flip angles are {shown} degrees, R1 needs two different ones; "
            f"add the other flip angle, {cure}"
        )
    differences = receive_differences({scan.name: scan.header for scan in flips})
    if differences.refused:
        raise InputError(f"sub-{session.subject}: {differences.refused[0].rstrip('.')}, {cure}")
    return tuple(flips)
