"""Fill in what is known of an image from wherever it stands: sequence index, MultiVolume, sidecar, DICOM, its name."""

import json
import re
from pathlib import Path

import slicer

from ..errors import InputError
from ..io.names import parse_name
from ..io.sidecar import Sidecar, read_sidecar
from .attributes import SIDECAR, WHAT, is_set, set_value
from .uses import FA, FIELDS, INCREMENT, NOT_USED, TE, TR, USES

NAME = "name"
IN_NAMES = ((INCREMENT, r"PC(\d{1,3})(?!\d)"), (FA, r"(?<![a-z])fa[-_ ]?(\d{1,3})(?!\d)"))
SECONDS_PER_UNIT = {"s": 1.0, "ms": 1e-3}  # of a sequence's index
INDEXED = {"echo": TE, "flip": FA, "repetition": TR, "increment": INCREMENT}  # word in the index name -> field
TAGS = {"EchoTime": TE, "FlipAngle": FA, "RepetitionTime": TR}  # of a MultiVolume -> field; ms and degrees
BY_SUFFIX = {use.suffix: use.title for use in reversed(USES.values())}
BY_WORD = (  # the first that the name holds
    (r"flair", "FLAIR"),
    (r"gadolinium|(?:^|[^a-z])(?:gd|post.?contrast|\+c|ce)(?:[^a-z]|$)", "T1-weighted after gadolinium"),
    (r"afi", "AFI"),
    (r"b1.?map|tb1|b1plus|b1\+", "transmit field map"),
    (r"ssfp|trufi|fiesta|truefisp|balanced", "bSSFP"),
    (r"mese|multi.?spin|t2.?map.*se|cpmg", "multi-echo spin echo"),
    (r"megre|me.?gre|multi.?echo|swi|qsm|t2.?star|gre.?me|aspire|swan|swip", "multi-echo GRE"),
    (r"vfa|spgr|flash|despot1|(?:^|[^a-z])fa.?\d", "spoiled GRE"),
    (r"mprage|t1w|bravo|tfe|spc.?t1", "T1-weighted"),
)
PART_WORDS = (
    (r"phase|(?:^|[^a-z])pha?(?:[^a-z]|$)", "phase"),
    (r"imag(?:inary)?(?:[^a-z]|$)", "imaginary"),
    (r"(?:^|[^a-z])real(?:[^a-z]|$)", "real"),
)


def describe(node, fields=None, origin=""):
    """Set every attribute of an image that is not set and can be known; what is set, entered above all, stays.

    Args:
        node: volume or sequence node.
        fields: BIDS fields that are known already (from a file just read), with their `origin`.
    Returns:
        The sources that were of use, for the log.
    """
    found = [(origin, fields)] if fields else []
    found += [_index(node), _multi_volume(node), _sidecar(node), _dicom(node), _name_values(node)]
    found = [(where, known) for where, known in found if known]
    header = {}
    for _, known in reversed(found[:-1] if found and found[-1][0] == NAME else found):
        header |= known
    for name in FIELDS:
        if is_set(node, name):
            continue
        where, value = next(((where, v) for where, known in found if (v := _of(name, known)) is not None), ("", None))
        if value is not None:
            values = value if isinstance(value, (list, tuple)) else [value]
            set_value(node, name, " ".join(f"{float(v):.12g}" for v in values), where)
    if not is_set(node, "Sidecar") and header:
        node.SetAttribute(SIDECAR, json.dumps(header, default=str))
    for name, guess in zip(WHAT, (_use, _part), strict=True):
        if not is_set(node, name):
            value, where = guess(node, header, found)
            if value:
                set_value(node, name, value, where)
    return [where for where, _ in found]


def _of(name, known):
    """Value of a field among the known ones: a number or numbers, else None."""
    value = known.get(name)
    if value is None and name == TR:
        value = known.get("RepetitionTime")
    values = value if isinstance(value, (list, tuple)) else [value]
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values) and values
    return value if numbers else None


def _index(node):
    """Values that a sequence is indexed by."""
    if not node.IsA("vtkMRMLSequenceNode"):
        return "", {}
    title, unit = node.GetIndexName() or "", node.GetIndexUnit() or ""
    name = next((name for word, name in INDEXED.items() if word in title.lower()), None)
    if name is None:
        return "", {}
    factor = SECONDS_PER_UNIT.get(unit) if name in (TE, TR) else 1.0
    words = [node.GetNthIndexValue(n) for n in range(node.GetNumberOfDataNodes())]
    try:
        return f"index of the sequence ({unit})", {name: [float(f"{float(w) * factor:.12g}") for w in words]}
    except (TypeError, ValueError):
        return "", {}  # an unknown unit or no numbers: the user is asked for the values


def _multi_volume(node):
    """What the MultiVolume importer of Slicer leaves on a node."""
    prefix = "MultiVolume."
    tag, labels = (node.GetAttribute(prefix + name) for name in ("FrameIdentifyingDICOMTagName", "FrameLabels"))
    texts = {name: node.GetAttribute(f"{prefix}DICOM.{name}") for name in TAGS}
    if tag in TAGS and labels:
        texts[tag] = labels
    found = {}
    for name, text in texts.items():
        try:
            numbers = [float(word) for word in (text or "").replace(",", " ").split()]
        except ValueError:
            continue
        if numbers:
            factor = 1.0 if TAGS[name] == FA else 1e-3
            found[TAGS[name]] = [float(f"{number * factor:.12g}") for number in numbers]
    return "MultiVolume attributes", found


def file_of(node):
    """The file a node was loaded from, or None."""
    storage = node.GetStorageNode() if hasattr(node, "GetStorageNode") else None
    name = storage.GetFileName() if storage is not None else None
    return Path(name) if name else None


def _sidecar(node):
    """The JSON files that belong to the file of a node; in a BIDS data set those of higher folders too."""
    path = file_of(node)
    if path is None:
        return "", {}
    sidecar = sidecar_of(path)
    return (f"sidecar {sidecar.where()}", sidecar.fields) if sidecar.fields else ("", {})


def sidecar_of(path):
    """Sidecar of an image file, in a BIDS data set or beside it; empty where there is none or it is damaged."""
    file = parse_name(path)
    top = next((p for p in path.parents if (p / "dataset_description.json").is_file()), None)
    try:
        if file is not None and top is not None:
            return read_sidecar(file, top)
        beside = path.with_name(path.name.partition(".nii")[0] + ".json")
        if beside.is_file():
            fields = json.loads(beside.read_text(encoding="utf-8-sig"))
            if isinstance(fields, dict):
                return Sidecar(path, fields, {}, (beside,))
    except (InputError, OSError, ValueError):
        pass
    return Sidecar(path, {}, {}, ())


def _dicom(node):
    """Header of the first DICOM file that a node was loaded from, through Slicer's database."""
    uids = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    if not uids or database is None:
        return "", {}
    path = database.fileForInstance(uids[0])
    if not path or not Path(path).is_file():
        return "", {}
    import pydicom

    from ..io.dicom_header import part_of, sidecar_fields

    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
    except (pydicom.errors.InvalidDicomError, OSError):
        return "", {}
    return "DICOM header", sidecar_fields(dataset) | {"Part": part_of(dataset)}


def _name_values(node):
    """A phase increment or flip angle that is part of the name: `PC090`, `fa20`."""
    found = {}
    for field, pattern in IN_NAMES:
        match = next((m for name in _names(node) if (m := re.search(pattern, name, re.I if field == FA else 0))), None)
        if match:
            found[field] = float(match[1])
    return NAME, found


def _names(node):
    path = file_of(node)
    return [name for name in (path.name if path else "", node.GetName() or "") if name]


def _use(node, header, found):
    """(use, where it came from): by BIDS name, by the codes of the sequence, by words of the names."""
    for name in _names(node):
        file = parse_name(name if "." in name else name + ".nii")
        if file is not None and (use := _bids_use(file, header)):
            return use, "BIDS name"
    words = " ".join([*_names(node), str(header.get("SeriesDescription", "")), str(header.get("ProtocolName", ""))])
    several_echoes = len(header.get(TE) or ()) > 1 if isinstance(header.get(TE), (list, tuple)) else False
    if header.get("MTState") is True:
        return NOT_USED, "magnetization transfer is on"
    if _balanced(header):
        return "bSSFP", "codes of the sequence"
    by_word = next((use for pattern, use in BY_WORD if re.search(pattern, words.lower())), "")
    if by_word:
        return by_word, NAME
    return ("multi-echo GRE", "number of echoes") if several_echoes else ("", "")


def _bids_use(file, header):
    acquisition = file.entities.get("acq", "").lower()
    if file.suffix == "T1w":
        return "T1-weighted after gadolinium" if "ce" in file.entities else "T1-weighted"
    if file.suffix == "RB1COR":
        return next((use.title for use in USES.values() if use.suffix == "RB1COR" and acquisition == use.label), "")
    if file.suffix in ("VFA", "MPM"):
        if header.get("MTState") is True or file.entities.get("mt") == "on":
            return NOT_USED
        return "bSSFP" if _balanced(header) or "bssfp" in acquisition else "spoiled GRE"
    return "multi-echo GRE" if file.suffix == "T2starw" else BY_SUFFIX.get(file.suffix, "")


def _balanced(header):
    """Whether the codes of the sequence say balanced steady state."""
    try:
        return Sidecar(Path("header"), header, {}, ()).pulse_sequence() == "SSFP"
    except InputError:
        return False


def _part(node, header, found):
    known = header.get("Part")
    if known:
        return str(known), "DICOM header"
    for name in _names(node):
        file = parse_name(name if "." in name else name + ".nii")
        if file is not None and "part" in file.entities:
            part = {"mag": "magnitude", "imag": "imaginary"}.get(file.entities["part"], file.entities["part"])
            return part, "BIDS name"
    kinds = header.get("ImageType")
    kinds = {str(k).upper() for k in kinds} if isinstance(kinds, list) else set()
    for kind, part in (("P", "phase"), ("PHASE", "phase"), ("REAL", "real"), ("IMAGINARY", "imaginary")):
        if kind in kinds:
            return part, "ImageType"
    for pattern, part in PART_WORDS:
        if any(re.search(pattern, name.lower()) for name in _names(node)):
            return part, NAME
    return "magnitude", "assumed"
