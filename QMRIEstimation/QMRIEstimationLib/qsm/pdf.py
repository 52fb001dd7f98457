"""Background field removal by projection onto the fields of dipoles outside the brain (PDF)."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..fft import irfftn, padded_shape, rfftn
from ..geometry import check_same_shape
from ..parameters import Options, param
from .conjugate_gradient import conjugate_gradient
from .dipole import dipole_kernel

_HEAVIEST = 3.0  # weight of a voxel over the median; a few bright vessels are not to decide


@dataclass(frozen=True)
class PdfOptions(Options):
    """Settings of PDF."""

    margin: float = param(20.0, "mm", 5.0, 200.0, "how far around the mask sources of the background are looked for")
    tolerance: float = param(2e-3, "", 1e-6, 0.1, "relative residual of the normal equations at which it stops")
    iterations: int = param(60, "", 1, 1000, "iterations after which it stops in any case")


def pdf(field, weight, mask, geometry, options=PdfOptions(), progress=None, cancelled=None):
    """Local field: what sources outside the mask cannot explain, min |W M (f - d * chi_b)|^2 over chi_b outside M.

    Args:
        field: total field, float32 [k, j, i], any unit. weight: its weight W, float32, 0 or more.
        mask: bool [k, j, i]; no voxel of it is lost.
        geometry: voxel size, mm, and B0 direction.
        options: PdfOptions.
    Returns:
        local field, float32 [k, j, i], 0 outside the mask; conjugate_gradient.Solution of the sources.
    Raises:
        ValueError: the shapes differ. InputError: the B0 direction is unknown. Cancelled.
    Reference:
        Liu T et al. 2011, NMR Biomed 24:1129-1136.
    """
    check_same_shape(field=field, weight=weight, mask=mask)
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    margin = [int(np.ceil(options.margin / h)) for h in geometry.voxel_size]
    shape = padded_shape([b.stop - b.start + m for b, m in zip(box, margin, strict=True)])
    inner = tuple(slice(b.stop - b.start) for b in box)  # at the near corner; the margin is periodic, so on both sides
    kernel = dipole_kernel(shape, geometry)
    inside = np.zeros(shape, bool)
    inside[inner] = mask[box]
    squared = np.zeros(shape, np.float32)
    squared[inner] = np.where(mask[box], _capped(weight, mask)[box] ** 2, 0)
    total = np.zeros(shape, np.float32)
    total[inner] = np.where(mask[box], field[box], 0)
    total[inside] -= np.average(total[inside], weights=squared[inside])  # dipoles make no constant field

    def dipoles(sources):
        return irfftn(rfftn(sources) * kernel, shape)

    def outside(array):
        array[inside] = 0
        return array

    solution = conjugate_gradient(
        lambda sources: outside(dipoles(squared * dipoles(sources))),
        outside(dipoles(squared * total)),
        options.tolerance,
        options.iterations,
        progress=None if progress is None else lambda fraction: progress(fraction, "background field, PDF"),
        cancelled=cancelled,
    )
    local = np.zeros(mask.shape, np.float32)
    local[box] = np.where(mask[box], (total - dipoles(solution.x))[inner], 0)
    return local, solution


def _capped(weight, mask):
    """The weight over its median in the mask, at most _HEAVIEST."""
    typical = np.median(weight[mask & (weight > 0)]) if np.any(weight[mask] > 0) else 1.0
    return np.minimum(weight / np.float32(typical), np.float32(_HEAVIEST))
