"""From maps and a drawing of the lesions to stages: the order of the steps, lesion by lesion."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from QMRIEstimationLib.errors import InputError, check_cancelled
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.steps import part
from QMRIEstimationLib.threads import in_pieces
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from .calls import GRADES
from .contrast_agent import AFTER
from .cortex import CorticalPart, cortical_parts
from .enhancement import Enhancement, enhancement_of, uptake_of
from .evidence import Findings
from .instances import lesion_instances
from .lesion_crop import crop_lesions
from .options import StagingOptions
from .profile import profile_of
from .reference import level, local_reference
from .rim import RayFrame, Rim, find_rim, why_not_assessable
from .self_check import Recovery, VirtualRims
from .stage import OUTSIDE, SMALL, Stage, no_stage, stage_of
from .surroundings import Surroundings, surroundings_of
from .veins import veins_near

MAPS = ("R1", "R2", "R2star", "PD", "Chi")
STRONG_UPTAKE = 4.0  # SDs of white matter, mean of the lesion or height of a ring: beyond noise, misplacement (assumed)
PARAMAGNETIC_CORE = 0.150  # ppm above white matter: blood products, no lesion of MS
TUMEFACTIVE = 20.0  # mm
CORTICAL = 0.5  # of the border along the cortex, and
BAND = 2.0  # times as long as a sphere of its volume: a band, not a lesion of white matter
POSSIBLE = {  # of the median of white matter in unit of the map; outside it is another unit or another thing
    "R1": (0.2, 4.0),
    "R2": (3.0, 60.0),
    "R2star": (5.0, 150.0),
    "PD": (30.0, 110.0),
    "Chi": (-0.3, 0.3),
}


@dataclass(frozen=True, eq=False)
class StagingInput:
    """What a patient's lesions are staged from; every array [k, j, i] on one grid.

    Attributes:
        maps: name (of MAPS) -> maps.QuantitativeMap. geometry: Geometry. brain: bool.
        drawn: mask, labels or probabilities of the lesions.
        tissue: (labels, names), or None. before, after: T1-weighted images, or None.
        uptake_unknown: why enhancement cannot be told, where it cannot.
        enhancing: bool mask of enhancement that was drawn, instead of images; or None.
        timings: name of map -> contrast_agent.Timing. respond: as maps.Estimate.respond. field_strength: T.
    """

    maps: dict
    geometry: Geometry
    brain: np.ndarray
    drawn: np.ndarray
    tissue: tuple | None = None
    before: np.ndarray | None = None
    after: np.ndarray | None = None
    uptake_unknown: str = "there is no T1-weighted scan after gadolinium"
    enhancing: np.ndarray | None = None
    timings: dict = field(default_factory=dict)
    respond: Callable | None = None
    field_strength: float | None = None


@dataclass(frozen=True, eq=False)
class Lesion:
    """What was found of one lesion.

    Attributes:
        number: label. parent: confluent lesion it is a part of, 0 for none. volume: mm^3. centre: RAS, mm.
        diameter: mm, of the sphere of its volume. longest: mm, longest diameter.
        reference: which white matter it was compared with.
        profiles: name of map -> profile.Profile; also "uptake" of gadolinium, as a share of the signal of white matter.
        references: name of map -> reference.Level.
        deltas: name of map -> (whole lesion minus reference, its SD). gain: of the map of chi for this size.
        rim, recovery, enhancement, stage: as their modules say.
        cortex: what it holds of the cortex; None where that is not labelled.
    """

    number: int
    parent: int
    volume: float
    centre: np.ndarray
    diameter: float
    longest: float
    reference: str
    profiles: dict
    references: dict
    deltas: dict
    gain: float
    rim: Rim
    recovery: Recovery | None
    enhancement: Enhancement
    stage: Stage
    cortex: CorticalPart | None = None


@dataclass(frozen=True, eq=False)
class Staging:
    """Lesions of one visit: labels int32 [k, j, i], list of Lesion, surroundings, sentences."""

    labels: np.ndarray
    lesions: tuple
    surroundings: Surroundings
    notes: tuple


def stage_lesions(given, options=StagingOptions(), progress=None, cancelled=None, instances=None, only=None):
    """Stage every lesion.

    Args:
        given: StagingInput. options: StagingOptions.
        progress, cancelled: optional callbacks.
        instances: instances.Instances that count instead of what was drawn: lesions that a reader corrected; or None.
        only: numbers of the lesions to stage, the others are only what lies around them; None for all.
    Returns:
        Staging; lesions may be none.
    Raises:
        InputError: a map has values that its unit does not allow. Cancelled.
    """
    geometry = given.geometry
    found = instances or lesion_instances(given.drawn, geometry.voxel_size, options.instances)
    labels, notes = found.labels, list(found.notes)
    arrays = {name: (m.values, m.valid) for name, m in given.maps.items()}
    around = surroundings_of(labels, arrays, given.brain, geometry, given.tissue)
    if not labels.any():
        return Staging(labels, (), around, (*notes, "the drawing holds no lesion."))
    normal = around.white & (labels == 0)
    _check_units(given.maps, normal)
    notes += list(dict.fromkeys(timing.sentence for timing in given.timings.values() if timing.sentence))
    if not around.labelled:
        notes.append(
            "there are no tissue labels, so white matter was found by its values, and gray matter beside a lesion was "
            "not known to the rim detector."
        )
    uptake = None
    if given.enhancing is None and given.before is not None and given.after is not None:
        uptake = uptake_of(given.before, given.after, normal)
    patient = _Patient(given, options, around, normal, uptake, labels)
    cortex = cortical_parts(labels, given.maps, around, geometry, patient.usable)
    crops = [c for c in crop_lesions(labels, around, geometry.voxel_size) if only is None or c.number in only]
    measured, lesions = [None] * len(crops), [None] * len(crops)

    def measure(first, last):
        for n in range(first, last):
            measured[n] = _measured(crops[n], patient)

    def stage(first, last):
        for n in range(first, last):
            lesions[n] = _staged(measured[n], rims, patient, found.parents, cortex.get(crops[n].number))

    in_pieces(measure, len(crops), 1, part(progress, 0.0, 0.6), cancelled, "lesions")
    check_cancelled(cancelled)
    rims = _virtual_rims(patient, [m for m in measured if m.asks])
    in_pieces(stage, len(crops), 1, part(progress, 0.7, 0.3), cancelled, "virtual rims")
    return Staging(labels, tuple(lesions), around, tuple(notes))


@dataclass(frozen=True, eq=False)
class _Patient:
    """What all lesions share."""

    given: StagingInput
    options: StagingOptions
    around: Surroundings
    normal: np.ndarray
    uptake: object
    labels: np.ndarray

    def usable(self, name):
        """Whether a map was made before the contrast agent, as far as is known."""
        timing = self.given.timings.get(name)
        return timing is None or timing.state != AFTER

    @property
    def chi_sign_known(self):
        return self.given.maps["Chi"].parameters.get("PhaseSign") != "undetermined"


@dataclass(frozen=True, eq=False)
class _Measured:
    """What was measured of one lesion before the virtual rims are asked. asks: whether its rim is to be confirmed."""

    crop: object
    frame: RayFrame
    reference: str
    profiles: dict
    levels: dict
    rim: Rim
    enhancement: Enhancement
    outside_brain: bool
    atypical: tuple
    asks: bool


def _measured(crop, patient):
    given, options = patient.given, patient.options
    frame = RayFrame(crop)
    reference = local_reference(crop, options.reference)
    measured_voxel = given.geometry.effective_voxel_size
    volumes = float(crop.voxel.prod()), float(np.prod(measured_voxel))
    white = reference.where
    if white is None:
        white = crop.white & (crop.border.distance > options.reference.inner)
    veins = _veins(crop, white, patient)
    profiles, levels = {}, {}
    for name, result in given.maps.items():
        local = None
        if reference.where is not None:
            local = level(crop.of(result.values), crop.of(result.valid), reference.where & ~veins, *volumes)
        local = local or level(result.values, result.valid, patient.normal, *volumes)
        if local is not None:
            levels[name] = local
        arrays = crop.of(result.values), crop.of(result.sd), crop.of(result.valid) & ~veins
        profiles[name] = profile_of(*arrays, crop, measured_voxel)
    if patient.uptake is not None:
        rise = crop.of(patient.uptake.rise)
        profiles["uptake"] = profile_of(rise, np.full_like(rise, patient.uptake.spread), ~veins, crop, measured_voxel)
    rim = _rim(crop, frame, veins, levels, patient, measured_voxel)
    uptake = _enhancement(crop, frame, white, veins, patient)
    outside = bool(given.brain[crop.box][crop.inside].mean() < 0.5)
    atypical = _atypical(crop, frame, profiles, levels, patient)
    asks = rim.grade != GRADES[4] and "Chi" in levels
    which = reference.which if levels else "none"
    return _Measured(crop, frame, which, profiles, levels, rim, uptake, outside, atypical, asks)


def _veins(crop, white, patient):
    """Veins through and beside a lesion, bool [k, j, i]: they are not the lesion, whatever is measured of it."""
    chi = patient.given.maps.get("Chi")
    if chi is None or not patient.chi_sign_known:
        return np.zeros(crop.inside.shape, bool)
    veins = veins_near(crop.of(chi.values), crop.inside, white, crop.voxel)
    return veins if (crop.inside & ~veins).any() else np.zeros_like(veins)


def _rim(crop, frame, veins, levels, patient, measured_voxel):
    """Rim by chi, or why it cannot be judged."""
    given, options = patient.given, patient.options.rim
    chi = given.maps.get("Chi")
    if chi is None or "Chi" not in levels:
        return Rim(GRADES[4], "there is no map of susceptibility here")
    if not patient.usable("Chi"):
        return Rim(GRADES[4], "the map of susceptibility was made after the contrast agent")
    if not patient.chi_sign_known:
        return Rim(GRADES[4], "the sign of chi is undetermined")
    why = why_not_assessable(crop, measured_voxel, options)
    if why:
        return Rim(GRADES[4], why)
    values, valid = crop.of(chi.values), crop.of(chi.valid)
    r2star = given.maps.get("R2star")
    decay = crop.of(r2star.values) if r2star is not None and patient.usable("R2star") else None
    return find_rim(frame, values, levels["Chi"].spread, measured_voxel, options, valid, veins, decay)


def _enhancement(crop, frame, white, veins, patient):
    given = patient.given
    if given.enhancing is not None:
        share = float(given.enhancing[crop.box][crop.inside].mean())
        return _drawn_enhancement(crop, frame, given.enhancing, share, patient.options.enhancement)
    if patient.uptake is None:
        return Enhancement("unknown", reason=given.uptake_unknown)
    return enhancement_of(frame, patient.uptake, white, veins, patient.options.enhancement)


def _drawn_enhancement(crop, frame, enhancing, share, options):
    """Pattern of enhancement that somebody drew."""
    if share * crop.volume < min(options.part_volume, 0.3 * crop.volume):
        return Enhancement("none", reason="no enhancement was drawn")
    rim, core, _ = frame.levels(crop.of(enhancing).astype(np.float32))
    coverage = float(((rim > 0.5) & (core < 0.5)).mean())
    pattern = "closed ring" if coverage >= options.closed else "open ring" if coverage >= options.open else "nodular"
    return Enhancement(pattern, None, coverage, "enhancement was drawn")


def _atypical(crop, frame, profiles, levels, patient):
    found = []
    core = profiles["Chi"].core if "Chi" in levels and patient.usable("Chi") else None
    if core is not None and core[0] - levels["Chi"].median > PARAMAGNETIC_CORE:
        found.append(
            f"the core is {1000 * (core[0] - levels['Chi'].median):.0f} ppb paramagnetic, as blood products are"
        )
    if crop.diameter > TUMEFACTIVE:
        found.append(f"it measures {crop.diameter:.0f} mm, as tumefactive lesions do")
    cortex = patient.around.cortex[crop.box]
    if cortex.any():
        along = np.abs(frame.rays.along) <= 2
        share = float((frame.rays.covered(cortex) & along).any(1).mean())
        if share > CORTICAL and _longest(crop) > BAND * crop.diameter:
            found.append(f"it is a band of which {100 * share:.0f} % run along the cortex")
    return tuple(found)


def _virtual_rims(patient, asking):
    """VirtualRims for the lesions whose rim could be judged, or None."""
    if not asking:
        return None
    chi = patient.given.maps["Chi"]
    return VirtualRims(
        chi.values,
        chi.valid,
        patient.around.white,
        patient.labels,
        patient.given.geometry,
        patient.given.respond,
        [one.crop.diameter for one in asking],
        patient.options.rim,
    )


def _staged(one, rims, patient, parents, cortex):
    crop, given = one.crop, patient.given
    centre = np.argwhere(crop.inside).mean(0) + [side.start for side in crop.box]
    rim, recovery, gain = one.rim, None, 1.0
    if rims is not None and one.asks:
        if rim.grade == "absent":
            recovery = rims.recovery(crop.diameter, centre)
            rim = _confirmed(rim, recovery, patient.options.rim)
        gain = rims.gain(crop.diameter)
    if rim.points is not None:
        rim = replace(rim, points=_in_ras(rim.points, crop, given.geometry))
    deltas = {}
    for name, known in one.levels.items():
        whole = one.profiles[name].whole
        if whole is not None:
            deltas[name] = whole[0] - known.median, float(np.hypot(whole[1], known.error))
    findings = _findings(deltas, one, rim, gain, patient)
    if one.outside_brain:
        stage = no_stage("the lesion lies outside the brain mask; check the drawing", OUTSIDE)
    elif crop.volume < patient.options.stage.smallest_volume:
        smallest = patient.options.stage.smallest_volume
        stage = no_stage(f"too small: {crop.volume:.0f} mm3, from {smallest:.0f} mm3 on lesions are staged", SMALL)
    else:
        stage = stage_of(findings, patient.options.stage, one.atypical, _cortex_r1(patient))
    ras = given.geometry.ijk_to_ras[:3, :3] @ centre[::-1] + given.geometry.ijk_to_ras[:3, 3]
    return Lesion(
        number=crop.number,
        parent=parents.get(crop.number, 0),
        volume=crop.volume,
        centre=ras,
        diameter=crop.diameter,
        longest=_longest(crop),
        reference=one.reference,
        profiles=one.profiles,
        references=one.levels,
        deltas=deltas,
        gain=gain,
        rim=rim,
        recovery=recovery,
        enhancement=one.enhancement,
        stage=stage,
        cortex=cortex,
    )


def _in_ras(points, crop, geometry):
    """Points of a crop (mm [k, j, i]) in RAS, float32 [n, 3]."""
    index = points / crop.voxel + [side.start for side in crop.box]
    return (index[:, ::-1] @ geometry.ijk_to_ras[:3, :3].T + geometry.ijk_to_ras[:3, 3]).astype(np.float32)


def _confirmed(rim, recovery, options):
    """The rim as absent where virtual rims of this size are found, else as not assessable."""
    if recovery.tried < options.virtual_rims:
        places = f"{recovery.tried} of {options.virtual_rims} places"
        return replace(rim, grade=GRADES[4], reason=f"no rim was seen, but virtual rims fit in {places} only")
    tried = (
        f"virtual rims of this size were found in {round(recovery.found * recovery.tried)} of {recovery.tried} places"
    )
    if recovery.found < options.found:
        return replace(rim, grade=GRADES[4], reason=f"no rim was seen, but {tried} in this scan")
    return replace(rim, reason=f"{rim.reason}; {tried}")


def _findings(deltas, one, rim, gain, patient):
    """evidence.Findings of a lesion: only maps made before the contrast agent, chi over the gain of the chain."""
    strength = patient.given.field_strength or 3.0
    known = {name: value for name, value in deltas.items() if patient.usable(name)}
    values = {}
    if "Chi" in known and patient.chi_sign_known:
        chi, error = known["Chi"]
        values |= {"chi": 1000 * chi / max(gain, 0.3), "chi_error": 1000 * error / max(gain, 0.3)}
    if "R2star" in known:
        values |= {"r2star": known["R2star"][0], "r2star_error": known["R2star"][1]}
    for name, key in (("R1", "r1"), ("R2", "r2"), ("PD", "pd")):
        if name in known:
            level_there = one.levels[name].median
            values |= {key: known[name][0] / level_there, f"{key}_error": known[name][1] / level_there}
    delay = patient.options.enhancement.delay
    late = delay == 0 or delay > patient.options.enhancement.long_delay
    values["diameter"] = one.crop.diameter
    uptake = max(one.enhancement.mean_sds or 0.0, one.enhancement.ring_sds or 0.0)  # a core dilutes the mean of a ring
    values["strong"] = uptake > STRONG_UPTAKE
    return Findings(**values, pattern=one.enhancement.pattern, rim=rim.grade, late=late, field_strength=strength)


def _cortex_r1(patient):
    """R1 of the cortex relative to white matter, None where it is not known."""
    result = patient.given.maps.get("R1")
    if result is None or not patient.around.cortex.any():
        return None
    cortex, white = patient.around.cortex & result.valid, patient.normal & result.valid
    if not (cortex.any() and white.any()):
        return None
    return float(np.median(result.values[cortex]) / np.median(result.values[white]) - 1)


def _longest(crop):
    """Longest diameter, mm."""
    points = crop.border.points
    try:
        points = points[ConvexHull(points).vertices]
    except (QhullError, ValueError):
        pass
    return float(pdist(points).max()) if len(points) > 1 else float(crop.voxel.max())


def _check_units(maps, normal):
    for name, result in maps.items():
        inside = result.values[normal & result.valid]
        if not inside.size:
            continue
        middle, (low, high) = float(np.median(inside)), POSSIBLE[name]
        if not low <= middle <= high:
            raise InputError(
                f"{name}: white matter has {middle:.4g}, expected {low:g} to {high:g} {result.unit}; check the unit of "
                "the map and that the lesions lie in its space."
            )
