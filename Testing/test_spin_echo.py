"""R2 from multi-echo spin echo against isochromats, Monte-Carlo noise and a real slice with published values."""

import json
import math

import nibabel as nib
import numpy as np
import pytest
from QMRIEstimationLib.errors import Cancelled
from QMRIEstimationLib.relaxometry.spin_echo import SpinEchoOptions, fit_r2_spin_echo
from QMRIEstimationLib.relaxometry.spin_echo_table import TYPICAL_R1, echo_train

DEGREE = math.pi / 180
SPACING = 0.01
ECHO_TIMES = SPACING * np.arange(1, 13)
TISSUES = {"white matter": (1.15, 13.0), "gray matter": (0.7, 11.0), "lesion": (0.75, 10.0)}
MONO = SpinEchoOptions(method="mono-exponential")


def isochromats(flip, r2, r1=TYPICAL_R1, echoes=12, count=64):
    """Echoes of a CPMG train as the mean over `count` precessing spins, more than twice the echoes."""
    turn = 2 * np.pi * np.arange(count) / count
    x, y, z = np.ones(count), np.zeros(count), np.zeros(count)

    def wait(x, y, z):
        transverse = (x + 1j * y) * np.exp(1j * turn - r2 * SPACING / 2)
        return transverse.real, transverse.imag, 1 + (z - 1) * np.exp(-r1 * SPACING / 2)

    out = []
    for _ in range(echoes):
        x, y, z = wait(x, y, z)
        y, z = y * np.cos(flip) - z * np.sin(flip), y * np.sin(flip) + z * np.cos(flip)
        x, y, z = wait(x, y, z)
        out.append(x.mean())
    return np.array(out)


def fit(magnitude, b1=1.0, noise_sd=0.05, b1_sd=0.0, options=SpinEchoOptions(), echo_times=ECHO_TIMES):
    data = np.ascontiguousarray(magnitude, np.float32).reshape(len(magnitude), 1, 1, -1)
    shape = data.shape[1:]
    maps = (np.ascontiguousarray(np.broadcast_to(np.asarray(a, np.float32), shape)) for a in (b1, b1_sd))
    return fit_r2_spin_echo(data, echo_times, noise_sd, *maps, np.ones(shape, bool), options)


@pytest.mark.parametrize("flip", [60, 100, 140, 180, 220])
def test_graph_is_the_sum_of_isochromats(flip):
    echoes = np.empty(12)
    echo_train(flip * DEGREE, 13 * SPACING, 1.2 * SPACING, echoes)
    np.testing.assert_allclose(echoes, isochromats(flip * DEGREE, 13, 1.2), atol=1e-14)


@pytest.mark.parametrize("tissue", TISSUES)
def test_r2_survives_imperfect_refocusing(tissue):
    r1, r2 = TISSUES[tissue]
    b1 = np.linspace(0.65, 1.3, 27)
    data = 1000 * np.stack([isochromats(field * math.pi, r2, r1) for field in b1], axis=1)
    result = fit(data, b1)
    assert result.valid.all()
    np.testing.assert_allclose(result.r2.ravel(), r2, rtol=0.006)  # R1 differs from the typical one by 40 %
    np.testing.assert_allclose(result.s0, 1000, rtol=2e-4)
    plain = fit(data, b1, options=MONO)
    assert plain.r2.min() < 0.85 * r2  # what stimulated echoes do where they are not in the model


def test_r2_is_exact_at_the_typical_r1():
    b1 = np.linspace(0.65, 1.3, 27)
    data = 1000 * np.stack([isochromats(field * math.pi, 13.0) for field in b1], axis=1)
    np.testing.assert_allclose(fit(data, b1).r2.ravel(), 13, rtol=3e-4)  # linear interpolation of the table


def test_smaller_nominal_angle_is_part_of_the_model():
    data = 1000 * isochromats(0.9 * 150 * DEGREE, 13.0)
    result = fit(data, 0.9, options=SpinEchoOptions(refocusing_angle=150 * DEGREE))
    assert result.r2.item() == pytest.approx(13, rel=3e-4)


@pytest.mark.parametrize("tissue", TISSUES)
def test_noise_gives_no_bias_and_the_sd_that_is_reported(tissue, rng):
    """SNR 60 of S0, B1 65 to 130 % with an error of 2 %."""
    r1, r2 = TISSUES[tissue]
    b1 = rng.uniform(0.65, 1.3, 100)
    true = np.repeat(60 * np.stack([isochromats(field * math.pi, r2, r1) for field in b1], axis=1), 60, axis=1)
    noise = rng.standard_normal((2, *true.shape))
    found_b1 = np.repeat(b1, 60) + 0.02 * rng.standard_normal(6000)
    found = fit(np.hypot(true + noise[0], noise[1]), found_b1, 1.0, 0.02)
    assert found.valid.mean() > 0.99
    error = (found.r2 - r2)[found.valid]
    assert abs(error.mean()) < 0.02 * r2
    assert 0.9 < (error / found.sd[found.valid]).std() < 1.1
    assert np.sqrt(np.mean(found.quality[found.valid] ** 2)) == pytest.approx(1, abs=0.03)


def test_real_slice_gives_the_published_t2(shared_data):
    folder = shared_data / "qmri_slices_qmrlab"
    protocol = json.loads((folder / "mono_t2.json").read_text())
    image = nib.load(folder / "mono_t2.nii.gz").get_fdata(dtype=np.float32)
    echo_times = [volume["EchoTime"] for volume in protocol["volume_ids"]]
    probes = protocol["probes"]
    data = np.stack([image[probe["x"], probe["y"], 0] for probe in probes], axis=1)
    result = fit(data, noise_sd=1e-3, options=MONO, echo_times=echo_times)  # without a noise floor, as theirs
    np.testing.assert_allclose(1 / result.r2.ravel(), [probe["expected"]["T2"] for probe in probes], rtol=1e-5)
    np.testing.assert_allclose(result.s0.ravel(), [probe["expected"]["M0"] for probe in probes], rtol=1e-5)


def test_same_bits_with_one_thread(rng, threads):
    data = np.abs(60 * isochromats(2.5, 13.0)[:, None] + rng.standard_normal((12, 5000)))
    threads(2)
    many = fit(data, 0.8, 1.0, 0.02)
    threads(1)
    one = fit(data, 0.8, 1.0, 0.02)
    assert many.r2.tobytes() == one.r2.tobytes()
    assert many.sd.tobytes() == one.sd.tobytes()


def test_voxels_without_meaning_are_not_valid():
    data = np.tile(1000 * isochromats(math.pi, 13.0)[:, None], 6)
    data[3, 0], data[:, 1] = np.nan, 0
    b1 = np.array([1, 1, np.nan, 0, 0.2, 1])
    found = fit(data, b1)
    assert found.valid.ravel().tolist() == [False] * 5 + [True]
    assert not found.r2[~found.valid].any()


def test_cancelling_stops_the_fit():
    one = np.ones((1, 1, 1), np.float32)
    with pytest.raises(Cancelled):
        fit_r2_spin_echo(np.ones((12, 1, 1, 1), np.float32), ECHO_TIMES, 1.0, one, one, one > 0, cancelled=lambda: True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"echo_times": ECHO_TIMES + 0.003}, "multiples of the first"),
        ({"echo_times": ECHO_TIMES[:5]}, "with 5 echoes"),
        ({"echo_times": ECHO_TIMES[:2], "magnitude": np.ones((2, 1, 1, 2), np.float32)}, "needs 3 or more"),
        ({"b1": None}, "b1 is missing"),
        ({"noise_sd": 0.0}, "noise_sd is 0"),
        ({"mask": np.ones((1, 2, 1), bool)}, "mask"),
    ],
)
def test_bad_input_is_named(change, words):
    one = np.ones((1, 1, 2), np.float32)
    arguments = {
        "magnitude": np.ones((12, 1, 1, 2), np.float32),
        "echo_times": ECHO_TIMES,
        "noise_sd": 1.0,
        "b1": one,
        "b1_sd": one,
        "mask": one > 0,
    }
    with pytest.raises(ValueError, match=words):
        fit_r2_spin_echo(**(arguments | change))
