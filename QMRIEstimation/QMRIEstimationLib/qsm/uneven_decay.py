"""Field of voxels at whose tissue boundary the decay differs: late echoes see the side that decays slowly."""

import numpy as np
from scipy.ndimage import uniform_filter

from ..kernels import kernel
from ..threads import in_pieces

_WITHIN = 0.5  # covariance within a voxel over that of the 27 around: 2/3 at a sharp boundary, 1/8 along a gradient
_GRADIENT = 1 / 8
_BOUND = 0.7  # SD of what the neighbours do not tell, over the product of the SDs of frequency and decay within a voxel
_SPREAD = 0.1  # rad^2, variance of the phase within a voxel at the mean echo time; beyond, two terms do not describe it
_REACH = 3.0  # mm, over which the mean is taken off: gradients of the background are not tissue
_TOGETHER = 0.4  # mm, to all sides of a voxel, over which the bend of the phase is averaged
_NOTHING = np.float32(1e-30)  # keeps quotients finite
_PLANES = 4  # that a thread takes at a time


def uneven_decay(rest, slope, signal, weights, echo_times, usable, voxel_size, noise_sd):
    """What the slope of the phase lacks because frequency and decay vary together within voxels.

    The mean of exp((i w - R) t) over a voxel has the phase w t - c t^2 to second order in t, with the means w and c the
    covariance of w and R over the voxel (cumulants). A line through 0 with weights W then finds
    w - c sum(W t^3) / sum(W t^2): 3 % of the field of the iron is lost in the shell of the pallidum of a digital
    patient, and around the red nucleus in slices of 2 mm.

    What is expected of c is the covariance of the means of the voxels around. With three echoes or more the phase is
    seen to bend by c t^2, and what is expected is corrected by that as far as its noise and the product of the
    standard deviations of w and R, which bounds c, allow. Both without what varies slowly: where the background
    dephases voxels, their decay differs because of it, but not within them.

    Args:
        rest: rad, float32 [echo, voxel], phase less the line.
        slope: rad/s, float32 [voxel], of the weighted line through 0.
        signal, weights: magnitude and what the echoes counted, float32 [echo, voxel], weights above 0.
        echo_times: s, two or more. usable: bool [k, j, i], the voxels. voxel_size: mm.
        noise_sd: of one channel, in the unit of the magnitude.
    Returns:
        float32 [voxel], rad/s, to be added to the slope.
    """
    times, weakest = np.asarray(echo_times, np.float32), np.sqrt(weights.min())
    own_decay, mean_time, bend, known = (np.empty(weights.shape[1], np.float32) for _ in range(4))

    def voxels(first, last):
        _decay_and_bend(rest, signal, weights, times, weakest, own_decay, mean_time, bend, known, first, last)

    in_pieces(voxels, len(mean_time))
    covariance, bound, spread = _told_by_neighbours(slope, own_decay, usable, voxel_size)
    trust = 1 / (1 + np.square(spread * np.square(mean_time) / np.float32(_SPREAD)))
    if len(times) > 2:
        known *= trust
        bend -= covariance
        bend -= _mean_around(bend, known, usable, voxel_size, _REACH)[0]
        mean, variance = _mean_around(bend, known, usable, voxel_size, _TOGETHER)
        expected = np.square(bound)
        covariance += mean * expected / (expected + np.float32(noise_sd**2) * variance + _NOTHING)
    return trust * covariance * mean_time


def _told_by_neighbours(slope, own_decay, usable, voxel_size):
    """Of frequency (w) and decay (R) within voxels, by the means of the 27 around, float32 [voxel].

    Returns:
        Covariance; product of the standard deviations, rad/s^2; variance of w with the background, rad^2/s^2.
    """
    field, tissue, decay = (np.zeros(usable.shape, np.float32) for _ in range(3))
    field[usable], decay[usable] = slope, own_decay
    tissue[usable] = slope - _mean_around(slope, np.ones_like(slope), usable, voxel_size, _REACH)[0]
    there = usable.astype(np.float32)
    found = np.zeros((3, *usable.shape), np.float32)

    def planes(first, last):
        _moments(tissue, decay, field, there, found, first, last)

    in_pieces(planes, len(usable), _PLANES)
    covariance, bound, spread = (image[usable] for image in found)
    return np.float32(_WITHIN) * covariance, np.float32(_BOUND) * bound, np.float32(_GRADIENT) * spread


def _mean_around(values, precision, usable, voxel_size, reach):
    """Mean over the voxels around weighted by `precision`, and its variance where that is 1 / variance of a voxel."""
    width = _width(reach, voxel_size)
    image, sums = np.zeros(usable.shape, np.float32), []
    for product in (precision * values, precision):
        image[usable] = product
        sums.append(np.float32(np.prod(width)) * uniform_filter(image, width, mode="constant")[usable])
    variance = 1 / np.maximum(sums[1], _NOTHING)
    return sums[0] * variance, variance


def _width(reach, voxel_size):
    """Voxels along each axis that lie within `reach` mm of one, and that one."""
    return [2 * round(reach / h) + 1 for h in voxel_size]


@kernel
def _decay_and_bend(rest, signal, weights, times, weakest, decay, mean_time, bend, known, first, last):
    """R2* (1/s) by the weighted line through the logarithms; T = sum(W t^3) / sum(W t^2); -t^2 in the phase (rad/s^2).

    `known` is the precision of the last for noise of 1, sum(W (t^2 - T t)^2).
    """
    for v in range(first, last):
        w0, w1, w2, w3, w4, log0, log1, rest1, rest2 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for e in range(len(times)):
            t, w = times[e], weights[e, v]
            logarithm = np.log(max(signal[e, v], weakest))
            w0 += w
            w1 += w * t
            w2 += w * t * t
            w3 += w * t * t * t
            w4 += w * t * t * t * t
            log0 += w * logarithm
            log1 += w * t * logarithm
            rest1 += w * t * rest[e, v]
            rest2 += w * t * t * rest[e, v]
        decay[v] = (w1 * log0 - w0 * log1) / (w0 * w2 - w1 * w1)
        mean_time[v] = w3 / w2
        known[v] = max(w4 - w3 * w3 / w2, 1e-6 * w4)
        bend[v] = (w3 / w2 * rest1 - rest2) / known[v]


@kernel
def _moments(a, b, c, usable, found, first, last):
    """Of three images, 0 where not usable (1.0, else 0.0), over the 27 voxels around each: cov(a, b), SDs of a and b
    multiplied, variance of c, into `found`."""
    depth, height, width = usable.shape
    sums = np.zeros((8, width + 2), np.float32)  # of the nine lines around one, with an empty voxel at both ends
    for k in range(first, last):
        for j in range(height):
            sums[:] = 0
            for near_k in range(max(k - 1, 0), min(k + 2, depth)):
                for near_j in range(max(j - 1, 0), min(j + 2, height)):
                    near = near_k, near_j
                    _add(a[near], b[near], c[near], usable[near], sums[:, 1:-1])
            _finish(sums, found[0, k, j], found[1, k, j], found[2, k, j])


@kernel
def _add(a, b, c, there, sums):
    n, of_a, of_b, of_ab, of_aa, of_bb, of_c, of_cc = sums
    for i in range(a.size):
        n[i] += there[i]
        of_a[i] += a[i]
        of_b[i] += b[i]
        of_ab[i] += a[i] * b[i]
        of_aa[i] += a[i] * a[i]
        of_bb[i] += b[i] * b[i]
        of_c[i] += c[i]
        of_cc[i] += c[i] * c[i]


@kernel
def _finish(sums, covariance, product, spread):
    n, of_a, of_b, of_ab, of_aa, of_bb, of_c, of_cc = sums
    zero = np.float32(0)
    for i in range(covariance.size):
        share = 1 / max(_three(n, i), np.float32(1))
        mean_a, mean_b, mean_c = share * _three(of_a, i), share * _three(of_b, i), share * _three(of_c, i)
        of_a_alone = max(share * _three(of_aa, i) - mean_a * mean_a, zero)
        of_b_alone = max(share * _three(of_bb, i) - mean_b * mean_b, zero)
        covariance[i] = share * _three(of_ab, i) - mean_a * mean_b
        product[i] = np.sqrt(of_a_alone * of_b_alone)
        spread[i] = max(share * _three(of_cc, i) - mean_c * mean_c, zero)


@kernel
def _three(line, i):
    return line[i] + line[i + 1] + line[i + 2]
