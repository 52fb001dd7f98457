"""Zero-filled interpolation recognised, so that sizes and noise are judged by the voxel that was measured.

Two witnesses, the coarser one counts: what the sidecar says of the acquired matrix, and the empty margin of k-space,
which only complex data show exactly. A margin must be empty on both sides of an axis: partial Fourier leaves one side
empty and is no interpolation. A masked or filtered image has no sharp edge in k-space and is left to the header.
"""

import numpy as np
from scipy import fft

EDGE = 30.0  # power ratio across two points of k-space; measured 7 at most in images that were not interpolated
SMALLEST_MARGIN, LARGEST_MARGIN = 0.03, 0.34  # of an axis, each side; nobody interpolates by more than 3


def acquired_voxel_size(geometry, fields, magnitude=None, phase=None):
    """Size of the measured voxel, mm [k, j, i], or None when the image was not interpolated.

    Args:
        geometry: grid of the image.
        fields: sidecar (mapping in BIDS and dcm2niix names).
        magnitude, phase: [k, j, i] of one early echo, phase in rad; None looks at the header only.
    """
    by_header = matrix_by_header(geometry, fields)
    by_data = matrix_by_kspace(magnitude * np.exp(1j * phase)) if phase is not None else geometry.shape
    matrix = [min(pair) for pair in zip(by_header, by_data, strict=True)]
    if all(m >= n for m, n in zip(matrix, geometry.shape, strict=True)):
        return None
    return tuple(s * n / m for s, n, m in zip(geometry.voxel_size, geometry.shape, matrix, strict=True))


def matrix_by_header(geometry, fields):
    """Acquired points along [k, j, i] by the sidecar; those of the image where the sidecar is silent.

    In the plane AcquisitionMatrixPE counts along the phase-encoding axis and BaseResolution along the other; both
    count only while ReconMatrixPE still is the size of that axis. Along k a 3-D slice thicker than the distance of
    slices was interpolated.
    """
    n = list(geometry.shape)
    points = {key: _number(fields, key) for key in ("AcquisitionMatrixPE", "ReconMatrixPE", "BaseResolution")}
    axis = _phase_axis(fields)
    if axis is not None and points["ReconMatrixPE"] in (0, n[axis]):
        other = 3 - axis
        if 0 < points["AcquisitionMatrixPE"] < n[axis]:
            n[axis] = points["AcquisitionMatrixPE"]
        if 0 < points["BaseResolution"] < n[other]:
            n[other] = points["BaseResolution"]
    thickness, distance = _number(fields, "SliceThickness"), geometry.voxel_size[0]
    if fields.get("MRAcquisitionType") == "3D" and thickness > 1.05 * distance:
        n[0] = n[0] * distance / thickness
    return tuple(n)


def matrix_by_kspace(image):
    """Points along [k, j, i] inside the empty margin of the k-space of a complex image."""
    power = np.abs(fft.fftshift(fft.fftn(np.asarray(image, np.complex64)))) ** 2
    return tuple(_filled(power, axis) for axis in range(3))


def _filled(power, axis):
    n = power.shape[axis]
    # of a plane of k-space a quarter or less is filled where the other axes were interpolated too
    profile = np.percentile(np.moveaxis(power, axis, 0).reshape(n, -1), 90, axis=1)
    left, right = _margin(profile), _margin(profile[::-1])
    if not max(2, SMALLEST_MARGIN * n) <= min(left, right) <= LARGEST_MARGIN * n:
        return n
    # one side may be emptier by partial Fourier; an odd length shifts the centre by one
    return n - (left + right if abs(left - right) <= 1 else 2 * min(left, right))


def _margin(profile):
    """How many points from the start are empty: up to the steepest edge, if everything before it is below it."""
    half = profile[: len(profile) // 2]
    if len(half) < 4:
        return 0
    inner = half[2:]
    outer = np.maximum.accumulate(half)[:-2]
    ratio = inner / np.maximum(outer, np.finfo(np.float32).tiny)
    edge = int(np.argmax(ratio))
    # behind the edge of a zero-filled k-space the power is level; a smooth image without noise goes on rising
    behind = half[min(edge + 6, len(half) - 1)]
    if ratio[edge] < EDGE or behind > EDGE * half[edge + 2]:
        return 0
    return edge + 1 + int(half[edge + 1] ** 2 < outer[edge] * inner[edge])


def _phase_axis(fields):
    """Axis of [k, j, i] along which phase was encoded in the plane, or None."""
    direction = str(fields.get("PhaseEncodingDirection", ""))[:1]
    inplane = str(fields.get("InPlanePhaseEncodingDirectionDICOM", ""))
    return {"i": 2, "j": 1, "ROW": 2, "COL": 1}.get(direction, {"ROW": 2, "COL": 1}.get(inplane))


def _number(fields, key):
    value = fields.get(key)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 else 0
