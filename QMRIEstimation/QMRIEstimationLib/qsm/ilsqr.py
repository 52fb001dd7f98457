"""Inversion by least squares whose streaks are estimated within the cone and taken off (iLSQR)."""

from dataclasses import dataclass

import numpy as np

from ..fft import irfftn, rfftn
from ..parameters import Options, param
from .conjugate_gradient import Solution, conjugate_gradient
from .dipole import dipole_kernel
from .operators import difference_spectrum, gradient, weighted_roughness
from .spheres import sphere_mean

# As this project's survey gives them; the paper was not read.
# Percentiles are within the brain, for kernels within k-space.
_SMOOTH_FIELD, _ROUGH_FIELD = 60.0, 99.9  # of |Laplacian of the field|, between which its weight falls to 0
_SMOOTH_CHI, _ROUGH_CHI = 50.0, 70.0  # of |gradient of the first estimate|, as above
_CONE = 0.1  # |D| below which streaks lie
_FAST_RADIUS = 3.0  # mm, of the sphere that fills the cone of the first estimate
_FAST_POWER, _FAST_LOW, _FAST_HIGH = 0.001, 1.0, 30.0  # of |D|, and its percentiles that are 0 and 1
_FAST_THRESHOLD = 1 / 8  # of the TKD that gives the first estimate its scale
_STREAKS_TOLERANCE = 0.03  # relative residual of the streaks in the scale of their gradients; 0.01 fits noise too


@dataclass(frozen=True)
class IlsqrOptions(Options):
    """Settings of iLSQR."""

    padding: float = param(0.25, "", 0.0, 2.0, "share by which the grid is larger than the brain")
    tolerance: float = param(3e-3, "", 1e-6, 0.5, "relative residual at which the first solution stops")
    iterations: int = param(50, "", 1, 1000, "iterations after which either solution stops in any case")


def ilsqr(problem, options=IlsqrOptions(), progress=None, cancelled=None):
    """D chi = f by least squares, less the streaks that its smooth parts should not have.

    The streaks x_s lie in the cone of k-space and explain the gradients of the solution where the first, fast estimate
    is smooth: min sum_a |W_a G_a (chi - x_s)|^2. Weights come from the magnitudes of Laplacian and gradient; with their
    signed values, as some programs have it, half of all edges count as smooth.

    Args:
        problem: problem.Problem; its weight is not used. options: IlsqrOptions.
    Returns:
        conjugate_gradient.Solution with chi, ppm, 0 outside the mask. Reaching the usual number of iterations, which
        regularises too, is not reported.
    Raises:
        InputError: the B0 direction is unknown. Cancelled.
    Reference:
        Li W et al. 2015, NeuroImage 108:111-122.
    """
    shape, mask, voxel_size = problem.shape, problem.mask, problem.geometry.voxel_size
    dipole = dipole_kernel(shape, problem.geometry)
    even = np.ones((3, *shape), np.float32)
    weight = _falling(np.abs(weighted_roughness(problem.field, even, voxel_size)), mask, _SMOOTH_FIELD, _ROUGH_FIELD)
    weight *= mask

    def dipoles(x):
        return irfftn(rfftn(x) * dipole, shape)

    def told(start):
        return None if progress is None else lambda share: progress(start + share / 2, "dipole inversion, iLSQR")

    limits = options.tolerance, options.iterations
    first = conjugate_gradient(
        lambda x: dipoles(weight * dipoles(x)), dipoles(weight * problem.field), *limits, None, told(0.0), cancelled
    )
    estimate = _fast_estimate(problem, dipole)
    steep = np.abs(gradient(estimate, voxel_size))
    smooth = np.stack([_falling(along, mask, _SMOOTH_CHI, _ROUGH_CHI) * mask for along in steep]) ** 2
    to_image, to_scaled = _cone_of_even_gradients(dipole, shape, voxel_size)
    streaks = conjugate_gradient(
        lambda y: to_scaled(weighted_roughness(to_image(y), smooth, voxel_size)),
        to_scaled(weighted_roughness(first.x, smooth, voxel_size)),
        _STREAKS_TOLERANCE,
        options.iterations,
        None,
        told(0.5),
        cancelled,
    )
    chi = np.where(mask, first.x - to_image(streaks.x), 0)
    return Solution(chi, first.iterations + streaks.iterations, streaks.residual, True)


def _cone_of_even_gradients(dipole, shape, voxel_size):
    """Map from bins of the cone, scaled so that each has a gradient of norm 1, to the image, and its adjoint.

    In this scale the weights alone, which lie between 0 and 1, make the bins unequal, so few iterations do. The bins
    are float32 pairs; those that stand for two (the half spectrum leaves one out) have the root of two more, so that
    their plain inner product is that of the images.
    """
    roughness = difference_spectrum(shape, voxel_size)
    roughness[0, 0, 0] = np.inf  # the mean has no gradient
    scale = (np.abs(dipole) < _CONE) / np.sqrt(roughness)
    twice = np.full(scale.shape[2], np.sqrt(2), np.float32)
    twice[0] = 1
    if shape[2] % 2 == 0:
        twice[-1] = 1
    before, after = (scale / twice).astype(np.float32), (scale * twice).astype(np.float32)

    def to_image(bins):
        return irfftn(bins.view(np.complex64) * before, shape)

    def to_scaled(image):
        return (rfftn(image) * after).view(np.float32)

    return to_image, to_scaled


def _fast_estimate(problem, dipole):
    """Field times the sign of the kernel, its cone filled by a spherical mean, to the scale of TKD; float32, ppm."""
    shape, mask = problem.shape, problem.mask
    spectrum = rfftn(problem.field)
    powered = np.abs(dipole) ** np.float32(_FAST_POWER)
    low, high = np.percentile(powered, [_FAST_LOW, _FAST_HIGH])
    share = np.clip((powered - low) / (high - low), 0, 1).astype(np.float32)
    mean = rfftn(sphere_mean(shape, max(_FAST_RADIUS, *problem.geometry.voxel_size), problem.geometry.voxel_size)).real
    filled = share + (1 - share) * mean
    fast = irfftn(spectrum * np.sign(dipole), shape)
    for _ in range(2):
        fast = np.where(mask, irfftn(rfftn(fast) * filled, shape), 0)
    truncated = irfftn(spectrum * np.sign(dipole) / np.maximum(np.abs(dipole), np.float32(_FAST_THRESHOLD)), shape)
    if not fast[mask].any():
        return fast
    slope, intercept = np.polyfit(fast[mask], truncated[mask], 1)
    return np.where(mask, np.float32(slope) * fast + np.float32(intercept), 0)


def _falling(values, mask, low, high):
    """1 up to one percentile of the values in the mask, falling in a straight line to 0 at another; float32."""
    bottom, top = np.percentile(values[mask], [low, high])
    if top <= bottom:
        return np.ones_like(values)
    return np.clip((top - values) / (top - bottom), 0, 1).astype(np.float32)
