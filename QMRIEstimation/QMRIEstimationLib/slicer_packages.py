"""The packages that Slicer does not bring along, installed when they are first needed."""

import importlib.metadata
import importlib.util
import re
import subprocess
import tempfile
from pathlib import Path

from .errors import InputError

SLICERS_OWN = ("numpy", "scipy", "SimpleITK", "pydicom")  # another version of these breaks other modules


def missing_packages(requirements_file):
    """Names of the required packages that are not installed; versions are left to pip."""
    return [name for name in map(_name, _requirements(requirements_file)) if not _version(name)]


def ensure_packages(requirements_file, requester):
    """Install what is missing through `slicer.packaging`, which asks first; Slicer's own packages keep their versions.

    Args:
        requirements_file: pip requirement lines. requester: title of the module, for the question.
    Raises:
        InputError: packages are missing and this Slicer (before 5.12) has no `slicer.packaging`, or pip failed.
        RuntimeError: the user declined.
    """
    if importlib.util.find_spec("slicer.packaging") is None:
        missing = missing_packages(requirements_file)
        if missing:
            lines = " ".join(_requirements(requirements_file))
            raise InputError(
                f"{', '.join(missing)} must be installed, which works by itself only from Slicer 5.12 on; enter "
                f"slicer.util.pip_install('{lines}') in the Python console and start Slicer again."
            )
        return
    import slicer.packaging

    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        kept = [f"{name}=={_version(name)}\n" for name in SLICERS_OWN if _version(name)]
        constraints.write_text("".join(kept), encoding="utf-8")
        requirements = slicer.packaging.load_requirements(requirements_file)
        try:
            slicer.packaging.pip_ensure(requirements, constraints=constraints, requester=requester)
        except subprocess.CalledProcessError as error:
            names = ", ".join(map(_name, _requirements(requirements_file)))
            lines = " ".join(f'"{line}"' for line in _requirements(requirements_file))
            raise InputError(
                f"{names} could not be installed (status {error.returncode}). Without a "
                f"network: on another computer with this version of Python run pip download {lines} -d wheels, bring "
                f"the folder here, run PythonSlicer -m pip install --no-index --find-links wheels {lines}."
            ) from error


def _requirements(path):
    lines = (line.partition("#")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def _name(requirement):
    return re.match(r"[\w.-]+", requirement).group()


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
