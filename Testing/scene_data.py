"""Images, nodes and a stand-in engine for the tests of scene and panels."""

import numpy as np
from QMRIEstimationLib.maps import Estimate, QuantitativeMap

ECHO_TIMES = (0.004, 0.009, 0.015)  # s
SHAPE = (6, 8, 10)  # k, j, i
RATE = 30.0  # 1/s
FIELD_STRENGTH = 3.0  # T
HZ_PER_PPM = 127.7  # at 3 T


def decay_images():
    """Noiseless magnitude [echo, k, j, i] that decays with RATE, float32."""
    brightness = 1000 * (1 + np.arange(np.prod(SHAPE)).reshape(SHAPE) / 1000)
    return np.stack([brightness * np.exp(-te * RATE) for te in ECHO_TIMES]).astype(np.float32)


def random_phase_images():
    """Phase [echo, k, j, i] that fills -pi to pi as air does, float32."""
    return np.random.default_rng(7).uniform(-np.pi, np.pi, (len(ECHO_TIMES), *SHAPE)).astype(np.float32)


def sphere_images(matrix, size=32, radius=6.0, chi=0.1):
    """Magnitude and phase (rad) [echo, k, j, i] of a sphere of `chi` ppm in water at 3 T, with noise.

    The field outside is that of a dipole along the scanner's z axis: chi/3 (radius/r)^3 (3 cos^2 - 1).
    """
    k, j, i = np.mgrid[:size, :size, :size] - (size - 1) / 2
    position = np.stack([i, j, k], axis=-1) @ matrix[:3, :3].T
    distance = np.maximum(np.linalg.norm(position, axis=-1), 1)
    inside = distance <= radius
    dipole = chi / 3 * (radius / distance) ** 3 * (3 * position[..., 2] ** 2 / distance**2 - 1)
    field = HZ_PER_PPM * np.where(inside, 0, dipole)
    rng = np.random.default_rng(1)
    images = []
    for te in ECHO_TIMES:
        signal = 100 * (distance < 0.45 * size) * np.exp(-te * np.where(inside, 40, 20) + 2j * np.pi * field * te)
        images.append(signal + rng.normal(0, 1, signal.shape) + 1j * rng.normal(0, 1, signal.shape))
    return np.abs(images).astype(np.float32), np.angle(images).astype(np.float32)


def add_volume(values, name, matrix):
    """A scalar volume in the scene."""
    import slicer

    volume = slicer.util.addVolumeFromArray(values, name=name)
    volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return volume


def add_sequence(name, images, matrix=None, unit="ms", field_strength=None):
    """A sequence node with one volume an echo, indexed by echo time in `unit`."""
    import slicer

    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", name)
    sequence.SetIndexName("EchoTime")
    sequence.SetIndexUnit(unit)
    if field_strength is not None:
        sequence.SetAttribute("qMRI.MagneticFieldStrength", f"{field_strength:g}")
    for values, te in zip(images, ECHO_TIMES, strict=True):
        volume = slicer.vtkMRMLScalarVolumeNode()
        slicer.util.updateVolumeFromArray(volume, values)
        volume.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(np.eye(4) if matrix is None else matrix))
        sequence.SetDataNodeAtValue(volume, f"{te * (1000 if unit == 'ms' else 1):g}")
    return sequence


def describe_echoes(nodes, part="magnitude", **fields):
    """Say of volumes that they are the echoes of a multi-echo scan."""
    from QMRIEstimation import QMRIEstimationLogic

    for node, te in zip(nodes, ECHO_TIMES, strict=True):
        QMRIEstimationLogic().describe(node, Use="multi-echo GRE", Part=part, EchoTime=te, **fields)
    return nodes


class FakeEngine:
    """An engine that returns known maps, or raises, and remembers what it was given."""

    def __init__(self, error=None):
        self.error, self.session, self.images, self.settings, self.brain = error, None, None, None, None

    def __call__(self, session, maps, settings, progress, cancelled):
        self.session, self.settings, scan = session, settings, session.scans[0]
        self.brain = session.brain_mask() if session.brain_mask is not None else None
        self.images = scan.read()
        if progress is not None:
            progress(0.5, "half way")
        if self.error is not None:
            raise self.error
        made = {name: _known_map(name, scan) for name in maps or ("R2star", "Chi")}
        mask = np.ones(scan.geometry.shape, bool)
        return Estimate(session, made, scan.geometry, mask, self.images[0][0], notes=(f"{scan.name}: a note.",))


def _known_map(name, scan):
    """A map that counts the voxels."""
    valid = np.ones(scan.geometry.shape, bool)
    values = np.arange(valid.size, dtype=np.float32).reshape(valid.shape)
    parameters = {"EchoTime": list(scan.echo_times), "MagneticFieldStrength": FIELD_STRENGTH}
    return QuantitativeMap(
        name, values, values / 10, values, valid, scan.geometry, "method", "paper", "rms", parameters, scan.sources
    )


def as_array(volume):
    import slicer

    return slicer.util.arrayFromVolume(volume)


def matrix_of(node):
    import slicer
    import vtk

    found = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(found)
    return slicer.util.arrayFromVTKMatrix(found)


def content(scene):
    """Every node and the number of items of the subject hierarchy, to see that nothing changed."""
    import slicer

    nodes = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    return [(n.GetID(), n.GetName()) for n in nodes], hierarchy.GetNumberOfItems()
