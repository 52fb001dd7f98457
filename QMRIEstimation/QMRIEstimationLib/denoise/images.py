"""The images of scans that lie on one grid, denoised together."""

from dataclasses import dataclass

import numpy as np

from ..parameters import Options, choice, param
from .demodulate import demodulated
from .local_mean import give_back_mean, taken_off
from .mppca import MppcaOptions, mppca
from .noise_map import noise_map
from .nonlocal_means import NonlocalOptions, nonlocal_means

NONE, USUAL = "none", "nonlocal-means"
LIKE_STRUCTURE = 0.05  # correlation between neighbours of what was taken off, beyond which it is not noise alone


@dataclass(frozen=True)
class DenoiseMethod:
    """A method; `function` has the arguments of nonlocal_means."""

    title: str
    reference: str
    function: object


METHODS = {
    "nonlocal-means": DenoiseMethod(
        "multispectral non-local means",
        "Manjon JV et al. 2009, Int J Biomed Imaging 2009:756897; Borrelli P et al. 2015, PLoS One 10:e0126835",
        nonlocal_means,
    ),
    "mp-pca": DenoiseMethod(
        "principal components above the noise (MP-PCA)", "Veraart J et al. 2016, NeuroImage 142:394-406", mppca
    ),
}


@dataclass(frozen=True)
class DenoiseOptions(Options):
    """Whether and how noise is taken out of the raw images."""

    method: str = choice(
        NONE,
        (NONE, *METHODS),
        "how noise is taken out of the images before anything is fitted; mp-pca gains more, but at SNR 25 it moves "
        "R1 of cortex by 2 % and of lesions below 5 mm by up to a tenth",
    )
    nonlocal_means: NonlocalOptions = NonlocalOptions()
    mp_pca: MppcaOptions = MppcaOptions()
    coils: int = param(
        1,
        "",
        1,
        256,
        "coil channels whose squares were added to magnitudes (sum of squares); 1 where they were combined with phase",
    )


@dataclass(frozen=True, eq=False)
class Denoised:
    """What became of the scans of one grid.

    Attributes:
        images: (magnitude, phase or None) of each scan, float32 [echo, k, j, i].
        levels: float32 [k, j, i] a scan, SD of the noise of one channel that is left.
        before: float32 [k, j, i] a scan, SD of the noise of one channel that was there.
        removed: float32 [k, j, i], what was taken off the first channel, in noise SDs.
        likeness: correlation of what was taken off with its neighbour, over all channels, less that of white noise
            without its local mean: 0 for noise.
    """

    images: list
    levels: list
    before: list
    removed: np.ndarray
    likeness: float


def denoise_images(scans, geometry, options, progress=None, cancelled=None):
    """Denoise the scans of one grid with weights that they share.

    Complex images are denoised as such, without their smooth phase; magnitudes by their squares, from which the share
    of the noise is taken off. Scans that moved against each other lose nothing but strength: a voxel is averaged with
    those that look like it in all of them.

    Args:
        scans: list of (magnitude, phase or None), float32 [echo, k, j, i].
        geometry: of the grid that was measured. options: DenoiseOptions, not `none`.
    Returns:
        Denoised.
    Raises:
        ValueError: there is too little signal, or no noise in it. Cancelled.
    """
    channels, factors, squared, before = [], [], [], []
    for magnitude, phase in scans:
        if phase is None:
            own, factor = list(magnitude), []
        else:
            parts = [demodulated(m, p, geometry) for m, p in zip(magnitude, phase, strict=True)]
            own, factor = [part for pair, _ in parts for part in pair], [f for _, f in parts]
        level = noise_map(own, geometry, coils=options.coils if phase is None else 0)
        channels += [c / level for c in own]
        squared += [phase is None] * len(own)
        factors.append(factor)
        before.append(level)
    channels = np.stack(channels)
    usable = np.isfinite(channels).all(axis=0) & (channels != 0).any(axis=0)
    channels[:, ~usable] = 0
    own = getattr(options, options.method.replace("-", "_"))
    means, share = METHODS[options.method].function(
        channels, squared, usable, geometry, own, progress=progress, cancelled=cancelled
    )
    back, likeness = give_back_mean(means, channels, squared, usable, geometry, cancelled)
    share = np.sqrt(np.minimum(share**2 + np.float32(back), 1))
    images, left, start = [], [], 0
    for (magnitude, phase), factor, level in zip(scans, factors, before, strict=True):
        count = len(magnitude) * (1 if phase is None else 2)
        part = means[start : start + count]
        images.append(_restored(part, magnitude, phase, factor, level, share, usable, options.coils))
        left.append(level * share)
        for c in range(start, start + count):
            channels[c] = taken_off(channels[c], means[c], squared[c])[0]
        start += count
    return Denoised(images, left, before, channels[0], _likeness(channels, usable) - likeness)


def _restored(means, magnitude, phase, factors, level, share, usable, coils):
    """Magnitude and phase of a scan from the means of its channels; voxels that are not usable as they were.

    A magnitude comes back with the excess that the noise which is left gives one: the fits take that off.
    """
    if phase is None:
        amplitude = level * np.sqrt(np.maximum(means - 2 * coils + 2 * share**2, 0))
        return np.where(usable, amplitude, magnitude).astype(np.float32), None
    amplitude, angle = np.empty_like(magnitude), np.empty_like(phase)
    for e, factor in enumerate(factors):
        image = (means[2 * e] + 1j * means[2 * e + 1]) * factor * level
        amplitude[e] = np.where(usable, np.abs(image), magnitude[e])
        angle[e] = np.where(usable, np.angle(image), phase[e])
    return amplitude, angle


def _likeness(removed, usable):
    """Correlation between neighbours along the axes of what was removed."""
    product, square = 0.0, 0.0
    for axis in range(3):
        first, second = (tuple(s if a == axis else slice(None) for a in range(3)) for s in (slice(1, None), slice(-1)))
        both = usable[first] & usable[second]
        for channel in removed:
            a, b = channel[first][both], channel[second][both]
            product += float(np.einsum("n,n->", a, b))
            square += float(np.einsum("n,n->", a, a))
    return product / square if square else 0.0
