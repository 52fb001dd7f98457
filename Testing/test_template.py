"""Maps in a template: where things come to lie, how volumes change, that contents are kept, and what is exported."""

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from bids_tree import SHAPE, make_bids_tree, matrix, save, signal, write_json
from QMRIEstimationLib import cli
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.io.nifti import read_image
from QMRIEstimationLib.io.text import read_table
from QMRIEstimationLib.maps import QuantitativeMap
from QMRIEstimationLib.template import in_template, template_space

GRID = ((48, 56, 52), 2.0)  # voxels (i, j, k) and their side (mm) of the template
WAVES = (0.13, 0.11, 0.09)  # 1/mm
HEIGHT = 2.5  # mm


def template_grid(shape=GRID[0], side=GRID[1]):
    """ITK image on a grid with the axes of MNI space: LPS with x and y reversed."""
    image = sitk.Image(*shape, sitk.sitkFloat32)
    image.SetSpacing((side,) * 3)
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    image.SetOrigin((side * shape[0] / 2, side * shape[1] / 2, -side * shape[2] / 2))
    return image


def places(grid):
    """LPS of all voxels, [k, j, i, 3]."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.GetSize()), indexing="ij"), axis=-1)
    direction = np.reshape(grid.GetDirection(), (3, 3)) * grid.GetSpacing()
    return (index @ direction.T + grid.GetOrigin()).transpose(2, 1, 0, 3)


def warp_of(displacement, grid):
    """ITK transform of displacements [k, j, i, 3] on a grid."""
    field = sitk.GetImageFromArray(displacement.astype(np.float64), isVector=True)
    field.CopyInformation(grid)
    return sitk.DisplacementFieldTransform(field)


def waves(x):
    """Displacement with a derivative off the diagonal, too, and the determinant of 1 plus its derivative."""
    a, b, c = WAVES
    u = HEIGHT * np.stack(
        [np.sin(a * x[..., 0]), np.sin(b * x[..., 1] + 0.05 * x[..., 0]), np.cos(c * x[..., 2])], axis=-1
    )
    diagonal = [1 + HEIGHT * a * np.cos(a * x[..., 0]), 1 + HEIGHT * b * np.cos(b * x[..., 1] + 0.05 * x[..., 0]),
                1 - HEIGHT * c * np.sin(c * x[..., 2])]  # fmt: skip
    return u, diagonal[0] * diagonal[1] * diagonal[2]


def ball_map():
    """R2* of a ball of two layers with soft edges on an oblique grid, whole inside the template."""
    affine = np.eye(4)
    turn = np.deg2rad(20)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    affine[:3, :3] *= 1.2
    shape = (50, 50, 50)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) / 2) + (3, -4, 2)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    radius = np.linalg.norm(index @ affine[:3, :3].T + affine[:3, 3] - (3, -4, 2), axis=-1).transpose(2, 1, 0)
    values = 20 / (1 + np.exp(radius - 18)) + 30 / (1 + np.exp(radius - 8))
    everywhere, nothing = np.ones(shape, bool), np.zeros(shape, np.float32)
    grid = Geometry(shape, affine)
    return QuantitativeMap("R2star", values.astype(np.float32), nothing, nothing, everywhere, grid, "", "", "")


def test_the_change_of_volume_is_the_analytic_one():
    grid = template_grid()
    u, determinant = waves(places(grid))
    space = template_space("x", warp_of(u, grid), grid)
    inner = (slice(2, -2),) * 3
    # central differences over 4 mm of waves of 48 mm and more: sin(x) / x of 0.26 is 1 % less
    np.testing.assert_allclose(space.jacobian[inner], determinant[inner], rtol=0.01, atol=0.005)


@pytest.mark.parametrize("moved", [False, True])
def test_a_content_has_the_sum_of_the_map(moved):
    grid = template_grid()
    u, _ = waves(places(grid))
    result = ball_map()
    scan_to_maps = np.eye(4)
    if moved:
        scan_to_maps[:3, 3] = (4.0, -3.0, 2.5)
    space = template_space("x", warp_of(u, grid), grid, scan_to_maps)
    concentration, content, valid = in_template(result, space)
    whole = result.values.sum(dtype=float) * result.geometry.voxel_volume
    assert content.sum(dtype=float) * space.geometry.voxel_volume == pytest.approx(whole, rel=0.005)
    assert concentration.sum(dtype=float) * space.geometry.voxel_volume != pytest.approx(whole, rel=0.02)
    assert concentration.max() == pytest.approx(result.values.max(), rel=0.03)  # 2 mm voxels
    assert not concentration[~valid].any()


def test_zero_of_content_is_taken_off_before_the_volume_counts():
    grid = template_grid()
    u, determinant = waves(places(grid))
    result = ball_map()
    space = template_space("x", warp_of(u, grid), grid)
    plain, other = in_template(result, space), in_template(result, space, zero=5.0)
    inner = (slice(8, -8),) * 3
    inside = plain[2][inner]
    assert inside.any()
    np.testing.assert_allclose((plain[1] - other[1])[inner][inside], 5 * determinant[inner][inside], atol=0.06)


def raw_with_warp(folder, subjects, shift=6.0):
    """Tiny patients with a T1-weighted scan and a composite transform of ITK as ANTs writes it: warp, then affine."""
    raw = make_bids_tree(folder / "raw", subjects)
    grid = template_grid((40, 40, 40), 1.5)
    u, _ = waves(places(grid))
    affine = sitk.AffineTransform(3)
    affine.SetTranslation((shift, 0, 0))
    whole = sitk.CompositeTransform(3)
    whole.AddTransform(affine)
    whole.AddTransform(warp_of(0.3 * u, grid))
    for subject in subjects:
        images, _ = signal(int(subject))
        path = raw / f"sub-{subject}" / "anat" / f"sub-{subject}_T1w"
        moved = matrix()
        moved[0, 3] -= shift  # LPS and RAS differ by the sign of x
        save(path.with_name(f"{path.name}.nii.gz"), (100 * np.abs(images[0])).astype(np.float32), moved)
        write_json(path.with_name(f"{path.name}.json"), {"MagneticFieldStrength": 3.0})
        to = raw / "derivatives" / "smriprep" / f"sub-{subject}" / "anat"
        to.mkdir(parents=True)
        sitk.WriteTransform(whole, str(to / f"sub-{subject}_from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.h5"))
        sitk.WriteTransform(affine, str(to / f"sub-{subject}_from-T1w_to-fsnative_mode-image_xfm.txt"))
    return raw


def test_a_cohort_is_brought_to_the_template_and_exported(tmp_path, capsys):
    subjects = ("01", "02", "03", "04")
    raw = raw_with_warp(tmp_path, subjects)
    lines = [
        "participant_id\tgroup\tage",
        *(f"sub-{s}\t{'MS' if n < 2 else 'HC'}\t{30 + 3 * n}" for n, s in enumerate(subjects)),
    ]
    (raw / "participants.tsv").write_text("\n".join(lines) + "\n")
    output = tmp_path / "maps"
    words = ["--maps", "R2star", "Chi"]
    assert cli.main(["run", str(raw), str(output), "participant", *words]) == cli.DONE
    anat = output / "sub-01" / "anat"
    stem = "sub-01_space-MNI152NLin2009cAsym"
    values, grid, _ = read_image(anat / f"{stem}_R2starmap.nii.gz")
    own, own_grid, _ = read_image(anat / "sub-01_R2starmap.nii.gz")
    # the core of iron stands in the middle of the head: where the template's warp sends that place
    middle = np.argwhere(values > 45).mean(0)[::-1] @ grid.ijk_to_ras[:3, :3].T + grid.ijk_to_ras[:3, 3]
    before = np.argwhere(own > 45).mean(0)[::-1] @ own_grid.ijk_to_ras[:3, :3].T + own_grid.ijk_to_ras[:3, 3]
    u = 0.3 * waves(np.array([-middle[0], -middle[1], middle[2]]))[0]
    assert np.abs(middle + u * (-1, -1, 1) - before).max() < 0.6  # mm, of voxels of 1.5 to 2 mm
    content = read_image(anat / f"{stem}_desc-content_R2starmap.nii.gz")[0]
    whole = content.sum(dtype=float) * grid.voxel_volume
    assert whole == pytest.approx(own.sum(dtype=float) * own_grid.voxel_volume, rel=0.02)
    assert not list(anat.glob("*fsnative*"))

    assert cli.main(["run", str(raw), str(output), "group"]) == cli.DONE
    name = "space-MNI152NLin2009cAsym_desc-content_R2star"
    rows = read_table(output / "voxelwise" / f"{name}_files.tsv")
    assert [(row["participant_id"], row["group"], row["age"]) for row in rows][:3] == [
        ("sub-01", "MS", "30"), ("sub-02", "MS", "33"), ("sub-03", "HC", "36"),
    ]  # fmt: skip
    assert all((output / "voxelwise" / row["file"]).is_file() for row in rows)
    assert (output / "voxelwise" / f"{name}_files.txt").read_text().split() == [row["file"] for row in rows]
    mask = nibabel.load(output / "voxelwise" / f"{name}_mask.nii.gz").get_fdata()
    each = [
        nibabel.load(output / f"sub-{s}" / "anat" / f"sub-{s}_space-MNI152NLin2009cAsym_desc-R2star_mask.nii.gz")
        for s in subjects
    ]
    assert np.array_equal(mask > 0, np.all([image.get_fdata() > 0 for image in each], axis=0))
    text = (output / "voxelwise" / f"{name}_design.mat").read_text().splitlines()
    numbers = np.array([line.split() for line in text[3:]], float)
    assert text[:3] == ["/NumWaves 4", "/NumPoints 4", "/Matrix"]  # age and its square
    np.testing.assert_allclose(numbers[:, :2], [[1, 0], [1, 0], [0, 1], [0, 1]])
    np.testing.assert_allclose(numbers[:, 2], [-4.5, -1.5, 1.5, 4.5])
    contrasts = (output / "voxelwise" / f"{name}_design.con").read_text().splitlines()
    assert contrasts[1:] == ["/NumContrasts 2", "/Matrix", "1 -1 0 0", "-1 1 0 0"]
    (anat / f"{stem}_desc-R2star_mask.nii.gz").write_bytes(b"damaged")
    assert cli.main(["run", str(raw), str(output), "group"]) == cli.DONE
    assert "R2star_mask.nii.gz: " in (output / "index.html").read_text()


def test_a_template_that_was_asked_for_and_is_not_there_is_an_error(tmp_path, capsys):
    raw = make_bids_tree(tmp_path / "raw", ("01",))
    words = [
        "run",
        str(raw),
        str(tmp_path / "maps"),
        "participant",
        "--maps",
        "R2star",
        "--steps",
        "estimate",
        "template",
    ]
    assert cli.main(words) == cli.SOME_FAILED
    assert "no nonlinear registration to a template was found" in capsys.readouterr().err


def test_a_warp_without_its_scan_is_said_and_harms_nothing_else(tmp_path, capsys):
    raw = raw_with_warp(tmp_path, ("01",))
    for path in (raw / "sub-01" / "anat").glob("*T1w*"):
        path.unlink()
    assert cli.main(["run", str(raw), str(tmp_path / "maps"), "participant", "--maps", "R2star"]) == cli.DONE
    assert "starts at the T1-weighted scan, which is not among the raw data" in capsys.readouterr().err


def test_a_displacement_field_as_an_image_is_a_warp(tmp_path):
    raw = raw_with_warp(tmp_path, ("01",))
    to = raw / "derivatives" / "smriprep" / "sub-01" / "anat"
    for path in to.iterdir():
        path.unlink()
    grid = template_grid((40, 40, 40), 1.5)
    field = sitk.GetImageFromArray(np.zeros((40, 40, 40, 3)), isVector=True)
    field.CopyInformation(grid)
    sitk.WriteImage(field, str(to / "sub-01_from-MEGRE_to-study_mode-image_xfm.nii.gz"))
    assert cli.main(["run", str(raw), str(tmp_path / "maps"), "participant", "--maps", "R2star"]) == cli.DONE
    anat = tmp_path / "maps" / "sub-01" / "anat"
    values, _, _ = read_image(anat / "sub-01_space-study_R2starmap.nii.gz")
    content, _, _ = read_image(anat / "sub-01_space-study_desc-content_R2starmap.nii.gz")
    np.testing.assert_allclose(content, values, rtol=1e-5)  # nothing changed its volume
    assert values.shape == (40, 40, 40) and SHAPE != values.shape


def test_a_damaged_warp_is_named(tmp_path, capsys):
    raw = raw_with_warp(tmp_path, ("01",))
    path = next((raw / "derivatives" / "smriprep").rglob("*.h5"))
    path.write_bytes(b"damaged")
    assert cli.main(["run", str(raw), str(tmp_path / "maps"), "participant", "--maps", "R2star"]) == cli.DONE
    assert f"{path}: cannot be read as a transform of ITK" in capsys.readouterr().err
