"""One R2* and one amplitude for each flip angle from gradient echoes of several flip angles and echo times."""

from dataclasses import dataclass

import numpy as np

from ..geometry import check_same_shape
from ..kernels import kernel
from ..threads import in_pieces
from .r2star import R2starMethod, R2starOptions
from .rician import mean_and_slope, rician_table
from .voxel_decay import ABOVE_FLOOR, FAST, plausible, sinc

MOST_ITERATIONS = 40
SMALL_STEP = 1e-4  # of the logarithms of the amplitudes and of R2* times the echo span; the next would be far smaller
LONGEST_STEP = 2.0  # same quantities

ESTATICS = R2starMethod(
    "one R2* and an amplitude for each flip angle from all echoes together (ESTATICS), non-linear least squares on the "
    "Rician mean",
    "Weiskopf N et al. 2014, Front Neurosci 8:278",
    "root mean square residual in noise SDs (1 expected)",
)

# Rows of the scratch arrays of a voxel: [row, echo] and [row, flip].
TIME, SIGNAL, FACTOR = range(3)
LOG_AMPLITUDE, M00, M01, B0, N00, TRIED = range(6)


@dataclass(frozen=True, eq=False)
class EstaticsFit:
    """Result of `fit_estatics`; every array [k, j, i] or [flip, k, j, i], 0 where not valid.

    Attributes:
        r2star, sd: float32, 1/s.
        amplitude: float32 [flip, ...], magnitude at echo time 0, unit of the image.
        amplitude_sd: float32 [flip, ...], SD of each amplitude by its own noise, R2* being given.
        shared_sd: float32 [flip, ...], change of each amplitude by one SD of R2*. The covariance of the amplitudes is
            diag(amplitude_sd^2) + shared_sd shared_sd'; `fit_r1` takes both.
        quality: float32, root mean square residual in noise SDs (1 expected).
        valid: bool.
    """

    r2star: np.ndarray
    sd: np.ndarray
    amplitude: np.ndarray
    amplitude_sd: np.ndarray
    shared_sd: np.ndarray
    quality: np.ndarray
    valid: np.ndarray


def fit_estatics(
    magnitudes,
    echo_times,
    noise_sd,
    mask,
    options=R2starOptions(),
    dephasing=None,
    progress=None,
    cancelled=None,
):
    """Joint fit of S_f(TE) = A_f F(TE) exp(-R2* TE) to all flip angles f, F the dephasing by field gradients.

    Least squares on the Rician mean (Levenberg-Marquardt). A voxel is not valid where a flip angle has no echo above
    three noise SDs, where there are fewer usable echoes than unknowns, where the fit does not converge, or where the
    SD of R2* exceeds both the rate and one over the span of the echoes. Negative rates are kept.

    Args:
        magnitudes: one float32 [e, k, j, i] for each flip angle; a voxel with NaN or Inf is not fitted.
        echo_times: s, one sequence for each flip angle, ascending.
        noise_sd: Gaussian noise SD of one channel, unit of the image, one for all flip angles or one for each.
        mask: bool [k, j, i], where to fit.
        options: gradient correction; the method is the one above.
        dephasing: float32 [3, k, j, i], Hz across the voxel along each axis (`dephasing.field_differences`), or None.
    Returns:
        EstaticsFit.
    Raises:
        ValueError: shapes differ, echo times or noise are impossible, or no flip angle has two echoes. Cancelled.
    Reference:
        Weiskopf N et al. 2014, Front Neurosci 8:278.
    """
    times = [np.asarray(t, np.float64) for t in echo_times]
    flips = len(magnitudes)
    _check(magnitudes, times, noise_sd, mask, dephasing)
    planes = np.concatenate([np.asarray(m, np.float32).reshape(len(m), -1) for m in magnitudes])
    first_echo = np.cumsum([0, *(len(t) for t in times)])
    differences = np.zeros((3, 0), np.float32)
    if dephasing is not None and options.gradient_correction:
        differences = np.ascontiguousarray(dephasing, np.float32).reshape(3, -1)
    inside = np.ascontiguousarray(mask, bool).reshape(-1)
    noise = np.broadcast_to(np.asarray(noise_sd, np.float64), flips).copy()
    data = planes, inside, np.concatenate(times), first_echo, differences, noise
    maps = [np.zeros(inside.size, np.float32) for _ in range(3)]
    amplitudes = [np.zeros((flips, inside.size), np.float32) for _ in range(3)]
    valid = np.zeros(inside.size, bool)
    results = (*maps, *amplitudes, valid)

    def piece(first, last):
        estatics_chunk(data, options.sinc_floor, rician_table(), first, last, results)

    in_pieces(piece, inside.size, progress=progress, cancelled=cancelled, text="R2* and amplitudes")
    r2star, sd, quality = (array.reshape(mask.shape) for array in maps)
    amplitude, amplitude_sd, shared_sd = (array.reshape(flips, *mask.shape) for array in amplitudes)
    return EstaticsFit(r2star, sd, amplitude, amplitude_sd, shared_sd, quality, valid.reshape(mask.shape))


def _check(magnitudes, times, noise_sd, mask, dephasing):
    """Raise ValueError for input no fit can use."""
    if len(magnitudes) != len(times) or len(times) == 0:
        raise ValueError(f"magnitudes has {len(magnitudes)} flip angles, echo_times {len(times)}; expected as many.")
    for f, (images, own) in enumerate(zip(magnitudes, times, strict=True)):
        if np.ndim(images) != 4 or len(images) != len(own):
            raise ValueError(
                f"magnitudes[{f}] has shape {np.shape(images)}, expected [echo, k, j, i] with {len(own)} echoes."
            )
        check_same_shape(**{"mask": mask, f"magnitudes[{f}]": images[0]})
        if not (np.isfinite(own).all() and own[0] > 0 and np.all(np.diff(own) > 0)):
            raise ValueError(f"echo_times[{f}] is {own.tolist()}, expected ascending positive times in seconds.")
    if max(len(own) for own in times) < 2:
        raise ValueError("echo_times has one echo for each flip angle, R2* needs a flip angle with two or more.")
    if dephasing is not None:
        check_same_shape(three_masks=np.broadcast_to(mask, (3, *mask.shape)), dephasing=dephasing)
    if np.shape(noise_sd) not in ((), (len(times),)):
        raise ValueError(f"noise_sd has shape {np.shape(noise_sd)}, expected one number or {len(times)}.")
    if not (np.isfinite(noise_sd).all() and np.all(np.asarray(noise_sd) > 0)):
        raise ValueError(f"noise_sd is {np.asarray(noise_sd).tolist()}, expected positive, in the unit of the image.")


@kernel(fastmath=FAST)
def load_echoes(data, sinc_floor, voxel, echoes, usable):
    """Fill signal (in noise SDs) and dephasing factor of one voxel, and the number of usable echoes a flip angle.

    False when a value is not finite, a flip angle has no usable echo above the noise floor, or there is no echo more
    than there are unknowns to spare.
    """
    magnitude, _, echo_times, first_echo, differences, noise_sd = data
    total = 0
    for f in range(usable.size):
        usable[f] = 0
        above = 0
        for e in range(first_echo[f], first_echo[f + 1]):
            factor, time = 1.0, echo_times[e]
            if differences.shape[1] > 0:
                factor = sinc(differences[0, voxel] * time)
                factor *= sinc(differences[1, voxel] * time) * sinc(differences[2, voxel] * time)
                if not factor >= sinc_floor:  # also when the field is not a number
                    break
            signal = magnitude[e, voxel] / noise_sd[f]
            if not abs(signal) < np.inf:
                return False
            echoes[SIGNAL, e], echoes[FACTOR, e] = signal, factor
            usable[f] += 1
            above += 1 if signal > ABOVE_FLOOR else 0
        if above == 0:
            return False
        total += usable[f]
    return total > usable.size


@kernel(fastmath=FAST)
def start_values(first_echo, echoes, usable, flips):
    """Fill the log amplitudes and return the rate of parallel lines through ln S, weighted by S^2."""
    top, bottom = 0.0, 0.0
    for f in range(usable.size):
        w, wt, wy, wtt, wty = 0.0, 0.0, 0.0, 0.0, 0.0
        for e in range(first_echo[f], first_echo[f] + usable[f]):
            signal = max(echoes[SIGNAL, e], 0.5)
            y, t, weight = np.log(signal / echoes[FACTOR, e]), echoes[TIME, e], signal * signal
            w += weight
            wt += weight * t
            wy += weight * y
            wtt += weight * t * t
            wty += weight * t * y
        top -= wty - wt * wy / w
        bottom += wtt - wt * wt / w
        flips[M00, f], flips[M01, f] = wy / w, wt / w
    rate = top / bottom if bottom > 0 else 0.0
    for f in range(usable.size):
        flips[LOG_AMPLITUDE, f] = flips[M00, f] + rate * flips[M01, f]
    return rate


@kernel(fastmath=FAST)
def normal_equations(row, rate, first_echo, echoes, usable, flips, table):
    """Cost, J'J and J'r of the rate; fills those of the log amplitudes in `row`, with J'VJ, V the Rician variances."""
    cost, m11, b1 = 0.0, 0.0, 0.0
    for f in range(usable.size):
        m00, m01, b0, n00 = 0.0, 0.0, 0.0, 0.0
        amplitude = np.exp(flips[row, f])
        for e in range(first_echo[f], first_echo[f] + usable[f]):
            t = echoes[TIME, e]
            true = amplitude * np.exp(-rate * t) * echoes[FACTOR, e]
            mean, slope = mean_and_slope(true, table)
            residual, gain = echoes[SIGNAL, e] - mean, slope * true
            square = gain * gain
            variance = 2 + true * true - mean * mean
            cost += residual * residual
            m00 += square
            m01 -= square * t
            m11 += square * t * t
            b0 += gain * residual
            b1 -= gain * t * residual
            n00 += variance * square
        flips[M00, f], flips[M01, f], flips[B0, f], flips[N00, f] = m00, m01, b0, n00
    return cost, m11, b1


@kernel(fastmath=FAST)
def fit_voxel(first_echo, echoes, usable, flips, table):
    """Least squares by Levenberg-Marquardt, the amplitudes eliminated: rate, SD of the rate, cost, converged.

    The normal matrix is diagonal but for the row of the rate, so its Schur complement is a sum over the flip angles.
    """
    rate = start_values(first_echo, echoes, usable, flips)
    cost, m11, b1 = normal_equations(LOG_AMPLITUDE, rate, first_echo, echoes, usable, flips, table)
    damping = 0.0
    converged = False
    for _ in range(MOST_ITERATIONS):
        schur, drive = m11 * (1 + damping), b1
        for f in range(usable.size):
            share = flips[M01, f] / (flips[M00, f] * (1 + damping))
            schur -= share * flips[M01, f]
            drive -= share * flips[B0, f]
        if not schur > 0:
            break
        step = min(max(drive / schur, -LONGEST_STEP), LONGEST_STEP)
        small = abs(step) < SMALL_STEP
        for f in range(usable.size):
            own = (flips[B0, f] - flips[M01, f] * step) / (flips[M00, f] * (1 + damping))
            own = min(max(own, -LONGEST_STEP), LONGEST_STEP)
            small &= abs(own) < SMALL_STEP
            flips[TRIED, f] = flips[LOG_AMPLITUDE, f] + own
        new = normal_equations(TRIED, rate + step, first_echo, echoes, usable, flips, table)
        if new[0] <= cost or small:
            rate += step
            cost, m11, b1 = new
            flips[LOG_AMPLITUDE] = flips[TRIED]
            damping *= 0.1
        else:
            damping = max(10 * damping, 0.01)
            normal_equations(LOG_AMPLITUDE, rate, first_echo, echoes, usable, flips, table)
        if small:
            converged = True
            break
    schur = m11
    for f in range(usable.size):
        schur -= flips[M01, f] * flips[M01, f] / flips[M00, f]
    if not (converged and schur > 0):
        return rate, 0.0, cost, False
    variance = 0.0  # of the rate: each residual acts through its distance from the centre of its flip angle's echoes
    for f in range(usable.size):
        centre = -flips[M01, f] / flips[M00, f]
        amplitude = np.exp(flips[LOG_AMPLITUDE, f])
        for e in range(first_echo[f], first_echo[f] + usable[f]):
            true = amplitude * np.exp(-rate * echoes[TIME, e]) * echoes[FACTOR, e]
            mean, slope = mean_and_slope(true, table)
            lever = slope * true * (echoes[TIME, e] - centre) / schur
            variance += lever * lever * (2 + true * true - mean * mean)
    return rate, np.sqrt(variance), cost, True


@kernel(fastmath=FAST)
def estatics_chunk(data, sinc_floor, table, first, last, results):
    """Fit voxels `first` to `last`.

    data: magnitude [e, v] (the echoes of one flip angle after the other), mask [v], echo_times [e] (s), first_echo
        [flip + 1], differences [3, v] (Hz) or [3, 0], noise_sd [flip]. table: `rician_table`.
    results: r2star, sd, quality [v], amplitude, amplitude_sd, shared_sd [flip, v], valid [v].
    """
    _, mask, echo_times, first_echo, _, noise_sd = data
    r2star, sd, quality, amplitude, amplitude_sd, shared_sd, valid = results
    count = first_echo.size - 1
    echoes, flips, usable = np.empty((3, echo_times.size)), np.empty((6, count)), np.empty(count, np.int64)
    span, spacing = 0.0, 0.0
    for f in range(count):
        own = echo_times[first_echo[f + 1] - 1] - echo_times[first_echo[f]]
        if own > span:
            span, spacing = own, echo_times[first_echo[f] + 1] - echo_times[first_echo[f]]
    echoes[TIME] = echo_times / span  # makes all unknowns of order one
    for v in range(first, last):
        if not (mask[v] and load_echoes(data, sinc_floor, v, echoes, usable)):
            continue
        rate, rate_sd, cost, ok = fit_voxel(first_echo, echoes, usable, flips, table)
        if not (ok and plausible(rate / span, rate_sd / span, spacing, span)):
            continue
        r2star[v], sd[v] = rate / span, rate_sd / span
        quality[v] = np.sqrt(cost / max(usable.sum() - count - 1, 1))
        for f in range(count):
            level = noise_sd[f] * np.exp(flips[LOG_AMPLITUDE, f])
            amplitude[f, v] = level
            amplitude_sd[f, v] = level * np.sqrt(flips[N00, f]) / flips[M00, f]
            shared_sd[f, v] = -level * flips[M01, f] / flips[M00, f] * rate_sd
        valid[v] = True
