"""Maps of two lesions in the scene, as the tests of the staging module need them."""

from lesion_maps import Canvas
from QMRILesionStagingLib.options import RimOptions, StagingOptions

CHRONIC = {"R1": -0.4, "R2": -4.0, "R2star": -2.0, "PD": 18.0}
QUICK = StagingOptions(rim=RimOptions(found=0.0))  # no virtual rim need be found
UNITS = {"Chi": "[ppm]", "R1": "/s", "R2": "/s", "R2star": "/s", "PD": "%"}


def two_lesions(matrix):
    """Canvas with two lesions on an oblique grid: one with a rim, one without."""
    drawn = Canvas((30, 44, 52), (1.4, 0.9, 0.8), matrix=matrix)
    drawn.lesion((20.0, 19.0, 13.0), 11, rim=0.045, **CHRONIC)
    return drawn.lesion((20.0, 20.0, 30.0), 9, chi=0.033, **CHRONIC)


def volume(values, name, matrix, kind="vtkMRMLScalarVolumeNode"):
    """A volume in the scene."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass(kind, name)
    slicer.util.updateVolumeFromArray(node, values)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(matrix))
    return node


def map_node(result, name, quantity, matrix):
    """A map in the scene with its unit."""
    import slicer

    node = volume(result.values, name, matrix)
    unit = slicer.vtkCodedEntry()
    unit.SetValueSchemeMeaning(UNITS[quantity], "UCUM", UNITS[quantity])
    node.SetVoxelValueUnits(unit)
    return node
