"""Proton density of a session from M0 of its flip-angle series."""

import numpy as np

from .flip_series import WATER_R2
from .maps import QuantitativeMap
from .receive import receive_profile, reference_pair
from .relaxometry.fluid import FEWEST, Fluid, pure_fluid
from .relaxometry.pd import proton_density, without_decay
from .relaxometry.r1 import R1_METHODS
from .relaxometry.receive_field import RECEIVE_METHODS
from .resample import nearest_on_grid

_R2_STEP = 0.1  # 1/s, by which R2 of fluid is uncertain: T2 of 1.7 to 2.4 s, and diffusion in the spoilers
_TELLING = 0.005  # change of PD by it that is worth a sentence


def proton_map(session, series, fit, b1, settings):
    """QuantitativeMap of proton density on the grid of a FlipSeries with its R1Fit `fit`, and notes."""
    geometry, mask = series.place.geometry, series.place.mask
    m0, m0_sd, valid = fit.m0, fit.m0_sd, fit.valid
    notes = []
    times = sorted({te for scan in series.scans for te in scan.echo_times[:1]})
    at_zero = np.zeros(mask.shape, bool) if series.joint is None else series.joint.valid  # else it is the first echo
    rate = series.r2star
    if rate is not None and times:
        grown, grown_sd = without_decay(m0, m0_sd, rate.values.clip(min=0), rate.sd, times)
        m0, m0_sd = np.where(at_zero, m0, grown), np.where(at_zero, m0_sd, grown_sd)
        valid = valid & (at_zero | rate.valid)
    elif series.joint is not None:
        valid = valid & at_zero
    else:
        notes.append("there is no R2* map, so PD still holds the decay until the first echo of the flip-angle series.")
    lesions = None
    if session.lesions is not None:
        drawn, drawn_geometry = session.lesions()[:2]
        # a rater's drawing lies in the space of the multi-echo scan
        lesions = nearest_on_grid(drawn, drawn_geometry, geometry, series.to_multi_echo) > 0.5  # may be probabilities
    pair = series.pair
    if pair is None and settings.pd.receive in ("auto", "body-head"):
        pair = reference_pair(session, series.place, settings)
    receive, sources = receive_profile(pair, session, series.place, m0, fit.r1, valid, lesions, settings)
    fluid = None
    if settings.pd.calibration == "csf":
        fluid, found = _fluid(series, fit, m0, valid, b1, settings)
        notes += found
    result = proton_density(
        m0, m0_sd, receive, fit.r1, valid, mask, geometry, settings.pd, fluid=fluid, lesions=lesions
    )
    method = RECEIVE_METHODS[receive.method]
    notes += [*(f"PD: {note}" for note in (*receive.notes, *result.notes)), result.sentence]
    return QuantitativeMap(
        name="PD",
        values=result.pd,
        sd=result.sd,
        quality=fit.quality,
        valid=result.valid,
        geometry=geometry,
        algorithm=f"M0 of the flip-angle series; {method.title}; {result.sentence.rstrip('.')}",
        reference=method.reference,
        quality_meaning=R1_METHODS[settings.r1.method].quality_meaning,
        parameters=series.parameters(b1) | {"PDCalibration": result.calibration},
        sources=series.sources + b1.sources + sources,
    ), notes


def _fluid(series, fit, m0, valid, b1, settings):
    """Fluid with M0 fitted to mean signals, unless it is too small to be used, and notes; `m0`: of `fit`, no decay.

    R2 of fluid is taken as known. bSSFP gives it in proportion to R1, which the spoiling moves in proportion to the R2
    that is taken: what is measured so is the guess again, with noise that moves the scale by 1 % at an SNR of 25.
    """
    place = series.place
    region = pure_fluid(fit.r1, fit.sd, valid & fit.valid, place.mask, place.geometry, settings.pd) & series.fitted
    if np.count_nonzero(region) < FEWEST:
        return Fluid(region, m0, 0.0), []
    known = region & valid & fit.valid
    grown = np.float32(np.median(m0[known] / fit.m0[known]))
    pure, grain = series.mean_fit(region, b1, WATER_R2, settings)
    region = pure.valid
    if series.spoiling is None or not settings.r1.spoiling_correction:
        return Fluid(region, grown * pure.m0, grain), []
    other = series.mean_fit(region, b1, WATER_R2 + _R2_STEP, settings)[0]
    both = region & other.valid
    change = float(np.median(pure.m0[both] / other.m0[both])) - 1 if both.any() else 0.0
    note = (
        f"PD: its scale hangs on R2 of fluid by the spoiling of the series: {WATER_R2:.2f} 1/s was taken, and "
        f"{_R2_STEP:g} 1/s more would change PD by {100 * change:+.1f} %."
    )
    return Fluid(region, grown * pure.m0, grain), [note] if abs(change) > _TELLING else []
