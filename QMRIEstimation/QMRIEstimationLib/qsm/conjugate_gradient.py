"""Conjugate gradients for the normal equations of the linear steps."""

from dataclasses import dataclass

import numpy as np

from ..errors import check_cancelled
from ..kernels import kernel


@dataclass(frozen=True, eq=False)
class Solution:
    """The solution `x` (float32) and how it was reached; `residual` is relative to the right side.

    `state`: what the method can go on from for a problem that is nearly the same, or None.
    """

    x: np.ndarray
    iterations: int
    residual: float
    converged: bool
    state: object = None


def conjugate_gradient(normal, right, tolerance, iterations, start=None, progress=None, cancelled=None):
    """Solve normal(x) = right for a symmetric positive (semi-)definite linear map.

    Args:
        normal: function from float32 array to float32 array of the same shape.
        right: float32. tolerance: of the residual over the norm of `right`. iterations: at most.
        start: float32 first guess, default 0. progress: called with a fraction only, once an iteration.
    Returns:
        Solution; it may not have converged, which it says.
    Raises:
        Cancelled.
    Reference:
        Hestenes MR, Stiefel E 1952, J Res Natl Bur Stand 49:409-436.
    """
    x = np.zeros_like(right) if start is None else start.copy()
    residual = right.copy() if start is None else right - normal(start)
    direction = residual.copy()
    size, goal = inner(residual, residual), tolerance**2 * inner(right, right)
    done = 0
    while done < iterations and size > goal:
        check_cancelled(cancelled)
        if progress is not None:
            progress(done / iterations)
        image = normal(direction)
        curvature = inner(direction, image)
        if curvature <= 0:  # rounding; no descent is left
            break
        _step(x, residual, direction, image, np.float32(size / curvature))
        previous, size = size, inner(residual, residual)
        _turn(direction, residual, np.float32(size / previous))
        done += 1
    scale = inner(right, right)
    return Solution(x, done, float(np.sqrt(size / scale)) if scale else 0.0, size <= goal)


def inner(a, b):
    """Inner product of two float32 arrays, summed in double precision and always in the same order."""
    return _inner(np.ravel(a), np.ravel(b))


def relative_change(new, old):
    """Norm of the difference over the norm of the new one; 0 when that is 0."""
    difference, size = _squares_of_change(np.ravel(new), np.ravel(old))
    return float(np.sqrt(difference / size)) if size else 0.0


def _step(x, residual, direction, image, length):
    _step_kernel(np.ravel(x), np.ravel(residual), np.ravel(direction), np.ravel(image), length)


def _turn(direction, residual, factor):
    _turn_kernel(np.ravel(direction), np.ravel(residual), factor)


@kernel(fastmath={"reassoc", "contract"})
def _inner(a, b):
    total = 0.0
    for n in range(0, a.size, 1024):  # partial sums: exact enough, and the inner loop runs in vector registers
        part = np.float32(0)
        for m in range(n, min(n + 1024, a.size)):
            part += a[m] * b[m]
        total += part
    return total


@kernel(fastmath={"reassoc", "contract"})
def _squares_of_change(new, old):
    difference, size = 0.0, 0.0
    for n in range(0, new.size, 1024):  # as above
        part, whole = np.float32(0), np.float32(0)
        for m in range(n, min(n + 1024, new.size)):
            part += (new[m] - old[m]) ** 2
            whole += new[m] * new[m]
        difference += part
        size += whole
    return difference, size


@kernel
def _step_kernel(x, residual, direction, image, length):
    for n in range(x.size):
        x[n] += length * direction[n]
        residual[n] -= length * image[n]


@kernel
def _turn_kernel(direction, residual, factor):
    for n in range(direction.size):
        direction[n] = residual[n] + factor * direction[n]
