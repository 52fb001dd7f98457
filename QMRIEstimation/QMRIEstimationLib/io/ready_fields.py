"""Stages of susceptibility mapping that were done elsewhere: unwrapped phase, total and local field of derivatives."""

import numpy as np

from ..acquisition import GivenField
from ..errors import InputError
from .names import number_of
from .nifti import read_header, read_image, relative_name
from .sidecar import read_sidecar

FIELD_UNITS = {"hz": ("Hz", 1.0), "rad/s": ("Hz", 1 / (2 * np.pi)), "ppm": ("ppm", 1.0), "ppb": ("ppm", 1e-3)}
PHASE_UNITS = {"rad": ("rad", 1.0), "radian": ("rad", 1.0), "radians": ("rad", 1.0)}
ECHO_SCANS = ("MEGRE", "T2starw", "VFA", "MPM")


def ready_fields(images, bids_dir):
    """What of the field of one visit need not be made.

    The names: `*_desc-total_fieldmap` (or `*_fieldmap`), `*_desc-local_fieldmap`, and for each echo (or all in one
    file) `*_part-phase_desc-unwrapped_MEGRE`.

    Args:
        images: (top of the derivative, BidsFile) of its images. bids_dir: names of sources are relative to it.
    Returns:
        Dictionary of acquisition.GivenField by kind: unwrapped_phase, total_field, local_field; notes.
    """
    kinds = {
        "unwrapped_phase": _of_one_derivative([item for item in images if _is_unwrapped(item[1])]),
        "total_field": [item for item in images if _is_field(item[1], "", "total")],
        "local_field": [item for item in images if _is_field(item[1], "local")],
    }
    found, notes = {}, []
    for kind, files in kinds.items():
        if not files:
            continue
        taken = files if kind == "unwrapped_phase" else files[:1]
        if len(files) > len(taken):
            notes.append(
                f"{taken[0][1].name}: is the first of {len(files)} files of a {kind.replace('_', ' ')}, taken."
            )
        found[kind] = _given(kind, taken, bids_dir)
    return found, tuple(notes)


def _is_field(file, *kinds):
    return file.suffix == "fieldmap" and file.entities.get("desc", "").lower() in kinds


def _is_unwrapped(file):
    return (
        file.suffix in ECHO_SCANS
        and file.entities.get("part") == "phase"
        and file.entities.get("desc", "").lower() == "unwrapped"
    )


def _of_one_derivative(items):
    """Those of the first derivative that has any, in the order of their echoes."""
    own = [item for item in items if item[0] == items[0][0]]
    return sorted(own, key=lambda item: number_of(item[1], "echo"))


def _given(kind, items, bids_dir):
    first = items[0][1]
    sidecars = [read_sidecar(file, root) for root, file in items]

    def read():
        unit, _ = _unit(sidecars[0], kind)
        volumes = []
        for (_, file), sidecar in zip(items, sidecars, strict=True):
            own_unit, scale = _unit(sidecar, kind)
            if own_unit != unit:
                raise InputError(f"{file.name}: is in {own_unit}, {first.name} in {unit}; give both the same Units.")
            values, geometry = _values(file, kind)
            if volumes and not geometry.same_grid(volumes[0][1]):
                raise InputError(f"{file.name}: lies on another grid than {first.name}, expected the same.")
            volumes.append((values * np.float32(scale), geometry))
        return np.concatenate([values for values, _ in volumes]), volumes[0][1], unit

    files = [path for (_, file), sidecar in zip(items, sidecars, strict=True) for path in (file.path, *sidecar.files)]
    return GivenField(kind, first.name, read, tuple(relative_name(path, bids_dir) for path in files))


def _unit(sidecar, kind):
    """Unit that the engine knows and the factor to it, by the field Units, which is never guessed."""
    known = PHASE_UNITS if kind == "unwrapped_phase" else FIELD_UNITS
    written = sidecar.text("Units")
    cure = f"correct it, or set ready.{kind} to false to have it made."
    if written.lower() not in known:
        found = f"Units is '{written}'" if written else "Units is missing"
        raise InputError(f"{sidecar.where('Units')}: {found}, expected one of {', '.join(known)}; {cure}")
    return known[written.lower()]


def _values(file, kind):
    """float32 [volume, k, j, i] and the geometry."""
    shape, _, info = read_header(file.path)
    if info.is_complex or (len(shape) != 3 and kind != "unwrapped_phase"):
        found = "complex numbers" if info.is_complex else f"the shape {tuple(shape)}"
        raise InputError(f"{file.name}: holds {found}, expected one volume; split it or remove it.")
    values, geometry, _ = read_image(file.path)
    return (values if values.ndim == 4 else values[None]), geometry
