"""Scenes that were prepared in the panels, worked through without a window: maps, staged lesions, saved again."""

import os
import sys
from pathlib import Path

import slicer
from QMRIEstimationLib.cli_words import DONE, SOME_FAILED, WRONG_CALL
from QMRIEstimationLib.errors import InputError, sentence
from QMRIEstimationLib.scene.wish import images_of, request_of

from .fill import fill

USAGE = "usage: scenes OUTPUT_DIR SCENE.mrb [SCENE.mrb ...]"


def main(arguments):
    """Work through scenes; a failure is one sentence and harms no other. Returns the exit status of the command."""
    if len(arguments) < 2:
        print(USAGE, file=sys.stderr)
        return WRONG_CALL
    folder, *scenes = (Path(word).resolve() for word in arguments)
    here = os.getcwd()
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for path in scenes:
        try:
            made = process_scene(path, folder / f"{path.stem}.mrb")
            print(f"{path.name}: {', '.join(made)} done", flush=True)
        except Exception as error:  # whatever it is, the other scenes are worked through
            failed += 1
            print(f"{path.name}: failed: {sentence(error)}", file=sys.stderr, flush=True)
        os.chdir(here)  # an archive that is none leaves MRML in a folder that it then deletes
    print(f"{len(scenes) - failed} of {len(scenes)} done; scenes in {folder}")
    return SOME_FAILED if failed else DONE


def process_scene(path, saved):
    """Make the maps of a scene as its panel of QMRI Estimation was set, stage its lesions, and save it elsewhere.

    Args:
        path: .mrb. saved: .mrb, another file.
    Returns:
        what was made.
    Raises:
        InputError: the scene cannot be read, has nothing to be made of, or cannot be saved.
    """
    from QMRIEstimationLib.scene.run import process

    from QMRIEstimation import QMRIEstimationLogic
    from QMRILesionStaging import QMRILesionStagingLogic

    scene = slicer.mrmlScene
    if saved == path:
        raise InputError(f"{path}: would be overwritten; choose another output folder.")
    scene.Clear()
    if not path.is_file() or not scene.ReadFromMRB(str(path), True):
        raise InputError(f"{path}: cannot be read as a scene, expected a .mrb that Slicer saved; correct the path.")
    estimation, staging = QMRIEstimationLogic().getParameterNode(), QMRILesionStagingLogic()
    made = []
    if images_of(estimation):
        request = request_of(estimation)
        nodes, notes = process(request, scene)
        made += [name for name in ("R1", "R2", "R2star", "PD", "Chi") if name in nodes]
        parameters = staging.getParameterNode()
        drawn = parameters.lesions or estimation.lesions
        fill(parameters, scene, request.folder_name)
        parameters.lesions = drawn or parameters.lesions
        parameters.tissue = parameters.tissue or estimation.tissue
        for note in notes:
            print(f"{path.name}: note: {note}", file=sys.stderr)
    parameters = staging.getParameterNode()
    if parameters.lesions is not None and parameters.chi is not None:
        staging.processParameters(parameters)
        made.append("lesions")
    if not made:
        raise InputError(
            f"{path}: has neither images in the panel of QMRI Estimation nor a map of susceptibility with lesions in "
            "that of QMRI Lesion Staging; select them there and save the scene."
        )
    unfinished = saved.with_name(f"{saved.stem}-unfinished.mrb")  # MRML takes no name that begins with a point
    if not scene.WriteToMRB(str(unfinished)):
        raise InputError(f"{saved}: cannot be written; check the folder and the free space.")
    unfinished.replace(saved)
    return made
