"""Dipole inversion: which method, the grid it runs on, and the SD of what it gives."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..fft import irfftn, rfftn
from ..geometry import check_same_shape
from ..parameters import Options, choice
from ..steps import part
from .closed_form import L2Options, TikhonovOptions, TkdOptions, smooth_l2, tikhonov, tkd
from .dipole import dipole_kernel, forward_field
from .fansi import FansiOptions, fansi
from .hdqsm import HdQsmOptions, hdqsm
from .ilsqr import IlsqrOptions, ilsqr
from .medi import MediOptions, medi
from .method import Method, settings_of
from .ndi import NdiOptions, ndi
from .problem import Grid, Problem, capped
from .rts import RtsOptions, rts
from .tv import TvOptions, share_of_noise, total_variation

TYPICAL_PHASE = 4.0  # rad per ppm from one echo to the next: 5 ms at 3 T
_SEED = 20261125  # of the noise that is tried; the same input gives the same bits
_NEIGHBOURHOOD = 3.0  # mm, SD of the Gaussian over which the response to noise is averaged

# A function takes (field, its SD, mask, geometry, its settings) and returns chi and its SD.
CLOSED_FORMS = {
    "tikhonov": Method(
        "closed-form (Tikhonov) dipole inversion, true to scale",
        "de Rochefort L et al. 2008, Magn Reson Med 60:1003-1009; Schweser F et al. 2013, Magn Reson Med 69:1582-1594",
        tikhonov,
    ),
    "tkd": Method("truncated k-space division (TKD)", "Shmueli K et al. 2009, Magn Reson Med 62:1510-1522", tkd),
    "l2": Method(
        "closed form with smooth gradients", "Bilgic B et al. 2014, J Magn Reson Imaging 40:181-191", smooth_l2
    ),
}
# A function takes (problem.Problem, its settings, progress, cancelled) and returns a conjugate_gradient.Solution; its
# settings have `padding`.
ITERATIVE = {
    "tv": Method(
        "noise-weighted total variation that spares the edges of the magnitude",
        "Bilgic B et al. 2014, Magn Reson Med 72:1444-1459; Milovic C et al. 2018, Magn Reson Med 80:814-821",
        total_variation,
        resumes=True,
    ),
    "rts": Method("rapid two-step inversion (RTS)", "Kames C et al. 2018, NeuroImage 167:276-283", rts, weighted=False),
    "ilsqr": Method(
        "least squares with streaks taken off (iLSQR)",
        "Li W et al. 2015, NeuroImage 108:111-122",
        ilsqr,
        weighted=False,
    ),
    "medi": Method(
        "morphology-enabled dipole inversion (MEDI)",
        "Liu T et al. 2012, Magn Reson Med 69:467-476; Liu Z et al. 2018, Magn Reson Med 79:2795-2803",
        medi,
    ),
    "ndi": Method("nonlinear dipole inversion (NDI)", "Polak D et al. 2020, NMR Biomed 33:e4271", ndi),
    "fansi": Method("nonlinear total variation (FANSI)", "Milovic C et al. 2018, Magn Reson Med 80:814-821", fansi),
    "hd-qsm": Method("hybrid data fidelity (HD-QSM)", "Lambert M et al. 2022, Magn Reson Med 88:962-972", hdqsm),
}
INVERSION_METHODS = ITERATIVE | CLOSED_FORMS


@dataclass(frozen=True)
class InversionOptions(Options):
    """Settings of the dipole inversion."""

    method: str = choice("tv", INVERSION_METHODS, "tv has the smallest error; the closed forms take a second")
    tv: TvOptions = TvOptions()
    rts: RtsOptions = RtsOptions()
    ilsqr: IlsqrOptions = IlsqrOptions()
    medi: MediOptions = MediOptions()
    ndi: NdiOptions = NdiOptions()
    fansi: FansiOptions = FansiOptions()
    hd_qsm: HdQsmOptions = HdQsmOptions()
    tikhonov: TikhonovOptions = TikhonovOptions()
    tkd: TkdOptions = TkdOptions()
    l2: L2Options = L2Options()


@dataclass(frozen=True, eq=False)
class Inversion:
    """Susceptibility and its SD (float32 [k, j, i], ppm, 0 outside the mask; no absolute zero) and sentences.

    `misfit`: field less that of the susceptibility, ppm, 0 outside the mask, with mean zero in it.
    `respond`: function from susceptibility that is added to the object (float32 [k, j, i], ppm) to the change of chi,
    by another inversion: what this method makes of a known thing on this very scan.
    """

    chi: np.ndarray
    sd: np.ndarray
    misfit: np.ndarray
    respond: Callable
    notes: tuple = ()


def invert(
    field_ppm,
    field_sd,
    weight,
    magnitude,
    mask,
    geometry,
    options,
    phase_per_ppm=TYPICAL_PHASE,
    csf=None,
    progress=None,
    cancelled=None,
    denoised=False,
):
    """Inversion of a local field.

    Args:
        field_ppm, field_sd: local field over B0 and its SD, float32 [k, j, i], ppm.
        weight: reliability over the SD, float32, any unit; the closed forms do not look at it.
        magnitude: float32, of all echoes (root of the sum of squares), whose edges are spared. mask: bool.
        geometry: voxel size, mm, and B0 direction. options: InversionOptions.
        phase_per_ppm: rad of phase that 1 ppm makes from one echo to the next, for the methods that fit the phase.
        csf: bool, fluid of the ventricles, or None; for MEDI+0.
        denoised: noise was taken out of the magnitude, whose edges are then edges, so that tv can weigh the variation
            by the noise of the field.
    Returns:
        Inversion. The SD holds the noise of the field, not the bias of background removal and regularisation.
    Raises:
        ValueError: the shapes differ. InputError: the B0 direction is unknown. Cancelled.
    """
    check_same_shape(field_ppm=field_ppm, field_sd=field_sd, weight=weight, magnitude=magnitude, mask=mask, csf=csf)
    own = settings_of(options, options.method)
    if options.method in CLOSED_FORMS:
        function = CLOSED_FORMS[options.method].function
        chi, sd = function(field_ppm, field_sd, mask, geometry, own)

        def respond_in_one_step(added):
            changed = field_ppm + forward_field(added, geometry)
            return np.where(mask, function(changed, field_sd, mask, geometry, own)[0] - chi, 0)

        return Inversion(chi, sd, _misfit(field_ppm, forward_field(chi, geometry), mask), respond_in_one_step)
    notes = ()
    if denoised and options.method == "tv" and (mask & (field_sd > 0)).any():
        usual, own = own, share_of_noise(own, float(np.median(field_sd[mask & (field_sd > 0)])))
        if own.lam > 1.05 * usual.lam:
            notes = (
                f"the variation of chi was weighed {own.lam / usual.lam:.1f} times as much, by the field's noise.",
            )
    method = ITERATIVE[options.method]
    grid = Grid(mask, geometry, own.padding)

    def problem_of(field_ppm):
        field, sd, weights, edges, region = (
            grid.put(a)
            for a in (np.where(mask, field_ppm, 0), np.where(mask, field_sd, 0), capped(weight, mask), magnitude, mask)
        )
        fluid = None if csf is None else grid.put(csf & mask)
        return Problem(field, sd, weights, edges, region, geometry, phase_per_ppm, fluid)

    def respond(added):  # from the start, because the state of a solver would have to be kept until then
        changed = method.function(problem_of(field_ppm + forward_field(added, geometry)), own, None, None)
        return np.where(mask, grid.take(changed.x) - chi, 0)

    problem = problem_of(field_ppm)
    field, sd = problem.field, problem.sd
    solution = method.function(problem, own, part(progress, 0.0, 0.5), cancelled)
    # The response to noise depends on the place and on chi itself, so it is tried on one draw (parametric bootstrap).
    noise = sd * np.random.default_rng(_SEED).standard_normal(sd.shape, np.float32)
    before = (solution,) if method.resumes else ()
    noisy = method.function(problem.with_field(field + noise), own, part(progress, 0.5, 0.5), cancelled, *before)
    spread = _local_spread(grid.take(noisy.x - solution.x), mask, geometry)
    explained = irfftn(rfftn(solution.x) * dipole_kernel(grid.shape, geometry), grid.shape)
    misfit = _misfit(field_ppm, grid.take(explained), mask)
    if not solution.converged:
        notes += (
            f"chi had not converged after {solution.iterations} iterations (relative change {solution.residual:.1e}, "
            f"asked for {own.tolerance:g}); raise qsm.inversion.{options.method.replace('-', '_')}.iterations.",
        )
    chi = np.where(mask, grid.take(solution.x), 0)
    return Inversion(chi, spread, misfit, respond, notes)


def _misfit(field, explained, mask):
    """What is left of a field, less its mean, which no susceptibility makes."""
    rest = np.where(mask, field - explained, 0)
    return np.where(mask, rest - rest[mask].mean(), 0).astype(np.float32)


def _local_spread(difference, mask, geometry):
    """Root mean square of a difference over a Gaussian neighbourhood within the mask; 0 outside."""
    width = [_NEIGHBOURHOOD / h for h in geometry.voxel_size]
    squares = ndimage.gaussian_filter(np.where(mask, difference, 0) ** 2, width)
    share = ndimage.gaussian_filter(mask.astype(np.float32), width)
    return np.where(mask, np.sqrt(squares / np.where(mask, share, 1)), 0).astype(np.float32)
