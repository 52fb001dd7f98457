"""Background field removal by projection onto the fields of dipoles outside the brain (PDF)."""

from dataclasses import dataclass

import numpy as np

from ..fft import irfftn, rfftn
from ..geometry import check_same_shape
from ..parameters import Options, param
from .conjugate_gradient import conjugate_gradient
from .dipole import dipole_kernel
from .problem import Grid, capped


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
        local field, float32 [k, j, i], 0 outside the mask; the mask; a sentence where it did not converge, or None.
    Raises:
        ValueError: the shapes differ. InputError: the B0 direction is unknown. Cancelled.
    Reference:
        Liu T et al. 2011, NMR Biomed 24:1129-1136.
    """
    check_same_shape(field=field, weight=weight, mask=mask)
    grid = Grid(mask, geometry, margin=options.margin)
    kernel = dipole_kernel(grid.shape, geometry)
    inside = grid.put(mask)
    squared = grid.put(capped(weight, mask) ** 2)
    total = grid.put(np.where(mask, field, 0).astype(np.float32))
    total[inside] -= np.average(total[inside], weights=squared[inside])  # dipoles make no constant field

    def dipoles(sources):
        return irfftn(rfftn(sources) * kernel, grid.shape)

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
    local = np.where(mask, grid.take(total - dipoles(solution.x)), 0)
    note = None
    if not solution.converged:
        note = (
            f"the background field (PDF) had not converged after {solution.iterations} iterations (relative residual "
            f"{solution.residual:.1e}, asked for {options.tolerance:g}); raise qsm.background.pdf.iterations."
        )
    return local, mask, note
