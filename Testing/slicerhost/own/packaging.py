"""Stand-in for slicer.packaging: installing is the test environment's business, so missing packages are an error."""

import importlib.metadata
import re
from pathlib import Path


def load_requirements(path):
    """The requirement lines of a file."""
    lines = (line.partition("#")[0].strip() for line in Path(path).read_text().splitlines())
    return [line for line in lines if line]


def pip_check(requirements):
    """Whether every requirement is installed; versions are not compared."""
    for requirement in [requirements] if isinstance(requirements, str) else requirements:
        try:
            importlib.metadata.version(re.match(r"[\w.-]+", requirement).group())
        except importlib.metadata.PackageNotFoundError:
            return False
    return True


def pip_ensure(requirements, constraints=None, requester=None):
    """Raise RuntimeError, as after a declined installation, unless everything is there."""
    if not pip_check(requirements):
        raise RuntimeError("User declined package installation")
