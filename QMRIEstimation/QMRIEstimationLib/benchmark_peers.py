"""Other programs' answer to the stages of `slicer-qmri benchmark`: pip-installable, timed in the same run."""

from dataclasses import dataclass

import numpy as np

from .benchmark_data import FLIP_ANGLES, FLIP_TR

SAMPLE = 1000  # voxels that slow voxelwise peers are timed on


@dataclass(frozen=True)
class Peer:
    """A program that does the same job.

    Attributes:
        name: what is called. package: what pip installs.
        prepare: function of the scan returning (function to time, voxels it works on); raises ImportError when the
            package is not there. Putting the data in the peer's layout is not timed.
        error: as that of the stage, a function of the result and the scan.
    """

    name: str
    package: str
    prepare: object
    error: object = None


def _sample(scan):
    """Signals [voxel, echo] of some voxels, float64."""
    every = max(1, scan.mask.size // SAMPLE)
    return scan.tissue.reshape(len(scan.echo_times), -1)[:, ::every].T[:SAMPLE].astype(float)


def _scipy_curve_fit(scan):
    from scipy.optimize import curve_fit

    signals, times = _sample(scan), np.array(scan.echo_times)

    def run():
        for signal in signals:
            curve_fit(lambda te, s0, rate: s0 * np.exp(-rate * te), times, signal, (signal[0], 20.0))

    return run, len(signals)


def _qmrpy_r2star(scan):
    from qmrpy.models.t2star.r2star import T2StarMonoR2

    signals, model = _sample(scan), T2StarMonoR2(te_ms=1000 * np.array(scan.echo_times))
    return lambda: model.fit_image(signals), len(signals)


def _tedana_loglinear(scan):
    from tedana.decay import fit_loglinear

    signals = scan.tissue.reshape(len(scan.echo_times), -1).T[:, :, None].astype(float)
    good_echoes = np.full(len(signals), len(scan.echo_times))
    times = 1000 * np.array(scan.echo_times)
    return lambda: fit_loglinear(signals, times, good_echoes, report=False), len(signals)


def _dipy_nlmeans(scan):
    from dipy.denoise.nlmeans import nlmeans

    image = scan.magnitude[0].astype(float)  # one channel at a time
    settings = {"sigma": scan.noise_sd, "patch_radius": 1, "block_radius": 2, "rician": True, "num_threads": 1}
    return lambda: nlmeans(image, **settings), image.size


def _dipy_mppca(scan):
    from dipy.denoise.localpca import mppca

    images = np.moveaxis(scan.magnitude, 0, -1).astype(float)
    return lambda: mppca(images, mask=scan.mask, patch_radius=2), scan.mask.sum() * len(scan.magnitude)


def _flip_sample(scan):
    """Signals [voxel, flip] and transmit field [voxel] of some voxels, float64."""
    every = max(1, scan.b1.size // SAMPLE)
    signals = scan.spoiled.reshape(len(scan.spoiled), -1)[:, ::every].T[:SAMPLE].astype(float)
    return signals, scan.b1.ravel()[::every][:SAMPLE].astype(float)


def _sepal_t1(kind):
    def prepare(scan):
        from sepal import t1_fit

        signals, ratios = _flip_sample(scan)
        model = getattr(t1_fit, kind)(np.rad2deg(FLIP_ANGLES), FLIP_TR)

        def run():
            for signal, ratio in zip(signals, ratios, strict=True):
                try:
                    model.proc(signal, k_fa=ratio)
                except ArithmeticError:  # its word for a voxel without a solution
                    continue

        return run, len(signals)

    return prepare


def _qmrpy_t1(scan):
    from qmrpy.models.t1 import T1VFA

    signals, _ = _flip_sample(scan)  # takes no map of the transmit field
    model = T1VFA(flip_angle_deg=np.rad2deg(FLIP_ANGLES), tr_ms=1000 * FLIP_TR)
    return lambda: model.fit_image(signals), len(signals)


def _scipy_t1(scan):
    from scipy.optimize import curve_fit

    signals, ratios = _flip_sample(scan)

    def run():
        for signal, ratio in zip(signals, ratios, strict=True):
            flip = ratio * FLIP_ANGLES

            def model(_, m0, r1, flip=flip):
                e1 = np.exp(-FLIP_TR * r1)
                return m0 * np.sin(flip) * (1 - e1) / (1 - e1 * np.cos(flip))

            curve_fit(model, FLIP_ANGLES, signal, (10 * signal.max(), 1.0))

    return run, len(signals)


def _skimage_unwrap(scan):
    from skimage.restoration import unwrap_phase

    wrapped = np.ma.array(scan.phase[-1], mask=~scan.mask)
    return lambda: unwrap_phase(wrapped), scan.mask.size


def _qmrpy_unwrap(scan):
    from qmrpy.models.qsm.unwrap import unwrap_phase_laplacian

    phase = scan.phase[-1].astype(float)
    return lambda: unwrap_phase_laplacian(phase), phase.size


def _qmrpy_sharp(scan):
    from qmrpy.models.qsm.sharp import background_removal_sharp

    field, mask = scan.total_field.astype(float), scan.mask.astype(float)
    return lambda: background_removal_sharp(field, mask), mask.size


def _qmrpy_l2(scan):
    from qmrpy.models.qsm.split_bregman import calc_chi_l2

    side = min(scan.mask.shape[:2])  # qmrpy 2.0 wants the first two axes alike
    field, mask = (image[:side, :side].astype(float) for image in (scan.local_field_ppm, scan.mask))
    settings = {
        "lambda_l2": 1e-3,
        "direction": "forward",
        "image_resolution_mm": np.ones(3),
        "padding_size": (0, 0, 0),
    }
    return lambda: calc_chi_l2(field, mask=mask, **settings), mask.size


NLLS_PEERS = Peer("scipy curve_fit", "scipy", _scipy_curve_fit), Peer("qmrpy T2StarMonoR2", "qmrpy", _qmrpy_r2star)
LOG_LINEAR_PEERS = (Peer("tedana fit_loglinear", "tedana", _tedana_loglinear),)
NONLOCAL_PEERS = (Peer("dipy nlmeans", "dipy", _dipy_nlmeans, lambda image, scan: scan.error(image)),)
MPPCA_PEERS = (Peer("dipy mppca", "dipy", _dipy_mppca, lambda images, scan: scan.error(images[..., 0])),)
R1_LINEAR_PEERS = Peer("sepal VFALinear", "sepal", _sepal_t1("VFALinear")), Peer("qmrpy T1VFA", "qmrpy", _qmrpy_t1)
R1_NLLS_PEERS = (
    Peer("sepal VFANonLinear", "sepal", _sepal_t1("VFANonLinear")),
    Peer("scipy curve_fit", "scipy", _scipy_t1),
)
UNWRAP_PEERS = (Peer("scikit-image unwrap_phase", "scikit-image", _skimage_unwrap),)
LAPLACIAN_PEERS = (Peer("qmrpy Laplacian", "qmrpy", _qmrpy_unwrap),)
BACKGROUND_PEERS = (Peer("qmrpy SHARP", "qmrpy", _qmrpy_sharp),)
INVERSION_PEERS = (Peer("qmrpy closed-form L2", "qmrpy", _qmrpy_l2),)
