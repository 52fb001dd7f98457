"""Transmit field from R1 alone, on the digital patient's anatomy: white matter lies in the middle, fluid in it."""

import numpy as np
import pytest
import SimpleITK
from QMRIEstimationLib.errors import Cancelled, InputError
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.phantom.options import PatientOptions
from QMRIEstimationLib.phantom.simulate import make_patient
from QMRIEstimationLib.phantom.truth import averaged_map, brain_share
from QMRIEstimationLib.relaxometry.b1_free import (
    InformationOptions,
    _entropy,
    information_b1,
    n4_b1,
    quantile_classes,
    white_matter_peak,
)

TISSUES = {"white matter": (1.05, 1.30), "gray matter": (0.62, 0.75), "fluid": (0.2, 0.3)}  # 1/s


class Head:
    """R1, R2* and brain of a digital patient at 3 mm, and a transmit field whose mean is not 1."""

    def __init__(self):
        side = 3.0
        patient = make_patient((52, 64, 50), (side,) * 3, PatientOptions(), np.random.SeedSequence([7]))
        self.geometry = patient.geometry
        self.r1, self.r2star = averaged_map(patient, "r1"), averaged_map(patient, "r2star")
        self.mask = brain_share(patient) > 0.9
        k, j, i = np.meshgrid(*(np.linspace(-1, 1, n) for n in self.mask.shape), indexing="ij", sparse=True)
        squared = 1.2 * k * k + 0.9 * j * j + 1.1 * i * i
        self.b1 = (0.80 + 0.3 * (1 - 1.6 * squared / (0.6 + squared)) + 0.05 * i - 0.04 * j).astype(np.float32)
        rng = np.random.default_rng(5)
        noisy_r2star = self.r2star + 1.2 * rng.standard_normal(self.r1.shape)  # SNR 60, six echoes
        self.classes = quantile_classes(noisy_r2star, self.mask)
        self.slab = (1 - 0.25 / (1 + np.exp(-(np.abs(k + 0.08) - 0.72) / 0.05))).astype(np.float32)


@pytest.fixture(scope="module")
def head():
    return Head()


def apparent(head, b1, noise, rng):
    """R1 as fitted with nominal angles: log-normal noise of relative size `noise`."""
    spread = np.exp(noise * rng.standard_normal(head.r1.shape))
    return np.where(head.mask, head.r1 * spread / b1**2, 0).astype(np.float32)


def shape_error(fit, head, b1):
    """SD of the field over the truth, relative: what one factor does not explain."""
    ratio = (fit.b1 / b1)[head.mask]
    return ratio.std() / ratio.mean()


def tissue_errors(fit, head, b1):
    """Relative error of the mean R1 of each tissue after one factor for all."""
    corrected = (fit.b1 / b1) ** 2
    factor = np.median(corrected[head.mask])
    return {
        name: corrected[head.mask & (head.r1 > low) & (head.r1 < high)].mean() / factor - 1
        for name, (low, high) in TISSUES.items()
    }


def test_field_is_found_on_real_anatomy(head, rng):
    assert np.mean(head.b1[head.mask]) < 0.95
    uncorrected = head.b1[head.mask].std() / head.b1[head.mask].mean()
    r1_app = apparent(head, head.b1, 0.03, rng)
    fit = information_b1(r1_app, head.mask, head.geometry, classes=head.classes)
    assert uncorrected > 0.07
    assert shape_error(fit, head, head.b1) < 0.015
    assert max(abs(e) for e in tissue_errors(fit, head, head.b1).values()) < 0.03
    assert fit.valid[head.mask].all()
    assert fit.scale_sd >= 0.05
    assert np.mean(fit.b1[head.mask]) == pytest.approx(1, abs=1e-4)
    assert any("mean transmit field of the brain is 1" in note for note in fit.notes)


def test_field_from_r1_alone_says_that_anatomy_may_pass_for_field(head, rng):
    r1_app = apparent(head, head.b1, 0.03, rng)
    fit = information_b1(r1_app, head.mask, head.geometry)
    assert any("part of the anatomy" in note for note in fit.notes)
    assert shape_error(fit, head, head.b1) < 2 * np.median(fit.sd[head.mask] / fit.b1[head.mask])


def test_noisy_r1_is_good_with_guide_and_classes(head, rng):
    r1_app = apparent(head, head.b1, 0.14, rng)  # SNR 60 through three flip angles
    guide = (head.r1 / (head.r1 + 2.4) + 0.008 * rng.standard_normal(head.r1.shape)).astype(np.float32)
    plain = information_b1(r1_app, head.mask, head.geometry, classes=head.classes)
    fit = information_b1(r1_app, head.mask, head.geometry, guide=(guide, 0.008), classes=head.classes)
    assert shape_error(plain, head, head.b1) > 1.1 * shape_error(fit, head, head.b1)
    assert shape_error(fit, head, head.b1) < 0.02
    assert max(abs(e) for e in tissue_errors(fit, head, head.b1).values()) < 0.03


def test_slab_profile_is_found_only_with_its_own_terms(head, rng):
    b1 = head.b1 * head.slab
    r1_app = apparent(head, b1, 0.03, rng)
    fits = [
        information_b1(r1_app, head.mask, head.geometry, classes=head.classes, slab_axis=axis) for axis in (0, None)
    ]
    with_slab, without = (shape_error(fit, head, b1) for fit in fits)
    assert with_slab < 0.8 * without
    assert with_slab < 0.02


def test_exact_refit_replaces_the_square_law(head, rng):
    exponent = 1.5  # of an imperfectly spoiled sequence, say
    fitted = apparent(head, head.b1 ** (exponent / 2), 0.03, rng)
    calls = []

    def refit(b1):
        calls.append(b1)
        return fitted * b1**exponent

    fit = information_b1(fitted, head.mask, head.geometry, refit=refit, classes=head.classes)
    square = information_b1(fitted, head.mask, head.geometry, classes=head.classes)
    assert shape_error(fit, head, head.b1) < 0.015 < shape_error(square, head, head.b1)
    assert 2 <= len(calls) <= 5
    assert not any("still moved" in note for note in fit.notes)


def test_white_matter_anchor_sets_its_r1(head, rng):
    options = InformationOptions(anchor="white matter", white_matter_r1=1.15)
    r1_app = apparent(head, head.b1, 0.03, rng)
    fit = information_b1(r1_app, head.mask, head.geometry, options, classes=head.classes)
    corrected = (r1_app * fit.b1**2)[head.mask]
    assert white_matter_peak(corrected) == pytest.approx(1.15, rel=0.011)  # bins of 1 %
    white = np.median((fit.b1 / head.b1)[head.mask & (head.r1 > 1.1)])
    assert white == pytest.approx(1, abs=0.02)  # the patient's own white matter is within 4 % of 1.15
    assert any("hides any change of R1" in note for note in fit.notes)


def test_n4_finds_the_field_with_any_number_of_threads(head, rng):
    r1_app = apparent(head, head.b1, 0.03, rng)
    before = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
    results = []
    try:
        for count in (1, 2):
            SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(count)
            results.append(n4_b1(r1_app, head.mask, head.geometry))
            assert SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads() == count
    finally:
        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert results[0].b1.tobytes() == results[1].b1.tobytes()
    assert shape_error(results[0], head, head.b1) < 0.04  # of 0.074; R1 alone, voxels of 3 mm
    errors = tissue_errors(results[0], head, head.b1)
    assert max(abs(errors[name]) for name in ("white matter", "gray matter")) < 0.03


def test_entropy_of_a_normal_histogram_and_its_slopes(rng):
    values = 0.3 * rng.standard_normal(200_000)
    entropy, _ = _entropy(values, [slice(None)], 2.0)
    # Differential entropy of a Gaussian of variance 0.3^2 + (2 bins of 0.01)^2, minus the logarithm of the bin
    expected = 0.5 * np.log(2 * np.pi * np.e * (0.3**2 + 0.02**2)) - np.log(0.01)
    assert entropy == pytest.approx(expected, abs=0.01)
    values = rng.normal(0, 0.3, 50) + rng.integers(0, 2, 50)
    groups = [np.arange(0, 50, 2), np.arange(1, 50, 2)]
    _, slopes = _entropy(values, groups, 5.0)
    direction = rng.standard_normal(50)
    step = 1e-5
    change = _entropy(values + step * direction, groups, 5.0)[0] - _entropy(values - step * direction, groups, 5.0)[0]
    assert change / (2 * step) == pytest.approx(slopes @ direction, rel=1e-3)


def test_bad_input_is_named(head):
    r1_app, mask = head.r1, head.mask
    with pytest.raises(ValueError, match="mask has 0 voxels"):
        information_b1(r1_app, np.zeros_like(mask), head.geometry)
    with pytest.raises(ValueError, match="r1_app has 0 usable voxels"):
        information_b1(np.zeros_like(r1_app), mask, head.geometry)
    with pytest.raises(ValueError, match="r1_app has 0 usable voxels"):
        n4_b1(np.full_like(r1_app, np.nan), mask, head.geometry)
    with pytest.raises(ValueError, match="mask has shape"):
        information_b1(r1_app, mask[1:], head.geometry)
    with pytest.raises(ValueError, match="geometry has shape"):
        n4_b1(r1_app, mask, Geometry((2, 2, 2), np.eye(4)))
    with pytest.raises(Cancelled):
        information_b1(r1_app, mask, head.geometry, cancelled=lambda: True)
    with pytest.raises(InputError, match=r"InformationOptions.scale_sd is 0\.01"):
        InformationOptions(scale_sd=0.01)
