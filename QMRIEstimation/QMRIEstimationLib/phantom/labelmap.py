"""Anatomy from a given label map: its brain inside a made-up head."""

import json
from pathlib import Path

import numpy as np
from scipy.ndimage import affine_transform, distance_transform_edt, gaussian_filter, map_coordinates

from ..errors import InputError
from ..io.nifti import read_image
from .anatomy import grid_points, seeded_head
from .tissue import INDEX

# Words looked for in the names, in this order, and the tissue they mean.
WORDS = (
    ("white", "white matter"),
    ("thalam", "thalamus"),
    ("caudate", "caudate"),
    ("putamen", "putamen"),
    ("pallid", "pallidum"),
    ("red nucleus", "red nucleus"),
    ("nigra", "substantia nigra"),
    ("dentate", "dentate"),
    ("brain stem", "brain stem"),
    ("brainstem", "brain stem"),
    ("vein", "vein"),
    ("calcif", "calcification"),
    ("cerebellar", "cerebellar cortex"),
    ("grey", "cortex"),
    ("gray", "cortex"),
    ("cort", "cortex"),
    ("csf", "CSF"),
    ("cerebrospinal", "CSF"),
    ("ventricle", "CSF"),
)
MODEL_MIDDLE = np.array([0.0, -16.0, 15.0])  # middle of the brain's box in model space, mm
SMOOTHING = 1.5  # mm, of the surface from which skull and scalp are measured


class LabelledHead:
    """A head whose brain comes from a label map; paints like `anatomy.Head`.

    Args:
        path: NIfTI of integer labels; a JSON of the same name holds {"number": "name"}, 0 is background.
        rng: draws what is made up.
    Raises:
        InputError: no JSON, or a label in the image without a name that says its tissue.
    """

    def __init__(self, path, rng):
        labels, geometry, _ = read_image(path)
        if labels.ndim != 3 or labels.max() < 0.5:
            raise InputError(f"{Path(path).name}: no labels were found, expected one volume of integers; give another.")
        self.tissue = _tissue_of(Path(path), np.rint(labels).astype(int))
        brain = self.tissue > 0
        depth = distance_transform_edt(brain, sampling=geometry.voxel_size)
        depth -= distance_transform_edt(~brain, sampling=geometry.voxel_size)
        depth = gaussian_filter(depth.astype(np.float32), [SMOOTHING / side for side in geometry.voxel_size])
        indices = np.argwhere(brain)
        middle = geometry.ijk_to_ras @ np.array([*(indices.min(0) + indices.max(0))[::-1] / 2, 1])
        shift = np.eye(4)
        shift[:3, 3] = middle[:3] - MODEL_MIDDLE
        self.from_model = np.linalg.inv(geometry.ijk_to_ras) @ shift  # model space to label indices (i, j, k)
        x, y, z = np.broadcast_arrays(*grid_points())
        i, j, k = (self.from_model[:3, :3] @ np.stack([x.ravel(), y.ravel(), z.ravel()])) + self.from_model[:3, 3:]
        sampled = map_coordinates(depth, np.stack([k, j, i]), order=1, mode="nearest").reshape(x.shape)
        self.head = seeded_head(rng, sampled)

    def paint(self, shape, ijk_to_model, check=None):
        """As `anatomy.Head.paint`."""
        classes, texture = self.head.paint(shape, ijk_to_model, check)
        matrix = self.from_model @ ijk_to_model
        labels = affine_transform(
            self.tissue, matrix[:3, :3][::-1, ::-1], matrix[:3, 3][::-1], output_shape=shape, order=0, cval=0
        )
        np.copyto(classes, labels, where=labels > 0)
        return classes, texture


def _tissue_of(path, labels):
    """Label image to tissue index, uint8, by the names in the JSON beside it."""
    sidecar = path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    try:
        names = {int(number): name for number, name in json.loads(sidecar.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f'{sidecar.name}: cannot be read ({error}), expected {{"1": "white matter", ...}}; '
            "write it beside the labels."
        ) from None
    lookup = np.zeros(max(int(labels.max()), 0) + 1, np.uint8)
    for number in np.unique(labels):
        if number <= 0:
            continue
        name = names.get(int(number), "").lower()
        tissue = next((tissue for word, tissue in WORDS if word in name), None)
        if tissue is None:
            known = ", ".join(dict.fromkeys(tissue for _, tissue in WORDS))
            raise InputError(
                f"{sidecar.name}: label {number} is named {name!r}, expected a name with one of {known}; name it."
            )
        lookup[number] = INDEX[tissue]
    return lookup[np.maximum(labels, 0)]
