"""Images of a BIDS subject or of a DICOM folder as nodes that know how they were measured."""

from pathlib import Path

import numpy as np
import slicer

from ..errors import InputError
from ..io.bids import FOLDERS, find_sessions
from ..io.derivatives import session_folder
from ..io.derivatives_input import derivative_images, drawings
from ..io.dicom_series import read_dicom_folder
from ..io.names import images_in
from .attributes import acquisition_of, set_value
from .made import all_or_nothing
from .sources import describe, sidecar_of
from .uses import NOT_USED, USES

RESULTS = ("desc", "space")  # entities of somebody's results among the raw data


def load_bids(folder, scene):
    """Load what the program can use of one subject (and session) of a BIDS data set.

    Args:
        folder: `sub-<label>`, `ses-<label>`, or a data set with one subject and session.
        scene: vtkMRMLScene.
    Returns:
        images: list of nodes. drawn: "brainMask", "lesions", "tissue" -> label map node, those that there are.
        subject, session: labels without prefix.
    Raises:
        InputError: the folder is not one, or a file cannot be read; the scene is as it was.
    """
    dataset, subject, session = _place(Path(folder))
    raw = session_folder(dataset, subject, session)
    files = [file for name in FOLDERS for file in images_in(raw / name) if not set(RESULTS) & set(file.entities)]
    label = f"sub-{subject}" + (f"_ses-{session}" if session else "")
    with all_or_nothing(scene) as made:
        item = made.folder(label)
        images = []
        for file in files:
            node = _load(made, file.path, item)
            sidecar = sidecar_of(file.path)
            describe(node, sidecar.fields, f"sidecar {sidecar.where()}" if sidecar.fields else "")
            if acquisition_of(node).use not in (*USES, NOT_USED):
                made.scene.RemoveNode(node)  # an image that nothing here uses
            else:
                images.append(node)
        if not images:
            raise InputError(f"{raw}: holds no image that can be used here; see the README for their names.")
        drawn = _drawings(made, dataset, subject, session, item, label)
    return images, drawn, subject, session


def load_dicom(folder, scene, progress=None):
    """Load every MR volume below a folder of DICOM files.

    Returns:
        images: list of nodes. notes: sentences on what was left out.
    Raises:
        InputError: there is none; the scene is as it was.
    """
    volumes, notes = read_dicom_folder(folder, progress)
    with all_or_nothing(scene) as made:
        item = made.folder(Path(folder).name)
        images = []
        for volume in volumes:
            node = made.volume(volume.name, volume.values, volume.geometry, item)
            set_value(node, "Part", volume.part, "DICOM header")
            set_value(node, "DicomFile", str(volume.file), "DICOM header")
            describe(node, volume.fields, "DICOM header")
            images.append(node)
    return images, notes


def _place(folder):
    """Data set, subject and session of a folder that the user chose."""
    name, parent = folder.name, folder.parent
    if name.startswith("ses-") and parent.name.startswith("sub-"):
        return parent.parent, parent.name.removeprefix("sub-"), name.removeprefix("ses-")
    dataset, wanted = (parent, [name]) if name.startswith("sub-") else (folder, [])
    sessions = find_sessions(dataset, wanted)
    if len(sessions) > 1:
        some = ", ".join(f"sub-{subject}" + (f"/ses-{session}" if session else "") for subject, session in sessions[:4])
        raise InputError(
            f"{folder}: holds {len(sessions)} visits ({some}, ...), expected one; choose one of the folders."
        )
    return dataset, *sessions[0]


def _drawings(made, dataset, subject, session, item, label):
    """Label maps of what a rater drew: "brainMask", "lesions", "tissue"."""
    readers = drawings(derivative_images(dataset, subject, session), dataset)[:3]
    found = {}
    for kind, title, reader in zip(
        ("brainMask", "lesions", "tissue"), ("brain", "lesions", "tissue"), readers, strict=True
    ):
        if reader is None:
            continue
        array, geometry, *names = reader()
        fractions = array.dtype.kind == "f"
        node = made.volume(
            f"{label} {title}",
            array if fractions else array.astype(np.int16),
            geometry,
            item,
            "vtkMRMLScalarVolumeNode" if fractions else "vtkMRMLLabelMapVolumeNode",
        )
        if names:
            _name_labels(made, node, names[0])
        found[kind] = node
    return found


def _load(made, path, item):
    """A volume from a file by Slicer's own reader, so that the node knows its file."""
    import nibabel

    if len(nibabel.load(path).shape) > 3:
        return _load_frames(made, path, item)
    node = made.put("vtkMRMLScalarVolumeNode", path.name.partition(".nii")[0], item)
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    made.scene.AddNode(storage)
    made.nodes.append(storage)
    node.SetAndObserveStorageNodeID(storage.GetID())
    if not storage.ReadData(node):
        raise InputError(f"{path.name}: Slicer cannot read this image; see its error log, or convert it again.")
    node.CreateDefaultDisplayNodes()
    made.nodes.append(node.GetDisplayNode())
    return node


def _load_frames(made, path, item):
    """A sequence with one volume for each of a 4-D file."""
    from ..io.nifti import read_image

    values, geometry, _ = read_image(path)
    node = made.put("vtkMRMLSequenceNode", path.name.partition(".nii")[0], item)
    node.SetIndexName("frame")
    for number, frame in enumerate(values):
        volume = slicer.vtkMRMLScalarVolumeNode()
        slicer.util.updateVolumeFromArray(volume, np.ascontiguousarray(frame))
        volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(geometry.ijk_to_ras))
        node.SetDataNodeAtValue(volume, str(number))
    return node


def _name_labels(made, node, names):
    """A colour table that names the labels of tissue."""
    table = made.node("vtkMRMLColorTableNode", f"{node.GetName()} names")
    table.SetTypeToUser()
    table.SetNumberOfColors(max(names) + 1)
    rng = np.random.default_rng(0)
    for label in range(max(names) + 1):
        color = rng.uniform(0.2, 1, 3) if label in names else (0, 0, 0)
        table.SetColor(label, names.get(label, ""), *color, 1.0 if label in names else 0.0)
    node.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())
