"""Scans put back into place: what is left of their noise, and that the SD of R1 knows of it."""

from types import SimpleNamespace

import numpy as np
import pytest
from QMRIEstimationLib import flip_series
from QMRIEstimationLib.acquisition import Role, Scan, Session
from QMRIEstimationLib.alignment import Place, motion_note, moved, noise_share
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.registration import Registration
from QMRIEstimationLib.settings import Settings
from QMRIEstimationLib.transmit import TransmitField
from scipy.spatial.transform import Rotation

SHAPE = (30, 32, 34)
FLIPS, TR = np.deg2rad((3.0, 8.0, 18.0)), 0.015
R1, M0 = 1.0, 1000.0
INSIDE = slice(5, -5)  # what the turned grids still reach


def grid(side=1.0, shape=SHAPE):
    """Grid with its middle at the origin."""
    matrix = np.diag([side, side, side, 1.0])
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return Geometry(shape, matrix)


def motion(turn=(0.03, -0.02, 0.05), shift=(0.4, -0.7, 0.3)):
    """Registration of a scan that had moved."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = Rotation.from_rotvec(turn).as_matrix(), shift
    return Registration(pose, 1.0, 3.0, 0.05, 0.5, True)


def rician(level, sd, rng, shape=SHAPE):
    noise = sd * rng.standard_normal((2, *shape))
    return np.hypot(level + noise[0], noise[1]).astype(np.float32)


def spread(values):
    return 1.4826 * np.median(np.abs(values - np.median(values)))


@pytest.mark.parametrize("side", [1.0, 1.3])
def test_noise_share_is_that_of_replicates(rng, side):
    source, found = grid(side), motion()
    place = Place("there", np.ones(SHAPE, np.float32), grid(), np.ones(SHAPE, bool))
    share = noise_share(source, place, found)
    draws = [moved(rician(100, 2, rng), source, place, found) for _ in range(100)]
    ratio = np.std(draws, axis=0)[INSIDE, INSIDE, INSIDE] / (2 * share[INSIDE, INSIDE, INSIDE])
    assert share[INSIDE, INSIDE, INSIDE].min() < 0.6  # half way between voxels
    assert np.sqrt((ratio**2).mean()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("noise", [2.0, 5.0])  # SNR about 30 and 12 at the smallest flip angle
def test_sd_of_r1_is_its_spread_with_and_without_motion(rng, monkeypatch, still, noise):
    e1 = np.exp(-TR * R1)
    signals = M0 * np.sin(FLIPS) * (1 - e1) / (1 - e1 * np.cos(FLIPS))
    mask = np.zeros(SHAPE, bool)
    mask[INSIDE, INSIDE, INSIDE] = True
    here, everywhere = grid(), np.ones(SHAPE, np.float32)
    place = Scan(Role.MULTI_ECHO_GRE, "MEGRE", here, None)
    reference = SimpleNamespace(scan=place, magnitude=everywhere, mask=mask, r2star=None, images={})
    scans = [
        Scan(
            Role.SPOILED_GRE, f"flip {n}", here, lambda image=rician(signals[n], noise, rng)[None]: (image, None),
            (0.002,), float(FLIPS[n]), TR, 0.0,
        )
        for n in range(3)
    ]  # fmt: skip
    poses = [motion(), motion((0.02, 0.04, -0.03), (0.5, 0.2, 0.6)), motion((-0.05, 0.01, 0.02), (-0.3, 0.4, 0.5))]
    unmoved = Registration(np.eye(4), 0.0, 0.0, 0.0, 0.5, True)
    monkeypatch.setattr(flip_series, "all_registered", lambda *_: [unmoved] * 3 if still else poses)
    steps = SimpleNamespace(report=lambda *_: None, cancelled=None)
    series = flip_series.FlipSeries(Session("01"), scans, reference, Settings(), steps)
    series.spoiling = None
    sure = TransmitField(everywhere, 0 * everywhere, True, "known")
    fit = series.fit(sure, None, Settings(), steps)
    z = (fit.r1[mask] - R1) / fit.sd[mask]
    assert fit.valid[mask].all()
    assert spread(z) == pytest.approx(1, abs=0.04)  # 10 000 voxels: 1 %, interpolated ones are fewer by far
    assert fit.r1[mask].mean() == pytest.approx(R1, abs=0.003)  # the excess of Rician magnitudes is taken off


def test_scans_that_had_moved_share_one_sentence():
    still = Registration(np.eye(4), 0.0, 0.0, 0.0, 0.5, True)
    far = Registration(motion().ras_transform, 4.0, 1.0, 0.2, 0.5, True)
    assert motion_note({"a": still}) == []
    assert motion_note({"a": still, "b": motion()})[0].startswith("b: had moved by 1.0 mm and 3.0 degrees")
    (sentence,) = motion_note({"a": still, "b": motion(), "c": far})
    assert sentence.startswith("2 scans had moved, by up to 4.0 mm (c) and 3.0 degrees")
