"""Installing what Slicer does not bring along: only when missing, with Slicer's own packages kept as they are."""

import importlib.metadata
import importlib.util
import subprocess
import sys
import types
from pathlib import Path

import pytest
from conftest import REPOSITORY
from QMRIEstimationLib.errors import InputError
from QMRIEstimationLib.slicer_packages import ensure_packages, missing_packages

REQUIREMENTS = REPOSITORY / "QMRIEstimation" / "Resources" / "requirements_QMRIEstimation.txt"


@pytest.fixture
def absent(tmp_path):
    """A requirements file with a package that does not exist."""
    file = tmp_path / "requirements.txt"
    file.write_text("# a comment\n\nnumpy\nno-such-package-of-qmri>=2  # why\n")
    return file


def test_only_missing_packages_are_named(absent):
    assert missing_packages(absent) == ["no-such-package-of-qmri"]


def test_requirements_allow_no_numba_that_would_downgrade_slicers_numpy():
    """numba before 0.64 asks for numpy < 2.4, and pins hinder other extensions."""
    lines = [line for line in REQUIREMENTS.read_text().splitlines() if line and not line.startswith("#")]
    assert lines == ["numba>=0.64", "nibabel"]


def test_a_slicer_without_packaging_names_the_packages_and_the_line_to_type(absent, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"no-such-package-of-qmri must be installed.*pip_install\('numpy no-such"):
        ensure_packages(absent, "QMRI Estimation")


def test_a_slicer_without_packaging_goes_on_when_nothing_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    ensure_packages(REQUIREMENTS, "QMRI Estimation")


def use_packaging(monkeypatch, pip_ensure):
    """Let a Slicer with `slicer.packaging` be there."""
    packaging = types.ModuleType("slicer.packaging")
    packaging.pip_ensure = pip_ensure
    packaging.load_requirements = lambda path: Path(path).read_text().split()
    slicer = types.ModuleType("slicer")
    slicer.packaging = packaging
    monkeypatch.setitem(sys.modules, "slicer", slicer)
    monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def test_a_machine_without_network_gets_the_steps_to_take(absent, monkeypatch):
    def pip_ensure(requirements, constraints, requester):
        raise subprocess.CalledProcessError(1, "pip")

    use_packaging(monkeypatch, pip_ensure)
    with pytest.raises(InputError, match=r"could not be installed.*pip download .* -d wheels.*--no-index"):
        ensure_packages(absent, "QMRI Estimation")


def test_pip_is_told_to_keep_slicers_own_versions(monkeypatch):
    seen = {}

    def pip_ensure(requirements, constraints, requester):
        seen.update(requirements=requirements, requester=requester, constraints=Path(constraints).read_text())

    use_packaging(monkeypatch, pip_ensure)
    ensure_packages(REQUIREMENTS, "QMRI Estimation")
    assert "nibabel" in seen["requirements"] and seen["requester"] == "QMRI Estimation"
    assert f"numpy=={importlib.metadata.version('numpy')}\n" in seen["constraints"]
    assert f"SimpleITK=={importlib.metadata.version('SimpleITK')}\n" in seen["constraints"]
