"""BIDS file names: entities, suffix and extension, and the images of one folder."""

from dataclasses import dataclass
from pathlib import Path

IMAGES = (".nii.gz", ".nii")


@dataclass(frozen=True, eq=False)
class BidsFile:
    """A file with its name taken apart: `entities` maps e.g. `echo` to `1`, in the order of the name."""

    path: Path
    entities: dict
    suffix: str
    extension: str

    @property
    def name(self):
        """File name without its folder."""
        return self.path.name

    def key(self, *without):
        """What is left of suffix and entities without the named ones; equal for files of one series."""
        return (self.suffix, *sorted((k, v) for k, v in self.entities.items() if k not in without))


def parse_name(path):
    """BidsFile of a path, or None when the name is not one of BIDS; entities may stand in any order.

    >>> parse_name("sub-01_echo-2_part-mag_MEGRE.nii.gz").entities
    {'sub': '01', 'echo': '2', 'part': 'mag'}
    """
    path = Path(path)
    stem, dot, extension = path.name.partition(".")
    *pairs, suffix = stem.split("_")
    split = [pair.split("-", 1) for pair in pairs]
    if not dot or not suffix or "-" in suffix or any(len(pair) != 2 or not all(pair) for pair in split):
        return None
    entities = dict(split)
    return BidsFile(path, entities, suffix, dot + extension) if len(entities) == len(split) else None


def images_in(folder):
    """NIfTI images of a folder with a BIDS name, sorted by name; () when there is no such folder."""
    folder = Path(folder)
    if not folder.is_dir():
        return ()
    parsed = (parse_name(path) for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    return tuple(file for file in parsed if file is not None and file.extension in IMAGES)


def number_of(file, entity, default=0):
    """An index entity (echo, flip) as a whole number."""
    text = file.entities.get(entity, "")
    return int(text) if text.isdigit() else default
