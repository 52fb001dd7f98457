"""Previews of a slice are near what the whole scan gives there, on any axis and at the edge."""

from dataclasses import replace

import numpy as np
import pytest
from QMRIEstimationLib.acquisition import Role, Scan, Session
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.pipeline import estimate
from QMRIEstimationLib.preview import Preview
from QMRIEstimationLib.settings import Settings
from scene_data import ECHO_TIMES, FIELD_STRENGTH, sphere_images


@pytest.fixture(scope="module")
def session():
    """A sphere of 0.1 ppm in water on an oblique, anisotropic grid."""
    matrix = np.array([[0.9, 0.1, 0, -14], [-0.1, 0.9, 0, -15], [0, 0, 1.2, -19], [0, 0, 0, 1.0]])
    magnitude, phase = sphere_images(matrix)
    scan = Scan(
        role=Role.MULTI_ECHO_GRE,
        name="sphere",
        geometry=Geometry(magnitude.shape[1:], matrix),
        read=lambda: (magnitude, phase),
        echo_times=ECHO_TIMES,
        field_strength=FIELD_STRENGTH,
        has_phase=True,
    )
    return Session("01", scans=(scan,))


@pytest.fixture(scope="module")
def whole(session):
    """The maps of the whole scan, within what a preview takes for tissue."""
    bright = session.scans[0].read()[0][0] > 10
    inside = Session("01", scans=session.scans, brain_mask=lambda: (bright, session.scans[0].geometry))
    return estimate(inside).maps


@pytest.mark.parametrize("axis, index", [(0, 15), (1, 10), (2, 20), (0, 4), (0, 27)])
def test_r2star_of_a_slice_is_that_of_the_whole_scan_and_lies_there(session, whole, axis, index):
    values, geometry = Preview(session).slab("R2star", axis, index, Settings())
    here = [slice(None)] * 3
    here[axis] = slice(index, index + 1)
    expected = whole["R2star"].values[tuple(here)]
    both = (values != 0) & (expected != 0)
    if both.any():  # gradients of the field at the edge of the slab are one-sided: within a tenth of the SD
        assert np.median(np.abs(values - expected)[both]) < 0.1 * np.median(whole["R2star"].sd[tuple(here)][both])
    ijk = np.array([0, 0, 0, 1])
    ijk[2 - axis] = index
    np.testing.assert_allclose(geometry.ijk_to_ras[:, 3], session.scans[0].geometry.ijk_to_ras @ ijk)


def test_chi_of_a_slab_keeps_the_contrast_of_the_sphere(session, whole):
    """The field of what lies outside the slab is missing, so half the contrast is all that is promised."""
    values, _ = Preview(session).slab("Chi", 0, 15, Settings())
    inside = np.zeros(values.shape, bool)
    inside[:, 13:18, 13:18] = True
    outside = (values != 0) & ~inside
    contrast = values[inside].mean() - np.median(values[outside])
    chi = whole["Chi"].values[15:16]
    expected = chi[inside].mean() - np.median(chi[outside])
    assert contrast > 0.5 * expected > 0


@pytest.mark.parametrize("index", [0, -50, 31, 90])
def test_a_slice_of_noise_or_beyond_the_scan_is_one_sentence(session, index):
    with pytest.raises(InputError, match="nothing but noise in the slice that is shown"):
        Preview(session).slab("R2star", 0, index, Settings())


def test_the_images_are_read_once(session):
    calls = []
    scan = session.scans[0]

    def read():
        calls.append(1)
        return scan.read()

    preview = Preview(Session("01", scans=(replace(scan, read=read),)))
    for index in (10, 20):
        preview.slab("R2star", 0, index, Settings())
    assert len(calls) == 1


def test_without_a_multi_echo_scan_there_is_a_sentence():
    with pytest.raises(InputError, match="needs a multi-echo gradient echo"):
        Preview(Session("01"))
