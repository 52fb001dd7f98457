"""Maps in the space of a template: concentrations, and contents, which are concentrations times the change of volume.

Sums of a content over the template are those of the map over the brain itself, so that tissue that shrank and kept its
iron has a higher concentration and the same content. For voxelwise statistics as in Pontillo G et al. 2021,
Neuroimage Clin 30:102669; modulation by the Jacobian determinant: Good CD et al. 2001, Neuroimage 14:21.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .geometry import Geometry
from .registration import LPS, to_itk

MAPS = ("R1", "R2star", "Chi")  # whose contents mean something: myelin, and iron twice
_INSIDE = 0.5  # share of a voxel of the template that valid voxels of the map must fill


@dataclass(frozen=True, eq=False)
class TemplateSpace:
    """A template and how to find its places in a session.

    Attributes:
        name: of the template. geometry: its grid. to_maps: sitk.Transform from its places to those of the maps, LPS.
        jacobian: float32 [k, j, i], volume in the session over volume in the template.
    """

    name: str
    geometry: Geometry
    to_maps: object
    jacobian: np.ndarray


def template_space(name, warp, grid, scan_to_maps=None):
    """TemplateSpace of a nonlinear registration.

    Args:
        name: of the template. warp: sitk.Transform from places of the template to places of a scan, LPS.
        grid: sitk.Image, any, on the grid of the template.
        scan_to_maps: 4x4 from RAS of that scan to RAS of the maps; None where they lie in one space.
    """
    whole = sitk.CompositeTransform(3)
    if scan_to_maps is not None:
        matrix = LPS @ scan_to_maps @ LPS
        rigid = sitk.AffineTransform(3)
        rigid.SetMatrix(matrix[:3, :3].ravel().tolist())
        rigid.SetTranslation(matrix[:3, 3].tolist())
        whole.AddTransform(rigid)
    whole.AddTransform(warp)  # the last one is applied first
    field = sitk.TransformToDisplacementField(
        whole, sitk.sitkVectorFloat32, grid.GetSize(), grid.GetOrigin(), grid.GetSpacing(), grid.GetDirection()
    )
    geometry = geometry_of(grid)
    jacobian = _jacobian(sitk.GetArrayViewFromImage(field), (LPS @ geometry.ijk_to_ras)[:3, :3])
    return TemplateSpace(name, geometry, whole, jacobian)


def in_template(result, space, zero=0.0):
    """Concentration, content and where they are valid, of one map.

    Args:
        result: maps.QuantitativeMap. space: TemplateSpace.
        zero: value of the map that counts as no content (of fluid, for chi).
    Returns:
        concentration, content (float32 [k, j, i], unit of the map), valid (bool).
    """
    grid = to_itk(space.jacobian, space.geometry)
    values, share = (
        sitk.GetArrayFromImage(
            sitk.Resample(to_itk(array.astype(np.float32), result.geometry), grid, space.to_maps, sitk.sitkLinear, 0.0)
        )
        for array in (np.where(result.valid, result.values, 0), result.valid)
    )
    valid = share > _INSIDE
    concentration = np.where(valid, values / np.where(valid, share, 1), 0).astype(np.float32)
    content = np.where(valid, (concentration - np.float32(zero)) * space.jacobian, 0).astype(np.float32)
    return concentration, content, valid


def geometry_of(image):
    """Geometry of an ITK image; the direction of B0 is not known in a template."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return Geometry(image.GetSize()[::-1], LPS @ matrix, None)


def _jacobian(field, matrix):
    """Determinant of the derivative of place + displacement by place, float32 [k, j, i].

    Args:
        field: float32 [k, j, i, 3], mm along x, y, z. matrix: 3x3 from (i, j, k) to x, y, z.
    """
    steps = [[None] * 3 for _ in range(3)]
    for component in range(3):
        for axis, along in enumerate(np.gradient(field[..., component])[::-1]):  # by i, j, k
            steps[component][axis] = along + np.float32(matrix[component, axis])
    (a, b, c), (d, e, f), (g, h, i) = steps
    found = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return np.abs(found) / np.float32(abs(np.linalg.det(matrix)))
