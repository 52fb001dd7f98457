"""Background field removal by projection onto the fields of dipoles outside the brain (PDF)."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..fft import irfftn, rfftn
from ..geometry import check_same_shape
from ..parameters import Options, param
from ..steps import part
from .conjugate_gradient import conjugate_gradient
from .dipole import dipole_kernel
from .problem import Grid, capped

_TEXT = "background field, PDF"
_COARSE = 1.5  # axes whose voxels are at most so many times the smallest ones are halved for the first guess
_FIRST_GUESS = 0.2  # of the time
_FAR = 0.03  # of the squared field of a near source; farther ones, of which there are many, are not raised further


@dataclass(frozen=True)
class PdfOptions(Options):
    """Settings of PDF.

    With a tolerance of 1e-3 instead of 1.5e-3, a third slower, chi of two digital patients errs 15.9 and 25.3 instead
    of 16.1 and 25.2 % deeper than 5 mm, and 34 and 38 instead of 38 and 40 % in the whole brain.
    """

    margin: float = param(20.0, "mm", 5.0, 200.0, "how far around the mask sources of the background are looked for")
    tolerance: float = param(1.5e-3, "", 1e-6, 0.1, "relative residual of the normal equations at which it stops")
    iterations: int = param(60, "", 1, 1000, "iterations after which it stops in any case")


def pdf(field, weight, mask, geometry, options=PdfOptions(), progress=None, cancelled=None):
    """Local field: what sources outside cannot explain, min |W M (f - d * chi_b)|^2 over chi_b outside the inner mask.

    The outermost voxels of the mask are sources too, unlike in the reference: part of most lies beyond the brain, whose
    susceptibility is orders larger. With them chi errs 27.8 instead of 30.8 % on a digital patient in slices of 2 mm
    and 26.1 instead of 26.8 % on an oblique one; with the next layer as well the cortex suffers.

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
    brain, inside = grid.put(mask), grid.put(ndimage.binary_erosion(mask))
    squared = grid.put(capped(weight, mask) ** 2)
    total = grid.put(np.where(mask, field, 0).astype(np.float32))
    total[brain] -= np.average(total[brain], weights=squared[brain])  # dipoles make no constant field
    coarse = _coarser(inside, squared, total, geometry)
    first, _ = _sources(*coarse, None, options, part(progress, 0, _FIRST_GUESS), cancelled)
    start = _finer(first.x, inside)
    solution, explained = _sources(
        inside, squared, total, geometry, start, options, part(progress, _FIRST_GUESS, 1 - _FIRST_GUESS), cancelled
    )
    local = np.where(mask, grid.take(total - explained), 0)
    note = None
    if not solution.converged:
        note = (
            f"the background field (PDF) had not converged after {solution.iterations} iterations (relative residual "
            f"{solution.residual:.1e}, asked for {options.tolerance:g}); raise qsm.background.pdf.iterations."
        )
    return local, mask, note


def _sources(inside, squared, total, geometry, start, options, progress, cancelled):
    """Sources outside whose field is the total field.

    Args:
        inside: bool [k, j, i], where there are none. squared: W^2, 0 outside the mask. total: field, 0 outside the
            mask. geometry: its voxel size and B0 direction; its shape does not matter. start: first guess, or None.
    Returns:
        Solution, and the field of its sources, float32 [k, j, i].
    """
    kernel = dipole_kernel(total.shape, geometry)
    scale = _scale(kernel, inside, squared)

    def dipoles(sources):
        return irfftn(rfftn(sources) * kernel, total.shape)

    solution = conjugate_gradient(
        lambda scaled: scale * dipoles(squared * dipoles(scale * scaled)),
        scale * dipoles(squared * total),
        options.tolerance,
        options.iterations,
        None if start is None else start / np.where(inside, np.float32(1), scale),
        None if progress is None else lambda fraction: progress(fraction, _TEXT),
        cancelled,
    )
    sources = scale * solution.x
    return replace(solution, x=sources), dipoles(sources)


def _scale(kernel, inside, squared):
    """Scale of the sources in which a far one makes as much field as a near one, float32 [k, j, i], 0 inside.

    In it conjugate gradients need two thirds of the steps (Jacobi's preconditioner).
    """
    shape = squared.shape
    response = irfftn(kernel.astype(np.complex64), shape)
    made = irfftn(rfftn(response * response) * rfftn(squared), shape)  # squared field over the mask, weighted
    made /= made[~inside].max()
    return np.where(inside, np.float32(0), 1 / np.sqrt(np.maximum(made, np.float32(_FAR))))


def _coarser(inside, squared, total, geometry):
    """`inside`, `squared`, `total` and geometry on voxels twice as large, for a first guess at an eighth of the cost.

    What is far from the brain makes a smooth field, which conjugate gradients are slow to find on the fine grid.
    """
    size = np.array(geometry.voxel_size)
    factors = np.where(size <= _COARSE * size.min(), 2, 1)
    weight = _block_means(squared, factors)
    field = _block_means(squared * total, factors) / np.maximum(weight, np.float32(1e-12))
    no_source = _block_means(inside, factors) > 0.5
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, :3] *= factors[::-1]
    return no_source, weight, field, replace(geometry, ijk_to_ras=matrix)


def _block_means(array, factors):
    """Means over blocks of `factors` voxels along [k, j, i], with zeros beyond the end; float32."""
    counts = [-(-n // f) for n, f in zip(array.shape, factors, strict=True)]
    room = [(0, c * f - n) for n, f, c in zip(array.shape, factors, counts, strict=True)]
    split = [m for pair in zip(counts, factors, strict=True) for m in pair]
    return np.pad(array.astype(np.float32), room).reshape(split).mean(axis=(1, 3, 5))


def _finer(sources, inside):
    """Sources of coarse voxels in the fine voxels that make them up, 0 inside."""
    for axis, n in enumerate(inside.shape):
        if sources.shape[axis] < n:
            sources = np.take(np.repeat(sources, 2, axis), range(n), axis)
    return np.where(inside, np.float32(0), sources)
