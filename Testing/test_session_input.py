"""What staging takes from a session: scans before and after the agent, aligned or refused, and drawings elsewhere."""

from dataclasses import replace

import numpy as np
import pytest
from QMRIEstimationLib.acquisition import Role, Scan, Session
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.maps import Estimate, QuantitativeMap
from QMRILesionStagingLib.session_input import staging_input
from QMRILesionStagingLib.settings import StudySettings
from scipy import ndimage

SIZE = (44, 48, 46)
T1W = {"EchoTime": 0.003, "RepetitionTime": 2.3, "InversionTime": 1.1, "SeriesNumber": 3}


def head():
    rng = np.random.default_rng(3)
    places = np.stack(np.meshgrid(*(np.arange(n) - n / 2 for n in SIZE), indexing="ij"), -1)
    texture = ndimage.gaussian_filter(rng.standard_normal(SIZE), 2.0)
    inside = np.linalg.norm(places / (18, 20, 19), axis=-1) < 1
    return np.where(inside, 1 + 0.3 * texture / texture.std(), 0).clip(0).astype(np.float32), inside


def scan(role, image, header, name, shift=0.0):
    matrix = np.eye(4)
    matrix[0, 3] = shift
    return Scan(role, name, Geometry(SIZE, matrix), lambda: (image[None], None), header=header, field_strength=3.0,
                sources=(name,))  # fmt: skip


@pytest.fixture
def estimate():
    """Function making an Estimate whose session has the given scans and a lesion."""
    image, inside = head()
    geometry = Geometry(SIZE, np.eye(4))
    drawn = np.zeros(SIZE, np.int32)
    drawn[20:26, 20:26, 20:26] = 1

    def make(*scans, lesions=(drawn, geometry)):
        megre = scan(Role.MULTI_ECHO_GRE, image, {"SeriesNumber": 2}, "megre")
        session = Session("01", scans=(megre, *scans), lesions=None if lesions is None else lambda: lesions)
        values = np.full(SIZE, 20, np.float32)
        decay = QuantitativeMap("R2star", values, values / 40, values, inside, geometry, "", "", "", {}, ("megre",))
        return Estimate(session, {"R2star": decay}, geometry, inside, image)

    return make


def pair(before=None, after=None, shift=0.0):
    image, _ = head()
    first = scan(Role.T1W, image, T1W | (before or {}), "pre")
    second = scan(Role.T1W_GADOLINIUM, image, T1W | {"SeriesNumber": 9} | (after or {}), "post", shift)
    return first, second


def test_images_before_and_after_the_agent_are_brought_to_the_maps(estimate):
    given, _, _ = staging_input(estimate(*pair(shift=3.0)), StudySettings())
    inner = ndimage.binary_erosion(given.brain, iterations=6)
    assert np.corrcoef(given.before[inner], given.after[inner])[0, 1] > 0.97
    assert given.timings["R2star"].state == "before"


@pytest.mark.parametrize(
    ("scans", "words"),
    [
        ((), "no T1-weighted scan after gadolinium"),
        (pair()[1:], "no T1-weighted scan before gadolinium"),
        (pair(after={"InversionTime": 0.9}), "not of one sequence"),
        (
            pair({"AcquisitionDateTime": "2025-01-01T10:00:00"}, {"AcquisitionDateTime": "2025-01-11T10:00:00"}),
            "more than a week",
        ),
    ],
)
def test_where_enhancement_cannot_be_told_the_reason_is_said(estimate, scans, words):
    given, notes, _ = staging_input(estimate(*scans), StudySettings())
    assert given.before is None
    assert words in given.uptake_unknown
    assert bool(notes) == bool(scans)


def test_a_map_whose_scan_came_after_the_agent_is_told(estimate):
    given, _, _ = staging_input(estimate(*pair(after={"SeriesNumber": 1})), StudySettings())
    assert given.timings["R2star"].state == "after"
    given, _, _ = staging_input(estimate(*pair(after={"SeriesNumber": None})), StudySettings())
    assert given.timings["R2star"].state == "unknown"


def test_a_drawing_on_another_grid_is_moved_and_one_elsewhere_refused(estimate):
    coarse = Geometry((22, 24, 23), np.diag([2.0, 2.0, 2.0, 1.0]))
    labels = np.zeros(coarse.shape, np.int32)
    labels[10:13, 10:13, 10:13] = 1
    given, _, _ = staging_input(estimate(lesions=(labels, coarse)), StudySettings())
    assert np.count_nonzero(given.drawn) == pytest.approx(27 * 8, rel=0.05)
    far = replace(coarse, ijk_to_ras=coarse.ijk_to_ras + np.pad([[0], [0], [500.0]], ((0, 1), (3, 0))))
    with pytest.raises(InputError, match="lie outside the field of view of the maps"):
        staging_input(estimate(lesions=(labels, far)), StudySettings())
