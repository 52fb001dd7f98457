"""The images of one series: which file and volume holds each echo, checked by their headers, and how they are read."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..errors import InputError, Unusable
from .names import number_of
from .nifti import read_header, read_image
from .phase import magnitude_and_phase
from .sidecar import read_sidecar

PARTS = ("mag", "phase", "real", "imag")
SAME_ECHO = 1e-6  # s
SAME_GRID = 0.02  # of a voxel: headers that were only rounded differently


@dataclass(frozen=True, eq=False)
class Images:
    """Files of one part (magnitude, phase, real or imaginary), in the order of the echo times.

    Attributes:
        part: one of PARTS. volumes: (BidsFile, volume index or None) for each echo.
        echo_times: s. sidecars: one a file. headers: (Geometry, ImageInfo) of each file.
    """

    part: str
    volumes: tuple
    echo_times: tuple
    sidecars: tuple
    headers: tuple

    @property
    def files(self):
        """The files, each once, in the order of the echoes."""
        return tuple(dict.fromkeys(file for file, _ in self.volumes))

    def load(self):
        """Values [echo, k, j, i]; float32, or complex64 for complex files."""
        loaded = {}
        stack = []
        for file, volume in self.volumes:
            if file not in loaded:
                loaded = {file: read_image(file.path)[0]}  # only one 4-D file is kept
            stack.append(loaded[file] if volume is None else loaded[file][volume])
        return np.stack(stack)


def collect(files, root, timed):
    """Images by part of the files of one series.

    Args:
        files: BidsFiles that differ in echo and part only.
        root: top of the data set, where inheritance ends.
        timed: whether EchoTime is needed; else one volume is expected and echo times are ().
    Raises:
        InputError: a duplicate, a part without its partner, differing grids, missing or equal echo times.
    """
    by_part = {part: [] for part in PARTS}
    for file in files:
        part = file.entities.get("part", "mag")
        if part not in by_part:
            raise InputError(f"{file.name}: part-{part} is not known, expected one of {', '.join(PARTS)}; rename it.")
        by_part[part].append(file)
    _check_parts(by_part)
    images = {part: _ordered(part, found, root, timed) for part, found in by_part.items() if found}
    _check_grids(images)
    if not timed:
        return images
    reference = images.get("mag") or images["real"]
    for other in images.values():
        _check_same_echoes(reference, other)
    return images


def load_magnitude_and_phase(images):
    """Magnitude, and phase as stored (of real and imaginary parts in rad) or None; float32 [echo, k, j, i].

    Raises:
        InputError: a file cannot be read, or the magnitude is negative or zero everywhere.
    """
    if "mag" not in images:
        return magnitude_and_phase(images["real"].load(), images["imag"].load())
    magnitude = images["mag"].load()
    name = images["mag"].files[0].name
    if np.iscomplexobj(magnitude):
        magnitude, phase = magnitude_and_phase(magnitude.real, magnitude.imag)
    else:
        phase = images["phase"].load() if "phase" in images else None
    for echo, volume in enumerate(magnitude):
        name = images["mag"].volumes[echo][0].name
        if volume.min() < 0:
            raise InputError(
                f"{name}: the magnitude has values below 0 (down to {volume.min():g}), expected a magnitude; "
                "if this is a phase or real image, name it part-phase or part-real."
            )
        if not volume.any():
            raise Unusable(f"{name}: every voxel is 0, expected an image; export it again.")
    return magnitude, phase


def _check_parts(by_part):
    for found in by_part.values():
        seen = {}
        for file in found:
            twin = seen.setdefault(number_of(file, "echo"), file)
            if twin is not file:
                raise InputError(
                    f"{file.name}: is the same echo as {twin.name}, expected one file; remove one of both."
                )
    if by_part["mag"] and by_part["phase"]:
        by_part["real"], by_part["imag"] = [], []
    elif by_part["real"] and by_part["imag"]:
        by_part["mag"] = []
    for part, partner in (("phase", "mag"), ("real", "imag"), ("imag", "real")):
        if by_part[part] and not by_part[partner]:
            file = by_part[part][0]
            raise InputError(
                f"{file.name}: there is no part-{partner} image for this part-{part} image, expected both; "
                f"add part-{partner}, or remove part-{part}."
            )


def _ordered(part, files, root, timed):
    entries, sidecars, headers = [], [], []
    for file in files:
        shape, geometry, info = read_header(file.path)
        count = shape[0] if len(shape) == 4 else 1
        sidecar = read_sidecar(file, root)
        if count > 1 and not timed:
            raise InputError(f"{file.name}: holds {count} volumes, expected one; split it into volumes.")
        times = sidecar.echo_times(count) if timed else (0.0,)
        entries += [(te, file, n if count > 1 else None) for n, te in enumerate(times)]
        sidecars.append(sidecar)
        headers.append((geometry, info))
    entries.sort(key=lambda entry: entry[0])
    for (te, file, _), (following, other, _) in pairwise(entries):
        if following - te < SAME_ECHO:
            raise InputError(
                f"{file.name} and {other.name}: EchoTime is {te:g} s in both, expected different times; "
                "some GE exports write the first echo time everywhere, put in the true ones."
            )
    order = [files.index(file) for file in dict.fromkeys(file for _, file, _ in entries)]
    return Images(
        part,
        tuple((file, volume) for _, file, volume in entries),
        tuple(te for te, _, _ in entries) if timed else (),
        tuple(sidecars[n] for n in order),
        tuple(headers[n] for n in order),
    )


def _check_grids(images):
    every = [(f, g) for part in images.values() for f, (g, _) in zip(part.files, part.headers, strict=True)]
    first, geometry = every[0]
    for file, other in every[1:]:
        if other.shape != geometry.shape:
            raise InputError(
                f"{file.name}: has {_size(other)} voxels but {first.name} has {_size(geometry)}, expected the same; "
                "a slice is missing or the files belong to different scans, convert them again."
            )
        if not other.same_grid(geometry, SAME_GRID * min(geometry.voxel_size)):
            raise InputError(
                f"{file.name}: lies elsewhere than {first.name} (their orientation matrices differ), expected the same "
                "grid; use the original export of both, without alignment."
            )


def _check_same_echoes(reference, other):
    """Every image of a part has its partner at the same echo time; a partner too few is left to the caller."""
    for (file, _), te in zip(other.volumes, other.echo_times, strict=True):
        if all(abs(te - t) > SAME_ECHO for t in reference.echo_times):
            raise InputError(
                f"{file.name}: there is no part-{reference.part} image with its EchoTime {te:g} s, expected one for "
                "each echo; add it or correct the sidecars."
            )


def _size(geometry):
    return " x ".join(str(n) for n in geometry.shape[::-1])
