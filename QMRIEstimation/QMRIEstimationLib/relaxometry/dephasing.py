"""Signal loss by macroscopic field gradients: how far the frequency differs from one side of a voxel to the other."""

import numpy as np

from ..geometry import check_same_shape


def field_differences(total_field, mask, geometry):
    """Frequency difference across the measured voxel along each axis.

    A difference d (Hz) spreads the phase of the voxel evenly over 2 pi d TE, so its signal is multiplied by
    sin(pi d TE) / (pi d TE); with gradients along all axes by the product of the three. The derivative is the mean of
    the differences to both neighbours, or the one there is at the border of the mask.

    Args:
        total_field: float32 [k, j, i], Hz.
        mask: bool [k, j, i], where the field is known.
        geometry: voxel size and, for interpolated images, the measured one.
    Returns:
        float32 [3, k, j, i], Hz with sign, 0 outside the mask.
    Raises:
        ValueError: the shapes differ.
    Reference:
        Fernandez-Seara MA, Wehrli FW 2000, Magn Reson Med 44:358-366 (one axis, rectangular voxel).
    """
    check_same_shape(total_field=total_field, mask=mask)
    known = mask & np.isfinite(total_field)
    differences = np.zeros((3, *mask.shape), np.float32)
    for axis in range(3):
        stretch = geometry.effective_voxel_size[axis] / geometry.voxel_size[axis]
        differences[axis] = np.float32(stretch) * _derivative(total_field, known, axis)
    return differences


def dephasing_factor(differences, echo_time):
    """Remaining signal at an echo time (s): product over the axes of |sinc(difference TE)|; float32 [k, j, i].

    >>> float(dephasing_factor(np.array([20.0, 0.0, 0.0]), 0.05).round(6))
    0.0
    """
    return np.prod(np.abs(np.sinc(np.asarray(differences) * echo_time)), axis=0)


def _derivative(field, known, axis):
    """Mean of the known differences to the next and to the previous voxel; 0 where there is none."""
    near = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
    far = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
    both = known[near] & known[far]
    step = np.where(both, field[far] - field[near], 0).astype(np.float32)
    total, count = np.zeros(field.shape, np.float32), np.zeros(field.shape, np.float32)
    for side in (near, far):
        total[side] += step
        count[side] += both
    return total / np.maximum(count, 1)
