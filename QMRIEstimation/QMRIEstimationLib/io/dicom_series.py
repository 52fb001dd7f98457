"""Volumes of a folder of DICOM files: one for each series, part, echo, flip angle and repetition."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..geometry import SCANNER_Z, Geometry
from .dicom_header import part_of, position_of, rescale_of, sidecar_fields

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
UNEVEN = 0.02  # of the distance of slices: rounding of headers
TELLS = ("EchoTime", "FlipAngle", "RepetitionTimeExcitation")  # differ between the volumes of one series


@dataclass(frozen=True, eq=False)
class DicomVolume:
    """One volume: name, float32 values [k, j, i] rescaled as the header says, grid, part, BIDS fields, first file."""

    name: str
    values: np.ndarray
    geometry: Geometry
    part: str
    fields: dict
    file: Path


@dataclass(frozen=True, eq=False)
class _Slice:
    path: Path
    frame: int | None
    corner: np.ndarray
    row: np.ndarray
    column: np.ndarray
    spacing: tuple
    rescale: tuple
    part: str
    fields: dict

    @property
    def height(self):
        """Place along the normal of the slice, mm."""
        return float(np.cross(self.row, self.column) @ self.corner)


def read_dicom_folder(folder, progress=None):
    """Every MR volume below a folder, in the order of the series numbers, and sentences on what was left out.

    Args:
        folder: searched with all folders in it. progress: optional callback progress(fraction, text).
    Raises:
        InputError: there is no folder or no MR image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder, expected one with DICOM files; correct the path.")
    groups = {}
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for number, path in enumerate(paths):
        if progress is not None:
            progress(0.5 * number / len(paths), "reading headers")
        for key, found in _slices(path):
            groups.setdefault(key, []).append(found)
    if not groups:
        raise InputError(
            f"{folder}: none of its {len(paths)} files is an MR image in DICOM, expected an export of the scanner; "
            "choose another folder."
        )
    volumes, notes = [], []
    for number, slices in enumerate(groups.values()):
        if progress is not None:
            progress(0.5 + 0.5 * number / len(groups), "reading images")
        for stack in _repetitions(slices):
            try:
                volumes.append(_volume(stack))
            except InputError as error:
                notes.append(str(error))
    volumes.sort(key=lambda v: (v.fields.get("SeriesNumber", 0), v.fields.get("EchoTime", 0), v.part))
    if not volumes:
        raise InputError(f"{folder}: no volume could be read; {notes[0]}")
    return volumes, notes


def _slices(path):
    """(key of its volume, _Slice) of every frame of a file; nothing where it is no MR image."""
    import pydicom

    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
    except (pydicom.errors.InvalidDicomError, OSError, EOFError):
        return
    if dataset.get("Modality") != "MR" or not dataset.get("Rows"):
        return
    frames = range(int(dataset.NumberOfFrames)) if "PerFrameFunctionalGroupsSequence" in dataset else (None,)
    for frame in frames:
        place = position_of(dataset, frame)
        if place is None:
            continue
        fields, part = sidecar_fields(dataset, frame), part_of(dataset, frame)
        key = (str(dataset.get("SeriesInstanceUID", "")), part, *(fields.get(name) for name in TELLS))
        yield key, _Slice(path, frame, *place, rescale_of(dataset, frame), part, fields)


def _repetitions(slices):
    """Slices of one repetition each: where a place was measured several times, in the order of the files."""
    by_height = {}
    for found in slices:
        by_height.setdefault(round(found.height, 2), []).append(found)
    for number in range(max(len(same) for same in by_height.values())):
        yield [same[number] for _, same in sorted(by_height.items()) if number < len(same)]


def _volume(slices):
    """DicomVolume of slices in the order of their places.

    Raises:
        InputError: they are unevenly spaced, or the pixels cannot be read.
    """
    first, last = slices[0], slices[-1]
    name = _name(first)
    steps = np.diff([s.height for s in slices])
    if steps.size and steps.max() - steps.min() > UNEVEN * steps.mean():
        raise InputError(
            f"{name}: its slices are {steps.min():.2f} to {steps.max():.2f} mm apart, expected even distances; a slice "
            "is missing or it is a localizer, and it was left out."
        )
    matrix = np.eye(4)
    along = (
        (last.corner - first.corner) / (len(slices) - 1)
        if steps.size
        else np.cross(first.row, first.column) * (first.fields.get("SliceThickness") or 1.0)
    )
    matrix[:3, :3] = np.stack([first.row * first.spacing[1], first.column * first.spacing[0], along], axis=1)
    matrix[:3, 3] = first.corner
    matrix[:3] = LPS_TO_RAS @ matrix[:3]
    values = np.stack(list(_pixels(slices, name)))
    return DicomVolume(name, values, Geometry(values.shape, matrix, SCANNER_Z), first.part, first.fields, first.path)


def _pixels(slices, name):
    import pydicom

    opened, frames = None, None
    for found in slices:
        try:
            if found.path != opened:
                opened, frames = found.path, pydicom.dcmread(found.path).pixel_array
        except Exception as error:  # decoders of compressed pixels raise what they like
            raise InputError(
                f"{name}: the pixels cannot be read ({' '.join(str(error).split())[:120]}); export the series "
                "uncompressed, or convert it with dcm2niix."
            ) from error
        slope, intercept = found.rescale
        plane = frames if found.frame is None or frames.ndim == 2 else frames[found.frame]
        yield plane.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _name(found):
    fields = found.fields
    words = [f"{fields['SeriesNumber']:g}" if "SeriesNumber" in fields else "", fields.get("SeriesDescription", "MR")]
    words += [f"TE {1000 * fields['EchoTime']:g} ms"] if "EchoTime" in fields else []
    words += [] if found.part == "magnitude" else [found.part]
    return " ".join(word for word in words if word)
