"""A field without sources in the brain, which the background removal has left, found beside susceptibility."""

import numpy as np
from scipy import ndimage

from ..fft import irfftn, rfftn
from .operators import difference_spectrum

_PENALTY = np.float32(1.0)  # of the split Laplacian


class WeakHarmonic:
    """The field h of min p/2 |b - d * chi - h|^2 + weight/2 |M lap h|^2, found together with chi; M is the inner brain.

    The Laplacian is split off (q, with the penalty m), so both fields of a step come from two equations at each
    frequency. With h eliminated, chi sees the data b - q / L with the weight p m L^2 / (p + m L^2).

    Attributes:
        share: the weight that is left to chi, over p, float32 half spectrum.
    Reference:
        Milovic C et al. 2019, Magn Reson Med 81:1399-1411 (weak-harmonic QSM).
    """

    def __init__(self, problem, weight, field_penalty):
        """`weight`: of the squared Laplacian, mm^4. `field_penalty`: p."""
        self.shape = problem.shape
        self.laplacian = -difference_spectrum(problem.shape, problem.geometry.voxel_size)
        scale = field_penalty + _PENALTY * self.laplacian**2
        self.share = _PENALTY * self.laplacian**2 / scale
        self.pull = _PENALTY * self.laplacian / scale
        inner = ndimage.binary_erosion(problem.mask)
        self.kept = (_PENALTY / (_PENALTY + np.float32(weight) * inner)).astype(np.float32)
        self.dual = np.zeros(problem.shape, np.float32)
        self.wanted = np.zeros(self.laplacian.shape, np.complex64)  # q

    def data_for_chi(self, data):
        """`share` times the half spectrum of the data that chi is to explain; `data`: that of b."""
        return self.share * data - self.pull * self.wanted

    def field(self, rest):
        """Half spectrum of h; `rest`: that of b - d * chi."""
        field = (1 - self.share) * rest + self.pull * self.wanted
        total = irfftn(self.laplacian * field, self.shape) + self.dual
        curvature = self.kept * total
        np.subtract(total, curvature, out=self.dual)
        self.wanted = rfftn(curvature - self.dual)
        return field
