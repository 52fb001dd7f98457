"""Curves of the panel against magnetisation that is turned and relaxed step by step, and places in the scene."""

import numpy as np
import pytest
import slicerhost
from QMRIEstimationLib.scene.attributes import set_value
from QMRIEstimationLib.scene.signals import Place, curves_at
from scene_data import add_volume

R1, R2, B1 = 1.1, 14.0, 0.85
OFFSET = 0.7  # rad a repetition
SHAPE = (3, 4, 5)


@pytest.fixture
def scene():
    """The scene of slicer-core, emptied."""
    slicer = slicerhost.scene()
    slicer.mrmlScene.Clear()
    return slicer.mrmlScene


def turned(axis, angle):
    """Rotation by an angle (rad) about x (0) or z (2)."""
    c, s = np.cos(angle), np.sin(angle)
    if axis == 0:
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def steady(flip, tr, precession, spoiled):
    """Transverse magnetisation right after the pulse when many pulses have gone by; M0 is 1."""
    decay = np.diag([np.exp(-R2 * tr), np.exp(-R2 * tr), np.exp(-R1 * tr)])
    m = np.array([0.0, 0.0, 1.0])
    for _ in range(4000):
        m = turned(0, flip) @ m
        after = abs(m[0] + 1j * m[1])
        m = decay @ turned(2, precession) @ m + [0, 0, 1 - np.exp(-R1 * tr)]
        if spoiled:
            m[:2] = 0
    return after


def image(name, signal, **fields):
    node = add_volume(np.full(SHAPE, signal, np.float32), name, np.eye(4))
    for key, value in fields.items():
        set_value(node, key, value if isinstance(value, str) else f"{value:.12g}", "given")
    return node


def results():
    values = {"R1": R1, "R2": R2, "TB1": 100 * B1}
    nodes = {key: add_volume(np.full(SHAPE, value, np.float32), key, np.eye(4)) for key, value in values.items()}
    return nodes | {f"{key} SD": nodes[key] for key in ("R1", "R2")}


def test_the_curve_of_spoiled_echoes_goes_through_what_bloch_gives(scene):
    tr, angles = 0.02, (3.0, 8.0, 18.0, 30.0)
    signals = [500 * steady(np.deg2rad(a) * B1, tr, 0.0, True) for a in angles]
    images = [
        image(f"fa{a:g}", s, Use="spoiled GRE", Part="magnitude", FlipAngle=a, RepetitionTimeExcitation=tr)
        for a, s in zip(angles, signals, strict=True)
    ]
    (curve,) = curves_at(Place((1, 1, 1)), images, results())
    np.testing.assert_allclose(np.interp(angles, curve.fit_x, curve.fit_y), signals, rtol=2e-3)  # between its points


def test_the_curve_of_balanced_echoes_goes_through_what_bloch_gives(scene):
    tr, angle, increments = 0.005, 30.0, (0.0, 60.0, 120.0, 180.0, 240.0, 300.0)
    signals = [300 * steady(np.deg2rad(angle) * B1, tr, np.deg2rad(p) + OFFSET, False) for p in increments]
    images = [
        image(
            f"pc{p:g}", s, Use="bSSFP", Part="magnitude", FlipAngle=angle, RepetitionTimeExcitation=tr,
            SpoilingRFPhaseIncrement=p,
        )
        for p, s in zip(increments, signals, strict=True)
    ]  # fmt: skip
    (curve,) = curves_at(Place((1, 1, 1)), images, results())
    # offsets are tried in steps of 2 degrees, and the curve is drawn in steps of 3.6
    found = np.interp(increments, curve.fit_x, curve.fit_y)
    np.testing.assert_allclose(found, signals, atol=0.03 * max(signals))


def test_a_place_outside_an_image_has_no_value(scene):
    node = add_volume(np.ones(SHAPE, np.float32), "x", np.eye(4))
    assert Place((2, 2, 1)).value(node) == 1
    assert np.isnan(Place((50, 2, 1)).value(node)) and np.isnan(Place((-2, 2, 1)).value(node))
