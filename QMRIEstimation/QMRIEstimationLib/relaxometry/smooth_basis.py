"""Smooth fields as sums of products of Legendre polynomials along the axes of a grid.

No BLAS: its bits depend on the number of threads.
"""

import numpy as np
from numpy.polynomial import legendre


class SmoothBasis:
    """Products of Legendre polynomials up to a total order over the box around a region.

    Args:
        region: bool [k, j, i], not empty; its box is mapped to -1..1 along every axis.
        order: highest sum of the three orders.
        slab_axis: axis of `region` along which terms of that axis alone go on up to `slab_order`, or None.
    """

    def __init__(self, region, order, slab_axis=None, slab_order=0):
        self.shape = region.shape
        self.terms = [
            (a, b, c) for a in range(order + 1) for b in range(order + 1 - a) for c in range(order + 1 - a - b)
        ]
        if slab_axis is not None:
            for extra in range(order + 1, slab_order + 1):
                self.terms.append(tuple(extra if axis == slab_axis else 0 for axis in range(3)))
        highest = [max(term[axis] for term in self.terms) for axis in range(3)]
        self._axes = []  # [order, voxel] along each axis
        for axis, most in enumerate(highest):
            inside = np.flatnonzero(region.any(axis=tuple(a for a in range(3) if a != axis)))
            middle, half = 0.5 * (inside[0] + inside[-1]), max(0.5 * (inside[-1] - inside[0]), 0.5)
            place = (np.arange(region.shape[axis]) - middle) / half
            self._axes.append(np.stack([legendre.legval(place, np.eye(most + 1)[n]) for n in range(most + 1)]))

    def at(self, voxels):
        """Values of all terms at voxels given by three index arrays [n]: float64 [n, term]."""
        values = np.ones((len(voxels[0]), len(self.terms)))
        for n, term in enumerate(self.terms):
            for polynomials, order, index in zip(self._axes, term, voxels, strict=True):
                if order:
                    values[:, n] *= polynomials[order, index]
        return values

    def on_grid(self, coefficients):
        """The field with the given coefficients [term] on the whole grid, float32 [k, j, i]."""
        cube = np.zeros([len(polynomials) for polynomials in self._axes])
        for term, coefficient in zip(self.terms, coefficients, strict=True):
            cube[term] = coefficient
        along_k, along_j, along_i = self._axes
        rows = np.einsum("abc,ci->abi", cube, along_i)
        planes = np.einsum("abi,bj->aji", rows, along_j).astype(np.float32)
        return np.einsum("aji,ak->kji", planes, along_k.astype(np.float32))


def least_squares(basis, values, weights):
    """Coefficients [term] of the weighted least-squares fit of `values` [n] by `basis` [n, term]."""
    normal = np.einsum("n,na,nb->ab", weights, basis, basis)
    return np.linalg.lstsq(normal, np.einsum("n,na->a", weights * values, basis), rcond=1e-10)[0]
