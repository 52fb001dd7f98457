"""The brain mask: real heads, crops without skull, and a made head whose brain is known."""

import nibabel
import numpy as np
import pytest
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.mask import brain_mask


def _dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def _geometry(shape, voxel_size=(2.0, 2.0, 2.0)):
    return Geometry(shape, np.diag([*voxel_size[::-1], 1.0]))


def _made_head(rng, voxel_size=(2.5, 2.0, 1.8), noise_sd=4, fluid=10.0):
    """Ellipsoids of scalp, bone and brain with dark ventricles, two bridges through the skull, coil shading, noise."""
    shape = tuple(int(210 / h) for h in voxel_size)
    z, y, x = np.meshgrid(*[(np.arange(n) - n / 2) * h for n, h in zip(shape, voxel_size, strict=True)], indexing="ij")
    size = np.sqrt((z / 62) ** 2 + (y / 82) ** 2 + (x / 66) ** 2)
    brain = size < 1
    head = np.sqrt((z / 76) ** 2 + (y / 96) ** 2 + (x / 80) ** 2) < 1
    scalp = head & ~(np.sqrt((z / 70) ** 2 + (y / 90) ** 2 + (x / 74) ** 2) < 1)
    bridges = head & ~brain & (((x - 20) ** 2 + (z + 20) ** 2 < 9) | ((x + 20) ** 2 + (z + 20) ** 2 < 9)) & (y > 0)
    ventricle = (z / 10) ** 2 + (y / 25) ** 2 + (x / 8) ** 2 < 1
    image = 100.0 * brain + 160.0 * scalp + 100.0 * bridges - (100 - fluid) * ventricle + 3.0 * (head & ~brain & ~scalp)
    image *= 1 + 0.6 * y / 100 + 0.3 * x / 100
    noise = rng.normal(size=(2, *shape)) * noise_sd
    return np.hypot(image + noise[0], noise[1]).astype(np.float32), brain, _geometry(shape, voxel_size)


@pytest.mark.parametrize("name", ["PDw", "T1w"])
def test_mask_of_a_real_head_agrees_with_a_trained_network(shared_data, name):
    folder = shared_data / "vfa_mtsat_3d_3t"
    reference = nibabel.load(folder / "brainmask_deepbet.nii.gz")
    expected = np.asarray(reference.dataobj).T > 0
    image = nibabel.load(folder / f"{name}.nii.gz").get_fdata(dtype=np.float32).T
    mask, notes = brain_mask(image, Geometry(expected.shape, reference.affine))
    assert _dice(mask, expected) > 0.95  # two trained networks agree to about 0.97
    assert notes == ()


def test_crop_within_the_brain_is_all_brain_and_says_so(shared_data):
    image = nibabel.load(shared_data / "megre_7t_romeo" / "mag.nii.gz")
    magnitude = image.get_fdata(dtype=np.float32).T
    mask, notes = brain_mask(magnitude, Geometry(magnitude.shape[1:], image.affine))
    assert mask.mean() > 0.99
    assert "no air" in notes[0]


def test_made_head_is_parted_from_scalp_and_bridges(rng):
    image, brain, geometry = _made_head(rng)
    mask, notes = brain_mask(image, geometry)
    assert _dice(mask, brain) > 0.97  # half a voxel of surface is 0.02
    assert notes == ()


def test_ventricles_are_filled(rng):
    image, brain, geometry = _made_head(rng)
    mask, _ = brain_mask(image, geometry)
    assert mask[tuple(n // 2 for n in brain.shape)]


@pytest.mark.slow
def test_noise_does_not_pierce_the_brain(rng):
    image, brain, geometry = _made_head(rng, voxel_size=(1.2, 1.2, 1.2), noise_sd=12, fluid=60.0)
    mask, notes = brain_mask(image, geometry)
    assert _dice(mask, brain) > 0.97
    assert notes == ()


def test_first_echo_and_intensity_scale_do_not_matter(rng):
    image, _, geometry = _made_head(rng)
    mask, _ = brain_mask(image, geometry)
    again, _ = brain_mask(np.stack([image * 1024, 0 * image]), geometry)
    np.testing.assert_array_equal(mask, again)


def test_stripped_head_keeps_all_tissue_and_says_so(rng):
    image, brain, geometry = _made_head(rng)
    mask, notes = brain_mask(np.where(brain, image, 0), geometry)
    assert _dice(mask, brain) > 0.98
    assert "no skull" in notes[0]


def test_odd_tiny_grid_gives_a_mask():
    mask, _ = brain_mask(np.ones((3, 1, 5), np.float32), _geometry((3, 1, 5)))
    assert mask.all()


def test_empty_image_is_refused():
    with pytest.raises(InputError, match="no signal"):
        brain_mask(np.zeros((8, 8, 8), np.float32), _geometry((8, 8, 8)))


def test_wrong_shape_is_named():
    with pytest.raises(ValueError, match="geometry has shape"):
        brain_mask(np.ones((8, 8, 8), np.float32), _geometry((8, 8, 9)))
