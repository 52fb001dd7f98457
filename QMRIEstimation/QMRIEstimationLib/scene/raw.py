"""Images of the scene as a raw BIDS data set in a temporary folder, which the engine reads as any other.

One way in for panel, batch mode and command: what a header must say, how phase is encoded and what is refused is
decided by the reader of files alone. An image that still is the file it was loaded from is linked, not copied.
"""

import csv
import io
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import slicer

from ..errors import InputError
from ..io.derivatives import prefix
from ..io.nifti import read_header, write_image
from ..io.text import write_json, write_text
from .attributes import acquisition_of
from .checks import problem_of
from .drawings import array_of, drawn, geometry_of, tissue
from .sources import file_of
from .uses import BALANCED, FA, INCREMENT, PARTS, SPOILED, TE, TR, USES

SEQUENCES = {SPOILED: "SPGR", BALANCED: "SSFP"}
LABEL = re.compile("[A-Za-z0-9]+")


@dataclass(frozen=True)
class RawData:
    """A data set written from a scene: folder, labels of subject and session, and file name -> name of the node."""

    folder: Path
    subject: str
    session: str = ""
    names: dict = field(default_factory=dict)

    def readable(self, text):
        """A sentence of the engine with the names of nodes for those of files."""
        for name in sorted(self.names, key=len, reverse=True):
            for spelled in (f"{name}.nii.gz", f"{name}.nii", f"{name}.json", name):
                text = text.replace(spelled, self.names[name])
        return re.sub(r"(sub-\w+/)?(ses-\w+/)?(anat|fmap)/(?=[^*])", "", text)


def write_raw(
    nodes, folder, subject, session="", *, field_strength=None, brain_mask=None, lesions=None, tissue_labels=None
):
    """Write images of the scene, and what was drawn on them, as a raw BIDS data set.

    Args:
        nodes: volume and sequence nodes; what each is stands in its attributes (see `attributes`).
        folder: an existing empty folder. subject, session: labels without prefix.
        field_strength: T, where the images do not say; None.
        brain_mask, lesions, tissue_labels: label map, volume or segmentation nodes, or None.
    Returns:
        RawData.
    Raises:
        InputError: an image cannot be used, or a label holds other characters than letters and digits.
    """
    for label in (subject, session):
        if label and not LABEL.fullmatch(label):
            raise InputError(f"The subject is called '{label}', expected letters and digits only; correct it.")
    problem = problem_of(nodes)
    if problem:
        raise InputError(problem)
    raw, taken = RawData(Path(folder), subject, session), {}
    frames = [frame for node in nodes for frame in _frames(node)]
    for name, what, frame in _named(frames, prefix(subject, session)):
        stem = _free(f"{what}/{name}", taken)
        raw.names[stem.rpartition("/")[2]] = frame.name
        _write(_place(raw) / stem, frame, field_strength)
    reference = _reference(frames)
    drawings = {"label-brain_mask": (brain_mask, "brain mask"), "lesions": (lesions, "lesions")}
    for kind, (node, what) in drawings.items():
        if node is not None:
            labels, geometry = drawn(node, reference, what)
            _write_drawing(raw, _drawing_name(kind, labels), node, labels, geometry)
    if tissue_labels is not None:
        labels, geometry, names = tissue(tissue_labels, reference)
        path = _write_drawing(raw, "dseg", tissue_labels, labels, geometry)
        write_text(path.with_name(path.name.removesuffix(".nii") + ".tsv"), _table(names))
    return raw


@dataclass(frozen=True, eq=False)
class _Frame:
    """One volume of a node."""

    name: str
    node: object
    volume: object
    component: int | None
    use: object
    part: str
    values: dict
    header: dict


def _frames(node):
    found = acquisition_of(node)
    if not found.used:
        return
    for number in range(found.frames):
        volume = node.GetNthDataNode(number) if node.IsA("vtkMRMLSequenceNode") else node
        _check_volume(found.name, volume)
        component = number if volume is node and found.frames > 1 else None
        name = f"{found.name}[{number}]" if found.frames > 1 else found.name
        yield _Frame(name, node, volume, component, USES[found.use], found.part, found.frame(number), found.header)


def _check_volume(name, volume):
    if not volume.IsA("vtkMRMLScalarVolumeNode") or volume.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError(f"{name} is a {volume.GetNodeTagName()}, expected a scalar volume or a sequence of them.")
    if volume.GetImageData() is None:
        raise InputError(f"{name} holds no image; load it again, or remove it from the table.")


def _named(frames, start):
    """(file name without extension, folder, frame) of each frame; echoes and flip angles count up."""
    numbers = {}
    for frame in frames:
        key = (frame.use.title,)
        for name in (FA, TE, TR):
            if name in frame.values:
                numbers.setdefault((*key, name), set()).add(frame.values[name])
    counted = {key: sorted(values) for key, values in numbers.items()}

    def place(frame, name):
        values = counted.get((frame.use.title, name), [])
        return values.index(frame.values[name]) + 1 if name in frame.values else 0

    for frame in frames:
        use, words = frame.use, [start]
        if use.title == BALANCED:
            words.append(f"acq-bssfpPC{round(frame.values[INCREMENT]) % 360:03d}")
        elif use.suffix == "TB1AFI":
            words.append(f"acq-tr{place(frame, TR)}")
        elif use.suffix == "RB1COR":
            words.append(f"acq-{use.label}")
        elif use.label:
            words.append(f"ce-{use.label}")
        echoes = counted.get((use.title, TE), [])
        if use.suffix in ("MEGRE", "MESE") or (use.title == SPOILED and len(echoes) > 1):
            words.append(f"echo-{place(frame, TE)}")
        if use.suffix in ("VFA", "TB1DAM"):
            words.append(f"flip-{place(frame, FA)}")
        if len(use.parts) > 1:
            words.append(f"part-{PARTS[frame.part]}")
        yield "_".join([*words, use.suffix]), "fmap" if use.suffix.startswith(("TB1", "RB1")) else "anat", frame


def _free(stem, taken):
    """A name that no other frame has: a second scan of the same kind is a further run."""
    taken[stem] = taken.get(stem, 0) + 1
    if taken[stem] == 1:
        return stem
    start, mark, rest = stem.partition("_")
    return f"{start}{mark}run-{taken[stem]}_{rest}"


def _place(raw):
    folder = raw.folder / f"sub-{raw.subject}"
    return folder / f"ses-{raw.session}" if raw.session else folder


def _write(stem, frame, field_strength):
    header = {name: value for name, value in frame.header.items() if name not in ("Part", "RepetitionTime")}
    fields = header | frame.values
    if frame.use.title in SEQUENCES:  # the user's choice wins over the header
        fields["PulseSequenceType"] = SEQUENCES[frame.use.title]
    if field_strength:
        fields["MagneticFieldStrength"] = field_strength
    units = frame.volume.GetVoxelValueUnits()
    if "Units" not in fields and frame.part == "phase" and units is not None and units.GetCodeValue():
        fields["Units"] = units.GetCodeValue()
    stem.parent.mkdir(parents=True, exist_ok=True)
    write_json(stem.with_name(stem.name + ".json"), fields)
    source = _unchanged_file(frame)
    if source is not None:
        _link(source, stem.with_name(stem.name + (".nii.gz" if source.name.endswith(".gz") else ".nii")))
        return
    write_image(stem.with_name(stem.name + ".nii"), _values(frame), geometry_of(frame.volume))


def _values(frame):
    if frame.component is None:
        return array_of(frame.volume)
    array = slicer.util.arrayFromVolume(frame.volume)[..., frame.component].astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"{frame.name}: holds values that are not finite; load the original image.")
    return array


def _unchanged_file(frame):
    """The NIfTI file that a node was loaded from, where its voxels and its place are still those of the file."""
    path = file_of(frame.node)
    if frame.volume is not frame.node or frame.component is not None or path is None or not path.is_file():
        return None
    if not path.name.endswith((".nii", ".nii.gz")) or frame.node.GetModifiedSinceRead():
        return None
    try:
        shape, geometry, _ = read_header(path)
    except InputError:
        return None
    same = len(shape) == 3 and geometry.same_grid(geometry_of(frame.node), 0.01 * min(geometry.voxel_size))
    return path if same else None


def _link(source, target):
    try:
        os.symlink(source.resolve(), target)
    except OSError:  # Windows without the right to make links
        shutil.copy2(source, target)


def _reference(frames):
    """The volume whose grid segments are put on: that of the multi-echo scan, else the first."""
    found = [frame for frame in frames if frame.use.suffix == "MEGRE"] or frames
    volume = found[0].volume
    if volume.GetScene() is None:  # of a sequence: the geometry is all that counts
        copy = slicer.vtkMRMLScalarVolumeNode()
        copy.CopyOrientation(volume)
        copy.SetAndObserveImageData(volume.GetImageData())
        return copy
    return volume


def _drawing_name(kind, labels):
    if kind != "lesions":
        return kind
    if labels.dtype.kind == "f":
        return "label-L_probseg"
    return "seg-lesions_dseg" if labels.max(initial=0) > 1 else "label-L_mask"


def _write_drawing(raw, name, node, labels, geometry):
    stem = f"{prefix(raw.subject, raw.session)}_{name}"
    raw.names[stem] = node.GetName()
    folder = raw.folder / "derivatives" / "scene" / _place(raw).relative_to(raw.folder) / "anat"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.nii"
    write_image(path, labels, geometry, dtype=np.float32 if labels.dtype.kind == "f" else np.int32)
    return path


def _table(names):
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(("index", "name"))
    writer.writerows(sorted(names.items()))
    return text.getvalue()
