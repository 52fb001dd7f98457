"""The benchmark measures what it says; no test here depends on how fast the machine is."""

import io

import numpy as np
import pytest
from QMRIEstimationLib import benchmark, benchmark_stages
from QMRIEstimationLib.benchmark_data import benchmark_scan
from QMRIEstimationLib.benchmark_peers import Peer
from QMRIEstimationLib.benchmark_stages import COPIES, FFTS, Stage, copy_floor, field_stages, voxel_stages
from QMRIEstimationLib.qsm.background import BACKGROUND_METHODS
from QMRIEstimationLib.qsm.inversion import INVERSION_METHODS
from QMRIEstimationLib.relaxometry.r2star import R2STAR_METHODS

SIZE = (20, 22, 24)


@pytest.fixture(scope="module")
def scan():
    return benchmark_scan(SIZE)


@pytest.fixture(scope="module")
def table():
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "LEAST_REPEATS", 1)
        patch.setattr(benchmark, "SHORTEST", 1e-4)  # no time is judged here, so none is spent on the clock
        rows = benchmark.run_benchmark(SIZE, quick=True, stream=stream)
    return rows, stream.getvalue()


@pytest.mark.slow
def test_every_stage_stands_in_the_table_with_its_unit(table):
    rows, text = table
    names = [row.name for row in rows]
    for method in R2STAR_METHODS:
        assert f"R2* {method} with SD" in names
    for word in (
        "R1 nlls",
        "R1 linear",
        "R2 LORE",
        "noise",
        "denoising, nonlocal-means",
        "denoising, mp-pca",
        "mask",
        "ROMEO, one echo",
        "ROMEO, all echoes",
        "field map",
        "chi with SD",
        *(f"background field, {method}" for method in BACKGROUND_METHODS),
        *(f"inversion, {method}" for method in INVERSION_METHODS),
    ):
        assert any(word in name for name in names), word
    for row in rows:
        assert row.name in text
        assert row.timing.least <= row.timing.median <= row.timing.most
        assert row.floors > 0
        assert row.peak_bytes > 0
        assert row.unit == (COPIES if row.name.startswith(("R1", "R2", "noise", "denoising")) else FFTS)


@pytest.mark.slow
def test_peer_that_is_installed_has_a_time(table):
    rows, _ = table
    peers = {peer.name: peer for row in rows for peer in row.peers}
    assert peers["scipy curve_fit"].timing.median > 0
    assert peers["scipy curve_fit"].voxels > 0


@pytest.mark.slow
def test_denoised_echoes_are_compared_with_the_truth(table):
    rows, text = table
    errors = {row.name: row.error for row in rows if row.error is not None}
    assert set(errors) == {"denoising, nonlocal-means", "denoising, mp-pca"}
    assert all(0 < error < 1 for error in errors.values())  # noise SDs: 1 is what was there
    assert "error" in text.splitlines()[1]


def test_error_of_another_program_stands_beside_ours(scan):
    def prepared(data):
        return lambda: np.zeros(10), 10

    peer = Peer("theirs", "their-package", prepared, lambda result, data: result.sum() + 0.25)
    found, text = measured_with(scan, peer)
    assert found.error == 0.25
    assert text.endswith("0.25")


def measured_with(scan, peer):
    stage = Stage("nothing", lambda: np.zeros(10), 10, COPIES, lambda: np.zeros(10), (peer,))
    row = benchmark._measure(stage, scan, 3)
    return row.peers[0], benchmark._lines(row)


def test_peer_that_is_missing_is_named_with_its_cure(scan):
    def absent(scan):
        import no_such_package_at_all

        return no_such_package_at_all, 1

    found, text = measured_with(scan, Peer("theirs", "their-package", absent))
    assert found.timing is None
    assert "not installed (pip install their-package)" in text


def test_peer_that_breaks_does_not_end_the_table(scan):
    def broken(scan):
        return lambda: 1 / 0, 1

    found, text = measured_with(scan, Peer("theirs", "their-package", broken))
    assert found.timing is None
    assert "failed: ZeroDivisionError" in text


@pytest.mark.parametrize(("read", "written"), [((100, 50), (30,)), ((10,), (100, 50))])
def test_copy_writes_as_many_bytes_as_the_outputs_have(read, written):
    inputs, outputs = ([np.zeros(n, np.float32) for n in sizes] for sizes in (read, written))
    run = copy_floor(inputs, outputs)
    assert run().nbytes == sum(a.nbytes for a in outputs)
    assert run() is not run()


def test_scan_has_the_decay_and_noise_it_says(scan):
    inside = scan.everywhere
    noise = scan.magnitude[0][~scan.mask]
    assert noise.mean() == pytest.approx(scan.noise_sd * np.sqrt(np.pi / 2), rel=0.05)  # pure noise around the object
    assert scan.tissue[:, inside].min() >= 0
    assert np.median(scan.tissue[0] / scan.tissue[1]) == pytest.approx(np.exp(18 * 0.005), rel=0.03)


def test_stages_are_those_of_the_pipeline_in_its_order(scan):
    names = [stage.name for stage in (*voxel_stages(scan), *field_stages(scan))]
    assert (
        names.index("noise SD")
        < names.index("brain mask")
        < names.index("background field, v-sharp")
        < names.index("inversion, tv")
    )
    assert len(set(names)) == len(names)


def test_tiny_size_is_refused():
    with pytest.raises(ValueError, match="16 voxels or more"):
        benchmark_scan((8, 20, 20))


def test_fft_floor_transforms_the_given_grid():
    assert benchmark_stages.fft_floor((4, 6, 10))().shape == (4, 6, 6)
