"""NIfTI files in and out: the one place that knows their headers, and the traps in them."""

import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from ..errors import InputError
from ..geometry import SCANNER_Z, Geometry

SHEAR_SEEN = 1e-3  # cosine between axes above which ITK refuses a file
SHEAR_REFUSED = 0.05  # about 3 degrees: no rounding of a scanner's matrix, an affine registration
FORMS_DIFFER = 0.01745  # rad, 1 degree: changes the dipole kernel by less than 2 % below it
COMPRESSION = 4  # level 6 takes twice the time for 1 % of the size on float maps
UNREADABLE = (
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    OverflowError,
    MemoryError,
    nibabel.filebasedimages.ImageFileError,
    nibabel.spatialimages.HeaderDataError,
)


@dataclass(frozen=True)
class ImageInfo:
    """What a NIfTI header says beside the grid.

    Attributes:
        sform_code, qform_code: NIfTI codes (0 unknown, 1 scanner, 2 and above aligned to something).
        unknown_b0: why the direction of B0 cannot be known from the header; empty when it can.
        slope, inter: scaling that was applied to the stored numbers.
        stored_type: numpy name of the stored type. is_complex: whether the array is complex.
        notes: what was mended, one sentence each, with the file name.
    """

    sform_code: int
    qform_code: int
    unknown_b0: str
    slope: float
    inter: float
    stored_type: str
    notes: tuple = ()

    @property
    def aligned(self):
        """Whether a code says that the image was moved to another space."""
        return max(self.sform_code, self.qform_code) > 1

    @property
    def is_complex(self):
        """Whether the stored numbers are complex."""
        return self.stored_type.startswith("complex")


def read_header(path):
    """Shape [k, j, i] or [t, k, j, i], Geometry and ImageInfo of a NIfTI file, without its voxels.

    Raises:
        InputError: no such file, not NIfTI, colour, more than four axes, or no usable grid.
    """
    return _describe(path, _open(path))


def read_image(path):
    """Voxels of a NIfTI file with its grid.

    Returns:
        array: float32, C-order [k, j, i] or [t, k, j, i], scaled as the header says; complex64 for complex files.
        geometry: `b0_ras` is None where the header cannot tell the direction of B0.
        info: ImageInfo.
    Raises:
        InputError: as `read_header`, a truncated file, or a value that is NaN or infinite.
    """
    image = _open(path)
    shape, geometry, info = _describe(path, image)
    name = Path(path).name
    wanted = np.complex64 if info.is_complex else np.float32
    try:
        with np.errstate(over="ignore"):
            array = np.asanyarray(_whole(path, image).dataobj).astype(wanted, copy=False)
    except UNREADABLE as error:
        raise InputError(
            f"{name}: the voxels cannot be read ({_one_line(error)}), expected {np.prod(shape)} numbers of type "
            f"{info.stored_type}; the file is truncated or damaged, copy or convert it again."
        ) from error
    array = np.ascontiguousarray(array.T.reshape(shape))
    bad = int(array.size - np.count_nonzero(np.isfinite(array)))
    if bad:
        raise InputError(
            f"{name}: {bad} of {array.size} voxels are NaN or infinite, expected finite numbers; "
            "export the image again, or set these voxels to 0 if they lie outside the head."
        )
    return array, geometry, info


def write_image(path, array, geometry, *, dtype=np.float32):
    """Write an array [k, j, i] or [t, k, j, i] as NIfTI under its final name only when it is complete.

    The same input gives the same bytes (no time and no name in the gzip header). The sform is the matrix of
    `geometry` in float32; both codes are 1 (scanner).

    Raises:
        ValueError: the shape is not that of the grid, or a value is NaN or infinite.
    """
    path, array = Path(path), np.asarray(array)
    if array.shape[-3:] != tuple(geometry.shape) or array.ndim not in (3, 4):
        raise ValueError(f"array has shape {array.shape}, expected {tuple(geometry.shape)} as the geometry.")
    if not np.isfinite(array).all():
        raise ValueError(f"{path.name}: the array holds NaN or infinite values.")
    image = nibabel.Nifti1Image(array.astype(dtype).T, geometry.ijk_to_ras)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(geometry.ijk_to_ras, 1)
    image.set_qform(geometry.ijk_to_ras, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(unfinished, "wb") as file:
            if path.suffix == ".gz":
                with gzip.GzipFile("", "wb", COMPRESSION, file, mtime=0) as packed:
                    packed.write(image.to_bytes())
            else:
                file.write(image.to_bytes())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def relative_name(path, folder):
    """Name of a file seen from a folder, with slashes on every system."""
    return Path(os.path.relpath(path, folder)).as_posix()


def _open(path):
    path = Path(path)
    if path.is_symlink() and not path.exists():
        raise InputError(
            f"{path.name}: is a link to a file that is not there; fetch the content (datalad get, git annex get)."
        )
    if not path.is_file():
        raise InputError(f"{path.name}: there is no such file in {path.parent}; correct the name or restore the file.")
    try:
        image = nibabel.load(path)
    except UNREADABLE as error:
        what = "is empty" if path.stat().st_size == 0 else f"cannot be read as NIfTI ({_one_line(error)})"
        raise InputError(f"{path.name}: {what}, expected .nii or .nii.gz; copy or convert it again.") from error
    if not isinstance(image, nibabel.Nifti1Pair):
        raise InputError(
            f"{path.name}: is {type(image).__name__}, expected NIfTI (.nii or .nii.gz); convert it with dcm2niix."
        )
    return image


def _whole(path, image):
    """The image from memory when it is packed: only unpacking to the end compares the checksum."""
    if Path(path).suffix != ".gz":
        return image
    return type(image).from_bytes(gzip.decompress(Path(path).read_bytes()))


def _describe(path, image):
    name, header = Path(path).name, image.header
    dtype = header.get_data_dtype()
    if dtype.names:
        raise InputError(f"{name}: holds colours (RGB), expected numbers; use the image that the scanner measured.")
    shape = _shape(name, image.shape)
    matrix, unknown_b0, notes = _grid(name, header, shape[-3:])
    slope, inter = image.dataobj.slope, image.dataobj.inter
    geometry = Geometry(shape[-3:], matrix, None if unknown_b0 else SCANNER_Z)
    codes = int(header["sform_code"]), int(header["qform_code"])
    return shape, geometry, ImageInfo(*codes, unknown_b0, float(slope), float(inter), dtype.name, tuple(notes))


def _shape(name, stored):
    stored = tuple(int(n) for n in stored)
    while len(stored) > 3 and stored[-1] == 1:
        stored = stored[:-1]
    if len(stored) < 2 or 0 in stored:
        raise InputError(f"{name}: has shape {stored}, expected a volume; convert the image again.")
    if len(stored) > 4:
        raise InputError(
            f"{name}: has {len(stored)} axes {stored}, expected 3, or 4 with the echoes last; split it into volumes."
        )
    stored += (1,) * (3 - len(stored))
    return stored[::-1]


def _grid(name, header, shape):
    """IJK-to-RAS matrix, the reason why B0 is unknown (or empty) and notes."""
    codes = {"sform": int(header["sform_code"]), "qform": int(header["qform_code"])}
    notes = []
    matrices = {form: _matrix(header, form) for form, code in codes.items() if code > 0}
    form = next(iter(matrices), None)
    matrix = header.get_base_affine() if form is None else matrices[form]
    # a zero pixdim reads as 1 in nibabel's quaternion, so the stored sizes are looked at themselves
    sizes = np.linalg.norm(matrix[:3, :3], axis=0) if form == "sform" else np.abs(header["pixdim"][1:4])
    if not np.isfinite(matrix).all() or not np.isfinite(sizes).all() or sizes.min() < 1e-3:
        found = ", ".join(f"{s:g}" for s in sizes)
        raise InputError(f"{name}: the voxel size is {found} mm, expected numbers above 0; convert the image again.")
    matrix, shear = _without_shear(matrix, shape)
    if shear >= SHEAR_REFUSED:
        raise InputError(
            f"{name}: the axes of the {form} are sheared (cosine {shear:.3f} between them), expected a right-angled "
            "grid; the image was aligned by an affine transform, use the original export."
        )
    if shear >= SHEAR_SEEN:
        notes.append(f"{name}: the axes of the {form} are sheared by {shear:.4f}; they were made right-angled.")
    if form is None:
        unknown = "the header holds no orientation (sform and qform code 0)"
    elif max(codes.values()) > 1:
        which = max(codes, key=codes.get)
        unknown = f"{which} code {codes[which]} says the image was aligned"
    elif len(matrices) == 2 and (angle := _angle(*matrices.values())) > FORMS_DIFFER:
        unknown = f"sform and qform differ by {np.rad2deg(angle):.1f} degrees"
        notes.append(f"{name}: {unknown}; the sform was used.")
    else:
        unknown = ""
    return matrix, unknown, notes


def _matrix(header, form):
    try:
        return np.asarray(header.get_sform() if form == "sform" else header.get_qform(), float)
    except ValueError:  # a quaternion longer than 1
        return np.full((4, 4), np.nan)


def _without_shear(matrix, shape):
    """The matrix with orthogonal axes (nearest rotation, same voxel sides and centre) and the shear it had."""
    sizes = np.linalg.norm(matrix[:3, :3], axis=0)
    directions = matrix[:3, :3] / sizes
    shear = float(np.abs(directions.T @ directions - np.eye(3)).max())
    if shear < SHEAR_SEEN:
        return matrix, shear
    u, _, vt = np.linalg.svd(directions)
    mended = np.eye(4)
    mended[:3, :3] = u @ vt * sizes
    centre = (np.array(shape[::-1]) - 1) / 2
    mended[:3, 3] = matrix[:3, 3] + (matrix[:3, :3] - mended[:3, :3]) @ centre
    return mended, shear


def _angle(first, second):
    """Largest angle (rad) between the same axes of two matrices."""
    a, b = (m[:3, :3] / np.linalg.norm(m[:3, :3], axis=0) for m in (first, second))
    return float(np.arccos(np.clip((a * b).sum(0), -1, 1)).max())


def _one_line(error):
    return " ".join(str(error).split())[:120] or type(error).__name__
