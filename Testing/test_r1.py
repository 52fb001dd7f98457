"""R1 fits against exact signals, published closed forms, Monte-Carlo noise, isochromats and reference voxels."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
from QMRIEstimationLib.errors import Cancelled, InputError
from QMRIEstimationLib.relaxometry.r1 import R1_METHODS, R1Options, fit_r1
from QMRIEstimationLib.relaxometry.spoiling import RfSpoiling
from scipy.optimize import least_squares

FLIPS = np.deg2rad([3.0, 8.0, 18.0])
TRS = (0.015, 0.015, 0.015)
UNEQUAL_TRS = (0.010, 0.015, 0.025)
METHODS = ("nlls", "weighted", "linear")
WHITE, GRAY = (1.0, 13.5), (0.66, 10.5)  # R1, R2 in 1/s


def ernst(flip, tr, r1):
    """Signal of a unit of magnetisation with ideal spoiling."""
    e1 = np.exp(-np.asarray(tr) * r1)
    return np.sin(flip) * (1 - e1) / (1 - e1 * np.cos(flip))


def signals(r1, b1=1.0, flips=FLIPS, trs=TRS, m0=1000.0):
    """Exact magnitudes [flip, 1, 1, n] of arrays of R1 and B1."""
    r1, b1 = np.broadcast_arrays(np.atleast_1d(np.asarray(r1, float)), b1)
    rows = [m0 * ernst(flip * b1, tr, r1) for flip, tr in zip(flips, trs, strict=True)]
    return np.array(rows, np.float32).reshape(len(flips), 1, 1, -1)


def rician(rng, true):
    """Magnitudes with noise of channel SD 1."""
    return np.hypot(true + rng.standard_normal(true.shape), rng.standard_normal(true.shape)).astype(np.float32)


def fit(magnitude, method="nlls", sd=1.0, flips=FLIPS, trs=TRS, **more):
    if np.ndim(more.get("b1")) == 1:
        more["b1"] = np.asarray(more["b1"], np.float32).reshape(1, 1, -1)
    return fit_r1(magnitude, flips, trs, sd, np.ones(magnitude.shape[1:], bool), options=R1Options(method), **more)


def isochromats(flip, tr, increment, r1, r2, count=400):
    """Steady-state signals of arrays of flip angles (rad), by the Bloch equations pulse by pulse."""
    flip = np.atleast_1d(flip)[:, None]
    turn = np.exp(2j * np.pi * np.arange(count) / count - tr * r2)
    cosine, sine, e1 = np.cos(flip), np.sin(flip), np.exp(-tr * r1)
    xy, z = np.zeros((len(flip), count), complex), np.ones((len(flip), count))
    for pulse in range(int(8 / (r1 * tr))):
        axis = np.exp(0.5j * increment * pulse * (pulse + 1))
        own = xy / axis
        x, z = cosine * own.real + sine * z, cosine * z - sine * own.real
        xy = (x + 1j * own.imag) * axis
        signal = np.abs(xy.mean(1))
        xy, z = xy * turn, 1 + (z - 1) * e1
    return signal


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("trs", [TRS, UNEQUAL_TRS], ids=["one TR", "three TRs"])
def test_exact_signals_come_back(method, trs):
    b1 = np.linspace(0.6, 1.3, 8)
    for r1 in (0.2, 0.65, 1.0, 3.0):
        result = fit(signals(r1, b1, trs=trs), method, 0.01, trs=trs, b1=b1)
        assert result.valid.all()
        # float32 data: 6e-8, tenfold by the slope; unequal repetition times are iterated to 1e-5 by the straight line.
        tolerance = 2e-5 if trs is UNEQUAL_TRS and method != "nlls" else 2e-6
        np.testing.assert_allclose(result.r1, r1, rtol=tolerance)
        np.testing.assert_allclose(result.m0, 1000, rtol=tolerance)
        assert result.quality.max() < 0.1  # the noise SD given is 1e-5 of M0


@pytest.mark.parametrize("method", METHODS)
def test_large_flip_angles_come_back(method):
    flips = np.deg2rad([30.0, 90.0, 130.0])
    b1 = np.array([0.6, 1.0, 1.3])
    result = fit(signals(1.0, b1, flips, (0.1,) * 3), method, 0.01, flips, (0.1,) * 3, b1=b1)
    np.testing.assert_allclose(result.r1, 1.0, rtol=5e-6)


@pytest.mark.parametrize("method", METHODS)
def test_order_of_flip_angles_does_not_matter(method, rng):
    magnitude, order = rician(rng, signals(np.full(200, 0.8), trs=UNEQUAL_TRS, m0=1500)), [2, 0, 1]
    plain = fit(magnitude, method, trs=UNEQUAL_TRS)
    shuffled = fit(magnitude[order], method, flips=FLIPS[order], trs=[UNEQUAL_TRS[n] for n in order])
    assert plain.r1.tobytes() == shuffled.r1.tobytes()


def test_two_angles_obey_the_closed_form(rng):
    """R1 = (S1 t1/TR1 - S2 t2/TR2) / (2 (S2/t2 - S1/t1)), t = 2 tan(flip/2), made exact by 2/TR atanh(R1 TR/2)."""
    flips, tr = np.deg2rad([6.0, 21.0]), 0.025
    magnitude = rician(rng, signals(np.full(500, 0.9), flips=flips, trs=(tr, tr), m0=3000))
    t = 2 * np.tan(flips / 2).reshape(2, 1, 1, 1)
    s = magnitude.astype(float)
    small = 0.5 * (s[0] * t[0] - s[1] * t[1]) / tr / (s[1] / t[1] - s[0] / t[0])
    exact = 2 / tr * np.arctanh(small * tr / 2)
    for method in (*METHODS, "two-angle"):
        result = fit(magnitude, method, 1e-3, flips, (tr, tr))
        np.testing.assert_allclose(result.r1, exact, rtol=1e-5)
        assert not result.quality.any()  # two unknowns through two values leave no residual


def test_two_angles_with_two_repetition_times_are_solved_exactly():
    flips, trs = np.deg2rad([6.0, 20.0]), (0.0237, 0.0187)
    result = fit(signals([0.5, 1.0, 2.0], flips=flips, trs=trs), "two-angle", 0.01, flips, trs)
    np.testing.assert_allclose(result.r1.ravel(), [0.5, 1.0, 2.0], rtol=1e-5)


def test_nlls_is_the_minimum_that_scipy_finds(rng):
    magnitude = rician(rng, signals(np.full(20, 1.0), m0=4000))
    result = fit(magnitude, sd=1e-3)  # no Rician bias at this SD
    for n in range(20):
        data = magnitude[:, 0, 0, n].astype(float)
        best = least_squares(
            lambda p, data=data: 1000 * p[0] * ernst(FLIPS, 0.015, p[1]) - data, [3, 1], xtol=1e-14, ftol=1e-14
        )
        assert result.r1[0, 0, n] == pytest.approx(best.x[1], rel=1e-5)  # the fit stops at steps of 1e-4, squared


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tissue", [WHITE, GRAY], ids=["white", "gray"])
def test_sd_is_the_spread_of_noise_and_transmit_field(method, tissue, rng):
    """Errors over SD have an SD of 0.9 to 1.1, for noise alone and with an uncertain B1 (issue 3, item 9)."""
    count, b1_sd = 20000, 0.03
    m0 = 60 / ernst(FLIPS[1], TRS[1], 1.0)  # SNR 60 in white matter at the middle flip angle
    true_b1 = 0.9 + b1_sd * rng.standard_normal(count)
    for spread in (0.0, b1_sd):
        b1 = true_b1 if spread else 0.9
        magnitude = rician(rng, signals(np.full(count, tissue[0]), b1, m0=m0))
        sd = np.full((1, 1, count), spread, np.float32)
        result = fit(magnitude, method, b1=np.full(count, 0.9), b1_sd=sd)
        assert result.valid.mean() > 0.999
        for found, own, truth in ((result.r1, result.sd, tissue[0]), (result.m0, result.m0_sd, m0)):
            score = ((found - truth) / own)[result.valid]
            assert score.std() == pytest.approx(1, abs=0.1)
            assert abs(score.mean()) < 0.2
        assert abs(result.r1[result.valid].mean() / tissue[0] - 1) < 0.015


def test_default_is_unbiased_where_the_signal_is_near_the_noise(rng):
    """Rician mean against magnitudes as they are: gray matter at an SNR of 6 at the weakest flip angle."""
    m0 = 6 / ernst(FLIPS[0], TRS[0], GRAY[0])
    magnitude = rician(rng, signals(np.full(40000, GRAY[0]), m0=m0))
    bias = {}
    for method in ("nlls", "weighted"):
        result = fit(magnitude, method)
        bias[method] = result.r1[result.valid].mean() / GRAY[0] - 1
    assert abs(bias["nlls"]) < 0.02  # the Monte-Carlo error of the mean is 0.3 %
    assert abs(bias["nlls"]) < abs(bias["weighted"])


def test_quality_is_one_for_noise_and_large_for_a_misfit(rng):
    flips, trs = np.deg2rad([3.0, 6.0, 10.0, 15.0, 20.0]), (0.015,) * 5
    magnitude = rician(rng, signals(np.full(5000, 1.0), flips=flips, trs=trs, m0=2000))
    for method in METHODS:
        assert np.sqrt(np.mean(fit(magnitude, method, 1.0, flips, trs).quality ** 2)) == pytest.approx(1, abs=0.1)
    magnitude[2] *= 1.2  # a scale factor that differs
    assert fit(magnitude, "nlls", 1.0, flips, trs).quality.min() > 3


@pytest.mark.parametrize("degrees", [50, 117, 150])
@pytest.mark.parametrize("tissue", [WHITE, GRAY], ids=["white", "gray"])
def test_spoiled_isochromats_give_r1_within_one_percent(degrees, tissue):
    """Issue 3: B1 65 to 130 %, bias below 1 % in each tissue, with its R2 given and with the typical one."""
    increment, b1 = np.deg2rad(degrees), np.array([0.6, 0.8, 1.0, 1.15, 1.3])
    true = isochromats(np.outer(FLIPS, b1).ravel(), TRS[0], increment, *tissue)
    magnitude = (1000 * true).astype(np.float32).reshape(3, 1, 1, -1)
    r2 = np.full((1, 1, b1.size), tissue[1], np.float32)
    spoiling = RfSpoiling(increment)
    for method in METHODS:
        given = fit(magnitude, method, 0.01, b1=b1, spoiling=spoiling, r2=r2)
        np.testing.assert_allclose(given.r1, tissue[0], rtol=0.005)
        np.testing.assert_allclose(given.m0, 1000, rtol=0.003)
        typical = fit(magnitude, method, 0.01, b1=b1, spoiling=spoiling)
        np.testing.assert_allclose(typical.r1, tissue[0], rtol=0.01)


def test_spoiling_correction_can_be_left_out():
    magnitude = (1000 * isochromats(FLIPS * 1.2, TRS[0], np.deg2rad(50), *WHITE)).astype(np.float32)
    magnitude, b1 = magnitude.reshape(3, 1, 1, 1), np.full((1, 1, 1), 1.2, np.float32)
    mask, spoiling = np.ones((1, 1, 1), bool), RfSpoiling(np.deg2rad(50))
    off = R1Options(spoiling_correction=False)
    left_out = fit_r1(magnitude, FLIPS, TRS, 0.01, mask, b1, off, spoiling)
    assert left_out.r1 == fit(magnitude, sd=0.01, b1=b1).r1
    assert abs(left_out.r1.item() - 1) > 0.015  # what is left uncorrected


@pytest.mark.parametrize("method", METHODS)
def test_sd_holds_with_spoiling(method, rng):
    count, b1_sd, increment = 10000, 0.02, np.deg2rad(50)
    grid = np.linspace(0.7, 1.2, 60)
    curves = isochromats(np.outer(FLIPS, grid).ravel(), TRS[0], increment, *WHITE, count=200).reshape(3, -1)
    b1 = 0.95 + b1_sd * rng.standard_normal(count)
    m0 = 1500
    true = np.array([np.interp(b1, grid, m0 * curve) for curve in curves]).reshape(3, 1, 1, -1)
    sd, r2 = np.full((1, 1, count), b1_sd, np.float32), np.full((1, 1, count), WHITE[1], np.float32)
    more = {"b1": np.full(count, 0.95), "b1_sd": sd, "r2": r2, "spoiling": RfSpoiling(increment)}
    result = fit(rician(rng, true), method, **more)
    assert np.std((result.r1 - WHITE[0]) / result.sd) == pytest.approx(1, abs=0.1)
    assert np.std((result.m0 - m0) / result.m0_sd) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_transmit_field_sd_is_the_change_of_the_maps(method):
    """Large flip angles with imperfect spoiling: SD from b1_sd alone against fits with b1 moved by it."""
    flips, tr, increment, step = np.deg2rad([15.0, 60.0, 80.0]), 0.03, np.deg2rad(50), 0.004
    magnitude = (1000 * isochromats(flips, tr, increment, *WHITE)).astype(np.float32).reshape(3, 1, 1, 1)
    more = {"flips": flips, "trs": (tr,) * 3, "spoiling": RfSpoiling(increment), "r2": np.full((1, 1, 1), WHITE[1])}
    sd = np.full((1, 1, 1), step, np.float32)
    result = fit(magnitude, method, 1e-3, b1=[1.0], b1_sd=sd, **more)
    low, high = (fit(magnitude, method, 1e-3, b1=[1 + sign * step], **more) for sign in (-1, 1))
    # 3 %: curvature over two steps, and the corners of the straight lines of the spoiling table.
    assert abs(high.r1 - low.r1).item() / 2 == pytest.approx(result.sd.item(), rel=0.03)
    assert abs(high.m0 - low.m0).item() / 2 == pytest.approx(result.m0_sd.item(), rel=0.03)


def _rows(path):
    """Rows of an OSIPI table: flip angles (rad), TR (s), signals, R1."""
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            flip, tr, signal = (np.array(row[name].split(), float) for name in ("FA", "TR", "s"))
            yield np.deg2rad(flip), tr, signal, float(row["R1"])


def test_osipi_brain_voxels_are_exact(shared_data):
    """76 in-vivo voxels of the OSIPI collection; issue 3 asks for 1e-3."""
    count = 0
    for flip, tr, signal, r1 in _rows(shared_data / "vfa_csv_osipi" / "t1_brain_data.csv"):
        magnitude = signal.astype(np.float32).reshape(-1, 1, 1, 1)
        result = fit(magnitude, "nlls", 1e-3, flip, tr)
        assert result.r1.item() == pytest.approx(r1, rel=1e-3)
        count += 1
    assert count == 76


def test_osipi_phantom_voxels_are_within_their_tolerance(shared_data):
    for flip, tr, signal, per_ms in _rows(shared_data / "vfa_csv_osipi" / "t1_quiba_data.csv"):
        result = fit(signal.astype(np.float32).reshape(-1, 1, 1, 1), "nlls", 2.0, flip, tr)
        assert result.r1.item() == pytest.approx(1000 * per_ms, rel=0.05, abs=0.05)  # 0.05/s + 5 %


def test_qmrlab_slice_has_the_published_probes(shared_data):
    """Linear fit with its B1 map; issue 3 asks for 1e-5."""
    folder = shared_data / "qmri_slices_qmrlab"
    facts = json.loads((folder / "vfa_t1.json").read_text())

    def volume(name):
        return np.asarray(nib.load(folder / name).dataobj, np.float32)

    data = np.moveaxis(volume("vfa_t1.nii.gz").reshape(*facts["dims"]), -1, 0)
    b1 = volume("vfa_t1_B1map.nii.gz").reshape(facts["dims"][:3])
    flips = np.deg2rad([v["FlipAngle"] for v in facts["volume_ids"]])
    result = fit(data, "linear", 1.0, flips, (0.015, 0.015), b1=b1)
    for probe in facts["probes"]:
        place = probe["x"], probe["y"], 0
        assert 1 / result.r1[place] == pytest.approx(probe["expected"]["T1"], rel=1e-5)
        assert result.m0[place] == pytest.approx(probe["expected"]["M0"], rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_undetermined_voxels_are_not_valid(method):
    magnitude = signals(np.full(8, 1.0))
    b1 = np.ones(8)
    magnitude[1, 0, 0, 1] = np.nan
    magnitude[:, 0, 0, 2] = 0
    magnitude[:, 0, 0, 3] = [30, 80, 200]  # grows like the sine: no saturation, no rate
    b1[4], b1[5], b1[6] = 0, np.nan, 11  # no field, no number, beyond 180 degrees
    magnitude[2, 0, 0, 7] = np.inf
    result = fit(magnitude, method, b1=b1)
    assert result.valid.ravel().tolist() == [True] + [False] * 7
    for image in (result.r1, result.sd, result.m0, result.m0_sd, result.quality):
        assert np.isfinite(image).all() and not image[~result.valid].any()


def test_only_the_mask_is_fitted():
    magnitude, mask = signals(np.full(4, 1.0)), np.array([1, 0, 0, 1], bool).reshape(1, 1, 4)
    assert (fit_r1(magnitude, FLIPS, TRS, 1.0, mask).valid == mask).all()


@pytest.mark.parametrize("method", METHODS)
def test_same_bits_with_one_thread(method, rng, threads):
    magnitude = rician(rng, signals(np.full(6000, 1.0)))
    more = {"b1": rng.uniform(0.7, 1.2, 6000), "spoiling": RfSpoiling(np.deg2rad(50))}
    threads(2)
    many = fit(magnitude, method, **more)
    threads(1)
    one = fit(magnitude, method, **more)
    assert many.r1.tobytes() == one.r1.tobytes()
    assert many.m0_sd.tobytes() == one.m0_sd.tobytes()


def test_cancelling_stops():
    with pytest.raises(Cancelled):
        fit(signals(1.0), cancelled=lambda: True)


BAD = [
    ({"flip_angles": np.deg2rad([8.0, 8.0, 8.0])}, "flip_angles are 8, 8, 8 degrees, R1 needs at least two different"),
    ({"flip_angles": [3.0, 8.0, 18.0]}, "in radians"),
    ({"flip_angles": FLIPS[:2]}, "magnitude has shape"),
    ({"repetition_times": (0.015, 0.015, 0.0)}, "repetition_times is"),
    ({"noise_sd": 0.0}, "noise_sd is 0.0"),
    ({"noise_sd": [1.0, 1.0]}, "noise_sd has 2 values"),
    ({"mask": np.ones((1, 1, 5), bool)}, "shape"),
    ({"b1": np.ones((1, 2, 1), np.float32)}, "b1 has shape"),
    ({"options": R1Options(method="two-angle")}, "two-angle takes two"),
]


@pytest.mark.parametrize(("change", "words"), BAD)
def test_bad_input_is_refused_in_words(change, words):
    given = {
        "magnitude": signals(1.0),
        "flip_angles": FLIPS,
        "repetition_times": TRS,
        "noise_sd": 1.0,
        "mask": np.ones((1, 1, 1), bool),
    }
    with pytest.raises(ValueError, match=words):
        fit_r1(**given | change)


def test_one_flip_angle_is_refused():
    with pytest.raises(ValueError, match="at least two different"):
        fit(signals(1.0)[:1], flips=FLIPS[:1], trs=TRS[:1])


def test_unknown_method_is_refused():
    with pytest.raises(InputError, match="expected one of"):
        R1Options(method="magic")
    assert set(METHODS) | {"two-angle"} == set(R1_METHODS)


@pytest.mark.parametrize("b1", [0.6, 1.0, 1.3])
@pytest.mark.parametrize("rate", [0.3, 0.65, 1.1])
def test_noise_does_not_move_the_mean_of_r1_and_m0(rate, b1, rng):
    """As it does to a plain fit: R1 is 1.2 to 4 % high at an SNR of 15 at the strongest signal, M0 0.3 to 2.3 %."""
    flips, count = np.deg2rad([3.0, 6.0, 18.0]), 60000
    times = [0.0116] * len(flips)
    ideal = np.array([ernst(b1 * flip, time, rate) for flip, time in zip(flips, times, strict=True)])
    clean = 15 / ideal.max() * ideal  # noise SDs
    noise = rng.standard_normal((2, len(flips), count))
    magnitude = np.hypot(clean[:, None] + noise[0], noise[1]).astype(np.float32).reshape(-1, 1, 1, count)
    field = np.full((1, 1, count), b1, np.float32)
    result = fit_r1(magnitude, flips, times, 1.0, np.ones((1, 1, count), bool), field)
    # The mean of R1 has an SD of 0.1 %; of fourth order up to 0.3 % are left where the CV is a quarter.
    assert result.r1[result.valid].mean() == pytest.approx(rate, rel=0.006)
    assert result.m0[result.valid].mean() == pytest.approx(15 / ideal.max(), rel=0.004)
    assert result.valid.mean() > 0.999
