"""Receive field and proton density against the truth of the digital patient and closed forms."""

from functools import cache

import numpy as np
import pytest
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.phantom.coils import CoilFields
from QMRIEstimationLib.phantom.options import PatientOptions
from QMRIEstimationLib.phantom.simulate import make_patient
from QMRIEstimationLib.phantom.truth import averaged_map, draw
from QMRIEstimationLib.relaxometry.fluid import Fluid, pure_fluid
from QMRIEstimationLib.relaxometry.pd import PdOptions, proton_density, without_decay
from QMRIEstimationLib.relaxometry.receive_field import (
    RECEIVE_METHODS,
    ReceiveField,
    bias_field,
    on_target,
    r1_pd_field,
    receive_field,
)
from scipy.ndimage import binary_dilation, binary_erosion

SNR = 30.0  # of M0 in white matter; what flip angles 3, 8 and 18 degrees leave of an image SNR of 60


class Head:
    """Truth and noisy estimates of a digital patient."""

    def __init__(self):
        options = PatientOptions()
        patient = make_patient((80, 96, 72), (2.0, 2.0, 2.0), options, np.random.SeedSequence([7, 0]))
        self.geometry, drawing = patient.geometry, draw(patient)
        self.mask, self.lesions = drawing.brain, drawing.lesions
        self.labels = {row["name"]: drawing.tissue == row["index"] for row in drawing.names}
        self.pd, self.true_r1 = averaged_map(patient, "pd"), averaged_map(patient, "r1")
        self.coils = CoilFields(patient, options, np.random.default_rng(3))
        self.coil = self.coils.receive(self.geometry, "head")
        rng = np.random.default_rng(5)
        signal = 20 * self.pd * self.coil
        self.sd = float(np.median(signal[self.labels["white matter"]])) / SNR
        noise = rng.standard_normal((2, *signal.shape), np.float32)
        self.m0 = signal + np.float32(self.sd) * noise[0]
        self.m0_sd = np.full_like(self.m0, self.sd)
        self.r1 = self.true_r1 * (1 + noise[1] * np.float32(0.05))
        self.valid = self.mask & (self.m0 > 0)

    def references(self, snr=25.0):
        """Head- and body-coil scan on a 4 mm grid (without contrast), their noise, the region of signal, Geometry."""
        matrix = self.geometry.ijk_to_ras @ np.diag([2, 2, 2, 1.0])
        matrix[:3, 3] += self.geometry.ijk_to_ras[:3, :3] @ [0.5, 0.5, 0.5]
        coarse = Geometry((36, 48, 40), matrix)
        signal = self.pd.reshape(36, 2, 48, 2, 40, 2).mean((1, 3, 5))
        region = self.mask.reshape(36, 2, 48, 2, 40, 2).all((1, 3, 5))
        rng, sd = np.random.default_rng(9), float(signal[region].mean() / snr)
        images = []
        for coil in ("head", "body"):
            field = self.coils.receive(coarse, coil)
            noise = rng.standard_normal((2, *coarse.shape), np.float32) * np.float32(sd)
            images.append(np.hypot(signal * field + noise[0], noise[1]).astype(np.float32))
        return (*images, coarse, (sd, sd), region)

    def region(self, name):
        """Voxels of a tissue, eroded by one, without lesions."""
        found = np.zeros(self.mask.shape, bool)
        for label, voxels in self.labels.items():
            if label.startswith(name):
                found |= binary_erosion(voxels)
        return found & ~binary_dilation(self.lesions > 0)


@pytest.fixture(scope="module")
def head():
    return Head()


@cache
def field_of(head, method):
    if method == "body-head":
        *pair, coarse, noise, region = head.references()
        return on_target(receive_field(*pair, coarse, noise, region), coarse, head.geometry, head.mask)
    function = bias_field if method == "bias-field" else r1_pd_field
    return function(head.m0, head.r1, head.valid, head.mask, head.lesions)


def fit(head, receive, r1=None, m0=None, **options):
    r1, m0, options = head.r1 if r1 is None else r1, head.m0 if m0 is None else m0, PdOptions(**options)
    region = pure_fluid(r1, 0.05 * r1, head.valid, head.mask, head.geometry, options) & head.valid
    fluid = Fluid(region, m0, head.geometry.voxel_volume)
    return proton_density(
        m0, head.m0_sd, receive, r1, head.valid, head.mask, head.geometry, options, fluid=fluid, lesions=head.lesions
    )


@pytest.mark.parametrize("calibration", ["csf", "nawm"])
@pytest.mark.parametrize(("method", "limit"), [("body-head", 1.5), ("bias-field", 3.0)])
def test_pd_bias_in_every_tissue_is_within_the_limits_of_the_issue(head, method, limit, calibration):
    found = fit(head, field_of(head, method), calibration=calibration)
    assert found.calibration == calibration
    for name in ("white matter", "cortex", "CSF", "thalamus", "caudate", "putamen", "pallidum"):
        region = head.region(name) & found.valid
        assert region.sum() > 20, name
        assert abs((found.pd - head.pd)[region].mean()) < limit, name


@pytest.mark.parametrize("method", ["body-head", "bias-field"])
def test_lesions_keep_the_ratio_of_their_pd_to_white_matter(head, method):
    found = fit(head, field_of(head, method))
    lesion = (head.lesions > 0) & found.valid
    white = head.region("white matter") & found.valid
    ratio, truth = (image[lesion].mean() / image[white].mean() for image in (found.pd, head.pd))
    assert ratio == pytest.approx(truth, rel=0.02)  # the issue asks for 5 %


def test_receive_field_of_noisy_reference_scans_is_within_2_percent(head):
    found = field_of(head, "body-head")
    truth = head.coil / head.coils.receive(head.geometry, "body")
    deviation = found.field[head.mask] / truth[head.mask]
    deviation /= deviation.mean()
    assert np.sqrt(((deviation - 1) ** 2).mean()) < 0.02  # noise of an SNR of 25 over 12 mm: 0.8 %; edges of the brain
    assert (found.sd[head.mask] > 0).all()


def test_noise_floor_does_not_lift_the_weak_side_of_the_coil(head):
    _, _, coarse, _, region = head.references()
    truth = np.linspace(1.0, 0.25, coarse.shape[2], dtype=np.float32) * np.ones(coarse.shape, np.float32)
    rng, sd = np.random.default_rng(1), 0.15  # at the weak side an SNR of 1.7, where magnitudes are 19 % too large
    images = [np.hypot(field + rng.normal(0, sd, coarse.shape), rng.normal(0, sd, coarse.shape)).astype(np.float32)
              for field in (truth, np.ones_like(truth))]  # fmt: skip
    found = receive_field(*images, coarse, (sd, sd), region, fwhm=20.0)
    ratio = found.field / truth
    weak, strong = (np.median(ratio[region & part]) for part in (truth < 0.4, truth > 0.8))
    assert weak / strong == pytest.approx(1, abs=0.05)  # SD 0.013 over seeds, mean 1.007


def test_sd_covers_the_error_in_white_matter(head):
    truth = ReceiveField(head.coil, np.zeros_like(head.coil), head.mask, "body-head")
    found = fit(head, truth)
    region = head.region("white matter") & found.valid
    score = (found.pd - head.pd)[region] / found.sd[region]
    assert score.std() == pytest.approx(1, abs=0.1)  # the issue's 0.9 to 1.1


def test_fluid_calibration_keeps_a_change_that_white_matter_calibration_hides(head):
    changed = head.m0 * np.where(head.labels["white matter"], np.float32(1.05), 1)
    truth = ReceiveField(head.coil, np.zeros_like(head.coil), head.mask, "body-head")
    medians = {}
    for calibration in ("csf", "nawm"):
        found = fit(head, truth, m0=changed, calibration=calibration)
        medians[calibration] = np.median(found.pd[head.region("white matter")])
    assert medians["csf"] == pytest.approx(1.05 * 69, abs=0.7)
    assert medians["nawm"] == pytest.approx(69, abs=0.1)


def test_flow_in_a_few_voxels_does_not_set_the_scale(head):
    truth = ReceiveField(head.coil, np.zeros_like(head.coil), head.mask, "body-head")
    flowing = np.where(np.random.default_rng(6).random(head.mask.shape) < 0.05, 3 * head.m0, head.m0)
    still, found = fit(head, truth), fit(head, truth, m0=flowing)
    white = head.region("white matter") & found.valid & (flowing == head.m0)
    assert found.pd[white] == pytest.approx(still.pd[white], rel=0.002)


def test_lesions_and_their_collar_do_not_set_the_scale(head):
    truth = ReceiveField(head.coil, np.zeros_like(head.coil), head.mask, "body-head")
    spoiled = np.where(binary_dilation(head.lesions > 0), 3 * head.m0, head.m0)
    scales = []
    for m0 in (head.m0, spoiled):
        found = proton_density(m0, head.m0_sd, truth, head.r1, head.valid, head.mask, head.geometry,
                               PdOptions(calibration="nawm"), white=head.labels["white matter"],
                               lesions=head.lesions)  # fmt: skip
        scales.append(found.sentence)
    assert scales[0] == scales[1]


def test_too_little_fluid_falls_back_to_white_matter_and_says_so(head):
    shifted = np.where(head.true_r1 < 0.5, 0.5, head.r1).astype(np.float32)  # as poor spoiling of free water does
    truth = ReceiveField(head.coil, np.zeros_like(head.coil), head.mask, "body-head")
    found = fit(head, truth, shifted)
    assert found.calibration == "nawm"
    assert "pure fluid" in found.notes[0]
    assert "white matter" in found.sentence


def test_no_tissue_to_scale_to_is_an_error_with_a_cure(head):
    truth = ReceiveField(head.coil, np.zeros_like(head.coil), head.mask, "body-head")
    few = head.valid & (np.arange(head.valid.size).reshape(head.valid.shape) % 5 == 0)
    with pytest.raises(InputError, match="--maps"):
        proton_density(
            head.m0, head.m0_sd, truth, head.r1, few, head.mask, head.geometry, PdOptions(calibration="nawm")
        )


def test_relation_to_r1_is_marked_as_not_independent(head):
    found = field_of(head, "r1")
    assert not RECEIVE_METHODS[found.method].independent
    assert RECEIVE_METHODS["bias-field"].independent
    assert "no evidence" in RECEIVE_METHODS[found.method].title
    ratio = found.field[head.mask] / head.coil[head.mask]
    assert ratio.std() / ratio.mean() < 0.04


def test_decay_until_the_echo_is_undone(rng):
    truth, r2star = (rng.uniform(low, high, (4, 5, 6)).astype(np.float32) for low, high in ((50, 100), (5, 60)))
    times = (0.002, 0.005, 0.012)
    averaged = truth * np.mean([np.exp(-te * r2star) for te in times], axis=0)
    sd = np.full_like(truth, 2.0)
    m0, m0_sd = without_decay(averaged, sd, r2star, sd, times)
    assert m0 == pytest.approx(truth, rel=1e-5)
    step = 1e-2
    slope = (without_decay(averaged, sd, r2star + step, sd, times)[0] - m0) / step
    noise = 2 * truth / averaged
    assert m0_sd == pytest.approx(np.hypot(noise, 2 * slope), rel=5e-3)  # float32 differences


def test_shapes_and_empty_inputs_are_named(head):
    image = np.ones((3, 3, 3), np.float32)
    with pytest.raises(ValueError, match="r2star"):
        without_decay(image, image, image[1:], image, (0.002,))
    with pytest.raises(ValueError, match="echo_times"):
        without_decay(image, image, image, image, ())
    with pytest.raises(ValueError, match="valid voxels"):
        bias_field(image, image, image > 0, image > 0)
    _, _, coarse, noise, region = head.references()
    empty = np.zeros(coarse.shape, np.float32)
    with pytest.raises(ValueError, match="no signal"):
        receive_field(empty, empty, coarse, noise, region)
