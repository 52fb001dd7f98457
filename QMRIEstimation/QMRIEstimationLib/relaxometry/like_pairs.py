"""A smooth factor on a map, from pairs of places of the same tissue that lie near each other.

The local quadratic entropy (Renyi) of the corrected values, -ln sum_pairs w exp(-(z_p - z_q)^2 / 2 h^2), is smallest
where like places have like values. Pairs a few centimetres apart tell the slope of the factor wherever a tissue
reaches that far, and no tissue is compared with one in another part of the head, where anatomy would pass for field.
"""

import numpy as np
from scipy.sparse import coo_array, diags_array

from ..errors import check_cancelled

NEAREST = 8.0  # mm; closer places share neighbours, so noise
FARTHEST = 28.0  # mm; farther apart the same R2* is no sign of the same tissue
MOST_OFFSETS = 25  # drawn evenly from all between the two
MOST_STEPS = 8  # of the reweighting
RESTS = 2e-4  # change (SD) of the smooth part that ends it
INDEPENDENT = 30.0  # places that count as one: they share the texture of the tissue and some noise
# SD of the terms of each order in ln b1 over a head, as shares of `spread`; assumed from the size of fields at 3 T:
# most is quadratic (a bright middle) and linear (beside the middle)
ORDER_SHARES = (1.0, 1.0, 1.0, 0.5, 0.3, 0.2, 0.2)
SLAB_SHARE = 0.5  # of a term of the slab axis alone, of whatever higher order


def pairs_on_lattice(points, shape, steps, voxel_size):
    """Pairs of lattice points NEAREST to FARTHEST mm apart: two index arrays [m] into the points.

    Args:
        points: three index arrays [n] of the lattice points. shape: of the grid.
        steps: voxels between lattice points along [k, j, i]. voxel_size: mm.
    """
    number = np.full(shape, -1)
    number[points] = np.arange(len(points[0]))
    first, second = [], []
    for offset in _offsets(steps, voxel_size):
        moved = [index + d for index, d in zip(points, offset, strict=True)]
        inside = np.all([(index >= 0) & (index < n) for index, n in zip(moved, shape, strict=True)], axis=0)
        own = np.flatnonzero(inside)
        other = number[tuple(index[own] for index in moved)]
        first.append(own[other >= 0])
        second.append(other[other >= 0])
    return np.concatenate(first), np.concatenate(second)


def _offsets(steps, voxel_size):
    """MOST_OFFSETS offsets (voxels) between lattice points in one half of space, int [m, 3]."""
    sides = np.asarray(steps) * voxel_size
    reach = [np.arange(-n, n + 1) for n in np.ceil(FARTHEST / sides).astype(int)]
    every = np.stack(np.meshgrid(*reach, indexing="ij"), -1).reshape(-1, 3)
    every = every[len(every) // 2 + 1 :]  # the other half are the same pairs
    distance = np.sqrt(np.sum((every * sides) ** 2, axis=1))
    every = every[(distance >= NEAREST) & (distance <= FARTHEST)]
    chosen = np.linspace(0, len(every) - 1, min(len(every), MOST_OFFSETS)).astype(np.intp)
    return every[chosen] * np.asarray(steps)


def term_spreads(basis_terms, order, spread):
    """SD that the values of every term may have (as ln b1), float64 [term]; terms as in SmoothBasis."""
    totals = [sum(term) for term in basis_terms]
    return spread * np.array([ORDER_SHARES[n] if n <= order else SLAB_SHARE for n in totals])


def smooth_from_pairs(values, pairs, likeness, terms, spreads, exponent, kernel, start, cancelled=None):
    """Coefficients c of the smooth `terms c` that make values + exponent terms c equal between the like places.

    The Gaussian of the entropy is followed by reweighted least squares: with L the graph Laplacian of the pairs,
    each weighted by likeness exp(-difference^2 / 2 kernel^2), (e^2 A' L A + prior) c = -e A' L values.

    Args:
        values: float64 [n], logarithms. pairs: two index arrays [m]. likeness: float64 [m], 0 for pairs to leave out.
        terms: float64 [n, k], mean 0. spreads: [k], SD that each term's values may have.
        kernel: h, of the logarithm. start: [k].
    Returns:
        coefficients: float64 [k].
    Raises:
        Cancelled.
    """
    first, second = pairs
    count = len(values)
    prior = np.diag((terms.std(axis=0) / spreads) ** 2)
    share = count / INDEPENDENT / max(likeness.sum(), 1e-9) / kernel**2  # every place counts once
    coefficients, smooth = start, np.einsum("nk,k->n", terms, start)
    for _ in range(MOST_STEPS):
        check_cancelled(cancelled)
        corrected = values + exponent * smooth
        weights = likeness * np.exp(-0.5 * ((corrected[second] - corrected[first]) / kernel) ** 2)
        laplacian = _laplacian(first, second, weights * share, count)
        curvature = exponent**2 * np.einsum("na,nb->ab", terms, laplacian @ terms)
        slope = -exponent * np.einsum("na,n->a", terms, laplacian @ values)
        coefficients = np.linalg.solve(curvature + prior, slope)
        before, smooth = smooth, np.einsum("nk,k->n", terms, coefficients)
        if np.std(smooth - before) < RESTS:
            break
    return coefficients


def _laplacian(first, second, weights, count):
    degree = np.bincount(first, weights, count) + np.bincount(second, weights, count)
    graph = coo_array((weights, (first, second)), shape=(count, count)).tocsr()
    return diags_array(degree).tocsr() - graph - graph.T
