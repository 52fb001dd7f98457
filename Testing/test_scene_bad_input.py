"""Images of the scene that cannot be used: one sentence with the node and the cure, and the scene as it was.

The engine is replaced by one whose maps are known; files in between are real.
"""

import numpy as np
import pytest
from QMRIEstimationLib.errors import InputError
from scene_data import FIELD_STRENGTH, SHAPE, add_sequence, add_volume, as_array, content, decay_images


def described(node, **fields):
    from QMRIEstimation import QMRIEstimationLogic

    QMRIEstimationLogic().describe(node, **fields)
    return node


def no_image(echoes, matrix):
    volumes = echoes("magnitude")
    volumes[0].SetAndObserveImageData(None)
    return volumes


def other_grid(echoes, matrix):
    moved = matrix.copy()
    moved[0, 3] += 1
    odd = add_volume(np.zeros(SHAPE, np.float32), "odd", moved)
    return [*echoes("magnitude")[:2], described(odd, Use="multi-echo GRE", EchoTime=0.02)]


def not_finite(echoes, matrix):
    magnitude = echoes("magnitude")
    as_array(magnitude[1])[0, 0, :2] = np.nan
    return magnitude


def label_map(echoes, matrix):
    import slicer

    labels = slicer.util.addVolumeFromArray(
        np.ones(SHAPE, np.int16), name="labels", nodeClassName="vtkMRMLLabelMapVolumeNode"
    )
    return [described(labels, Use="multi-echo GRE", EchoTime=0.02)]


def lone_phase(echoes, matrix):
    return echoes("phase", MagneticFieldStrength=FIELD_STRENGTH)


def of_unknown_use(echoes, matrix):
    return [described(add_volume(np.ones(SHAPE, np.float32), "what", matrix))]


BAD = {
    "nothing": (lambda e, m: [], "There is no image"),
    "no use": (of_unknown_use, "what: it is not known what kind of scan this is"),
    "all unused": (lambda e, m: [described(v, Use="not used") for v in e("magnitude")], "All images are 'not used'"),
    "no echo time": (
        lambda e, m: [described(add_volume(np.ones(SHAPE, np.float32), "x", m), Use="multi-echo GRE")],
        "x: echo time is missing, a multi-echo GRE needs it in ms",
    ),
    "echo time in ms": (
        lambda e, m: [described(e("magnitude")[0], EchoTime=4.0)],
        "magnitude 1: Echo time is 4000, expected 0.1 to 1000 ms",
    ),
    "no number": (
        lambda e, m: [described(e("magnitude")[0], EchoTime="three")],
        "magnitude 1: Echo time is 'three', expected numbers",
    ),
    "too few echo times": (
        lambda e, m: [described(add_sequence("seq", decay_images(), m), Use="multi-echo GRE", EchoTime=[0.004, 0.009])],
        "seq: 2 values of echo time for 3 volumes",
    ),
    "one echo time twice": (
        lambda e, m: [
            described(add_sequence("seq", decay_images(), m), Use="multi-echo GRE", EchoTime=[0.004, 0.004, 0.009])
        ],
        "seq: 3 volumes need 3 different echo times",
    ),
    "no flip angle": (
        lambda e, m: [described(e("magnitude")[0], Use="spoiled GRE", RepetitionTimeExcitation=0.02)],
        "magnitude 1: flip angle is missing, a spoiled GRE needs it in °",
    ),
    "phase of a spin echo": (
        lambda e, m: [described(e("phase")[0], Use="multi-echo spin echo")],
        "phase 1: of a multi-echo spin echo only the magnitude is used",
    ),
    "phase alone": (lone_phase, "phase 1: there is no part-mag image"),
    "no image": (no_image, "magnitude 1: holds no image"),
    "another grid": (other_grid, "odd: lies elsewhere than magnitude 1"),
    "not finite": (not_finite, "magnitude 2: 2 voxels are not finite"),
    "label map": (label_map, "labels is a LabelMapVolume, expected a scalar volume"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_that_names_the_node_and_the_cure(logic, echoes, matrix, scene, case):
    make, expected = BAD[case]
    images = make(echoes, matrix)
    before = content(scene)
    with pytest.raises(InputError, match=expected) as caught:
        logic.process(images)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    assert content(scene) == before
