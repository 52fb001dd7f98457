"""From the files of one series to a Scan: its role, its parameters in the engine's units, its lazy images."""

import re
from dataclasses import replace

import numpy as np

from ..acquisition import Role, Scan
from ..errors import InputError
from ..units import from_user
from .b1_files import flip_angle_ratio
from .echoes import SAME_ECHO, collect, load_magnitude_and_phase
from .inspect_phase import inspect_phase
from .interpolation import acquired_voxel_size
from .names import number_of
from .nifti import read_header, relative_name
from .phase import polarity, to_radians
from .sidecar import read_sidecar

ROLES = {
    "MEGRE": Role.MULTI_ECHO_GRE,
    "T2starw": Role.MULTI_ECHO_GRE,
    "MESE": Role.SPIN_ECHO,
    "TB1AFI": Role.AFI,
    "TB1DAM": Role.DOUBLE_ANGLE,
    "TB1map": Role.B1_MAP,
    "TB1TFL": Role.B1_MAP,
    "TB1RFM": Role.B1_MAP,
    "FLAIR": Role.FLAIR,
}
FIELD_SCANS = ("TB1", "RB1")  # how the suffixes of transmit- and receive-field scans begin
UNREAD = {
    "TB1EPI": "spin and stimulated echoes (EPI) are not read, because their distortion needs a field map",
    "TB1SRGE": "Sa2RAGE is not read, because its lookup table depends on the whole sequence",
    "RB1map": "a ready receive field is not read",
}
COILS = {"body": Role.RECEIVE_BODY, "head": Role.RECEIVE_HEAD}
GRADIENT_ECHO = (Role.MULTI_ECHO_GRE, Role.SPOILED_GRE, Role.BSSFP)
LONGEST_TR = {Role.BSSFP: 0.1, Role.SPOILED_GRE: 5.0, Role.AFI: 5.0, Role.MULTI_ECHO_GRE: 10.0}  # s; above: ms
NEEDS_TR = (Role.SPOILED_GRE, Role.BSSFP, Role.AFI)
NEEDS_FLIP_ANGLE = (*NEEDS_TR, Role.DOUBLE_ANGLE)
NEEDS_PHASE_CHECK = (Role.MULTI_ECHO_GRE, Role.SPOILED_GRE)


def build_scan(files, root):
    """Scan of the files of one series, or None and a note when it is of no use.

    Args:
        files: BidsFiles that differ in echo and part only, sorted by name.
        root: top of the data set.
    Returns:
        scan or None, note (a sentence or empty).
    Raises:
        InputError: something is missing or contradicts itself; the sentence names the file.
    """
    first = files[0]
    sidecar = read_sidecar(first, root)
    role, note = role_of(first, sidecar)
    if role is None:
        return None, note
    if role in (Role.T1W, Role.T1W_GADOLINIUM, Role.FLAIR, Role.B1_MAP):
        files = [f for f in files if f.entities.get("part", "mag") == "mag"][:1]
    if not files:
        return None, ""  # the phase of an image that is only looked at
    if first.suffix == "T2starw" and len(files) == 1 and _one_real_volume(first):
        return None, f"{first.name}: one magnitude image without phase gives no map; it was not used."
    timed = role in (Role.MULTI_ECHO_GRE, Role.SPIN_ECHO) or "echo" in first.entities or "EchoTime" in sidecar.fields
    timed = timed and role in (*GRADIENT_ECHO, Role.SPIN_ECHO)
    images = collect(files, root, timed)
    return _scan(role, images, root, [note] if note else []), ""


def role_of(file, sidecar):
    """Role by suffix, labels and sidecar; None when the file is not used; and a note (a sentence or empty)."""
    acquisition = file.entities.get("acq", "").lower()
    role, note = ROLES.get(file.suffix), ""
    if file.suffix == "T1w":
        role = Role.T1W_GADOLINIUM if "ce" in file.entities else Role.T1W
    elif file.suffix in ("VFA", "MPM", "MTS"):
        role, note = _variable_flip_role(file, sidecar, acquisition)
    elif file.suffix == "RB1COR":
        role = next((r for coil, r in COILS.items() if acquisition.startswith(coil)), None)
        note = "" if role else f"{file.name}: acq-{acquisition} names neither body nor head coil; it was not used."
    elif file.suffix in ("TB1TFL", "TB1RFM") and not acquisition.startswith("famp"):
        role = None  # the anatomical image beside the map
        if not acquisition.startswith("anat"):
            note = f"{file.name}: acq-{acquisition} is neither famp (the map) nor anat (the image); it was not used."
    elif role is None and file.suffix.startswith(FIELD_SCANS):
        what = UNREAD.get(file.suffix, "is no field map that BIDS has a name for (Bloch-Siegert, say, has none)")
        note = f"{file.name}: {what}; it was not used, convert a transmit field to TB1map in percent."
    return role, note


def _variable_flip_role(file, sidecar, acquisition):
    saturated = sidecar.magnetization_transfer()
    if saturated or (saturated is None and file.entities.get("mt") == "on"):
        return None, f"{file.name}: has magnetization transfer switched on, which no map here needs; it was not used."
    sequence = sidecar.pulse_sequence()
    if sequence == "SSFP" or (not sequence and "bssfp" in acquisition):
        return Role.BSSFP, ""
    note = f"{sidecar.where()}: PulseSequenceType is missing or unknown; the scan was taken as spoiled GRE."
    return Role.SPOILED_GRE, note if file.suffix == "VFA" and not sequence else ""


def _one_real_volume(file):
    shape, _, info = read_header(file.path)
    return len(shape) == 3 and not info.is_complex


def _scan(role, images, root, notes):
    magnitude = images.get("mag") or images["real"]
    name = magnitude.files[0].name
    phase = images.get("phase") or images.get("imag") or (magnitude if magnitude.headers[0][1].is_complex else None)
    sidecars = [*magnitude.sidecars, *(phase.sidecars if phase not in (None, magnitude) else ())]
    notes += [note for part in images.values() for _, info in part.headers for note in info.notes]
    notes += [note for note in (sidecars[0].frequency_note(),) if note]
    notes += _missing_echoes(magnitude.files)
    geometry, b0_problem = _geometry(images, sidecars, phase or magnitude)
    values = _parameters(role, sidecars, magnitude.echo_times)
    manufacturer = next((s.text("Manufacturer") for s in sidecars if s.text("Manufacturer")), "")
    problem, has_phase, report = b0_problem, phase is not None, None
    if has_phase and len(phase.echo_times) < len(magnitude.echo_times):
        missing = next(te for te in magnitude.echo_times if min(abs(te - t) for t in phase.echo_times) > SAME_ECHO)
        problem = f"{name}: the echo at {missing * 1e3:g} ms has no phase image, QSM needs one for each echo; add it."
        images, has_phase = {"mag": images["mag"]}, False
    elif has_phase and role in NEEDS_PHASE_CHECK:
        report = inspect_phase(images, geometry, phase.files[0], phase.sidecars[0])
        problem = report.problem if report.encoding is None else problem or report.problem
        has_phase = report.encoding is not None
        notes += report.notes
        geometry = replace(geometry, acquired_voxel_size=report.acquired)
    if report is None or report.encoding is None:
        geometry = replace(geometry, acquired_voxel_size=acquired_voxel_size(geometry, sidecars[0].fields))
    if geometry.acquired_voxel_size is not None:
        size = " x ".join(f"{s:.2f}" for s in geometry.acquired_voxel_size[::-1])
        notes.append(f"{name}: was interpolated; the measured voxel is {size} mm.")
    return Scan(
        role=role,
        name=name,
        geometry=geometry,
        read=_reader(role, images, sidecars[-1], sidecars[0], report, has_phase),
        echo_times=magnitude.echo_times,
        has_phase=has_phase,
        phase_problem=problem if phase is not None else "",
        phase_polarity=polarity(manufacturer),
        manufacturer=manufacturer,
        header=sidecars[0].fields,
        is_2d=any(s.fields.get("MRAcquisitionType") == "2D" for s in sidecars),
        sources=_sources(images, phase, root),
        notes=tuple(dict.fromkeys(notes)),
        **values,
    )


def _reader(role, images, phase_sidecar, sidecar, report, has_phase):
    """The function that reads (magnitude, phase) of a scan."""
    stored_in_radians = "phase" not in images

    def read():
        magnitude, stored = load_magnitude_and_phase(images)
        if role is Role.B1_MAP:
            magnitude = flip_angle_ratio(magnitude, images["mag"].files[0], sidecar)
        if not has_phase or stored is None:
            return magnitude, None
        if report is not None:
            return magnitude, report.mended(stored)
        if stored_in_radians:
            return magnitude, stored
        try:
            units, manufacturer = phase_sidecar.text("Units"), phase_sidecar.text("Manufacturer")
            return magnitude, to_radians(stored, units, manufacturer)[0]
        except ValueError as error:
            raise InputError(f"{images['phase'].files[0].name}: {error}") from error

    return read


def _geometry(images, sidecars, named):
    """Grid of the scan with its B0 direction, and the reason why that is unknown (or empty)."""
    headers = [header for part in images.values() for header in part.headers]
    geometry = headers[0][0]
    given = next((d for d in (s.b0_dir() for s in sidecars) if d is not None), None)
    if given is not None:
        return geometry.with_b0(given), ""
    unknown = next((info.unknown_b0 for _, info in headers if info.unknown_b0), "")
    if not unknown:
        return geometry, ""
    return geometry.with_b0(None), (
        f"{named.files[0].name}: {unknown}, so the B0 direction is unknown; use the original export, "
        "or add B0_dir to the sidecar."
    )


def _parameters(role, sidecars, echo_times):
    """Keyword arguments of Scan: parameters that all sidecars agree on, with their origin."""
    values, origin = {}, {}

    def take(name, read, field):
        given = [(s, v) for s, v in ((s, read(s)) for s in sidecars) if v is not None]
        for s, v in given[1:]:
            if not np.isclose(v, given[0][1], rtol=1e-3, atol=0):
                raise InputError(
                    f"{s.where(field)}: {field} differs from that in {given[0][0].where(field)}, expected one value "
                    "for all echoes of a scan; correct the sidecars or name the files as different scans."
                )
        if given:
            values[name], origin[name] = given[0][1], given[0][0].where(field)

    what = f"{role.value}"
    tr = f"the {what} scan" if role in NEEDS_TR else ""
    flip = f"the {what} scan" if role in NEEDS_FLIP_ANGLE else ""
    if role in (*GRADIENT_ECHO, *NEEDS_FLIP_ANGLE, Role.SPIN_ECHO):
        longest = LONGEST_TR.get(role, 20.0)
        field = sidecars[0].repetition_time(longest, tr)[1]
        take("repetition_time", lambda s: s.repetition_time(longest, tr)[0], field)
        take("flip_angle", lambda s: s.flip_angle(flip), "FlipAngle")
        name = "phase_cycle" if role is Role.BSSFP else "spoiling_increment"
        take(name, lambda s: _increment(s, role), "SpoilingRFPhaseIncrement")
        take("spoiling_dephasing", lambda s: s.spoiling_dephasing(), "SpoilingGradientMoment")
        take("field_strength", lambda s: s.field_strength(), "MagneticFieldStrength")
        take("imaging_frequency", lambda s: s.imaging_frequency(), "ImagingFrequency")
    if echo_times and values.get("repetition_time", np.inf) <= echo_times[-1]:
        raise InputError(
            f"{origin['repetition_time']}: the repetition time is {values['repetition_time']:g} s but the last echo "
            f"is at {echo_times[-1]:g} s, expected a longer one; correct the sidecar (both in seconds)."
        )
    origin |= {"echo_times": sidecars[0].where("EchoTime")} if echo_times else {}
    for name, field in (("manufacturer", "Manufacturer"), ("phase_polarity", "Manufacturer"), ("b0_ras", "B0_dir")):
        known = next((s for s in sidecars if s.fields.get(field)), None)
        origin |= {name: known.where(field)} if known else {}
    return values | {"origin": origin}


def _increment(sidecar, role):
    """Phase increment, rad; of bSSFP also from the label `acq-bssfpPC090`, where BIDS has no entity for it."""
    label = re.search(r"PC(\d{1,3})(?!\d)", sidecar.image.name.split("_flip")[0])
    if role is Role.BSSFP and label and "SpoilingRFPhaseIncrement" not in sidecar.fields:
        return from_user(float(label[1]), "rad")
    return sidecar.phase_increment("the bSSFP scan" if role is Role.BSSFP else "")


def _missing_echoes(files):
    numbers = sorted(number_of(f, "echo") for f in files if "echo" in f.entities)
    gaps = sorted(set(range(1, numbers[-1] + 1)) - set(numbers)) if numbers else []
    if not gaps:
        return []
    missing = ", ".join(str(n) for n in gaps)
    return [f"{files[0].name}: echo {missing} is missing; the {len(numbers)} that are there were used."]


def _sources(images, phase, root):
    """Sidecar of the phase (or first image) first: it is what a message about a missing field must name."""
    parts = [p for p in (phase, *images.values()) if p is not None]
    sidecars = [path for part in parts for s in part.sidecars for path in s.files[::-1]]
    files = [file.path for part in parts for file in part.files]
    return tuple(dict.fromkeys(relative_name(path, root) for path in (*sidecars, *files)))
