"""The pulse sequences of the digital patient: what each gives for the rates of a tissue and the transmit field.

`amplitudes` is the transverse magnetisation right after the excitation for M0 = 1, for every class of the object and
every node of B1_AXIS, between which the renderer interpolates. The renderer applies proton density, receive field,
decay and phase: exp(-TE R2*) exp(i (2 pi df TE + offset)), or exp(-TE R2) without the dephasing where `spin_echo` is
True. bSSFP depends on the off-resonance and is a function of it, see `bssfp_coefficients` and `bssfp_signal`.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..kernels import kernel
from ..threads import in_pieces
from .epg import afi_steady_state, spoiled_steady_state
from .transfer import bound_saturation, longitudinal_factors

FLUID_R2 = 3.0  # 1/s; slower is fluid
FLUID_DIFFUSIVITY, TISSUE_DIFFUSIVITY = 3.0e-3, 0.8e-3  # mm^2/s at body temperature; of the usual size, from memory
CLASSES = 8  # of the object that one thread takes at a time
B1_AXIS = np.linspace(0.4, 1.5, 45)  # steps of 0.025: linear interpolation is then within 2e-4 at 60 degrees


@dataclass(frozen=True)
class SpoiledGre:
    """Spoiled gradient echo: flip_angle (rad), repetition_time, echo_times (s), spoiling_increment (rad)."""

    flip_angle: float
    repetition_time: float
    echo_times: tuple
    spoiling_increment: float = math.radians(50)
    pulse_duration: float = 1e-3
    spin_echo: ClassVar[bool] = False

    def amplitudes(self, r1, r2, bound):
        """Amplitude after the pulse by EPG, float64 [class, B1_AXIS]; `bound` is the bound pool of each class."""
        out = np.empty((len(r1), len(B1_AXIS)))
        protocol = (self.flip_angle, self.repetition_time, self.spoiling_increment, self.pulse_duration)

        def piece(first, last):
            _fill_spoiled(r1, r2, bound, B1_AXIS, *protocol, first, last, out)

        in_pieces(piece, len(r1), CLASSES)
        return out


@dataclass(frozen=True)
class Afi:
    """Actual flip angle imaging: flip_angle (rad), two repetition_times (s), one echo_times entry (s).

    `dephasing` (rad/mm) is what the spoiling gradients of one repetition do; AFI relies on strong ones, so that
    diffusion wears the echoes down. 120 rad/mm is 450 mT/m ms, as Yarnykh VL 2010, Magn Reson Med 63:1610 advises.
    """

    flip_angle: float
    repetition_times: tuple
    echo_times: tuple
    spoiling_increment: float = math.radians(39)
    dephasing: float = 120.0
    spin_echo: ClassVar[bool] = False

    def amplitudes(self, r1, r2, repetition):
        """Amplitude after the pulse that starts one of the two repetitions (0 or 1) by EPG, [class, B1_AXIS]."""
        out = np.empty((2, len(r1), len(B1_AXIS)))
        diffusion = np.where(r2 < FLUID_R2, FLUID_DIFFUSIVITY, TISSUE_DIFFUSIVITY) * self.dephasing**2
        protocol = (self.flip_angle, *self.repetition_times, self.spoiling_increment)

        def piece(first, last):
            _fill_afi(r1, r2, diffusion, B1_AXIS, *protocol, first, last, out)

        in_pieces(piece, len(r1), CLASSES)
        return out[repetition]


@dataclass(frozen=True)
class InversionRecoveryGre:
    """T1-weighted inversion-prepared gradient echo train (MPRAGE): the centre of k-space is read at inversion_time.

    Times in s, flip_angle in rad; `train` pulses spaced echo_spacing, the middle one at inversion_time.
    """

    flip_angle: float
    repetition_time: float
    inversion_time: float
    echo_times: tuple
    echo_spacing: float
    train: int
    inversion_efficiency: float = 0.96
    spin_echo: ClassVar[bool] = False

    def amplitudes(self, r1):
        """Signed amplitude of the middle pulse with ideal spoiling, [class, B1_AXIS]; the same for every R2."""
        r1, flip = r1[:, None], self.flip_angle * B1_AXIS[None, :]
        before = self.inversion_time - self.echo_spacing * (self.train // 2)
        after = self.repetition_time - before - self.echo_spacing * self.train
        # Each step maps z to gain z + offset; a pulse followed by recovery is repeated along the train
        pulse = np.cos(flip) * np.exp(-self.echo_spacing * r1)
        level = (1 - np.exp(-self.echo_spacing * r1)) / (1 - pulse)
        half, rest = pulse ** (self.train // 2), pulse ** (self.train - self.train // 2)
        wait, tail = np.exp(-before * r1), np.exp(-after * r1)
        # z at the middle pulse: recovery after inversion, then half the train towards its own steady level
        middle_gain = -self.inversion_efficiency * wait * half
        middle_offset = (1 - wait) * half + level * (1 - half)
        end_gain = rest * tail
        end_offset = level * (1 - rest) * tail + 1 - tail
        middle = (middle_gain * end_offset + middle_offset) / (1 - middle_gain * end_gain)
        return np.sin(flip) * middle


@dataclass(frozen=True)
class Flair:
    """Fluid-attenuated inversion recovery with a long spin-echo train: effective echo time in echo_times (s).

    The inversion is adiabatic and the refocusing ideal; only the excitation (flip_angle, rad) feels the transmit field.
    """

    repetition_time: float
    inversion_time: float
    echo_times: tuple
    flip_angle: float = math.pi / 2
    train_duration: float = 0.3
    spin_echo: ClassVar[bool] = True

    def amplitudes(self, r1):
        """Signed amplitude after the excitation, [class, B1_AXIS]; the train leaves no magnetisation."""
        r1 = r1[:, None]
        recovered = 1 - np.exp(-(self.repetition_time - self.inversion_time - self.train_duration) * r1)
        longitudinal = 1 - (1 + recovered) * np.exp(-self.inversion_time * r1)
        return longitudinal * np.sin(self.flip_angle * B1_AXIS[None, :])


@dataclass(frozen=True)
class Bssfp:
    """Balanced steady-state free precession: flip_angle, phase_cycle (rad), repetition_time (s); echo at TR/2."""

    flip_angle: float
    repetition_time: float
    phase_cycle: float
    pulse_duration: float = 1e-3

    @property
    def echo_times(self):
        """The one echo time, s."""
        return (self.repetition_time / 2,)

    def coefficients(self, r1, r2, bound):
        """`bssfp_coefficients` of every class, float64 [class, B1_AXIS, 3]."""
        out = np.empty((len(r1), len(B1_AXIS), 3))
        _fill_bssfp(r1, r2, bound, B1_AXIS, self.flip_angle, self.repetition_time, self.pulse_duration, out)
        return out


@kernel
def bssfp_coefficients(r1, r2, flip, tr, bound_fraction, pulse_duration):
    """What the bSSFP signal of one sub-voxel needs for all its phase cycles: amplitude at the echo, a and b.

    S = amplitude (1 - a exp(-i theta)) / (1 - b cos(theta)), the echo being at TR/2.

    Args:
        r1, r2: 1/s, above 0. flip: true flip angle, rad. tr: s.
        bound_fraction: of the two-pool model, 0 for none; pulse_duration: s, matters only there.
    Reference:
        Freeman R, Hill HDW 1971, J Magn Reson 4:366; Bjork M et al. 2014, Magn Reson Med 72:880.
    """
    cosine = math.cos(flip)
    e2 = math.exp(-r2 * tr)
    saturation = bound_saturation(flip, pulse_duration)
    direct, returned, retained, recovery = longitudinal_factors(r1, bound_fraction, saturation, tr)
    e1 = direct + returned / (1 - retained)
    denominator = 1 - e1 * cosine - e2 * e2 * (e1 - cosine)
    amplitude = recovery * math.sin(flip) * math.sqrt(e2) / denominator
    return amplitude, e2, e2 * (1 - e1) * (1 + cosine) / denominator


@kernel
def bssfp_signal(amplitude, a, b, precession, phase_cycle):
    """Complex bSSFP signal at the echo for M0 = 1, with its decay and the phase grown from pulse to echo.

    The phase cycle turns the bands but not the receiver: only `precession` enters the phase grown until the echo.

    Args:
        amplitude, a, b: from bssfp_coefficients.
        precession: 2 pi df TR, rad. phase_cycle: RF phase increment, rad.
    """
    theta = precession + phase_cycle
    cosine, sine = math.cos(theta), math.sin(theta)
    scale = amplitude / (1 - b * cosine)
    grown = complex(math.cos(0.5 * precession), math.sin(0.5 * precession))
    return grown * complex(scale * (1 - a * cosine), scale * a * sine)


@kernel
def _fill_spoiled(r1, r2, bound, b1_axis, flip_angle, tr, increment, pulse_duration, first, last, out):
    for c in range(first, last):
        for n in range(len(b1_axis)):
            flip = flip_angle * b1_axis[n]
            saturation = bound_saturation(flip, pulse_duration)
            direct, returned, retained, recovery = longitudinal_factors(r1[c], bound[c], saturation, tr)
            signal = spoiled_steady_state(flip, r2[c] * tr, direct, returned, retained, recovery, increment, 0.0)
            out[c, n] = abs(signal)


@kernel
def _fill_afi(r1, r2, diffusion, b1_axis, flip_angle, tr1, tr2, increment, first, last, out):
    for c in range(first, last):
        for n in range(len(b1_axis)):
            flip = flip_angle * b1_axis[n]
            short, long = afi_steady_state(flip, r1[c], r2[c], tr1, tr2, increment, diffusion[c])
            out[0, c, n], out[1, c, n] = abs(short), abs(long)


@kernel
def _fill_bssfp(r1, r2, bound, b1_axis, flip_angle, tr, pulse_duration, out):
    for c in range(len(r1)):
        for n in range(len(b1_axis)):
            amplitude, a, b = bssfp_coefficients(r1[c], r2[c], flip_angle * b1_axis[n], tr, bound[c], pulse_duration)
            out[c, n, 0], out[c, n, 1], out[c, n, 2] = amplitude, a, b
