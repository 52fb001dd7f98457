"""Field of voxels at whose tissue boundary the decay differs: late echoes see the side that decays slowly."""

import numpy as np
from scipy.ndimage import uniform_filter

from ..kernels import kernel
from ..threads import in_pieces

_WITHIN = 0.5  # covariance within a voxel over that of the 27 around: 2/3 at a sharp boundary, 1/8 along a gradient
_BEND = 0.3  # rad at the mean echo time; beyond, two terms do not describe the phase, and it is hardly corrected
_REACH = 3.0  # mm, over which the mean field is taken off: gradients of the background are not tissue
_PLANES = 4  # that a thread takes at a time


def uneven_decay(slope, signal, weights, echo_times, usable, voxel_size):
    """What the slope of the phase lacks because frequency and decay vary together within voxels.

    The mean of exp((i w - R) t) over a voxel has the phase w t - c t^2 to second order in t, with the means w and c the
    covariance of w and R over the voxel (cumulants). A line through 0 with weights W then finds
    w - c sum(W t^3) / sum(W t^2). In the shell of the pallidum of a digital patient that is 3 % of the field that the
    iron makes. The covariance is taken from the means of the voxels around, without the field that varies slowly: where
    that dephases voxels, their decay differs because of it, but not within them.

    Args:
        slope: rad/s, float32 [voxel], of the weighted line through 0.
        signal, weights: magnitude and what the echoes counted, float32 [echo, voxel], weights above 0.
        echo_times: s, two or more. usable: bool [k, j, i], the voxels. voxel_size: mm.
    Returns:
        float32 [voxel], rad/s, to be added to the slope.
    """
    times, weakest = np.asarray(echo_times, np.float32), np.sqrt(weights.min())
    own_decay, mean_time = (np.empty(weights.shape[1], np.float32) for _ in range(2))

    def voxels(first, last):
        _decay_and_time(signal, weights, times, weakest, own_decay, mean_time, first, last)

    in_pieces(voxels, len(mean_time))
    image, decay = (np.zeros(usable.shape, np.float32) for _ in range(2))
    image[usable], decay[usable] = slope, own_decay
    width = [2 * round(_REACH / h) + 1 for h in voxel_size]
    there = usable.astype(np.float32)
    share = uniform_filter(there, width, mode="constant")
    image[usable] -= uniform_filter(image, width, mode="constant")[usable] / share[usable]
    covariance = np.zeros(usable.shape, np.float32)

    def planes(first, last):
        _covariance(image, decay, there, covariance, first, last)

    in_pieces(planes, len(usable), _PLANES)
    lack = np.float32(_WITHIN) * covariance[usable] * mean_time
    return lack / (1 + np.square(lack * mean_time / np.float32(_BEND)))


@kernel
def _decay_and_time(signal, weights, times, weakest, decay, mean_time, first, last):
    """R2* (1/s) by the weighted line through the logarithms, and sum(W t^3) / sum(W t^2)."""
    for v in range(first, last):
        w0, w1, w2, w3, log0, log1 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for e in range(len(times)):
            t, w = times[e], weights[e, v]
            logarithm = np.log(max(signal[e, v], weakest))
            w0 += w
            w1 += w * t
            w2 += w * t * t
            w3 += w * t * t * t
            log0 += w * logarithm
            log1 += w * t * logarithm
        decay[v] = (w1 * log0 - w0 * log1) / (w0 * w2 - w1 * w1)
        mean_time[v] = w3 / w2


@kernel
def _covariance(a, b, usable, covariance, first, last):
    """Of two images, 0 where they are not usable (1.0, else 0.0), over the 27 voxels around each."""
    depth, height, width = usable.shape
    sums = np.zeros((4, width + 2), np.float32)  # of the nine lines around one, with an empty voxel at both ends
    for k in range(first, last):
        for j in range(height):
            sums[:] = 0
            for near_k in range(max(k - 1, 0), min(k + 2, depth)):
                for near_j in range(max(j - 1, 0), min(j + 2, height)):
                    _add(a[near_k, near_j], b[near_k, near_j], usable[near_k, near_j], sums[:, 1:-1])
            _finish(sums, covariance[k, j])


@kernel
def _add(a, b, there, sums):
    n, of_a, of_b, of_both = sums
    for i in range(a.size):
        n[i] += there[i]
        of_a[i] += a[i]
        of_b[i] += b[i]
        of_both[i] += a[i] * b[i]


@kernel
def _finish(sums, covariance):
    for i in range(covariance.size):
        n = max(sums[0, i] + sums[0, i + 1] + sums[0, i + 2], np.float32(1))
        of_a = sums[1, i] + sums[1, i + 1] + sums[1, i + 2]
        of_b = sums[2, i] + sums[2, i + 1] + sums[2, i + 2]
        of_both = sums[3, i] + sums[3, i + 1] + sums[3, i + 2]
        covariance[i] = (of_both - of_a * of_b / n) / n
