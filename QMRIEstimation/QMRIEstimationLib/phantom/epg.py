"""Steady state of gradient- and RF-spoiled gradient echoes by extended phase graphs (EPG).

Frame: co-moving with the RF phase phi_n = increment n (n + 1) / 2. There the magnetisation M(psi), Z(psi) over
the spoiling cycle psi repeats from pulse to pulse except for the shift psi -> psi + increment, so its Fourier
coefficients F_k, Z_k obey one linear equation. With u_k what reaches order k from k - 1 and v_k what reaches it from
k + 1 the graph is a chain of scatterers

    u_{k+1} = a_k (p_k u_k + q_k v_k),   v_{k-1} = a_k (q_k u_k + p_k v_k),   a_k = E2 exp(i k increment),

whose reflection v_k / u_{k+1} follows from the outermost order inwards. Nothing has to run for many T1.
Idea of the co-moving frame: Sobol WT, Gauntt DM 1996, J Magn Reson Imaging 6:384; Ganter C 2006, Magn Reson Med 55:98.
"""

import math

import numpy as np

from ..kernels import kernel

TRUNCATION = 1e-5  # weight of the transverse decay on the way to the outermost order and back
MAXIMUM_ORDER = 2000  # long T2 at short TR: E2 = 0.9972 still meets TRUNCATION
TOLERANCE = 1e-6  # change of the AFI signals between pairs of pulses at which they count as steady
MAXIMUM_PAIRS = 5000


@kernel
def highest_order(decay):
    """Order beyond which echoes no longer matter, for the transverse decay exponent of one repetition."""
    return min(MAXIMUM_ORDER, max(8, math.ceil(-0.5 * math.log(TRUNCATION) / max(decay, 1e-6))))


@kernel
def over(numerator, denominator):
    """Quotient of complex numbers without the overflow guards that make the built-in one slow."""
    size = denominator.real * denominator.real + denominator.imag * denominator.imag
    return numerator * denominator.conjugate() * (1 / size)


@kernel
def spoiled_steady_state(flip, r2_tr, direct, returned, retained, recovery, increment, diffusion):
    """Transverse magnetisation right after the pulse of a spoiled gradient echo in the steady state (M0 = 1).

    Longitudinal magnetisation over one repetition: z' = direct z + recovery, with `returned` and `retained` for a
    bound pool (see transfer.py); a single pool has direct = E1, returned = retained = 0, recovery = 1 - E1.

    Args:
        flip: true flip angle, rad.
        r2_tr: R2 TR.
        increment: RF spoiling increment, rad. diffusion: D (2 pi / spoiling length)^2 TR, 0 for none.
    Returns:
        complex; the pulse turns about x, so ideal spoiling gives +i sin(flip) (1 - E1) / (1 - E1 cos(flip)).
    """
    cosine, sine = math.cos(flip), math.sin(flip)
    keep, swap = 0.5 * (1 + cosine), 0.5 * (1 - cosine)
    e2 = math.exp(-r2_tr)
    order = highest_order(r2_tr)
    phase = complex(math.cos(order * increment), math.sin(order * increment))
    back = complex(math.cos(increment), -math.sin(increment))
    inner = outer = 1.0
    reflection = 0j
    for k in range(order, 0, -1):
        e1 = phase * direct
        if returned > 0:
            e1 += over(phase * phase * returned, 1 - phase * retained)
        if diffusion > 0:
            e1 *= math.exp(-diffusion * k * k)
            outer = math.exp(-diffusion * (k * k + k + 1 / 3))
            inner = math.exp(-diffusion * (k * k - k + 1 / 3))
        mixed = over(0.5 * sine * sine * e1, 1 - cosine * e1)
        p, q = keep - mixed, swap + mixed
        a = e2 * phase
        reflection = inner * a * (q + over(outer * a * p * p * reflection, 1 - outer * a * q * reflection))
        phase *= back
    # Order 0: F'_0 = conj(G'_0) and Z_0 is real, which leaves two real equations for F_0 = x + i y
    kappa = reflection * e2 * math.exp(-diffusion / 3)
    e1 = direct + returned / (1 - retained)
    denominator = 1 - e1 * cosine
    drive = sine * recovery / denominator
    feedback = sine * sine * e1 / denominator - cosine
    # x = Re(kappa F0); y = feedback * Im(kappa F0) + drive
    xx, xy = 1 - kappa.real, kappa.imag
    yx, yy = -feedback * kappa.imag, 1 - feedback * kappa.real
    determinant = xx * yy - xy * yx
    return complex(-xy * drive / determinant, xx * drive / determinant)


@kernel
def afi_steady_state(flip, r1, r2, tr1, tr2, increment, diffusion=0.0):
    """Transverse magnetisation right after both pulses of actual flip angle imaging (AFI) in the steady state.

    The two repetitions tr1, tr2 (s) alternate, each with one cycle of gradient spoiling, and every pulse advances
    the quadratic RF phase. The graph is run until the signals rest. Off-resonance is taken as zero.

    Args:
        flip: true flip angle, rad. r1, r2: 1/s. increment: RF spoiling increment, rad.
        diffusion: D (2 pi / spoiling length)^2, 1/s; 0 for none. It wears down order k by exp(-diffusion TR k^2).
    Returns:
        complex, complex: after the pulse that starts tr1 and the one that starts tr2 (M0 = 1).
    Reference:
        Yarnykh VL 2007, Magn Reson Med 57:192; Nehrke K 2009, Magn Reson Med 61:84.
    """
    cosine, sine = math.cos(flip), math.sin(flip)
    keep, swap = 0.5 * (1 + cosine), 0.5 * (1 - cosine)
    order = highest_order(0.5 * r2 * (tr1 + tr2)) + 1
    f, g, z = np.zeros(order + 2, np.complex128), np.zeros(order + 2, np.complex128), np.zeros(order + 2, np.complex128)
    turn = np.exp(1j * increment * np.arange(order + 2))
    z[0] = 1
    first = second = 0j
    for pair in range(MAXIMUM_PAIRS):
        before = first, second
        for pulse in range(2):
            tr = tr1 if pulse else tr2  # the interval before this pulse
            e1, e2 = math.exp(-r1 * tr), math.exp(-r2 * tr)
            reached = min(2 * pair + pulse + 1, order)
            worn = diffusion * tr
            for k in range(reached, 0, -1):
                f[k] = e2 * math.exp(-worn * (k * k - k + 1 / 3)) * turn[k - 1] * f[k - 1]
            for k in range(reached):
                g[k] = e2 * math.exp(-worn * (k * k + k + 1 / 3)) * turn[k + 1] * g[k + 1]
            g[reached] = 0
            f[0] = g[0].conjugate()
            for k in range(reached + 1):
                from_f, from_g, from_z = f[k], g[k], e1 * math.exp(-worn * k * k) * turn[k] * z[k]
                if k == 0:
                    from_z += 1 - e1
                f[k] = keep * from_f + swap * from_g + 1j * sine * from_z
                g[k] = swap * from_f + keep * from_g - 1j * sine * from_z
                z[k] = cosine * from_z + 0.5j * sine * (from_f - from_g)
            if pulse:
                second = f[0]
            else:
                first = f[0]
        if pair > 10 and abs(first - before[0]) + abs(second - before[1]) < TOLERANCE:
            break
    return first, second
