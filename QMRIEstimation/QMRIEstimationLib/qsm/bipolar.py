"""Phase by which echoes read in alternating directions differ."""

import numpy as np

from .offset import smooth_offset
from .romeo import romeo

_EVEN = 0.02  # relative difference of echo spacings that still counts as even


def readout_phase(phase, weights, echo_times, mask, geometry):
    """Smooth phase g with phi_e = offset + 2 pi f TE_e + (-1)^e g, from the second differences of the echoes.

    With even spacing the second difference of the line vanishes and that of the alternation is 4 (-1)^e g, so nothing
    has to be unwrapped in time.

    Args:
        phase, weights: float32 [echo, k, j, i], wrapped phase (rad) and squared magnitude; three echoes or more.
        echo_times: s. mask: bool [k, j, i]. geometry: voxel size, mm.
    Returns:
        float32 [k, j, i], rad, 0 outside the mask, the median within pi/4 of zero (a quarter turn more is a field of a
        quarter of 1/spacing less, which no data tell apart); None where the spacing is not even.
    Reference:
        Li J et al. 2015, Magn Reson Med 73:1637-1643 (phase of bipolar readouts, three echoes); here all triples.
    """
    spacing = np.diff(echo_times)
    if len(echo_times) < 3 or np.ptp(spacing) > _EVEN * spacing.mean():
        return None
    total = np.zeros(mask.shape, np.complex64)
    for e in range(len(echo_times) - 2):
        bend = (-1) ** e * (phase[e] - 2 * phase[e + 1] + phase[e + 2])
        strength = np.minimum(np.minimum(weights[e], weights[e + 1]), weights[e + 2])
        total += np.where(mask, strength, 0) * np.exp(1j * bend)
    smooth = smooth_offset(np.angle(total).astype(np.float32), np.abs(total), mask, geometry)
    return romeo(smooth, np.abs(total), mask) / 4
