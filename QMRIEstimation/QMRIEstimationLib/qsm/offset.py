"""Phase at echo time zero: transmit and receive phase, smooth in space, that is no part of the field."""

import numpy as np

from ..fft import crop, irfftn, padded_shape, rfftn

_WINDOW = 3.0  # mm, SD of the Gaussian window: wide against noise, narrow against the receive phase of a head coil
_REACH = 4.0  # window radius in SDs
_RIDGE = 1e-3  # of the window's own second moment; steadies the slope where few voxels are in reach


def smooth_offset(intercept, precision, mask, geometry):
    """Phase offset by local-linear regression of the intercepts of the echo lines, weighted by their precision.

    A first pass averages phasors, a second fits plane by plane what differs from that mean; unlike a plain smooth
    mean this has no bias at the edge of the mask, where half of the window is empty.

    Args:
        intercept: phase of each voxel's line at echo time 0, float32 [k, j, i], rad, whole turns free.
        precision: its inverse variance in any unit, float32 [k, j, i].
        mask: bool [k, j, i].
        geometry: voxel size, mm.
    Returns:
        float32 [k, j, i], wrapped, rad; 0 outside the mask.
    Reference:
        Eckstein K et al. 2018, Magn Reson Med 79:2996-3006 (offset by extrapolation to echo time zero);
        Fan J, Gijbels I 1996, Local Polynomial Modelling and Its Applications (local-linear regression).
    """
    if not mask.any():
        return np.zeros(mask.shape, np.float32)
    moments = _Moments(mask.shape, geometry.voxel_size)
    weight = np.where(mask, precision / np.float32(precision[mask].mean(dtype=np.float64)), 0).astype(np.float32)
    real, imaginary = (moments.of(weight * f(intercept), "0")["0"][mask] for f in (np.cos, np.sin))
    mean = np.arctan2(imaginary, real)
    rest = np.zeros(mask.shape, np.float32)
    rest[mask] = np.angle(np.exp(1j * (intercept[mask] - mean)))
    s = {name: m[mask] for name, m in moments.of(weight, *_SECOND).items()}
    c = {name: m[mask] for name, m in moments.of(weight * rest, "0", "k", "j", "i").items()}
    offset = np.zeros(mask.shape, np.float32)
    offset[mask] = np.angle(np.exp(1j * (mean + _value_at_centre(s, c))))
    return offset


_SECOND = ("0", "k", "j", "i", "kk", "jj", "ii", "kj", "ki", "ji")


class _Moments:
    """Weighted sums of an array over the Gaussian window, times powers of the distance from its centre (SDs)."""

    def __init__(self, shape, voxel_size):
        self.shape = shape
        reach = [int(np.ceil(_REACH * _WINDOW / h)) for h in voxel_size]
        self.padded = padded_shape([n + r for n, r in zip(shape, reach, strict=True)])
        self.axes = []
        for axis, (n, r, h) in enumerate(zip(self.padded, reach, voxel_size, strict=True)):
            offsets = np.arange(-r, r + 1)
            u = offsets * h / _WINDOW
            window = np.exp(-0.5 * u * u)
            window /= window.sum()
            spectra = []
            for power in range(3):
                line = np.zeros(n)
                np.add.at(line, -offsets % n, window * u**power)  # a sum about the centre is a correlation
                spectrum = np.fft.rfft(line) if axis == 2 else np.fft.fft(line)
                spectra.append(spectrum.astype(np.complex64).reshape([-1 if a == axis else 1 for a in range(3)]))
            self.axes.append(spectra)

    def of(self, array, *names):
        """Moments of `array`, one for each name: "0", "k", "kj", ... say which powers."""
        spectrum = rfftn(array, self.padded)
        result = {}
        for name in names:
            k, j, i = (self.axes[a][name.count(letter)] for a, letter in enumerate("kji"))
            result[name] = crop(irfftn(spectrum * (k * j) * i, self.padded), self.shape)
        return result


def _value_at_centre(s, c):
    """Value of the weighted plane at the centre: (c0 - s A^-1 c) / (s0 - s A^-1 s) with A the second moments."""
    floor = np.float32(1e-6) * s["0"].max()
    total = np.maximum(s["0"], floor)
    ridge = _RIDGE * total
    a, b, d = s["kk"] + ridge, s["jj"] + ridge, s["ii"] + ridge
    e, f, g = s["kj"], s["ki"], s["ji"]
    ka, kb, kc = b * d - g * g, f * g - e * d, e * g - b * f  # cofactors of the symmetric 3x3 matrix
    jb, jc, ic = a * d - f * f, e * f - a * g, a * b - e * e
    determinant = a * ka + e * kb + f * kc
    qk = (ka * s["k"] + kb * s["j"] + kc * s["i"]) / determinant
    qj = (kb * s["k"] + jb * s["j"] + jc * s["i"]) / determinant
    qi = (kc * s["k"] + jc * s["j"] + ic * s["i"]) / determinant
    below = np.maximum(total - (qk * s["k"] + qj * s["j"] + qi * s["i"]), _RIDGE * total)
    return (c["0"] - (qk * c["k"] + qj * c["j"] + qi * c["i"])) / below
