"""Phase along the echoes: whole turns that put every echo nearest to the line through the others, and that line."""

import numpy as np

from ..kernels import kernel
from ..threads import in_pieces

_SWEEPS = 20  # every change lowers the squared residual, so few sweeps are ever needed


def closest_pair(echo_times):
    """Indices of the two neighbouring echoes with the shortest distance (the first of equals)."""
    first = int(np.argmin(np.round(np.diff(echo_times), 9)))
    return first, first + 1


def unwrap_echoes(phase, weights, echo_times, difference, pair):
    """Add whole turns to the echoes of each voxel.

    The pair keeps the given unwrapped difference; each other echo is moved within pi of the weighted line through
    those at hand, until all are within pi of the line through the others.

    Args:
        phase: wrapped phase, float32 [echo, voxel], rad.
        weights: squared magnitude, float32 [echo, voxel], above zero.
        echo_times: s.
        difference: unwrapped phase of the second of the pair less the first, float32 [voxel], rad.
        pair: the two echo indices.
    Returns:
        float32 [echo, voxel], rad; the turns common to all echoes are free.
    """
    unwrapped = np.ascontiguousarray(phase, np.float32).copy()
    times = np.asarray(echo_times, np.float64)
    order = np.argsort(np.abs(times - times[list(pair)].mean()), kind="stable")
    order = np.array([*pair, *(e for e in order if e not in pair)], np.int64)
    weights = np.ascontiguousarray(weights, np.float32)

    def piece(first, last):
        _unwrap_echoes(unwrapped, weights, times, difference, order, first, last)

    in_pieces(piece, unwrapped.shape[1])
    return unwrapped


def line_fit(unwrapped, weights, echo_times):
    """Weighted line through the echoes: intercept (rad) and precision of it in units of the weights.

    The precision is (Sw Stt - St^2) / Stt with S the weighted sums over the echoes.
    """
    times = [np.float32(t / echo_times[-1]) for t in echo_times]  # near one, for single precision
    sw = sum(w for w in weights)
    st = sum(w * t for w, t in zip(weights, times, strict=True))
    stt = sum(w * t * t for w, t in zip(weights, times, strict=True))
    sp = sum(w * p for w, p in zip(weights, unwrapped, strict=True))
    stp = sum(w * p * t for w, p, t in zip(weights, unwrapped, times, strict=True))
    determinant = sw * stt - st * st
    return (stt * sp - st * stp) / determinant, determinant / stt


@kernel
def _unwrap_echoes(phase, weights, times, difference, order, first, last):
    turn = 2 * np.pi
    echoes = len(phase)
    for v in range(first, last):
        a, b = order[0], order[1]
        target = phase[a, v] + difference[v]
        phase[b, v] += turn * np.rint((target - phase[b, v]) / turn)
        for sweep in range(_SWEEPS):
            moved = False
            for n in range(2 if sweep == 0 else 0, echoes):
                if echoes == 2:
                    break
                e = order[n]
                used = n if sweep == 0 else echoes
                sw, st, stt, sp, stp = 0.0, 0.0, 0.0, 0.0, 0.0
                for m in range(used):
                    o = order[m]
                    if o != e:
                        w, t, p = weights[o, v], times[o], phase[o, v]
                        sw += w
                        st += w * t
                        stt += w * t * t
                        sp += w * p
                        stp += w * t * p
                determinant = sw * stt - st * st
                slope = (sw * stp - st * sp) / determinant
                line = (sp - slope * st) / sw + slope * times[e]
                turns = np.rint((line - phase[e, v]) / turn)
                if turns != 0:
                    phase[e, v] += turn * turns
                    moved = True
            if sweep > 0 and not moved:
                break
