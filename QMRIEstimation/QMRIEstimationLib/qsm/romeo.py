"""ROMEO: spatial unwrapping along the most reliable edges, and the other echoes from the template."""

import numpy as np

from ..geometry import check_same_shape
from ..kernels import kernel
from ..threads import in_pieces
from .unwrap import TURN

BINS = 255  # costs 1 (best) to 255; 0 where there is no edge
_FLOOR = np.float32(0.1)  # smallest factor of an edge weight, so that no single term vetoes an edge
_BORDER = np.float32(0.9)  # linearity where one of the straight triples leaves the image
_SEED_TURNS = 2  # turns of the seed that are tried against the other echo


def romeo(phase, magnitude, mask, other_phase=None, echo_times=None):
    """Phase with whole turns added, grown from the best voxel along the best edges.

    The weight of an edge is the product over its terms c of 0.1 + 0.9 c: coherence of the phase, coherence of its
    gradient with that of another echo (when given), linearity along the edge, and likeness of the magnitudes.

    Args:
        phase: wrapped phase, float32 [k, j, i], rad. magnitude: same shape, any unit.
        mask: bool [k, j, i].
        other_phase: wrapped phase of another echo, or None. echo_times: s, of `phase` and of the other.
    Returns:
        float32 [k, j, i], rad, 0 outside the mask; less `phase` a multiple of 2 pi, the median within pi of zero. Parts
        of the mask that do not touch are grown one after another; each later one has its mean within pi of zero.
    Raises:
        ValueError: the shapes differ.
    Reference:
        Dymerska B et al. 2021, Magn Reson Med 85:2294-2308 (ROMEO).
    """
    check_same_shape(phase=phase, magnitude=magnitude, mask=mask, other_phase=other_phase)
    result = np.zeros(mask.shape, np.float32)
    if not mask.any():
        return result
    costs = _edge_costs(phase, magnitude, mask, other_phase, echo_times)
    result[mask] = phase[mask]
    other, ratio = (phase, 0.0) if other_phase is None else (other_phase, echo_times[0] / echo_times[1])
    _grow(result, costs, np.ascontiguousarray(mask), np.ascontiguousarray(other, np.float32), ratio)
    result[mask] -= TURN * np.float32(np.median(np.rint(result[mask] / TURN)))
    return result


def romeo_echoes(phase, magnitude, echo_times, mask):
    """Unwrapped echoes: the first by `romeo` with the second beside it, each later one from its neighbour in time.

    Args:
        phase, magnitude: float32 [echo, k, j, i]; echo_times: s, ascending. mask: bool [k, j, i].
    Returns:
        float32 [echo, k, j, i], rad, 0 outside the mask. An offset at echo time 0 must have been taken off, or the
        neighbour in time is no template.
    """
    if len(echo_times) == 1:
        return romeo(phase[0], magnitude[0], mask)[None]
    unwrapped = np.zeros(phase.shape, np.float32)
    unwrapped[0] = romeo(phase[0], magnitude[0], mask, phase[1], echo_times[:2])
    for n in range(1, len(echo_times)):
        expected = unwrapped[n - 1][mask] * np.float32(echo_times[n] / echo_times[n - 1])
        unwrapped[n][mask] = phase[n][mask] - TURN * np.rint((phase[n][mask] - expected) / TURN)
    return unwrapped


def phase_quality(phase, magnitude, mask, other_phase=None, echo_times=None):
    """Mean weight of the six edges of a voxel, 0 (noise) to 1, float32 [k, j, i]; arguments as of `romeo`."""
    check_same_shape(phase=phase, magnitude=magnitude, mask=mask, other_phase=other_phase)
    costs = _edge_costs(phase, magnitude, mask, other_phase, echo_times)
    weights = np.where(costs > 0, 1 - costs / np.float32(BINS), 0)
    total = weights.sum(axis=0)
    for axis in range(3):
        after, before = [slice(None)] * 3, [slice(None)] * 3
        after[axis], before[axis] = slice(1, None), slice(None, -1)
        total[tuple(after)] += weights[(axis, *before)]
    return np.where(mask, total / 6, 0).astype(np.float32)


def _edge_costs(phase, magnitude, mask, other_phase, echo_times):
    """Cost of the edge from each voxel to the next along each axis, uint8 [axis, k, j, i]."""
    costs = np.zeros((3, *mask.shape), np.uint8)
    arrays = [np.ascontiguousarray(a, np.float32) for a in (phase, magnitude)]
    other = arrays[0] if other_phase is None else np.ascontiguousarray(other_phase, np.float32)
    ratio = 0.0 if other_phase is None else echo_times[0] / echo_times[1]
    inside = np.ascontiguousarray(mask)

    def planes(first, last):
        _costs_of_planes(*arrays, inside, other, np.float32(ratio), first, last, costs)

    in_pieces(planes, len(phase), 4)
    return costs


@kernel
def _wrapped(x):
    turn = np.float32(2 * np.pi)
    return x - turn * np.rint(x / turn)


@kernel
def _costs_of_planes(phase, magnitude, mask, other, ratio, first, last, costs):
    shape = phase.shape
    pi = np.float32(np.pi)
    span = np.float32(1) - _FLOOR
    for k in range(first, last):
        for j in range(shape[1]):
            for i in range(shape[2]):
                if not mask[k, j, i]:
                    continue
                here = phase[k, j, i]
                for axis in range(3):
                    dk, dj, di = int(axis == 0), int(axis == 1), int(axis == 2)
                    k2, j2, i2 = k + dk, j + dj, i + di
                    if k2 >= shape[0] or j2 >= shape[1] or i2 >= shape[2] or not mask[k2, j2, i2]:
                        continue
                    there = phase[k2, j2, i2]
                    step = _wrapped(there - here)
                    weight = _FLOOR + span * (1 - abs(step) / pi)
                    if ratio > 0:
                        own = _wrapped(other[k2, j2, i2] - other[k, j, i]) * ratio
                        weight *= _FLOOR + span * max(np.float32(0), 1 - abs(step - own))
                    k0, j0, i0, k3, j3, i3 = k - dk, j - dj, i - di, k2 + dk, j2 + dj, i2 + di
                    if min(k0, j0, i0) < 0 or k3 >= shape[0] or j3 >= shape[1] or i3 >= shape[2]:
                        weight *= _FLOOR + span * _BORDER
                    else:
                        bend = abs(_wrapped(phase[k0, j0, i0] - 2 * here + there))
                        bend2 = abs(_wrapped(here - 2 * there + phase[k3, j3, i3]))
                        linear = max(np.float32(0), 1 - bend / 2) * max(np.float32(0), 1 - bend2 / 2)
                        weight *= _FLOOR + span * linear
                    low = min(magnitude[k, j, i], magnitude[k2, j2, i2])
                    high = max(magnitude[k, j, i], magnitude[k2, j2, i2])
                    like = low / high if high > 0 else np.float32(0)
                    weight *= _FLOOR + span * like * like
                    if weight >= 0:  # not a number has no edge
                        costs[axis, k, j, i] = max(int(np.rint((1 - weight) * BINS)), 1)


@kernel
def _grow(phase, costs, mask, other, ratio):
    """Unwrap in place, from the best seed of each part, always along the cheapest edge at hand (last in, first out)."""
    turn = np.float32(2 * np.pi)
    values, cost, inside, second = phase.ravel(), costs.reshape(3, -1), mask.ravel(), other.ravel()
    strides = (phase.shape[1] * phase.shape[2], phase.shape[2], 1)
    visited = ~inside
    following = np.full(3 * values.size, -1, np.int32)  # the next edge of the same cost; an edge is 3 voxel + axis
    heads = np.full(BINS + 1, -1, np.int32)
    queued = np.zeros(3 * values.size, np.bool_)
    order = _by_cost(cost, inside)
    part, later = np.empty(order.size, np.int32), False
    for seed in order:
        if visited[seed]:
            continue
        visited[seed] = True
        if ratio > 0:
            values[seed] += turn * _seed_turns(values[seed], second[seed], ratio)
        voxel, cheapest, size = seed, BINS + 1, 1
        part[0] = seed
        while True:
            cheapest = min(cheapest, _queue_edges(voxel, strides, cost, visited, following, heads, queued))
            found = False
            while cheapest <= BINS and not found:
                edge = heads[cheapest]
                if edge < 0:
                    cheapest += 1
                    continue
                heads[cheapest] = following[edge]
                first, axis = edge // 3, edge % 3
                a, b = first, first + strides[axis]
                if visited[a] and visited[b]:
                    continue
                old, voxel = (a, b) if visited[a] else (b, a)
                found = True
            if not found:
                break
            visited[voxel] = True
            values[voxel] -= turn * np.rint((values[voxel] - values[old]) / turn)
            part[size] = voxel
            size += 1
        if later:
            mean = 0.0
            for n in range(size):
                mean += values[part[n]] / size
            for n in range(size):
                values[part[n]] -= turn * np.float32(np.rint(mean / turn))
        later = True


@kernel
def _queue_edges(voxel, strides, cost, visited, following, heads, queued):
    """Put the edges of a voxel that lead on into the queue; the lowest of their costs."""
    cheapest = BINS + 1
    for axis in range(3):
        for back in range(2):
            first = voxel - back * strides[axis]
            if first < 0 or cost[axis, first] == 0:
                continue
            edge = 3 * first + axis
            if queued[edge] or visited[first if back else first + strides[axis]]:
                continue
            queued[edge] = True
            c = cost[axis, first]
            following[edge] = heads[c]
            heads[c] = edge
            cheapest = min(cheapest, int(c))
    return cheapest


@kernel
def _by_cost(cost, inside):
    """Voxels inside, those with the cheapest three edges first."""
    count = np.zeros(3 * BINS + 2, np.int64)
    sums = np.zeros(inside.size, np.int32)
    for v in range(inside.size):
        if inside[v]:
            for axis in range(3):
                sums[v] += np.int32(cost[axis, v]) if cost[axis, v] > 0 else BINS
            count[sums[v] + 1] += 1
    for n in range(1, count.size):
        count[n] += count[n - 1]
    order = np.empty(count[-1], np.int32)
    for v in range(inside.size):
        if inside[v]:
            order[count[sums[v]]] = v
            count[sums[v]] += 1
    return order


@kernel
def _seed_turns(value, other, ratio):
    """Whole turns of the seed that agree best with another echo; few turns rather than many."""
    best, turns = np.inf, 0
    for own in range(-_SEED_TURNS, _SEED_TURNS + 1):
        for second in range(-1, 2):
            difference = abs((value + 2 * np.pi * own) - (other + 2 * np.pi * second) * ratio)
            difference += (abs(own) + abs(second)) / 100
            if difference < best:
                best, turns = difference, own
    return turns
