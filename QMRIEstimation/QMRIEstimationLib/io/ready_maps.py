"""Maps that another program made: found in derivatives, their units read and turned into those of the engine."""

import numpy as np

from ..errors import InputError
from ..maps import QuantitativeMap
from .nifti import read_header, read_image, relative_name
from .sidecar import read_sidecar

RATE = {"1/s": 1.0, "s-1": 1.0, "s^-1": 1.0, "hz": 1.0, "1/ms": 1e3, "ms-1": 1e3, "ms^-1": 1e3}
TIME = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "milliseconds": 1e-3}
PERCENT = {"p.u.": 1.0, "percent": 1.0, "%": 1.0}
PARTS_PER_MILLION = {"ppm": 1.0, "ppb": 1e-3}
SUFFIXES = {  # suffix: map, its units, whether it holds the inverse; of two for one map the first is taken
    "R1map": ("R1", RATE, False),
    "T1map": ("R1", TIME, True),
    "R2map": ("R2", RATE, False),
    "T2map": ("R2", TIME, True),
    "R2starmap": ("R2star", RATE, False),
    "T2starmap": ("R2star", TIME, True),
    "PDmap": ("PD", PERCENT, False),
    "Chimap": ("Chi", PARTS_PER_MILLION, False),
}
QUALITY = "given map: its quality is not known, 0 everywhere"
GIVEN_SD = "one standard deviation, as it was given with the map"
UNKNOWN_SD = "unknown: the given map has no desc-uncertainty beside it, 0 everywhere"


def ready_maps(images, bids_dir):
    """The maps of one visit that need not be estimated.

    Args:
        images: (top of the derivative, BidsFile) of its images. bids_dir: names of sources are relative to it.
    Returns:
        Dictionary name of map -> function that reads it and returns a QuantitativeMap on its own grid, or raises
        InputError; notes.
    """
    found, notes = {}, []
    order = list(SUFFIXES)
    plain = [(root, file) for root, file in images if file.suffix in SUFFIXES and "desc" not in file.entities]
    for root, file in sorted(plain, key=lambda item: order.index(item[1].suffix)):
        name = SUFFIXES[file.suffix][0]
        if name in found:
            notes.append(
                f"{file.name}: there is another {name} map among the derivatives, which is the one that counts."
            )
            continue
        found[name] = _reader(root, file, _uncertainty(images, root, file), bids_dir)
    return found, tuple(notes)


def _uncertainty(images, root, file):
    """The image of its standard deviation beside a map, or None."""
    wanted = file.entities | {"desc": "uncertainty"}
    beside = (f for r, f in images if r == root and f.path.parent == file.path.parent and f.suffix == file.suffix)
    return next((f for f in beside if f.entities == wanted), None)


def _reader(root, file, uncertainty, bids_dir):
    name, units, inverse = SUFFIXES[file.suffix]

    def read():
        sidecar = read_sidecar(file, root)
        scale = _scale(sidecar, units, name)
        values, geometry = _volume(file, name)
        valid = np.isfinite(values) & (values > 0 if inverse else values != 0)
        if not valid.any():
            raise InputError(f"{file.name}: no voxel has a value, expected a {name} map; export it again or remove it.")
        values = np.where(valid, values, 1).astype(np.float64) * scale
        sd = _sd(uncertainty, root, units, name, geometry, file)
        if inverse:
            values, sd = 1 / values, sd / values**2
        made_by = sidecar.text("EstimationAlgorithm")
        files = [file.path, *sidecar.files[::-1], *([uncertainty.path] if uncertainty else [])]
        return QuantitativeMap(
            name=name,
            values=values.astype(np.float32),
            sd=np.broadcast_to(sd, values.shape).astype(np.float32),
            quality=np.zeros(values.shape, np.float32),
            valid=valid,
            geometry=geometry,
            algorithm=f"given map {file.name}" + (f" ({made_by.rstrip('.')})" if made_by else ""),
            reference=sidecar.text("EstimationReference"),
            quality_meaning=QUALITY,
            sources=tuple(relative_name(path, bids_dir) for path in files),
            sd_meaning=GIVEN_SD if uncertainty else UNKNOWN_SD,
        )

    return read


def _sd(file, root, units, name, geometry, of):
    """Standard deviation in the unit of the map, 0 when there is none."""
    if file is None:
        return np.float64(0)
    sd, own = _volume(file, name)
    if not own.same_grid(geometry):
        raise InputError(
            f"{file.name}: lies on another grid than {of.name}, expected the same; export both together or remove it."
        )
    return np.where(np.isfinite(sd), np.abs(sd), 0) * _scale(read_sidecar(file, root), units, name)


def _scale(sidecar, units, name):
    """Factor to seconds, 1/s, p.u. or ppm by the field Units, which is never guessed."""
    written, known = sidecar.text("Units"), ", ".join(units)
    cure = f"correct it, or set ready.{name.lower()} to false to have {name} estimated."
    if not written:
        raise InputError(f"{sidecar.where()}: Units is missing, the given map needs it (one of {known}); {cure}")
    if written.lower() not in units:
        raise InputError(f"{sidecar.where('Units')}: Units is '{written}', expected one of {known}; {cure}")
    return units[written.lower()]


def _volume(file, name):
    """Values and geometry of one volume."""
    shape, _, info = read_header(file.path)
    if len(shape) != 3 or info.is_complex:
        what = "complex numbers" if info.is_complex else f"the shape {tuple(shape)}"
        raise InputError(f"{file.name}: holds {what}, expected one volume of {name}; split it or remove it.")
    values, geometry, _ = read_image(file.path)
    return values, geometry
