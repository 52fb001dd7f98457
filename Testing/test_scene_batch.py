"""Scenes that were prepared in the panels, worked through one after another without a window."""

import sys

import numpy as np
import pytest
from bids_tree import ECHO_TIMES, SHAPE, signal
from conftest import REPOSITORY
from QMRIEstimationLib import cli
from scene_data import FIELD_STRENGTH, add_volume, as_array, describe_echoes


@pytest.fixture
def archives(scene, tmp_path):
    """The scene opens and writes archives, as that of the application does."""
    import slicer

    cache, manager = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
    cache.SetRemoteCacheDirectory(str(tmp_path))
    manager.SetCacheManager(cache)
    scene.SetDataIOManager(manager)
    slicer.vtkSlicerColorLogic().SetMRMLScene(scene)
    sys.path.insert(0, str(REPOSITORY / "QMRILesionStaging"))
    yield scene
    scene.SetDataIOManager(None)


def prepare(path, scene, matrix, with_lesion=True):
    """Save a scene as a user leaves it: images chosen in the panel, a lesion drawn, nothing computed."""
    import slicer
    from QMRIEstimationLib.scene.wish import set_images

    from QMRIEstimation import QMRIEstimationLogic

    scene.Clear()
    images, _ = signal(1)
    chosen = []
    for part, values in (("magnitude", np.abs(images)), ("phase", np.angle(images))):
        nodes = [add_volume(v.astype(np.float32), f"{part} {n}", matrix) for n, v in enumerate(values, 1)]
        chosen += describe_echoes(nodes, part, echo_times=ECHO_TIMES)
    parameters = QMRIEstimationLogic().getParameterNode()
    set_images(parameters, chosen)
    parameters.fieldStrength = FIELD_STRENGTH
    if with_lesion:
        drawn = np.zeros(SHAPE, np.int16)
        drawn[9:12, 12:15, 14:17] = 1
        lesions = slicer.util.addVolumeFromArray(drawn, name="drawn", nodeClassName="vtkMRMLLabelMapVolumeNode")
        lesions.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
        parameters.lesions = lesions
    assert scene.WriteToMRB(str(path))


def test_maps_and_lesions_of_every_scene_are_made_and_saved(archives, tmp_path, capsys):
    from bids_tree import matrix
    from QMRIEstimationLib.scene.record import results_in
    from QMRILesionStagingLib.scene.batch import main
    from QMRILesionStagingLib.scene.record import staging_in

    prepare(tmp_path / "first.mrb", archives, matrix())
    prepare(tmp_path / "second.mrb", archives, matrix(), with_lesion=False)
    (tmp_path / "broken.mrb").write_bytes(b"no scene")
    scenes = [str(tmp_path / f"{name}.mrb") for name in ("first", "broken", "second")]
    assert main([str(tmp_path / "done"), *scenes]) == cli.SOME_FAILED
    said = capsys.readouterr()
    assert "first.mrb: R2star, Chi, lesions done" in said.out
    assert "second.mrb: R2star, Chi done" in said.out
    assert "broken.mrb: failed: " in said.err
    assert sorted(path.name for path in (tmp_path / "done").iterdir()) == ["first.mrb", "second.mrb"]
    archives.Clear()
    assert archives.ReadFromMRB(str(tmp_path / "done" / "first.mrb"), True)
    maps = next(iter(results_in(archives).values()))
    assert 15 < np.median(as_array(maps["R2star"])[as_array(maps["brain mask"]) > 0]) < 30
    assert staging_in(archives)


def test_a_scene_without_anything_to_do_is_said(archives, tmp_path, capsys):
    from QMRILesionStagingLib.scene.batch import main

    archives.Clear()
    assert archives.WriteToMRB(str(tmp_path / "empty.mrb"))
    assert main([str(tmp_path / "done"), str(tmp_path / "empty.mrb")]) == cli.SOME_FAILED
    assert "has neither images in the panel of QMRI Estimation nor" in capsys.readouterr().err
    assert main([str(tmp_path), str(tmp_path / "empty.mrb")]) == cli.SOME_FAILED
    assert "would be overwritten" in capsys.readouterr().err
    assert main([str(tmp_path)]) == cli.WRONG_CALL
