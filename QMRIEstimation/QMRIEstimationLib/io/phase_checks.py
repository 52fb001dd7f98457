"""Phase that susceptibility mapping cannot use: processed by the scanner, filtered, or random from slice to slice."""

import re

import numpy as np
from scipy import ndimage

# as words of ImageType or SeriesDescription; "FIL" and "NORM" of Siemens touch the magnitude only and are not here
PROCESSED = {
    "SWI": "susceptibility-weighted",
    "SWAN": "susceptibility-weighted",
    "SWIP": "susceptibility-weighted",
    "MNIP": "a minimum projection",
    "MINIP": "a minimum projection",
    "MIP": "a projection",
    "PROJECTION": "a projection",
    "FILT": "high-pass filtered",
    "FILTERED": "high-pass filtered",
    "HIGHPASS": "high-pass filtered",
    "HPF": "high-pass filtered",
}
LOW_TO_MIDDLE = 0.5  # see `looks_high_pass_filtered`
MIDDLE_SEEN = 0.015  # rad: an image flatter than that shows no anatomy that could be told from a filter's rest
SMOOTHING = 0.8  # blocks: sigma of the Gaussian of the middle part
BLOCKS_NEEDED = 2000
RANDOM_STEPS = 0.7  # resultant length of the second differences: 0.998 and above in good data, 0.05 to 0.3 for random
AIR = 0.01  # weight of a slice over the largest below which it says nothing
ZERO_SHARE = 0.2
BRIGHT = 0.5  # of the median over the head
SIDE, STEEP = 4, 1.5  # of the squares around which turns are counted: steps a side, and rad that each may have
MOST_POLES = 0.1  # a slice; none in a real 7 T scan and five digital patients, 0.6 with one pair of poles
SMOOTHED = 0.25  # smoothness of the smoothest axis, and over that of the roughest: see `smoothness`


def processed_name(image_type, description=""):
    """What the scanner made of an image by its ImageType and series description; empty when it is as measured.

    >>> processed_name(["DERIVED", "PRIMARY", "MNIP", "ND"])
    'a minimum projection'
    """
    types = [re.sub(r"[^A-Z]", "", str(t).upper()) for t in image_type]
    # a protocol named swi3d exports its untouched phase too, so of the description only GE's and Siemens' marks count
    described = re.findall(r"FILT(?=_PHA)|MIP(?=_IMAGES)|SWI(?=_IMAGES)", description.upper())
    return next((PROCESSED[word] for word in types + described if word in PROCESSED), "")


def looks_high_pass_filtered(magnitude, phase):
    """Whether the slow part of the phase was removed (homodyne filter, as for SWI) by the data of one late echo.

    The phasor is averaged over blocks; its phase beyond about a twentieth of the field of view (low) and the rest
    (middle) are compared inside the head. Measured rms ratio low / middle: 0.78 to 4 in heads without any background
    field, 1.1 and above with it, 6 and above in the real data sets; 0.15 to 0.49 after Hanning filters of a sixth to
    half the matrix at 3 T and 20 ms. At short echo times or a matrix of 64 it cannot be seen and the answer is no.

    Args:
        magnitude, phase: [k, j, i]; phase in rad.
    """
    blocks = tuple(1 if n < 24 else 2 if n < 128 else 3 for n in phase.shape)
    weight = _block_mean(magnitude, blocks)
    phasor = _block_mean(magnitude * np.exp(1j * phase), blocks)
    sizes = [n / 20 for n in phasor.shape]
    low, middle = _smooth(phasor, sizes), _smooth(phasor, [SMOOTHING] * 3)
    head = ndimage.binary_erosion(weight > 0.3 * np.percentile(weight, 95))
    if np.count_nonzero(head) < BLOCKS_NEEDED:
        return False
    low_rms = np.sqrt(np.mean(np.angle(low[head]) ** 2))
    middle_rms = np.sqrt(np.mean(np.angle(middle[head] * np.conj(low[head])) ** 2))
    anatomy = middle_rms > max(MIDDLE_SEEN, 3 * _noise_of_middle(magnitude, phase, blocks))
    return bool(anatomy and low_rms < LOW_TO_MIDDLE * middle_rms)


def random_slice_steps(magnitude, phase):
    """Which of offset (`offset`) and evolution (`evolution`) jump at random from slice to slice, as a set.

    The phase step of neighbouring slices is one number where every slice has its own offset; in a volume it changes
    slowly with the slice. The phasors of its changes add up to nearly their number when smooth and to nearly nothing
    when random. The evolution is that from the first to the second echo, in which offsets cancel.

    Args:
        magnitude, phase: [echo, k, j, i]; phase in rad.
    """
    found = set()
    if phase.shape[1] < 8:
        return found
    first = magnitude[0] * np.exp(1j * phase[0])
    if _is_random(first):
        found.add("offset")
    if len(phase) > 1 and _is_random(magnitude[1] * np.exp(1j * phase[1]) * np.conj(first)):
        found.add("evolution")
    return found


def unlike_a_measurement(magnitude, phase, voxel_size):
    """Why the phase is not that of a measured complex image, as the middle of a sentence; empty when it may be.

    Args:
        magnitude, phase: [echo, k, j, i]; phase in rad. voxel_size: mm, [k, j, i].
    """
    if looks_high_pass_filtered(magnitude[-1], phase[-1]):
        return "the slow part of the phase is missing, as after a high-pass filter (SWI); expected unfiltered phase"
    smooth = smoothness(magnitude[-1], phase[-1])
    if min(smooth) < SMOOTHED * min(1, max(smooth)):
        return (
            "the phase is smoother than the noise of the magnitude allows, as after a homodyne reconstruction of "
            "partial Fourier data; expected the phase of every voxel"
        )
    poles = pole_density(magnitude[0], phase[0], voxel_size)
    if poles > MOST_POLES:
        return (
            f"fringe lines of the phase end in bright tissue ({poles:.1f} poles a slice), as after a failed "
            "combination of the receive coils; expected fringes that are closed or end at the edge"
        )
    return ""


def mostly_zero(phase):
    """Whether more than a fifth of the voxels are exactly 0: the phase was masked or padded."""
    return bool(np.count_nonzero(phase == 0) > ZERO_SHARE * phase.size)


def _is_random(volume):
    steps = (volume[1:] * np.conj(volume[:-1])).sum(axis=(1, 2), dtype=np.complex128)
    changes = steps[1:] * np.conj(steps[:-1])
    changes = changes[np.abs(changes) > AIR * np.abs(changes).max(initial=0)]
    if len(changes) < 6:
        return False
    return bool(abs(np.mean(changes / np.abs(changes))) < RANDOM_STEPS)


def _noise_of_middle(magnitude, phase, blocks):
    """Upper bound of the noise (rad) of the middle part: steps of neighbouring voxels, reduced by the averaging."""
    bright = magnitude[1:] > 0.3 * np.percentile(magnitude, 95)
    steps = np.angle(np.exp(1j * (phase[1:] - phase[:-1])))[bright]
    averaged = np.prod(blocks) * (2 * np.sqrt(np.pi) * SMOOTHING) ** 3  # independent values in one of the Gaussian
    return np.median(np.abs(steps)) / (0.6745 * np.sqrt(2 * averaged))


def _block_mean(array, blocks):
    cut = array[tuple(slice(0, n // b * b) for n, b in zip(array.shape, blocks, strict=True))]
    shape = [s for n, b in zip(cut.shape, blocks, strict=True) for s in (n // b, b)]
    return cut.reshape(shape).mean(axis=(1, 3, 5))


def _smooth(array, sigma):
    return ndimage.gaussian_filter(array.real, sigma) + 1j * ndimage.gaussian_filter(array.imag, sigma)


def pole_density(magnitude, phase, voxel_size):
    """Poles of the phase in bright tissue for each slice: fringe lines that end, as after a failed coil combination.

    A pole is a place around which the phase turns once. It is looked for along squares of 5 voxels a side, in the
    finest plane, on which no step is large: where the field is steep or there is little signal, the phase turns by
    chance. Bright are cubes of 5 voxels above half of the median of the head.

    Args:
        magnitude, phase: [k, j, i] of the first echo; phase in rad. voxel_size: mm, [k, j, i].
    """
    coarsest, side = int(np.argmax(voxel_size)), SIDE
    magnitude, phase = (np.moveaxis(image, coarsest, 0) for image in (magnitude, phase))
    if min(phase.shape[1:]) <= side:
        return 0.0
    bright = magnitude > BRIGHT * np.median(magnitude[magnitude > 0.3 * np.percentile(magnitude, 95)])
    inner = ndimage.binary_erosion(bright, np.ones((5, 5, 5), bool))
    right, down = _wrap(np.diff(phase, axis=2)), _wrap(np.diff(phase, axis=1))
    along = sum(right[:, :, n : right.shape[2] - side + 1 + n] for n in range(side))
    across = sum(down[:, n : down.shape[1] - side + 1 + n] for n in range(side))
    turns = along[:, :-side] + across[:, :, side:] - along[:, side:] - across[:, :, :-side]
    rows = np.max([np.abs(right[:, :, n : right.shape[2] - side + 1 + n]) for n in range(side)], axis=0)
    columns = np.max([np.abs(down[:, n : down.shape[1] - side + 1 + n]) for n in range(side)], axis=0)
    steepest = np.max([rows[:, :-side], rows[:, side:], columns[:, :, :-side], columns[:, :, side:]], axis=0)
    half = side // 2
    poles = (np.abs(turns) > np.pi) & (steepest < STEEP) & inner[:, half:-half, half:-half]
    return np.count_nonzero(poles) / side**2 / len(phase)  # each pole lies in so many squares


def smoothness(magnitude, phase):
    """Noise of the phase beside that of the magnitude along each axis, [3]: 1 as measured, less where it was smoothed.

    Half of the noise of a complex image is in the magnitude and half, over the magnitude, in the phase. The median size
    of their third differences in the bright half of the head is compared. Detail of tissue, which the magnitude has
    more of, makes it less: 1.05 and above in a real 7 T scan and five digital patients, 0.20 to 0.36, alike along all
    axes, in two real scans of 3 mm. A phase that homodyne reconstruction took from the middle of k-space has 0.03 to
    0.12 along the axis of the partial Fourier, 0.6 and above along the others.

    Args:
        magnitude, phase: [k, j, i] of the last echo; phase in rad.
    """
    bright = magnitude > np.median(magnitude[magnitude > 0.3 * np.percentile(magnitude, 95)])
    found = []
    for axis in range(3):
        if magnitude.shape[axis] < 8:
            found.append(1.0)
            continue
        kept = [np.moveaxis(bright, axis, 0)[n : n - 3 or None] for n in range(4)]
        inside = kept[0] & kept[1] & kept[2] & kept[3]
        step = _wrap(np.diff(np.moveaxis(phase, axis, 0), axis=0))
        turned = np.abs(np.diff(step, 2, axis=0))[inside] * np.moveaxis(magnitude, axis, 0)[1:-2][inside]
        plain = np.abs(np.diff(np.moveaxis(magnitude, axis, 0), 3, axis=0))[inside]
        found.append(float(np.median(turned) / np.median(plain)) if inside.any() and np.median(plain) > 0 else 1.0)
    return found


def _wrap(phase):
    return phase - 2 * np.pi * np.rint(phase / (2 * np.pi))
