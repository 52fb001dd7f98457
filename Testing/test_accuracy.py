"""The whole command on the digital patient at 1 mm and SNR 60, scored against the truth in eroded regions."""

import csv

import numpy as np
import pytest
from QMRIEstimationLib import cli
from QMRIEstimationLib.io.nifti import read_image
from scipy import ndimage

NUCLEI = ("thalamus", "caudate", "putamen", "pallidum", "red nucleus", "dentate")
FEWEST = 20  # voxels left of a region after erosion

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """The usual patient."""
    return score(tmp_path_factory.mktemp("patient"), "--seed", "7")


@pytest.fixture(scope="module")
def scored_hard(tmp_path_factory):
    """One with the RF spoiling that disturbs most, and a transmit field from 65 to 130 %."""
    return score(tmp_path_factory.mktemp("hard"), "--seed", "8", "--spoiling-increment", "150", "--b1-spread", "0.33")


def score(folder, *options):
    """Function (map, region name) -> estimated, true and SD values in the region, eroded by one voxel, no lesions."""
    raw, maps = folder / "raw", folder / "maps"
    assert cli.main(["simulate", str(raw), "--noise", "60", *options]) == cli.DONE
    assert cli.main(["run", str(raw), str(maps), "participant"]) == cli.DONE
    rater = raw / "derivatives" / "rater" / "sub-01" / "anat"
    labels = read_image(rater / "sub-01_dseg.nii.gz")[0]
    lesions = read_image(rater / "sub-01_label-L_mask.nii.gz")[0] > 0
    with open(rater / "sub-01_dseg.tsv", encoding="utf-8") as file:
        index = {row["name"]: int(row["index"]) for row in csv.DictReader(file, delimiter="\t")}
    anat, truth = maps / "sub-01" / "anat", raw / "sourcedata" / "truth" / "sub-01" / "anat"

    def values(name, region):
        images = [
            read_image(path)[0]
            for path in (
                anat / f"sub-01_{name}map.nii.gz",
                truth / f"sub-01_{name}map.nii.gz",
                anat / f"sub-01_desc-uncertainty_{name}map.nii.gz",
                anat / f"sub-01_desc-{name}_mask.nii.gz",
            )
        ]
        regions = [i for label, i in index.items() if label.startswith(region)]
        inside = np.zeros(labels.shape, bool)
        for label in regions:
            inside |= ndimage.binary_erosion(labels == label)
        inside &= ~lesions & (images[3] > 0)
        assert inside.sum() >= FEWEST, region
        return [image[inside] for image in images[:3]]

    return values


def test_r2star_bias_in_white_matter_is_below_a_third(scored):
    estimate, truth, _ = scored("R2star", "white matter")
    assert abs((estimate - truth).mean()) < 0.3  # 1/s, issue 2


def test_r2star_bias_in_pallidum_is_below_two_percent(scored):
    estimate, truth, _ = scored("R2star", "pallidum")
    assert abs((estimate - truth).mean()) < 0.02 * truth.mean()  # issue 2


def test_r2star_spread_is_the_propagated_sd(scored):
    # White matter holds veins and the edges of lesions, whose decay is not of one rate: the median looks past them.
    estimate, truth, sd = scored("R2star", "white matter")
    z = (estimate - truth) / sd
    assert 1.4826 * np.median(np.abs(z - np.median(z))) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    "tissue", ["white matter", "cortex", "thalamus", "caudate", "putamen", "pallidum", "brain stem"]
)
@pytest.mark.parametrize(("name", "limit"), [("R1", 0.01), ("R2", 0.02), ("PD", 0.02)])
@pytest.mark.parametrize("patient", ["scored", "scored_hard"])
def test_rates_and_proton_density_are_near_the_truth(patient, name, limit, tissue, request):
    # Issue 3: R1 within 1 %, R2 within 2 %, PD within 1.5 p.u., which is 2 % of tissue. The median, because single
    # voxels hold fluid or a vein.
    estimate, truth, _ = request.getfixturevalue(patient)(name, tissue)
    assert abs(np.median(estimate - truth)) < limit * truth.mean()


def test_proton_density_of_fluid_is_that_of_water(scored):
    # The median of pure fluid is 100 by definition; the label of the rater holds mixed voxels and thin sulci too.
    estimate, truth, _ = scored("PD", "CSF")
    assert abs(np.median(estimate - truth)) < 5


@pytest.mark.parametrize("name", ["R1", "R2", "PD"])
def test_spread_in_white_matter_is_the_propagated_sd(scored, name):
    estimate, truth, sd = scored(name, "white matter")
    z = (estimate - truth) / sd
    assert 0.9 < 1.4826 * np.median(np.abs(z - np.median(z))) < 1.1  # issue 3


def test_chi_of_the_deep_nuclei_follows_the_truth(scored):
    regions = [f"{nucleus} {side}" for nucleus in NUCLEI for side in ("left", "right")]
    means = np.array([[v.mean() for v in scored("Chi", region)[:2]] for region in regions])
    slope = np.polyfit(means[:, 1], means[:, 0], 1)[0]
    assert 0.8 < slope < 1.1  # issue 2
